"""Common style of all plots: colors and axes, and files that are reproducible and readable on light and dark pages."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from palette.system.files import replacing

INK, INK_ON_DARK = "#1a1d23", "#e6e7ea"
"""Colors of text and axes."""
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", INK)
"""Okabe and Ito's colors, for every kind of color vision; INK instead of their black."""
STYLES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DARK = (
    "@media (prefers-color-scheme: dark) {"
    f'[style*="fill: {INK}"] {{fill: {INK_ON_DARK} !important}} '
    f'[style*="stroke: {INK}"] {{stroke: {INK_ON_DARK} !important}}}}'
)
"""Makes INK light within an SVG on a dark page; printed pages are light."""


@contextmanager
def look() -> Iterator[None]:
    """Apply our colors and a faint grid to axes created in this context."""
    ink = {"text.color": INK, "axes.edgecolor": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK}
    with mpl.rc_context(ink), mpl.rc_context({"axes.grid": True, "grid.color": "#8a8f99", "grid.alpha": 0.3}):  # type: ignore[arg-type]
        yield


def plain(axes: Axes) -> None:
    """Remove the frame except for the two axes."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)


def save(figure: Figure, path: Path) -> None:
    """Write `path` as SVG without a background, and a PNG on white beside it; equal figures give equal bytes."""
    with replacing(path) as temporary, mpl.rc_context({"svg.hashsalt": "palette", "svg.fonttype": "path"}):
        figure.savefig(temporary, format="svg", metadata={"Date": None}, transparent=True)
        text = temporary.read_text(encoding="utf-8")
        temporary.write_text(text.replace("</style>", f"{DARK}</style>", 1), encoding="utf-8")
    with replacing(path.with_suffix(".png")) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None}, facecolor="white")
