"""Actual against estimated cost: by which records, on which device, and as a page."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from palette.costs import page, runs
from palette.costs.gpus import GPUS, UTILIZATION
from palette.costs.records import NEWEST
from palette.costs.text import compared
from palette.costs.truth import truth
from palette.costs.work import HANDLING
from palette.planning.plan import Plan
from tests.costs.conftest import FLOPS, NOW, RAW, Make, finish
from tests.publish.chromium import Chromium, find

STEPS, BATCH = 1000, 16
CALCULATED = HANDLING["train"].job + STEPS * BATCH * 3 * FLOPS / (GPUS["cpu"].tf32 * UTILIZATION)
"""Seconds of a training of `RAW` on a CPU."""

Began = Callable[..., None]


@pytest.fixture
def began(tmp_path: Path) -> Began:
    """Note runs that began at these times."""

    def noted(*times: datetime) -> None:
        file = tmp_path / "results" / runs.FILE
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(f"{time.isoformat(timespec='seconds')}\n" for time in times))

    return noted


def other_seed(make: Make) -> Plan:
    return make(experiments=[{**row, "seed": 1} for row in RAW["experiments"]])


def trainings(plan: Plan) -> list[float]:
    return [job.ratio for job in truth(plan).trainings]


def test_jobs_of_the_same_run_calibrate_nothing(make: Make, began: Began) -> None:
    plan = make()
    finish(plan, seconds=2 * CALCULATED)
    began(NOW)
    assert trainings(plan) == pytest.approx([0.5, 0.5])
    assert all(job.basis.startswith("assumed") for job in truth(plan).trainings)


def test_jobs_of_earlier_runs_calibrate(make: Make, began: Began) -> None:
    finish(other_seed(make), seconds=2 * CALCULATED)
    later = NOW + timedelta(days=30)
    began(NOW, later, later + timedelta(days=1))
    plan = make()
    finish(plan, seconds=2 * CALCULATED, began=later)
    assert trainings(plan) == pytest.approx([1, 1])
    assert {job.basis for job in truth(plan).trainings} == {"2 earlier jobs of this network on CPU core"}


def test_jobs_beyond_those_that_an_estimate_reads_count_too(make: Make, began: Began) -> None:
    plan = make(sample={"shard_size": 1}, datasets={"photos": {"prepare": {"test_images": NEWEST + 10}}})
    finish(plan)
    began(NOW)
    found = {done.kind: (len(jobs), done) for done, jobs in truth(plan).lines}
    count, sampled = found["sample"]
    assert count == 2 * (NEWEST + 10)
    assert sampled.seconds == pytest.approx(count * 10)
    assert {job.basis for job in truth(plan).jobs if job.kind == "sample"} == {"assumed, 35% of the peak of CPU core"}


def test_outside_a_run_an_estimate_uses_earlier_jobs(make: Make) -> None:
    plan = make()
    finish(plan, seconds=2 * CALCULATED)
    first, second = truth(plan).trainings
    assert (first.ratio, second.ratio) == pytest.approx((0.5, 1))
    assert second.basis == "1 earlier job of this network on CPU core"


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
    assert "on Fancy 9000" in page.render("A", found)


def cells(html: str) -> dict[str, list[str]]:
    """Name of a row → its other cells."""
    rows = re.findall(r"<tr[^>]*><th scope=\"row\">(.*?)</th>(.*?)</tr>", html, re.DOTALL)
    return {re.sub("<.*?>", "", name): re.findall(r"<td[^>]*>(.*?)</td>", rest) for name, rest in rows}


def test_the_page_shows_kinds_trainings_and_their_sum(make: Make, began: Began) -> None:
    plan = make()
    finish(plan, seconds=2 * CALCULATED, device="NVIDIA A100-SXM4-80GB")
    began(NOW)
    html = page.write(plan).read_text(encoding="utf-8")
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
    file = page.write(plan)
    with Chromium(tmp_path / "profile") as browser:
        browser.size(390, 844, mobile=True)
        browser.open(file)
        assert browser.ask("document.documentElement.scrollWidth") == 390
        # The tables scroll in themselves, the names of their rows staying in sight.
        browser.ask("document.querySelector('.card').scrollLeft = 1000")
        assert browser.ask("document.querySelector('tbody th').getBoundingClientRect().left") >= 0
    assert browser.errors == []


def test_without_finished_jobs_the_page_says_so(make: Make) -> None:
    html = page.render("A & B", truth(make()))
    assert "0 jobs done" in html
    assert "A &amp; B" in html
    assert "<table" not in html


def test_a_line_truncated_by_a_full_disk_is_skipped(tmp_path: Path) -> None:
    runs.note(tmp_path)
    with (tmp_path / runs.FILE).open("a") as file:
        file.write("2026-01-")
    assert len(runs.beginnings(tmp_path)) == 1
