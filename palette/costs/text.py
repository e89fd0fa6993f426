"""Plans and comparisons as text."""

import re
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

from palette.scale import aligned, rounded, scaled

Facts = dict[str, Any]
LISTED, MENTIONED = 20, 4
"""Reasons of each kind that are listed, and changes that are mentioned in one."""


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3.4 h`, `5.1 days`."""
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            value = seconds / size
            return f"{value:,.0f} {unit}" if value >= 1000 else f"{value:.3g} {unit}"
    return f"{seconds:.0f} s"


def planned(facts: Facts) -> str:
    """What will run and why, kind by kind, and what it costs."""
    if not facts["stages"]:
        return f"Nothing to be done: all {facts['done']} stages of {facts['results']} are made."
    kinds = dict.fromkeys(stage["kind"] for stage in facts["stages"])
    parts = [_kind(kind, [s for s in facts["stages"] if s["kind"] == kind]) for kind in kinds]
    return "\n".join([*parts, "", _costs(facts)])


def _kind(kind: str, stages: Sequence[Facts]) -> str:
    jobs, time = sum(stage["jobs"] for stage in stages), sum(stage["seconds"] for stage in stages)
    lines = [f"{kind}: {_count(jobs, 'job')}, {duration(time)}"]
    alike: dict[str, list[str]] = {}
    for stage in stages:
        alike.setdefault(_why(stage["why"]), []).append(re.sub("-[0-9a-f]{10}$", "", stage["stage"].partition("/")[2]))
    for why, names in list(alike.items())[:LISTED]:
        lines.append(f"  {_names(names)}{why}")
    if len(alike) > LISTED:
        lines.append(f"  … and {len(alike) - LISTED} more reasons")
    return "\n".join(lines)


def _why(reasons: Sequence[str]) -> str:
    more = f"; and {len(reasons) - MENTIONED} more" if len(reasons) > MENTIONED else ""
    return "; ".join(reasons[:MENTIONED]) + more


def _names(names: Sequence[str]) -> str:
    """Of stages that are made for the same reason. Tabulate and report have no names."""
    if not names[0]:
        return ""
    return f"{', '.join(names[:2])} and {len(names) - 2} more: " if len(names) > 3 else f"{', '.join(names)}: "


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def briefly(facts: Facts) -> str:
    """What a dry run tells of its jobs' cost."""
    rows = _rows(facts)
    told = {name: rows[name] for name in ("jobs", "GPU-hours", "core-hours", "wall time", "disk")}
    return f"The cost of that, by estimate (`python -m palette plan` has the rest, and other GPUs):\n{aligned(told.items())}"


def _costs(facts: Facts) -> str:
    rows = _rows(facts)
    rows["jobs"] += f"; {facts['done']:,} of the stages are made"
    memory = [("memory", _memory(memory)) for memory in facts["memory"]]
    return aligned([*rows.items(), *memory, *(("times from", basis) for basis in _bases(facts["stages"]))])


def _rows(facts: Facts) -> dict[str, str]:
    totals, schedule = facts["totals"], facts["schedule"]
    unit = "core" if facts["device"] == "CPU core" else "GPU"
    nodes = f" over {schedule['nodes']} nodes" if schedule["nodes"] > 1 else ""
    with_all = f"with {_count(schedule['gpus'], unit)}{nodes}, {schedule['idle']:.1%} idle"
    return {
        "jobs": f"{totals['jobs']:,}",
        "work": scaled(totals["flops"], "FLOP"),
        "GPU-hours": f"{rounded(totals['gpu_hours'])} on {facts['device']}" if unit == "GPU" else "none: on the CPU",
        "core-hours": rounded(totals["core_hours"]),
        "wall time": f"{duration(schedule['seconds'])} {with_all}",
        "at least": f"{duration(schedule['critical_seconds'])}, whatever the number: {_path(schedule['critical'])}",
        "disk": scaled(totals["disk_bytes"], "B"),
    }


def _path(critical: Sequence[Facts]) -> str:
    return " → ".join(dict.fromkeys(job["job"].partition("/")[0] for job in critical))


def _memory(memory: Facts) -> str:
    of = f"{scaled(memory['needed'], 'B')} of {scaled(memory['device'], 'B')}"
    text = f"{memory['model']}, {memory['image_size']} px: {of} at {_count(memory['batch'], 'image')} a device"
    if memory["largest"] < 1:
        return f"{text}; not even one image fits"
    too_many = memory["batch"] > memory["largest"]
    return f"{text}; {memory['largest']:,} would fit" + (", so raise `accumulate`" if too_many else "")


def _bases(stages: Iterable[Facts]) -> list[str]:
    """`train: 4 earlier jobs of this network on A100 SXM 80 GB`; kinds that rest on the same together."""
    kinds: dict[str, list[str]] = {}
    for stage in stages:
        named = kinds.setdefault(stage["basis"], [])
        if stage["kind"] not in named:
            named.append(stage["kind"])
    return [f"{', '.join(named)}: {basis}" for basis, named in kinds.items()]


def compared(facts: Facts) -> str:
    """A line a kind, and a line a training."""
    jobs = facts["jobs"]
    if not jobs:
        return f"No finished job of this plan on {facts['device']} is on record."
    kinds = dict.fromkeys(job["kind"] for job in jobs)
    lines = [_header(), *(_compared_line(kind, [j for j in jobs if j["kind"] == kind]) for kind in kinds)]
    lines.append(_compared_line("all", jobs))
    trainings = [job for job in jobs if job["kind"] == "train"]
    return "\n".join([*lines, "", *(_training(job) for job in trainings)])


def _header() -> str:
    return f"{'':10} {'jobs':>6} {'estimated':>10} {'real':>10} {'ratio':>6}  {'of each job':>12}"


def _compared_line(name: str, jobs: Sequence[Facts]) -> str:
    estimated, real = (sum(job[key] for job in jobs) for key in ("estimated", "seconds"))
    ratios = sorted(job["ratio"] for job in jobs)
    spread = f"{ratios[0]:.2f}–{ratios[-1]:.2f}, median {median(ratios):.2f}"
    return f"{name:10} {len(jobs):6} {duration(estimated):>10} {duration(real):>10} {estimated / max(real, 0.1):6.2f}  {spread}"


def _training(job: Facts) -> str:
    return f"{job['job']}: {duration(job['estimated'])} estimated ({job['basis']}), {duration(job['seconds'])} real"
