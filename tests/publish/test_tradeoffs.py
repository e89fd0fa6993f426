"""Plots of quality against cost: when they are made, what they show, and how they look in light and dark pages."""

import re
from pathlib import Path

import pytest

from palette.config.sampling import Sampler
from palette.config.scores import Table
from palette.publish.figures import style, tradeoffs
from palette.publish.figures.tradeoffs import Panel, Series, front
from palette.publish.pages import draw
from palette.publish.tables.results import Block, Cell, ScoreInfo, blocks
from palette.stages import report
from palette.stages.rows import PLOTS
from palette.stages.stage import Stage
from tests.publish.conftest import Results


@pytest.fixture
def compared(colorization: Results) -> Results:
    """The four usual rows; palette after 10 and 20 steps too, and by other samplers; two seeds of one of them."""
    for steps, value in ((20, 14.0), (10, 18.0)):
        colorization.add("palette", {"fd-photos": value, "psnr": 20 - value / 10}, steps=steps)
    for kind, steps, value in (("ddim", 5, 16.0), ("ddim", 50, 13.0), ("heun", 10, 12.0)):
        sampler = Sampler.model_validate({"kind": kind, "steps": steps})
        colorization.add("palette", {"fd-photos": value, "psnr": 19.0}, sampled=sampler)
    colorization.add("palette", {"fd-photos": 14.0, "psnr": 19.0}, seed=1, sampled=Sampler(kind="ddim", steps=50))
    return colorization


def panels(results: Results, name: str) -> list[Panel]:
    (block,) = blocks(results.rows, results.folder)
    return tradeoffs.PANELS[name](block, results.folder)


def points(panel: Panel) -> dict[str, list[tuple[float, float | None]]]:
    return {series.label: [(x, cell.value) for x, cell in series.points] for series in panel.series}


def test_plots_are_planned_where_rows_can_be_compared(colorization: Results) -> None:
    def planned() -> set[str]:
        return {name for name in PLOTS if f"{name}.svg" in colorization.report_spec(["main"]).figures}

    assert planned() == {"cost"}
    colorization.add("palette", {"fd-photos": 14.0}, steps=20)
    assert planned() == {"cost", "steps"}
    colorization.add("palette", {"fd-photos": 14.0}, sampled=Sampler(steps=5))
    assert planned() == {"cost", "steps", "evaluations"}


def test_every_planned_plot_is_on_the_page(compared: Results) -> None:
    compared.tabulate_spec("main", Table())
    stage = Stage(compared.report_spec(["main"]), compared.folder)
    report.run(stage)
    text = stage.path("index.html").read_text("utf-8")
    assert [title in text for title, _ in draw.PLOTS_SHOW.values()] == [True] * 3
    assert all(stage.path(f"figures/{name}").exists() for name in stage.spec.figures)
    assert "palette, dpm20, at step 10" in text


def test_scores_over_steps(compared: Results) -> None:
    fd, psnr = panels(compared, "steps")
    assert (fd.score.label, psnr.score.label) == ("FD-photos", "PSNR")
    assert points(fd) == {"palette, dpm20": [(10, 18.0), (20, 14.0), (30, 12.341)]}
    assert points(psnr) == {"palette, dpm20": [(10, 18.2), (20, 18.6), (30, 20.0)]}


def test_scores_over_evaluations_have_a_line_for_each_kind_of_sampler(compared: Results) -> None:
    fd, _ = panels(compared, "evaluations")
    assert points(fd) == {
        "palette, dpm++2m": [(20, 12.341)],
        "palette, ddim": [(5, 16.0), (50, 13.5)],
        "palette, heun": [(19, 12.0)],
    }
    (deviation,) = [cell.deviation for series in fd.series for x, cell in series.points if x == 50]
    assert deviation == pytest.approx(0.5**0.5)  # of two seeds


def test_cost_is_read_from_the_cards(compared: Results) -> None:
    sampling, training = panels(compared, "cost")
    # Six test images in jobs of 3 s an image and sampler step; 18 images with the further draws.
    assert points(sampling)["palette, dpm20"] == [(20.0, 12.341)]
    assert points(sampling)["regression"] == [(3.0, 20.0)]
    assert points(training)["palette, dpm20"] == [(120.0, 12.341)]  # 60 s on two devices
    assert points(training)["palette, dpm20, at step 10"] == [(40.0, 18.0)]
    assert points(sampling).keys() == {"regression", "palette, dpm20"} | {
        *(f"palette, dpm20, at step {steps}" for steps in (10, 20)),
        *(f"palette, {name}" for name in ("ddim5", "ddim50", "heun10")),
    }


@pytest.mark.parametrize(("better", "expected"), [("lower", [(1, 9), (2, 5), (6, 4)]), ("higher", [(1, 9), (4, 10)])])
def test_the_front_has_the_points_that_nothing_beats(better: str, expected: list[tuple[float, float]]) -> None:
    score = ScoreInfo("x", "x", "x", better, 2, "")  # type: ignore[arg-type]
    made = [(1, 9), (2, 5), (3, 7), (4, 10), (5, 5), (6, 4), (7, None)]
    series = [Series("a", [(x, Cell(y)) for x, y in made[::2]]), Series("b", [(x, Cell(y)) for x, y in made[1::2]])]
    assert front(Panel("", "", score, series)) == expected


def test_plots_are_vectors_that_turn_light_on_a_dark_page(compared: Results, tmp_path: Path) -> None:
    made: list[Block] = blocks(compared.rows, compared.folder)
    for name in PLOTS:
        style.save(tradeoffs.draw(name, made, compared.folder), tmp_path / f"{name}.svg")
        text = (tmp_path / f"{name}.svg").read_text("utf-8")
        assert "prefers-color-scheme: dark" in text
        assert "<image" not in text
        drawn = re.sub(r"<style.*?</style>", "", text, flags=re.S)
        used = set(re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", drawn))
        assert used <= {style.INK, "#8a8f99", *(color.lower() for color in style.COLORS)}
        assert style.INK in used
        assert (tmp_path / f"{name}.png").exists()


def test_equal_plots_are_equal_files(compared: Results, tmp_path: Path) -> None:
    made = blocks(compared.rows, compared.folder)
    for folder in ("a", "b"):
        style.save(tradeoffs.draw("cost", made, compared.folder), tmp_path / folder / "cost.svg")
    for ending in ("svg", "png"):
        assert (tmp_path / f"a/cost.{ending}").read_bytes() == (tmp_path / f"b/cost.{ending}").read_bytes()
