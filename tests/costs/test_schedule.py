"""List scheduling: invariants of every schedule, and small cases by hand."""

import itertools
import re

import pytest
from PIL import Image

from palette.costs.estimate import Estimate, Estimator
from palette.costs.picture import COLORS, draw
from palette.costs.schedule import Nodes, Schedule, dependencies, simulate
from palette.planning.plan import Plan
from palette.planning.remaining import Job, jobs_of
from tests.costs.conftest import RAW, Make


def estimates(plan: Plan, device: str = "h100") -> list[Estimate]:
    estimator = Estimator.of(plan, device)
    return [estimator.estimate(job) for folder in plan.stages for job in jobs_of(plan, folder)]


def larger(make: Make, gpus: int = 1) -> Plan:
    model = {**RAW["models"]["palette"], "train": {"steps": 200_000, "gpus": gpus}}
    rows = [{**RAW["experiments"][0], "seed": [0, 1, 2]}]
    return make(models={"palette": model}, experiments=rows)


@pytest.mark.parametrize(("gpus", "nodes", "asked"), [(1, 1, 1), (4, 1, 1), (8, 2, 2), (8, 4, 4), (6, 3, 4)])
def test_no_device_is_shared_and_no_job_starts_before_its_parents(
    make: Make, gpus: int, nodes: int, asked: int
) -> None:
    plan = larger(make, asked)
    jobs = estimates(plan)
    schedule = simulate(plan, jobs, gpus, nodes)
    assert len(schedule.placed) == len(jobs)
    when = {placed.estimate.job: placed for placed in schedule.placed}
    for job, parents in dependencies(plan, [e.job for e in jobs]).items():
        assert all(when[parent].end <= when[job].start + 1e-9 for parent in parents)
    for device in range(gpus):
        spans = sorted((p.start, p.end) for p in schedule.placed if device in p.devices)
        assert all(before[1] <= after[0] + 1e-9 for before, after in itertools.pairwise(spans))
    critical = sum(estimate.seconds for estimate in schedule.critical)
    work = sum(p.estimate.seconds * len(p.devices) for p in schedule.placed)
    assert max(critical, work / gpus) - 1e-6 <= schedule.seconds <= critical + work
    assert schedule.idle == pytest.approx(1 - work / (gpus * schedule.seconds))


def test_jobs_of_a_node_stay_on_it(make: Make) -> None:
    plan = larger(make, gpus=2)
    for placed in simulate(plan, estimates(plan), 6, 2).placed:
        assert len({device // 3 for device in placed.devices}) <= 1


def test_a_node_is_filled_before_the_next() -> None:
    nodes = Nodes(gpus=8, nodes=2)
    assert [nodes.take(1), nodes.take(2), nodes.take(4)] == [(0,), (1, 2), (4, 5, 6, 7)]
    assert nodes.take(2) is None
    nodes.give((4, 5, 6))
    assert [nodes.take(1), nodes.take(3)] == [(3,), (4, 5, 6)]  # the last of a node, not one of three


def test_large_jobs_take_whole_nodes() -> None:
    nodes = Nodes(gpus=8, nodes=4)
    assert nodes.take(1) == (0,)
    assert nodes.take(4) == (2, 3, 4, 5)
    assert nodes.take(3) is None  # one node is whole, and three GPUs are more than it has
    assert nodes.take(2) == (6, 7)
    nodes.give((2, 3, 4, 5))
    assert nodes.take(3) == (2, 3, 4, 5)


def test_large_trainings_wait_for_whole_nodes(make: Make) -> None:
    plan = larger(make, gpus=4)
    trainings = [p.devices for p in simulate(plan, estimates(plan), 8, 4).placed if p.estimate.kind == "train"]
    assert sorted(trainings) == [(0, 1, 2, 3)] * 3 + [(4, 5, 6, 7)] * 3


def test_the_critical_path_is_a_chain(make: Make) -> None:
    plan = larger(make)
    schedule = simulate(plan, estimates(plan), 2)
    kinds = [estimate.kind for estimate in schedule.critical]
    assert kinds == ["fetch", "prepare", "train", "sample", "features", "score", "tabulate", "report"]


def test_features_wait_for_their_own_shards_of_samples_only(make: Make) -> None:
    plan = make()
    features = next(s for s in plan.of_kind("features") if "sample" in s.parents)
    waits = dependencies(plan, [job for folder in plan.stages for job in jobs_of(plan, folder)])
    shards = [
        [j.shard for j in waits[Job(features.folder, s)] if j.folder.startswith("sample")] for s in ("000", "001")
    ]
    assert shards == [["000", "001"], ["002"]]


def test_nothing_to_do_takes_no_time(make: Make) -> None:
    assert simulate(make(), [], 4).seconds == 0
    assert Schedule([], 4, 1, []).idle == 0


def test_picture(make: Make, tmp_path_factory: pytest.TempPathFactory) -> None:
    plan, folder = larger(make), tmp_path_factory.mktemp("pictures")
    schedule = simulate(plan, estimates(plan), 4, 2)
    for name in ("a.svg", "c.png"):
        draw(schedule, folder / name, "4 × H100")
    text = (folder / "a.svg").read_text()
    words = re.findall(r"<!-- (.*) -->", text)  # matplotlib's, beside the outlines of their letters
    assert {"node 0", "node 1", *COLORS} <= set(words)
    assert "node 2" not in words
    assert sum(word.startswith("4 × H100: ") and word.endswith(f"{schedule.idle:.1%} idle") for word in words) == 1
    for kind, color in COLORS.items():
        bars = [placed for placed in schedule.placed if placed.estimate.kind == kind and placed.devices]
        assert text.count(f"fill: {color}") == len(bars) + 1, kind  # and one in the legend
    with Image.open(folder / "c.png") as image:
        assert image.width == 1100
