"""The plan for jobs on other machines: that of the run, whatever happened to the config since."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from palette.errors import DataError
from palette.planning.plan import Plan
from palette.running.frozen import freeze, thaw
from palette.running.start import plan_of

PRESETS = sorted((Path(__file__).parents[2] / "workflow/presets").glob("*.yaml"))


def config(folder: Path, **changes: Any) -> Path:
    """A config whose images, masks and list of test images are the user's own, and lie in `folder`."""
    prepare = {"train_images": 4, "test_images": 2, "test_list": str(folder / "tests.txt")}
    content = {
        "results": str(folder / "results"),
        "datasets": {"mine": {"fetch": {"source": "folder", "path": str(folder / "images")}, "prepare": prepare}},
        "tasks": {"inpainting": {"degradation": "inpainting", "masks": str(folder / "masks")}},
        "models": {"palette": {"train": {"start_from": str(folder / "model.safetensors")}}},
        "samplers": {"fast": {"steps": 4}},
        "score": {"extractors": ["pixels"]},
        "experiments": [{"dataset": "mine", "task": "inpainting", "model": "palette", "sampler": "fast"}],
    }
    file = folder / "config.yaml"
    file.write_text(json.dumps(content | changes))
    return file


@pytest.fixture
def user(tmp_path: Path) -> Path:
    """What a user has on the disk."""
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
        for number in range(6):
            Image.new("RGB", (64, 64)).save(tmp_path / name / f"{number}.png")
    (tmp_path / "tests.txt").write_text("0\n1\n")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    return tmp_path


def folders(plan: Plan) -> dict[str, str]:
    """Folder → spec, of all stages."""
    return {folder: spec.text() for folder, spec in plan.stages.items()}


@pytest.mark.parametrize("preset", PRESETS, ids=lambda file: file.stem)
def test_the_plan_of_each_preset_round_trips(preset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(preset, tmp_path / "config.yaml")
    monkeypatch.chdir(tmp_path)
    plan = plan_of([Path("config.yaml")])
    freeze(plan)
    assert folders(thaw(plan.results)) == folders(plan)


def test_it_survives_an_edited_config_and_missing_user_files(user: Path) -> None:
    plan = plan_of([config(user)])
    freeze(plan)
    config(user, samplers={"fast": {"steps": 5}})
    for name in ("images", "masks"):
        shutil.rmtree(user / name)
    (user / "model.safetensors").unlink()
    again = thaw(user / "results")
    assert folders(again) == folders(plan)
    (train,) = again.of_kind("train")
    assert train.model_dump()["start_sha256"] is not None
    assert again.of_kind("mask")[0].model_dump()["masks_sha256"] is not None
    assert again.of_kind("prepare")[0].model_dump()["test_list_sha256"] is not None


def test_without_a_run_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\.plan\.json: no such file"):
        thaw(tmp_path)
