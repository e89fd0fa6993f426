"""Limits that stop a run before it starts: space on the disk, and the config's budget."""

import shutil
import sys
from collections.abc import Callable, Iterator

from palette.costs.estimate import Estimator
from palette.costs.gpus import GPUS, here
from palette.errors import ConfigError
from palette.planning.plan import Plan
from palette.planning.remaining import Made, remaining
from palette.system.units import rounded


def full_disk(plan: Plan) -> Iterator[str]:
    """Yield a message if the planned results do not fit on the disk of the results folder."""
    place = plan.results.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    needed = Estimator(plan, "cpu").disk_bytes(remaining(plan, Made(plan.results)))
    if needed > free:
        yield (
            f"{plan.results}: the stages to be run write about {needed / 1e9:.1f} GB, and {place} has {free / 1e9:.1f} GB free. "
            "Free some space, or name a folder on another disk: `snakemake --config results=/path/to/folder`."
        )


def gpu_hours(plan: Plan, device: str) -> float:
    """Return the GPU-hours of the remaining jobs; 0 for `cpu`."""
    estimator = Estimator.of(plan, device)
    jobs = [job for stage in remaining(plan, Made(plan.results)).values() for job in stage]
    return 0.0 if device == "cpu" else sum(estimator.estimate(job).gpu_hours for job in jobs)


def on_terminal() -> bool:
    """Return whether a user can be asked: stdin and stderr are terminals."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def keep_within_budget(plan: Plan, asks: Callable[[], bool] = on_terminal, answer: Callable[[], str] = input) -> None:
    """Raise ConfigError if the remaining jobs exceed the config's budget and the user does not agree to run them.

    asks: returns whether a user can be asked. answer: reads the user's reply.
    """
    budget = plan.config.budget
    if budget is None or budget.gpu_hours is None:
        return
    device = budget.gpu or here()
    needed = gpu_hours(plan, device)
    if needed <= budget.gpu_hours:
        return
    text = f"about {rounded(needed)} GPU-hours on {GPUS[device].name}, above budget.gpu_hours: {budget.gpu_hours:,.6g}"
    if asks():
        print(f"This run takes {text}. Go on? [y/N] ", end="", file=sys.stderr, flush=True)
        if answer().strip().lower() in ("y", "yes"):
            return
        raise ConfigError("Not started.")
    allow = f"--config 'budget={{gpu_hours: {needed * 1.05:.3g}}}'"
    raise ConfigError(
        f"This run takes {text}. `palette plan` shows where they go. To allow it: {allow}, or `--config budget=` for no budget."
    )
