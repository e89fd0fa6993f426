"""Confirmation before a run that costs more than the config's budget."""

import sys
from collections.abc import Callable

from palette.costs.gpus import GPUS, here
from palette.costs.summary import gpu_hours
from palette.errors import ConfigError
from palette.planning.plan import Plan
from palette.system.units import rounded


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
