"""What reruns after files were deleted: what unfinished jobs need, and no finished job."""

from collections import Counter

import pytest

from palette.planning.plan import Plan
from palette.planning.remaining import Made, Waits, remaining
from palette.running.start import missing_data
from palette.stages.train import TrainSpec
from tests.costs.conftest import RAW, Make, finish

MORE_STEPS = {"dpm": {"steps": 5}}


def to_run(plan: Plan) -> dict[str, int]:
    """Kind → number of jobs that would run."""
    jobs = [job for stage in remaining(plan, Made(plan.results)).values() for job in stage]
    return dict(Counter(job.folder.partition("/")[0] for job in jobs))


def delete(plan: Plan, *patterns: str) -> None:
    gone = [file for pattern in patterns for file in plan.results.glob(pattern)]
    assert gone
    for file in gone:
        file.unlink()


AFTER_SAMPLING = {"sample": 6, "features": 4, "score": 2, "tabulate": 1, "report": 1}


def with_table(make: Make, **changes: object) -> Plan:
    return make(tables={"scores": {}}, **changes)


def test_another_sampler_uses_existing_results(make: Make) -> None:
    finish(with_table(make))
    assert to_run(with_table(make)) == {}
    assert to_run(with_table(make, samplers=MORE_STEPS)) == AFTER_SAMPLING


def test_deleted_stores_are_made_again_when_needed_and_rerun_no_finished_job(make: Make) -> None:
    finish(with_table(make))
    delete(with_table(make), "prepare/*/*.zip")
    assert to_run(with_table(make)) == {}
    assert to_run(with_table(make, samplers=MORE_STEPS)) == {**AFTER_SAMPLING, "prepare": 1}
    delete(with_table(make), "fetch/*/*")
    assert to_run(with_table(make, samplers=MORE_STEPS)) == {**AFTER_SAMPLING, "prepare": 1, "fetch": 1}


def test_a_finished_job_waits_only_for_its_existing_inputs(make: Make) -> None:
    """Snakemake runs a job again whose input is not there and is made again."""
    plan = with_table(make)
    finish(plan)
    (train, *_) = plan.of_kind("train")
    every = plan.inputs(train.folder)
    assert Waits(plan, Made(plan.results)).inputs(train.folder) == every
    delete(plan, "prepare/*/*.zip")
    kept = Waits(plan, Made(plan.results)).inputs(train.folder)
    assert kept == [file for file in every if not file.endswith(".zip")] != every
    assert Waits(plan, Made(plan.results)).inputs(train.folder, again=True) == every  # as with --forcerun
    (plan.results / train.card).unlink()
    assert Waits(plan, Made(plan.results)).inputs(train.folder) == every


def test_an_unfinished_shard_waits_for_files_that_are_gone_although_the_card_exists(make: Make) -> None:
    """Also where neither score nor report, which wait for all files of their parents, are asked for."""
    plan = with_table(make)
    finish(plan)
    delete(plan, "prepare/*/test.zip", "train/*jpeg*/model.safetensors", "sample/*jpeg*/shard-001.zip")
    changed = with_table(make, samplers=MORE_STEPS)
    sample = next(spec for spec in changed.of_kind("sample") if "jpeg" in spec.name)
    waits = Waits(changed, Made(changed.results))
    added = set(waits.inputs(sample.folder, "000")) - set(changed.inputs(sample.folder, "000"))
    assert {file.rpartition("/")[2] for file in added} == {"test.zip", "model.safetensors"}
    assert len(waits.inputs(sample.folder, "000")) == len(set(waits.inputs(sample.folder, "000")))
    again = with_table(make, report={"title": "Another", "gallery_images": 0})
    pictures = set(Waits(again, Made(again.results)).inputs("report"))
    assert {file for file in pictures if file.endswith("shard-001.zip")}
    assert to_run(again) == {"prepare": 1, "train": 1, "sample": 1, "report": 1}


def test_a_finished_longer_training_does_not_rerun_the_shorter_one(make: Make) -> None:
    row = RAW["experiments"][0]
    plan = make(experiments=[row, {**row, "steps": 500}])
    finish(plan)
    longer = next(spec for spec in plan.of_kind("train") if isinstance(spec, TrainSpec) and spec.runtime.after)
    shorter = plan.stages[longer.runtime.after or ""]
    assert shorter.card in Waits(plan, Made(plan.results)).inputs(longer.folder)
    (plan.results / shorter.card).unlink()
    assert shorter.card not in Waits(plan, Made(plan.results)).inputs(longer.folder)
    (plan.results / longer.card).unlink()
    assert shorter.card in Waits(plan, Made(plan.results)).inputs(longer.folder)


@pytest.mark.parametrize(("changes", "asked"), [({}, False), ({"samplers": MORE_STEPS}, True)])
def test_published_data_is_requested_only_if_it_must_be_fetched(
    make: Make, changes: dict[str, object], asked: bool
) -> None:
    dataset = {**RAW["datasets"]["photos"], "fetch": {"source": "imagenet", "path": "/nowhere"}}
    plan = make(datasets={"photos": dataset})
    finish(plan)
    delete(plan, "fetch/*/*", "prepare/*/*.zip")
    assert bool(missing_data(make(datasets={"photos": dataset}, **changes))) == asked
