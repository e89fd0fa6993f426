"""Images with more than 8 bits, from many kinds of files: which values become black and white, and what is refused."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from PIL import Image

from palette.config.datasets import Conditions, Fetch, Squares
from palette.data.images.depth import UnclearRange
from palette.data.images.pictures import develop, read_picture
from palette.data.store.store import ImageStore
from palette.errors import DataError
from palette.stages import fetch, prepare
from palette.stages.base import Spec
from palette.stages.fetch import FetchSpec
from palette.stages.prepare import PrepareSpec
from palette.stages.stage import Stage
from tests.data.hostile import png

StageOf = Callable[[Spec], Stage[Any]]
Array = npt.NDArray[Any]
GRAY = np.linspace(0, 4095, 20, dtype=np.uint16).reshape(4, 5)
COLOR = np.stack([GRAY, GRAY[::-1], GRAY[:, ::-1]], axis=2)
OPAQUE = np.full_like(GRAY, 65535)


def deep_png(values: Array, color: int) -> bytes:
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return png(values.shape[1], values.shape[0], rows, 16, color)


def tiff(values: Array, **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, values, **{"photometric": "rgb" if values.ndim == 3 else "minisblack", **options})
    return file.getvalue()


def ppm(values: Array, largest: int = 65535) -> bytes:
    kind = b"P6" if values.ndim == 3 else b"P5"
    return b"%s %d %d %d\n" % (kind, values.shape[1], values.shape[0], largest) + values.astype(">u2").tobytes()


def plain_ppm(values: Array) -> bytes:
    return (
        b"P3\n# by hand\n%d %d\n65535\n" % (values.shape[1], values.shape[0])
        + " ".join(map(str, values.ravel())).encode()
    )


KINDS: dict[str, tuple[Array, Callable[[Array], bytes]]] = {
    "gray PNG": (GRAY, lambda values: deep_png(values, 0)),
    "color PNG": (COLOR, lambda values: deep_png(values, 2)),
    "gray PNG with transparency": (GRAY, lambda values: deep_png(np.dstack([values, OPAQUE]), 4)),
    "color PNG with transparency": (COLOR, lambda values: deep_png(np.dstack([values, OPAQUE]), 6)),
    "gray TIFF": (GRAY, tiff),
    "color TIFF": (COLOR, tiff),
    "big-endian color TIFF": (COLOR, lambda values: tiff(values, byteorder=">")),
    "compressed color TIFF": (COLOR, lambda values: tiff(values, compression="zlib")),
    "TIFF with transparency": (COLOR, lambda values: tiff(np.dstack([values, OPAQUE]), extrasamples=["unassalpha"])),
    "TIFF of four bands": (COLOR, lambda values: tiff(np.dstack([values, GRAY]), extrasamples=["unspecified"])),
    "PGM": (GRAY, ppm),
    "PPM": (COLOR, ppm),
    "PPM in text": (COLOR, plain_ppm),
}  # fmt: skip


def levels(data: bytes, **options: Any) -> Array:
    return np.asarray(read_picture(data, **options).pixels)


def as_color(values: Array) -> Array:
    return values if values.ndim == 3 else np.repeat(values[:, :, None], 3, axis=2)


@pytest.mark.parametrize("kind", KINDS)
def test_twelve_bits_in_sixteen_bit_files(kind: str) -> None:
    values, encoded = KINDS[kind]
    with pytest.raises(UnclearRange, match="its values, 0 to 4095, do not fill their type, 0 to 65535"):
        read_picture(encoded(values))
    picture = read_picture(encoded(values), value_range=(0, 4095))
    assert np.array_equal(np.asarray(picture.pixels), as_color(np.rint(values / 4095 * 255)))
    assert "more than 8 bits: 0 to 4095" in picture.converted
    assert "more than 8 bits: 0 to 4095" in picture.lost
    assert "values outside the range" not in picture.converted


@pytest.mark.parametrize("kind", KINDS)
def test_all_of_sixteen_bits(kind: str) -> None:
    """As ever: Pillow keeps the high byte of colors, and gray is rounded."""
    values, encoded = KINDS[kind]
    full = values * 16 + 15
    pillows = kind not in ("gray PNG", "gray TIFF", "PGM", "PPM", "PPM in text")
    assert np.array_equal(levels(encoded(full)), as_color(full >> 8 if pillows else np.rint(full / 257)))
    assert "more than 8 bits: 0 to 65535" in read_picture(encoded(full)).converted


@pytest.mark.parametrize(
    ("data", "measured", "full"),
    [
        (tiff(GRAY.astype(np.int16) - 1024), "-1024 to 3071", 32767),
        (tiff(GRAY.astype(np.int32) - 1024), "-1024 to 3071", 2**31 - 1),
        (tiff(GRAY.astype(np.uint32)), "0 to 4095", 2**32 - 1),
        (tiff((GRAY / 16).astype(np.float32)), "0 to 255.9375", 1),
        (tiff((GRAY / 8192).astype(np.float32)), "0 to 0.4998779297", 1),
        (tiff((GRAY / 4095 - 0.5).astype(np.float32)), "-0.5 to 0.5", 1),
        (tiff((GRAY // 16).astype(np.uint8).view(np.int8)), "-122 to 121", 127),
    ],
)
def test_other_types_with_an_unused_upper_half(data: bytes, measured: str, full: float) -> None:
    with pytest.raises(UnclearRange, match=f"its values, {measured}, do not fill their type, 0 to {full};"):
        read_picture(data)
    low, high = map(float, measured.split(" to "))
    assert levels(data, value_range=(low, high)).min() == 0
    assert levels(data, value_range=(low, high)).max() == 255


def test_large_integers_without_a_sign() -> None:
    values = GRAY.astype(np.uint32) * 1_000_000
    found = levels(tiff(values), value_range=(0, 4_095_000_000))
    assert np.array_equal(found, as_color(np.rint(GRAY / 4095 * 255)))


def test_ranges_stated_by_the_file() -> None:
    """A largest value other than that of 16 bits is meant; so is white as the smallest."""
    assert np.array_equal(levels(ppm(GRAY, 4095)), as_color(np.rint(GRAY / 4095 * 255)))
    assert np.array_equal(levels(ppm(COLOR, 4095)), np.rint(COLOR / 4095 * 255))
    assert np.array_equal(levels(ppm(GRAY, 4095), value_range=(0, 8190)), as_color(np.rint(GRAY / 8190 * 255)))
    full = GRAY * 16
    assert np.array_equal(levels(tiff(full, photometric="miniswhite")), as_color(255 - np.rint(full / 257)))


def test_black_is_black_in_any_range() -> None:
    assert (levels(deep_png(GRAY * 0, 0)) == 0).all()
    assert (levels(tiff(np.zeros((4, 5), np.float32))) == 0).all()


def test_an_opened_image_of_pillows_has_lost_the_low_bytes() -> None:
    for data in (deep_png(COLOR * 16, 2), tiff(COLOR * 16), ppm(COLOR * 16)):
        with Image.open(io.BytesIO(data)) as image, pytest.raises(ValueError, match="give the path of its file"):
            develop(image)


def test_values_beyond_the_range_are_noted() -> None:
    picture = read_picture(deep_png(GRAY, 0), value_range=(1000, 3000))
    assert np.array_equal(
        np.asarray(picture.pixels)[..., 0], np.rint((np.clip(GRAY, 1000, 3000) - 1000.0) / 2000 * 255)
    )
    assert "values outside the range" in picture.converted


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_values_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="NaN or infinite"):
        read_picture(tiff(np.array([[0, 1, value]], np.float32)), value_range=(0, 1))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (tiff(np.moveaxis(COLOR, 2, 0).copy(), planarconfig="separate"), "each in a plane of its own"),
        (tiff(np.dstack([COLOR * 16, OPAQUE]), extrasamples=["assocalpha"]), "multiplied by their transparency"),
        (tiff(np.zeros((4, 5, 5), np.uint8), photometric="minisblack", planarconfig="contig"), "a TIFF of 5 bands of 8-bit integers"),
        (tiff(COLOR.astype(np.float32)), "a TIFF of 3 bands of 32-bit floats"),
        (tiff(GRAY.astype(np.float64)), "a TIFF of 1 bands of 64-bit floats"),
    ],
)  # fmt: skip
def test_unsupported_kinds_are_named(data: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_picture(data)


@pytest.mark.parametrize(
    ("data", "note"),
    [
        (tiff(np.zeros((4, 5, 4), np.uint8), extrasamples=["unspecified"]), "first 3 of 4 bands"),
        (tiff(np.zeros((4, 5, 2), np.uint8), photometric="minisblack", planarconfig="contig"), "first 1 of 2 bands"),
        (tiff(np.zeros((3, 4, 5), np.uint8), photometric="minisblack"), "first frame of several"),
    ],
)
def test_lost_bands_and_pages_are_noted(data: bytes, note: str) -> None:
    assert note in read_picture(data).lost


# ------------------------------------------------------------------------------------------------- datasets


def fetched(stage_of: StageOf, folder: Path, **options: Any) -> Stage[Any]:
    source = "pairs" if "conditions" in options else "folder"
    stage = stage_of(FetchSpec(name="deep", fetch=Fetch(source=source, path=folder, **options)))
    fetch.run(stage)
    return stage


def prepared(stage_of: StageOf, source: Stage[Any], **options: Any) -> Stage[Any]:
    squares = Squares(image_size=8, train_images=4, test_images=2, **options)
    stage = stage_of(PrepareSpec(name="deep", parents={"fetch": source.spec.folder}, prepare=squares))
    prepare.run(stage)
    return stage


def pictures(folder: Path, largest: int = 4095) -> dict[str, Array]:
    """Six pictures of 8 × 8 pixels, the brightest of each in the name."""
    folder.mkdir()
    made = {}
    for number in range(6):
        values = np.linspace(number, largest - 100 * number, 64).astype(np.uint16).reshape(8, 8)
        (folder / f"{number}.png").write_bytes(deep_png(values, 0))
        made[f"{number}.png"] = values
    return made


def content(stage: Stage[Any], name: str) -> dict[str, Array]:
    with ImageStore(stage.path(f"{name}.zip")) as store:
        return {entry["file"]: store[index][..., 0] for index, entry in enumerate(store.manifest)}


def test_a_dataset_of_twelve_bits_needs_a_range(tmp_path: Path, stage_of: StageOf) -> None:
    pictures(tmp_path / "own")
    source = fetched(stage_of, tmp_path / "own")
    with pytest.raises(
        DataError, match=r"6 pictures(?s:.*)have 0 to 4095:(?s:.*)1\.png: 1 to 3995(?s:.*)Set `range` of `prepare`"
    ):
        prepared(stage_of, source)


def test_a_declared_range(tmp_path: Path, stage_of: StageOf, capsys: pytest.CaptureFixture[str]) -> None:
    made = pictures(tmp_path / "own")
    stage = prepared(stage_of, fetched(stage_of, tmp_path / "own"), range=(0, 4095))
    found = content(stage, "train") | content(stage, "test")
    assert found.keys() == made.keys()
    for name, values in made.items():
        assert np.array_equal(found[name], np.rint(values / 4095 * 255))
    assert json.loads(stage.path("prepare.json").read_text())["range"] == [0, 4095]
    assert "with losses: more than 8 bits: 0 to 4095 (6)" in capsys.readouterr().err


def test_a_measured_range_is_that_of_the_training_images(tmp_path: Path, stage_of: StageOf) -> None:
    made = pictures(tmp_path / "own")
    stage = prepared(stage_of, fetched(stage_of, tmp_path / "own"), range="measured")
    train, test = content(stage, "train"), content(stage, "test")
    seen = np.stack([made[name] for name in train])
    low, high = seen.min().item(), seen.max().item()
    for name, levels_ in (train | test).items():
        assert np.array_equal(levels_, np.rint(np.clip((made[name] - float(low)) / (high - low), 0, 1) * 255))
    assert json.loads(stage.path("prepare.json").read_text())["range"] == [low, high]


def test_nothing_to_measure(tmp_path: Path, stage_of: StageOf) -> None:
    (tmp_path / "own").mkdir()
    for number in range(6):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"own/{number}.png")
    with pytest.raises(DataError, match=r"`range` of `prepare` is `measured`, but the training images .* \(0\)"):
        prepared(stage_of, fetched(stage_of, tmp_path / "own"), range="measured")


def test_each_side_of_pairs_has_its_range_and_filter(tmp_path: Path, stage_of: StageOf) -> None:
    """Targets of 12 bits from label maps of 16 px and four colors, which stay four at 8 px."""
    made = pictures(tmp_path / "targets")
    (tmp_path / "labels").mkdir()
    colors = np.array([[200, 30, 40], [0, 90, 255], [10, 10, 10], [250, 250, 0]], np.uint8)
    for name in made:
        labels = np.random.default_rng(int(name[0])).integers(0, 4, (16, 16))
        Image.fromarray(colors[labels]).save(tmp_path / "labels" / name)
    source = fetched(stage_of, tmp_path / "targets", conditions=tmp_path / "labels")
    with pytest.raises(DataError, match="Set `range` of `prepare`"):
        prepared(stage_of, source, conditions=Conditions(range=(0, 4095)))
    stage = prepared(stage_of, source, range=(0, 4095), conditions=Conditions(filter="nearest"))
    for name, found in (content(stage, "train") | content(stage, "test")).items():
        assert np.array_equal(found, np.rint(made[name] / 4095 * 255))
    with ImageStore(stage.path("train-conditions.zip")) as store:
        shown = np.concatenate([store[index].reshape(-1, 3) for index in range(len(store))])
        labels = np.asarray(Image.open(tmp_path / "labels" / store.manifest[0]["file"]))
        nearest = Image.fromarray(labels).resize((8, 8), Image.Resampling.NEAREST)
        assert np.array_equal(store[0], np.asarray(nearest))
    assert {*map(tuple, np.unique(shown, axis=0).tolist())} == {*map(tuple, colors.tolist())}
    facts = json.loads(stage.path("prepare.json").read_text())
    assert facts["conditions"] == {"filter": "nearest", "range": None}
    assert facts["filter"] == "lanczos"


def test_conditions_of_twelve_bits(tmp_path: Path, stage_of: StageOf) -> None:
    for folder in ("targets", "conditions"):
        made = pictures(tmp_path / folder, 4095 if folder == "conditions" else 65535)
    source = fetched(stage_of, tmp_path / "targets", conditions=tmp_path / "conditions")
    with pytest.raises(DataError, match=r"Set `conditions: \{range\}` of `prepare`"):
        prepared(stage_of, source, range=(0, 65535))
    stage = prepared(stage_of, source, conditions=Conditions(range="measured"))
    found = content(stage, "train-conditions")
    seen = np.stack([made[name] for name in found])
    low, high = seen.min().item(), seen.max().item()
    for name, levels_ in found.items():
        assert np.array_equal(levels_, np.rint((made[name] - float(low)) / (high - low) * 255))
    assert json.loads(stage.path("prepare.json").read_text())["conditions"]["range"] == [low, high]
