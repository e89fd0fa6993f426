"""`palette sample`: the test images of one shard, degraded and restored → `shard-000.zip` and `draws-000.zip`."""

from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

from palette.data.degraded import Degraded, Image
from palette.data.randomness import generator
from palette.data.store import ImageStore, StoredImage, write_store
from palette.data.tasks import TASKS
from palette.errors import DataError
from palette.files import read_json
from palette.progress import track
from palette.spec import SampleSpec
from palette.stage import Stage, verify

if TYPE_CHECKING:
    from palette.diffusion.restore import Restorer

Job = tuple[int, int]
"""Test index, draw."""


def run(stage: Stage[SampleSpec], shard: int) -> None:
    """Sample the test images of `shard`."""
    spec = stage.spec
    with closing(Inputs(stage)) as inputs:
        restorer = None if spec.baseline == "input" else load(stage)
        for name, jobs in (("shard", first_draws(spec, shard)), ("draws", further_draws(spec, shard))):
            images = restored(spec, jobs, inputs, restorer)
            shown = track(images, f"sample {spec.name} {name} {shard}", len(jobs), "images")
            write_store(stage.path(f"{name}-{shard:03}.zip"), shown, inputs.tests.classes)
    stage.write_card(
        [f"shard-{shard:03}.zip", f"draws-{shard:03}.zip"],
        name=f"shard-{shard:03}.json",
        seed=spec.seed,
        images=len(first_draws(spec, shard)),
        device="cpu" if restorer is None else str(restorer.device),
    )


def first_draws(spec: SampleSpec, shard: int) -> list[Job]:
    """Draw 0 of each test image of the shard."""
    first = shard * spec.shard_size
    return [(index, 0) for index in range(first, min(spec.count, first + spec.shard_size))]


def further_draws(spec: SampleSpec, shard: int) -> list[Job]:
    """Draws 1 and up of those test images of the shard that get several; none where a second draw would be the same."""
    if spec.sampler is None:
        return []
    indices = [index for index, _ in first_draws(spec, shard) if index < spec.draw_inputs]
    return [(index, draw) for index in indices for draw in range(1, spec.draws)]


class Inputs:
    """The degraded test images, by index: the same for every model and seed."""

    def __init__(self, stage: Stage[SampleSpec]) -> None:
        self.spec = stage.spec
        self.tests = ImageStore(stage.parent("prepare", "test.zip"))
        self.masks = ImageStore(stage.parent("mask", "masks.zip")) if "mask" in stage.spec.parents else None
        if len(self.tests) < self.spec.count:
            raise DataError(
                f"{self.tests.path}: {len(self.tests)} images, but the plan counts {self.spec.count}. Run `snakemake` again."
            )

    def __getitem__(self, index: int) -> Degraded:
        mask = None if self.masks is None else self.masks.mask(index)
        task = TASKS[self.spec.degradation]
        return task.evaluate(self.tests[index], generator(0, "evaluate", index), mask, self.spec.quality)

    def close(self) -> None:
        self.tests.close()
        if self.masks is not None:
            self.masks.close()


def load(stage: Stage[SampleSpec]) -> "Restorer":
    """The trained model, ready to sample."""
    import torch  # here, for the baseline does without

    from palette.diffusion.restore import Restorer, load_network

    torch.set_num_threads(stage.spec.runtime.threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = stage.parent("train", "model.json")
    weights = verify(stage.parent("train", "card.json"), "model.safetensors")
    facts = read_json(model)
    network = load_network(model, weights, device)
    bf16 = facts["precision"] == "bf16"
    return Restorer(network, facts["objective"]["kind"], stage.spec.sampler, stage.spec.seed, device, bf16)


def restored(spec: SampleSpec, jobs: list[Job], inputs: Inputs, restorer: "Restorer | None") -> Iterator[StoredImage]:
    """The finished images of `jobs`, in order; without a restorer, the degraded images themselves."""
    for start in range(0, len(jobs), spec.batch_size):
        batch = jobs[start : start + spec.batch_size]
        degraded = [inputs[index] for index, _ in batch]
        images = [d.image for d in degraded] if restorer is None else restorer(degraded, batch)
        for (index, draw), image in zip(batch, images, strict=True):
            yield stored(index, draw, image, inputs.tests)


def stored(index: int, draw: int, image: Image, tests: ImageStore) -> StoredImage:
    """`00000017.png`, or `00000017-2.png` for a further draw; label and origin as the test image's."""
    name = f"{index:08}-{draw}.png" if draw else f"{index:08}.png"
    return StoredImage(name, image, tests.labels[index], {"index": index, "draw": draw, "original": tests.names[index]})
