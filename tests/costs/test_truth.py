"""Actual against estimated cost: by which records, on which device, and as a page."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from palette.costs.estimate import START_NETWORK
from palette.costs.gpus import GPUS, UTILIZATION
from palette.costs.records import NEWEST
from palette.costs.text import compared
from palette.costs.truth import render, truth, write_page
from palette.planning.plan import Plan
from tests.costs.conftest import FLOPS, NOW, RAW, Make, finish
from tests.publish.chromium import Chromium, find

STEPS, BATCH = 1000, 16
CALCULATED = START_NETWORK + STEPS * BATCH * 3 * FLOPS / (GPUS["cpu"].tf32 * UTILIZATION)
"""Seconds of a training of `RAW` on a CPU."""


def other_seed(make: Make) -> Plan:
    return make(experiments=[{**row, "seed": 1} for row in RAW["experiments"]])


def trainings(plan: Plan) -> list[float]:
    return [job.ratio for job in truth(plan).trainings]


def test_jobs_of_the_same_plan_calibrate_nothing(make: Make) -> None:
    plan = make()
    finish(plan, seconds=2 * CALCULATED)
    assert trainings(plan) == pytest.approx([0.5, 0.5])
    assert all(job.basis.startswith("assumed") for job in truth(plan).trainings)


def test_jobs_of_other_plans_calibrate(make: Make) -> None:
    finish(other_seed(make), seconds=2 * CALCULATED)
    plan = make()
    finish(plan, seconds=2 * CALCULATED, began=NOW + timedelta(days=30))
    assert trainings(plan) == pytest.approx([1, 1])
    assert {job.basis for job in truth(plan).trainings} == {"2 earlier jobs of this network on CPU core"}


def test_jobs_beyond_those_that_an_estimate_reads_count_too(make: Make) -> None:
    plan = make(sample={"shard_size": 1}, datasets={"photos": {"prepare": {"test_images": NEWEST + 10}}})
    finish(plan)
    found = {done.kind: (len(jobs), done) for done, jobs in truth(plan).lines}
    count, sampled = found["sample"]
    assert count == 2 * (NEWEST + 10)
    assert sampled.seconds == pytest.approx(count * 10)
    assert {job.basis for job in truth(plan).jobs if job.kind == "sample"} == {"assumed, 35% of the peak of CPU core"}


def test_a_longer_training_counts_from_the_shorter_one(make: Make) -> None:
    plan = make(experiments=[{**RAW["experiments"][0], "task": "jpeg", "steps": [400, 1000]}])
    whole = {400: 100.0, 1000: 250.0}
    finish(plan, training_seconds=lambda spec: whole[spec.steps])
    assert sorted(job.seconds for job in truth(plan).trainings) == [100, 150]


def test_gpus_count_in_gpu_hours_and_the_cpu_only_in_time(make: Make) -> None:
    plan = make()
    finish(plan, seconds=3600, device="NVIDIA A100-SXM4-80GB")
    on_gpu = {done.kind: done for done, _ in truth(plan).lines if done.device == "A100 SXM 80 GB"}
    assert on_gpu["train"].gpu_hours == pytest.approx(2)
    assert on_gpu["train"].estimated_gpu_hours == pytest.approx(on_gpu["train"].estimated / 3600)
    assert truth(plan, "h100").jobs == []
    other = other_seed(make)
    finish(other)
    assert sum(job.gpu_hours for job in truth(other).jobs) == 0


def test_what_ran_on_an_unknown_device_is_named(make: Make) -> None:
    plan = make()
    finish(plan, device="Fancy 9000")
    found = truth(plan)
    assert found.jobs == []
    assert set(found.unknown) == {"Fancy 9000"}
    assert "jobs on Fancy 9000: not in the table of GPUs" in compared(found)
    assert "on Fancy 9000" in render("A", found)


def cells(html: str) -> dict[str, list[str]]:
    """Name of a row → its other cells."""
    rows = re.findall(r"<tr[^>]*><th scope=\"row\">(.*?)</th>(.*?)</tr>", html, re.DOTALL)
    return {re.sub("<.*?>", "", name): re.findall(r"<td[^>]*>(.*?)</td>", rest) for name, rest in rows}


def test_the_page_shows_kinds_trainings_and_their_sum(make: Make) -> None:
    plan = make()
    finish(plan, seconds=2 * CALCULATED, device="NVIDIA A100-SXM4-80GB")
    html = write_page(plan).read_text(encoding="utf-8")
    found, shown = truth(plan), cells(html)
    assert shown.keys() >= {spec.kind for spec in plan.stages.values()}
    assert (shown["train"][0], shown["train"][-1]) == ("2", "A100 SXM 80 GB")
    assert shown["all"][0] == str(len(found.jobs))
    assert shown["train"][-2] == f"{2 * 2 * CALCULATED / 3600:.3g}"
    for job in found.trainings:
        assert shown[job.job.removeprefix("train/")][2] == f"{job.ratio:.2f}"
        assert (plan.results / "report" / f"../{job.job}/card.json").exists()
    assert not re.findall(r"(?:src|href)=\"(?!\.\./|data:|index\.html)", html)


@pytest.mark.skipif(find() is None, reason="no Chromium on this machine")
def test_the_page_fits_a_phone(make: Make, tmp_path: Path) -> None:
    plan = make()
    finish(plan, seconds=2 * CALCULATED, device="NVIDIA A100-SXM4-80GB")
    file = write_page(plan)
    with Chromium(tmp_path / "profile") as browser:
        browser.size(390, 844, mobile=True)
        browser.open(file)
        assert browser.ask("document.documentElement.scrollWidth") == 390
        # The tables scroll in themselves, the names of their rows staying in sight.
        browser.ask("document.querySelector('.card').scrollLeft = 1000")
        assert browser.ask("document.querySelector('tbody th').getBoundingClientRect().left") >= 0
    assert browser.errors == []


def test_without_finished_jobs_the_page_says_so(make: Make) -> None:
    html = render("A & B", truth(make()))
    assert "0 jobs done" in html
    assert "A &amp; B" in html
    assert "<table" not in html
