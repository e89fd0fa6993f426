"""Tables: bold and missing values, numbers beside the paper's, and the three formats."""

import csv
import io

import pytest

from palette.config.scores import Table
from palette.errors import DataError
from palette.publish.tables.config_table import Grid, build
from palette.publish.tables.formats import escape, to_csv, to_latex, to_markdown
from palette.publish.tables.results import blocks
from palette.stages import tabulate
from palette.stages.stage import Stage
from palette.stages.tabulate import TABLE_FORMATS
from palette.system.files import read_json, write_json
from tests.publish.conftest import Results, entry

TABLE = Table(title="A_1 & 50 %", columns=("fd", "ca", "psnr", "chroma"), published={"colorization": 1})


def grid_of(results: Results, table: Table = TABLE) -> Grid:
    return build(results.tabulate_spec("main", table), results.folder)


def bold(grid: Grid, block: int = 0) -> dict[str, list[str]]:
    """Label of a line → labels of the columns where it is bold."""
    return {
        line.label: [c.label for c, e in zip(grid.columns, line.entries, strict=True) if e.bold]
        for line in grid.blocks[block][1]
    }


def texts(grid: Grid, label: str) -> list[str]:
    return [e.text for line in grid.blocks[0][1] if line.label == label for e in line.entries]


def test_rows_are_in_order_with_input_first_and_originals_last(colorization: Results) -> None:
    labels = [line.label for line in grid_of(colorization).blocks[0][1]]
    assert labels == ["degraded input", "palette, dpm20", "regression", "original images"]


def test_the_best_trained_model_is_bold_in_each_direction(colorization: Results) -> None:
    marked = bold(grid_of(colorization))
    assert marked["palette, dpm20"] == ["FD-photos", "chroma"]
    assert marked["regression"] == ["CA-photos %", "PSNR"]
    assert marked["degraded input"] == marked["original images"] == []


def test_a_single_model_is_not_best_of_anything(results: Results) -> None:
    results.add("palette", {"fd-photos": 1.0})
    results.add("input", {"fd-photos": 2.0})
    assert bold(grid_of(results))["palette, dpm20"] == []


def test_values_that_print_equal_are_both_bold(results: Results) -> None:
    results.add("palette", {"fd-photos": 1.001})
    results.add("regression", {"fd-photos": 1.002})
    assert bold(grid_of(results)) == {"palette, dpm20": ["FD-photos"], "regression": ["FD-photos"]}


def test_reference_columns_need_originals(results: Results) -> None:
    results.add("palette", {"chroma": 29.0})
    results.add("regression", {"chroma": 10.0})
    assert bold(grid_of(results))["palette, dpm20"] == []


def test_missing_cells_and_infinite_ones_are_shown(results: Results) -> None:
    results.add("palette", {"fd-photos": 12.341})
    results.add("originals", {"psnr": None})
    grid = grid_of(results)
    assert texts(grid, "palette, dpm20") == ["12.34", "—", "—", "—", "15.78", "72.5"]
    assert texts(grid, "original images")[2] == "∞"


def test_published_numbers_appear_beside_ours(colorization: Results) -> None:
    grid = grid_of(colorization)
    assert [c.label for c in grid.columns] == [
        "FD-photos",
        "CA-photos %",
        "PSNR",
        "chroma",
        "paper’s FID",
        "paper’s CA %",
    ]
    assert texts(grid, "regression")[-2:] == ["17.89", "68.2"]
    assert texts(grid, "degraded input")[-2:] == ["—", "—"]
    assert texts(grid, "original images")[-2:] == ["14.68", "75.6"]
    assert any("ImageNet at 256" in note for note in grid.notes)


def test_without_published_there_are_no_columns_of_the_paper(colorization: Results) -> None:
    assert not any(c.published for c in grid_of(colorization, Table()).columns)


def test_seeds_become_mean_and_deviation(results: Results) -> None:
    for seed, value in enumerate((10.0, 12.0, 14.0)):
        results.add("palette", {"fd-photos": value}, seed=seed)
    (line,) = grid_of(results).blocks[0][1]
    assert (line.seeds, line.entries[0].text, line.entries[0].detail) == ("3", "12.00", "± 2.00")
    assert line.line.cells["fd-photos"].deviation == pytest.approx(2)


def test_few_images_are_marked(results: Results) -> None:
    results.add("palette", {"fd-photos": entry("fd-photos", 3.0, small=True)})
    grid = grid_of(results)
    assert grid.blocks[0][1][0].entries[0].mark == "†"
    assert any(note.startswith("†") for note in grid.notes)


def test_patterns_choose_rows(colorization: Results) -> None:
    grid = grid_of(colorization, Table(experiments=("*-palette-*", "*-input-*")))
    assert [line.label for line in grid.blocks[0][1]] == ["degraded input", "palette, dpm20"]


def test_each_test_is_a_block_with_the_originals(colorization: Results) -> None:
    changes = {"task": "jpeg5", "degradation": "jpeg", "condition": "5", "experiment": "photos-jpeg5-palette-s0"}
    colorization.add("palette", {"fd-photos": 5.0}, **changes)
    grid = grid_of(colorization, TABLE.model_copy(update={"published": {"jpeg5": 4}}))
    assert [block.title for block, _ in grid.blocks] == ["Colorization", "JPEG restoration, quality 5"]
    assert [line.label for line in grid.blocks[1][1]] == ["palette, dpm20", "original images"]
    assert [e.text for e in grid.blocks[1][1][0].entries][-2:] == ["8.3", "64.2"]


def test_different_protocols_are_refused(colorization: Results) -> None:
    file = colorization.folder / colorization.rows[1].score / "scores.json"
    content = read_json(file)
    content["protocol"]["reference"] = {"photos": "features/others"}
    write_json(file, content)
    with pytest.raises(DataError, match=r"another protocol.*features/others"):
        blocks(colorization.rows, colorization.folder)


def test_csv_is_tidy_and_exact(colorization: Results) -> None:
    records = list(csv.DictReader(io.StringIO(to_csv(grid_of(colorization).sheet))))
    assert len(records) == 4 * 4
    palette = next(r for r in records if r["model"] == "palette" and r["score"] == "fd-photos")
    assert palette["value"] == "12.341"
    assert (palette["published"], palette["published_table"], palette["sampler"]) == ("15.78", "1", "dpm20")
    assert next(r for r in records if r["model"] == "originals" and r["score"] == "psnr")["value"] == "inf"


def test_csv_distinguishes_rows_by_steps(colorization: Results) -> None:
    colorization.add("palette", {"fd-photos": 15.0}, steps=10)
    records = csv.DictReader(io.StringIO(to_csv(grid_of(colorization).sheet)))
    values = {r["steps"]: r["value"] for r in records if r["model"] == "palette" and r["score"] == "fd-photos"}
    assert values == {"": "12.341", "10": "15.0"}


def test_markdown_rows_have_one_width(colorization: Results) -> None:
    text = to_markdown(grid_of(colorization).sheet)
    widths = {line.count("|") for line in text.splitlines() if line.startswith("|")}
    assert len(widths) == 1
    assert "| palette, dpm20 | 20 | 1 | 6 | **12.34** [11.34, 13.34] |" in text


def test_latex_is_escaped_and_balanced(colorization: Results) -> None:
    text = to_latex(grid_of(colorization).sheet)
    assert r"\caption{A\_1 \& 50 \%}" in text
    assert r"palette, dpm20 & 20 & 1 & 6 & \textbf{12.34} {\scriptsize [11.34, 13.34]}" in text
    rows = [line for line in text.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
    assert {line.replace(r"\&", "").count("&") for line in rows} == {9}
    assert text.isascii()


def test_every_special_character_of_latex_is_escaped() -> None:
    assert escape(r"\&%$#_{}~^") == r"\textbackslash{}\&\%\$\#\_\{\}\textasciitilde{}\textasciicircum{}"


def test_the_stage_writes_its_table_in_every_format_and_repeats(colorization: Results) -> None:
    spec = colorization.tabulate_spec("main", TABLE)
    stage = Stage(spec, colorization.folder)
    written = []
    for _ in range(2):
        tabulate.run(stage)
        written.append([stage.path(f"main.{ending}").read_bytes() for ending in TABLE_FORMATS])
    assert written[0] == written[1]
    assert list(read_json(colorization.folder / spec.card)["artifacts"]) == [f"main.{e}" for e in TABLE_FORMATS]
