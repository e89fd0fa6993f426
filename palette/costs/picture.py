"""A schedule as a picture: a line a GPU, a bar a job, its kind as color."""

from collections import defaultdict
from pathlib import Path

from palette.costs.schedule import Schedule
from palette.files import replacing

COLORS = {"train": "#3b6ea5", "sample": "#e0a030", "features": "#5a9e6f", "extractor": "#b0594f"}


def draw(schedule: Schedule, path: Path, title: str) -> None:
    """Write it in the format of the path's ending, SVG or PNG."""
    from matplotlib.figure import Figure

    unit, name = (3600.0, "hours") if schedule.seconds > 2 * 3600 else (60.0, "minutes")
    bars: dict[tuple[str, int], list[tuple[float, float]]] = defaultdict(list)
    for placed in schedule.placed:
        for device in placed.devices:
            bars[placed.estimate.kind, device].append((placed.start / unit, placed.estimate.seconds / unit))
    figure = Figure(figsize=(11, max(2.5, 1.2 + 0.09 * schedule.gpus)), layout="constrained")
    axes = figure.add_subplot()
    labeled = set()
    for (kind, device), spans in sorted(bars.items()):
        label = None if kind in labeled else kind
        labeled.add(kind)
        axes.broken_barh(spans, (device + 0.05, 0.9), color=COLORS.get(kind, "#888888"), label=label, linewidth=0)
    each = schedule.gpus // schedule.nodes
    for node in range(schedule.nodes + 1):
        axes.axhline(node * each, color="#333333", linewidth=0.6)
    axes.set_yticks(
        [(node + 0.5) * each for node in range(schedule.nodes)], [f"node {n}" for n in range(schedule.nodes)]
    )
    axes.set_ylim(schedule.gpus, 0)
    axes.set_xlim(0, schedule.seconds / unit)
    axes.set_xlabel(name)
    axes.set_title(f"{title}: {schedule.seconds / unit:,.1f} {name}, {schedule.idle:.0%} idle", fontsize=10)
    figure.legend(loc="outside right upper", fontsize=8)
    with replacing(path) as temporary:
        figure.savefig(
            temporary,
            format=path.suffix.lstrip(".") or "svg",
            metadata={"Date": None} if path.suffix == ".svg" else None,
        )
