"""Why a stage runs, by the config's names."""

import shutil

from palette.planning.plan import Plan
from palette.planning.reasons import Reasons
from palette.planning.remaining import Made, remaining
from tests.costs.conftest import RAW, Make, finish


def why(plan: Plan) -> dict[str, list[str]]:
    """Kind and name of each stage that would run → the reasons."""
    made = Made(plan.results)
    reasons = Reasons(plan, made)
    return {f"{plan.stages[f].kind} {plan.stages[f].name}": reasons.of(f) for f in remaining(plan, made)}


def with_train(**options: object) -> dict[str, object]:
    model = RAW["models"]["palette"]
    return {"palette": {**model, "train": {**model["train"], **options}}}


def test_without_results_stages_were_never_made(make: Make) -> None:
    assert set(map(tuple, why(make()).values())) == {("never made",)}


def test_with_all_results_nothing_runs(make: Make) -> None:
    finish(make())
    assert why(make()) == {}


def test_a_changed_option_is_named_with_both_values(make: Make) -> None:
    finish(make())
    found = why(make(models=with_train(learning_rate=1e-3)))
    assert found["train photos-jpeg-palette-s0"] == ["models.palette.train.learning_rate: 0.0001 → 0.001"]
    assert found["sample photos-jpeg-palette-dpm-s0"] == ["train photos-jpeg-palette-s0 is another"]
    assert "prepare photos" not in found


def test_options_have_their_names_in_the_config(make: Make) -> None:
    finish(make())
    sampled = why(make(samplers={"dpm": {"steps": 5}}))["sample photos-hole-palette-dpm-s0"]
    assert sampled == ["samplers.dpm.steps: 4 → 5"]
    photos = {**RAW["datasets"]["photos"]["prepare"], "seed": 3}
    assert why(make(datasets={"photos": {"prepare": photos}}))["prepare photos"] == [
        "datasets.photos.prepare.seed: 0 → 3"
    ]
    masked = why(make(tasks={**RAW["tasks"], "hole": {"degradation": "inpainting", "mask": "free-form-10-20"}}))
    assert masked["mask photos-free-form-10-20"] == ["never made"]  # a mask of its own, beside the old one
    titled = why(make(tables={"scores": {"title": "New"}}))
    assert titled["tabulate scores"] == ['tables.scores.title: "" → "New"']
    assert titled["report report"] == ["table scores is another"]


def test_a_new_row_is_named(make: Make) -> None:
    finish(make())
    more = [*RAW["experiments"], {"dataset": "photos", "task": "jpeg", "model": "input"}]
    assert "experiments.photos-jpeg-input is new" in why(make(experiments=more))["tabulate scores"]


def test_a_removed_row_changes_no_other(make: Make) -> None:
    finish(make())
    fewer = [{**RAW["experiments"][0], "task": "hole"}]
    assert why(make(experiments=fewer))["tabulate scores"] == ["experiments.photos-jpeg-palette-dpm-s0 is gone"]


def test_the_changed_module_is_named(make: Make) -> None:
    plan = make()
    finish(plan, modules={"palette/diffusion/samplers.py": "0000000000"})
    for spec in plan.stages.values():  # as if planned with that other code
        if spec.kind == "sample":
            text = (plan.results / spec.folder / "spec.yaml").read_text().replace(spec.engine, "0000000000")
            old = plan.results / f"sample/{spec.name}-0123456789"
            shutil.move(plan.results / spec.folder, old)
            (old / "spec.yaml").write_text(text)
    (plan.results / plan.report.card).unlink()
    assert why(make())["sample photos-jpeg-palette-dpm-s0"] == ["engine: palette/diffusion/samplers.py changed"]


def test_the_nearest_earlier_stage_is_compared(make: Make) -> None:
    finish(make(models=with_train(learning_rate=1e-2, batch_size=8, ema=0.5)))
    finish(make(models=with_train(batch_size=8)))
    assert why(make())["train photos-inpainting-palette-s0"] == ["models.palette.train.batch_size: 8 → 16"]


def test_a_partial_stage_lists_what_is_missing(make: Make) -> None:
    plan = make()
    finish(plan)
    train = next(spec for spec in plan.of_kind("train") if "jpeg" in spec.name)
    sample = next(spec for spec in plan.of_kind("sample") if "hole" in spec.name)
    (plan.results / train.folder / "model.safetensors").unlink()
    (plan.results / sample.folder / "shard-001.zip").unlink()
    assert why(make()) == {}  # nobody needs them
    (plan.results / plan.report.card).unlink()
    found = why(make())
    assert found.pop("report report")
    assert found == {
        f"train {train.name}": ["missing: model.safetensors"],
        f"sample {sample.name}": ["unfinished: 1 of 3 shards missing"],
    }


def test_a_damaged_earlier_spec_is_no_reason_to_fail(make: Make) -> None:
    finish(make())
    changed = make(models=with_train(ema=0.5))
    for file in changed.results.glob("train/*/spec.yaml"):
        file.write_text("{")
    assert why(changed)["train photos-jpeg-palette-s0"] == ["never made"]
