"""Plans and comparisons as text."""

import re
from collections.abc import Sequence
from statistics import median
from typing import Any

from palette.costs.truth import Done, Truth
from palette.system.units import aligned, counted, duration, rounded, scaled

Facts = dict[str, Any]
LISTED, MENTIONED = 20, 4
"""Number of reasons listed for each kind, and of changes mentioned in one reason."""


def planned(facts: Facts) -> str:
    """Return what will run and why, kind by kind, and its cost."""
    if not facts["stages"]:
        return f"Nothing to be done: none of the {facts['done']} stages of {facts['results']} has to run."
    kinds = dict.fromkeys(stage["kind"] for stage in facts["stages"])
    parts = [_kind(kind, [s for s in facts["stages"] if s["kind"] == kind]) for kind in kinds]
    rows = _rows(facts)
    rows["jobs"] += f"; {counted(facts['done'], 'stage')} need not run"
    memory = [("memory", _memory(memory)) for memory in facts["memory"]]
    # Kinds with the same source of times share a line.
    sources = dict.fromkeys(stage["basis"] for stage in facts["stages"])
    for source in sources:
        named = dict.fromkeys(stage["kind"] for stage in facts["stages"] if stage["basis"] == source)
        memory.append(("times from", f"{', '.join(named)}: {source}"))
    return "\n".join([*parts, "", *lost(facts["losses"]), aligned([*rows.items(), *memory])])


def briefly(facts: Facts) -> str:
    """Return the cost summary that a dry run prints."""
    rows = _rows(facts)
    selected = [(name, rows[name]) for name in ("jobs", "GPU-hours", "core-hours", "wall time", "disk")]
    return f"Estimated cost (`python -m palette plan` has the rest, and other GPUs):\n{aligned(selected)}"


def lost(losses: Sequence[Facts]) -> list[str]:
    """Return lines on what a code change throws away and how to keep it; none if nothing is lost."""
    if not losses:
        return []
    return [
        "LOST: these trainings begin again at step 0, because the code changed. No option of theirs did.",
        *(f"  {_loss(loss)}" for loss in losses),
        "If that code decides nothing here, keep them: `python -m palette adopt -c CONFIG` shows what it can keep, and --yes keeps it.",
        "Or go back to the code that made them. What they have stays in results/state until `palette gc` deletes it.",
        "",
    ]


def _loss(loss: Facts) -> str:
    time = f"{rounded(loss['gpu_hours'])} GPU-hours" if loss["gpu_hours"] else f"{duration(loss['seconds'])} on the CPU"
    return f"{loss['training']}: {loss['steps']:,} of {loss['of']:,} steps, about {time} ({_why(loss['changed'])})"


def _kind(kind: str, stages: Sequence[Facts]) -> str:
    jobs, time = sum(stage["jobs"] for stage in stages), sum(stage["seconds"] for stage in stages)
    lines = [f"{kind}: {counted(jobs, 'job')}, {duration(time)}"]
    names: dict[str, list[str]] = {}
    for stage in stages:
        names.setdefault(_why(stage["why"]), []).append(re.sub("-[0-9a-f]{10}$", "", stage["stage"].partition("/")[2]))
    lines += [f"  {_names(named)}{why}" for why, named in list(names.items())[:LISTED]]
    if len(names) > LISTED:
        lines.append(f"  … and {len(names) - LISTED} more reasons")
    return "\n".join(lines)


def _why(reasons: Sequence[str]) -> str:
    more = f"; and {len(reasons) - MENTIONED} more" if len(reasons) > MENTIONED else ""
    return "; ".join(reasons[:MENTIONED]) + more


def _names(names: Sequence[str]) -> str:
    """Return the names of stages with the same reason, as a prefix; empty for the report, which has no name."""
    if not names[0]:
        return ""
    return f"{', '.join(names[:2])} and {len(names) - 2} more: " if len(names) > 3 else f"{', '.join(names)}: "


def _rows(facts: Facts) -> dict[str, str]:
    totals, schedule = facts["totals"], facts["schedule"]
    unit = "core" if facts["device"] == "CPU core" else "GPU"
    nodes = f" over {schedule['nodes']} nodes" if schedule["nodes"] > 1 else ""
    with_all = f"with {counted(schedule['gpus'], unit)}{nodes}, {schedule['idle']:.1%} idle"
    path = " → ".join(dict.fromkeys(job["job"].partition("/")[0] for job in schedule["critical"]))
    return {
        "jobs": f"{totals['jobs']:,}",
        "work": scaled(totals["flops"], "FLOP"),
        "GPU-hours": f"{rounded(totals['gpu_hours'])} on {facts['device']}" if unit == "GPU" else "none: on the CPU",
        "core-hours": rounded(totals["core_hours"]),
        "wall time": f"{duration(schedule['seconds'])} {with_all}",
        "at least": f"{duration(schedule['critical_seconds'])}, whatever the number: {path}",
        "disk": scaled(totals["disk_bytes"], "B"),
    }


def _memory(memory: Facts) -> str:
    of = f"{scaled(memory['needed'], 'B')} of {scaled(memory['device'], 'B')}"
    text = f"{memory['model']}, {memory['image_size']} px: {of} at {counted(memory['batch'], 'image')} a device"
    if memory["largest"] < 1:
        return f"{text}; not even one image fits"
    too_many = memory["batch"] > memory["largest"]
    return f"{text}; {memory['largest']:,} would fit" + (", so raise `accumulate`" if too_many else "")


def compared(truth: Truth) -> str:
    """Return one line per kind and device, one for all jobs, and one per training."""
    lines = ["No finished job of this plan is on record."]
    if truth.jobs:
        lines = [_row("", "jobs", "estimated", "real", "ratio", "of each job")]
        lines += [_compared(done, jobs) for done, jobs in [*truth.lines, (truth.total, truth.jobs)]]
        lines.append("")
    for job in truth.trainings:
        lines.append(f"{job.job}: {duration(job.estimated)} estimated ({job.basis}), {duration(job.seconds)} real")
    for device, count in truth.unknown.items():
        lines.append(f"{counted(count, 'job')} on {device}: not in the table of GPUs")
    return "\n".join(lines)


def _compared(done: Done, jobs: Sequence[Done]) -> str:
    ratios = sorted(job.ratio for job in jobs)
    spread = f"{ratios[0]:.2f}–{ratios[-1]:.2f}, median {median(ratios):.2f}"
    hours = f"; {done.estimated_gpu_hours:.3g} → {done.gpu_hours:.3g} GPU-hours" if done.gpu_hours else ""
    where = f"  on {done.device}{hours}" if done.device else hours
    times = (duration(done.estimated), duration(done.seconds))
    return _row(done.kind, str(len(jobs)), *times, f"{done.ratio:.2f}", spread + where)


def _row(name: str, jobs: str, estimated: str, real: str, ratio: str, last: str) -> str:
    return f"{name:10} {jobs:>10} {estimated:>10} {real:>10} {ratio:>10}  {last}"
