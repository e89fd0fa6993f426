"""`palette.load`: a trained or imported model, ready to restore photos."""

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import torch
from PIL import Image as Pictures
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open

from palette.config.models import Network
from palette.config.sampling import SAMPLERS, Sampler
from palette.data.images.degraded import Image
from palette.data.images.depth import Range
from palette.diffusion.denoiser import Watch
from palette.diffusion.inference import Restorer, network_with
from palette.errors import ConfigError, DataError
from palette.model.facts import Facts, facts_from
from palette.model.facts import read_facts as read_model_json
from palette.model.unet import UNet
from palette.restore.canvas import Canvas, Extend, Request, canvas, is_whole, working_size
from palette.restore.memory import free_memory, within_memory
from palette.restore.photo import Photo, pixels_of

AT_ONCE = 8
"""Number of training images whose total pixels bound the samples made at a time, of which there is at least one."""

FEATURE_MAPS = 10
"""Minimum number of full-resolution feature maps that a network holds: 11 to 25 were measured on a CPU."""


def read_facts(weights: Path) -> Facts:
    """Read the facts from the metadata of a `model.safetensors`, or from the `model.json` next to it."""
    try:
        with safe_open(weights, framework="pt") as file:
            spec = (file.metadata() or {}).get("spec")
        beside = weights.with_name("model.json")
        if spec is None and not beside.exists():
            raise DataError(
                f"{weights}: does not say what network it is of: its metadata have no `spec`, and there is no {beside.name} "
                "beside it. Weights of other programs come in by `python -m palette import`."
            )
        return read_model_json(beside) if spec is None else facts_from(json.loads(spec), weights)
    except OSError as error:
        raise DataError(f"{weights}: {error.strerror or error}. A model is a folder with model.safetensors.") from None
    except (SafetensorError, json.JSONDecodeError) as error:
        raise DataError(f"{weights}: not a readable safetensors file of a model ({error}).") from None


def load(model: str | os.PathLike[str], device: str | torch.device | None = None) -> "Model":
    """Load a trained or imported model for restoring photos.

    model: its folder, or its `model.safetensors`. device: `cpu`, `cuda`, `cuda:1`; default: a GPU if there is one.
    Raises DataError for anything that is not a model, and ConfigError for an unusable device.
    """
    if not isinstance(model, str | os.PathLike):
        raise ConfigError(f"model {model!r}: should be a path, a model's folder or its model.safetensors.")
    path = Path(model)
    weights = path / "model.safetensors" if path.is_dir() else path
    if not weights.exists():
        raise DataError(
            f"{weights}: no such file. A model is a folder with model.safetensors, such as a training's in results/train/."
        )
    return Model(weights, read_facts(weights), _device(device or ("cuda" if torch.cuda.is_available() else "cpu")))


def _device(name: str | torch.device) -> torch.device:
    try:
        torch.empty(0, device=name)
        return torch.device(name)
    except (RuntimeError, AssertionError, TypeError) as error:  # AssertionError: torch without CUDA
        advice = "Choose `cpu`, `cuda`, or `cuda:1` and so on where there is such a GPU."
        raise ConfigError(f"device {name!r}: {str(error).splitlines()[0]}. {advice}") from None


def _require_whole(name: str, value: object, least: int) -> None:
    if not is_whole(value, least):
        raise ConfigError(f"{name} {value!r}: should be a whole number, {least} or more.")


class Model:
    """Loaded model, made by `load`."""

    def __init__(self, weights: Path, facts: Facts, device: torch.device) -> None:
        self.weights, self.facts, self.device = weights, facts, device
        self.network = self._network(None)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks that the model was trained on, in alphabetical order."""
        return tuple(sorted(self.facts.mix))

    @property
    def image_size(self) -> int:
        """Side of the images that the model was trained on, in pixels."""
        return self.facts.image_size

    @property
    def stochastic(self) -> bool:
        """True if samples of one photo differ. A regression gives one result only."""
        return self.facts.objective.kind != "regression"

    def restore(
        self,
        photo: Photo,
        task: str | None = None,
        *,
        samples: int = 1,
        seed: int = 0,
        mask: Photo | None = None,
        sampler: Sampler | str | None = None,
        steps: int | None = None,
        size: int | Literal["full"] | None = None,
        extend: Extend | None = None,
        factor: int | None = None,
        batch: int | None = None,
        value_range: Range | None = None,
        filter: str = "lanczos",
    ) -> list[Pictures.Image]:
        """Return `samples` restored images; only one if the model is a regression.

        photo: a file, a Pillow image or uint8 [H, W, 3]; of any size and aspect ratio. It is the degraded image itself.
        task: may be omitted for a model of one task.
        seed: of the noise, which depends only on it, on the network's input and on the number of the sample.
        mask: for inpainting: like `photo`, of the same size, or bool [H, W]; white or True where to generate.
        sampler, steps: an algorithm's name with its number of steps, or a `palette.config.sampling.Sampler`.
            Default: `dpm++2m`, 20.
        size: short side of the result in pixels, or `full` for the photo's own. Default: the training size; for
            super-resolution `full`, which there means `factor` times the photo.
        extend: for uncropping: `right` (default), `left`, `top`, `bottom` or `all`. Half of the result is new.
        factor: for super-resolution: 2 to 16, default 4.
        batch: samples made at a time; by default it depends on their size. Affects results by rounding only.
        value_range: the values that are black and white, for a photo with more than 8 bits.
        filter: filter for resizing the photo; for a model of pairs, that of their conditions: `nearest` for labels.

        Raises ConfigError for what the model or the task cannot do, DataError for files that cannot be used.
        """
        _require_whole("seed", seed, 0)
        samples = self.samples_of(samples, batch)
        request = Request(self.task_of(task), size, mask, extend, factor, filter)
        chosen = self.sampler_of(sampler, steps)
        ready = self.canvas(pixels_of(photo, value_range=value_range), request)
        return [Pictures.fromarray(image) for image in self.draw(ready, samples, seed, chosen, batch)]

    def task_of(self, task: str | None) -> str:
        """Return the requested task, or the model's only one. Raises ConfigError unless the model was trained on it."""
        if task is None and len(self.tasks) == 1:
            return self.tasks[0]
        if task is None or task not in self.tasks:
            fault = "task: missing" if task is None else f"task {task!r}: not one that this model was trained on"
            tasks = ", ".join(self.tasks) or "none: it is a start for a training"
            raise ConfigError(f"{fault}. The tasks of {self.weights}: {tasks}.")
        return task

    def sampler_of(self, sampler: Sampler | str | None, steps: int | None) -> Sampler | None:
        """Return the requested sampler; None for a regression. Raises ConfigError for an invalid one."""
        if not self.stochastic:
            if sampler is not None or steps is not None:
                raise ConfigError(f"sampler, steps: have no meaning for {self.weights}, a regression: it runs once.")
            return None
        if isinstance(sampler, Sampler):
            if steps is not None:
                raise ConfigError(f"steps: {steps} given beside a Sampler, which has its own ({sampler.steps}).")
            return sampler
        options = {key: value for key, value in (("kind", sampler), ("steps", steps)) if value is not None}
        try:
            return Sampler.model_validate(options)
        except ValidationError:
            kinds = ", ".join(SAMPLERS)
            given = ", ".join(f"{'sampler' if key == 'kind' else key} {value!r}" for key, value in options.items())
            raise ConfigError(f"{given}: a sampler is one of {kinds}, its steps a number from 1 to 10000.") from None

    def samples_of(self, samples: int, batch: int | None) -> int:
        """Return the number of samples that will be made. Raises ConfigError for invalid numbers."""
        _require_whole("samples", samples, 1)
        if batch is not None:
            _require_whole("batch", batch, 1)
        return samples if self.stochastic else 1

    def canvas(self, photo: Image, request: Request) -> Canvas:
        """Prepare a photo, uint8 [H, W, 3]. Raises DataError for a mask that does not fit it."""
        with within_memory("the photo does not fit into memory. Choose a smaller size."):
            return canvas(photo, request, self.image_size, self._multiple)

    def pixels(self, width: int, height: int, request: Request) -> int:
        """Return the pixels of the network's input for a photo of `width` × `height`. Raises DataError for too many."""
        sides = working_size(width, height, request, self.image_size)
        return math.prod(-(-side // self._multiple) * self._multiple for side in sides)

    @property
    def _multiple(self) -> int:
        """Number that must divide the sides. Local attention cuts each feature map into quarters, even the smallest."""
        network = self.facts.network
        return network.reduction * (2 if network.context == "local-attention" else 1)

    def draw(
        self,
        ready: Canvas,
        samples: int,
        seed: int,
        sampler: Sampler | None,
        batch: int | None = None,
        watch: Watch | None = None,
        first: int = 0,
    ) -> Iterator[Image]:
        """Yield samples from number `first` on, uint8 [height, width, 3].

        watch: called with every intermediate state, of the padded size, and the estimate of the clean image there.
        Raises DataError if the samples do not fit into memory.
        """
        numbers = range(first, self.samples_of(samples, batch))
        network = self.network if sampler is None or sampler.ema_width is None else self._network(sampler)
        restorer = Restorer(network, self.facts.objective.kind, sampler, seed, self.device, self.facts.precision)
        height, width = ready.degraded.image.shape[:2]
        step = batch or max(1, AT_ONCE * self.image_size**2 // (height * width))
        for start in range(0, len(numbers), step):
            jobs = [(ready.key, number) for number in numbers[start : start + step]]
            with _enough_memory(self.facts.network, self.device, len(jobs), height, width):
                images = restorer([ready.degraded] * len(jobs), jobs, watch)
            yield from map(ready.cropped, images)

    def _network(self, sampler: Sampler | None) -> UNet:
        """Return the network with the average of the weights that `sampler` requests."""
        width = sampler.ema_width if sampler else None
        weights = self.weights if width is None else self.weights.with_name("averages.safetensors")
        if not weights.exists():
            raise DataError(f"{weights}: missing; the training kept no averages to choose from (`train.ema_widths`).")
        advice = "Free some there, or compute on the CPU: `CUDA_VISIBLE_DEVICES=` before the command."
        with within_memory(f"{weights}: the network does not fit into the memory of {self.device}. {advice}"):
            return network_with(self.facts.network, self.image_size, weights, self.device, width)


@contextmanager
def _enough_memory(network: Network, device: torch.device, count: int, height: int, width: int) -> Iterator[None]:
    """Raise DataError if `count` samples do not fit into memory: before they are made where that can be known."""
    needed = FEATURE_MAPS * count * height * width * network.channels * 4 / network.patch_size**2
    too_large = (
        f"{count} at a time of {width}×{height} pixels do not fit into the memory of {device}, for they need more than "
        f"{needed / 2**30:.1f} GiB. Choose a smaller size, or a smaller batch."
    )
    free = free_memory() if device.type == "cpu" else None
    if free is not None and needed > free:
        raise DataError(too_large)
    with within_memory(too_large):
        yield
