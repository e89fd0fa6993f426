"""The input of the network made from a photograph, without any network."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from palette.data.images.degraded import Degraded
from palette.data.images.limits import PIXELS
from palette.data.tasks.super_resolution import coarsen
from palette.data.tasks.uncropping import four_sides, one_side
from palette.errors import ConfigError, DataError
from palette.restore.canvas import Request, canvas, degrade, fitted, padded, working_size
from palette.system.randomness import generator

Pixels = npt.NDArray[np.uint8]
SIDES = st.integers(1, 60)
WHITE = np.ones((2, 2), np.bool_)


def noise(height: int, width: int) -> Pixels:
    return generator(0, "pixels", height, width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def lanczos(photo: Pixels, width: int, height: int) -> Pixels:
    return np.asarray(Image.fromarray(photo).resize((width, height), Image.Resampling.LANCZOS))


@given(SIDES, SIDES, st.integers(1, 40))
def test_the_short_side_is_exact_and_the_aspect_kept(width: int, height: int, short: int) -> None:
    fit = fitted(width, height, short)
    assert min(fit) == short
    assert abs(max(fit) - short * max(width, height) / min(width, height)) <= 0.5 + 1e-9
    assert (fit[0] <= fit[1]) == (width <= height) or fit[0] == fit[1]
    assert fitted(width, height, None) == (width, height)


@given(SIDES, SIDES, st.sampled_from([1, 2, 8, 32]))
def test_padding_is_a_reflection_of_image_and_hole(height: int, width: int, multiple: int) -> None:
    image = noise(height, width)
    hole = image[:, :, 0] < 100
    made = padded(Degraded(image, hole), multiple)
    assert made.mask is not None
    tall, wide = made.image.shape[:2]
    assert (tall % multiple, wide % multiple) == (0, 0)
    assert tall - height < multiple
    assert wide - width < multiple

    def mirrored(size: int, count: int) -> npt.NDArray[np.intp]:
        period = max(1, 2 * size - 2)
        step = np.arange(count) % period
        return np.minimum(step, period - step) if size > 1 else np.zeros(count, np.intp)

    rows, columns = mirrored(height, tall), mirrored(width, wide)
    np.testing.assert_array_equal(made.image, image[rows][:, columns])
    np.testing.assert_array_equal(made.mask, hole[rows][:, columns])
    assert padded(Degraded(image, None), multiple).mask is None


@pytest.mark.parametrize("size", [16, 17, 45])
@pytest.mark.parametrize("extend", ["right", "top", "left", "bottom", "all"])
def test_a_new_region_is_placed_as_in_training(size: int, extend: str) -> None:
    """A photo that is what training leaves of a square image is put where it was."""
    sides = ("right", "top", "left", "bottom")
    hidden = four_sides(size) if extend == "all" else one_side(size, sides.index(extend))
    rows, columns = np.any(~hidden, axis=1).sum(), np.any(~hidden, axis=0).sum()
    photo = noise(rows, columns)
    made = degrade(photo, Request("uncropping", size, extend=extend), 16)
    if size % 2 and extend != "all":  # doubling gives no odd side
        return
    assert made.mask is not None
    np.testing.assert_array_equal(made.mask, hidden)
    np.testing.assert_array_equal(made.image[~hidden].reshape(photo.shape), photo)
    assert (made.image[hidden] == 128).all()


@given(SIDES, SIDES, st.sampled_from(["right", "left", "top", "bottom", "all"]), st.sampled_from([None, "full", 9]))
def test_half_of_an_uncropped_result_is_new(height: int, width: int, extend: str, size: int | str | None) -> None:
    photo = noise(height, width)
    made = degrade(photo, Request("uncropping", size, extend=extend), 16)  # type: ignore[arg-type]
    assert made.mask is not None
    tall, wide = made.mask.shape
    kept_tall, kept_wide = np.any(~made.mask, axis=1).sum(), np.any(~made.mask, axis=0).sum()
    assert (~made.mask).sum() == kept_tall * kept_wide  # a rectangle
    share = np.sqrt(0.5) if extend == "all" else 0.5
    assert abs(kept_wide - wide * (1 if extend in ("top", "bottom") else share)) <= 0.5
    assert abs(kept_tall - tall * (1 if extend in ("left", "right") else share)) <= 0.5
    if size == "full":
        np.testing.assert_array_equal(made.image[~made.mask].reshape(photo.shape), photo)
    else:
        assert min(tall, wide) == (size or 16)


@given(SIDES, SIDES, st.sampled_from([None, "full", 9, 50]), st.sampled_from(["jpeg", "right", "top", "all", 2, 3]))
def test_the_size_is_known_before_the_photo_is_read(
    height: int, width: int, size: int | str | None, what: int | str
) -> None:
    options: dict[str, Any] = (
        {"task": "super-resolution", "factor": what} if isinstance(what, int) else {"task": "jpeg"}
    )
    if isinstance(what, str) and what != "jpeg":
        options = {"task": "uncropping", "extend": what}
    request = Request(size=size, **options)
    made = degrade(noise(height, width), request, 16).image
    assert working_size(width, height, request, 16) == (made.shape[1], made.shape[0])


def test_colorization_shows_luma() -> None:
    photo = noise(40, 24)
    made = degrade(photo, Request("colorization"), 16)
    small = lanczos(photo, 16, 27).astype(float)
    expected = np.floor(small @ [0.299, 0.587, 0.114] + 0.5 + 1e-9)
    np.testing.assert_array_equal(made.image, np.repeat(expected[:, :, None], 3, 2).astype(np.uint8))
    assert made.mask is None


@pytest.mark.parametrize("task", ["jpeg", "paired"])
def test_degraded_photos_stay_unchanged(task: str) -> None:
    photo = noise(40, 24)
    np.testing.assert_array_equal(degrade(photo, Request(task, "full"), 16).image, photo)
    np.testing.assert_array_equal(degrade(photo, Request(task, 20), 16).image, lanczos(photo, 20, 33))


def test_super_resolution_enlarges_as_training_does() -> None:
    original = noise(64, 96)
    small = np.asarray(Image.fromarray(original).resize((24, 16), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(degrade(small, Request("super-resolution"), 16).image, coarsen(original, 4))
    assert degrade(small, Request("super-resolution", factor=2), 16).image.shape == (32, 48, 3)
    assert degrade(small, Request("super-resolution", 30, factor=2), 16).image.shape == (30, 45, 3)


def test_inpainting_hides_what_the_mask_touches() -> None:
    photo, mask = noise(64, 64), np.zeros((64, 64), np.bool_)
    mask[9, 5:60] = True  # a line thinner than a pixel of the result
    made = degrade(photo, Request("inpainting", mask=mask), 16)
    assert made.mask is not None
    expected = np.zeros((16, 16), np.bool_)
    expected[2, 1:15] = True
    np.testing.assert_array_equal(made.mask, expected)
    np.testing.assert_array_equal(made.image[~expected], lanczos(photo, 16, 16)[~expected])
    assert (made.image[expected] == 128).all()
    with pytest.raises(DataError, match="64×64 pixels, but the photo has 63×64"):
        degrade(photo[:, 1:], Request("inpainting", mask=mask), 16)


def test_what_a_mask_hides_has_no_influence() -> None:
    photo, mask = noise(16, 16), np.zeros((16, 16), np.bool_)
    mask[4:9, 4:] = True
    other = np.where(mask[:, :, None], 255 - photo, photo)
    first, second = (canvas(p, Request("inpainting", mask=mask), 16, 8) for p in (photo, other))
    assert first.key == second.key
    np.testing.assert_array_equal(first.degraded.image, second.degraded.image)


def test_the_key_distinguishes_photos() -> None:
    def key(photo: Pixels) -> str:
        return canvas(photo, Request("jpeg", "full"), 16, 8).key

    photo = noise(8, 12)
    changed = photo.copy()
    changed[-1, -1, -1] ^= 1
    assert key(photo) == key(photo[::-1][::-1])
    assert len({key(photo), key(changed), key(photo.reshape(12, 8, 3))}) == 3


def test_a_result_has_at_most_the_pixels_of_a_readable_image() -> None:
    assert fitted(PIXELS, 1, None) == (PIXELS, 1)
    with pytest.raises(DataError, match="at most"):
        fitted(PIXELS + 1, 1, None)


def test_another_hole_in_gray_is_another_key() -> None:
    """Where the photo is as gray as a hole, pixels alone do not tell where it is."""
    photo, mask = np.full((16, 16, 3), 128, np.uint8), np.zeros((16, 16), np.bool_)
    mask[:8] = True
    first, second = (canvas(photo, Request("inpainting", mask=m), 16, 8) for m in (mask, ~mask))
    np.testing.assert_array_equal(first.degraded.image, second.degraded.image)
    assert first.key != second.key


@pytest.mark.parametrize("options", [{"task": "jpeg", "size": 100_000}, {"task": "uncropping", "size": 100_000}])
def test_more_pixels_than_fit_are_refused_in_advance(options: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="a result of 150000×100000 pixels; at most"):
        canvas(noise(8, 12) if options["task"] == "jpeg" else noise(8, 6), Request(**options), 16, 8)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"task": "jpeg", "size": 0}, "size 0: should be"),
        ({"task": "jpeg", "size": "large"}, "size 'large': should be"),
        ({"task": "jpeg", "mask": WHITE}, "mask: has no meaning for jpeg; it goes with inpainting"),
        ({"task": "jpeg", "extend": "left"}, "extend: has no meaning for jpeg"),
        ({"task": "jpeg", "factor": 4}, "factor: has no meaning for jpeg"),
        ({"task": "inpainting"}, "mask: missing"),
        ({"task": "uncropping", "extend": "up"}, "should be one of right, left, top, bottom, all"),
        ({"task": "super-resolution", "factor": 1}, "from 2 to 16"),
        ({"task": "super-resolution", "factor": 17}, "from 2 to 16"),
    ],
)
def test_incompatible_options(options: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Request(**options)  # type: ignore[arg-type]


def test_label_maps_keep_their_colors() -> None:
    """As the conditions of a dataset do with `conditions: {filter: nearest}`."""
    colors = np.array([[200, 30, 40], [0, 90, 255], [10, 10, 10], [250, 250, 0]], np.uint8)
    labels = colors[generator(0, "labels").integers(0, 4, (40, 50))]
    shown = degrade(labels, Request("paired", filter="nearest"), 16).image
    assert shown.shape == (16, 20, 3)
    assert np.array_equal(shown, np.asarray(Image.fromarray(labels).resize((20, 16), Image.Resampling.NEAREST)))
    assert np.array_equal(degrade(labels, Request("paired"), 16).image, lanczos(labels, 20, 16))
    beside = degrade(labels, Request("uncropping", size=32, extend="bottom", filter="nearest"), 16).image
    assert np.array_equal(beside[:26], np.asarray(Image.fromarray(labels).resize((32, 26), Image.Resampling.NEAREST)))
    with pytest.raises(ConfigError, match="filter: has no meaning for super-resolution"):
        Request("super-resolution", filter="nearest")
    with pytest.raises(ConfigError, match=r"filter 'area': should be one of lanczos, .*nearest"):
        Request("paired", filter="area")
