"""fetch: where the original images come from, listed in `manifest.jsonl` with the SHA-256 of each."""

from collections.abc import Mapping
from typing import Any, ClassVar

from palette.config.datasets import Fetch, KnownDataset
from palette.stages.base import Spec, Usual
from palette.stages.stage import Stage


class FetchSpec(Spec):
    """→ `images/…` or a listing of the user's folder, in `manifest.jsonl`."""

    kind = "fetch"
    verb = "fetch"
    files = ("manifest.jsonl",)
    usual = Usual(memory_gb=4, hours=4)
    options: ClassVar[Mapping[str, str]] = {
        "fetch": "datasets.{dataset}.fetch",
        "listing": "the files of datasets.{dataset}.fetch.path",
    }
    fetch: Fetch
    known: KnownDataset | None = None
    """Of a published dataset, what the registry says of it."""
    listing: str | None = None
    """Digest of the user's file names and sizes, so that a new image is noticed."""

    def _content(self, exclude: set[str]) -> dict[str, Any]:
        """A published dataset is what its checksums say: where its files lie and who offers them changes nothing."""
        content = super()._content(exclude)
        if self.known is not None:
            kept = {"reader", "splits", "torchvision", "arguments", "files"}
            content["known"] = {key: value for key, value in content["known"].items() if key in kept}
            for file in [*content["known"]["files"], *content["fetch"]["files"]]:
                del file["urls"]
            del content["fetch"]["path"]
        return content


def run(stage: Stage[FetchSpec]) -> None:
    """Write `manifest.jsonl`, and beside it what cannot be read where it lies."""
    from palette.data import fetch

    fetch.run(stage)
