"""The presets of the paper's tables: planned without any dataset, with the paper's numbers, with equal rows."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from palette.commands.plan import shown_briefly
from palette.costs.estimate import Estimator
from palette.costs.gpus import GPUS
from palette.costs.schedule import simulate
from palette.errors import ConfigError
from palette.planning.plan import Plan
from palette.planning.remaining import jobs_of
from palette.publish.tables.published import ANY, PARAMETERS, Number, of_table
from palette.running.start import plan_of, start, to_supply
from palette.stages.rows import Row
from palette.stages.sample import SampleSpec
from palette.stages.tabulate import TabulateSpec
from palette.stages.train import TrainSpec

PRESETS = ("paper", "lite")


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Plan]:
    """Each preset, with results in a folder of the test's own."""
    folder, presets = tmp_path_factory.mktemp("presets"), Path(__file__).parents[2] / "workflow/presets"
    made = {}
    for name in PRESETS:
        raw: dict[str, Any] = yaml.safe_load((presets / f"{name}.yaml").read_text())
        file = folder / f"{name}.yaml"
        file.write_text(yaml.safe_dump({**raw, "results": str(folder / name)}))
        made[name] = plan_of([file])
    return made


@pytest.mark.parametrize("name", PRESETS)
def test_without_any_data_it_plans_and_says_what_is_missing(plans: dict[str, Plan], name: str) -> None:
    text = "\n".join(to_supply(plans[name]))
    for file in ("ILSVRC2012_img_train.tar", "ctest10k.txt", "coltran5k.txt", "places10k.txt"):
        assert text.count(f"/{file}") >= 1
    assert "license: non-commercial" in text
    with pytest.raises(ConfigError, match="must be supplied by hand"):
        start(plans[name])
    assert not plans[name].results.exists()


@pytest.mark.parametrize(("name", "gpus"), [("paper", "8 GPUs"), ("lite", "1 GPU")])
def test_without_any_data_it_estimates_the_cost(plans: dict[str, Plan], name: str, gpus: str) -> None:
    plan = plans[name]
    files = {str(plan.results / file) for folder in plan.stages for file in plan.outputs(folder)}
    facts = dict(re.findall(r"^  ([\w-]+(?: \w+)?) {2,}(.*)$", shown_briefly(plan, files, None), re.MULTILINE))
    assert int(facts["jobs"].replace(",", "")) == sum(len(jobs_of(plan, folder)) for folder in plan.stages)
    assert facts["GPU-hours"].endswith(" on H100 SXM")
    assert f"with {gpus}," in facts["wall time"]
    assert not plan.results.exists()


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("number", range(1, 10))
def test_every_row_of_the_authors_is_run(plans: dict[str, Plan], name: str, number: int) -> None:
    (table,) = [table for table in plans[name].tables if table.table.paper == number]
    ours = {
        (table.datasets[row.dataset].published, row.degradation, table.table.models.get(row.model, row.model))
        for row in table.rows
    }
    wanted = {(n.dataset, n.task, n.model) for n in of_table(number) if n.kind == "own"}
    assert wanted <= ours, wanted - ours
    originals = {n.dataset for n in of_table(number) if n.kind == "originals"}
    assert originals <= {dataset for dataset, task, _ in ours if task is None}


def test_both_have_the_same_tables_and_rows(plans: dict[str, Plan]) -> None:
    def rows(plan: Plan) -> list[tuple[str, str | None, str]]:
        return [(row.dataset, row.task, row.model) for row in plan.rows]

    assert rows(plans["paper"]) == rows(plans["lite"])
    assert [t.table for t in plans["paper"].tables] == [t.table for t in plans["lite"].tables]


def test_the_papers_recipe_is_reproduced(plans: dict[str, Plan]) -> None:
    specs = [spec for spec in plans["paper"].of_kind("train") if isinstance(spec, TrainSpec)]
    assert len(specs) == 15
    ablation = [spec for spec in specs if spec.steps == 500_000]
    assert {spec.batch_size for spec in ablation} == {512}
    assert {spec.network.context for spec in ablation} == {
        "global-attention",
        "local-attention",
        "dilated",
        "more-blocks",
    }
    others = [spec for spec in specs if spec not in ablation]
    assert {(s.steps, s.batch_size, s.learning_rate, s.warmup, s.ema) for s in others} == {
        (1_000_000, 1024, 1e-4, 10_000, 0.9999)
    }
    assert {s.sources.get("prepare-places2") or s.sources.get("prepare-places2-crops") for s in specs} == {None, 0.5}


MEASURED_BY = {"fid": "inception", "is": "inception", "pd": "inception", "ca": "resnet50", "lpips-diversity": "lpips"}


def gives(plan: Plan, table: TabulateSpec, row: Row, number: Number) -> bool:
    """Whether a row of a table stands beside a number of the paper, and has a score of that name."""
    name, dataset = table.table.models.get(row.model, row.model), table.datasets[row.dataset].published
    if (dataset, row.degradation or number.task, name) != (number.dataset, number.task, number.model):
        return False
    if number.condition not in (*ANY, row.condition or ""):
        return False
    if number.metric == PARAMETERS:
        return row.train is not None
    sample = plan.stages.get(row.sample or "")
    several = isinstance(sample, SampleSpec) and sample.draws > 1
    return MEASURED_BY.get(number.metric) in plan.extractors(row.dataset) and (
        several or "diversity" not in number.metric
    )


def missing(plan: Plan, table: TabulateSpec) -> str:
    """What of the paper's table no row gives, as the page of the tables says it."""
    numbers = of_table(table.table.paper or 0)
    gone = [n for n in numbers if not any(gives(plan, table, row, n) for row in table.rows)]
    if gone == numbers:
        return "all; only quoted"
    people = ["fool rates"] if any(n.metric == "fool-rate" for n in gone) else []
    methods = dict.fromkeys(n.model for n in gone if n.kind == "prior")
    own = [f"{n.metric} of {n.model}" for n in gone if n.kind != "prior" and n.metric != "fool-rate"]
    return "; ".join(filter(None, [*people, ", ".join(methods), *own])) or "none"


@pytest.mark.parametrize("name", PRESETS)
def test_the_docs_list_the_cells_that_stay_empty(plans: dict[str, Plan], checkout: Path, name: str) -> None:
    page = (checkout / "docs/tables.md").read_text()
    rows = re.findall(r"^\| ([\d, ]+?)(?: [A-Za-z].*?)? \|.*\| (.*) \|$", page, re.MULTILINE)
    listed = {int(number): cell for numbers, cell in rows for number in numbers.split(",")}
    assert listed == {table.table.paper: missing(plans[name], table) for table in plans[name].tables}


def test_the_docs_give_the_time_of_the_small_preset(plans: dict[str, Plan], checkout: Path) -> None:
    page = (checkout / "docs/tables.md").read_text()
    rows = re.findall(r"^\| ([^|]+) \| ([\d.]+) (h|days) \| ([\d.]+) (h|days) \|$", page, re.MULTILINE)
    names, plan = {gpu.name: key for key, gpu in GPUS.items()}, plans["lite"]
    assert len(rows) == 7
    for name, *told in rows:
        for number, unit, share in ((told[0], told[1], 0.35), (told[2], told[3], 0.12)):
            estimator = Estimator.of(plan, names[name], most=1)
            estimator.share = share
            estimates = [estimator.estimate(job) for folder in plan.stages for job in jobs_of(plan, folder)]
            hours = simulate(plan, estimates, gpus=1).seconds / 3600
            assert float(number) * {"h": 1, "days": 24}[unit] == pytest.approx(hours, rel=0.1), name
