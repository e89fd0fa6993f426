"""`benchmarks.sampling` from end to end on the tiniest run, and its verdict on given numbers."""

import json
from pathlib import Path

import pytest

from benchmarks import sampling
from benchmarks.sampling import Point
from palette.config.sampling import Sampler
from palette.config.scores import Extractor
from palette.stages import extractor, train
from palette.stages.extractor import ExtractorSpec
from tests.tiny import prepared, sample_spec, stage, train_spec


def point(sampler: str, evaluations: int, fd: float, draw: int = 0) -> Point:
    return Point(sampler, evaluations, draw, fd, fd - 1, fd + 1, 20.0, 1.0, 0.1)


def test_from_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = prepared(tmp_path / "results")
    train.run(stage(results, train_spec(steps=2)))
    classifier = Extractor(steps=2, batch_size=4, channels=8)
    spec = ExtractorSpec(
        name="tiny-photos", parents={"prepare": "prepare/tiny"}, extractor="photos", photos=classifier, sha256=None
    )
    extractor.run(stage(results, spec))
    sample_spec(train_spec(steps=2)).write(results)
    assert sampling.main(["--quick", "--draws", "2", "--results", str(tmp_path / "out"), str(results)]) == 0
    made = {path.suffix: path for path in (tmp_path / "out").iterdir()}
    assert set(made) == {".svg", ".png", ".json"}
    points = json.loads(made[".json"].read_text())["results"]["colorization"]
    assert {p["sampler"] for p in points} == set(sampling.MARKERS)
    assert {p["evaluations"] for p in points if p["sampler"] == "ancestral"} == {3, 4, 8}
    assert {p["draw"] for p in points} == {0, 1}
    first, second = (p for p in points if (p["sampler"], p["evaluations"]) == ("ddim", 4))
    assert first["psnr"] != second["psnr"]
    assert "ancestral, 8 evaluations: FD-photos" in capsys.readouterr().out


def test_a_folder_without_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sampling.main([str(tmp_path)]) == 3
    assert "no samples of colorization" in capsys.readouterr().err


def test_heun_has_no_more_evaluations_than_requested() -> None:
    assert [sampling.with_evaluations("heun", n).evaluations for n in (5, 10, 20, 1000)] == [5, 9, 19, 999]
    assert sampling.with_evaluations("ddim", 20) == Sampler(kind="ddim", steps=20)


def test_the_verdict_uses_the_mean_over_draws() -> None:
    found = [
        point("ddim", 20, 4.0),
        point("heun", 19, 1.0),
        point("heun", 19, 2.0, draw=1),
        point("ancestral", 20, 9.0),
        point("ancestral", 1000, 2.0),
        point("ancestral", 1000, 1.0, draw=1),
    ]
    lines = sampling.verdict(found, sampling.PAPER, 20).splitlines()
    assert lines[0] == "ancestral, 1000 evaluations: FD-photos 1.500"
    assert "ddim, 20 evaluations: 4.000, worse (2.67 of it)" in lines
    assert "heun, 19 evaluations: 1.500, no worse (1.00 of it)" in lines
