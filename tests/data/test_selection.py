"""Selection of training and test images: by lists of names, by official splits, with names that differ in case."""

import hashlib
import io
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from palette.config.datasets import Fetch, Squares
from palette.data.selection import read_names
from palette.data.sources.manifest import Manifest
from palette.data.store.store import ImageStore
from palette.errors import DataError
from palette.publish.pages.problems import noticed
from palette.stages import fetch, prepare
from palette.stages.base import Spec
from palette.stages.fetch import FetchSpec
from palette.stages.prepare import PrepareRuntime, PrepareSpec
from palette.stages.stage import Stage
from tests.data.archives import make_zip, png
from tests.data.hostile import saved

StageOf = Callable[[Spec], Stage[Any]]
Prepared = Callable[..., Stage[Any]]


@pytest.fixture
def prepared(stage_of: StageOf) -> Prepared:
    """A function (options of `fetch`, those of `prepare`, its list) → the finished prepare stage."""

    def run(source: Mapping[str, Any], test_list: Path | None = None, **options: Any) -> Stage[Any]:
        fetched = stage_of(FetchSpec(name="mine", fetch=Fetch(**source)))
        fetch.run(fetched)
        runtime = PrepareRuntime(threads=2, test_list=test_list)
        squares, parents = Squares(**{"image_size": 8, **options}), {"fetch": fetched.spec.folder}
        stage = stage_of(PrepareSpec(name="mine", prepare=squares, parents=parents, runtime=runtime))
        prepare.run(stage)
        return stage

    return run


def files(stage: Stage[Any], split: str) -> list[str]:
    """The original names of a split's images, in their order."""
    with ImageStore(stage.path(f"{split}.zip")) as store:
        return [entry["file"] for entry in store.manifest]


def facts(stage: Stage[Any]) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(stage.path("prepare.json").read_text())
    return content


def written(folder: Path, content: Mapping[str, bytes]) -> Path:
    for name, data in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


# --------------------------------------------------------------------------------------------- lists of names

NAMES = ("a/1.png", "a/2.png", "b/1.png", "b/3.png", "c.d/4.png", "5.png")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return written(tmp_path / "own", {name: png(number) for number, name in enumerate(NAMES)})


@pytest.fixture
def listed(tmp_path: Path, own: Path, prepared: Prepared) -> Callable[..., Stage[Any]]:
    """A function (bytes of the list, number of test images) → the prepare stage of `own`, all else for training."""

    def run(content: bytes, count: int) -> Stage[Any]:
        (tmp_path / "names.txt").write_bytes(content)
        source = {"source": "folder", "path": own}
        return prepared(source, tmp_path / "names.txt", train_images=None, test_images=count)

    return run


def test_test_images_come_in_the_order_of_their_list(listed: Callable[..., Stage[Any]]) -> None:
    """By path or its end, with an ending or without; what comes after `test_images` names is not read."""
    stage = listed(b"b/3.png\n5\na/1\nc.d/4.png\na/2.png\n", 4)
    assert files(stage, "test") == ["b/3.png", "5.png", "a/1.png", "c.d/4.png"]
    assert sorted(files(stage, "train")) == ["a/2.png", "b/1.png"]


@pytest.mark.parametrize(
    "content",
    [
        b"b/3.png\r\n5.png\r\na/1.png\r\n",
        b"\n\nb/3.png\n\n  5.png\t\n\r\na/1.png",
        b"\xef\xbb\xbfb/3.png\n5.png\na/1.png\n",
    ],
    ids=["lines that end as on Windows", "empty lines and blanks", "a byte-order mark"],
)
def test_format_of_lists(listed: Callable[..., Stage[Any]], content: bytes) -> None:
    assert files(listed(content, 3), "test") == ["b/3.png", "5.png", "a/1.png"]


def test_a_name_is_the_whole_line(tmp_path: Path, own: Path, prepared: Prepared) -> None:
    """Nothing is a comment: pictures may be called so."""
    written(own, {"# 7 é\u2028.png": png(7)})
    (tmp_path / "names.txt").write_text("# 7 é\u2028.png\na/1\n", encoding="utf-8")
    stage = prepared({"source": "folder", "path": own}, tmp_path / "names.txt", train_images=4, test_images=2)
    assert files(stage, "test") == ["# 7 é\u2028.png", "a/1.png"]


def test_a_full_path_takes_precedence_over_the_end_of_another(tmp_path: Path, own: Path, prepared: Prepared) -> None:
    """Else nothing could name a picture that lies directly in the folder."""
    written(own, {"x/5.png": png(8)})
    (tmp_path / "names.txt").write_text("5.png\nx/5.png\n")
    stage = prepared({"source": "folder", "path": own}, tmp_path / "names.txt", train_images=4, test_images=2)
    assert files(stage, "test") == ["5.png", "x/5.png"]


@pytest.mark.parametrize(
    ("content", "count", "says"),
    [
        (b"5\nb/9.png\n", 2, r"names\.txt \(`test_list`.*1 of 2 names are of no readable picture.*b/9\.png: no such picture"),
        (b"1.png\n5\n", 2, r"names\.txt.*1 are of several:\n  1\.png: several pictures\nWrite more of its path"),
        (b"5\na/1.png\n5\n", 3, r"names\.txt: 5 is listed twice\..*remove one line"),
        (b"a/1.png\n5\na/1\n", 3, r"names\.txt: a/1\.png and a/1 are the same picture\..*remove one line"),
        (b"5\n", 2, r"names\.txt: has 1 names, but `test_images` is 2"),
        (b"\xff\xfe5\n", 2, r"names\.txt: not in UTF-8"),
    ],
    ids=["missing", "several", "twice", "twice by two names", "too few", "no text"],
)  # fmt: skip
def test_wrong_lists(listed: Callable[..., Stage[Any]], content: bytes, count: int, says: str) -> None:
    with pytest.raises(DataError, match=f"(?s){says}"):
        listed(content, count)


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.txt: not readable \(No such file"):
        read_names(tmp_path / "gone.txt", 2)


def test_pictures_with_the_bytes_of_a_listed_one_are_not_trained_on(
    listed: Callable[..., Stage[Any]], own: Path
) -> None:
    """Also where the list names the copy that comes later."""
    written(own, {"z/copy.png": png(0)})
    stage = listed(b"z/copy.png\n5\n", 2)
    assert sorted(files(stage, "train")) == ["a/2.png", "b/1.png", "b/3.png", "c.d/4.png"]


# --------------------------------------------------------------------------------------------- the drawn split


@pytest.mark.parametrize("seed", [0, 1])
def test_the_seed_and_the_content_draw_the_split(own: Path, prepared: Prepared, seed: int) -> None:
    """The first bytes of SHA-256 of the seed and a picture's own SHA-256, as a little-endian number: the lowest are tested on."""
    digests = {name: hashlib.sha256((own / name).read_bytes()).hexdigest() for name in NAMES}
    keys = {name: hashlib.sha256(f"{seed} {digest}".encode()).digest()[:8][::-1] for name, digest in digests.items()}
    drawn = sorted(NAMES, key=keys.__getitem__)
    stage = prepared({"source": "folder", "path": own}, train_images=3, test_images=2, seed=seed)
    assert files(stage, "test") == drawn[:2]
    assert sorted(files(stage, "train")) == sorted(drawn[2:5])


def test_no_pictures_to_train_on(splits: dict[str, Any], prepared: Prepared) -> None:
    """`null` asks for all that there are, and none would only be noticed by the training; 0 asks for none."""
    for file in (splits["path"] / "train").iterdir():
        file.unlink()
    (splits["path"] / "train/7.png").write_bytes((splits["path"] / "test/100.png").read_bytes())
    with pytest.raises(DataError, match=r"0 to train on and 4 to test on\), but 1 for training"):
        prepared(splits, train_images=None, test_images=4, duplicates="drop")
    assert files(prepared(splits, train_images=0, test_images=4, duplicates="drop"), "train") == []


# -------------------------------------------------------------------------- duplicates between official splits


def photograph(seed: int) -> Image.Image:
    """Something with a look of its own: eight by eight soft spots."""
    spots = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(spots).resize((96, 96), Image.Resampling.BICUBIC)


def near(seed: int) -> bytes:
    """The same photograph, smaller and compressed."""
    return saved(photograph(seed).resize((80, 80)), "JPEG", quality=75)


@pytest.fixture
def splits(tmp_path: Path) -> dict[str, Any]:
    """Ten training and four test pictures. 0 of the training is test picture 100, byte for byte; 1 and 2 look like 101."""
    own = {f"train/{n}.png": saved(photograph(n), "PNG") for n in range(3, 10)}
    own |= {f"test/{n}.png": saved(photograph(n), "PNG") for n in range(100, 104)}
    own |= {
        "train/0.png": own["test/100.png"],
        "train/1.jpg": near(101),
        "train/2.webp": saved(photograph(101), "WebP"),
    }
    folder = written(tmp_path / "own", own)
    return {"source": "folder", "path": folder, "splits": {"train": "train", "test": "test"}}


def test_duplicates_leave_training_and_stay_in_the_test_set(splits: dict[str, Any], prepared: Prepared) -> None:
    stage = prepared(splits, train_images=None, test_images=4, duplicates="drop")
    assert sorted(files(stage, "test")) == [f"test/{n}.png" for n in range(100, 104)]
    assert sorted(files(stage, "train")) == [f"train/{n}.png" for n in range(3, 10)]
    found = facts(stage)["duplicates"]
    assert {name: found[name] for name in ("option", "copies", "equal", "near")} == {
        "option": "drop", "copies": 1, "equal": 0, "near": 2,
    }  # fmt: skip
    assert [pair["train"] for pair in found["examples"]] == ["train/1.jpg", "train/2.webp"]
    assert facts(stage)["train"]["images"] == 7


def test_kept_duplicates_are_reported(splits: dict[str, Any], prepared: Prepared) -> None:
    stage = prepared(splits, train_images=None, test_images=4)
    found = facts(stage)["duplicates"]
    assert [found[name] for name in ("option", "copies", "equal", "near")] == ["report", 0, 1, 2]
    tests = files(stage, "test")
    with ImageStore(stage.path("train.zip")) as store:
        like = {entry["file"]: entry["like"] for entry in store.manifest if "like" in entry}
        assert len(store) == 10
    assert {file: (tests[pair["test"]], pair["equal"]) for file, pair in like.items()} == {
        "train/0.png": ("test/100.png", True),
        "train/1.jpg": ("test/101.png", False),
        "train/2.webp": ("test/101.png", False),
    }
    assert like["train/0.png"]["bits"] == 0
    assert all(0 <= pair["bits"] <= 4 for pair in like.values())
    assert found["examples"] == [{"train": file, **pair} for file, pair in like.items()]


@pytest.mark.parametrize(("option", "fate"), [("drop", "left out of training"), ("report", "kept in training")])
def test_the_report_lists_duplicates(splits: dict[str, Any], prepared: Prepared, option: str, fate: str) -> None:
    stage = prepared(splits, train_images=None, test_images=4, duplicates=option)
    told = noticed(Manifest.read(stage.parent("fetch", "manifest.jsonl")), facts(stage))
    equal = "copies of a test image" if option == "drop" else "equal to a test image"
    assert {line.what: line.count for line in told} == {f"{equal}: {fate}": 1, f"similar to a test image: {fate}": 2}


def test_pictures_without_splits_are_never_in_both(tmp_path: Path, splits: dict[str, Any], prepared: Prepared) -> None:
    """Equal bytes count once; what only looks alike is dropped where that is asked for, whichever side it was drawn to."""
    del splits["splits"]
    stage = prepared(splits, train_images=None, test_images=4, duplicates="drop")
    tests, train = files(stage, "test"), files(stage, "train")
    alike = {"train/1.jpg", "train/2.webp", "test/101.png"}
    assert not (alike & {*tests} and alike & {*train})
    assert len({*tests, *train} & {"train/0.png", "test/100.png"}) == 1
    assert len(tests) == 4


# ------------------------------------------------------------------------------- names that differ in case only


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_names_that_differ_in_case_only(tmp_path: Path, prepared: Prepared, kind: str) -> None:
    """All are kept and listed, and the store could be unpacked on a disk that knows no case."""
    content = {
        "a/Cat.png": png(0),
        "a/cat.png": png(1),
        "A/cat.PNG": png(2),
        "b/dog.png": png(3),
        "b/Straße.png": png(4),
    }
    content["b/STRASSE.png"] = png(5)
    path = make_zip(tmp_path / "own.zip", content) if kind == "zip" else written(tmp_path / "own", content)
    if kind == "folder" and sum(file.is_file() for file in path.rglob("*")) < len(content):
        pytest.skip("this disk knows no case")
    stage = prepared({"source": "archive" if kind == "zip" else "folder", "path": path}, train_images=4, test_images=2)
    assert sorted(files(stage, "train") + files(stage, "test")) == sorted(content)
    same = facts(stage)["same_names"]
    assert same["count"] == 5
    assert sorted(map(sorted, same["names"])) == [
        ["A/cat.PNG", "a/Cat.png", "a/cat.png"],
        ["b/STRASSE.png", "b/Straße.png"],
    ]
    for split in ("train", "test"):
        with ImageStore(stage.path(f"{split}.zip")) as store:
            assert len({name.casefold() for name in store.names}) == len(store)
            for index, entry in enumerate(store.manifest):
                with Image.open(io.BytesIO(content[entry["file"]])) as image:
                    left, top, right, bottom = entry["box"]
                    expected = image.crop((left, top, right, bottom)).resize((8, 8), Image.Resampling.LANCZOS)
                assert np.array_equal(store[index], np.asarray(expected))
    told = noticed(Manifest.read(stage.parent("fetch", "manifest.jsonl")), facts(stage))
    assert [(line.what, line.count) for line in told] == [("names that differ in case only: all kept", 5)]
    assert re.search(r"a/Cat\.png, a/cat\.png|A/cat\.PNG", told[0].examples[0])
