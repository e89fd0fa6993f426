import json
from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palette.config import MaskKind
from palette.data.masks import MASKS
from palette.data.randomness import generator
from palette.data.store import ImageStore
from palette.data.strokes import near_segment, rectangles, strokes, strokes_covering
from palette.errors import ConfigError
from palette.spec import MaskSpec, Spec
from palette.stage import Stage
from palette.verbs import mask as verb

BOUNDS = {"free-form-10-20": (0.1, 0.2), "free-form-20-30": (0.2, 0.3), "free-form-30-40": (0.3, 0.4)}
SEEDS = st.integers(0, 10**6)


def test_every_kind_of_the_config_has_a_mask() -> None:
    assert set(MASKS) == set(get_args(MaskKind))


@pytest.mark.parametrize("kind", BOUNDS)
@settings(max_examples=40, deadline=None)
@given(size=st.integers(8, 160), seed=SEEDS)
def test_area_is_always_within_the_bounds(kind: MaskKind, size: int, seed: int) -> None:
    mask = MASKS[kind](size, generator(seed))
    low, high = BOUNDS[kind]
    assert mask.shape == (size, size)
    assert mask.dtype == np.bool_
    assert low <= mask.mean() <= high
    assert np.array_equal(mask, MASKS[kind](size, generator(seed)))


@pytest.mark.parametrize("kind", BOUNDS)
def test_areas_spread_over_the_whole_range(kind: MaskKind) -> None:
    areas = np.array([MASKS[kind](32, generator(0, i)).mean() for i in range(200)])
    low, high = BOUNDS[kind]
    assert abs(areas.mean() - (low + high) / 2) < 0.01
    assert areas.min() < low + 0.01
    assert areas.max() > high - 0.01


@pytest.mark.parametrize(("kind", "size"), [("free-form-10-20", 2), ("free-form-20-30", 1), ("free-form-30-40", 2)])
def test_impossible_bounds_are_a_config_error(kind: MaskKind, size: int) -> None:
    with pytest.raises(ConfigError, match="raise `image_size`"):
        MASKS[kind](size, generator(0))


def test_centre_and_right() -> None:
    centre, right = MASKS["centre"](256, generator(0)), MASKS["right"](256, generator(0))
    assert centre[64:192, 64:192].all()
    assert centre.sum() == 128**2
    assert right[:, 128:].all()
    assert right.mean() == 0.5


def test_masks_lie_everywhere() -> None:
    hidden = np.mean([MASKS["free-form-20-30"](16, generator(0, i)) for i in range(600)], axis=0)
    assert hidden.min() > 0.1
    assert hidden.max() < 0.45


# ------------------------------------------------------------------------------------------ generators of holes


@settings(max_examples=40, deadline=None)
@given(size=st.integers(8, 96), seed=SEEDS)
def test_rectangles_cover_what_the_paper_says(size: int, seed: int) -> None:
    assert 0.1 <= rectangles(size, generator(seed)).mean() <= 0.4


@settings(max_examples=40, deadline=None)
@given(size=st.integers(8, 96), seed=SEEDS)
def test_training_strokes_are_never_nothing_nor_all(size: int, seed: int) -> None:
    assert 0 < strokes(size, generator(seed)).mean() < 1


@settings(max_examples=40, deadline=None)
@given(size=st.integers(1, 32), share=st.floats(0, 1), seed=SEEDS)
def test_strokes_covering_cover_exactly(size: int, share: float, seed: int) -> None:
    pixels = round(share * size * size)
    assert strokes_covering(size, pixels, generator(seed)).sum() == pixels


def test_a_stroke_is_as_wide_as_it_should_be() -> None:
    window, near, along = near_segment(64, (32.0, 10.0), (32.0, 50.0), 5.0)
    mask = np.zeros((64, 64), np.bool_)
    mask[window] = near
    assert mask[:, 30].sum() == 10
    assert abs(mask.sum() - (40 * 10 + np.pi * 25)) < 12
    assert along.min() == 0
    assert along.max() == 1


def test_masks_look_alike_at_every_size() -> None:
    means = [np.mean([strokes(size, generator(5, i)).mean() for i in range(200)]) for size in (32, 64, 256)]
    assert max(means) - min(means) < 0.02


# ------------------------------------------------------------------------------------------------------ the verb


def spec(kind: MaskKind, count: int = 12) -> MaskSpec:
    return MaskSpec(name=kind, mask=kind, image_size=32, count=count)


def test_verb_writes_one_mask_for_each_test_image(stage_of: Callable[[Spec], Stage[Any]]) -> None:
    stage = stage_of(spec("free-form-20-30"))
    verb.run(stage)
    store = ImageStore(stage.path("masks.zip"))
    facts = json.loads(stage.path("masks.json").read_text())
    assert store.names == [f"{i:08}.png" for i in range(12)]
    assert np.array_equal(store.mask(7), MASKS["free-form-20-30"](32, generator(0, "mask", "free-form-20-30", 7)))
    areas = [store.mask(i).mean() for i in range(12)]
    assert facts["kind"] == "free-form-20-30"
    assert facts["area"] == pytest.approx({"min": min(areas), "mean": np.mean(areas), "max": max(areas)})
    assert json.loads(stage.path("card.json").read_text())["artifacts"].keys() == {"masks.zip", "masks.json"}


def test_a_longer_test_set_keeps_the_first_masks(stage_of: Callable[[Spec], Stage[Any]]) -> None:
    short, long = stage_of(spec("free-form-10-20", 3)), stage_of(spec("free-form-10-20", 6))
    verb.run(short)
    verb.run(long)
    stores = ImageStore(short.path("masks.zip")), ImageStore(long.path("masks.zip"))
    assert all(np.array_equal(stores[0][i], stores[1][i]) for i in range(3))


def test_verb_is_deterministic_to_the_byte(stage_of: Callable[[Spec], Stage[Any]]) -> None:
    stage = stage_of(spec("centre"))
    verb.run(stage)
    first = stage.path("masks.zip").read_bytes()
    verb.run(stage)
    assert stage.path("masks.zip").read_bytes() == first
