"""Squares of whole images, through a real prepare: each against what Pillow alone makes of the same image."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from palette.config.datasets import Fetch, Squares
from palette.data.store.store import ImageStore
from palette.stages import fetch, prepare
from palette.stages.base import Spec
from palette.stages.fetch import FetchSpec
from palette.stages.prepare import PrepareRuntime, PrepareSpec
from palette.stages.stage import Stage

StageOf = Callable[[Spec], Stage[Any]]
SIZE = 16
SIZES = ((40, 24), (24, 40), (33, 32), (16, 16), (17, 60), (64, 19), (9, 12), (12, 7), (100, 50), (31, 31))
"""Wide, high, square, smaller than the images, and as large as they are."""
FILTERS = {"lanczos": Image.Resampling.LANCZOS, "bicubic": Image.Resampling.BICUBIC, "box": Image.Resampling.BOX}


@pytest.fixture
def fetched(tmp_path: Path, stage_of: StageOf) -> Stage[Any]:
    (tmp_path / "own").mkdir()
    for number, (width, height) in enumerate(SIZES):
        pixels = np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"own/{number}.png")
    stage = stage_of(FetchSpec(name="own", fetch=Fetch(source="folder", path=tmp_path / "own")))
    fetch.run(stage)
    return stage


def prepared(stage_of: StageOf, fetched: Stage[Any], threads: int = 1, **options: Any) -> Stage[Any]:
    squares = Squares(**{"image_size": SIZE, "train_images": 8, "test_images": 2, **options})
    spec = PrepareSpec(
        name=f"own-{threads}",
        prepare=squares,
        parents={"fetch": fetched.spec.folder},
        runtime=PrepareRuntime(threads=threads),
    )
    stage = stage_of(spec)
    prepare.run(stage)
    return stage


Images = list[tuple[Image.Image, dict[str, Any], npt.NDArray[np.uint8]]]


def images(stage: Stage[Any], split: str, own: Path) -> Images:
    """Of each image of a split: the picture that it was cut from, its line in the store's manifest, and its pixels."""
    with ImageStore(stage.path(f"{split}.zip")) as store:
        return [(Image.open(own / entry["file"]), entry, store[i]) for i, entry in enumerate(store.manifest)]


def resized(picture: Image.Image, box: tuple[int, int, int, int], kind: str = "lanczos") -> npt.NDArray[np.uint8]:
    return np.asarray(picture.crop(box).resize((SIZE, SIZE), FILTERS[kind]))


@pytest.mark.parametrize("kind", FILTERS)
def test_the_middle_square(tmp_path: Path, stage_of: StageOf, fetched: Stage[Any], kind: str) -> None:
    stage = prepared(stage_of, fetched, filter=kind)
    for split in ("train", "test"):
        for picture, _, pixels in images(stage, split, tmp_path / "own"):
            side = min(picture.size)
            left, top = (picture.width - side) // 2, (picture.height - side) // 2
            assert np.array_equal(pixels, resized(picture, (left, top, left + side, top + side), kind))


def test_a_random_largest_square(tmp_path: Path, stage_of: StageOf, fetched: Stage[Any]) -> None:
    stage = prepared(stage_of, fetched, crop="random")
    for picture, entry, pixels in images(stage, "train", tmp_path / "own"):
        side = min(picture.size)
        left, top, right, bottom = entry["box"]
        assert (right - left, bottom - top) == (side, side)
        assert 0 <= left <= picture.width - side
        assert 0 <= top <= picture.height - side
        assert np.array_equal(pixels, resized(picture, (left, top, right, bottom)))
    for picture, entry, _ in images(stage, "test", tmp_path / "own"):  # the squares of test images are never drawn
        side = min(picture.size)
        assert entry["box"][:2] == [(picture.width - side) // 2, (picture.height - side) // 2]


def test_random_squares_are_everywhere_and_depend_on_the_image(tmp_path: Path, stage_of: StageOf) -> None:
    """Over 200 pictures, every place that the square can take is taken; another seed draws others, and neither the number
    of images nor the pictures' names plays a part."""
    places: dict[tuple[str, int], dict[str, int]] = {}
    for name in ("own", "moved"):
        (tmp_path / name).mkdir()
        for number in range(200):
            color = (number, 255 - number, 7)
            Image.new("RGB", (12, 8), color).save(tmp_path / name / f"{name}-{number}.png")
        stage = stage_of(FetchSpec(name=name, fetch=Fetch(source="folder", path=tmp_path / name)))
        fetch.run(stage)
        for seed, count in ((0, 198), (1, 198 if name == "own" else 150)):
            made = prepared(stage_of, stage, crop="random", image_size=8, train_images=count, seed=seed)
            with ImageStore(made.path("train.zip")) as store:
                places[name, seed] = {entry["sha256"]: entry["box"][0] for entry in store.manifest}
    counts = np.bincount([*places["own", 0].values()], minlength=5)
    assert len(counts) == 5
    assert counts.min() > 20, counts  # 40 on average; below 21 once in 10,000
    assert places["own", 0] == places["moved", 0]
    assert places["moved", 1].items() <= places["own", 1].items()
    both = places["own", 0].keys() & places["own", 1].keys()
    assert sum(places["own", 0][content] != places["own", 1][content] for content in both) > 100


@pytest.mark.parametrize("split", ["train", "test"])
def test_an_unscaled_square(tmp_path: Path, stage_of: StageOf, fetched: Stage[Any], split: str) -> None:
    """The very pixels of the middle; of pictures that are too small the largest square, enlarged, and noted so."""
    option = "crop" if split == "train" else "test_crop"
    counts = {"train_images": 8, "test_images": 2} if split == "train" else {"train_images": 0, "test_images": 10}
    stage = prepared(stage_of, fetched, **{option: "unscaled"}, **counts)
    seen = 0
    for picture, entry, pixels in images(stage, split, tmp_path / "own"):
        side = min(SIZE, *picture.size)
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        whole = np.asarray(picture)[top : top + side, left : left + side]
        small = side < SIZE
        assert np.array_equal(
            pixels, np.asarray(Image.fromarray(whole).resize((SIZE, SIZE), FILTERS["lanczos"])) if small else whole
        )
        assert ("enlarged" in entry.get("converted", ())) == small
        seen += 1
    assert seen == len(SIZES) - (2 if split == "train" else 0)
    converted = json.loads(stage.path("prepare.json").read_text())[split]["converted"]
    if split == "test":
        assert converted == {"enlarged": 2}


@pytest.mark.parametrize("crop", ["centre", "random", "unscaled"])
def test_one_and_two_workers_write_the_same_bytes(stage_of: StageOf, fetched: Stage[Any], crop: str) -> None:
    one, two = (prepared(stage_of, fetched, threads, crop=crop) for threads in (1, 2))
    assert one.path("train.zip") != two.path("train.zip")
    for name in ("train.zip", "test.zip", "prepare.json"):
        assert one.path(name).read_bytes() == two.path(name).read_bytes()
