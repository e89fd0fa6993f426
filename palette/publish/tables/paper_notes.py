"""Notes under a table that follows the paper: its terms, our test images, and whether the protocol is the paper's."""

from collections.abc import Iterator, Sequence
from math import ceil

from palette.publish.tables.paper_layout import (
    GROUPS,
    IMAGES,
    NO_PROTOCOL,
    NOT_MEASURED,
    NOT_RUN,
    ONE_SOURCE,
    OTHER_NETWORKS,
    RATERS,
    UNKNOWN,
    Layout,
    Place,
    cells,
    keys,
    shown,
    status,
)
from palette.publish.tables.results import Line, ScoreInfo

PAPER_SIZE = 256
"""Side of the paper's images in pixels."""
TOLERANCE = 10
"""Largest difference of the originals' scores, in percent, at which the protocols are considered equal."""


def notes(layout: Layout) -> list[str]:
    """Return the notes that a reader needs to judge each cell."""
    found = [
        "paper: Saharia et al. 2022. quoted: another method’s number as that paper gives it, not measured here. ours: measured here. "
        "difference: ours less the paper’s.",
        "Bold: the best of the paper’s numbers and the best of ours, in each block. ↓: lower is better; ↑: higher is better.",
    ]
    if any(number.certainty == "one source" for number in layout.numbers):
        found.append(f"{ONE_SOURCE}: only one source for what the paper prints was at hand.")
    found += [f"{reason}: {about}." for reason, about in _reasons(layout)]
    return found + list(_datasets(layout)) + list(_calibration(layout)) + _scores(layout)


def _reasons(layout: Layout) -> Iterator[tuple[str, str]]:
    """Yield the terms for missing values that occur in the table, with their meanings."""
    said = {status(layout, *cell) for cell in cells(layout)}
    meanings = {
        NOT_RUN: "no experiment of this config repeats that row there",
        NOT_MEASURED: "none of `score.extractors` gives that score there",
        RATERS: "people said which of two images is from a camera; a workflow cannot",
        NO_PROTOCOL: UNKNOWN.get(layout.paper, ""),
    }
    yield from ((reason, about) for reason, about in meanings.items() if reason in said)
    scores = [cell for line in layout.lines for cell in line.cells.values()]
    if any(cell.small for cell in scores):
        yield "†", "fewer images than this score can be trusted with"
    if any(cell.deviation is not None for cell in scores):
        yield "±", "standard deviation over training seeds"
    if any(cell.low is not None for cell in scores):
        yield "In brackets", "95 % interval over the test images; it does not cover the chance of training"


def _datasets(layout: Layout) -> Iterator[str]:
    """Yield what our scores were measured on, and how that differs from the paper."""
    for name, tested in layout.spec.datasets.items():
        against = (
            f"all {tested.reference_images:,} images of its reference" if tested.reference_images else "its originals"
        )
        about = f"{name}: {tested.images:,} test images of {tested.image_size} pixels, FID against {against}"
        if tested.published is None:
            about += "; other images than the paper’s, so compare the order of the rows, not the values"
        elif tested.image_size != PAPER_SIZE:
            about += f"; the paper’s have {PAPER_SIZE} pixels, so differences are not of the method alone"
        yield f"{about}."
    stated = {n.condition for n in layout.numbers}
    ours = sorted({line.row.condition for line in layout.lines if line.row.degradation == "inpainting"} - {None})  # type: ignore[type-var]
    if "unknown" in stated and ours:
        yield f"The paper does not say which mask this table has; ours: {', '.join(map(str, ours))}."


def _scores(layout: Layout) -> list[str]:
    """Return a description of each of our scores."""
    infos: dict[str, ScoreInfo] = {}
    for line in layout.lines:
        infos |= {k: line.infos[k] for c in layout.columns if c.metric != IMAGES and (k := shown(line, c))}
    return [f"{info.label}: {info.about}." for info in infos.values()]


def _calibration(layout: Layout) -> Iterator[str]:
    """Yield whether the originals score as in the paper.

    If not, the protocol differs, and so does every number above.
    """
    if layout.paper in UNKNOWN or not any(tested.published for tested in layout.spec.datasets.values()):
        return
    places = [place for place in layout.places.values() if place.model == "originals"]
    if not any(place.numbers for place in places):
        yield "Calibration: the paper gives no scores of the original images here, so nothing tells whether the protocol matches."
        return
    for group in layout.groups:
        pairs = [_apart(layout, place, ours[group], group) for place in places for ours in place.ours if group in ours]
        if not pairs:
            yield f"Calibration: no original images of {GROUPS[group]} were scored, so nothing tells whether the protocol matches."
        yield from (_verdict(GROUPS[group], found) for found in pairs if found)


def _apart(layout: Layout, place: Place, line: Line, group: str) -> list[tuple[str, str, str, float, bool]]:
    """Compare each score of the originals, by every network, with the paper's.

    Returns its label, our value, the paper's, the difference in percent, and whether the table shows it.
    """
    found = []
    for column in (c for c in layout.columns if c.group == group and c in place.numbers):
        theirs = place.numbers[column]
        for key in keys(line, column.metric):
            value, info = line.cells[key].value, line.infos[key]
            if theirs.value and value is not None and not key.endswith(OTHER_NETWORKS):
                share = 100 * (value - theirs.value) / theirs.value
                text = f"{value:.{info.digits}f}"
                found.append((info.label, text, theirs.text, share, key == shown(line, column)))
    return found


def _verdict(group: str, found: Sequence[tuple[str, str, str, float, bool]]) -> str:
    """Return `Calibration, ImageNet: the original images score FID 2.74 (paper 2.7, +1 %). By the scores shown, …`."""
    told = [
        f"{label} {ours} (paper {theirs}, {share:+.0f} %)".replace("-0 %", "+0 %")
        for label, ours, theirs, share, _ in found
    ]
    worst = ceil(max(abs(share) for *_, share, main in found if main))
    verdict = f"matches within {worst} %" if worst <= TOLERANCE else f"does not match: up to {worst} % apart"
    return f"Calibration, {group}: the original images score {'; '.join(told)}. By the scores shown, the protocol {verdict}."
