"""Trainings that start over only because code changed: how much of them is lost."""

from pathlib import Path
from typing import Any

import pytest

from palette.commands.plan import shown_losses
from palette.costs import text
from palette.costs.losses import losses
from palette.costs.summary import planned
from palette.planning.plan import Plan
from palette.planning.remaining import Made, remaining
from palette.stages.fingerprint import fingerprint
from palette.stages.train import TrainSpec
from tests.costs.conftest import RAW, Make, finish

NAMES = {"photos-jpeg-palette-s0", "photos-inpainting-palette-s0"}
CHANGED = "palette/training/trainer.py"


@pytest.fixture
def edit(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that changes the code of one kind of stage, as far as plans to come can see."""

    def edited(kind: str) -> None:
        monkeypatch.setattr(
            "palette.planning.plan.fingerprint",
            lambda entry: "0123456789" if entry.endswith(kind) else fingerprint(entry),
        )

    return edited


def lost(plan: Plan, device: str = "h100") -> list[dict[str, Any]]:
    return losses(plan, remaining(plan, Made(plan.results)), device)


def trainings(plan: Plan) -> list[TrainSpec]:
    return [spec for spec in plan.of_kind("train") if isinstance(spec, TrainSpec)]


def with_train(**options: object) -> dict[str, object]:
    return {"palette": {**RAW["models"]["palette"], "train": {**RAW["models"]["palette"]["train"], **options}}}


def save_state(plan: Plan, spec: TrainSpec, step: int) -> None:
    file = plan.results / f"state/{spec.state_key}/step-{step:08}.pt"
    file.parent.mkdir(parents=True)
    file.touch()


def test_finished_trainings_are_lost_with_all_their_steps(make: Make, edit: Any) -> None:
    finish(make(), modules={CHANGED: "0000000000"})
    assert lost(make()) == []
    edit("train")
    plan = make()
    found = {loss["training"]: loss for loss in lost(plan)}
    assert found.keys() == NAMES
    for loss in found.values():
        assert (loss["steps"], loss["of"]) == (1000, 1000)
        assert loss["changed"] == [f"engine: {CHANGED} changed"]
    facts, _ = planned(plan, "h100", 1, 1)
    hours = {s["stage"].partition("/")[2][:-11]: s["gpu_hours"] for s in facts["stages"] if s["kind"] == "train"}
    assert {name: loss["gpu_hours"] for name, loss in found.items()} == hours
    assert facts["losses"] == list(found.values())
    shown = text.planned(facts)
    assert "LOST" in shown
    assert "photos-jpeg-palette-s0: 1,000 of 1,000 steps, about " in shown
    one = next(spec for spec in trainings(plan) if "jpeg" in spec.name)
    brief = shown_losses(plan, {str(plan.results / file) for file in plan.outputs(one.folder)})
    assert "jpeg" in brief
    assert "photos-inpainting" not in brief  # not among the jobs of this run


def test_an_unfinished_training_is_lost_up_to_its_last_state(make: Make, edit: Any) -> None:
    plan = make()
    finish(plan)
    one = trainings(plan)[0]
    for file in plan.outputs(one.folder):
        (plan.results / file).unlink()
    save_state(plan, one, 400)
    edit("train")
    found = {loss["training"]: loss for loss in lost(make(models=with_train(steps=2000)))}
    assert (found[one.name]["steps"], found[one.name]["of"]) == (400, 2000)
    assert found[one.name]["changed"] == ["the engine changed"]
    (other,) = NAMES - {one.name}
    assert (found[other]["steps"], found[other]["of"]) == (1000, 2000)
    assert found[one.name]["gpu_hours"] < found[other]["gpu_hours"]


def test_code_of_a_parent_counts_too(make: Make, edit: Any) -> None:
    finish(make(), modules={"palette/data/store/store.py": "0000000000"})
    edit("prepare")
    assert {loss["training"] for loss in lost(make())} == NAMES
    assert lost(make())[0]["changed"] == ["engine: palette/data/store/store.py changed"]


@pytest.mark.parametrize(
    "changes",
    [
        {"models": with_train(learning_rate=1e-3)},
        {"datasets": {"photos": {"prepare": {**RAW["datasets"]["photos"]["prepare"], "seed": 1}}}},
    ],
    ids=["option", "option-of-parent"],
)
def test_a_changed_option_loses_nothing_by_code(make: Make, edit: Any, changes: dict[str, Any]) -> None:
    finish(make())
    edit("train")
    assert lost(make(**changes)) == []


def test_a_training_that_resumes_is_not_lost(make: Make, edit: Any) -> None:
    finish(make())
    assert lost(make(models=with_train(steps=2000))) == []  # the state is the same
    edit("train")
    plan = make()
    for spec in trainings(plan):
        save_state(plan, spec, 10)  # begun anew before
    assert lost(plan) == []


def test_trainings_with_one_state_count_once(make: Make, edit: Any, tmp_path: Path) -> None:
    row = RAW["experiments"][0]
    finish(make(experiments=[row, {**row, "steps": 500}]))
    edit("train")
    found = lost(make(experiments=[row, {**row, "steps": 500}]), "cpu")
    assert {loss["training"]: loss["steps"] for loss in found} == dict.fromkeys(NAMES, 1000)
    assert all(loss["gpu_hours"] == 0 for loss in found)
    assert " on the CPU (" in "\n".join(text.lost(found))
