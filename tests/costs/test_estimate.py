"""Seconds, GPU-hours and memory: computed by hand, and calibrated by earlier jobs."""

from pathlib import Path

import pytest
import yaml

from palette.config.datasets import Fetch
from palette.costs.estimate import IMAGE, START_NETWORK, Estimator
from palette.costs.gpus import GIB, GPUS, UTILIZATION, same_device, utilization
from palette.costs.summary import planned
from palette.data.sources.manifest import write_manifest
from palette.data.sources.planned import survey
from palette.data.sources.registry import built_in
from palette.planning.plan import Plan
from palette.planning.remaining import Job
from palette.stages.base import Work
from palette.stages.fetch import FetchSpec
from tests.costs.conftest import FLOPS, IMAGE_BYTES, PARAMETERS, RAW, Make, finish

BATCH = 16


def train_job(plan: Plan) -> Job:
    return Job(plan.of_kind("train")[0].folder)


def calculated(steps: int, device: str = "h100", precision: str = "fp32") -> float:
    """A training by hand."""
    flops = steps * BATCH * 3 * FLOPS
    return START_NETWORK + flops / (GPUS[device].peak(precision) * UTILIZATION)


def test_a_training_by_hand(make: Make) -> None:
    plan = make()
    found = Estimator.of(plan, "h100").estimate(train_job(plan))
    assert found.seconds == pytest.approx(calculated(1000))
    assert found.flops == 1000 * BATCH * 3 * FLOPS
    assert found.gpu_hours == pytest.approx(calculated(1000) / 3600)
    assert found.basis == "assumed, 35% of the peak of H100 SXM"


def test_saved_steps_cost_nothing_more(make: Make) -> None:
    plan = make()
    spec = plan.of_kind("train")[0]
    state = plan.results / "state" / spec.state_key  # type: ignore[attr-defined]
    state.mkdir(parents=True)
    for step in (200, 400, 5000):  # the last one belongs to a longer training
        (state / f"step-{step:08}.pt").touch()
    assert Estimator.of(plan, "h100").estimate(train_job(plan)).seconds == pytest.approx(calculated(600))


def test_draws_of_the_first_inputs_are_sampled_too(make: Make) -> None:
    plan = make(sample={"shard_size": 4, "draws": 3, "draw_inputs": 6})
    folder = plan.of_kind("sample")[0].folder
    images = [Estimator.of(plan, "h100").work(plan.stages[folder], shard).images for shard in ("000", "001", "002")]
    assert images == [4 + 2 * 4, 4 + 2 * 2, 2]
    assert Estimator.of(plan, "h100").work(plan.stages[folder], "002").flops == 2 * 4 * FLOPS


def test_earlier_jobs_calibrate_the_estimate(make: Make) -> None:
    plan = make()
    finish(plan, seconds=3 * calculated(1000, "a100"), device="NVIDIA A100-SXM4-80GB")
    longer = {"palette": {**RAW["models"]["palette"], "train": {"steps": 9000}}}
    changed = make(models=longer)
    found = Estimator.of(changed, "a100").estimate(train_job(changed), done=0)
    assert found.seconds == pytest.approx(3 * calculated(9000, "a100"))
    assert found.basis == "2 earlier jobs of this network on A100 SXM 80 GB"
    other = Estimator.of(changed, "h100").estimate(train_job(changed))
    assert other.seconds == pytest.approx(calculated(9000))


def test_memory_and_the_largest_batch(make: Make) -> None:
    plan = make()
    (memory,) = Estimator.of(plan, "a100-40").memory(plan.stages)
    assert memory["state"] == PARAMETERS * (16 + 4)
    assert memory["needed"] == memory["state"] + BATCH * IMAGE_BYTES + 2 * 10**9
    assert memory["largest"] == (39 * GIB - 2 * 10**9 - memory["state"]) // IMAGE_BYTES
    split = make(models={"palette": {"train": {"gpus": 2, "accumulate": 4}}})
    assert Estimator.of(split, "a100-40").memory(split.stages)[0]["batch"] == BATCH // 8


def test_several_gpus_are_faster_at_the_same_cost(make: Make) -> None:
    split = make(models={"palette": {**RAW["models"]["palette"], "train": {"steps": 1000, "gpus": 4}}})
    found = Estimator.of(split, "h100").estimate(train_job(split))
    fixed = START_NETWORK
    assert found.seconds - fixed == pytest.approx((calculated(1000) - fixed) / 4)
    assert found.gpus == 4


def test_gpus_of_all_nodes_count(make: Make) -> None:
    options = {"steps": 1000, "gpus": 2, "nodes": 4, "accumulate": 2}
    spread = make(models={"palette": {**RAW["models"]["palette"], "train": options}})
    estimator = Estimator.of(spread, "h100")
    found = estimator.estimate(train_job(spread))
    fixed = START_NETWORK
    assert found.seconds - fixed == pytest.approx((calculated(1000) - fixed) / 8)
    assert found.gpu_hours == pytest.approx(found.seconds * 8 / 3600)
    assert estimator.memory(spread.stages)[0]["batch"] == BATCH // 16


def test_a_longer_training_costs_the_steps_beyond_the_shorter_one(make: Make) -> None:
    plan = make(experiments=[{**RAW["experiments"][0], "task": "jpeg", "steps": [400, 1000]}])
    estimates = [Estimator.of(plan, "h100").estimate(Job(spec.folder)) for spec in plan.of_kind("train")]
    flops = sorted(estimate.flops / (BATCH * 3 * FLOPS) for estimate in estimates)
    assert flops == [400, 600]


def test_totals_are_those_of_the_stages(make: Make) -> None:
    facts, schedule = planned(make(), "h100", 4, 2)
    jobs = sum(stage["jobs"] for stage in facts["stages"])
    assert facts["totals"]["jobs"] == jobs == len(schedule.placed)
    assert facts["totals"]["gpu_hours"] == pytest.approx(sum(stage["gpu_hours"] for stage in facts["stages"]))
    assert facts["totals"]["disk_bytes"] > 0


@pytest.mark.parametrize(
    ("device", "name", "same"),
    [
        ("h100", "NVIDIA H100 80GB HBM3", True),
        ("h200", "NVIDIA H100 80GB HBM3", False),
        ("a100", "NVIDIA A100-SXM4-40GB", False),
        ("l4", "NVIDIA L40S", False),
        ("l4", "NVIDIA L4", True),
        ("a40", "NVIDIA A40", True),
        ("rtx-4090", "NVIDIA GeForce RTX 4090", True),
    ],
)
def test_devices_by_the_names_of_their_driver(device: str, name: str, same: bool) -> None:
    assert same_device(GPUS[device], name) is same


def test_a_benchmark_of_the_device_replaces_the_assumption(tmp_path: Path) -> None:
    record = (
        '{"device": "NVIDIA L4", "results": {"paper": {"matrix_flops_per_second": 6.05e13, "bf16": {"share": 0.5}}}}'
    )
    (tmp_path / "gpu-2026-01-01-l4.json").write_text(record)
    assert utilization("l4", tmp_path)[0] == pytest.approx(0.25)
    assert utilization("a40", tmp_path) == (UTILIZATION, "assumed, 35% of the peak of A40")


# ---------------------------------------------------------------------------------------------------------- fetch


def estimator_of(make: Make, folder: Path, images: int | None) -> Estimator:
    """Of a plan that has counted the images of the dataset `own`."""
    plan = make(results=folder / "results")
    plan.pictures = {} if images is None else {"own": images}
    return Estimator(plan, "cpu")


def pictures(folder: Path, count: int) -> Path:
    """Files that nobody opens when planning."""
    folder.mkdir()
    for number in range(count):
        (folder / f"{number}.jpg").touch()
    (folder / "README.txt").touch()
    return folder


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("{source: photos}", 6),
        ("{source: folder, path: OWN}", 30),
        ("{source: pairs, path: OWN, conditions: OTHER}", 60),
        ("{source: folder, path: OWN, splits: {train: FIRST, test: SECOND}}", 11),
        ("{source: imagenet}", 1_331_167),
        ("{source: archive, files: [{file: x.zip, urls: ['https://example.org/x.zip']}]}", 0),
    ],
)
def test_fetch_reads_each_picture_once(make: Make, tmp_path: Path, source: str, count: int) -> None:
    own, other = pictures(tmp_path / "own", 30), pictures(tmp_path / "other", 30)
    for name, numbers in (("first", range(7)), ("second", range(7, 11))):
        (tmp_path / name).write_text("".join(f"{number}.jpg\n" for number in numbers))
    for word, path in (("OWN", own), ("OTHER", other), ("FIRST", tmp_path / "first"), ("SECOND", tmp_path / "second")):
        source = source.replace(word, str(path))
    fetch = Fetch(**yaml.safe_load(source))
    spec = FetchSpec(name="own", fetch=fetch, known=built_in().get(fetch.source))
    estimator = estimator_of(make, tmp_path, survey(spec, tmp_path / "results").pictures)
    work = spec.work(estimator)
    assert work.images == count
    assert estimator.seconds(work, 2) - estimator.seconds(Work(), 2) == pytest.approx(count * IMAGE)


def test_fetched_images_are_counted_by_the_manifest(make: Make, tmp_path: Path) -> None:
    spec = FetchSpec(name="own", fetch=Fetch(source="archive", path=tmp_path / "x.zip"))
    entries = [{"file": f"{n}.png", "class": "a"} for n in range(5)] + [{"file": "x.png", "reason": "damaged"}]
    header = {"source": "archive", "containers": ["x.zip"]}
    write_manifest(tmp_path / "results" / spec.folder / "manifest.jsonl", header, entries)
    assert spec.work(estimator_of(make, tmp_path, None)).images == 6
