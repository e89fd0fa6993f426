"""The table of scores: names, scores that cannot be measured, sets that are too small."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from palette.config.scores import ExtractorKind, Metric
from palette.scoring.extractor_facts import KINDS
from palette.scoring.extractors import NETWORKS, RESIZES
from palette.scoring.metrics import METRICS, Measured, Settings, name_and_label, score

MIXED = Settings()


def measured(count: int = 80, reference: dict[str, Any] | None = None, **changes: Any) -> Measured:
    """As if one extractor measured everything. `originals_x` changes x of the originals; None leaves an array out."""
    rng = np.random.default_rng(0)

    def arrays() -> dict[str, Any]:
        return {
            "item": np.arange(count, dtype=np.uint64),
            "features": rng.random((count, 8), np.float32),
            "spatial": rng.random((count, 6), np.float32),
            "probabilities": rng.dirichlet(np.ones(4), count).astype(np.float32),
            "correct": np.arange(count) % 4 == 0,
            **{name: rng.random(count) for name in ("psnr", "ssim", "lpips", "ms-ssim")},
            **{f"diversity-{name}": rng.random((10, 3)) for name in ("lpips", "ms-ssim")},
            "chroma": np.full(count, 5.0),
        }

    own = arrays()
    originals = arrays() | {"chroma": np.full(count, 10.0)}
    for name, values in changes.items():
        (originals if name.startswith("originals_") else own)[name.removeprefix("originals_")] = values
    return Measured({n: v for n, v in own.items() if v is not None}, originals, reference)


def values(of: Measured, extractor: str = "photos", settings: Settings = MIXED) -> dict[str, float]:
    return {name: entry["value"] for name, entry in score(of, extractor, settings).items()}


def test_everything_that_the_config_names_exists() -> None:
    assert set(METRICS) == set(Metric.__args__)
    assert set(KINDS) == set(NETWORKS) == set(RESIZES) == set(ExtractorKind.__args__)


def test_fid_is_only_ever_the_inception_networks() -> None:
    assert name_and_label("fd", "inception") == ("fid", "FID")
    assert name_and_label("fd", "inception-legacy-pytorch") == ("fid-legacy-pytorch", "FID-legacy-pytorch")
    assert name_and_label("fd", "photos") == ("fd-photos", "FD-photos")
    assert name_and_label("fd", "dinov2") == ("fd-dinov2", "FD-DINOv2")
    assert name_and_label("ca", "resnet50") == ("ca-resnet50", "CA-ResNet-50 %")
    assert name_and_label("psnr", "photos") == ("psnr", "PSNR")


def test_no_two_extractors_give_scores_of_one_name() -> None:
    networks = [kind for kind in KINDS if not KINDS[kind].pairs]
    named = [name_and_label(metric, kind) for kind in networks for metric in METRICS if METRICS[metric].network]
    assert len({key for key, _ in named}) == len({label for _, label in named}) == len(named)


def test_scores_are_within_their_intervals_and_count_their_images() -> None:
    scores = score(measured(), "photos", Settings())
    assert len(scores) == len(METRICS)
    for name, entry in scores.items():
        assert entry["low"] <= entry["value"] <= entry["high"]
        assert entry["images"] == (10 if name.startswith("diversity") else 80)


def test_means_are_means() -> None:
    found = values(measured())
    assert found["ca-photos"] == 25
    assert found["chroma"] == 5
    assert found["diversity-lpips"] == pytest.approx(measured().own["diversity-lpips"].mean())


@pytest.mark.parametrize(("kind", "expected"), [("euclidean", 5), ("squared", 25)])
def test_perceptual_distance(kind: Any, expected: float) -> None:
    features = np.zeros((40, 8), np.float32)
    originals = features.copy()
    originals[:, :2] = 3, 4
    found = values(measured(40, features=features, originals_features=originals), settings=Settings(pd=kind))
    assert found["pd-photos"] == pytest.approx(expected)


def test_without_a_measurement_there_is_no_score() -> None:
    nothing = {"features": None, "spatial": None, "probabilities": None, "correct": None, "chroma": None}
    assert set(values(measured(**nothing))) == {
        *("psnr", "ssim", "lpips", "ms-ssim", "diversity-lpips", "diversity-ms-ssim"),
    }


def test_chroma_ratio_is_a_ratio_of_means() -> None:
    own, originals = np.random.default_rng(1).uniform(1, 20, (2, 80))
    entry = score(measured(chroma=own, originals_chroma=originals), "photos", Settings())["chroma-ratio"]
    assert entry["value"] == pytest.approx(own.sum() / originals.sum())
    assert abs(np.mean(own / originals) - entry["value"]) > 0.1
    assert entry["low"] < entry["value"] < entry["high"]


def test_gray_originals_have_no_ratio() -> None:
    assert "chroma-ratio" not in values(measured(originals_chroma=np.zeros(80)))


def test_sets_are_compared_with_the_given_reference() -> None:
    def moved(by: float) -> dict[str, npt.NDArray[Any]]:
        originals = measured().originals
        return {
            "item": originals["item"][:50],
            "features": originals["features"][:50] + np.float32(by),
            "spatial": originals["spatial"][:50],
        }

    near, far = (values(measured(reference=moved(by))) for by in (0, 3))
    for name in ("fd-photos", "kid-photos"):
        assert far[name] > near[name]
    assert far["precision-photos"] == far["recall-photos"] == 0
    assert far["pd-photos"] == near["pd-photos"]


def test_originals_have_no_distance_to_themselves() -> None:
    originals = measured().originals
    for name in ("fd-photos", "kid-photos"):
        entry = score(Measured(originals, originals), "photos", Settings())[name]
        np.testing.assert_allclose([entry["value"], entry["low"], entry["high"]], 0, atol=1e-9)


def test_originals_under_another_name_are_paired_too() -> None:
    own = measured()
    scores, expected = (score(Measured(own.own, own.originals, r), "photos", Settings()) for r in (own.originals, None))
    assert scores == expected


def test_only_a_distance_that_can_be_negative_has_a_negative_limit() -> None:
    rng = np.random.default_rng(1)
    own, originals = ({"features": rng.standard_normal((80, 1))} for _ in range(2))
    scores = score(Measured(own, originals), "photos", Settings())
    assert scores["fd-photos"]["low"] == 0
    assert scores["kid-photos"]["low"] < 0


def test_infinite_psnr_is_null() -> None:
    entry = score(measured(psnr=np.full(80, np.inf)), "photos", Settings())["psnr"]
    assert (entry["value"], entry["low"], entry["high"]) == (None, None, None)


def test_too_few_images_are_marked() -> None:
    few, many = (score(measured(count), "photos", Settings(is_splits=1)) for count in (12, 80))
    assert few["fd-photos"]["small"]
    assert "small" not in many["fd-photos"]
    assert many["precision-photos"]["small"]


def test_without_bootstrap_there_are_no_intervals() -> None:
    assert all(entry["low"] is None for entry in score(measured(), "photos", Settings(bootstrap=0)).values())
