"""List scheduling: invariants of every schedule, and small cases by hand."""

import itertools

import pytest

from palette.costs.estimate import Estimate, Estimator
from palette.costs.schedule import Schedule, dependencies, simulate, take
from palette.planning.plan import Plan
from palette.planning.remaining import Job, jobs_of
from tests.costs.conftest import RAW, Make


def kind(estimate: Estimate) -> str:
    return estimate.job.folder.partition("/")[0]


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
    for node, now in itertools.product(range(nodes), sorted({p.start for p in schedule.placed})):
        running = [p for p in schedule.placed if p.start <= now < p.end - 1e-9]
        assert sum(p.gpus.get(node, 0) for p in running) <= gpus // nodes
    critical = sum(estimate.seconds for estimate in schedule.critical)
    work = sum(p.estimate.seconds * sum(p.gpus.values()) for p in schedule.placed)
    assert max(critical, work / gpus) - 1e-6 <= schedule.seconds <= critical + work
    assert schedule.idle == pytest.approx(1 - work / (gpus * schedule.seconds))


def test_jobs_of_a_node_stay_on_it(make: Make) -> None:
    plan = larger(make, gpus=2)
    for placed in simulate(plan, estimates(plan), 6, 2).placed:
        assert len(placed.gpus) <= 1


def test_a_node_is_filled_before_the_next() -> None:
    free = [4, 4]
    assert [take(free, count, 4) for count in (1, 2, 4)] == [{0: 1}, {0: 2}, {1: 4}]
    assert take(free, 2, 4) is None
    free[1] += 3
    assert [take(free, count, 4) for count in (1, 3)] == [{0: 1}, {1: 3}]  # the last of a node, not one of three


def test_large_jobs_take_whole_nodes() -> None:
    free = [2, 2, 2, 2]
    assert take(free, 1, 2) == {0: 1}
    assert take(free, 4, 2) == {1: 2, 2: 2}
    assert take(free, 3, 2) is None  # one node is whole, and three GPUs are more than it has
    assert take(free, 2, 2) == {3: 2}
    free[1] = free[2] = 2
    assert take(free, 3, 2) == {1: 2, 2: 2}


def test_large_trainings_wait_for_whole_nodes(make: Make) -> None:
    plan = larger(make, gpus=4)
    trainings = [p.gpus for p in simulate(plan, estimates(plan), 8, 4).placed if kind(p.estimate) == "train"]
    assert sorted(map(tuple, trainings)) == [(0, 1)] * 3 + [(2, 3)] * 3
    assert {each for gpus in trainings for each in gpus.values()} == {2}


def test_the_critical_path_is_a_chain(make: Make) -> None:
    plan = larger(make)
    schedule = simulate(plan, estimates(plan), 2)
    kinds = [kind(estimate) for estimate in schedule.critical]
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
