"""Tables in the paper's layout: its rows in its order, ours beside each number, and a reason in every empty cell."""

import csv
import io
import re
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import pytest

from palette.config.scores import Table
from palette.publish.tables import paper_table
from palette.publish.tables.formats import to_csv, to_html, to_latex, to_markdown
from palette.publish.tables.paper_layout import keys
from palette.publish.tables.published import metrics, models, of_table
from palette.publish.tables.sheet import Sheet, SheetLine
from palette.stages.rows import Evaluated
from palette.system.files import write_json
from tests.publish.conftest import ABOUT, Results

IMAGENET = Evaluated(published="imagenet", image_size=256, images=10_000, reference_images=50_000)
ABOUT |= {
    "fid": ("fd", "FID", "lower", 2),
    "fid-legacy-tensorflow": ("fd", "FID-legacy-tensorflow", "lower", 2),
    "is": ("is", "IS", "higher", 2),
    "ca-resnet50": ("ca", "CA-ResNet-50 %", "higher", 1),
    "pd": ("pd", "PD", "lower", 3),
    "diversity-lpips": ("diversity-lpips", "LPIPS between draws", "higher", 3),
}
COLORIZATION = {"fid": 16.0, "is": 190.0, "ca-resnet50": 72.5, "pd": 40.0}


def sheet_of(results: Results, number: int, tested: Evaluated | None = IMAGENET, **options: object) -> Sheet:
    table = Table.model_validate({"paper": number, **options})
    return paper_table.build(results.tabulate_spec(f"table_{number}", table, tested), results.folder)


def lines(sheet: Sheet, section: int = 0) -> list[tuple[str, ...]]:
    return [line.heads for line in sheet.sections[section].lines]


def line(sheet: Sheet, kind: str, label: str = "") -> SheetLine:
    """The only line of this kind, or the one with this label."""
    (found,) = [
        line
        for section in sheet.sections
        for line in section.lines
        if line.kind == kind and (not label or line.heads[0] == label)
    ]
    return found


def texts(line: SheetLine) -> list[str]:
    return [entry.text + entry.mark for entry in line.entries]


@pytest.fixture
def table_1(results: Results) -> Sheet:
    """Palette and the originals; no regression."""
    results.add("palette", dict(COLORIZATION))
    results.add("originals", {"fid": 14.5, "is": 231.0, "ca-resnet50": 76.1, "pd": 0.0, "fid-legacy-tensorflow": 14.7})
    return sheet_of(results, 1)


@pytest.mark.parametrize("number", range(1, 12))
def test_every_table_has_the_papers_rows_in_its_order_without_any_of_ours(results: Results, number: int) -> None:
    sheet = sheet_of(results, number)
    theirs = [line.heads[0].lower() for s in sheet.sections for line in s.lines if line.kind in ("paper", "quoted")]
    expected = [model.lower().replace("originals", "original images") for model in models(number)]
    assert list(dict.fromkeys(theirs)) == list(dict.fromkeys(expected))
    numbers = [e for s in sheet.sections for ln in s.lines for e in ln.entries if ln.kind in ("paper", "quoted")]
    assert len([e for e in numbers if not e.missing]) == len(of_table(number))
    assert {entry.text for s in sheet.sections for ln in s.lines if ln.kind == "ours" for entry in ln.entries} <= {
        *("", "not run", "needs raters", "unknown protocol")
    }
    assert {r["status"] for r in sheet.records} <= {
        "quoted",
        "not published",
        "not run",
        "needs raters",
        "unknown protocol",
    }


def test_our_number_appears_under_the_papers_with_the_difference(table_1: Sheet) -> None:
    assert lines(table_1) == [
        *(("pix2pix", "quoted"), ("PixColor", "quoted"), ("ColTran", "quoted")),
        *(("Regression", "paper"), ("Regression", "ours")),
        *(("Palette", "paper"), ("palette, dpm20", "ours"), ("", "difference")),
        *(("original images", "paper"), ("original images", "ours"), ("", "difference")),
    ]
    assert [c.label for c in table_1.columns] == [
        *("FID ↓", "IS ↑", "CA % ↑ (ours: CA-ResNet-50 %)", "PD ↓", "fool rate % ↑", "images"),
    ]
    assert texts(line(table_1, "paper", "Palette")) == ["15.78", "200.8", "72.5", "46.2°", "47.8", ""]
    ours = line(table_1, "ours", "palette, dpm20")
    assert texts(ours) == ["16.00", "190.00", "72.5", "40.000", "needs raters", "6"]
    assert ours.entries[-1].detail == "(1 seed)"
    apart = table_1.sections[0].lines[7]
    assert texts(apart) == ["+0.22", "−10.80", "+0.0", "−6.200", "—", ""]
    assert [e.detail for e in apart.entries[:1]] == ["(+1 %)"]


def test_what_was_not_run_says_so(table_1: Sheet) -> None:
    assert texts(line(table_1, "ours", "Regression")) == [*["not run"] * 4, "needs raters", ""]
    assert any(note.startswith("not run: no experiment") for note in table_1.notes)
    assert any(note.startswith("needs raters: people") for note in table_1.notes)


def test_the_best_of_the_paper_and_the_best_of_ours_are_bold(results: Results) -> None:
    results.add("palette", dict(COLORIZATION))
    results.add("regression", {**COLORIZATION, "fid": 12.0})
    sheet = sheet_of(results, 1)
    assert [e.bold for e in line(sheet, "paper", "Palette").entries] == [True] * 5 + [False]
    assert line(sheet, "ours", "regression").entries[0].bold
    assert not line(sheet, "ours", "palette, dpm20").entries[0].bold
    assert not any(e.bold for e in line(sheet, "paper", "original images").entries)


def test_other_images_than_the_papers_have_no_difference(results: Results) -> None:
    results.add("palette", dict(COLORIZATION))
    results.add("originals", {"fid": 14.5})
    sheet = sheet_of(results, 1, tested=None)
    assert not [ln for s in sheet.sections for ln in s.lines if ln.kind == "difference"]
    assert any("other images than the paper’s" in note for note in sheet.notes)
    assert not any(note.startswith("Calibration") for note in sheet.notes)


def test_a_score_by_another_network_has_no_difference_and_is_named(results: Results) -> None:
    results.add("palette", {"fd-photos": 3.0, "is": 190.0})
    sheet = sheet_of(results, 1)
    assert sheet.columns[0].label == "FID ↓ (ours: FD-photos)"
    assert texts(line(sheet, "ours", "palette, dpm20"))[0] == "3.00"
    assert texts(line(sheet, "difference"))[:2] == ["—", "−10.80"]


def test_calibration_compares_the_originals_with_the_papers(table_1: Sheet, results: Results) -> None:
    (note,) = [note for note in table_1.notes if note.startswith("Calibration")]
    assert note == (
        "Calibration, ImageNet: the original images score FID 14.50 (paper 14.68, -1 %); "
        "FID-legacy-tensorflow 14.70 (paper 14.68, +0 %); IS 231.00 (paper 229.6, +1 %); "
        "CA-ResNet-50 % 76.1 (paper 75.6, +1 %). By the scores shown, the protocol matches within 2 %."
    )
    results.add("originals", {"fid": 30.0}, experiment="photos-originals", score="score/other")
    results.rows = results.rows[-1:]
    (note,) = [note for note in sheet_of(results, 1).notes if note.startswith("Calibration")]
    assert note.endswith("does not match: up to 105 % apart.")


def test_without_originals_nothing_is_said_to_match(results: Results) -> None:
    results.add("palette", dict(COLORIZATION))
    assert any("no original images of ImageNet were scored" in note for note in sheet_of(results, 1).notes)
    results.add("palette", {"fid": 7.0}, degradation="inpainting", task="hole", condition="centre")
    results.rows = results.rows[-1:]
    assert any("the paper gives no scores of the original" in note for note in sheet_of(results, 5).notes)


def inpainting(results: Results, condition: str, dataset: str, model: str, fid: float) -> None:
    name = f"{dataset}-{condition}-{model}"
    changes = {"task": condition, "degradation": "inpainting", "condition": condition, "dataset": dataset}
    results.add(model, {"fid": fid}, experiment=name, sampler="sde", **changes)


def test_datasets_are_groups_of_columns_and_masks_are_sections(results: Results) -> None:
    for dataset, fid in (("in", 5.5), ("p2", 11.0)):
        inpainting(results, "free-form-20-30", dataset, "both", fid)
    inpainting(results, "centre", "in", "narrow", 6.5)
    spec = results.tabulate_spec(
        "table_9", Table(paper=9, models={"both": "palette", "narrow": "palette, trained on ImageNet"})
    )
    places2 = IMAGENET.model_copy(update={"published": "places2", "images": 10_950})
    spec = spec.model_copy(update={"datasets": {"in": IMAGENET, "p2": places2}})
    sheet = paper_table.build(spec, results.folder)
    assert sheet.groups == [("ImageNet", 5), ("Places2", 3)]
    assert [section.title for section in sheet.sections] == [
        *("Inpainting, mask free-form-10-20", "Inpainting, mask free-form-20-30", "Inpainting, mask free-form-30-40"),
        *("Inpainting, mask centre", "Original images"),
    ]
    assert texts(line(sheet, "ours", "both, sde")) == [
        *("5.50", "not measured", "not measured", "not measured", "6"),
        *("11.00", "not measured", "6"),
    ]
    assert texts(line(sheet, "ours", "narrow, sde")) == ["6.50", *["not measured"] * 3, "6", "not run", "not run", ""]


def test_rows_that_the_paper_lacks_come_last_before_the_originals(results: Results) -> None:
    inpainting(results, "centre", "in", "mine", 9.0)
    inpainting(results, "free-form-10-20", "in", "mine", 4.0)
    results.add("originals", {"fid": 5.0}, dataset="in")
    sheet = sheet_of(results, 2)
    assert [s.title for s in sheet.sections][-2:] == ["Inpainting, mask free-form-10-20", "Original images"]
    assert lines(sheet, 1)[-1] == ("mine, sde", "ours")
    records = [r for r in sheet.records if r.get("model") == "mine"]
    assert {r["status"] for r in records if r["score"] == "fid"} == {"not published"}


def test_tasks_are_groups_where_the_paper_has_them_and_diversity_is_ours(results: Results) -> None:
    scores = {"fid": 3.5, "pd": 47.0, "diversity-lpips": 0.16}
    results.add("palette", dict(scores))
    inpainting(results, "centre", "photos", "palette", 3.7)
    results.add("originals", {"fid": 2.7})
    sheet = sheet_of(results, 6)
    assert sheet.groups == [("Inpainting", 4), ("Colorization", 4)]
    apart = [ln for s in sheet.sections for ln in s.lines if ln.kind == "difference"]
    assert any(texts(ln)[4:7] == ["+0.10", "−1.000", "+0.010"] for ln in apart)
    assert any("does not say which mask this table has; ours: centre" in note for note in sheet.notes)


def test_the_size_of_a_network_is_ours_too(results: Results) -> None:
    row = results.add("palette", {"fid": 7.0}, task="hole", condition="centre")
    row = row.model_copy(update={"degradation": "inpainting"})
    results.rows = [row]
    assert row.train
    write_json(results.folder / row.train / "model.json", {"parameters": 552_814_083})
    sheet = sheet_of(results, 5)
    ours = line(sheet, "ours", "palette, dpm20")
    assert ours.entries[0].text == "553"
    assert texts(line(sheet, "difference"))[0] == "+1"


def test_several_samplers_of_one_model_are_lines_of_their_own(results: Results) -> None:
    results.add("palette", dict(COLORIZATION))
    results.add("palette", dict(COLORIZATION), sampler="ancestral", experiment="other")
    found = [heads[0] for heads in lines(sheet_of(results, 1)) if heads[1] == "ours"]
    assert found == ["Regression", "palette, dpm20", "palette, ancestral", "original images"]


# ------------------------------------------------------------------------------------------------- formats


def test_csv_has_published_ours_difference_images_and_seeds(table_1: Sheet) -> None:
    records = list(csv.DictReader(io.StringIO(to_csv(table_1))))
    palette = next(r for r in records if r["model"] == "palette" and r["score"] == "fid")
    wanted = {"published": "15.78", "value": "16.0", "images": "6", "seeds": "0", "quoted": "false", "status": ""}
    assert palette.items() >= wanted.items()
    assert float(palette["difference"]) == pytest.approx(0.22)
    assert float(palette["relative_difference"]) == pytest.approx(0.22 / 15.78)
    quoted = next(r for r in records if r["published_model"] == "ColTran" and r["score"] == "fid")
    assert (quoted["published"], quoted["value"], quoted["quoted"], quoted["status"]) == ("19.37", "", "true", "quoted")
    regression = next(r for r in records if r["published_model"] == "regression" and r["score"] == "is")
    assert (regression["status"], regression["published_certainty"]) == ("not run", "one source")


def test_markdown_names_the_group_of_each_column(results: Results) -> None:
    text = to_markdown(sheet_of(results, 2))
    assert "| ImageNet FID ↓ | ImageNet IS ↑ |" in text
    assert "| Places2 FID ↓ |" in text
    assert len({row.count("|") for row in text.splitlines() if row.startswith("|")}) == 1


@pytest.mark.parametrize("number", range(1, 12))
def test_latex_is_balanced_booktabs(results: Results, number: int) -> None:
    text = to_latex(sheet_of(results, number))
    assert text.isascii()
    assert text.count("{") == text.count("}")
    assert [text.count(rule) for rule in (r"\toprule", r"\bottomrule", r"\hline")] == [1, 1, 0]
    begins, ends = (re.findall(rf"\\{word}{{(\w+)}}", text) for word in ("begin", "end"))
    assert sorted(begins) == sorted(ends) == ["table", "tabular"]
    (columns,) = re.findall(r"\\begin{tabular}{(\w+)}", text)
    rows = [row for row in text.splitlines() if row.endswith(r"\\")]
    spans = [sum(int(n) - 1 for n in re.findall(r"\\multicolumn{(\d+)}", row)) for row in rows]
    assert {row.replace(r"\&", "").count("&") + 1 + span for row, span in zip(rows, spans, strict=True)} == {
        len(columns)
    }
    groups = [int(count) for count in re.findall(r"\\multicolumn{(\d+)}{c}", text)]
    rules = [range(int(a), int(b) + 1) for a, b in re.findall(r"\\cmidrule\(lr\){(\d+)-(\d+)}", text)]
    assert [len(rule) for rule in rules] == groups
    assert [column for rule in rules for column in rule] == [
        *range(3, len(columns) + 1)
    ]  # under each column of numbers


class Page(HTMLParser):
    """Counts the cells of each row and checks that tags close in their order."""

    VOID = ("meta", "link", "br", "img")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[int] = []
        self.scopes: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        self.addresses += [value for name in ("src", "href") if (value := found.get(name))]
        if tag == "tr":
            self.rows.append(0)
        if tag in ("td", "th"):
            self.rows[-1] += int(found.get("colspan") or 1)
        if tag == "th":
            self.scopes.append(found.get("scope") or "")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("number", range(1, 12))
def test_the_page_is_complete_and_self_contained(results: Results, number: int) -> None:
    sheet = sheet_of(results, number, title="A <b> & B")
    page = Page(to_html(sheet))
    assert page.open == []
    assert set(page.rows) == {sheet.width}
    assert "" not in page.scopes
    assert page.addresses == ["data:,"]
    assert "A &lt;b&gt; &amp; B" in to_html(sheet)
    for part in ('<html lang="en">', "prefers-color-scheme: dark", "@media print", 'name="viewport"'):
        assert part in to_html(sheet)


def test_scores_by_the_papers_networks_are_the_first_keys_of_a_column() -> None:
    infos = {key: SimpleNamespace(metric="fd") for key in ("fd-photos", "fid", "fd-dinov2", "fid-legacy")}
    line: Any = SimpleNamespace(infos=infos | {"is": SimpleNamespace(metric="is")})
    assert keys(line, "fid") == ["fid", "fid-legacy", "fd-photos", "fd-dinov2"]


def test_columns_of_every_table_have_a_heading() -> None:
    assert {metric for number in range(1, 12) for metric in metrics(number)} == set(paper_table.HEADINGS)
