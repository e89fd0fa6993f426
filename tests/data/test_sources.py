"""Every kind of source, from the user's files to the bytes of each image; published datasets as small stand-ins."""

import hashlib
import io
import json
import pickle
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import savemat

from palette.config.datasets import DataFile, Fetch, KnownDataset, Squares
from palette.data.sources.files import VARIABLE, Missing
from palette.data.sources.imagenet import kit_labels
from palette.data.sources.manifest import Manifest, opener
from palette.data.sources.planned import downloads, missing, survey
from palette.data.sources.registry import built_in
from palette.data.sources.splits import read_flist, splits_of
from palette.data.store.store import ImageStore, StoredImage, decode, write_store
from palette.errors import ConfigError, DataError
from palette.stages import fetch, prepare
from palette.stages.base import Runtime, Spec
from palette.stages.fetch import FetchSpec
from palette.stages.prepare import PrepareRuntime, PrepareSpec
from palette.stages.stage import Stage
from palette.system import download
from tests.data.archives import jpeg, make_tar, make_zip, png, tar_bytes
from tests.web import Site, drop, wrong_byte

StageOf = Callable[[Spec], Stage[Any]]
Fetched = Callable[..., Manifest]


@pytest.fixture
def fetched(stage_of: StageOf) -> Fetched:
    """A function (options of `fetch`) → the manifest; `known` is an entry of the registry."""

    def run(known: KnownDataset | None = None, threads: int = 2, **options: Any) -> Manifest:
        spec = FetchSpec(name="mine", fetch=Fetch(**options), known=known, runtime=Runtime(threads=threads))
        stage = stage_of(spec)
        fetch.run(stage)
        return Manifest.read(stage.path("manifest.jsonl"))

    return run


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(download, "LONGEST_PAUSE", 0.0)
    site = Site()
    yield site
    site.close()


def facts(manifest: Manifest) -> dict[str, tuple[str, str | None]]:
    """File → class and split; and the bytes of each are read and checked."""
    read = opener(manifest)
    assert all(len(read(entry)) == entry["bytes"] for entry in manifest.images())
    return {entry["file"]: (entry["class"], entry.get("split")) for entry in manifest.images()}


def write(root: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def data_file(path: Path, **changes: Any) -> DataFile:
    """The registry's entry of a file on disk."""
    content = path.read_bytes()
    known = {"file": path.name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    return DataFile(**{**known, **changes})


def stand_in(name: str, train: int, test: int, files: tuple[DataFile, ...] | None = None) -> KnownDataset:
    """A published dataset of fewer pictures, and of other files if they are given."""
    changes: dict[str, Any] = {"images": {"train": train, "test": test}} | ({"files": files} if files else {})
    return built_in()[name].model_copy(update=changes)


# ------------------------------------------------------------------------------------ folders with splits

TREE = {f"{part}/{'ab'[n % 2]}/{n}.png": png(10 * i + n) for i, part in enumerate(("train", "val")) for n in range(3)}


def test_sub_folders_as_splits(tmp_path: Path, fetched: Fetched) -> None:
    root = write(tmp_path / "own", {**TREE, "other/x.png": png(99)})
    manifest = fetched(source="folder", path=root, splits={"train": "train", "test": "val"})
    assert facts(manifest) == {
        **{f"train/{'ab'[n % 2]}/{n}.png": ("ab"[n % 2], "train") for n in range(3)},
        **{f"val/{'ab'[n % 2]}/{n}.png": ("ab"[n % 2], "test") for n in range(3)},
    }
    assert manifest.classes == ["a", "b"]


def test_lists_as_splits(tmp_path: Path, fetched: Fetched) -> None:
    root = write(tmp_path / "own", {**TREE, "a/# not a comment.png": png(50), "a/ blank .png": png(51)})
    names = ["a/# not a comment.png", "a/ blank .png", str(root / "train/a/0.png")]
    (root / "train.flist").write_text("\n".join(names) + "\n\n")
    (tmp_path / "test.flist").write_bytes("\ufeffval/b/1.png\r\nval/gone.png".encode())
    splits = {"train": "train.flist", "test": str(tmp_path / "test.flist")}
    manifest = fetched(source="folder", path=root, splits=splits)
    assert facts(manifest) == {
        "a/# not a comment.png": ("a", "train"),
        "a/ blank .png": ("a", "train"),
        "train/a/0.png": ("train", "train"),
        "val/b/1.png": ("val", "test"),
    }
    assert [entry["file"] for entry in manifest.rejected()] == ["val/gone.png"]


def test_lists_of_the_unofficial_code(tmp_path: Path, fetched: Fetched) -> None:
    """Absolute paths, or paths from the list's own folder, without a `path`."""
    write(tmp_path / "images/cats", {"1.png": png(1), "2.png": png(2)})
    (tmp_path / "train.flist").write_text(f"{tmp_path}/images/cats/1.png\n")
    (tmp_path / "test.flist").write_text("images/cats/2.png\n")
    splits = {split: str(tmp_path / f"{split}.flist") for split in ("train", "test")}
    manifest = fetched(source="folder", splits=splits)
    folder = str(tmp_path / "images/cats").lstrip("/")
    assert facts(manifest) == {f"{folder}/1.png": ("cats", "train"), f"{folder}/2.png": ("cats", "test")}


@pytest.mark.parametrize(
    ("train", "test", "says"),
    [
        (b"a.png\n", b"a.png\n", "in the list of the other split too"),
        (b"../up.png\n", b"a.png\n", "leads out of its folder"),
        (b"/etc/x.png\n", b"a.png\n", "does not lie in"),
        (b"a\xff.png\n", b"b.png\n", "not in UTF-8"),
        (b"x" * 5000, b"b.png\n", "train.flist:1: not a path"),
        (b"a\0.png", b"b.png\n", "not a path"),
    ],
)
def test_bad_lists(tmp_path: Path, train: bytes, test: bytes, says: str) -> None:
    write(tmp_path, {"train.flist": train, "test.flist": test})
    with pytest.raises(DataError, match=says):
        splits_of({"train": "train.flist", "test": "test.flist"}, tmp_path)


@given(st.binary(max_size=300))
def test_any_list_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = tmp_path_factory.mktemp("l") / "x.flist"
    file.write_bytes(content)
    try:
        lines = list(read_flist(file))
    except DataError:
        return
    kept = [line.removesuffix("\r") for line in content.decode().removeprefix("\ufeff").split("\n")]
    assert lines == [line for line in kept if line]


# -------------------------------------------------------------------------------------------------- archives


@pytest.mark.parametrize("kind", ["x.zip", "x.tar", "x.tar.gz"])
def test_a_local_archive(tmp_path: Path, fetched: Fetched, kind: str) -> None:
    files = {"a/1.png": png(1), "b/c/2.png": png(2), "3.png": png(3), "bad.png": b"x", "notes.txt": b"n"}
    make = make_zip if kind == "x.zip" else make_tar
    path = make(tmp_path / kind, files) if kind != "x.tar.gz" else make_tar(tmp_path / kind, files, "w:gz")
    manifest = fetched(source="archive", path=path)
    assert facts(manifest) == {"a/1.png": ("a", None), "b/c/2.png": ("b", None), "3.png": ("x", None)}
    assert {entry["file"]: entry["reason"].split(":")[0] for entry in manifest.rejected()} == {
        "bad.png": "not an image, despite its file extension",
        "notes.txt": "unsupported file extension; supported",
    }
    assert (manifest.containers[0] == path) == (kind != "x.tar.gz")
    assert not list(tmp_path.rglob("*.png"))  # nothing was unpacked


def test_splits_inside_an_archive(tmp_path: Path, fetched: Fetched) -> None:
    path = make_tar(tmp_path / "set.tar", {f"set/{name}": content for name, content in TREE.items()})
    manifest = fetched(source="archive", path=path, splits={"train": "set/train", "test": "set/val"})
    assert set(facts(manifest).values()) == {("a", "train"), ("b", "train"), ("a", "test"), ("b", "test")}


def test_splits_of_a_zip_made_on_windows(tmp_path: Path, fetched: Fetched) -> None:
    names = [name.replace("/", "\\") for name in TREE]
    path = make_zip(tmp_path / "set.zip", dict(zip(names, TREE.values(), strict=True)))
    splits = {"train": "train", "test": "val"}
    assert facts(fetched(source="archive", path=path, splits=splits)) == {
        name: (name.split("/")[1], {"train": "train", "val": "test"}[name.split("/")[0]]) for name in TREE
    }


def test_a_misspelled_split_of_an_archive(tmp_path: Path, fetched: Fetched) -> None:
    """A ZIP has a list, so that the plan knows; a tar has none, and `fetch` says it."""
    splits = {"train": "set/trian", "test": "set/val"}
    tree = {f"set/{name}": content for name, content in TREE.items()}
    options = Fetch(source="archive", path=make_zip(tmp_path / "set.zip", tree), splits=splits)
    with pytest.raises(ConfigError, match=r"splits\.train: no pictures in 'set/trian' of .*: set/train, set/val\."):
        survey(FetchSpec(name="mine", fetch=options), tmp_path)
    with pytest.raises(DataError, match=r"in the split `train`, 'set/trian'"):
        fetched(source="archive", path=make_tar(tmp_path / "set.tar", tree), splits=splits)


def test_archives_from_the_web(tmp_path: Path, fetched: Fetched, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "shared"))
    train, test = tar_bytes({"a/1.png": png(1)}), tar_bytes({"a/2.png": png(2)})
    files = [
        {"file": "train.tar", "urls": [site.offer("/none", b"", wrong_byte), site.offer("/train", train, drop(600))],
         "sha256": hashlib.sha256(train).hexdigest(), "split": "train"},
        {"file": "test.tar", "urls": [site.offer("/test", test)], "split": "test"},
    ]  # fmt: skip
    manifest = fetched(source="archive", files=files)
    assert facts(manifest) == {"a/1.png": ("a", "train"), "a/2.png": ("a", "test")}
    assert (tmp_path / "shared/mine/train.tar").read_bytes() == train
    asked = len(site.requests)
    fetched(source="archive", files=files)
    assert len(site.requests) == asked
    (tmp_path / "shared/mine/test.tar").write_bytes(train)  # no checksum is known, but what the download had
    with pytest.raises(DataError, match=r"test\.tar: not the known file \(sha256"):
        fetched(source="archive", files=files)


def test_zips_of_nvidias_tools(tmp_path: Path, fetched: Fetched) -> None:
    """As they are: our own stores are of that form too."""
    pixels = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    write_store(
        tmp_path / "s.zip",
        (StoredImage(f"00000/img{n:08}.png", p, n) for n, p in enumerate(pixels)),
        list("abcdefghijkl"),
    )
    manifest = fetched(source="archive", path=tmp_path / "s.zip")
    assert facts(manifest)["00000/img00000003.png"] == ("03", None)
    assert manifest.classes == [f"{n:02}" for n in range(12)]
    assert manifest.header["rejected"] == 0
    make_zip(tmp_path / "u.zip", {"0/1.png": png(1), "dataset.json": json.dumps({"labels": None}).encode()})
    assert facts(fetched(source="archive", path=tmp_path / "u.zip")) == {"0/1.png": ("0", None)}
    make_zip(tmp_path / "bad.zip", {"0/1.png": png(1), "dataset.json": b'{"labels": [["0/1.png"]]}'})
    with pytest.raises(DataError, match=r"bad\.zip: dataset\.json is not of the form"):
        fetched(source="archive", path=tmp_path / "bad.zip")


def test_a_hostile_archive_stops_the_stage(tmp_path: Path, fetched: Fetched) -> None:
    path = make_tar(tmp_path / "x.tar", {"a/1.png": png(1), "../../up.png": png(2)})
    with pytest.raises(DataError, match="leads out of its folder"):
        fetched(source="archive", path=path)
    assert not list(tmp_path.rglob("manifest.jsonl"))
    assert not list(tmp_path.rglob("up.png"))


# -------------------------------------------------------------------------------------------------- ImageNet

IDS = ["n01440764", "n01443537", "n15075141"]


def kit() -> bytes:
    """A development kit: its numbers of the synsets are not in the order of their WordNet IDs, and it has one that is no class."""
    form = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("gloss", "O"), ("num_children", "O")]
    rows = [(1, IDS[2], "c", "", 0), (2, IDS[0], "a", "", 0), (3, IDS[1], "b", "", 0), (4, "n00000001", "d", "", 3)]
    mat = io.BytesIO()
    savemat(mat, {"synsets": np.array(rows, dtype=form)})
    parts = {"meta.mat": mat.getvalue(), "ILSVRC2012_validation_ground_truth.txt": b"1\n2\n3\n1\n"}
    return tar_bytes({f"ILSVRC2012_devkit_t12/data/{name}": content for name, content in parts.items()}, "w:gz")


VAL = {f"ILSVRC2012_val_{n:08}.JPEG": jpeg(50 + n) for n in range(1, 5)}
LABELED = {f"ILSVRC2012_val_{n:08}.JPEG": (IDS[i], "test") for n, i in ((1, 2), (2, 0), (3, 1), (4, 2))}


@pytest.fixture
def imagenet(tmp_path: Path) -> KnownDataset:
    """The three files, as ImageNet gives them, and what a registry would say of them."""
    folder = tmp_path / "imagenet"
    inner = {f"{i}.tar": tar_bytes({f"{i}_{n}.JPEG": jpeg(10 * k + n) for n in range(3)}) for k, i in enumerate(IDS)}
    paths = [
        make_tar(folder / "ILSVRC2012_img_train.tar", inner),
        make_tar(folder / "ILSVRC2012_img_val.tar", VAL),
        write(folder, {"ILSVRC2012_devkit_t12.tar.gz": kit()}) / "ILSVRC2012_devkit_t12.tar.gz",
    ]
    files = tuple(data_file(path, split=split) for path, split in zip(paths, ("train", "test", None), strict=True))
    return stand_in("imagenet", 9, 4, files)


TRAINED = {f"{i}/{i}_{n}.JPEG": (i, "train") for i in IDS for n in range(3)}


def test_imagenet_from_its_own_files(tmp_path: Path, fetched: Fetched, imagenet: KnownDataset) -> None:
    manifest = fetched(imagenet, source="imagenet", path=tmp_path / "imagenet")
    assert facts(manifest) == {**TRAINED, **LABELED}
    assert manifest.classes == IDS
    assert "agreement" in manifest.header["license"]
    assert "russakovsky" in manifest.header["citation"]
    made = {file.name for file in (tmp_path / "imagenet").iterdir()}
    kept = {name for file in imagenet.files for name in (file.file, f"{file.file}.sha256", f".{file.file}.lock")}
    assert made == kept  # nothing is unpacked


def test_from_imagenets_files_to_the_stores(
    tmp_path: Path, stage_of: StageOf, fetched: Fetched, imagenet: KnownDataset
) -> None:
    """Training images are of the training set and test images of the validation set, each with its label."""
    manifest = fetched(imagenet, source="imagenet", path=tmp_path / "imagenet")
    parents = {"fetch": manifest.path.parent.relative_to(tmp_path / "results").as_posix()}
    options = Squares(image_size=8, train_images=7, test_images=3)
    stage = stage_of(PrepareSpec(name="mine", parents=parents, prepare=options, runtime=PrepareRuntime(threads=2)))
    prepare.run(stage)
    made = {split: ImageStore(stage.path(f"{split}.zip")) for split in ("train", "test")}
    for split, known in (("train", TRAINED), ("test", LABELED)):
        assert len(made[split]) == {"train": 7, "test": 3}[split]
        assert made[split].classes == IDS
        for entry, label in zip(made[split].manifest, made[split].labels, strict=True):
            assert known[entry["file"]] == (IDS[label], split)


def test_imagenet_with_a_list_instead_of_the_kit(tmp_path: Path, fetched: Fetched, imagenet: KnownDataset) -> None:
    folder = tmp_path / "imagenet"
    (folder / "ILSVRC2012_devkit_t12.tar.gz").unlink()
    labels = folder / "imagenet_2012_validation_synset_labels.txt"
    labels.write_text("\n".join(name for name, _ in LABELED.values()))
    assert facts(fetched(imagenet, source="imagenet", path=folder)) == {**TRAINED, **LABELED}
    labels.write_text("cat\n")
    with pytest.raises(DataError, match="'cat' is no WordNet ID"):
        fetched(imagenet, source="imagenet", path=folder)
    labels.write_text(f"{IDS[0]}\n")
    with pytest.raises(DataError, match=rf"synset_labels\.txt: has 1 labels for {len(LABELED)} validation images"):
        fetched(imagenet, source="imagenet", path=folder)


def damaged_kit(mat: bytes) -> bytes:
    parts = {"meta.mat": mat, "ILSVRC2012_validation_ground_truth.txt": b"1\n"}
    return tar_bytes({f"ILSVRC2012_devkit_t12/data/{name}": data for name, data in parts.items()}, "w:gz")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (tar_bytes({"other.txt": b""}, "w:gz"), "not the development kit of ILSVRC 2012"),
        (b"no archive", "not an archive that can be read"),
        (damaged_kit(b"MATLAB 5.0"), r"meta\.mat is not what it should be"),
        (damaged_kit(b""), r"meta\.mat is not what it should be"),
        (damaged_kit(bytes(600)), r"meta\.mat is not what it should be"),
    ],
    ids=["other archive", "no archive", "damaged", "empty", "zeros"],
)
def test_a_file_that_is_not_a_kit(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "kit.tar.gz").write_bytes(content)
    with pytest.raises(DataError, match=says):
        kit_labels(tmp_path / "kit.tar.gz")


def test_an_inner_tar_that_is_not_a_class(tmp_path: Path, fetched: Fetched, imagenet: KnownDataset) -> None:
    path = make_tar(tmp_path / "imagenet/ILSVRC2012_img_train.tar", {"cat.tar": b""})
    files = (data_file(path, split="train"), *imagenet.files[1:])
    with pytest.raises(DataError, match=r"contains 'cat\.tar', which is no class of ImageNet"):
        fetched(imagenet.model_copy(update={"files": files}), source="imagenet", path=tmp_path / "imagenet")


def test_imagenet_unpacked(tmp_path: Path, fetched: Fetched, imagenet: KnownDataset) -> None:
    files = {f"train/{name}": jpeg(n) for n, name in enumerate(TRAINED)}
    folder = write(tmp_path / "tree", {**files, f"val/{IDS[0]}/v.JPEG": jpeg(99), "val/stray.JPEG": jpeg(98)})
    manifest = fetched(stand_in("imagenet", 9, 1), source="imagenet", path=folder)
    assert facts(manifest) == {**TRAINED, f"{IDS[0]}/v.JPEG": (IDS[0], "test")}
    assert [entry["file"] for entry in manifest.rejected()] == ["stray.JPEG"]


SOLUTION = "ImageId,PredictionString\n" + "".join(
    f"{name.removesuffix('.JPEG')},{wordnet} 1 2 30 40 {wordnet} 5 6 70 80 \n"
    for name, (wordnet, _) in reversed(LABELED.items())
)
"""As Kaggle has it: not in the order of the images, and with the boxes of the objects."""
LIST = "".join(f"{wordnet}\n" for wordnet, _ in LABELED.values())
ROOT = "ILSVRC/Data/CLS-LOC"


@pytest.mark.parametrize(
    ("inside", "path", "beside"),
    [
        (".", ".", {"imagenet_2012_validation_synset_labels.txt": LIST.encode()}),
        (".", ".", {"ILSVRC2012_devkit_t12.tar.gz": kit()}),
        (".", ".", {"LOC_val_solution.csv": SOLUTION.encode()}),
        (ROOT, ".", {"LOC_val_solution.csv": SOLUTION.encode()}),
        (ROOT, "ILSVRC", {"LOC_val_solution.csv": SOLUTION.encode()}),
        (ROOT, ROOT, {"LOC_val_solution.csv": SOLUTION.encode()}),
    ],
    ids=["list", "kit", "Kaggle's list", "Kaggle's root", "inside of it", "at the pictures"],
)
def test_imagenet_with_a_flat_validation_folder(
    tmp_path: Path, fetched: Fetched, inside: str, path: str, beside: dict[str, bytes]
) -> None:
    """As the archive unpacks, and as Kaggle has it; the list that lies there says the classes."""
    write(tmp_path / "kaggle", beside)
    write(tmp_path / "kaggle" / inside, {f"train/{name}": jpeg(n) for n, name in enumerate(TRAINED)})
    write(tmp_path / "kaggle" / inside / "val", VAL)
    devkit = beside.get("ILSVRC2012_devkit_t12.tar.gz", b"")
    files = tuple(
        file.model_copy(update={"md5": hashlib.md5(devkit).hexdigest()} if file.split is None else {})
        for file in built_in()["imagenet"].files
    )
    known = stand_in("imagenet", 9, 4, files)
    spec = FetchSpec(name="in", fetch=Fetch(source="imagenet", path=tmp_path / "kaggle" / path), known=known)
    assert missing(spec, tmp_path) == []
    assert survey(spec, tmp_path).short == {}
    manifest = fetched(known, source="imagenet", path=tmp_path / "kaggle" / path)
    assert facts(manifest) == {**TRAINED, **LABELED}


def test_an_incomplete_unpacked_copy(tmp_path: Path, fetched: Fetched) -> None:
    """The plan counts its pictures, and so does `fetch`."""
    files = {f"train/{name}": jpeg(n) for n, name in enumerate(TRAINED)}
    folder = write(tmp_path / "tree", {**files, f"val/{IDS[0]}/v.JPEG": jpeg(99)})
    known = stand_in("imagenet", 10, 1)
    spec = FetchSpec(name="in", fetch=Fetch(source="imagenet", path=folder), known=known)
    assert survey(spec, tmp_path).short == {str(folder / "train"): "9 pictures instead of 10"}
    with pytest.raises(
        DataError, match=r"tree/train: 9 pictures of the split `train`, but 10 are published; complete it"
    ):
        fetched(known, source="imagenet", path=folder)


def test_another_list_is_another_dataset(tmp_path: Path) -> None:
    """It says of which class each validation image is."""
    folder = write(tmp_path / "in", {f"val/{name}": data for name, data in VAL.items()})
    spec = FetchSpec(name="in", fetch=Fetch(source="imagenet", path=folder), known=stand_in("imagenet", 0, 4))
    digests = []
    for content in (LIST, LIST[::-1], None):
        file = folder / "imagenet_2012_validation_synset_labels.txt"
        file.write_text(content) if content else file.unlink()
        digests.append(survey(spec, tmp_path).digest)
    assert len(set(digests)) == 3


def test_another_file_under_imagenets_name(tmp_path: Path, fetched: Fetched, imagenet: KnownDataset) -> None:
    make_tar(tmp_path / "imagenet/ILSVRC2012_img_val.tar", {"x.JPEG": jpeg(1)})
    with pytest.raises(DataError, match=r"ILSVRC2012_img_val\.tar: not the known file"):
        fetched(imagenet, source="imagenet", path=tmp_path / "imagenet")


def test_missing_imagenet(tmp_path: Path, stage_of: StageOf) -> None:
    """The plan knows what is missing, in names, bytes, place and terms; the job says the same."""
    spec = FetchSpec(name="in", fetch=Fetch(source="imagenet", path=tmp_path / "in"), known=built_in()["imagenet"])
    assert survey(spec, tmp_path).digest is None
    files = missing(spec, tmp_path)
    assert [file.path.name for file in files] == [file.file for file in built_in()["imagenet"].files]
    for part in (
        "dataset in",
        str(tmp_path / "in"),
        "147.9 GB",
        "register at https://image-net.org",
        "license: non-commercial",
    ):
        assert part in str(files[0])
    with pytest.raises(DataError, match=r"ILSVRC2012_img_train\.tar: no such file\. Register at"):
        fetch.run(stage_of(spec))
    (tmp_path / "in/train").mkdir(parents=True)
    assert [file.path.name for file in missing(spec, tmp_path)] == [f.file for f in built_in()["imagenet"].files[1:]]
    (tmp_path / "in/val").mkdir()  # flat as the archive, it needs the kit
    assert [file.path.name for file in missing(spec, tmp_path)] == ["ILSVRC2012_devkit_t12.tar.gz"]
    (tmp_path / "in/val" / IDS[0]).mkdir()
    assert missing(spec, tmp_path) == []
    assert set(survey(spec, tmp_path).short.values()) == {
        "0 pictures instead of 1,281,167", "0 pictures instead of 50,000",
    }  # fmt: skip


def test_checksums_identify_a_dataset(tmp_path: Path, imagenet: KnownDataset) -> None:
    """Not where its files lie, who offers them, or what is said of it."""

    def spec(known: KnownDataset, path: Path | None) -> FetchSpec:
        return FetchSpec(name="in", fetch=Fetch(source="imagenet", path=path), known=known)

    here = spec(imagenet, tmp_path)
    other = imagenet.model_copy(
        update={"license": "?", "files": tuple(f.model_copy(update={"urls": ("x",)}) for f in imagenet.files)}
    )
    assert spec(other, None).hash == here.hash
    changed = imagenet.files[0].model_copy(update={"sha256": "0" * 64})
    assert spec(imagenet.model_copy(update={"files": (changed, *imagenet.files[1:])}), tmp_path).hash != here.hash


# ---------------------------------------------------------------------------------------------- Places, faces

LISTS = {
    "categories_places365.txt": b"/a/airfield 0\n/a/apartment_building/outdoor 1\n",
    "places365_val.txt": b"Places365_val_00000001.jpg 1\nPlaces365_val_00000002.jpg 0\n",
}
SCENES = {"a/airfield/00000001.jpg": jpeg(1), "a/apartment_building/outdoor/00000001.jpg": jpeg(2)}
PLACES_VAL = {f"Places365_val_0000000{n}.jpg": jpeg(10 + n) for n in (1, 2)}


def test_places2(tmp_path: Path, fetched: Fetched) -> None:
    folder = tmp_path / "places"
    paths = [
        make_tar(
            folder / "train_256_places365standard.tar", {f"data_256/{name}": data for name, data in SCENES.items()}
        ),
        make_tar(folder / "val_256.tar", {f"val_256/{name}": data for name, data in PLACES_VAL.items()}),
        make_tar(folder / "filelist_places365-standard.tar", LISTS),
    ]
    files = tuple(data_file(path, split=split) for path, split in zip(paths, ("train", "test", None), strict=True))
    known = stand_in("places2", 2, 2, files)
    manifest = fetched(known, source="places2", path=folder)
    assert sorted(facts(manifest).values()) == [
        ("airfield", "test"), ("airfield", "train"), ("apartment_building/outdoor", "test"), ("apartment_building/outdoor", "train"),
    ]  # fmt: skip
    assert facts(manifest)["val_256/Places365_val_00000001.jpg"][0] == "apartment_building/outdoor"
    unpacked = write(tmp_path / "tree", LISTS)
    write(unpacked / "data_256_standard", SCENES)
    write(unpacked / "val_256", PLACES_VAL)
    tree = fetched(known, source="places2", path=unpacked)
    assert [e["sha256"] for e in tree.images()] == [e["sha256"] for e in manifest.images()]
    assert [e["class"] for e in tree.images()] == [e["class"] for e in manifest.images()]
    assert tree.classes == manifest.classes == ["airfield", "apartment_building/outdoor"]


@pytest.mark.parametrize("root", ["", "places365_standard"])
def test_places2_in_the_easy_format(tmp_path: Path, fetched: Fetched, root: str) -> None:
    """Both splits have a folder for each scene, `-` for `/`: nothing is missing, and the classes are those of the archives."""
    names = [
        *("train/airfield/00000001.jpg", "train/apartment_building-outdoor/00000001.jpg"),
        *("val/airfield/Places365_val_00000002.jpg", "val/apartment_building-outdoor/Places365_val_00000001.jpg"),
    ]
    files = {name: jpeg(number) for number, name in enumerate(names)} | {"train.txt": b"", "val.txt": b""}
    write(tmp_path / "places" / root, files)
    known = stand_in("places2", 2, 2)
    spec = FetchSpec(name="p", fetch=Fetch(source="places2", path=tmp_path / "places"), known=known)
    assert (downloads(spec, tmp_path), survey(spec, tmp_path).short) == ([], {})
    manifest = fetched(known, source="places2", path=tmp_path / "places")
    assert manifest.classes == ["airfield", "apartment_building/outdoor"]
    assert [(entry["class"], entry["split"]) for entry in manifest.images()] == [
        (scene, split) for split in ("train", "test") for scene in ("airfield", "apartment_building/outdoor")
    ]


def test_downloads_are_reported(tmp_path: Path) -> None:
    """Their names and sizes, of all that are not there."""
    spec = FetchSpec(name="p", fetch=Fetch(source="places2", path=tmp_path), known=built_in()["places2"])
    lines = downloads(spec, tmp_path)
    assert [line.split("/")[-1] for line in lines] == [
        "train_256_places365standard.tar (26.1 GB)", "val_256.tar (0.5 GB)", "filelist_places365-standard.tar (0.1 GB)",
    ]  # fmt: skip
    (tmp_path / "val_256.tar").touch()
    (tmp_path / "data_256_standard").mkdir()
    assert downloads(spec, tmp_path) == lines[2:]


@pytest.mark.parametrize("double", ["", "img_align_celeba/"])
def test_celeba_of_kaggle(tmp_path: Path, fetched: Fetched, double: str) -> None:
    """The pictures unpacked, there in a folder of a folder of the same name, and the parts in a table."""
    write(tmp_path, {f"img_align_celeba/{double}{n:06}.jpg": jpeg(n) for n in range(1, 4)})
    (tmp_path / "list_eval_partition.csv").write_text("image_id,partition\n000001.jpg,0\n000002.jpg,1\n000003.jpg,2\n")
    known = stand_in("celeba", 1, 1)
    spec = FetchSpec(name="c", fetch=Fetch(source="celeba", path=tmp_path), known=known)
    assert (missing(spec, tmp_path), survey(spec, tmp_path).short) == ([], {})
    found = facts(fetched(known, source="celeba", path=tmp_path))
    assert {name.split("/")[-1]: split for name, (_, split) in found.items()} == {
        "000001.jpg": "train", "000003.jpg": "test",
    }  # fmt: skip
    write(tmp_path, {"img_align_celeba/copies/000001.jpg": jpeg(9)})
    with pytest.raises(DataError, match=r"picture 000001\.jpg is there twice: .* and .*\. Remove one"):
        fetched(known, source="celeba", path=tmp_path)


def test_celeba(tmp_path: Path, fetched: Fetched) -> None:
    images = {f"img_align_celeba/{n:06}.jpg": jpeg(n) for n in range(1, 5)}
    make_zip(tmp_path / "img_align_celeba.zip", images, zipfile.ZIP_STORED)
    (tmp_path / "list_eval_partition.txt").write_text("000001.jpg 0\n000002.jpg 1\n000003.jpg 2\n")
    known = stand_in("celeba", 1, 1, tuple(data_file(tmp_path / file.file) for file in built_in()["celeba"].files))
    manifest = fetched(known, source="celeba", path=tmp_path)
    assert facts(manifest) == {
        "img_align_celeba/000001.jpg": ("face", "train"), "img_align_celeba/000003.jpg": ("face", "test"),
    }  # fmt: skip
    assert [entry["file"] for entry in manifest.rejected()] == ["img_align_celeba/000004.jpg"]


@pytest.mark.parametrize("packed", [True, False])
def test_celeba_hq(tmp_path: Path, fetched: Fetched, packed: bool) -> None:
    files = {
        "celeba_hq/00000.png": png(1),
        "celeba_hq/26999.jpg": jpeg(2),
        "celeba_hq/27000.png": png(3),
        "celeba_hq/x.txt": b"",
    }
    path = make_zip(tmp_path / "hq.zip", files) if packed else write(tmp_path / "hq", files)
    manifest = fetched(stand_in("celeba-hq", 2, 1), source="celeba-hq", path=path)
    assert [split for _, split in facts(manifest).values()] == ["train", "train", "test"]
    assert [entry["file"] for entry in manifest.rejected()] == ["celeba_hq/x.txt"]


HQ = {f"CelebA-HQ-img/{n}.jpg": jpeg(n) for n in (0, 26999, 27000)}
MASKS = {f"CelebAMask-HQ-mask-anno/{n // 2000}/{n:05}_hair.png": png(n) for n in (0, 26999, 27000)}


@pytest.mark.parametrize("packed", [True, False])
def test_part_masks_are_not_faces(tmp_path: Path, fetched: Fetched, packed: bool) -> None:
    """CelebAMask-HQ as it is published: photographs, and masks of parts of the faces with the same numbers."""
    files = {f"CelebAMask-HQ/{name}": data for name, data in {**HQ, **MASKS, "README.txt": b"r"}.items()}
    path = make_zip(tmp_path / "hq.zip", files) if packed else write(tmp_path / "hq", files)
    manifest = fetched(stand_in("celeba-hq", 2, 1), source="celeba-hq", path=path)
    assert facts(manifest) == {
        f"CelebAMask-HQ/{name}": ("face", split) for name, split in zip(HQ, ("train", "train", "test"), strict=True)
    }
    assert [entry["file"] for entry in manifest.rejected()] == ["CelebAMask-HQ/README.txt"]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"masks/0.png": png(9)}, r"CelebA-HQ-img/0\.jpg and masks/0\.png both have the number 0"),
        (
            {"CelebA-HQ-img/30000.jpg": jpeg(9)},
            r"30000\.jpg has the number 30000, and CelebA-HQ's images have 0 to 29,999",
        ),
    ],
    ids=["twice", "too large"],
)
@pytest.mark.parametrize("packed", [True, False])
def test_numbers_outside_of_celeba_hq(
    tmp_path: Path, fetched: Fetched, packed: bool, more: dict[str, bytes], says: str
) -> None:
    """Neither a plan nor `fetch` goes on."""
    path = make_zip(tmp_path / "hq.zip", HQ | more) if packed else write(tmp_path / "hq", HQ | more)
    known = stand_in("celeba-hq", 2, 1)
    with pytest.raises(DataError, match=says):
        survey(FetchSpec(name="hq", fetch=Fetch(source="celeba-hq", path=path), known=known), tmp_path)
    with pytest.raises(DataError, match=says):
        fetched(known, source="celeba-hq", path=path)


@pytest.mark.parametrize("packed", [True, False])
def test_a_count_of_faces_other_than_published(tmp_path: Path, fetched: Fetched, packed: bool) -> None:
    path = make_zip(tmp_path / "hq.zip", HQ) if packed else write(tmp_path / "hq", HQ)
    known = stand_in("celeba-hq", 2, 2)
    spec = FetchSpec(name="hq", fetch=Fetch(source="celeba-hq", path=path), known=known)
    assert survey(spec, tmp_path).short == {str(path): "3 pictures instead of 4"}
    with pytest.raises(DataError, match="1 pictures of the split `test`, but 2 are published"):
        fetched(known, source="celeba-hq", path=path)


def test_missing_celeba_hq(tmp_path: Path) -> None:
    spec = FetchSpec(name="hq", fetch=Fetch(source="celeba-hq", path=tmp_path / "no"), known=built_in()["celeba-hq"])
    (file,) = missing(spec, tmp_path)
    assert isinstance(file, Missing)
    assert file.path == tmp_path / "no"


# -------------------------------------------------------------------------------------- torchvision's classes


def offered(site: Site, name: str, content: bytes) -> tuple[dict[str, Any], str]:
    """A file to download, and its MD5."""
    md5 = hashlib.md5(content).hexdigest()
    return {"file": name, "urls": [site.offer(f"/{name}", content, drop(100))], "md5": md5}, md5


def test_a_torchvision_dataset_of_files(
    tmp_path: Path, fetched: Fetched, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision import datasets

    names = {
        f"imagenette2/{part}/n0{n}/{k}.JPEG": jpeg(10 * n + k)
        for part in ("train", "val")
        for n in (1440764, 2102040)
        for k in (1, 2)
    }
    file, md5 = offered(site, "imagenette2.tgz", tar_bytes(names, "w:gz"))
    monkeypatch.setattr(datasets.Imagenette, "_ARCHIVES", {"full": (file["urls"][0], md5)})
    known = stand_in("imagenette", 4, 4, (DataFile(**file),))
    manifest = fetched(known, source="imagenette", path=tmp_path / "data")
    read = opener(manifest)
    assert {entry["file"]: read(entry) for entry in manifest.images()} == names  # the original bytes
    assert set(facts(manifest).values()) == {
        (c, s) for c in ("000 tench", "001 English springer") for s in ("train", "test")
    }
    assert manifest.header["title"].startswith("Imagenette")


def test_a_torchvision_dataset_of_arrays(
    tmp_path: Path, fetched: Fetched, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision import datasets

    pixels = np.random.default_rng(0).integers(0, 256, (6, 3072), dtype=np.uint8)
    batches = {
        name: pickle.dumps({"data": pixels[3 * k : 3 * k + 3], "labels": [1, 0, 1]})
        for k, name in enumerate(("data_batch_1", "test_batch"))
    }
    batches["batches.meta"] = pickle.dumps({"label_names": ["cat", "dog"]})
    file, md5 = offered(
        site, "cifar-10-python.tar.gz", tar_bytes({f"cifar-10-batches-py/{n}": c for n, c in batches.items()}, "w:gz")
    )
    sums = {name: hashlib.md5(content).hexdigest() for name, content in batches.items()}
    monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", md5)
    monkeypatch.setattr(datasets.CIFAR10, "train_list", [["data_batch_1", sums["data_batch_1"]]])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(
        datasets.CIFAR10, "meta", {"filename": "batches.meta", "key": "label_names", "md5": sums["batches.meta"]}
    )
    known = stand_in("cifar10", 3, 3, (DataFile(**file),))
    manifest = fetched(known, source="cifar10", path=tmp_path / "data")
    assert sorted(facts(manifest).items())[0] == ("test/000 cat/000001.png", ("000 cat", "test"))
    read = opener(manifest)
    first = next(entry for entry in manifest.images() if entry["file"].endswith("train/001 dog/000000.png"))
    assert (decode(read(first)) == pixels[0].reshape(3, 32, 32).transpose(1, 2, 0)).all()
    card = json.loads((manifest.path.parent / "card.json").read_text())
    assert set(card["artifacts"]) == {"manifest.jsonl", "images.zip"}


def test_a_torchvision_dataset_in_a_folder_of_its_own(
    tmp_path: Path, fetched: Fetched, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision import datasets

    def mat(**values: list[int]) -> bytes:
        data = io.BytesIO()
        savemat(data, values)
        return data.getvalue()

    images = {f"jpg/image_{n:05}.jpg": jpeg(n) for n in range(1, 5)}
    contents = {
        "102flowers.tgz": tar_bytes(images, "w:gz"),
        "imagelabels.mat": mat(labels=[77, 1, 77, 2]),
        "setid.mat": mat(trnid=[1, 2], valid=[4, 4], tstid=[3, 4]),
    }
    made = {key: offered(site, *item) for key, item in zip(("image", "label", "setid"), contents.items(), strict=True)}
    monkeypatch.setattr(
        datasets.Flowers102, "_file_dict", {key: (file["file"], md5) for key, (file, md5) in made.items()}
    )
    known = stand_in("flowers102", 2, 2, tuple(DataFile(**file) for file, _ in made.values()))
    manifest = fetched(known, source="flowers102", path=tmp_path / "data")
    read = opener(manifest)
    assert [read(entry) for entry in manifest.images()] == list(images.values())
    assert [entry["class"][:3] for entry in manifest.images()] == ["076", "000", "076", "001"]
    assert [entry["split"] for entry in manifest.images()] == ["train", "train", "test", "test"]


def test_an_unknown_torchvision_class(tmp_path: Path, fetched: Fetched) -> None:
    known = KnownDataset(title="x", reader="torchvision", torchvision="Nothing", arguments={"train": {}, "test": {}})
    with pytest.raises(DataError, match="torchvision has no dataset 'Nothing'"):
        fetched(known, source="x", path=tmp_path)


# ------------------------------------------------------------------------------------------------ the plan


def test_splits_that_name_nothing_stop_the_plan(tmp_path: Path) -> None:
    def digest(**options: Any) -> str | None:
        return survey(FetchSpec(name="mine", fetch=Fetch(**options)), tmp_path).digest

    (tmp_path / "train").mkdir()
    with pytest.raises(ConfigError, match=r"splits\.test: 'val' is neither a list nor a folder"):
        digest(source="folder", path=tmp_path, splits={"train": "train", "test": "val"})
    with pytest.raises(ConfigError, match="without `path` both are lists"):
        digest(source="folder", splits={"train": "a.flist", "test": "b.flist"})
    make_zip(tmp_path / "x.zip", {"1.png": png(1)})
    before = digest(source="archive", path=tmp_path / "x.zip")
    make_zip(tmp_path / "x.zip", {"1.png": png(1), "2.png": png(2)})
    assert before != digest(source="archive", path=tmp_path / "x.zip")
    write(tmp_path, {"a.flist": b"1.png\n", "b.flist": b"2.png\n"})
    lists = {"source": "folder", "splits": {"train": str(tmp_path / "a.flist"), "test": str(tmp_path / "b.flist")}}
    before = digest(**lists)
    write(tmp_path, {"b.flist": b"3.png\n"})
    assert before != digest(**lists)


@pytest.mark.parametrize("form", ["folder", "lists", "ZIP"])
def test_the_plan_knows_the_classes_of_splits(tmp_path: Path, form: str) -> None:
    """By folders, lists or the list in a ZIP: those of both splits, as `fetch` will find them."""
    tree = {f"{part}/{name}/{n}.png": png(n) for part in ("train", "val") for n, name in enumerate(("cat", "dog"))}
    root = write(tmp_path / "own", tree)
    options: dict[str, Any] = {"source": "folder", "path": root, "splits": {"train": "train", "test": "val"}}
    if form == "lists":
        lists = {
            f"{part}.flist": "".join(f"{root}/{n}\n" for n in tree if n.startswith(part)) for part in ("train", "val")
        }
        write(tmp_path, {name: text.encode() for name, text in lists.items()})
        options |= {"path": None, "splits": {"train": f"{tmp_path}/train.flist", "test": f"{tmp_path}/val.flist"}}
    elif form == "ZIP":
        options |= {"source": "archive", "path": make_zip(tmp_path / "own.zip", tree)}
    found = survey(FetchSpec(name="mine", fetch=Fetch(**options)), tmp_path)
    assert (found.classes, found.pictures, found.splits) == (["cat", "dog"], 4, {"train": 2, "test": 2})
