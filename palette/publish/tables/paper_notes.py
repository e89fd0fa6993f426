"""Notes under a table that follows the paper: its terms, our test images, and whether the protocol is the paper's."""

from collections.abc import Iterator
from math import ceil, isfinite

import pandas as pd

from palette.publish.tables.published import of_table
from palette.publish.tables.scores import SCORE, VALUE, each
from palette.stages.tabulate import TabulateSpec

GROUPS = {
    "imagenet": "ImageNet",
    "places2": "Places2",
    "places2-top-50": "Places2, top 50",
    "places2-scenery": "Places2, scenery",
    "inpainting": "Inpainting",
    "colorization": "Colorization",
}
UNKNOWN = {
    10: "The paper does not list the 50 categories, nor how many images of each it took",
    11: "The paper does not list the categories of scenery, nor how many images it took",
}
"""Tables whose test images are not known."""
IMAGES = "images"
"""The last column of each group: number of our images and seeds."""
NOT_RUN, NOT_MEASURED, RATERS, NO_PROTOCOL = "not run", "not measured", "needs raters", "unknown protocol"
ONE_SOURCE = "°"
"""Marks a number of the paper that only one transcription has."""
PAPER_SIZE = 256
"""Side of the paper's images in pixels."""
TOLERANCE = 10
"""Largest difference of the originals' scores, in percent, at which the protocols are considered equal."""


def notes(spec: TabulateSpec, scores: pd.DataFrame, records: pd.DataFrame) -> Iterator[str]:
    """Yield the notes that a reader needs to judge each cell.

    scores: all of ours, with their columns in the paper. records: the numbers of the table.
    """
    paper = spec.table.paper or 0
    yield (
        "paper: Saharia et al. 2022. quoted: another method’s number as that paper gives it, not measured here. ours: measured here. "
        "difference: ours less the paper’s."
    )
    yield "Bold: the best of the paper’s numbers and the best of ours, in each block. ↓: lower is better; ↑: higher is better."
    if records.published_certainty.eq("one source").any():
        yield f"{ONE_SOURCE}: only one source for what the paper prints was at hand."
    reasons = {
        NOT_RUN: "no experiment of this config repeats that row there",
        NOT_MEASURED: "none of `score.extractors` gives that score there",
        RATERS: "people said which of two images is from a camera; a workflow cannot",
        NO_PROTOCOL: UNKNOWN.get(paper, ""),
    }
    found = set(records.status[records.column != IMAGES])
    yield from (f"{reason}: {about}." for reason, about in reasons.items() if reason in found)
    if scores.small.eq(True).any():
        yield "†: fewer images than this score can be trusted with."
    if scores.deviation.notna().any():
        yield "±: standard deviation over training seeds."
    if scores.low.notna().any():
        yield "In brackets: 95 % interval over the test images; it does not cover the chance of training."
    yield from _datasets(spec, scores, paper)
    if paper not in UNKNOWN and any(tested.published for tested in spec.datasets.values()):
        yield from _calibration(scores, records[records.place == "originals"])
    shown = scores[scores.column.isin(records.column)].drop_duplicates(["line", "column"])
    order = list(dict.fromkeys(records.column))
    shown = shown.assign(order=shown.column.map(order.index)).sort_values(["line", "order"]).drop_duplicates("score")
    yield from (f"{score.name}: {score.about}." for score in each(shown))


def _datasets(spec: TabulateSpec, scores: pd.DataFrame, paper: int) -> Iterator[str]:
    """Yield what our scores were measured on, and how that differs from the paper."""
    for name, tested in spec.datasets.items():
        against = (
            f"all {tested.reference_images:,} images of its reference" if tested.reference_images else "its originals"
        )
        about = f"{name}: {tested.images:,} test images of {tested.image_size} pixels, FID against {against}"
        if tested.published is None:
            about += "; other images than the paper’s, so compare the order of the rows, not the values"
        elif tested.image_size != PAPER_SIZE:
            about += f"; the paper’s have {PAPER_SIZE} pixels, so differences are not of the method alone"
        yield f"{about}."
    masks = sorted(scores.condition[scores.degradation == "inpainting"].dropna().unique())
    if masks and any(number.condition == "unknown" for number in of_table(paper)):
        yield f"The paper does not say which mask this table has; ours: {', '.join(masks)}."


def _calibration(scores: pd.DataFrame, originals: pd.DataFrame) -> Iterator[str]:
    """Yield whether the originals score as in the paper. If not, the protocol differs, and so does every number."""
    if not originals.published.notna().any():
        yield "Calibration: the paper gives no scores of the original images here, so nothing tells whether the protocol matches."
        return
    every = scores[["line", "column", "other_network", *SCORE, *VALUE]]
    for group in originals.group.unique():
        numbers = originals[originals.group == group]
        if numbers.line.isna().all():
            yield f"Calibration: no original images of {GROUPS[group]} were scored, so nothing tells whether the protocol matches."
        numbers = numbers[numbers.published_value.notna() & numbers.published_value.ne(0)]
        numbers = numbers[["line", "column", "published", "published_value", "score"]].rename(
            columns={"score": "shown"}
        )
        pairs = numbers.merge(every, on=["line", "column"])
        pairs = pairs[~pairs.other_network & pairs.value.map(isfinite)]
        yield from (_verdict(GROUPS[group], found) for _, found in pairs.groupby("line", sort=False))


def _verdict(group: str, pairs: pd.DataFrame) -> str:
    """Return `Calibration, ImageNet: the original images score FID 2.74 (paper 2.7, +1 %). By the scores shown, …`."""
    share = 100 * (pairs.value - pairs.published_value) / pairs.published_value
    texts = [
        f"{pair.name} {pair.value:.{pair.digits}f} (paper {pair.published}, {pair.share:+.0f} %)".replace(
            "-0 %", "+0 %"
        )
        for pair in each(pairs.assign(share=share))
    ]
    worst = ceil(share[pairs.score == pairs.shown].abs().max())
    verdict = f"matches within {worst} %" if worst <= TOLERANCE else f"does not match: up to {worst} % apart"
    return f"Calibration, {group}: the original images score {'; '.join(texts)}. By the scores shown, the protocol {verdict}."
