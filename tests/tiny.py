"""The smallest stages that really train and sample: 16 px images of four colored squares, seconds on one core."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from palette.config.models import Network, Objective
from palette.config.sampling import Sampler
from palette.data.store.store import StoredImage, write_store
from palette.stages.base import Spec
from palette.stages.sample import SampleSpec
from palette.stages.stage import Stage
from palette.stages.train import TrainRuntime, TrainSpec
from palette.system.randomness import generator

SIZE = 16
NETWORK = Network(channels=8, multipliers=(1, 2), blocks=1, attention=(8,), head_channels=8)


def pictures(count: int, seed: int = 0) -> list[npt.NDArray[np.uint8]]:
    """uint8 [SIZE, SIZE, 3] each."""
    random = generator(seed, "pictures")
    quarters = random.integers(0, 256, (count, 2, 2, 3), dtype=np.uint8)
    return [np.kron(q, np.ones((SIZE // 2, SIZE // 2, 1), np.uint8)) for q in quarters]


def named(images: list[npt.NDArray[np.uint8]]) -> Iterator[StoredImage]:
    for index, image in enumerate(images):
        yield StoredImage(f"{index:08}.png", image, index % 2)


def prepared(results: Path) -> Path:
    """Write a prepare stage of 20 training and 6 test images; return the results folder."""
    write_store(results / "prepare/tiny/train.zip", named(pictures(20)), ["even", "odd"])
    write_store(results / "prepare/tiny/test.zip", named(pictures(6, seed=1)), ["even", "odd"])
    write_store(results / "mask/tiny/masks.zip", (StoredImage(f"{i:08}.png", half()) for i in range(6)), ["mask"])
    return results


def half() -> npt.NDArray[np.bool_]:
    """bool [SIZE, SIZE]: the right half."""
    return np.broadcast_to(np.arange(SIZE) >= SIZE // 2, (SIZE, SIZE)).copy()


def train_spec(**changes: Any) -> TrainSpec:
    options: dict[str, Any] = {
        "name": "tiny",
        "parents": {"prepare": "prepare/tiny"},
        "mix": {"colorization": 1.0, "inpainting": 1.0},
        "image_size": SIZE,
        "network": NETWORK,
        "objective": Objective(),
        "seed": 0,
        "steps": 12,
        "batch_size": 8,
        "accumulate": 1,
        "learning_rate": 1e-3,
        "warmup": 4,
        "ema": 0.9,
        "ema_widths": (),
        "clip": 1.0,
        "flip": True,
        "precision": "fp32",
        "validation_images": 0,
        "start_sha256": None,
        "runtime": TrainRuntime(checkpoint_every=4),
    }
    return TrainSpec(**{**options, **changes})


def sample_spec(train: TrainSpec, **changes: Any) -> SampleSpec:
    options: dict[str, Any] = {
        "name": "tiny",
        "parents": {"prepare": "prepare/tiny", "train": train.folder},
        "baseline": None,
        "degradation": "colorization",
        "strength": None,
        "sampler": Sampler(steps=3),
        "seed": 0,
        "image_size": SIZE,
        "count": 6,
        "batch_size": 4,
        "shard_size": 4,
        "draws": 3,
        "draw_inputs": 2,
    }
    return SampleSpec(**{**options, **changes})


def stage(results: Path, spec: Spec) -> Stage[Any]:
    """The stage of `spec`, its spec.yaml written."""
    return Stage.read(spec.write(results))
