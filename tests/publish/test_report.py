"""Figures, curves and the report page."""

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageFont

from palette.config.scores import Table
from palette.data.sources.manifest import Manifest, write_manifest
from palette.errors import DataError
from palette.publish.figures import curves, samples
from palette.publish.figures.panels import Panel, compose, enlarge, shorten
from palette.publish.pages.problems import file_problems
from palette.publish.pages.report import trainings
from palette.stages import report
from palette.stages.stage import Stage
from palette.system.files import read_json
from tests.publish.conftest import SIZE, Results, picture

FIGURES = {
    *("photos-colorization.png", "draws/photos-colorization.png", "failures/photos-colorization.png", "overview.png"),
    *(f"{plot}.{ending}" for plot in ("training", "cost") for ending in ("svg", "png")),
}
"""Of the four usual rows."""


@pytest.fixture
def page(colorization: Results) -> str:
    """The page of the four usual rows."""
    colorization.tabulate_spec("main", Table(title="Scores & more", published={"colorization": 1}))
    stage = Stage(colorization.report_spec(["main"]), colorization.folder)
    report.run(stage)
    return stage.path("index.html").read_text(encoding="utf-8")


def test_the_page_is_self_contained(page: str) -> None:
    assert re.findall(r"<(?:script|link|iframe|object|embed)\b[^>]*(?:src|href)=\"(?!data:)", page) == []
    sources = re.findall(r"src=\"([^\"]*)\"", page)
    kinds = [re.match(r"data:image/(\w+)", source) for source in sources]
    assert [kind and kind[1] for kind in kinds] == ["png"] * 3 + ["svg"] * 2
    assert "<script" not in page
    assert "@import" not in page
    assert "url(" not in page


def test_the_page_shows_everything_escaped(page: str) -> None:
    for part in (
        "<title>A &amp; B</title>",
        "Scores &amp; more",
        "Chelsea &lt;the cat&gt;",
        "CC0",
        '<a href="https://example.org/cats">Cats &amp; cups</a>. License: by agreement.',
        "@misc{cats}",
        "palette, dpm20",
        "3.1 M",
    ):
        assert part in page


def test_bad_files_and_duplicates_are_shown_in_a_foldable_list(page: str) -> None:
    (folded,) = re.findall(r"<details>(.*?)</details>", page, re.DOTALL)
    assert "<summary>Bad files and duplicates: 13</summary>" in folded
    cells = re.findall(r"<tr><td[^>]*>(.*?)</td><td>(.*?)</td><td[^>]*>(.*?)</td></tr>", folded)
    assert [(what, int(count), re.sub(r"</?code>", "", examples)) for what, count, examples in cells] == [
        ("left out: damaged or not supported", 1, "dogs/&lt;7&gt;.png (image file is truncated)"),
        ("left out: unsupported file extension", 1, "README"),
        ("left out: damaged since they were fetched", 1, "later.png: changed since"),
        ("equal to a test image: left out of training", 1, "twin.png (test image 5)"),
        ("similar to a test image: left out of training", 3, "small.png (test image 2, 3 bits of 64 differ)"),
        ("copies of a test image: left out of training", 4, ""),
        ("names that differ in case only: all kept", 2, "a/Cat.png, a/cat.png"),
    ]


def test_a_clean_dataset_has_no_such_list(results: Results) -> None:
    folder = results.folder / results.prepare
    facts = read_json(folder / "prepare.json") | {
        "files": {"listed": 1, "bad": 0, "examples": []},
        "same_names": {"count": 0, "names": []},
        "duplicates": {"option": "report", "copies": 0, "equal": 0, "near": 0, "examples": []},
    }
    manifest = next(results.folder.glob("fetch/*/manifest.jsonl"))
    write_manifest(manifest, {"source": "photos", "containers": ["images"]}, [{"file": "a.png", "class": "cat"}])
    assert file_problems(Manifest.read(manifest), facts) == []


def test_the_time_of_a_training_is_that_of_all_its_runs(colorization: Results) -> None:
    took = {training["took"] for training in trainings(colorization.rows, colorization.folder)}
    assert took
    assert "1:15 on Linux, 2 cores" not in took  # the seconds of its last run


def test_links_in_the_page_lead_to_files(page: str, colorization: Results) -> None:
    folder = colorization.folder / "report"
    specs = [link for link in re.findall(r"href=\"(\.\./[^\"]*)\"", page) if link.endswith("scores.json")]
    assert len(specs) == 4
    assert all((folder / link).exists() for link in specs)


def test_every_picture_and_region_has_a_name(page: str) -> None:
    for element, name in ((r"<img\b", "alt"), (r'<div[^>]*role="region"', "aria-label")):
        found = re.findall(rf"{element}[^>]*>", page)
        assert found
        assert [text for text in found if not re.search(rf' {name}="[^"]+"', text)] == []


def test_the_report_repeats_to_the_byte(page: str, colorization: Results) -> None:
    stage = Stage(colorization.report_spec(["main"]), colorization.folder)
    names = [
        "index.html",
        *(f"figures/{name}" for name in FIGURES),
    ]
    before = [stage.path(name).read_bytes() for name in names]
    report.run(stage)
    assert [stage.path(name).read_bytes() for name in names] == before


def test_a_config_of_baselines_alone_still_gives_a_page(results: Results) -> None:
    results.add("originals", {"fd-photos": 0.0})
    results.tabulate_spec("main", Table())
    stage = Stage(results.report_spec(["main"]), results.folder)
    report.run(stage)
    text = stage.path("index.html").read_text(encoding="utf-8")
    assert "Samples" not in text
    assert "original images" in text


def shows(image: Image.Image, pixels: npt.NDArray[np.uint8]) -> tuple[int, int] | None:
    """Where these pixels, enlarged, are in a picture: left edge and top; None if they are not."""
    whole, part = np.asarray(image), enlarge(pixels)
    height, width, _ = part.shape
    corners = (whole[: len(whole) - height + 1, : whole.shape[1] - width + 1] == part[0, 0]).all(2)
    places = (
        (x, y) for y, x in np.argwhere(corners).tolist() if np.array_equal(whole[y : y + height, x : x + width], part)
    )
    return next(places, None)


def test_a_figure_shows_input_models_and_original_as_the_paper_does(colorization: Results) -> None:
    colorization.add("palette", {"fd-photos": 15.0}, steps=10)  # on the way: no column of its own
    panels = list(samples._panels(colorization.rows, colorization.folder, [0, 1]))
    assert [(p.label, p.detail) for p in panels] == [("input", ""), ("regression", ""), ("palette", "dpm20")]
    gray = panels[0].images[0]
    assert gray is not None
    assert (gray[..., 0] == gray[..., 2]).all()
    np.testing.assert_array_equal(panels[2].images[1], picture(1, 0, 0))


def test_several_samples_of_one_input_are_side_by_side(colorization: Results) -> None:
    image = samples.draws(colorization.rows, colorization.folder, count=2, pool=4, number=3)
    places = [shows(image, pixels) for pixels in (picture(0), picture(0, 1), picture(0, 2))]
    assert None not in places
    assert [x for x, _ in places] == sorted(x for x, _ in places)  # type: ignore[misc]
    assert len({y for _, y in places}) == 1  # type: ignore[misc]


def test_failure_cases_are_those_that_the_scores_name(colorization: Results) -> None:
    image = samples.failures(colorization.rows, colorization.folder)
    places = [shows(image, picture(number)) for number in (5, 2, 0)]
    assert None not in places
    assert [x for x, _ in places] == sorted(x for x, _ in places)  # type: ignore[misc]
    assert shows(image, picture(1)) is None  # the fourth worst


def test_each_row_of_a_table_links_to_its_card_and_spec(page: str, colorization: Results) -> None:
    table = page.partition('<table class="scores">')[2].partition("</table>")[0]
    rows = [
        row for row in table.split("<tr")[1:] if 'class="files">\n' in row or ('class="files">' in row and "<td" in row)
    ]
    links = [re.findall(r'href="\.\./(score/[^"]*)"', row) for row in rows]
    assert links == [
        [f"{row.score}/card.json", f"{row.score}/spec.yaml"]
        for number in (2, 0, 1, 3)
        for row in [colorization.rows[number]]
    ]


def test_samples_are_found_in_their_shard(colorization: Results) -> None:
    row = colorization.rows[0]
    np.testing.assert_array_equal(samples.sample(row, colorization.folder, 5), picture(5, 0, 0))
    assert samples.sample(row, colorization.folder, 5, draw=9) is None


def test_inputs_cover_the_classes() -> None:
    assert samples.first_of_each_class([0, 0, 0, 1, 1, 2], 4) == [0, 3, 5, 1]
    assert samples.first_of_each_class([0, 0], 5) == [0, 1]


def test_the_overview_prefers_lively_images() -> None:
    dull, lively = np.full((8, 8, 3), 90, np.uint8), picture(0)
    assert samples.liveliest_of_each_class([dull, lively, dull], [0, 0, 1]) == [1, 2]


def test_panels_are_enlarged_pixel_by_pixel() -> None:
    image = picture(0)
    large = enlarge(image)
    assert large.shape == (128, 128, 3)
    np.testing.assert_array_equal(large[:: 128 // SIZE, :: 128 // SIZE], image)


def test_a_picture_holds_its_images_at_full_size() -> None:
    composed = np.asarray(compose([Panel("a", "", [picture(0)]), Panel("b", "", [None])], rows=["row"]))
    expected = enlarge(picture(0))
    found = any(
        np.array_equal(composed[y : y + 128, x : x + 128], expected)
        for y in range(composed.shape[0] - 127)
        for x in range(composed.shape[1] - 127)
        if (composed[y, x] == expected[0, 0]).all()
    )
    assert found


def test_long_labels_are_cut() -> None:
    font = ImageFont.load_default(14)
    assert shorten("short", font, 200) == "short"
    assert shorten("a very long label indeed", font, 60).endswith("…")


def test_curves_read_logs_once_per_training(colorization: Results) -> None:
    colorization.add("palette", {"fd-photos": 1.0}, seed=1)
    logs = [log for _, log in curves.curves(colorization.rows, colorization.folder).groupby("training", sort=False)]
    assert [tuple(log.iloc[0][["model", "label", "objective"]]) for log in logs] == [
        *(("palette", "seed 0", "edm, L2"), ("regression", "seed 0", "regression, L2")),
        ("palette", "seed 1", "edm, L2"),
    ]
    assert logs[0].step.tolist() == [10, 20, 30]


def test_a_loss_that_overflowed_is_a_gap_in_the_curve(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"step": 1, "loss": null}\n{"step": 2, "loss": 0.5}\n')
    log = curves.read_log(tmp_path / "log.jsonl")
    assert log.step.tolist() == [1, 2]
    assert log.loss.isna().tolist() == [True, False]


def test_a_damaged_log_is_explained(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"step": 1}\n')
    with pytest.raises(DataError, match="not a training log"):
        curves.read_log(tmp_path / "log.jsonl")


def test_pictures_open(page: str, colorization: Results) -> None:
    files = list((colorization.folder / "report" / "figures").rglob("*.png"))
    assert len(files) == len([name for name in FIGURES if name.endswith(".png")])
    for file in files:
        with Image.open(file) as image:
            assert image.width > 300


def test_figures_of_an_earlier_config_are_removed(page: str, colorization: Results) -> None:
    stage = Stage(colorization.report_spec(["main"]), colorization.folder)
    for name in ("gone.png", "draws/gone.png", "gone.svg"):
        stage.path(f"figures/{name}").write_bytes(b"old")
    report.run(stage)
    assert {str(f.relative_to(stage.path("figures"))) for f in stage.path("figures").rglob("*.*")} == FIGURES
    assert set(stage.spec.figures) <= FIGURES


def test_curves_leave_out_what_a_longer_training_continues(colorization: Results) -> None:
    colorization.add("palette", {"fd-photos": 15.0}, steps=10)
    logs = curves.curves(colorization.rows, colorization.folder)
    assert logs.groupby("model").step.max().to_dict() == {"palette": 30, "regression": 30}
    assert logs.training.nunique() == 2
