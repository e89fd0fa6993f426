"""The table of scores: names, what cannot be measured, what is too small."""

import numpy as np
import pytest

from palette.scoring.metrics import METRICS, Measured, Settings, name_and_label, score


def measured(count: int = 80, **changes: object) -> Measured:
    rng = np.random.default_rng(0)
    values = {
        "features": rng.random((count, 8)),
        "reference": rng.random((count, 8)),
        "probabilities": rng.dirichlet(np.ones(4), count),
        "correct": np.arange(count) % 4 == 0,
        "psnr": rng.random(count) + 20,
        "ssim": rng.random(count),
        "chroma": np.full(count, 5.0),
        "reference_chroma": np.full(count, 10.0),
    }
    return Measured(**{**values, **changes})  # type: ignore[arg-type]


def test_fid_is_only_ever_the_inception_networks() -> None:
    assert name_and_label("fd", "inception") == ("fid", "FID")
    assert name_and_label("fd", "photos") == ("fd-photos", "FD-photos")
    assert name_and_label("ca", "photos") == ("ca-photos", "CA-photos %")
    assert name_and_label("psnr", "photos") == ("psnr", "PSNR")


def test_scores_stand_within_their_intervals() -> None:
    scores = score(measured(), "photos", Settings())
    assert len(scores) == len(METRICS)
    for entry in scores.values():
        assert entry["low"] <= entry["value"] <= entry["high"]


def test_means_are_means() -> None:
    scores = score(measured(), "photos", Settings())
    assert scores["ca-photos"]["value"] == 25
    assert scores["chroma"]["value"] == 5
    assert scores["chroma-ratio"]["value"] == pytest.approx(0.5)


def test_perceptual_distance_is_the_mean_euclidean_distance() -> None:
    features = np.zeros((40, 8))
    reference = np.zeros((40, 8))
    reference[:, :2] = 3, 4
    assert score(measured(40, features=features, reference=reference), "photos", Settings())["pd-photos"]["value"] == 5


def test_unknown_classes_give_no_accuracy_and_gray_originals_no_ratio() -> None:
    scores = score(measured(correct=None, reference_chroma=np.zeros(80)), "inception", Settings())
    assert "ca" not in scores
    assert "chroma-ratio" not in scores


def test_infinite_psnr_is_null() -> None:
    entry = score(measured(psnr=np.full(80, np.inf)), "photos", Settings())["psnr"]
    assert (entry["value"], entry["low"], entry["high"]) == (None, None, None)


def test_too_few_images_are_marked() -> None:
    few, many = (score(measured(count), "photos", Settings(is_splits=1)) for count in (12, 80))
    assert few["fd-photos"]["small"]
    assert "small" not in many["fd-photos"]


def test_without_bootstrap_there_are_no_intervals() -> None:
    assert all(entry["low"] is None for entry in score(measured(), "photos", Settings(bootstrap=0)).values())
