"""From a config to experiments and stages."""

from typing import Any

import pytest
import yaml

from palette.config import Config, Model, Objective, Sampler
from palette.plan import Plan, evaluations
from palette.spec import TrainSpec

SMALL: dict[str, Any] = yaml.safe_load(
    """
    datasets: {photos: {prepare: {test_images: 10}}}
    tasks: {jpeg: {degradation: jpeg}, hole: {degradation: inpainting}}
    models: {palette: {}, both: {mix: {jpeg: 1, inpainting: 2}}, regression: {objective: {kind: regression}}}
    samplers: {dpm: {steps: 4}}
    sample: {shard_size: 4}
    experiments: [{dataset: photos, task: [jpeg, hole], model: palette, sampler: dpm, seed: [0, 1]}]
    """
)


def plan(**changes: Any) -> Plan:
    return Plan(Config.model_validate({**SMALL, **changes}))


def test_lists_stand_for_their_combinations() -> None:
    assert [row.experiment for row in plan().rows] == [
        "photos-jpeg-palette-dpm-s0",
        "photos-jpeg-palette-dpm-s1",
        "photos-hole-palette-dpm-s0",
        "photos-hole-palette-dpm-s1",
    ]
    assert len(plan().of_kind("train")) == 4


def test_a_row_named_twice_is_run_once() -> None:
    assert plan(experiments=[*SMALL["experiments"]] * 2).stages.keys() == plan().stages.keys()


def test_baselines_know_no_seed() -> None:
    rows = plan(experiments=[{"dataset": "photos", "task": "jpeg", "model": "input", "seed": [0, 1, 2]}]).rows
    assert [row.experiment for row in rows] == ["photos-jpeg-input"]


def test_a_mix_is_trained_once_for_all_its_tasks() -> None:
    made = plan(experiments=[{"dataset": "photos", "task": ["jpeg", "hole"], "model": "both", "sampler": "dpm"}])
    (train,) = made.of_kind("train")
    assert {row.train for row in made.rows} == {train.folder}


def test_evaluation_strength_does_not_retrain() -> None:
    stronger = {"jpeg": {"degradation": "jpeg", "quality": 5}, "hole": SMALL["tasks"]["hole"]}
    before, after = plan(), plan(tasks=stronger)
    assert {s.folder for s in before.of_kind("train")} == {s.folder for s in after.of_kind("train")}
    changed = {s.name for s in before.of_kind("sample") if s.folder not in after.stages}
    assert changed == {"photos-jpeg-palette-dpm-s0", "photos-jpeg-palette-dpm-s1"}


def test_shards_cover_all_images() -> None:
    made = plan()
    sample = made.of_kind("sample")[0]
    assert made.shards(sample) == ["000", "001", "002"]
    assert len(made.outputs(sample.folder)) == 9
    assert made.outputs(sample.folder, "002")[-1].endswith("/shard-002.json")


def test_a_shard_of_features_reads_its_own_shard_of_samples_only() -> None:
    made = plan()
    features = next(s for s in made.of_kind("features") if "sample" in s.parents)
    read = [file for file in made.inputs(features.folder, "001") if file.startswith("sample/")]
    assert read
    assert all("-001." in file for file in read)


@pytest.mark.parametrize(
    ("kind", "sampler", "nfe"),
    [
        ("edm", Sampler(steps=20), 20),
        ("edm", Sampler(kind="heun", steps=18), 35),
        ("regression", None, 1),
    ],
)
def test_number_of_evaluations(kind: str, sampler: Sampler | None, nfe: int) -> None:
    assert evaluations(Model(objective=Objective.model_validate({"kind": kind})), sampler) == nfe


def test_a_longer_training_shares_its_state() -> None:
    def longer(steps: int) -> Plan:
        return plan(models={"palette": {"train": {"steps": steps}}})

    short, long = longer(10).of_kind("train")[0], longer(20).of_kind("train")[0]
    assert short.folder != long.folder
    assert short.state_key == long.state_key  # type: ignore[attr-defined]


# ---------------------------------------------------------------------------------- what a model learns from

SETS: dict[str, Any] = {
    "large": {"prepare": {"test_images": 30}},
    "few": {"prepare": {"test_images": 10, "train_images": 1}},
    "other": {"prepare": {"test_images": 10, "train_images": 1, "seed": 1}},
}
ROWS = [{"dataset": ["few", "other"], "task": "jpeg", "model": "palette", "sampler": "dpm"}]


def trainings(train_on: object) -> list[TrainSpec]:
    made = plan(datasets=SETS, models={"palette": {"train_on": train_on}}, experiments=ROWS)
    return [spec for spec in made.of_kind("train") if isinstance(spec, TrainSpec)]


def test_two_test_sets_share_one_training() -> None:
    (shared,) = trainings("large")
    assert shared.name == "large-jpeg-palette-s0"
    assert shared.sources == {"prepare": 1.0}
    alone = plan(datasets=SETS, models={"palette": {}}, experiments=[{**ROWS[0], "dataset": "large"}]).of_kind("train")
    assert [spec.folder for spec in alone] == [shared.folder]
    assert len(trainings(None)) == 2


def test_several_datasets_are_parents_with_their_shares() -> None:
    (mixed,) = trainings({"other": 3, "large": 1})
    assert mixed.name == "large+other-jpeg-palette-s0"
    assert mixed.sources == {"prepare-large": 0.25, "prepare-other": 0.75}
    assert mixed.parents["prepare-other"].startswith("prepare/other-")
    assert [spec.folder for spec in trainings({"large": 2, "other": 6})] == [mixed.folder]
    assert trainings({"large": 1, "other": 1})[0].hash != mixed.hash
