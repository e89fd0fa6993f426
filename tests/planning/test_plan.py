"""From a config to experiments and stages."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from palette.config import Config
from palette.config.models import Model, Objective
from palette.config.sampling import Sampler
from palette.planning.experiments import evaluations
from palette.planning.plan import Plan
from palette.running.start import plan_of
from palette.stages.train import TrainSpec

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


@pytest.mark.parametrize(
    ("file", "kind", "above"),
    [
        ("own/0.png", "fetch", ""),
        ("names.txt", "prepare", "fetch"),
        ("masks/1.png", "mask", "fetch prepare train"),
        ("start.safetensors", "train", "fetch prepare mask"),
        ("outputs/1.png", "sample", "fetch prepare mask train"),
    ],
)
def test_a_changed_user_file_is_another_stage(tmp_path: Path, file: str, kind: str, above: str) -> None:
    """Its digest is in the spec that reads the file, and so in its hash."""
    for name in ("own/0.png", "own/1.png", "own/2.png", "masks/0.png", "masks/1.png", "outputs/0.png", "outputs/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (8, 8)).save(tmp_path / name)
    (tmp_path / "names.txt").write_text("0.png\n1.png\n")
    (tmp_path / "start.safetensors").write_bytes(b"weights")
    prepare = {"image_size": 8, "train_images": 1, "test_images": 2, "test_list": f"{tmp_path}/names.txt"}
    config = {
        "results": f"{tmp_path}/results",
        "datasets": {"own": {"fetch": {"source": "folder", "path": f"{tmp_path}/own"}, "prepare": prepare}},
        "tasks": {"hole": {"degradation": "inpainting", "masks": f"{tmp_path}/masks"}},
        "models": {
            "palette": {"network": {"multipliers": [1, 2]}, "train": {"start_from": f"{tmp_path}/start.safetensors"}}
        },
        "folders": {"theirs": {"path": f"{tmp_path}/outputs"}},
        "samplers": {"dpm": {"steps": 4}},
        "score": {"extractors": ["pixels"]},
        "experiments": [
            {"dataset": "own", "task": "hole", "model": "palette", "sampler": "dpm"},
            {"dataset": "own", "task": "hole", "model": "theirs"},
        ],
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    before = plan_of([tmp_path / "config.yaml"])
    with (tmp_path / file).open("ab") as changed:
        changed.write(b"\n2.png\n")
    after = plan_of([tmp_path / "config.yaml"])
    known = {spec.hash for spec in before.stages.values()}
    changed = {spec.kind for spec in after.stages.values() if spec.hash not in known}
    assert kind in changed
    assert not changed & {*above.split()}


def test_lists_expand_to_combinations() -> None:
    assert [row.experiment for row in plan().rows] == [
        "photos-jpeg-palette-dpm-s0",
        "photos-jpeg-palette-dpm-s1",
        "photos-hole-palette-dpm-s0",
        "photos-hole-palette-dpm-s1",
    ]
    assert len(plan().of_kind("train")) == 4


def test_a_row_named_twice_is_run_once() -> None:
    assert plan(experiments=[*SMALL["experiments"]] * 2).stages.keys() == plan().stages.keys()


def test_baselines_have_no_seed() -> None:
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
    assert sample.shards == ["000", "001", "002"]
    assert len(made.outputs(sample.folder)) == 9
    assert made.outputs(sample.folder, "002")[-1].endswith("/shard-002.json")


def test_a_shard_of_features_reads_its_own_shards_of_samples_only() -> None:
    made = plan(score={"shard_size": 9})  # two whole shards of samples
    features = next(s for s in made.of_kind("features") if "sample" in s.parents)
    assert features.shards == ["000", "001"]
    read = [[f for f in made.inputs(features.folder, shard) if f.startswith("sample/")] for shard in ("000", "001")]
    assert [sorted({file[-7:-4] for file in files if file.endswith(".zip")}) for files in read] == [
        ["000", "001"],
        ["002"],
    ]


def test_a_shard_of_features_is_one_shard_of_samples_at_least() -> None:
    assert len(plan(score={"shard_size": 1}).of_kind("features")[0].shards) == 3


@pytest.mark.parametrize("gone", ["model.safetensors", "model.json", "card.json", "test.zip", "masks.zip"])
def test_every_file_of_a_stage_is_an_input_of_another(gone: str) -> None:
    """So that Snakemake makes it again, whoever has deleted it."""
    made = plan()
    jobs = [(s.folder, shard) for s in made.stages.values() for shard in s.jobs]
    wanted = {file for folder, shard in jobs for file in made.inputs(folder, shard)}
    files = {f for s in made.stages.values() for f in made.outputs(s.folder) if s.kind != "report" and f.endswith(gone)}
    assert files
    assert files <= wanted


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


def on_the_way(*steps: int, own: int = 30) -> Plan:
    model = {"train": {"steps": own}}
    row = {**SMALL["experiments"][0], "task": "jpeg", "seed": 0}
    further = [{**row, "steps": list(steps)}] if steps else []
    return plan(models={"palette": model}, experiments=[row, *further])


def trainings(made: Plan) -> dict[int, TrainSpec]:
    return {spec.steps: spec for spec in made.of_kind("train") if isinstance(spec, TrainSpec)}


def test_intermediate_rows_have_their_own_names_and_the_final_row_the_plain_one() -> None:
    made = on_the_way(10, 30, 20, 40)
    name = "photos-jpeg-palette-dpm-s0"
    assert [row.experiment for row in made.rows] == [name, f"{name}-at10", f"{name}-at20", f"{name}-at40"]
    assert [row.milestone for row in made.rows] == [None, "at step 10", "at step 20", "at step 40"]
    assert len({row.train for row in made.rows}) == len({row.sample for row in made.rows}) == 4


def test_a_longer_training_waits_for_the_shorter_ones_and_is_the_same_stage_without_them() -> None:
    found, alone = trainings(on_the_way(20, 10)), trainings(on_the_way())
    after = {steps: spec.runtime.after for steps, spec in found.items()}
    assert after == {10: None, 20: found[10].folder, 30: found[20].folder}
    assert found[30].folder == alone[30].folder
    assert alone[30].runtime.after is None
    assert found[20].card in on_the_way(20, 10).inputs(found[30].folder)


def test_seeds_and_tasks_wait_for_their_own_trainings_only() -> None:
    made = plan(experiments=[{**SMALL["experiments"][0], "steps": [5, 6]}])
    specs = {spec.folder: spec for spec in made.of_kind("train") if isinstance(spec, TrainSpec)}
    waiting = [spec for spec in specs.values() if spec.runtime.after]
    assert (len(specs), len(waiting)) == (8, 4)
    assert all(specs[spec.runtime.after or ""].state_key == spec.state_key for spec in waiting)


def test_baselines_have_no_steps() -> None:
    made = plan(experiments=[{"dataset": "photos", "task": "jpeg", "model": "input", "steps": [1, 2]}])
    assert [row.experiment for row in made.rows] == ["photos-jpeg-input"]


# ---------------------------------------------------------------------------------- what a model learns from

SETS: dict[str, Any] = {
    "large": {"prepare": {"test_images": 30}},
    "few": {"prepare": {"test_images": 10, "train_images": 1}},
    "other": {"prepare": {"test_images": 10, "train_images": 1, "seed": 1}},
}
ROWS = [{"dataset": ["few", "other"], "task": "jpeg", "model": "palette", "sampler": "dpm"}]


def shared_trainings(train_on: object) -> list[TrainSpec]:
    made = plan(datasets=SETS, models={"palette": {"train_on": train_on}}, experiments=ROWS)
    return [spec for spec in made.of_kind("train") if isinstance(spec, TrainSpec)]


def test_two_test_sets_share_one_training() -> None:
    (shared,) = shared_trainings("large")
    assert shared.name == "large-jpeg-palette-s0"
    assert shared.sources == {"prepare": 1.0}
    alone = plan(datasets=SETS, models={"palette": {}}, experiments=[{**ROWS[0], "dataset": "large"}]).of_kind("train")
    assert [spec.folder for spec in alone] == [shared.folder]
    assert len(shared_trainings(None)) == 2


def test_several_datasets_are_parents_with_their_shares() -> None:
    (mixed,) = shared_trainings({"other": 3, "large": 1})
    assert mixed.name == "large+other-jpeg-palette-s0"
    assert mixed.sources == {"prepare-large": 0.25, "prepare-other": 0.75}
    assert mixed.parents["prepare-other"].startswith("prepare/other-")
    assert [spec.folder for spec in shared_trainings({"large": 2, "other": 6})] == [mixed.folder]
    assert shared_trainings({"large": 1, "other": 1})[0].hash != mixed.hash


def test_a_folder_of_masks_waits_for_the_names_of_the_test_images(tmp_path: Path) -> None:
    def parents(file: str, **options: str) -> dict[str, str]:
        hole = {"degradation": "inpainting", "masks": str(tmp_path / file), **options}
        made = plan(tasks={**SMALL["tasks"], "hole": hole})
        (mask,) = made.of_kind("mask")
        assert set(made.inputs(mask.folder)) == {file for f in mask.parents.values() for file in made.outputs(f)}
        return mask.parents

    (prepare,) = plan().of_kind("prepare")
    assert parents("masks") == parents("masks", masks_by="originals") == {"prepare": prepare.folder}
    assert parents("masks", masks_by="position") == {}
