"""Originals as square images of one size, in a training and a test store without a shared pixel."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from palette.config.datasets import Squares
from palette.stages.base import Planned, Runtime, Spec, Usual, Work
from palette.stages.stage import Stage


class PrepareRuntime(Runtime):
    """Runtime options of `prepare`: the limits at which it stops, and the list of test images."""

    bad_limit: float = 0.001
    strict: bool = False
    test_list: Path | None = None
    classes: int = 1
    """Fewest classes that its scores need, if the plan could not count them."""


class PrepareSpec(Spec):
    """Prepared dataset: fetch → `train.zip`, `test.zip`, and `train-conditions.zip`, `test-conditions.zip`.

    The conditions are empty unless the dataset is of pairs.
    """

    kind = "prepare"
    verb = "prepare"
    reads = ("fetch",)
    files = ("train.zip", "test.zip", "train-conditions.zip", "test-conditions.zip", "prepare.json")
    usual = Usual(memory_gb=8, hours=4)
    options: ClassVar[Mapping[str, str]] = {
        "prepare": "datasets.{dataset}.prepare",
    }
    runtime: PrepareRuntime = PrepareRuntime()
    prepare: Squares
    test_list_sha256: str | None = None
    """SHA-256 of the list of test images; None: they are drawn."""

    def work(self, planned: Planned, shard: str | None = None) -> Work:
        from palette.stages.fetch import FetchSpec

        options, fetch = self.prepare, planned.parent(self, "fetch")
        train = planned.pictures.get(self.name, 0) if options.train_images is None else options.train_images
        images, pixels = train + options.test_images, options.image_size**2
        paired = isinstance(fetch, FetchSpec) and fetch.fetch.source == "pairs"
        return Work(images=images, megapixels=pixels / 1e6, bytes=images * pixels * (6 if paired else 3))


def run(stage: Stage[PrepareSpec]) -> None:
    """Write `train.zip`, `test.zip`, their conditions (empty stores unless the dataset is of pairs) and `prepare.json`.

    Partial results grow in `.parts`. A run that was killed is resumed there, and files under their final names are
    complete. A second process waits for the first, which must find its files untouched, and uses its results.
    """
    from palette.data import prepare

    prepare.run(stage)
