"""Make square images of one size: a training and a test store.

The two share no pixel.
"""

from pathlib import Path

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
    """Prepared dataset: fetch → stores of images, and of conditions, which are empty unless the dataset is of pairs."""

    kind = "prepare"
    verb = "prepare"
    reads = ("fetch",)
    files = ("train.zip", "test.zip", "train-conditions.zip", "test-conditions.zip", "prepare.json")
    usual = Usual(memory_gb=8, hours=4)
    options = {"prepare": "datasets.{dataset}.prepare"}
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
    """Write the stores and `prepare.json`.

    Partial results grow in `.parts`, where a run that was killed is resumed. A second process waits for the first,
    which must find its files untouched, and uses its results.
    """
    from palette.data import prepare

    prepare.run(stage)
