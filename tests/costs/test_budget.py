"""A run above the budget asks for confirmation, or is refused."""

import pytest

from palette.errors import ConfigError
from palette.running.limits import gpu_hours, keep_within_budget
from palette.running.start import start
from palette.system.units import rounded
from tests.costs.conftest import RAW, Make, finish

LONG = {"palette": {**RAW["models"]["palette"], "train": {"steps": 10**9}}}


def test_without_a_budget_nobody_is_asked(make: Make) -> None:
    keep_within_budget(make(models=LONG), asks=lambda: pytest.fail("asked"))
    keep_within_budget(make(models=LONG, budget={"gpu": "h100"}), asks=lambda: pytest.fail("asked"))


def test_within_the_budget_nobody_is_asked(make: Make) -> None:
    keep_within_budget(make(budget={"gpu_hours": 1, "gpu": "h100"}), asks=lambda: pytest.fail("asked"))


def test_above_it_a_run_without_a_terminal_is_refused(make: Make) -> None:
    plan = make(models=LONG, budget={"gpu_hours": 10, "gpu": "h100"})
    with pytest.raises(ConfigError, match=r"above budget.gpu_hours: 10\b.*--config 'budget=\{gpu_hours: ") as refused:
        start(plan)
    assert f"{rounded(gpu_hours(plan, 'h100'))} GPU-hours on H100 SXM" in str(refused.value)
    assert not (plan.results / "train").exists()


@pytest.mark.parametrize(("answer", "goes_on"), [("y", True), ("Yes", True), ("", False), ("n", False)])
def test_on_a_terminal_the_user_decides(make: Make, answer: str, goes_on: bool) -> None:
    plan = make(models=LONG, budget={"gpu_hours": 10, "gpu": "h100"})
    if goes_on:
        keep_within_budget(plan, asks=lambda: True, answer=lambda: answer)
        return
    with pytest.raises(ConfigError, match="Not started"):
        keep_within_budget(plan, asks=lambda: True, answer=lambda: answer)


def test_finished_results_cost_nothing(make: Make) -> None:
    plan = make(models=LONG, budget={"gpu_hours": 10, "gpu": "h100"})
    finish(plan)
    keep_within_budget(plan, asks=lambda: pytest.fail("asked"))
