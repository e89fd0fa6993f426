"""Get a dataset's original images and record where they came from."""

from typing import Any

from palette.config.datasets import Fetch, KnownDataset
from palette.stages.base import Planned, Spec, Usual, Work
from palette.stages.stage import Stage


class FetchSpec(Spec):
    """Fetched dataset → `images/…` or a listing of the user's folder, in `manifest.jsonl`."""

    kind = "fetch"
    verb = "fetch"
    files = ("manifest.jsonl",)
    usual = Usual(memory_gb=4, hours=4)
    options = {
        "fetch": "datasets.{dataset}.fetch",
        "listing": "the files of datasets.{dataset}.fetch.path",
    }
    fetch: Fetch
    known: KnownDataset | None = None
    """Registry entry of a published dataset; None for others."""
    listing: str | None = None
    """Digest of the user's file names and sizes, so that a new image is noticed."""

    def _content(self, exclude: set[str]) -> dict[str, Any]:
        """Return what the hash covers: of a published dataset its checksums, not where its files are and who offers them."""
        content = super()._content(exclude)
        if self.known is not None:
            names = ("reader", "splits", "torchvision", "arguments", "files")
            content["known"] = {name: content["known"][name] for name in names}
            for file in [*content["known"]["files"], *content["fetch"]["files"]]:
                del file["urls"]
            del content["fetch"]["path"]
        return content

    def work(self, planned: Planned, shard: str | None = None) -> Work:
        from palette.data.sources.planned import to_check

        return Work(images=to_check(self, planned.results, planned.pictures.get(self.name)))


def run(stage: Stage[FetchSpec]) -> None:
    """Write `manifest.jsonl`, and next to it copies of the images that cannot be read in place."""
    from palette.data import fetch

    fetch.run(stage)
