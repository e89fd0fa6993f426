"""Outputs of other methods: each image is matched with its test image, and images that do not fit are named."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from palette.data.external_outputs import images_of, listing
from palette.data.sources.matching import matched
from palette.data.store.store import ImageStore, StoredImage, image_name, write_store
from palette.errors import DataError
from palette.stages import sample
from palette.stages.sample import SampleRuntime
from tests.tiny import SIZE, pictures, sample_spec, stage, train_spec

ORIGINALS = [f"n0{i % 2}/ILSVRC2012_val_{i:08}.JPEG" for i in range(3, 9)]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A prepare stage of six test images whose originals are known."""
    write_tests(tmp_path / "results", ORIGINALS)
    return tmp_path / "results"


def write_tests(results: Path, originals: list[str]) -> None:
    """A prepare stage of one test image for each of `originals`."""
    items = (
        StoredImage(image_name(i), image, i % 2, {"file": file})
        for i, (image, file) in enumerate(zip(pictures(len(originals)), originals, strict=True))
    )
    write_store(results / "prepare/tiny/test.zip", items, ["even", "odd"])


def store(results: Path) -> ImageStore:
    return ImageStore(results / "prepare/tiny/test.zip")


def match(folder: Path, tests: ImageStore, by: str | None = None) -> list[str]:
    return matched(folder, images_of(folder), tests, "folders.mine.match_by", by)


def outputs(folder: Path, names: list[str], size: int = SIZE) -> Path:
    """Images of one gray level each, by number."""
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (size, size), (number, number, number)).save(folder / name)
    return folder


NAMES = {
    "paths": [file.replace("JPEG", "png") for file in ORIGINALS],
    "names": [Path(file).with_suffix(".bmp").name for file in ORIGINALS],
    "numbers": [f"{i:08}.png" for i in range(6)],
    "store": [f"{i // 1000:05}/img{i:08}.png" for i in range(6)],
    "flat": [f"img{i:08}.png" for i in range(6)],
}


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
def test_images_are_found_by_the_originals_names_or_by_number(results: Path, tmp_path: Path, names: list[str]) -> None:
    with store(results) as tests:
        assert match(outputs(tmp_path / "out", names), tests) == names


def test_missing_and_extra_images_are_named(results: Path, tmp_path: Path) -> None:
    folder = outputs(tmp_path / "out", ["00000000.png", "00000002.png", "00000002.jpg", "00000009.png", "00000004.png"])
    with store(results) as tests, pytest.raises(DataError) as error:
        match(folder, tests)
    lines = str(error.value).splitlines()
    assert "named as numbers; problems: 5" in lines[0]
    assert "missing: 00000001.*, of test image 1" in lines[1]
    assert "  of no test image: 00000009.png" in lines
    assert "  which one: 00000002.jpg or 00000002.png" in lines


def test_ambiguous_names_are_refused_until_match_by_is_set(results: Path, tmp_path: Path) -> None:
    """The originals have numbers of eight digits too, in the order in which test images are drawn."""
    numbers = [3, 0, 5, 1, 4, 2]
    write_tests(results, [f"{number:08}.jpg" for number in numbers])
    folder = outputs(tmp_path / "out", NAMES["numbers"])
    with pytest.raises(
        DataError, match=r"as numbers, test image 0 has 00000000\.png; as the originals, .* 00000003\.png"
    ):
        sample.run(folder_spec(results, folder), 0)
    for by, expected in (("originals", numbers), ("numbers", list(range(6)))):
        one = folder_spec(results, folder, match_by=by)
        sample.run(one, 0)
        with ImageStore(one.path("shard-000.zip")) as made:
            assert [int(made[index][0, 0, 0]) for index in range(4)] == expected[:4]
    assert len({folder_spec(results, folder, match_by=by).spec.hash for by in (None, "originals", "numbers")}) == 3


def test_names_with_the_same_meaning_both_ways_are_accepted(results: Path, tmp_path: Path) -> None:
    write_tests(results, NAMES["numbers"])
    with store(results) as tests:
        assert match(outputs(tmp_path / "out", NAMES["numbers"]), tests) == NAMES["numbers"]


def test_crops_of_one_photograph_are_distinguished_by_number_only(results: Path, tmp_path: Path) -> None:
    write_tests(results, ["cat.jpg", "cat.jpg", "dog.jpg"])
    with store(results) as tests:
        assert match(outputs(tmp_path / "out", NAMES["numbers"][:3]), tests) == NAMES["numbers"][:3]
        for by in (None, "originals"):
            with pytest.raises(DataError):
                match(outputs(tmp_path / "names", ["cat.png", "dog.png"]), tests, by)


def folder_spec(results: Path, folder: Path, count: int = 6, **changes: object):  # type: ignore[no-untyped-def]
    return stage(
        results,
        sample_spec(
            train_spec(),
            baseline="folder",
            sampler=None,
            parents={"prepare": "prepare/tiny"},
            outputs=listing(folder),
            runtime=SampleRuntime(folder=folder),
            count=count,
            **changes,
        ),
    )


def test_ten_problems_are_listed_and_the_others_counted(results: Path, tmp_path: Path) -> None:
    folder = outputs(tmp_path / "out", [f"other-{number}.png" for number in range(6)])
    with store(results) as tests, pytest.raises(DataError) as error:
        match(folder, tests)
    lines = str(error.value).splitlines()
    assert "problems: 12." in lines[0]
    assert len(lines) == 1 + 10 + 1
    assert lines[-1].strip() == "and 2 more"


def test_they_become_a_store_of_samples_like_a_models(results: Path, tmp_path: Path) -> None:
    one = folder_spec(results, outputs(tmp_path / "out", NAMES["names"]))
    for shard in (0, 1):
        sample.run(one, shard)
    with ImageStore(one.path("shard-001.zip")) as made, ImageStore(one.path("draws-001.zip")) as further:
        assert made.names == ["00000004.png", "00000005.png"]
        assert made.manifest[0]["original"] == image_name(4)
        assert (made[1] == np.full((SIZE, SIZE, 3), 5)).all()
        assert len(further) == 0


def test_images_of_another_size_and_damaged_ones_are_named(results: Path, tmp_path: Path) -> None:
    folder = outputs(tmp_path / "out", NAMES["numbers"])
    outputs(folder, ["00000000.png", "00000001.png"], size=SIZE + 1)
    (folder / "00000003.png").write_bytes(b"no picture")
    one = folder_spec(results, folder)
    with pytest.raises(DataError) as error:
        sample.run(one, 0)
    text = str(error.value)
    assert f"3 of 4 files are not images of {SIZE} × {SIZE} pixels" in text
    assert f"00000001.png: {SIZE + 1} × {SIZE + 1} pixels" in text
    assert "00000003.png: not readable" in text
    assert not one.path("shard-000.zip").exists()


def test_a_changed_file_is_another_stage_and_another_place_is_not(results: Path, tmp_path: Path) -> None:
    folder, moved = (outputs(tmp_path / name, NAMES["numbers"]) for name in ("out", "moved"))
    before = folder_spec(results, folder).spec.hash
    assert folder_spec(results, moved).spec.hash == before
    (moved / "00000002.png").rename(moved / "00000007.png")
    assert folder_spec(results, moved).spec.hash != before
    with (folder / "00000002.png").open("ab") as file:
        file.write(b"more")
    assert folder_spec(results, folder).spec.hash != before
