"""The presets of the paper's tables: planned without any dataset, with the paper's numbers, and the same rows in both sizes."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from palette.errors import ConfigError
from palette.plan import Plan
from palette.publish.published import of_table
from palette.spec.stages import TrainSpec
from palette.workflow import plan_of, start, to_supply

PRESETS = ("paper", "lite")


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Plan]:
    """Each preset, with results in a folder of the test's own."""
    folder, presets = tmp_path_factory.mktemp("presets"), Path(__file__).parents[1] / "workflow/presets"
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


def test_the_papers_recipe_is_the_papers(plans: dict[str, Plan]) -> None:
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
