"""The gallery: its files and data, and the page in a real Chromium."""

import json
import re
import time
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from palette.config import Config
from palette.config.scores import Table
from palette.errors import DataError
from palette.planning.plan import Plan
from palette.publish.pages import gallery
from palette.stages import report
from palette.stages.report import ReportSpec
from palette.stages.rows import GalleryImages
from palette.stages.stage import Stage
from tests.publish.chromium import Chromium, find
from tests.publish.conftest import SIZE, TESTS, Results, picture

EXPERIMENT = "photos-colorization-palette-s0"


def report_of(results: Results, images: int = TESTS, size: int = SIZE) -> Stage[ReportSpec]:
    """The report stage with a gallery; not run yet."""
    results.tabulate_spec("main", Table())
    plain = results.report_spec(["main"])
    spec = plain.model_copy(update={"gallery": {"photos": GalleryImages(images=images, size=size)}})
    return Stage(spec, results.folder)


@pytest.fixture
def made(colorization: Results) -> Path:
    """The gallery's folder for the four usual rows."""
    stage = report_of(colorization)
    gallery.write(stage.spec, stage.results, stage.path("gallery"))
    return stage.path("gallery")


def known(page: Path) -> dict[str, Any]:
    """What a page knows."""
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page.read_text("utf-8"), re.S)
    content: dict[str, Any] = json.loads(found)
    return content


def tile(folder: Path, pictures: str, image: int, across: int = 16) -> npt.NDArray[np.uint8]:
    """Image `image` of a set, cut out of its sheet."""
    with Image.open(folder / f"{pictures}-{image // across**2:03}.png") as sheet:
        y, x = image % across**2 // across * SIZE, image % across * SIZE
        return np.asarray(sheet)[y : y + SIZE, x : x + SIZE]


# ------------------------------------------------------------------------------------------- what is written


def test_the_files_are_those_that_the_plan_names(made: Path, colorization: Results) -> None:
    names = {str(file.relative_to(made)) for file in made.rglob("*") if file.is_file()}
    assert names == set(report_of(colorization).spec.gallery_files)
    assert f"outputs/{EXPERIMENT}-000.png" in names


def test_sheets_hold_the_pictures_unchanged(made: Path) -> None:
    for image in range(TESTS):
        np.testing.assert_array_equal(tile(made, "originals/photos", image), picture(image))
        np.testing.assert_array_equal(tile(made, f"outputs/{EXPERIMENT}", image), picture(image, 0, 0))
        gray = tile(made, "inputs/photos/colorization", image)
        assert (gray[..., 0] == gray[..., 1]).all()


def test_images_continue_in_the_next_sheet(tmp_path: Path) -> None:
    shown = GalleryImages(images=5, size=1024)  # two by two, so that a sheet has 2048 pixels
    colors = [np.full((1024, 1024, 3), 40 * i, np.uint8) for i in range(5)]
    assert len(gallery.write_sheets(iter(colors), "outputs/x", shown, tmp_path)) == 5
    assert sorted(f.name for f in tmp_path.rglob("*.png")) == ["x-000.png", "x-001.png"]
    assert shown.sheets == 2
    with Image.open(tmp_path / "outputs/x-000.png") as first, Image.open(tmp_path / "outputs/x-001.png") as second:
        assert [first.getpixel((x, y))[0] for y in (0, 1500) for x in (0, 1500)] == [0, 40, 80, 120]  # type: ignore[index]
        assert second.getpixel((0, 0)) == (160, 160, 160)


def test_links_lead_to_files(made: Path) -> None:
    experiment = next(e for e in known(made / "index.html")["experiments"] if e["name"] == EXPERIMENT)
    bases = {stage: base for stage, base, _ in experiment["links"]}
    assert (made / bases["scores"] / "scores.json").exists()
    assert (made / bases["samples"] / "spec.yaml").exists()
    assert (made / bases["training"] / "card.json").exists()


def test_the_report_links_numbers_to_images_and_has_a_gallery_only_on_request(
    colorization: Results,
) -> None:
    stage = report_of(colorization)
    report.run(stage)
    text = stage.path("index.html").read_text("utf-8")
    links = {unquote(unescape(link)) for link in re.findall(r'class="number"[^>]*href="([^"]*)"', text)}
    names = {e["name"] for e in known(stage.path("gallery/index.html"))["experiments"]}
    assert links == {f"gallery/index.html#experiment={name}" for name in names}
    card = json.loads(next(stage.path("").glob("card-*.json")).read_text())
    assert {f"gallery/{name}" for name in stage.spec.gallery_files} <= set(card["artifacts"])
    report.run(Stage(colorization.report_spec(["main"]), colorization.folder))
    assert [file for file in stage.path("gallery").rglob("*") if file.is_file()] == []
    assert "gallery/" not in stage.path("index.html").read_text("utf-8")


def test_nothing_is_loaded_from_elsewhere(made: Path) -> None:
    for name in ("index.html", "preview.html"):
        text = (made / name).read_text("utf-8")
        assert re.findall(r"<(?:script|link|img|iframe)\b[^>]*(?:src|href)=\"(?!data:)", text) == []
        assert "http" not in text.replace("http://www.w3.org", "")


def test_text_cannot_break_out_of_the_data(colorization: Results) -> None:
    stage = report_of(colorization)
    content = gallery.content(stage.spec, colorization.folder, gallery.Links(None, None))
    content["datasets"]["photos"]["classes"] = ["</script><b>", "<!--", "c"]
    page = colorization.folder / "page.html"
    page.write_text(gallery.render(content), "utf-8")
    assert known(page)["datasets"]["photos"]["classes"] == ["</script><b>", "<!--", "c"]


def test_the_gallery_repeats_to_the_byte(made: Path, colorization: Results) -> None:
    files = [file for file in sorted(made.rglob("*")) if file.is_file()]
    before = [file.read_bytes() for file in files]
    stage = report_of(colorization)
    gallery.write(stage.spec, stage.results, made)
    assert [file.read_bytes() for file in files] == before


def test_a_missing_sample_is_explained(colorization: Results) -> None:
    stage = report_of(colorization, images=TESTS + 1)
    row = colorization.rows[0]
    with pytest.raises(DataError, match=r"no image 00000006\.png"):
        list(gallery._outputs(row, colorization.folder, stage.spec.gallery["photos"].images))


@pytest.mark.parametrize(("most", "shown", "sheets"), [(1000, 300, 2), (256, 256, 1), (0, None, 0)])
def test_the_plan_bounds_the_images(most: int, shown: int | None, sheets: int) -> None:
    content = {
        "datasets": {"photos": {"prepare": {"test_images": 300, "image_size": 32}}},
        "tasks": {"jpeg": {"degradation": "jpeg"}},
        "experiments": [{"dataset": "photos", "task": "jpeg", "model": "input"}],
        "report": {"gallery_images": most},
    }
    plan = Plan(Config.model_validate(content))
    assert [images.images for images in plan.report.gallery.values()] == ([shown] if shown else [])
    outputs = plan.outputs(plan.report.folder)
    assert sum("gallery/inputs/photos/jpeg" in name for name in outputs) == sheets
    assert ("report/gallery/index.html" in outputs) == (most > 0)


# ------------------------------------------------------------------------------------------ in a real browser

needs_chromium = pytest.mark.skipif(find() is None, reason="no Chromium on this machine (apt install chromium)")
EXPERIMENTS, IMAGES = 10, 1000


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of 10,000 images: ten experiments on two tasks."""
    folder, shown = tmp_path_factory.mktemp("gallery"), GalleryImages(images=IMAGES, size=SIZE)
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (IMAGES, SIZE, SIZE, 3), dtype=np.uint8)
    for name in ("inputs/photos/jpeg", "inputs/photos/hole", "originals/photos", "outputs/x"):
        gallery.write_sheets(iter(pixels), name, shown, folder)
    dataset = {"images": IMAGES, "size": SIZE, "across": shown.across, "classes": ["cat", "cup"], "files": []}
    page = {
        "title": "Large",
        "report": "../index.html",
        "datasets": {"photos": {**dataset, "labels": [i % 2 for i in range(IMAGES)]}},
        "experiments": [_experiment(number) for number in range(EXPERIMENTS)],
    }
    (folder / "index.html").write_text(gallery.render(page), "utf-8")
    return folder / "index.html"


def _experiment(number: int) -> dict[str, Any]:
    task = "jpeg" if number % 2 else "hole"
    return {
        **{"name": f"photos-{task}-m{number}", "dataset": "photos", "task": task, "title": f"Test {task}"},
        **{
            "label": f"m{number}",
            "nfe": 20,
            "seed": 0,
            "shard": 512,
            "scores": [("FD-photos", "1.00", "[0.90, 1.10]")],
        },
        "links": [("samples", f"../../sample/m{number}", [("card", "shard-{shard}.json")])],
        **{"input": f"inputs/photos/{task}", "output": "outputs/x", "original": "originals/photos"},
    }


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(browser: Chromium, large: Path) -> Iterator[Chromium]:
    """The large page, freshly opened on a desk; nothing in it may have failed when the test is over."""
    browser.size(1280, 800)
    browser.open(large)
    yield browser
    assert browser.errors == []


COUNT = "document.getElementById('count').textContent"
NODES = "document.querySelectorAll('*').length"
NAME = "document.getElementById('name').textContent"
OPEN = "document.getElementById('viewer').open"
FOCUS = "document.activeElement.id"
CURRENT = "document.querySelector('.cell.active')?.getAttribute('aria-label')"
WIPE = "Number(document.getElementById('wipe').value)"


def choose(page: Chromium, select: str, value: str) -> None:
    """Choose in a list, as a person's choice is told to the page."""
    page.ask(f"{select}.value = '{value}'; {select}.dispatchEvent(new Event('change', {{bubbles: true}}))")
    page.settle()


@needs_chromium
def test_ten_thousand_images_stay_quick(browser: Chromium, large: Path) -> None:
    browser.size(1280, 800)
    started = time.monotonic()
    browser.open(large)
    assert browser.ask(COUNT) == "10,000 of 10,000 images"
    assert time.monotonic() - started < 5  # 0.3 s where nothing else runs
    most = 0
    for share in (0.2, 0.5, 1.0):
        browser.ask(f"(grid => grid.scrollTop = {share} * grid.scrollHeight)(document.getElementById('grid'))")
        browser.settle()
        browser.settle()
        most = max(most, browser.ask(NODES))
    assert most < 1200
    assert "image 999" in browser.ask("[...document.querySelectorAll('.cell')].at(-1).getAttribute('aria-label')")
    searched = browser.ask(
        "(() => { const q = document.getElementById('q'), t = performance.now(); q.value = 'cat m3';"
        "q.dispatchEvent(new Event('input')); return performance.now() - t; })()"
    )
    assert browser.ask(COUNT).startswith("500 of")
    assert searched < 500  # milliseconds; 15 where nothing else runs


@needs_chromium
def test_pictures_are_loaded_and_placed(page: Chromium) -> None:
    page.press("/", "Escape")
    choose(page, "experiment", "photos-jpeg-m3")
    style = page.ask(
        "(s => [s.backgroundImage, s.backgroundPosition, s.width])(document.querySelectorAll('.picture')[2].style)"
    )
    side = int(style[2].removesuffix("px"))
    assert "outputs/x-000.png" in style[0]
    assert style[1] == f"{-2 * side}px 0px"
    loaded = "new Promise(d => { const i = new Image(); i.onload = () => d(i.width); i.onerror = () => d(0); i.src = '%s'; })"
    assert page.ask(loaded % "outputs/x-000.png") == 16 * SIZE


@needs_chromium
def test_search_and_filters_narrow_each_other(page: Chromium) -> None:
    page.press("/")
    assert page.ask(FOCUS) == "q"
    page.type("cup #3 #5 #6")
    assert page.ask(COUNT).startswith("20 of")
    choose(page, "task", "hole")
    assert page.ask(COUNT).startswith("10 of")
    choose(page, "experiment", "photos-hole-m2")
    assert page.ask(COUNT).startswith("2 of")
    assert page.ask("[...document.querySelectorAll('#experiment option')].length") == 6
    page.type(" nothing")
    assert "No image fits" in page.ask("document.getElementById('empty').textContent")
    page.click("#clear")
    assert page.ask(COUNT).startswith("10,000 of")
    assert page.ask("location.hash") in ("", "#")


@needs_chromium
def test_the_grid_is_navigated_by_keys(page: Chromium) -> None:
    page.ask("document.getElementById('grid').focus()")
    columns = int(page.ask("document.getElementById('grid').getAttribute('aria-colcount')"))
    page.press("ArrowRight", "ArrowDown")
    assert page.ask(CURRENT).startswith(f"output of m0, Test hole, image {columns + 1},")
    page.press("3")
    assert page.ask(CURRENT).startswith("original, ")
    page.press("End")
    assert "image 999" in page.ask(CURRENT)
    active = page.ask("document.getElementById('grid').getAttribute('aria-activedescendant')")
    assert page.ask(f"document.getElementById('{active}') !== null")
    page.press("Enter")
    assert page.ask(OPEN)
    assert page.ask(NAME).startswith("#999")
    page.press("Escape")
    assert not page.ask(OPEN)
    assert page.ask(FOCUS) == "grid"


@needs_chromium
def test_pictures_are_compared_by_slider_drag_and_key(page: Chromium) -> None:
    page.click("#cell-1")
    page.press("]", "]")
    assert page.ask(WIPE) == 60
    page.ask("document.getElementById('wipe').focus()")
    page.press("ArrowLeft")  # moves the slider, and not to another image
    assert page.ask(WIPE) == 59
    assert page.ask(NAME).startswith("#1 ")
    box = page.ask("document.getElementById('frame').getBoundingClientRect().toJSON()")
    middle = box["y"] + box["height"] / 2
    page.drag((box["x"] + 20, middle), (box["x"] + box["width"] / 4, middle))
    assert abs(page.ask(WIPE) - 25) <= 1
    assert page.ask("document.getElementById('over').style.clipPath").startswith("inset(0")
    page.press("3")
    assert page.ask("document.getElementById('frame').getAttribute('aria-label')").startswith("original,")
    assert page.ask("document.getElementById('over').hidden")
    page.press("ArrowRight")
    assert page.ask(NAME).startswith("#2 ")
    page.press("ArrowDown")  # the same image in the task's next experiment
    assert page.ask(NAME).startswith("#2 ")
    assert page.ask(NAME).endswith("m2")


@needs_chromium
def test_zoom_enlarges_and_fits_again(page: Chromium) -> None:
    page.click("#cell-0")
    width = "document.getElementById('frame').offsetWidth"
    fitting = page.ask(width)
    assert fitting % SIZE == 0
    page.press("-")
    assert page.ask(width) < fitting
    page.press("0")
    assert page.ask(width) == fitting
    page.ask("document.getElementById('stage').style.flex = '0 0 200px'")
    page.settle()
    page.press("0", "+", "+")
    assert page.ask("(s => s.scrollHeight > s.clientHeight)(document.getElementById('stage'))")


@needs_chromium
def test_a_link_opens_its_image(page: Chromium, large: Path) -> None:
    page.open(large, "#experiment=photos-jpeg-m3&image=700")
    assert page.ask(OPEN)
    assert page.ask(NAME) == "#700 · cat · Test jpeg · m3"
    assert page.ask(COUNT).startswith("1,000 of")
    assert page.ask("document.querySelector('#links a').getAttribute('href')") == "../../sample/m3/shard-001.json"
    page.press("ArrowRight")
    assert page.ask("location.hash") == "#experiment=photos-jpeg-m3&image=701"
    page.ask("location.hash = '#experiment=photos-hole-m2'")
    page.wait(f"!{OPEN}")
    assert page.ask("document.getElementById('experiment').value") == "photos-hole-m2"


@needs_chromium
@pytest.mark.parametrize(
    "fragment", ["#experiment=gone", "#experiment=photos-jpeg-m3&image=1000", "#image=x", "#show=%3Cb%3E"]
)
def test_a_wrong_link_says_so_and_breaks_nothing(page: Chromium, large: Path, fragment: str) -> None:
    page.open(large, fragment)
    assert not page.ask(OPEN)
    said = page.ask(f"{COUNT} + document.getElementById('empty').textContent")
    assert "No experiment is called gone" in said or "is not among them" in said or fragment.startswith("#show")
    page.click("#clear")
    assert page.ask(COUNT).startswith("10,000 of")


@needs_chromium
def test_everything_fits_on_a_phone(page: Chromium, large: Path) -> None:
    page.size(390, 844, mobile=True)
    page.open(large)
    wide = "document.documentElement.scrollWidth"
    assert page.ask(wide) <= 390
    assert not page.ask("document.getElementById('task').checkVisibility()")
    page.click("#more")
    assert page.ask("document.getElementById('task').checkVisibility()")
    page.click("#more")
    page.click("#cell-0")
    assert page.ask(OPEN)
    assert page.ask(wide) <= 390
    assert page.ask("document.getElementById('wipe').getBoundingClientRect().bottom") < 844
    small = "[...document.querySelectorAll('#viewer button')].filter(b => b.offsetHeight < 40).length"
    assert page.ask(small) == 0


@needs_chromium
def test_the_page_follows_dark_mode(page: Chromium) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page.ask(paper)
    page.dark()
    dark = page.ask(paper)
    page.dark(False)
    assert (light, dark) == ("rgb(251, 251, 250)", "rgb(20, 22, 26)")


@needs_chromium
def test_every_control_has_a_name(page: Chromium) -> None:
    page.click("#cell-0")
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    controls = ("button", "slider", "radio", "combobox", "searchbox", "grid", "dialog", "link", "image")
    found = [n for n in nodes if n.get("role", {}).get("value") in controls and not n["ignored"]]
    assert {"button", "slider", "radio", "dialog", "link"} <= {n["role"]["value"] for n in found}
    assert [n["role"]["value"] for n in found if not n.get("name", {}).get("value")] == []


@needs_chromium
def test_the_preview_is_self_contained(browser: Chromium, made: Path, tmp_path: Path) -> None:
    page = tmp_path / "alone" / "preview.html"
    page.parent.mkdir()
    (made / "preview.html").rename(page)
    browser.size(1280, 800)
    browser.open(page)
    assert browser.ask(COUNT) == f"{4 * TESTS} of {4 * TESTS} images"
    address = browser.ask("document.querySelector('.picture').style.backgroundImage.slice(5, -2)")
    loaded = f"new Promise(d => {{ const i = new Image(); i.onload = () => d(i.width); i.onerror = () => d(0); i.src = '{address}'; }})"
    assert browser.ask(loaded) == 6 * SIZE
    assert browser.errors == []
