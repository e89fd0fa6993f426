import io
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import stats

from palette.config.tasks import DEGRADATIONS
from palette.data.images.degraded import Degraded, Evaluation
from palette.data.masks.strokes import rectangles
from palette.data.tasks import TASKS, condition, find
from palette.data.tasks.colorization import luma
from palette.data.tasks.jpeg import compress, draw_quality
from palette.data.tasks.super_resolution import FACTORS, coarsen
from palette.data.tasks.uncropping import four_sides, one_side
from palette.system.randomness import generator

SIZES = st.integers(8, 96)


def picture(size: int = 32, seed: int = 0) -> npt.NDArray[np.uint8]:
    return generator(seed, "picture").integers(0, 256, (size, size, 3), dtype=np.uint8)


def mask_of(degraded: Degraded) -> npt.NDArray[np.bool_]:
    assert degraded.mask is not None
    return degraded.mask


# ------------------------------------------------------------------------------------------------- all tasks


def test_the_six_tasks_have_the_names_of_the_config() -> None:
    assert list(TASKS) == ["colorization", "inpainting", "jpeg", "paired", "super-resolution", "uncropping"]
    assert tuple(TASKS) == DEGRADATIONS


@pytest.mark.parametrize("task", TASKS)
@settings(max_examples=15, deadline=None)
@given(size=SIZES, seed=st.integers(0, 99))
def test_shapes_and_determinism(task: str, size: int, seed: int) -> None:
    image = picture(size, seed)
    before = image.copy()
    first, second = (TASKS[task].train(image, generator(seed, task), picture(size, seed + 1)) for _ in range(2))
    assert np.array_equal(image, before)
    assert first.image.dtype == np.uint8
    assert first.image.shape == (size, size, 3)
    assert np.array_equal(first.image, second.image)
    if first.mask is not None:
        assert first.mask.dtype == np.bool_
        assert first.mask.shape == (size, size)
        assert 0 < first.mask.sum() < size * size
        assert np.array_equal(first.image[~first.mask], image[~first.mask])
        assert (first.image[first.mask] == 128).all()


@pytest.mark.parametrize("task", ["inpainting", "uncropping"])
def test_evaluation_uses_the_given_mask(task: str) -> None:
    image, mask = picture(), np.zeros((32, 32), np.bool_)
    mask[3:9, 5:6] = True
    degraded = TASKS[task].evaluate(image, generator(0), Evaluation(mask=mask))
    assert np.array_equal(mask_of(degraded), mask)
    assert (degraded.image != image).any(2).sum() <= mask.sum()


def test_a_new_file_is_a_new_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "mytasks"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "upside_down.py").write_text(
        "from palette.data.images.degraded import Degraded\n"
        "def train(image, generator, condition=None):\n    return Degraded(image[::-1], None)\n"
        "def evaluate(image, generator, how):\n    return train(image, generator)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    tasks = find(package, "mytasks")
    assert list(tasks) == ["upside-down"]
    image = picture()
    assert np.array_equal(tasks["upside-down"].train(image, generator(0)).image, image[::-1])
    sys.modules.pop("mytasks.upside_down")


# -------------------------------------------------------------------------------------------------- condition


def test_condition_is_the_image_in_network_units() -> None:
    shown = condition(Degraded(picture(), None), generator(0))
    assert shown.dtype == np.float32
    assert shown.shape == (3, 32, 32)
    assert np.allclose(shown, picture().transpose(2, 0, 1) / 127.5 - 1, atol=1e-6)
    assert np.array_equal(np.rint(np.clip((shown + 1) * 127.5, 0, 255)).transpose(1, 2, 0), picture())


def test_condition_has_noise_in_the_hole_only() -> None:
    mask = one_side(64, 0)
    shown = condition(Degraded(picture(64), mask), generator(0))
    assert np.allclose(shown[:, ~mask], (picture(64) / 127.5 - 1).transpose(2, 0, 1)[:, ~mask], atol=1e-6)
    assert stats.kstest(shown[:, mask].ravel(), "norm").pvalue > 0.01
    assert shown.dtype == np.float32


# ----------------------------------------------------------------------------------------------- colorization


@given(seed=st.integers(0, 99))
def test_luma_is_exact(seed: int) -> None:
    image = picture(48, seed)
    weighted = image.astype(int) @ [299, 587, 114]
    assert np.array_equal(luma(image), (weighted + 500) // 1000)


def test_luma_agrees_with_pillow_and_with_the_formula() -> None:
    image = picture(64)
    assert np.abs(luma(image).astype(int) - np.asarray(Image.fromarray(image).convert("L")).astype(int)).max() <= 1
    exact = 0.299 * image[..., 0] + 0.587 * image[..., 1] + 0.114 * image[..., 2]
    assert np.abs(luma(image) - exact).max() <= 0.5 + 1e-9


@pytest.mark.parametrize(
    ("color", "gray"),
    [((255, 0, 0), 76), ((0, 255, 0), 150), ((0, 0, 255), 29), ((255, 255, 255), 255), ((0, 0, 0), 0), ((7, 7, 7), 7)],
)
def test_luma_of_known_colors(color: tuple[int, int, int], gray: int) -> None:
    assert luma(np.full((8, 8, 3), color, np.uint8))[0, 0] == gray


def test_colorization_shows_three_equal_channels() -> None:
    degraded = TASKS["colorization"].evaluate(picture(), generator(0), Evaluation())
    assert degraded.mask is None
    assert (degraded.image == degraded.image[..., :1]).all()


# --------------------------------------------------------------------------------------------------- inpainting


def is_straight(mask: npt.NDArray[np.bool_]) -> bool:
    """Whether a mask may be made of five rectangles: their ten edges leave at most eleven kinds of rows and of columns."""
    return max(len(np.unique(mask, axis=0)), np.unique(mask, axis=1).shape[1]) <= 11


def test_inpainting_masks_are_rectangles_two_times_in_five() -> None:
    image = np.zeros((96, 96, 3), np.uint8)
    masks = [mask_of(TASKS["inpainting"].train(image, generator(1, i))) for i in range(500)]
    straight = [mask for mask in masks if is_straight(mask)]
    assert abs(len(straight) / len(masks) - 0.4) < 0.08
    single = np.mean([mask[np.ix_(mask.any(1), mask.any(0))].all() for mask in straight])
    assert abs(single - 0.2) < 0.09  # one to five, equally often


@settings(max_examples=25, deadline=None)
@given(size=st.integers(16, 96), seed=st.integers(0, 10**6))
def test_rectangles_are_at_most_five_over_a_tenth_to_two_fifths(size: int, seed: int) -> None:
    mask = rectangles(size, generator(seed))
    assert is_straight(mask)
    assert 0.1 <= mask.mean() <= 0.4


# --------------------------------------------------------------------------------------------------- uncropping


@settings(max_examples=25, deadline=None)
@given(size=SIZES, seed=st.integers(0, 10**6))
def test_uncropping_trains_on_half_of_the_area(size: int, seed: int) -> None:
    hidden = mask_of(TASKS["uncropping"].train(picture(size), generator(seed))).sum()
    assert abs(hidden - size * size / 2) <= 1.5 * size


@given(size=st.integers(8, 300))
def test_uncropping_hides_half_of_the_area(size: int) -> None:
    for side in range(4):
        assert one_side(size, side).sum() == size * (size // 2)
    kept = size * size - four_sides(size).sum()
    assert abs(kept - size * size / 2) <= 1.5 * size  # the nearest centered square


def test_uncropping_sides_match_their_names() -> None:
    for side, hidden in enumerate([np.s_[:, 4:], np.s_[:4, :], np.s_[:, :4], np.s_[4:, :]]):
        assert one_side(8, side)[hidden].all()


def test_uncropping_one_side_or_all_four_equally_often() -> None:
    image = np.zeros((16, 16, 3), np.uint8)
    masks = [mask_of(TASKS["uncropping"].train(image, generator(2, i))).tobytes() for i in range(800)]
    counts = Counter(masks)
    assert len(counts) == 5
    four = counts.pop(four_sides(16).tobytes())
    assert abs(four - 400) < 60
    assert all(abs(count - 100) < 40 for count in counts.values())


# --------------------------------------------------------------------------------------------------------- jpeg


def test_qualities_follow_the_papers_distribution() -> None:
    random = generator(3)
    draws = np.array([draw_quality(random) for _ in range(4000)])
    values = np.arange(5, 31)
    expected = np.exp(-values / 10.0)
    observed = np.array([(draws == value).sum() for value in values])
    assert observed.sum() == len(draws)
    assert stats.chisquare(observed, expected / expected.sum() * len(draws)).pvalue > 0.001


def test_jpeg_is_pillows_at_the_given_quality() -> None:
    image, file = picture(), io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=10)
    assert np.array_equal(
        TASKS["jpeg"].evaluate(image, generator(0), Evaluation(quality=10)).image, np.asarray(Image.open(file))
    )


@settings(max_examples=25, deadline=None)
@given(size=SIZES, seed=st.integers(0, 10**6))
def test_jpeg_training_uses_one_of_its_qualities(size: int, seed: int) -> None:
    image = picture(size, seed % 7)
    trained = TASKS["jpeg"].train(image, generator(seed)).image
    assert any(np.array_equal(trained, compress(image, quality)) for quality in range(5, 31))


def test_lower_quality_is_farther_from_the_original() -> None:
    y, x = np.mgrid[:64, :64]
    image = np.stack([y * 4, x * 4, (y + x) * 2], -1).astype(np.uint8)
    errors = [np.abs(compress(image, quality).astype(int) - image).mean() for quality in (5, 10, 20, 95)]
    assert errors == sorted(errors, reverse=True)


# --------------------------------------------------------------------------------------------- super-resolution


@settings(max_examples=25, deadline=None)
@given(size=st.integers(8, 96), seed=st.integers(0, 10**6))
def test_super_resolution_trains_on_each_of_its_factors(size: int, seed: int) -> None:
    image = picture(size, seed % 7)
    trained = TASKS["super-resolution"].train(image, generator(seed)).image
    assert any(np.array_equal(trained, coarsen(image, factor)) for factor in FACTORS)


def test_factors_of_training_are_equally_likely() -> None:
    image = picture(16)
    known = {coarsen(image, factor).tobytes(): factor for factor in FACTORS}
    random = generator(5)
    found = Counter(known[TASKS["super-resolution"].train(image, random).image.tobytes()] for _ in range(900))
    assert stats.chisquare([found[factor] for factor in FACTORS]).pvalue > 0.001


@given(size=st.integers(2, 6).map(lambda n: 8 * n), factor=st.sampled_from([2, 4, 8]), value=st.integers(0, 255))
def test_flat_images_lose_nothing(size: int, factor: int, value: int) -> None:
    image = np.full((size, size, 3), value, np.uint8)
    assert np.array_equal(coarsen(image, factor), image)


def test_a_pixel_affects_only_its_neighborhood() -> None:
    """A pixel of the input reaches only what lies within the two filters: far from it, nothing changes."""
    image = picture(64)
    changed = image.copy()
    changed[2, 2] ^= 255
    different = (coarsen(image, 4) != coarsen(changed, 4)).any(2)
    assert different.any()
    assert not different[24:].any()
    assert not different[:, 24:].any()


def test_fine_stripes_become_gray_and_do_not_alias() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    inner = coarsen(stripes, 4)[:, 8:-8].astype(int)
    assert np.abs(inner - 127.5).max() < 16


def test_a_factor_that_does_not_divide_is_rounded() -> None:
    image = picture(10)
    assert coarsen(image, 16).shape == image.shape
    assert len(np.unique(coarsen(image, 16).reshape(-1, 3), axis=0)) == 1
    wide = np.ascontiguousarray(picture(40)[:24])
    assert coarsen(wide, 3).shape == (24, 40, 3)


def test_larger_factors_lose_more() -> None:
    image = np.kron(picture(16), np.ones((4, 4, 1), np.uint8))
    errors = [
        np.abs(
            TASKS["super-resolution"].evaluate(image, generator(0), Evaluation(factor=f)).image - image.astype(int)
        ).mean()
        for f in (2, 4, 8, 16)
    ]
    assert errors == sorted(errors)


# ------------------------------------------------------------------------------------------------------- paired


def test_paired_shows_the_condition() -> None:
    image, other = picture(seed=1), picture(seed=2)
    shown = TASKS["paired"].evaluate(image, generator(0), Evaluation(condition=other))
    assert shown.mask is None
    assert np.array_equal(shown.image, other)
    assert np.array_equal(TASKS["paired"].train(image, generator(0), other).image, other)
