import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from palette.config.tasks import MaskKind
from palette.data.masks.drawn import MASKS
from palette.data.masks.strokes import (
    STEP,
    STROKES,
    TURN,
    VERTICES,
    cosine_and_sine,
    near_segment,
    rectangles,
    stroke,
    strokes,
    strokes_covering,
)
from palette.data.masks.supplied import RELEASED, digest, own_masks
from palette.data.store.store import ImageStore, StoredImage, write_store
from palette.errors import ConfigError, DataError
from palette.stages import mask as verb
from palette.stages.base import Spec
from palette.stages.mask import MaskRuntime, MaskSpec
from palette.stages.stage import Stage
from palette.system.randomness import generator

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
def test_training_strokes_never_cover_nothing_or_everything(size: int, seed: int) -> None:
    assert 0 < strokes(size, generator(seed)).mean() < 1


@settings(max_examples=40, deadline=None)
@given(size=st.integers(1, 32), share=st.floats(0, 1), seed=SEEDS)
def test_covering_strokes_cover_exactly_the_area(size: int, share: float, seed: int) -> None:
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


# -------------------------------------------------------------------- Algorithm 1 of Yu et al. 2019, by its numbers


def test_sine_and_cosine_are_accurate() -> None:
    for angle in np.linspace(-2, 2, 401).tolist():
        assert cosine_and_sine(angle) == pytest.approx((math.cos(angle), math.sin(angle)), abs=1e-15)


def test_strokes_have_the_published_shape() -> None:
    """Vertices, widths, turns and steps over 3,000 strokes, against the distributions that the algorithm draws from."""
    size, vertices, widths, turns, steps = 256, [], [], [], []
    for seed in range(3000):
        segments = list(stroke(size, generator(seed, "published")))
        vertices.append(len(segments))
        widths.append(2 * segments[0][2])
        for (y, x), (end_y, end_x), _ in segments:
            if 0 < end_y < size and 0 < end_x < size and (y, x) != (end_y, end_x):  # not cut off at the border
                turns.append(math.atan2(abs(end_x - x), abs(end_y - y)))
                steps.append(math.hypot(end_x - x, end_y - y))
    assert (min(vertices), max(vertices)) == VERTICES
    assert np.mean(vertices) == pytest.approx(8, abs=0.15)
    assert min(widths) >= 12
    assert max(widths) <= 40
    assert np.mean(widths) == pytest.approx(26, abs=0.5)
    # Angles beyond π/2 look like their mirror images: 2π/5 - 2π/15 is the smallest in any case.
    assert min(turns) >= TURN[0] - 1e-9
    uniform = np.linspace(*TURN, 9999)
    assert np.mean(turns) == pytest.approx(np.minimum(uniform, math.pi - uniform).mean(), abs=0.03)
    assert max(steps) <= 2 * STEP * size + 1e-9
    # Long steps leave the image more often, so that those that stay inside are a little shorter.
    assert 0.75 * STEP * size < np.mean(steps) < STEP * size


def test_the_number_of_strokes_is_uniform() -> None:
    counts = [int(generator(seed).integers(STROKES[0], STROKES[1], endpoint=True)) for seed in range(300)]
    assert set(counts) == {1, 2, 3}


def test_masks_are_the_same_on_every_machine() -> None:
    """The bits of 64 masks of each kind, recorded once."""
    known = {
        "free-form-10-20": "1b744b80b39970d4861872b034e4e9c8dcecea34acf5a4ff4ee8fb2064f0e1b0",
        "free-form-20-30": "ba91fd4011186d31ca08e8e6478acc4eacf8ce21244458fbd1c593bc1525fedb",
        "free-form-30-40": "3dfe8e90bb915835ff702d7d694f7650fcddcd3391f1f4d30e6a44fb029e14d5",
        "centre": "0c78f8522a93930bdec832755302f1f0bc154505b552b860b8d8d3fc5b90779b",
        "right": "632f565d3059f2c606016e6d3112b9519aae759ebafec8eca9588c9b3d78993a",
    }
    for kind in get_args(MaskKind):
        masks = np.stack([MASKS[kind](64, generator(0, "mask", kind, i)) for i in range(64)])
        assert hashlib.sha256(np.packbits(masks).tobytes()).hexdigest() == known[kind], kind


# ------------------------------------------------------------------------------------------------- masks of one's own


def own(kind: str, path: Path, count: int = 5, size: int = 32) -> list[Any]:
    return list(own_masks(path, kind, size, count))


def drawn(kind: MaskKind, count: int, size: int = 32) -> Any:
    return np.stack([MASKS[kind](size, generator(7, i)) for i in range(count)])


def released(path: Path, count: int, size: int = 32) -> Path:
    """An archive as the paper's: one bit a pixel, all masks of a kind behind each other."""
    np.savez_compressed(path, **{RELEASED[kind]: np.packbits(drawn(kind, count, size)) for kind in RELEASED})
    return path


@pytest.mark.parametrize("size", [32, 17])
@pytest.mark.parametrize("kind", RELEASED)
def test_the_papers_archive(tmp_path: Path, kind: MaskKind, size: int) -> None:
    path = released(tmp_path / "imagenet_freeform_masks.npz", 7, size)
    assert np.array_equal(own(kind, path, 5, size), drawn(kind, 5, size))


def folder_of(path: Path, masks: Any) -> Path:
    path.mkdir()
    for number, mask in enumerate(masks):
        Image.fromarray(mask).save(path / f"{number:03}.png")
    return path


def test_a_folder_of_masks(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "masks", drawn("free-form-20-30", 6))
    assert np.array_equal(own("own", folder), drawn("free-form-20-30", 5))
    assert np.array_equal(own("free-form-20-30", folder), drawn("free-form-20-30", 5))
    before = digest(folder)
    Image.fromarray(drawn("free-form-10-20", 1)[0]).save(folder / "000.png")
    assert digest(folder) != before


@pytest.mark.parametrize(("share", "fits"), [(0.185, False), (0.192, True), (0.308, True), (0.315, False)])
def test_a_mask_may_miss_its_bin_by_a_hundredth(tmp_path: Path, share: float, fits: bool) -> None:
    mask = (np.arange(64 * 64) < share * 64 * 64).reshape(64, 64)
    folder = folder_of(tmp_path / "masks", [mask])
    if fits:
        assert np.array_equal(own("free-form-20-30", folder, 1, 64), [mask])
        return
    with pytest.raises(DataError, match="is for 20% to 30%"):
        own("free-form-20-30", folder, 1, 64)


def test_masks_in_order_of_numbers_and_of_names(tmp_path: Path) -> None:
    masks = drawn("free-form-20-30", 11)
    numbered, named = tmp_path / "numbered", tmp_path / "named"
    for folder in (numbered, named):
        folder.mkdir()
    for number, mask in enumerate(masks):
        Image.fromarray(mask).save(numbered / f"{number}.png")  # 10.png stands before 2.png by name
        Image.fromarray(mask).save(named / f"mask-{number:02}.png")
    for folder in (numbered, named):
        assert np.array_equal(own("own", folder, 11), masks)


def test_a_hole_in_the_transparency(tmp_path: Path) -> None:
    """The rule of `restore --mask`: where a picture is transparent the hole is, and its colors say nothing."""
    masks = drawn("free-form-20-30", 5)
    folder = folder_of(tmp_path / "masks", masks)
    for number, mask in enumerate(masks):
        colors = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(np.dstack([colors, np.where(mask, 0, 255).astype(np.uint8)])).save(folder / f"{number:03}.png")
    assert np.array_equal(own("own", folder), masks)
    Image.fromarray(np.dstack([colors, np.where(mask, 50, 255).astype(np.uint8)])).save(folder / "004.png")
    with pytest.raises(DataError, match=r"004\.png: has other values than black and white"):
        own("own", folder)
    Image.fromarray(np.dstack([colors * 0 + 255, np.where(mask, 0, 255).astype(np.uint8)])).save(folder / "004.png")
    with pytest.raises(DataError, match=r"004\.png: not readable as a mask \(paint on a transparent layer"):
        own("own", folder)


def test_masks_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = released(tmp_path / "a.npz", 4)
    folder = folder_of(tmp_path / "masks", drawn("free-form-20-30", 6))
    for kind, place, size, message in [
        ("free-form-10-20", path, 32, "4 masks, but there are 5 test images"),
        ("own", path, 32, "say which by `mask`"),
        ("free-form-30-40", folder, 32, "hides 2.*% of the image, and `mask: free-form-30-40`"),
        ("own", folder, 16, "32 × 32 pixels, but the test images have 16 × 16"),
        ("own", tmp_path / "none", 32, "neither a folder"),
    ]:
        with pytest.raises(DataError, match=message):
            own(kind, place, 5, size)
    Image.new("L", (32, 32), 100).save(folder / "000.png")
    with pytest.raises(DataError, match="other values than black and white"):
        own("own", folder)
    Image.new("1", (32, 32), 1).save(folder / "000.png")
    with pytest.raises(DataError, match="hides all of the image"):
        own("own", folder)
    (folder / "000.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="not readable as a mask"):
        own("own", folder)


def test_files_that_are_not_mask_archives_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    for content in (b"", b"PK\3\4 broken", b"\x93NUMPY"):
        path.write_bytes(content)
        with pytest.raises(DataError, match="not readable as a packed archive"):
            own("free-form-10-20", path)
    np.savez(path, **{RELEASED["free-form-10-20"]: np.array([{}], dtype=object)})  # would run code if it were unpickled
    with pytest.raises(DataError, match="not readable as a packed archive"):
        own("free-form-10-20", path)
    np.savez(path, other=np.zeros(3, np.uint8))
    with pytest.raises(DataError, match=r"has no masks named '10-20% freeform'; it has 'other'"):
        own("free-form-10-20", path)
    np.savez(path, **{RELEASED["free-form-10-20"]: np.zeros(3, np.float32)})
    with pytest.raises(DataError, match="holds float32"):
        own("free-form-10-20", path)


def test_verb_uses_the_users_masks(tmp_path: Path, stage_of: Callable[[Spec], Stage[Any]]) -> None:
    path = released(tmp_path / "a.npz", 12)
    stage = stage_of(spec("free-form-10-20").model_copy(update={"runtime": MaskRuntime(masks=path)}))
    verb.run(stage)
    store = ImageStore(stage.path("masks.zip"))
    assert np.array_equal([store.mask(i) for i in range(12)], drawn("free-form-10-20", 12))


# ------------------------------------------------------------------------------- masks of photographs, by name

PHOTOS = ["dog/3.jpg", "cat/10.jpg", "cat/2.jpg", "dog/7.jpg"]
"""Originals of the test images, in the order in which they were drawn."""


@pytest.fixture
def of_photos(tmp_path: Path) -> dict[str, Any]:
    """A mask for each of `PHOTOS` and of two other photographs, in `tmp_path / "masks"`, under its photograph's name."""
    names = [*PHOTOS, "cat/1.jpg", "dog/9.jpg"]
    masks = dict(zip(names, drawn("free-form-20-30", len(names)), strict=True))
    for name, mask in masks.items():
        file = tmp_path / "masks" / Path(name).with_suffix(".png")
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(file)
    return masks


def store_of(path: Path, originals: list[str]) -> ImageStore:
    """A store of test images."""
    blank = np.zeros((32, 32, 3), np.uint8)
    items = (StoredImage(f"{i:08}.png", blank, source={"file": file}) for i, file in enumerate(originals))
    write_store(path, items, ["all"])
    return ImageStore(path)


def test_masks_belong_to_the_photographs_they_are_named_after(
    tmp_path: Path, of_photos: dict[str, Any], stage_of: Callable[[Spec], Stage[Any]]
) -> None:
    own_spec = MaskSpec(
        name="own", mask="own", image_size=32, count=4, parents={"prepare": "prepare/tiny"},
        runtime=MaskRuntime(masks=tmp_path / "masks"),
    )  # fmt: skip
    stage = stage_of(own_spec)
    store_of(stage.results / "prepare/tiny/test.zip", PHOTOS).close()
    verb.run(stage)
    store = ImageStore(stage.path("masks.zip"))
    for index, photo in enumerate(PHOTOS):
        assert np.array_equal(store.mask(index), of_photos[photo]), photo


def test_masks_for_some_of_the_photographs_are_refused_by_name(tmp_path: Path, of_photos: dict[str, Any]) -> None:
    folder = tmp_path / "masks"
    (folder / "cat/10.png").rename(folder / "cat/11.png")
    with store_of(tmp_path / "test.zip", PHOTOS) as tests:
        with pytest.raises(DataError, match=r"missing: cat/10\.\*, of test image 1\n.*`masks_by: position`"):
            list(own_masks(folder, "own", 32, 4, tests))
        before = digest(folder)
        (folder / "cat/11.png").rename(folder / "cat/10.png")
        assert digest(folder) != before
        assert len(list(own_masks(folder, "own", 32, 4, tests))) == 4


def test_numbers_mean_test_images_only_if_the_counts_match_or_the_config_says_so(tmp_path: Path) -> None:
    masks = drawn("free-form-20-30", 5)
    folder = tmp_path / "masks"
    folder.mkdir()
    for number, mask in enumerate(masks):
        Image.fromarray(mask).save(folder / f"{number:08}.png")
    with store_of(tmp_path / "test.zip", PHOTOS) as tests:
        with pytest.raises(DataError, match=r"missing|of no test image: 00000004\.png"):
            list(own_masks(folder, "own", 32, 4, tests))
        assert np.array_equal(list(own_masks(folder, "own", 32, 4, tests, "numbers")), masks[:4])
        (folder / "00000004.png").unlink()
        assert np.array_equal(list(own_masks(folder, "own", 32, 4, tests)), masks[:4])
    with (
        store_of(tmp_path / "test.zip", [f"{number:08}.jpg" for number in (2, 0, 3, 1)]) as tests,
        pytest.raises(DataError, match=r"more than one way.*`tasks\.NAME\.masks_by: originals`"),
    ):
        list(own_masks(folder, "own", 32, 4, tests))


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
    assert json.loads(stage.path("card.json").read_text())["artifacts"].keys() == {
        "masks.zip", "masks.json", "masks.png",
    }  # fmt: skip
    masks = np.stack([store.mask(i) for i in range(12)])
    assert facts["sha256"] == hashlib.sha256(np.packbits(masks).tobytes()).hexdigest()
    assert Image.open(stage.path("masks.png")).size == (12 * 36 - 4, 32)


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
