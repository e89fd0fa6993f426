"""`palette plan` on the command line."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from palette.cli import main
from palette.costs.summary import planned
from palette.running.forecast import brief
from palette.system.units import duration
from tests.costs.conftest import RAW, Make, finish

Out = pytest.CaptureFixture[str]


@pytest.fixture
def file(tmp_path: Path, make: Make) -> Path:
    file = tmp_path / "config.yaml"
    file.write_text(json.dumps({**RAW, "results": str(tmp_path / "results")}))
    return file


def test_shows_what_why_and_how_much(file: Path, capsys: Out) -> None:
    assert main(["plan", "-c", str(file), "--gpu", "h100", "--gpus", "4"]) == 0
    text = capsys.readouterr().out
    assert "train: 2 jobs" in text
    assert "photos-jpeg-palette-s0, photos-inpainting-palette-s0: never made" in text
    for row in ("jobs ", "work ", "GPU-hours ", "wall time ", "disk ", "memory "):
        assert f"\n  {row}" in text
    assert "with 4 GPUs" in text
    assert not (file.parent / "results/train").exists()


def test_a_short_summary_covers_only_the_jobs_of_a_dry_run(make: Make) -> None:
    train = {"steps": 1000, "gpus": 4}
    plan = make(models={"palette": {**RAW["models"]["palette"], "train": train}}, budget={"gpu": "h100"})
    files = [str(plan.results / file) for spec in plan.of_kind("train") for file in plan.outputs(spec.folder)]
    assert re.search("jobs +1$", brief(plan, files[:1], None), re.MULTILINE)
    text = brief(plan, files, None)
    assert re.search("jobs +2$", text, re.MULTILINE)
    assert "with 4 GPUs, " in text
    assert brief(plan, set(), None) == ""


def test_a_dry_run_needs_no_torch(file: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from palette.running.forecast import brief; from palette.running.start import plan_of\n"
        "plan = plan_of([Path(sys.argv[1])]); files = [str(plan.results / f) for s in plan.stages for f in plan.outputs(s)]\n"
        "print(brief(plan, files, 1)); assert 'torch' not in sys.modules"
    )
    run = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "wall time" in run.stdout


def test_on_fewer_gpus_than_requested_a_job_takes_longer(make: Make) -> None:
    plan = make(models={"palette": {**RAW["models"]["palette"], "train": {"steps": 10**7, "gpus": 4}}})
    on_four, on_one = (planned(plan, "h100", gpus, 1)[1].seconds for gpus in (4, 1))
    assert on_one > 3.5 * on_four


def test_as_json(file: Path, capsys: Out) -> None:
    assert main(["plan", "-c", str(file), "--gpu", "a100", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["device"] == "A100 SXM 80 GB"
    assert {stage["kind"] for stage in facts["stages"]} >= {"fetch", "train", "report"}


def test_nothing_to_do(file: Path, make: Make, capsys: Out) -> None:
    finish(make())
    assert main(["plan", "-c", str(file), "--gpu", "h100"]) == 0
    assert capsys.readouterr().out.startswith("Nothing to be done")


def test_finished_jobs_beside_their_estimates(file: Path, make: Make, capsys: Out) -> None:
    assert main(["plan", "-c", str(file), "--gpu", "cpu", "--done"]) == 0
    assert "No finished job" in capsys.readouterr().out
    finish(make())
    assert main(["plan", "-c", str(file), "--gpu", "cpu", "--done"]) == 0
    text = capsys.readouterr().out
    assert "estimated" in text.splitlines()[0]
    assert sum(line.startswith("train/photos-") for line in text.splitlines()) == 2


def test_nodes_and_specs(file: Path, tmp_path: Path, capsys: Out) -> None:
    arguments = ["--gpu", "h100", "--gpus", "8", "--nodes", "2", "--write"]
    assert main(["plan", "-c", str(file), *arguments]) == 0
    assert "with 8 GPUs over 2 nodes" in capsys.readouterr().out
    assert list((tmp_path / "results/train").glob("*/spec.yaml"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gpu", "h1000"], "--gpu h1000: not in the table. It has b200, h200"),
        (["--gpus", "7", "--nodes", "2"], "each node has as many GPUs"),
        (["--gpus", "-1"], "each node has as many GPUs"),
        (["--gpus", "0"], "each node has as many GPUs"),
    ],
)
def test_mistakes(file: Path, arguments: list[str], message: str, capsys: Out) -> None:
    assert main(["plan", "-c", str(file), "--gpu", "h100", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (86400 * 2.5, "2.5 days"), (9e7, "1,042 days")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
