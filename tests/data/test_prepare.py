import hashlib
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from palette.config.datasets import Fetch, Prepare
from palette.data.images.crops import around, draw_crop
from palette.data.photos import PHOTOS, Box, photo_folder
from palette.data.sources.manifest import Manifest, write_manifest
from palette.data.store.store import ImageStore
from palette.errors import DataError
from palette.stages import fetch, prepare
from palette.stages.base import Spec
from palette.stages.fetch import FetchSpec
from palette.stages.prepare import PrepareRuntime, PrepareSpec
from palette.stages.stage import Stage
from palette.system.locks import held
from palette.system.randomness import generator

StageOf = Callable[[Spec], Stage[Any]]


def prepared(stage_of: StageOf, fetched: Stage[Any], threads: int = 1, **options: int) -> Stage[Any]:
    spec = PrepareSpec(
        name=f"p{threads}",
        prepare=Prepare(**options),
        parents={"fetch": fetched.spec.folder},
        runtime=PrepareRuntime(threads=threads),
    )
    stage = stage_of(spec)
    prepare.run(stage)
    return stage


def stores(stage: Stage[Any]) -> tuple[ImageStore, ImageStore]:
    return ImageStore(stage.path("train.zip")), ImageStore(stage.path("test.zip"))


@pytest.fixture
def photos(stage_of: StageOf) -> Stage[Any]:
    """A finished fetch stage of the embedded photographs."""
    stage = stage_of(FetchSpec(name="photos", fetch=Fetch()))
    fetch.run(stage)
    return stage


def replace_photo(fetched: Stage[Any], index: int, pixels: npt.NDArray[np.uint8]) -> None:
    """Put other pixels of the same size in the place of photograph `index`."""
    manifest = Manifest.read(fetched.path("manifest.jsonl"))
    entries = list(manifest.images())
    entry = entries[index]
    path = fetched.path("images") / entry["file"]
    assert [pixels.shape[1], pixels.shape[0]] == entry["size"]
    Image.fromarray(pixels).save(path, "PNG")
    data = path.read_bytes()
    entries[index] = {**entry, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    write_manifest(manifest.path, manifest.header, entries)


# ------------------------------------------------------------------------- no test pixel is seen in training


def overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def test_boxes_of_the_two_splits_are_disjoint(stage_of: StageOf, photos: Stage[Any]) -> None:
    train, test = stores(prepared(stage_of, photos, image_size=16, train_images=240, test_images=120))
    for photo in PHOTOS:
        boxes = [[tuple(i["box"]) for i in store.manifest if i["file"] == photo.file] for store in (train, test)]
        assert [len(part) for part in boxes] == [40, 20]
        assert not any(overlap(a, b) for a in boxes[0] for b in boxes[1])


@pytest.mark.parametrize("image_size", [16, 64, 256])
def test_paint_on_the_test_part_never_shows_in_training(stage_of: StageOf, photos: Stage[Any], image_size: int) -> None:
    """Also through the resizing filter, and where crops are enlarged."""
    for index, photo in enumerate(PHOTOS):
        with Image.open(photo_folder() / photo.file) as image:
            pixels = np.zeros((image.height, image.width, 3), np.uint8)
        left, top, right, bottom = photo.test_box
        pixels[top:bottom, left:right] = (255, 0, 200)
        replace_photo(photos, index, pixels)
    train, test = stores(prepared(stage_of, photos, image_size=image_size, train_images=60, test_images=30))
    assert all((train[i] == 0).all() for i in range(len(train)))
    assert all((test[i] == (255, 0, 200)).all() for i in range(len(test)))


def test_no_pixel_is_in_both_splits(stage_of: StageOf, photos: Stage[Any]) -> None:
    """Crops at the original scale, of a picture in which each pixel is its own coordinate."""
    width, height, size = 451, 300, 225
    y, x = np.mgrid[:height, :width]
    replace_photo(photos, 0, np.stack([x % 256, y % 256, x // 256 * 16 + y // 256], -1).astype(np.uint8))
    stage = prepared(stage_of, photos, image_size=size, train_images=48, test_images=48)
    seen: list[set[int]] = []
    for store in stores(stage):
        # 225 px is the whole width of the test part, so nothing is resized there; the training part is 226 px wide.
        crops = [store[i] for i, e in enumerate(store.manifest) if e["file"] == "chelsea.png"]
        sides = [e["box"][2] - e["box"][0] for e in store.manifest if e["file"] == "chelsea.png"]
        exact = [crop for crop, side in zip(crops, sides, strict=True) if side == size]
        assert exact
        values = np.unique(np.concatenate([crop.reshape(-1, 3) for crop in exact]).astype(int) @ [1, 256, 65536])
        seen.append(set(values.tolist()))
    assert not seen[0] & seen[1]
    assert len(seen[0]) >= size * size


@given(size=st.integers(8, 300), seed=st.integers(0, 10**6), photo=st.sampled_from(PHOTOS))
def test_crops_stay_in_their_region(size: int, seed: int, photo: Any) -> None:
    left, top, right, bottom = draw_crop([photo.test_box], size, generator(seed))
    assert photo.test_box[0] <= left < right <= photo.test_box[2]
    assert photo.test_box[1] <= top < bottom <= photo.test_box[3]
    assert right - left == bottom - top
    short = min(photo.test_box[2] - photo.test_box[0], photo.test_box[3] - photo.test_box[1])
    assert right - left >= min(size, short)


def test_surrounding_boxes() -> None:
    assert around(10, 6, (3, 0, 7, 6)) == [(0, 0, 3, 6), (7, 0, 10, 6)]
    assert around(10, 6, (0, 4, 10, 6)) == [(0, 0, 10, 4)]


# --------------------------------------------------------------------------------------------------- photos


def test_photos_take_turns(stage_of: StageOf, photos: Stage[Any]) -> None:
    stage = prepared(stage_of, photos, image_size=16, train_images=20, test_images=9)
    train, test = stores(stage)
    assert train.labels == [i % 6 for i in range(20)]
    assert test.labels == [i % 6 for i in range(9)]
    assert train.classes == test.classes == [photo.name for photo in PHOTOS]
    assert train[0].shape == (16, 16, 3)
    summary = json.loads(stage.path("prepare.json").read_text())
    assert summary["train"]["per_class"] == dict(zip(train.classes, [4, 4, 3, 3, 3, 3], strict=True))
    assert summary["test"]["images"] == 9
    names = {"train.zip", "test.zip", "train-conditions.zip", "test-conditions.zip", "prepare.json"}
    assert set(json.loads(stage.path("card.json").read_text())["artifacts"]) == names
    with ImageStore(stage.path("train-conditions.zip")) as none:  # these are no pairs
        assert len(none) == 0
    assert "conditions" not in {*summary, *summary["train"], *summary["test"]}


def test_number_of_threads_changes_no_byte(stage_of: StageOf, photos: Stage[Any]) -> None:
    def made(threads: int) -> list[bytes]:
        stage = prepared(stage_of, photos, threads, image_size=24, train_images=60, test_images=12)
        return [stage.path(name).read_bytes() for name in ("train.zip", "test.zip", "prepare.json")]

    first = made(1)
    assert made(1) == first
    assert made(3) == first


def test_test_set_depends_on_its_own_options_only(stage_of: StageOf, photos: Stage[Any]) -> None:
    few = prepared(stage_of, photos, image_size=16, train_images=6, test_images=6)
    more = prepared(stage_of, photos, image_size=16, train_images=12, test_images=12)
    other = prepared(stage_of, photos, image_size=16, train_images=6, test_images=6, seed=1)
    assert all(np.array_equal(stores(few)[1][i], stores(more)[1][i]) for i in range(6))
    assert not np.array_equal(stores(few)[1][0], stores(other)[1][0])


def test_a_second_process_waits_and_touches_nothing(
    stage_of: StageOf, photos: Stage[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    stage = prepared(stage_of, photos, image_size=16, train_images=6, test_images=6)
    made = {file: file.stat().st_mtime_ns for file in stage.path("").iterdir()}
    second, said = threading.Thread(target=prepare.run, args=(stage,)), ""
    with held(stage.path(".parts.lock")):
        second.start()
        while "another process is preparing this" not in said:
            said += capsys.readouterr().err
            time.sleep(0.01)
    second.join()
    assert {file: file.stat().st_mtime_ns for file in stage.path("").iterdir()} == made
    prepare.run(stage)
    assert stage.path("card.json").stat().st_mtime_ns > made[stage.path("card.json")]


def test_changed_photo_is_named(stage_of: StageOf, photos: Stage[Any]) -> None:
    (photos.path("images") / "coffee.png").write_bytes(b"tea")
    with pytest.raises(DataError, match=r"coffee\.png: changed since"):
        prepared(stage_of, photos, image_size=16, train_images=6, test_images=6)


def test_missing_fetch_is_reported(stage_of: StageOf) -> None:
    with pytest.raises(DataError, match=r"manifest\.jsonl: missing"):
        prepared(stage_of, stage_of(FetchSpec(name="x", fetch=Fetch())), image_size=16)


# --------------------------------------------------------------------------------------------------- folder


def folder_of(path: Path, count: int) -> Path:
    """Pictures of one color each, some of them twice, in two sub-folders."""
    for number in range(count):
        (path / f"{number % 2}").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40 + number, 24), (number, 100, 255 - number)).save(path / f"{number % 2}" / f"{number}.png")
    return path


@pytest.fixture
def folder(tmp_path: Path, stage_of: StageOf) -> Stage[Any]:
    stage = stage_of(FetchSpec(name="mine", fetch=Fetch(source="folder", path=folder_of(tmp_path / "own", 12))))
    fetch.run(stage)
    return stage


def test_folder_is_split_by_content(stage_of: StageOf, folder: Stage[Any]) -> None:
    train, test = stores(prepared(stage_of, folder, image_size=8, train_images=8, test_images=4))
    files = [entry["file"] for store in (train, test) for entry in store.manifest]
    assert len(set(files)) == 12
    for store in (train, test):
        for index, entry in enumerate(store.manifest):
            number = int(Path(entry["file"]).stem)
            assert (store[index] == (number, 100, 255 - number)).all()
            assert store.classes[store.labels[index]] == str(number % 2)
            assert entry["box"][3] - entry["box"][1] == 24


def test_copies_of_a_test_image_are_not_trained_on(tmp_path: Path, stage_of: StageOf) -> None:
    own = folder_of(tmp_path / "own", 6)
    for number in range(6):
        (own / f"copy-{number}.png").write_bytes((own / f"{number % 2}" / f"{number}.png").read_bytes())
    stage = stage_of(FetchSpec(name="mine", fetch=Fetch(source="folder", path=own)))
    fetch.run(stage)
    train, test = stores(prepared(stage_of, stage, image_size=8, train_images=3, test_images=3))
    assert not {e["sha256"] for e in train.manifest} & {e["sha256"] for e in test.manifest}
    with pytest.raises(DataError, match="6 different readable pictures"):
        prepared(stage_of, stage, image_size=8, train_images=4, test_images=3)


def test_too_few_pictures_says_how_many(stage_of: StageOf, folder: Stage[Any]) -> None:
    with pytest.raises(DataError, match=r"has 12 different readable pictures.*100 for training and 2 for testing"):
        prepared(stage_of, folder, image_size=8, train_images=100, test_images=2)


def test_more_training_images_keep_the_test_set(stage_of: StageOf, folder: Stage[Any]) -> None:
    few = prepared(stage_of, folder, image_size=8, train_images=2, test_images=3)
    more = prepared(stage_of, folder, image_size=8, train_images=9, test_images=3)
    assert few.path("test.zip").read_bytes() == more.path("test.zip").read_bytes()


def test_moved_folder_gives_the_same_split(tmp_path: Path, stage_of: StageOf, folder: Stage[Any]) -> None:
    moved = stage_of(FetchSpec(name="moved", fetch=Fetch(source="folder", path=folder_of(tmp_path / "moved", 12))))
    fetch.run(moved)
    first, second = (prepared(stage_of, s, image_size=8, train_images=6, test_images=3) for s in (folder, moved))
    assert first.path("train.zip").read_bytes() == second.path("train.zip").read_bytes()


def test_picture_changed_after_fetch_is_named(
    tmp_path: Path, stage_of: StageOf, folder: Stage[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """Of one picture that is told; of two the run stops."""

    def trained_on() -> list[str]:
        train, _ = stores(prepared(stage_of, folder, image_size=8, train_images=10, test_images=2))
        return [entry["file"] for entry in train.manifest]

    first, second, *others = trained_on()
    Image.new("RGB", (9, 9)).save(tmp_path / "own" / first)
    assert trained_on() == [second, *others]
    assert f"1 of 12 files left out:\n  {first}: {tmp_path}/own/{first}: changed since" in capsys.readouterr().err
    Image.new("RGB", (9, 9)).save(tmp_path / "own" / second)
    with pytest.raises(DataError, match=rf"(?s)2 of 12 files are bad.*{second}: changed since"):
        trained_on()
    assert not list((tmp_path / "results").glob("prepare/*/*.tmp"))
