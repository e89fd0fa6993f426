"""Published datasets: the registry, entries in a config, files that users must supply, and `palette datasets`."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torchvision import datasets as torchvision

from palette import cli
from palette.config.datasets import SOURCES as KINDS
from palette.config.datasets import Dataset, Fetch, KnownDataset
from palette.data.fetch import SOURCES
from palette.data.sources.files import VARIABLE
from palette.data.sources.registry import built_in, registry
from palette.errors import ConfigError, DataError
from palette.planning.config_file import validate
from palette.planning.plan import Plan
from palette.running.start import missing_data, plan_of, start, to_download
from palette.stages import fetch as fetch_verb
from palette.stages import prepare as prepare_verb
from palette.stages.extractor import ExtractorSpec
from palette.stages.stage import Stage
from tests.data.archives import make_tar, make_zip, png

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, checkout: Path) -> Write:
    """A function (options of `fetch`, further sections) → a config of one dataset whose originals are measured."""

    def made(fetch: dict[str, Any], **sections: Any) -> Path:
        smoke = yaml.safe_load((checkout / "workflow/presets/smoke.yaml").read_text())
        config = {
            "results": str(tmp_path / "results"),
            "datasets": {"mine": {"fetch": fetch, "prepare": {"train_images": 2, "test_images": 2}}},
            "tasks": smoke["tasks"],
            "score": {"extractors": ["photos", "pixels"]},
            "experiments": [{"dataset": "mine", "model": "originals"}],
            **sections,
        }
        file = tmp_path / "config.yaml"
        file.write_text(yaml.safe_dump(config))
        return file

    return made


@pytest.fixture(autouse=True)
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


# ------------------------------------------------------------------------------------------------- registry


def test_the_registry_is_complete() -> None:
    for name, dataset in built_in().items():
        assert dataset.license, name
        assert dataset.homepage.startswith("http"), name
        assert re.match(r"@\w+\{\w+,\n(.*\n)+\}\n$", dataset.citation), name
        assert set(dataset.images) == {"train", "test"}, name
        assert dataset.reader in SOURCES, name
        assert dataset.by_hand or all(file.urls for file in dataset.files), name
        assert all(file.sha256 or file.md5 for file in dataset.files), name
        assert all(url.endswith("/" + file.file) for file in dataset.files for url in file.urls), name


def test_torchvision_still_knows_these_files() -> None:
    """Its MD5 sums are ours, where it states them."""
    known = built_in()
    places = {**dict(torchvision.Places365._IMAGES_META.values()), **dict(torchvision.Places365._DEVKIT_META.values())}
    stated = {
        **dict(torchvision.imagenet.ARCHIVE_META.values()),
        **places,
        **dict(torchvision.Flowers102._file_dict.values()),
        **{url.rpartition("/")[2]: md5 for url, md5 in torchvision.OxfordIIITPet._RESOURCES},
        **{url.rpartition("/")[2]: md5 for url, md5 in torchvision.Imagenette._ARCHIVES.values()},
        **{kind.filename: kind.tgz_md5 for kind in (torchvision.CIFAR10, torchvision.CIFAR100)},
        torchvision.STL10.filename: torchvision.STL10.tgz_md5,
        **{name: md5 for _, md5, name in torchvision.CelebA.file_list},
    }
    files = [file for dataset in known.values() for file in dataset.files]
    assert len(files) >= 18
    assert all(file.md5 == stated[file.file] for file in files)


def test_a_config_adds_datasets(write: Write) -> None:
    mine = {"title": "Mine", "files": [{"file": "x.zip", "urls": ["http://example.org/x.zip"]}], "license": "CC0"}
    plan = plan_of([write({"source": "my-set"}, registry={"my-set": mine})])
    (spec,) = plan.of_kind("fetch")
    assert spec.known.license == "CC0"  # type: ignore[attr-defined]
    assert set(registry(plan.config)) == {*built_in(), "my-set"}
    assert missing_data(plan) == []


def test_a_config_has_files_of_its_own(write: Write) -> None:
    """As for a mirror of a published dataset, or another copy of it."""
    files = [{"file": "hq.zip", "urls": ["http://example.org/hq.zip"], "md5": "0" * 32}]
    (spec,) = plan_of([write({"source": "celeba", "files": files})]).of_kind("fetch")
    assert [file.file for file in spec.known.files] == ["hq.zip"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "mistake",
    [
        {"reader": "torchvision"},
        {"torchvision": "CIFAR10"},
        {"reader": "guess"},
        {"files": [{"file": "../x.zip"}]},
        {"files": [{"file": ".."}]},
        {"files": [{"file": "x.zip", "sha256": "abc"}]},
        {"licence": "CC0"},
    ],
)
def test_mistakes_in_an_entry(mistake: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        KnownDataset.model_validate({"title": "x", **mistake})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


FILE = st.dictionaries(st.sampled_from(["file", "urls", "bytes", "sha256", "split"]), JSON)
FIELDS = dict.fromkeys(("title", "reader", "splits", "arguments", "images", "classes"), JSON)


@settings(max_examples=150, deadline=None)
@given(st.fixed_dictionaries({}, optional={**FIELDS, "files": st.lists(FILE, max_size=2)}) | JSON)
def test_any_entry_is_accepted_or_refused_with_its_place(entry: object) -> None:
    _, problems = validate({"registry": {"mine": entry}})
    try:
        KnownDataset.model_validate(entry)
    except ValidationError:
        assert any(problem.path[:2] == ("registry", "mine") for problem in problems)
    else:
        assert not any(problem.path[:1] == ("registry",) for problem in problems)


# --------------------------------------------------------------------------------------------------- config


@pytest.mark.parametrize(
    ("fetch", "says"),
    [
        ({"source": "imagnet"}, r"config.yaml:\d+: datasets.mine.fetch.source: no source .* 'imagnet'. Did you mean 'imagenet'"),
        ({"source": "places2", "splits": {"train": "a", "test": "b"}}, "dataset 'places2' has its own; `splits` goes with"),
        ({"source": "photos", "path": "x"}, "`path` has no meaning for `source: photos`"),
        ({"source": "folder"}, "needs a `path`, or `splits`"),
        ({"source": "archive"}, "needs a `path`, or `files`"),
        ({"source": "folder", "path": "x", "files": [{"file": "y"}]}, "`files` goes with archives"),
        ({"source": "folder", "path": "x", "splits": {"test": "y"}}, "needs both `train` and `test`"),
        ({"source": "archive", "files": [{"file": "a/b.zip"}]}, "datasets.mine.fetch.files.0.file: "),
        ({"source": "archive", "path": "/nowhere/x.zip"}, "no archive /nowhere/x.zip"),
        ({"source": "folder", "path": "https://example.org/x"}, "fetch.path: is an address, and files have to lie on this machine"),
        ({"source": "archive", "path": "s3://bucket/x.zip"}, "fetch.path: is an address"),
    ],
)  # fmt: skip
def test_mistakes_are_found_when_planning(write: Write, fetch: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        plan_of([write(fetch)])


def test_an_unknown_source_is_reported_with_all_other_mistakes(write: Write) -> None:
    with pytest.raises(ConfigError) as found:
        plan_of([write({"source": "imagnet"}, results=7, sample={"shard_size": "many"})])
    assert "no source or published dataset is called 'imagnet'. Did you mean 'imagenet'?" in str(found.value)
    assert "sample.shard_size" in str(found.value)


def test_a_folder_is_not_an_archive_nor_an_archive_a_folder(write: Write, tmp_path: Path) -> None:
    path = make_zip(tmp_path / "x.zip", {"1.png": png(1)})
    with pytest.raises(
        ConfigError, match=r"no folder .*x\.zip\. It is a file; `source: archive` reads ZIP and tar files"
    ):
        plan_of([write({"source": "folder", "path": str(path)})])
    with pytest.raises(ConfigError, match=r"no archive .*\. It is a folder, which `source: folder` reads"):
        plan_of([write({"source": "archive", "path": str(tmp_path)})])


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (
            ["train-0.parquet", "train-1.parquet"],
            r"There are 2 files \.parquet: tables, as of Hugging Face; save their images",
        ),
        (["images.npy"], r"1 files \.npy: arrays; save each image as PNG"),
        (["00000.tar", "00001.tar"], r"2 files \.tar: archives, or shards of WebDataset; `source: archive` reads them"),
        (["data.mdb", "lock.mdb"], r"2 files \.mdb: records of a database"),
        (["a.HEIC", "b.heic"], r"2 files \.heic: photographs that Pillow cannot read; convert them"),
        (["notes.txt"], r"Supported: \.avif .* \.webp\."),
    ],
)
def test_files_that_are_not_images_are_named(write: Write, tmp_path: Path, names: list[str], says: str) -> None:
    """Instead of advice to ask for fewer pictures; the same inside a ZIP."""
    (tmp_path / "own").mkdir()
    for name in names:
        (tmp_path / "own" / name).touch()
    with pytest.raises(ConfigError, match=rf"datasets\.mine\.fetch\.path: no pictures are in .*own\. .*{says}"):
        plan_of([write({"source": "folder", "path": str(tmp_path / "own")})])
    path = make_zip(tmp_path / "own.zip", {f"data/{name}": b"x" for name in names})
    with pytest.raises(ConfigError, match=rf"no pictures are in .*own\.zip\. .*{says}"):
        plan_of([write({"source": "archive", "path": str(path)})])


def test_other_files_beside_too_few_images_are_named(write: Write, tmp_path: Path) -> None:
    for name in ("1.jpg", "2.heic", "3.heic"):
        (tmp_path / name).touch()
    with pytest.raises(
        ConfigError, match=r"1 pictures are in .*There are 2 files \.heic: photographs that Pillow cannot read"
    ):
        plan_of([write({"source": "folder", "path": str(tmp_path)})])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"train_images": 3, "test_images": 2},
            r"prepare\.train_images: 2 pictures are in the split `train`, train, but 3 are",
        ),
        (
            {"train_images": 2, "test_images": 4},
            r"prepare\.test_images: 3 pictures are in the split `test`, val, but 4 are",
        ),
    ],
)
def test_each_split_has_enough_pictures(write: Write, tmp_path: Path, options: dict[str, int], says: str) -> None:
    for name in ("train/1.png", "train/2.png", "val/1.png", "val/2.png", "val/3.png", "more/1.png"):
        (tmp_path / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / name).touch()
    fetch = {"source": "folder", "path": str(tmp_path / "own"), "splits": {"train": "train", "test": "val"}}
    with pytest.raises(ConfigError, match=says):
        plan_of([write(fetch, datasets={"mine": {"fetch": fetch, "prepare": options}})])


@pytest.mark.parametrize("packed", [True, False])
def test_splits_read_as_classes_give_a_hint(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str], packed: bool
) -> None:
    files = {f"{folder}/{n}.png": png(n) for folder in ("train", "Validation") for n in range(3)}
    for name, data in files.items():
        (tmp_path / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / name).write_bytes(data)
    path = make_zip(tmp_path / "own.zip", files) if packed else tmp_path / "own"
    fetch: dict[str, Any] = {"source": "archive" if packed else "folder", "path": str(path)}
    plan_of([write(fetch)])
    hint = "taken for classes, and test images are drawn from all of them. If they are splits, write `splits: {train: train, test: Valid"
    assert hint in capsys.readouterr().err
    plan_of([write({**fetch, "splits": {"train": "train", "test": "Validation"}})])
    assert "taken for classes" not in capsys.readouterr().err


def test_splits_of_pairs_read_as_classes_give_a_hint(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They have no `splits`."""
    for name in (f"{side}/{folder}/{n}.png" for side in "ab" for folder in ("train", "val") for n in range(3)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    plan_of([write({"source": "pairs", "path": str(tmp_path / "a"), "conditions": str(tmp_path / "b")})])
    said = capsys.readouterr().err
    assert "dataset mine: its folders train, val are taken for classes" in said
    assert "write the test images into a `test_list` of `prepare`" in said


def test_a_dataset_may_not_have_the_name_of_a_kind(write: Write) -> None:
    with pytest.raises(ConfigError, match=r"registry\.folder: 'folder' is a kind of source"):
        plan_of([write({"source": "photos"}, registry={"folder": {"title": "x"}})])


def test_the_examples_of_the_docs_are_valid(checkout: Path) -> None:
    """Each `datasets` and `registry` entry in docs/datasets.md is one that a config may have."""
    blocks = re.findall(r"```yaml\n(.*?)```", (checkout / "docs/datasets.md").read_text(), re.DOTALL)
    sections = [yaml.safe_load(block) for block in blocks]
    added = {
        name: KnownDataset.model_validate(entry) for s in sections for name, entry in s.get("registry", {}).items()
    }
    entries = [Dataset.model_validate(entry) for s in sections for entry in s.get("datasets", {}).values()]
    assert len(entries) >= 12
    assert {entry.fetch.source for entry in entries} <= {*KINDS, *built_in()}
    assert {"food101", "our-set"} == set(added)
    used = {entry.fetch.source for entry in entries}
    assert {"photos", "folder", "pairs", "archive", "imagenet", "places2", "celeba-hq", "flowers102", "cifar10"} == used


def test_the_first_run_of_the_docs_is_a_complete_config(checkout: Path, tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (checkout / "docs/datasets.md").read_text(), re.DOTALL)
    (text,) = (block for block in blocks if "experiments:" in block and "tasks:" in block and "samplers:" in block)
    for number in range(102):
        (tmp_path / f"{number}.jpg").touch()
    file = tmp_path / "my.yaml"
    file.write_text(f"results: {tmp_path}/results\n" + text.replace("/data/mine", str(tmp_path)))
    assert len(plan_of([file]).rows) == 2
    for number in range(2):
        (tmp_path / f"{number}.jpg").unlink()
    with pytest.raises(
        ConfigError, match=r"100 pictures are in .*, but some to train on and 100 to test on are asked for"
    ):
        plan_of([file])


def test_the_default_is_still_the_photographs() -> None:
    assert Fetch().source == "photos"


# ------------------------------------------------------------------------------------ splits and their classes


def extractors(plan: Plan) -> set[str]:
    return {spec.extractor for spec in plan.of_kind("extractor") if isinstance(spec, ExtractorSpec)}


@pytest.mark.parametrize(("classes", "kinds"), [(("cat", "dog"), {"photos"}), (("cat",), {"pixels"})])
@pytest.mark.parametrize("form", ["folders", "lists", "ZIP"])
def test_the_scores_of_splits_fit_their_classes(
    write: Write, tmp_path: Path, form: str, classes: tuple[str, ...], kinds: set[str]
) -> None:
    """A classifier of one class would fail after the training; the plan leaves it out."""
    tree = {f"{part}/{name}/{n}.png": png(n) for part in ("train", "val") for name in classes for n in range(2)}
    for name, data in tree.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    fetch: dict[str, Any] = {"source": "folder", "path": str(tmp_path), "splits": {"train": "train", "test": "val"}}
    if form == "lists":
        for part in ("train", "val"):
            names = [str(tmp_path / name) for name in tree if name.startswith(part)]
            (tmp_path / f"{part}.flist").write_text("\n".join(names))
        lists = {"train": f"{tmp_path}/train.flist", "test": f"{tmp_path}/val.flist"}
        fetch = {"source": "folder", "splits": lists}
    elif form == "ZIP":
        fetch |= {"source": "archive", "path": str(make_zip(tmp_path / "own.zip", tree))}
    assert extractors(plan_of([write(fetch)])) == kinds


@pytest.mark.parametrize("kinds", [["photos"], ["resnet50"], ["pixels"]])
def test_classes_that_a_plan_cannot_count_are_counted_before_training(
    write: Write, tmp_path: Path, kinds: list[str]
) -> None:
    """Those of a tar, whose files nothing lists: `prepare` stops, on which the training waits."""
    path = make_tar(tmp_path / "own.tar", {f"cat/{n}.png": png(n) for n in range(5)})
    score = {"extractors": kinds, "weights": str(tmp_path), "download": True}
    plan = plan_of([write({"source": "archive", "path": str(path)}, score=score)])
    (fetched,), (prepared,) = plan.of_kind("fetch"), plan.of_kind("prepare")
    fetch_verb.run(Stage(fetched, plan.results))  # type: ignore[arg-type]
    if kinds == ["pixels"]:
        prepare_verb.run(Stage(prepared, plan.results))  # type: ignore[arg-type]
        return
    needed = {"photos": 2, "resnet50": 1000}[kinds[0]]
    with pytest.raises(DataError, match=f"1 classes, and `score.extractors` asks for one that needs {needed}"):
        prepare_verb.run(Stage(prepared, plan.results))  # type: ignore[arg-type]


# ----------------------------------------------------------------------------------------- supplied by hand


def test_without_the_files_it_plans_and_does_not_run(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    score = {"extractors": ["photos", "inception"], "weights": str(tmp_path), "download": True}
    plan = plan_of([write({"source": "imagenet", "path": str(tmp_path / "in")}, score=score)])
    said = capsys.readouterr().err
    assert "To be supplied by hand" in said
    assert said.count("dataset mine: ") == 3
    assert "ILSVRC2012_img_train.tar (147.9 GB)" in said
    assert [file.path.name for file in missing_data(plan)] == [f.file for f in built_in()["imagenet"].files]
    with pytest.raises(ConfigError, match=r"these must be supplied by hand:(.|\n)*img_val\.tar(.|\n)*devkit"):
        start(plan)
    assert not (tmp_path / "results").exists()


def test_an_incomplete_copy_is_found_when_planning(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its length, hours before its checksum would tell; and a list stands in for the development kit."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in/ILSVRC2012_img_train.tar").write_bytes(b"half")
    with (tmp_path / "in/ILSVRC2012_img_val.tar").open("wb") as file:
        file.truncate(6_744_924_160)
    (tmp_path / "in/imagenet_2012_validation_synset_labels.txt").touch()
    config = write({"source": "imagenet", "path": str(tmp_path / "in")})
    (missing,) = missing_data(plan_of([config]))
    assert missing.path == tmp_path / "in/ILSVRC2012_img_train.tar"
    assert "not the known file: 4 bytes instead of 147,897,477,120; delete it and get it again" in str(missing)
    capsys.readouterr()
    assert cli.main(["datasets", "imagenet", "-c", str(config)]) == 0
    said = capsys.readouterr().out
    assert "1 of 2 files there, 1 wrong, by hand" in said
    for line in ("wrong      ILSVRC2012_img_train", "there      ILSVRC2012_img_val", "not needed ILSVRC2012_devkit"):
        assert line in said


def test_an_incomplete_unpacked_copy_is_found_when_planning(write: Write, tmp_path: Path) -> None:
    for name in ("train/n01440764/1.JPEG", "val/n01440764/2.JPEG"):
        (tmp_path / "in/ILSVRC/Data/CLS-LOC" / name).parent.mkdir(parents=True)
        (tmp_path / "in/ILSVRC/Data/CLS-LOC" / name).touch()
    plan = plan_of([write({"source": "imagenet", "path": str(tmp_path / "in")})])
    assert [missing.wrong for missing in missing_data(plan)] == [
        "1 pictures instead of 1,281,167", "1 pictures instead of 50,000",
    ]  # fmt: skip
    with pytest.raises(
        ConfigError, match=r"CLS-LOC/val\n    not the known folder: 1 pictures instead of 50,000; complete it"
    ):
        start(plan)


def test_a_plan_lists_downloads(write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    score = {"extractors": ["inception"], "weights": str(tmp_path / "weights"), "download": True}
    plan = plan_of([write({"source": "places2", "path": str(tmp_path / "places")}, score=score)])
    said = capsys.readouterr().err
    assert "To be downloaded:\n  dataset mine: " in said
    assert "places/train_256_places365standard.tar (26.1 GB)" in said
    assert "weights of inception: " in said
    (spec,) = plan.of_kind("fetch")
    for name in plan.outputs(spec.folder):
        (plan.results / name).parent.mkdir(parents=True, exist_ok=True)
        (plan.results / name).touch()
    assert [line.split(":")[0] for line in to_download(plan)] == ["weights of inception"]


def test_a_downloadable_file_of_the_wrong_length_is_found_when_planning(write: Write, tmp_path: Path) -> None:
    """It would be downloaded if it were not there, but what is there is never overwritten."""
    files = [{"file": "x.zip", "urls": ["https://example.org/x.zip"], "bytes": 100}]
    mine = {"title": "Mine", "files": files, "license": "CC0"}
    config = write({"source": "my-set", "path": str(tmp_path / "in")}, registry={"my-set": mine})
    assert missing_data(plan_of([config])) == []
    (tmp_path / "in").mkdir()
    (tmp_path / "in/x.zip").write_bytes(bytes(99))
    (wrong,) = missing_data(plan_of([config]))
    assert wrong.wrong == "99 bytes instead of 100"


def test_fetched_files_are_not_requested_again(write: Write, tmp_path: Path) -> None:
    plan = plan_of([write({"source": "imagenet", "path": str(tmp_path / "in")})])
    (spec,) = plan.of_kind("fetch")
    for name in plan.outputs(spec.folder):
        (plan.results / name).parent.mkdir(parents=True, exist_ok=True)
        (plan.results / name).touch()
    assert missing_data(plan) == []


def test_datasets_are_shared_through_the_environment(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write({"source": "celeba-hq"})
    assert [m.path for m in missing_data(plan_of([file]))] == [tmp_path / "results/data/celeba-hq"]
    monkeypatch.setenv(VARIABLE, str(tmp_path / "shared"))
    assert [m.path for m in missing_data(plan_of([file]))] == [tmp_path / "shared/celeba-hq"]
    (tmp_path / "shared/celeba-hq").mkdir(parents=True)
    assert [m.wrong for m in missing_data(plan_of([file]))] == ["0 pictures instead of 30,000"]


# -------------------------------------------------------------------------------------------------- command


def test_the_list_of_datasets(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert cli.main(["datasets"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(built_in())
    assert re.search(r"imagenet +1,281,167 \+ 50,000 .*154\.6 GB +by hand +non-commercial", lines[0])
    assert "26.7 GB" in lines[1]
    assert "downloads itself" in lines[1]


def test_one_dataset_in_full_with_checksums(write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import hashlib

    good = make_zip(tmp_path / "sets/x.zip", {"a/1.png": png(1)})
    files = [{"file": "x.zip", "sha256": hashlib.sha256(good.read_bytes()).hexdigest()}, {"file": "y.zip"}]
    mine = {"title": "Mine", "files": files, "images": {"train": 1}, "license": "CC0", "by_hand": "ask me"}
    config = write({"source": "my-set", "path": str(tmp_path / "sets")}, registry={"my-set": mine})
    assert cli.main(["datasets", "my-set", "-c", str(config), "--check"]) == 0
    said = capsys.readouterr().out
    for part in (
        "my-set: Mine",
        "CC0",
        "1 of 2 files there, by hand",
        "ask me",
        f"good       {good}",
        "missing    y.zip",
    ):
        assert part in said
    good.write_bytes(good.read_bytes() + b"!")
    assert cli.main(["datasets", "my-set", "-c", str(config), "--check"]) == 3
    assert "x.zip: not the known file (sha256" in capsys.readouterr().err


def test_an_unknown_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["datasets", "plases2"]) == 2
    assert "no dataset is called 'plases2'. Did you mean 'places2'?" in capsys.readouterr().err
