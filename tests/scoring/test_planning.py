"""How a plan treats the extractors of a config: what is left out, refused, or measured once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from palette.config import Config
from palette.errors import ConfigError
from palette.planning.plan import Plan
from palette.running.start import plan_of
from palette.scoring import extractor_facts
from palette.scoring.extractor_facts import is_imagenet, unable
from palette.stages.extractor import ExtractorSpec
from palette.stages.features import FeaturesSpec
from palette.stages.score import ScoreSpec
from tests.scoring.conftest import IMAGENET

SMALL: dict[str, Any] = yaml.safe_load(
    """
    datasets: {photos: {prepare: {test_images: 10}}}
    tasks: {jpeg: {degradation: jpeg}}
    experiments: [{dataset: photos, task: jpeg, model: input}, {dataset: photos, model: originals}]
    """
)


def plan(extractors: list[str], classes: dict[str, list[str]] | None = None, **changes: Any) -> Plan:
    score = {"extractors": extractors, **changes.pop("score", {})}
    return Plan(Config.model_validate({**SMALL, "score": score, **changes}), classes=classes or {})


def features(made: Plan) -> dict[str, FeaturesSpec]:
    return {spec.name: spec for spec in made.of_kind("features") if isinstance(spec, FeaturesSpec)}


def test_originals_and_pixels_are_measured_only_where_needed() -> None:
    made = features(plan(["inception", "dinov2", "lpips"]))
    assert made.keys() == {
        *(f"photos-{row}-{kind}" for row in ("jpeg-input", "originals") for kind in ("inception", "dinov2", "lpips")),
    }
    assert {name for name, spec in made.items() if spec.pixels} == {
        "photos-jpeg-input-inception",
        "photos-originals-inception",
    }


def test_a_further_extractor_repeats_no_measurement() -> None:
    before, after = (features(plan(list(kinds))) for kinds in (["inception"], ["inception", "dinov2"]))
    assert {spec.folder for spec in before.values()} < {spec.folder for spec in after.values()}


def test_pretrained_extractors_belong_to_no_dataset() -> None:
    datasets = {"photos": SMALL["datasets"]["photos"], "other": {"prepare": {"test_images": 12}}}
    rows = [{"dataset": ["photos", "other"], "model": "originals"}]
    made = plan(["inception", "photos"], datasets=datasets, experiments=rows)
    names = [spec.name for spec in made.of_kind("extractor") if isinstance(spec, ExtractorSpec)]
    assert sorted(names) == ["inception", "other-photos", "photos-photos"]


def test_a_reference_is_measured_once_for_all_rows() -> None:
    datasets = {
        "photos": {**SMALL["datasets"]["photos"], "reference": "all"},
        "all": {"prepare": {"test_images": 30}},
    }
    made = plan(["inception", "lpips"], datasets=datasets)
    assert features(made)["all-originals-inception"].count == 30
    for spec in made.of_kind("score"):
        assert isinstance(spec, ScoreSpec)
        assert spec.reference_count == 30
        assert {role for role in spec.parents if role.startswith("reference")} == {"reference-inception"}


def test_an_unknown_reference_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump({**SMALL, "datasets": {"photos": {"reference": "photo"}}}))
    with pytest.raises(ConfigError, match="no dataset is called 'photo'"):
        plan_of([file])


def test_classes_of_imagenet_are_recognized_by_their_names() -> None:
    assert is_imagenet(IMAGENET)
    assert not is_imagenet(IMAGENET[:-1])
    assert not is_imagenet([f"{number:04}" for number in range(1000)])
    assert not is_imagenet([*IMAGENET[1:], IMAGENET[0]])


@pytest.mark.parametrize(
    ("kind", "size", "classes", "able"),
    [
        ("resnet50", 64, IMAGENET, True),
        ("resnet50", 64, ["cat", "cup"], False),
        ("resnet50", 64, None, True),
        ("ms-ssim", 160, None, False),
        ("ms-ssim", 161, None, True),
        ("lpips", 16, None, False),
        ("inception", 8, ["cat"], True),
        ("photos", 8, ["cat"], False),
        ("photos", 8, ["cat", "cup"], True),
        ("photos", 8, None, True),
        ("pixels", 1, ["cat"], True),
    ],
)
def test_scores_that_each_extractor_provides(kind: str, size: int, classes: list[str] | None, able: bool) -> None:
    assert (unable(kind, size, classes) is None) == able


def test_unavailable_scores_are_left_out_with_a_note(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for name in ("cat", "cup"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(2):
            Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "images" / name / f"{number}.png")
    fetch = {"source": "folder", "path": str(tmp_path / "images")}
    config = {**SMALL, "datasets": {"photos": {"fetch": fetch, "prepare": {"train_images": 1, "test_images": 2}}}}
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump({**config, "score": {"extractors": ["photos", "resnet50", "ms-ssim"]}}))
    made = plan_of([file])
    assert {spec.name for spec in made.of_kind("extractor")} == {"photos-photos"}
    said = capsys.readouterr().err
    assert "photos is not measured with resnet50" in said
    assert "2 other classes" in said
    assert "photos is not measured with ms-ssim: it needs images of at least 161 pixels, and these have 64" in said


@pytest.fixture
def flat(tmp_path: Path) -> Callable[[list[str]], Plan]:
    """The plan for a folder of pictures without classes, measured with these extractors."""
    (tmp_path / "images").mkdir()
    for number in range(3):
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "images" / f"{number}.png")
    fetch = {"source": "folder", "path": str(tmp_path / "images")}
    datasets = {"photos": {"fetch": fetch, "prepare": {"train_images": 1, "test_images": 2}}}

    def made(extractors: list[str]) -> Plan:
        file = tmp_path / "config.yaml"
        file.write_text(yaml.safe_dump({**SMALL, "datasets": datasets, "score": {"extractors": extractors}}))
        return plan_of([file])

    return made


def test_a_classifier_of_one_class_is_refused_before_anything_is_trained(flat: Callable[[list[str]], Plan]) -> None:
    with pytest.raises(ConfigError, match=r"photos: .*at least 2 of them.* has 1\..*extractors: \[pixels\]"):
        flat(["photos"])


def test_pictures_without_classes_are_measured_by_their_pixels(
    flat: Callable[[list[str]], Plan], capsys: pytest.CaptureFixture[str]
) -> None:
    made = flat(["photos", "pixels"])
    assert "photos is not measured with photos" in capsys.readouterr().err
    assert {spec.name for spec in made.of_kind("extractor")} == {"pixels"}
    assert not made.of_kind("statistics")
    assert [spec.pixels for spec in made.of_kind("features") if isinstance(spec, FeaturesSpec)] == [True] * 2


def test_pixels_are_measured_once_beside_a_network() -> None:
    assert {spec.name for spec in plan(["pixels", "photos"]).of_kind("extractor")} == {"photos-photos"}


def test_a_plan_without_a_usable_extractor_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"none of them can measure dataset 'photos'.*\n  ms-ssim: it needs"):
        plan(["ms-ssim"])


def test_a_missing_package_is_an_error_of_the_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extractor_facts, "find_spec", lambda name: None)
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump({**SMALL, "score": {"extractors": ["photos", "dinov2"]}}))
    with pytest.raises(ConfigError, match=r"needs the package timm.*palette-diffusion\[scores\]"):
        plan_of([file])
