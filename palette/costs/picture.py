"""Picture of a schedule: one line per GPU, one bar per job, colored by kind and shaded to tell neighbors apart."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from palette.costs.schedule import Schedule
from palette.system.files import replacing

COLORS = {"train": "#2f6299", "sample": "#e0a030", "features": "#4f9466", "extractor": "#b0594f"}
SHADES = (1.0, 0.75, 0.5)
UNITS = ((2 * 86400, 86400, "days"), (2 * 3600, 3600, "hours"), (0, 60, "minutes"))
"""(Least duration in seconds for which the unit is used, seconds per unit, name)."""


def draw(schedule: Schedule, path: Path, title: str) -> None:
    """Write the picture in the format of the file extension, SVG or PNG."""
    from matplotlib.figure import Figure

    unit, name = next((size, name) for least, size, name in UNITS if schedule.seconds >= least)
    figure = Figure(figsize=(11, max(2.5, 1.2 + 0.09 * schedule.gpus)), layout="constrained")
    axes = figure.add_subplot()
    labeled = set()
    for (kind, shade, first, count), spans in _bars(schedule, unit).items():
        label = None if kind in labeled else kind
        labeled.add(kind)
        color = COLORS.get(kind, "#888888")
        axes.broken_barh(spans, (first, count), color=color, alpha=SHADES[shade], label=label, linewidth=0)
    each = schedule.gpus // schedule.nodes
    for node in range(schedule.nodes + 1):
        axes.axhline(node * each, color="white", linewidth=1)
    names = [f"node {node}" for node in range(schedule.nodes)]
    axes.set_yticks([(node + 0.5) * each for node in range(schedule.nodes)], names)
    axes.set(ylim=(schedule.gpus, 0), xlim=(0, max(schedule.seconds / unit, 1e-9)), xlabel=name)
    axes.set_title(f"{title}: {schedule.seconds / unit:,.1f} {name}, {schedule.idle:.1%} idle", fontsize=10)
    if labeled:
        figure.legend(loc="outside right upper", fontsize=8)
    metadata = {"Date": None} if path.suffix == ".svg" else None
    with replacing(path) as temporary:
        figure.savefig(temporary, format=path.suffix.lstrip("."), metadata=metadata)


def _bars(schedule: Schedule, unit: float) -> dict[tuple[str, int, int, int], list[tuple[float, float]]]:
    """Return (kind, shade, first device, number of devices) → start and length of each bar, in `unit` seconds."""
    bars: dict[tuple[str, int, int, int], list[tuple[float, float]]] = defaultdict(list)
    stages: dict[str, int] = {}
    for placed in schedule.placed:
        estimate = placed.estimate
        shade = stages.setdefault(estimate.job.folder, len(stages)) % len(SHADES)
        for first, count in _runs(placed.devices):
            bars[estimate.kind, shade, first, count].append((placed.start / unit, estimate.seconds / unit))
    return dict(sorted(bars.items()))


def _runs(devices: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield the runs of adjacent devices: the first, and how many."""
    start = None
    for device in sorted(devices):
        start = device if start is None else start
        if device + 1 not in devices:
            yield start, device + 1 - start
            start = None
