"""`palette compare`: what changed, whether it is significant, and what must not be compared."""

import json
from pathlib import Path
from typing import Any

import pytest

from palette import cli
from palette.stages.report import ReportSpec
from palette.stages.rows import Row
from palette.system.files import write_json

PROTOCOL = {"images": {"count": 100, "sha256": "ab"}, "extractors": {"inception": {"sha256": "cd"}}, "bootstrap": 200}


def scores(folder: Path, protocol: dict[str, Any] | None = None, **values: tuple[float | None, float, str]) -> Path:
    """A `scores.json`: score → value, half-width of its interval (0: none), direction."""
    entries = {}
    for key, (value, half, better) in values.items():
        interval = (
            {"low": None, "high": None} if not half or value is None else {"low": value - half, "high": value + half}
        )
        entries[key] = {"value": value, **interval, "label": key.upper(), "better": better, "digits": 2}
    write_json(folder / "scores.json", {"images": 100, "protocol": protocol or PROTOCOL, "scores": entries})
    return folder


def results(folder: Path, **experiments: float) -> Path:
    """A results folder with a FID of each experiment."""
    rows = []
    for name, value in experiments.items():
        scores(folder / "score" / name, fid=(value, 1, "lower"))
        options = {
            "task": None,
            "degradation": None,
            "condition": None,
            "sampler": None,
            "evaluations": None,
            "seed": 0,
        }
        rows.append(Row(experiment=name, dataset="d", model="m", score=f"score/{name}", prepare="p", **options))
    ReportSpec(name="report", title="", inputs=1, draws=1, draw_inputs=1, tables={}, rows=tuple(rows)).write(folder)
    return folder


def run(*arguments: object) -> int:
    return cli.main(["compare", *map(str, arguments)])


def verdicts(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    return {d["key"]: d["verdict"] for d in json.loads(capsys.readouterr().out)["differences"]}


def test_only_differences_beyond_both_uncertainties_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = scores(
        tmp_path / "old",
        fid=(10, 3, "lower"),
        psnr=(20, 0.3, "higher"),
        ssim=(0.5, 0, "higher"),
        chroma=(9, 1, "reference"),
    )
    new = scores(
        tmp_path / "new",
        fid=(14.9, 4, "lower"),
        psnr=(21, 0.4, "higher"),
        ssim=(0.6, 0, "higher"),
        chroma=(4, 1, "reference"),
    )
    assert run(old, new, "--json") == 0
    assert verdicts(capsys) == {"fid": "same", "psnr": "better", "ssim": "unknown", "chroma": "other"}


@pytest.mark.parametrize(("value", "code", "verdict"), [(15.1, 1, "worse"), (4.9, 0, "better"), (10, 0, "same")])
def test_a_worse_score_exits_with_1(
    value: float, code: int, verdict: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = (scores(tmp_path / str(v), fid=(v, h, "lower")) for v, h in ((10.0, 3), (value, 4)))
    assert run(old / "scores.json", new, "--json") == code
    output = capsys.readouterr()
    assert json.loads(output.out)["differences"][0]["verdict"] == verdict
    assert ("worse by more than the uncertainty: FID" in output.err) == bool(code)


def test_infinite_values_have_a_direction(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = (scores(tmp_path / n, psnr=(v, 1, "higher")) for n, v in (("old", None), ("new", 30.0)))
    assert run(old, new) == 1
    assert "∞" in capsys.readouterr().out
    assert run(old, old, "--json") == 0
    assert verdicts(capsys) == {"psnr": "same"}


def test_experiments_of_two_results_folders_are_matched_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = results(tmp_path / "old", a=10, b=10, gone=1), results(tmp_path / "new", b=20, a=10, more=1)
    assert run(old, new) == 1
    output = capsys.readouterr()
    lines = [line.split() for line in output.out.splitlines()]
    assert ["a", "FID", "10.00", "10.00", "+0.00", "1.41", "within", "the", "uncertainty"] in lines
    assert ["b", "FID", "10.00", "20.00", "+10.00", "1.41", "WORSE"] in lines
    assert "Only in old: gone" in output.out
    assert "Only in new: more" in output.out
    assert "FID of b" in output.err


def test_markdown_is_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    side = results(tmp_path / "old", a=10)
    assert run(side, side, "--markdown") == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.count("|") for line in lines[:3]} == {8}
    assert lines[1].startswith("| --- ")


def test_different_protocols_are_refused_with_their_differences(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = {**PROTOCOL, "extractors": {"inception": {"sha256": "ef"}}, "bootstrap": 0}
    old = scores(tmp_path / "old", fid=(10, 3, "lower"))
    new = scores(tmp_path / "new", other, fid=(30, 3, "lower"))
    assert run(old, new) == 2
    message = capsys.readouterr().err
    assert "extractors.inception.sha256: cd and ef" in message
    assert "bootstrap" not in message
    assert "--allow-different-protocols" in message
    assert run(old, new, "--allow-different-protocols") == 1
    assert "Unlike protocols: extractors.inception.sha256" in capsys.readouterr().out


def test_a_folder_without_scores_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    side = results(tmp_path / "old", a=10)
    (tmp_path / "empty").mkdir()
    (tmp_path / "some.json").write_text("{}")
    for other, code, says in (
        (tmp_path / "empty", 2, "no scores in it"),
        (tmp_path / "nowhere", 2, "does not exist"),
        (tmp_path / "some.json", 2, "not a file of scores"),
        (results(tmp_path / "others", b=10), 2, "no experiment in common"),
    ):
        assert run(side, other) == code
        assert says in capsys.readouterr().err
