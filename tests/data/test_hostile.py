"""A corpus of hostile images through fetch and prepare, and readers under random bytes."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from palette.config.datasets import Fetch, Squares
from palette.data.images.pictures import UNREADABLE, read_picture
from palette.data.sources.manifest import Manifest
from palette.data.store.store import ImageStore, StoredImage, write_store
from palette.errors import DataError
from palette.stages import fetch, prepare
from palette.stages.base import Spec
from palette.stages.fetch import FetchSpec
from palette.stages.prepare import PrepareRuntime, PrepareSpec
from palette.stages.stage import Stage
from tests.data.hostile import BY_NAME, CORPUS, saved, table

StageOf = Callable[[Spec], Stage[Any]]
BOUNDED = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def fetched(tmp_path: Path, stage_of: StageOf) -> Stage[Any]:
    folder = tmp_path / "own"
    folder.mkdir()
    for case in CORPUS:
        (folder / case.name).write_bytes(case.data)
    stage = stage_of(FetchSpec(name="hostile", fetch=Fetch(source="folder", path=folder)))
    fetch.run(stage)
    return stage


def prepared(stage_of: StageOf, fetched: Stage[Any], **runtime: Any) -> Stage[Any]:
    good = sum(case.taken for case in CORPUS)
    stage = stage_of(
        PrepareSpec(
            name="hostile",
            parents={"fetch": fetched.spec.folder},
            prepare=Squares(image_size=8, train_images=good - 2, test_images=2),
            runtime=PrepareRuntime(threads=2, **runtime),
        )
    )
    prepare.run(stage)
    return stage


def test_every_file_is_accepted_or_listed(stage_of: StageOf, fetched: Stage[Any]) -> None:
    manifest = Manifest.read(fetched.path("manifest.jsonl"))
    rejected = {entry["file"]: entry["reason"] for entry in manifest.rejected()}
    assert {*rejected} == {case.name for case in CORPUS if not case.taken}
    for name, reason in rejected.items():
        assert BY_NAME[name].gets in reason, (name, reason)
    stage = prepared(stage_of, fetched, bad_limit=1)
    notes: dict[str, list[str]] = {}
    for split in ("train", "test"):
        with ImageStore(stage.path(f"{split}.zip")) as store:
            assert all(store[i].shape == (8, 8, 3) for i in range(len(store)))
            notes |= {entry["file"]: entry.get("converted", []) for entry in store.manifest}
    assert {name: ", ".join(found) for name, found in notes.items()} == {
        case.name: case.gets for case in CORPUS if case.taken
    }
    facts = json.loads(stage.path("prepare.json").read_text())
    assert facts["files"]["bad"] == len(rejected)
    assert {example["file"] for example in facts["files"]["examples"]} <= {*rejected}
    assert facts["train"]["converted"].get("CMYK", 0) + facts["test"]["converted"].get("CMYK", 0) == 1


def test_too_many_bad_files_stop_the_run(stage_of: StageOf, fetched: Stage[Any]) -> None:
    one_too_many = len(CORPUS) // 10 + 1
    says = rf"{one_too_many} of {len(CORPUS)} files are bad.*`bad_limit` is 10\.00%(?s:.*)raise `bad_limit`"
    with pytest.raises(DataError, match=says):
        prepared(stage_of, fetched, bad_limit=0.1)


@pytest.mark.parametrize(
    ("good", "bad", "options", "says"),
    [
        (299, 1, {}, ""),
        (299, 1, {"bad_limit": 0.001}, ""),
        (298, 2, {}, r"2 of 300 files are bad up to here \(0\.67%\), and `bad_limit` is 0\.10%"),
        (298, 2, {"bad_limit": 0.01}, ""),
        (296, 4, {"bad_limit": 0.01}, r"4 of 300 files"),
        (299, 1, {"bad_limit": 0}, r"1 of 300 files.*`bad_limit` is 0\.00%"),
        (299, 1, {"strict": True}, "a bad file, and `strict` is set"),
        (300, 0, {"strict": True, "bad_limit": 0}, ""),
    ],
)
def test_one_bad_photograph_among_hundreds_does_not_stop_the_run(
    tmp_path: Path, stage_of: StageOf, good: int, bad: int, options: dict[str, Any], says: str
) -> None:
    (tmp_path / "own").mkdir()
    for number in range(good + bad):
        data = saved(Image.new("RGB", (8, 8), (number % 256, number // 256, 0)), "PNG")
        (tmp_path / f"own/{number:03}.png").write_bytes(data if number >= bad else data[:-20])
    stage = stage_of(FetchSpec(name="own", fetch=Fetch(source="folder", path=tmp_path / "own")))
    fetch.run(stage)
    spec = PrepareSpec(
        name="own",
        parents={"fetch": stage.spec.folder},
        prepare=Squares(image_size=8, train_images=None, test_images=2),
        runtime=PrepareRuntime(**options),
    )
    made = stage_of(spec)
    if says:
        with pytest.raises(DataError, match=f"(?s)prepare own: {says}"):
            prepare.run(made)
        return
    prepare.run(made)
    facts = json.loads(made.path("prepare.json").read_text())
    assert (facts["files"]["listed"], facts["files"]["bad"]) == (300, bad)
    assert facts["train"]["images"] == good - 2


def test_strict_stops_at_the_first(stage_of: StageOf, fetched: Stage[Any]) -> None:
    with pytest.raises(DataError, match=r"a bad file, and `strict` is set:\n  [^\n]+\nRepair"):
        prepared(stage_of, fetched, bad_limit=1, strict=True)


def test_the_table_of_the_docs_is_this_corpus(checkout: Path) -> None:
    assert table() in (checkout / "docs/datasets.md").read_text(encoding="utf-8")


# --------------------------------------------------------------------------------------- readers under random bytes


@BOUNDED
@given(seed=st.integers(0, 10**9), case=st.sampled_from(CORPUS), changes=st.integers(1, 30))
def test_the_picture_reader_knows_all_its_errors(seed: int, case: Any, changes: int) -> None:
    """Bytes changed, cut and doubled: a picture, or one of the errors that are expected."""
    generator, data = random.Random(seed), bytearray(case.data)
    for _ in range(changes):
        if not data:
            break
        place = generator.randrange(len(data))
        match generator.randrange(4):
            case 0:
                data[place] = generator.randrange(256)
            case 1:
                del data[place : place + generator.randrange(1, 9)]
            case 2:
                data[place:place] = data[place : place + 16]
            case _:
                data[place : place + 4] = generator.choice([b"\xff\xff\xff\xff", bytes(4), b"\x7f\xff\xff\xff"])
    try:
        picture = read_picture(bytes(data), case.name)
    except UNREADABLE:
        return
    assert picture.pixels.mode == "RGB"


@BOUNDED
@given(data=st.binary(max_size=300))
def test_the_picture_reader_on_noise(data: bytes) -> None:
    with pytest.raises(UNREADABLE):
        read_picture(data)


@BOUNDED
@given(seed=st.integers(0, 10**9), changes=st.integers(1, 6), tail=st.booleans())
def test_the_store_reader_knows_all_its_errors(tmp_path: Path, seed: int, changes: int, tail: bool) -> None:
    """A damaged store gives its images, all of them right, or says that it is damaged."""
    path, generator = tmp_path / "s.zip", random.Random(seed)
    images = [np.full((4, 4, 3), value, np.uint8) for value in range(9)]
    write_store(path, (StoredImage(f"{i}.png", image) for i, image in enumerate(images)), ["a"])
    data = bytearray(path.read_bytes())
    for _ in range(changes):
        place = generator.randrange(len(data) * 2 // 3 if tail else 0, len(data))
        if generator.randrange(5):
            data[place] = generator.randrange(256)
        else:
            del data[place : place + generator.randrange(1, 40)]
    path.write_bytes(data)
    try:
        with ImageStore(path) as store:
            assert len(store.names) == len(store)
            _ = store.labels, store.classes
            if len(store) == 9:
                assert all(np.array_equal(store[i], images[i]) for i in range(9))
    except DataError:
        pass
