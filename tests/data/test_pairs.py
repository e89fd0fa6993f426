"""A dataset of pairs, from two folders to the restored image: 16 px, eight pairs, a network of a few thousand weights."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from palette.cli import main
from palette.data.fetch import same_shape
from palette.data.sources.manifest import Manifest, opener
from palette.data.store.store import ImageStore
from palette.errors import ConfigError, DataError
from palette.publish.figures.samples import degraded
from palette.running.start import plan_of
from palette.stages import fetch, prepare, sample, train
from palette.stages.base import Spec
from palette.stages.reading import read_spec
from palette.stages.stage import Stage
from palette.training.stream import Stream, open_images

PAIRS = 8
VERBS: dict[str, Any] = {"fetch": fetch.run, "prepare": prepare.run, "train": train.run}


def color(number: int) -> tuple[int, int, int]:
    """Of target `number`; its condition is the negative."""
    return 30 * number, 100, 255 - 30 * number


def paint(path: Path, number: int, size: tuple[int, int] = (24, 16), negative: bool = False) -> None:
    """A picture whose left half is dark."""
    pixels = np.full((size[1], size[0], 3), color(number), np.uint8)
    pixels[:, : size[0] // 2] //= 4
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(255 - pixels if negative else pixels).save(path)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """`targets` and `conditions`; the conditions are twice as large, and of another format."""
    for number in range(PAIRS):
        paint(tmp_path / f"targets/{number % 2}/{number}.png", number)
        paint(tmp_path / f"conditions/{number % 2}/{number}.bmp", number, (48, 32), negative=True)
    return tmp_path


def config(folder: Path, **changes: Any) -> dict[str, Any]:
    network = {"channels": 8, "multipliers": [1, 2], "blocks": 1, "attention": [8], "head_channels": 8}
    return {
        "results": str(folder / "results"),
        "datasets": {
            "mine": {
                "fetch": {
                    "source": "pairs", "path": str(folder / "targets"), "conditions": str(folder / "conditions")
                },
                "prepare": {"image_size": 16, "train_images": 5, "test_images": 3},
            }
        },
        "tasks": {"pair": {"degradation": "paired"}, "small": {"degradation": "super-resolution", "factor": 2}},
        "models": {
            "palette": {
                "network": network,
                "mix": {"paired": 2, "super-resolution": 1},
                "train": {"steps": 3, "batch_size": 4, "warmup": 1, "validation_images": 1, "validate_every": 3},
            }
        },
        "samplers": {"dpm": {"steps": 2}},
        "sample": {"shard_size": 3, "draws": 1},
        "experiments": [
            {"dataset": "mine", "task": ["pair", "small"], "model": "palette", "sampler": "dpm"},
            {"dataset": "mine", "task": ["pair", "small"], "model": "input"},
        ],
        **changes,
    }  # fmt: skip


def written(folder: Path, **changes: Any) -> Path:
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(config(folder, **changes)))
    return file


def made(folder: Path, *kinds: str) -> dict[str, Stage[Any]]:
    """Run the stages of `kinds` from the specs that `plan --write` left; kind/name → stage."""
    specs: list[tuple[Path, Spec]] = [(f, read_spec(f)) for f in sorted(folder.glob("results/*/*/spec.yaml"))]
    stages = {}
    for kind in kinds:
        for file, spec in specs:
            if spec.kind == kind:
                stages[f"{kind}/{spec.name}"] = stage = Stage.read(file)
                sample.run(stage, 0) if kind == "sample" else VERBS[kind](stage)
    return stages


def number_of(entry: dict[str, Any]) -> int:
    return int(Path(entry["file"]).stem)


def test_from_the_folders_to_the_restored_images(folders: Path) -> None:
    assert main(["plan", "-c", str(written(folders)), "--write"]) in (0, None)
    stages = made(folders, "fetch", "prepare", "train", "sample")
    planned = plan_of([folders / "config.yaml"])
    for stage in stages.values():
        assert all((folders / "results" / output).is_file() for output in planned.outputs(stage.spec.folder))
    prepared = stages["prepare/mine"]
    with ImageStore(prepared.path("test.zip")) as tests:
        shown = stages["sample/mine-pair-input"]
        with ImageStore(shown.path("shard-000.zip")) as inputs:
            for index, entry in enumerate(tests.manifest):
                negative = 255 - np.array(color(number_of(entry)))
                assert (inputs[index][:, -1] == negative).all()
        with ImageStore(stages["sample/mine-small-input"].path("shard-000.zip")) as inputs:
            assert (inputs[0][:, -1] == tests[0][:, -1]).all()
    for row in planned.rows:
        assert row.condition == ("2" if row.task == "small" else None)
        (panel,) = degraded(row, folders / "results", [1])
        with ImageStore(stages[f"sample/mine-{row.task}-input"].path("shard-000.zip")) as inputs:
            assert np.array_equal(panel, inputs[1])
    with ImageStore(stages["sample/mine-pair-palette-dpm-s0"].path("shard-000.zip")) as restored:
        assert len(restored) == 3
        assert restored[0].shape == (16, 16, 3)


@pytest.fixture
def prepared(folders: Path) -> Path:
    """The folder of a finished prepare stage."""
    for spec in plan_of([written(folders)]).stages.values():
        spec.write(folders / "results")
    return made(folders, "fetch", "prepare")["prepare/mine"].path("")


def test_conditions_are_in_the_order_of_their_targets(prepared: Path) -> None:
    for split, count in (("train", 5), ("test", 3)):
        with (
            ImageStore(prepared / f"{split}.zip") as images,
            ImageStore(prepared / f"{split}-conditions.zip") as others,
        ):
            assert images.names == others.names
            assert images.labels == others.labels
            assert len(images) == count
            for index in range(count):
                assert number_of(images.manifest[index]) == number_of(others.manifest[index])
                assert images.manifest[index]["box"] == [side // 2 for side in others.manifest[index]["box"]]
                assert np.abs(images[index].astype(int) + others[index] - 255).max() <= 16  # of the filters at the edge
    card = json.loads((prepared / "card.json").read_text())
    assert set(card["artifacts"]) == {
        "train.zip", "test.zip", "train-conditions.zip", "test-conditions.zip", "prepare.json",
    }  # fmt: skip


def test_the_stream_mirrors_both_alike(prepared: Path) -> None:
    with open_images(prepared / "train.zip", {"paired": 1.0}) as images:
        stream = Stream(images, {"paired": 1.0}, seed=0, batch_size=4, image_size=16, flip=True)
        examples = [stream.example(position) for position in range(30)]
    bright = [example.x0[1, 0, -1] > example.x0[1, 0, 0] for example in examples]
    assert 5 < sum(bright) < 25
    for example in examples:
        assert np.abs(example.condition + example.x0).max() < 0.13  # of the negative
        assert example.mask.all()


def test_a_mix_shows_each_task_its_own_condition(prepared: Path) -> None:
    mix = {"paired": 1.0, "colorization": 1.0}
    with open_images(prepared / "train.zip", mix) as images:
        stream = Stream(images, mix, seed=0, batch_size=4, image_size=16, flip=True)
        gray = [np.ptp(stream.example(position).condition, axis=0).max() < 1e-6 for position in range(200)]
    assert 70 < sum(gray) < 130


def test_stores_that_are_not_pairs_are_refused(prepared: Path) -> None:
    (prepared / "train-conditions.zip").write_bytes((prepared / "test-conditions.zip").read_bytes())
    with pytest.raises(DataError, match="not the conditions of the images"):
        open_images(prepared / "train.zip", {"paired": 1.0})
    (prepared / "train-conditions.zip").unlink()
    with pytest.raises(DataError, match=r"train-conditions\.zip: no such image store"):
        open_images(prepared / "train.zip", {"paired": 1.0})


# ---------------------------------------------------------------------------------------------------- planning


def test_missing_partners_are_found_when_planning(folders: Path) -> None:
    (folders / "conditions/1/3.bmp").unlink()
    with pytest.raises(DataError, match=r"3\.png: no file 1/3\.\* in .*conditions"):
        plan_of([written(folders)])


def test_a_folder_cannot_be_paired_with_itself(folders: Path) -> None:
    (folders / "conditions").rename(folders / "elsewhere")
    (folders / "conditions").symlink_to(folders / "targets")
    with pytest.raises(DataError, match="targets: `path` and `conditions` of `fetch` are the same folder"):
        plan_of([written(folders)])


def test_missing_folder_is_named_with_its_option(folders: Path) -> None:
    file = written(folders)
    (folders / "conditions").rename(folders / "elsewhere")
    with pytest.raises(
        ConfigError, match=r"config\.yaml:\d+: datasets\.mine\.fetch\.conditions: no folder .*conditions"
    ):
        plan_of([file])


def test_a_new_condition_makes_the_plan_start_over(folders: Path) -> None:
    before = plan_of([written(folders)]).of_kind("fetch")[0]
    paint(folders / "conditions/1/3.bmp", 3, (96, 64))
    assert plan_of([written(folders)]).of_kind("fetch")[0].folder != before.folder


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"datasets": {"mine": {}}}, r"experiments\.0\.dataset: task 'pair' \(`paired`\) needs .*'mine' is `photos`"),
        (
            {"datasets": {"mine": {}}, "experiments": [{"dataset": "mine", "task": "small", "model": "palette", "sampler": "dpm"}]},
            "the mix of model 'palette', with `paired`, needs",
        ),
        ({"datasets": {"mine": {"fetch": {"source": "pairs", "path": "here"}}}}, "`conditions` goes with `source: pairs`"),
        (
            {"datasets": {"mine": {"fetch": {"source": "folder", "path": "here"}, "prepare": {"conditions": {"filter": "nearest"}}}}},
            "`conditions` of `prepare` goes with `source: pairs`, not with folder",
        ),
        ({"datasets": {"mine": {"prepare": {"range": [9, 3]}}}}, r"prepare\.range: the value of black comes first"),
        ({"datasets": {"mine": {"prepare": {"range": [0, 4095]}}}}, r"prepare\.range: .* has no meaning with `source: photos`"),
        ({"datasets": {"mine": {"fetch": {"source": "pairs"}}}}, "`source: pairs` needs a `path`"),
        (
            {"datasets": {"mine": {"fetch": {"source": "folder", "path": "here", "conditions": "there"}}}},
            "`conditions` goes with `source: pairs`, and only with it",
        ),
        (
            {"tasks": {"pair": {"degradation": "paired"}, "small": {"degradation": "super-resolution", "factor": 3}}},
            "3 does not divide the image size 16",
        ),
        ({"tasks": {"pair": {"degradation": "paired", "factor": 2}}}, "`factor` has no meaning for paired"),
        ({"datasets": {"mine": {"fetch": {"source": "folder", "path": "~nobody-of-this-name/x"}}}}, "cannot be resolved"),
    ],
)  # fmt: skip
def test_impossible_requests(folders: Path, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        plan_of([written(folders, **changes)])


def test_folders_are_the_same_from_any_working_directory(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`~` and relative paths are resolved where the config is read; the spec has what was found there."""
    monkeypatch.setenv("HOME", str(folders))
    monkeypatch.chdir(folders)
    dataset = config(folders)["datasets"]["mine"]
    plain = plan_of([written(folders)]).of_kind("fetch")[0]
    dataset["fetch"] |= {"path": "~/targets", "conditions": "conditions"}
    stage = Stage.read(
        plan_of([written(folders, datasets={"mine": dataset})]).of_kind("fetch")[0].write(folders / "results")
    )
    assert stage.spec.folder == plain.folder
    monkeypatch.chdir("/")
    monkeypatch.setenv("HOME", "/nowhere")
    fetch.run(stage)
    assert Manifest.read(stage.path("manifest.jsonl")).header["images"] == PAIRS


def test_a_name_that_is_not_text_does_not_stop_the_plan(folders: Path) -> None:
    try:
        Path(str(folders / "targets") + "/0/\udcff.txt").touch()
    except OSError:
        pytest.skip("this file system wants UTF-8")
    assert plan_of([written(folders)]).rows


# ------------------------------------------------------------------------------------------------------- fetch


def listed(folders: Path) -> Manifest:
    """The manifest of the two folders."""
    stage = Stage.read(plan_of([written(folders)]).of_kind("fetch")[0].write(folders / "results"))
    fetch.run(stage)
    return Manifest.read(stage.path("manifest.jsonl"))


def test_a_damaged_picture_takes_its_partner_with_it(folders: Path) -> None:
    (folders / "targets/0/2.png").write_bytes(b"x")
    (folders / "conditions/1/5.bmp").write_bytes(b"x")
    manifest = listed(folders)
    rejected = list(manifest.rejected())
    assert [entry["file"] for entry in rejected] == ["0/2.png", "1/5.png"]
    assert rejected[1]["reason"].startswith("its condition 1/5.bmp: not an image")
    images = list(manifest.images())
    assert len(images) == PAIRS - 2
    assert all(set(e["condition"]) == {"file", "container", "bytes", "sha256", "size"} for e in images)
    read = opener(manifest)
    assert read(images[0]["condition"]) == (folders / "conditions" / images[0]["condition"]["file"]).read_bytes()


def test_pairs_of_different_shapes_are_refused(folders: Path) -> None:
    paint(folders / "conditions/1/3.bmp", 3, (40, 32))
    with pytest.raises(DataError, match=r"targets/1/3\.png: 24 × 16, and its condition .*conditions/1/3\.bmp: 40 × 32"):
        listed(folders)


@pytest.mark.parametrize(
    ("sizes", "same"),
    [
        ((256, 171, 128, 85), True),
        ((256, 171, 128, 86), True),
        ((1000, 667, 100, 67), True),
        ((64, 64, 64, 64), True),
        ((64, 64, 64, 60), False),
        ((300, 200, 200, 300), False),
        ((1000, 667, 100, 70), False),
    ],
)
def test_aspect_ratios_match_up_to_whole_pixels(sizes: tuple[int, int, int, int], same: bool) -> None:
    width, height, other_width, other_height = sizes
    assert same_shape(width, height, other_width, other_height) is same
    assert same_shape(other_width, other_height, width, height) is same
