"""JSON configs of the unofficial code become configs of ours; options without a counterpart are named."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from palette.cli import main
from palette.config import Config
from palette.data.sources.manifest import Manifest
from palette.errors import ConfigError
from palette.interop.converted import Converted
from palette.interop.upstream_config import convert
from palette.interop.upstream_json import read_config
from palette.running.start import plan_of
from palette.stages import fetch
from palette.stages.stage import Stage
from tests.interop.checkpoints import guided, json_config, save
from tests.workflow.project import Project

UNET = "model__which_networks__0__args__unet__"
ARGS = "datasets__train__which_dataset__args__"
TESTS = "datasets__test__which_dataset__args__"


def images(folder: Path, count: int) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{index:05}.png" for index in range(count)]
    for index, file in enumerate(files):
        Image.new("RGB", (20, 16), (index, 2 * index, 99)).save(file)
    return files


@pytest.fixture
def converted(tmp_path: Path) -> Callable[..., Converted]:
    """The conversion of a config of 40 images with changed entries, checked as a config of ours."""
    images(tmp_path / "images", 40)

    def made(start: Path | None = None, **changes: Any) -> Converted:
        result = convert(read_config(json_config(tmp_path, **changes)), start)
        Config.model_validate(yaml.safe_load(result.text(tmp_path / "faces.json")))
        return result

    return made


def said(result: Converted, option: str) -> str:
    """The one line about an option."""
    lines = [line for line in result.not_honored if line.split(":")[0].endswith(option)]
    assert len(lines) == 1, result.not_honored
    return lines[0]


def test_a_whole_config(converted: Callable[..., Converted], tmp_path: Path) -> None:
    config = converted().config
    assert config["datasets"]["faces"] == {
        "fetch": {"source": "folder", "path": str(tmp_path / "images")},
        "prepare": {"image_size": 16, "train_images": 36, "test_images": 4},
    }
    assert config["tasks"] == {"inpainting": {"degradation": "inpainting", "mask": "centre"}}
    model = config["models"]["palette"]
    assert model["network"] == {
        "backbone": "adm",
        "channels": 32,
        "multipliers": [1, 2],
        "blocks": 1,
        "attention": [8],
        "head_channels": 16,
        "noise_embedding": "log-snr",
        "groups": 32,
        "dropout": 0.0,
    }
    assert model["objective"] == {"kind": "epsilon", "loss": "l2"}
    expected = {"steps": 3, "batch_size": 2, "learning_rate": 5e-5, "warmup": 0, "ema": 0.99, "flip": False, "gpus": 1}
    assert expected.items() <= model["train"].items()
    assert config["samplers"] == {"ancestral1000": {"kind": "ancestral", "steps": 1000}}
    assert config["experiments"][0]["seed"] == 0


def test_batches_are_per_gpu_and_iterations_are_images(converted: Callable[..., Converted]) -> None:
    loader = "datasets__train__dataloader__"
    changes = {"gpu_ids": [0, 1, 2], "train__n_iter": 1e8, f"{loader}args": {"batch_size": 3}, "train__n_epoch": 5}
    train = converted(**changes, **{f"{loader}validation_split": 6, "seed": 7}).config["models"]["palette"]["train"]
    assert (train["batch_size"], train["gpus"], train["validation_images"]) == (9, 3, 6)
    assert train["steps"] == 5 * ((36 - 6) // 9)
    assert train["checkpoint_every"] == 3
    share = converted(**{f"{loader}validation_split": 0.25}).config["models"]["palette"]["train"]
    assert share["validation_images"] == 9


@pytest.mark.parametrize(("images", "steps"), [(6, 3), (7, 4), (1, 1)])
def test_a_last_batch_that_is_not_full_is_a_step(converted: Callable[..., Converted], images: int, steps: int) -> None:
    assert converted(train__n_iter=images).config["models"]["palette"]["train"]["steps"] == steps


def test_everything_unknown_is_named(converted: Callable[..., Converted]) -> None:
    result = converted(train__warp=9, **{f"{UNET}bias": True, "extra": {"a": 1}, "train__log_iter": 10})
    for option in ("train.warp", "unet.bias", "extra"):
        assert "unknown here" in said(result, option)
    assert "intervals of its own" in said(result, "train.log_iter")
    text = result.text(Path("faces.json"))
    assert all(f"#   {line}" in text for line in result.not_honored)


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"seed": -1}, "seed"),
        ({"model__which_model__args__optimizers": [{"lr": 1e-4, "weight_decay": 0.1}]}, "weight_decay"),
        ({"model__which_model__args__ema_scheduler__ema_start": 500}, "ema_scheduler"),
        ({"model__which_networks__0__args__beta_schedule__train__schedule": "cosine"}, "beta_schedule.train"),
        ({"model__which_networks__0__args__beta_schedule__test__n_timestep": 50}, "beta_schedule.test"),
        ({"model__which_metrics": ["mae", ["mine.metrics", "spectrum"]]}, "which_metrics"),
        ({f"{UNET}use_scale_shift_norm": False}, "use_scale_shift_norm"),
        ({f"{UNET}channel_mults": [2, 2]}, "channel_mults"),
        ({f"{UNET}num_head_channels": -1, f"{UNET}num_heads": 4}, "num_heads"),
        ({f"{ARGS}image_size": [16, 32]}, "args.image_size"),
    ],
)
def test_options_without_a_counterpart_are_named(
    changes: dict[str, Any], option: str, converted: Callable[..., Converted]
) -> None:
    lines = [line for line in converted(**changes).not_honored if option in line.split(":")[0]]
    assert lines
    if option not in ("seed", "args.image_size"):
        assert len(lines) > len([line for line in converted(seed=1).not_honored if option in line.split(":")[0]])


NAME = "datasets__train__which_dataset__name"


@pytest.mark.parametrize(
    ("option", "found", "says"),
    [
        (
            NAME,
            ["mine.data", "Galaxies"],
            "mine.data.Galaxies is none of InpaintDataset, UncroppingDataset, ColorizationDataset",
        ),
        (NAME, ["mine.data", "InpaintDataset"], "mine.data.InpaintDataset is none of"),
        (NAME.replace("train", "test"), "Galaxies", "Galaxies is none of InpaintDataset"),
        (NAME, None, "missing. It is one of InpaintDataset, UncroppingDataset, ColorizationDataset."),
        ("model__which_model__name", ["mine", "Model"], "mine.Model is none of Palette"),
        ("model__which_networks__0__name", ["mine", "Net"], "mine.Net is none of Network"),
        ("model__which_losses", ["focal"], "focal is none of mse_loss, MSELoss, l1_loss, L1Loss"),
        ("model__which_losses", [{"name": ["mine", "MSELoss"], "args": {}}], "mine.MSELoss is none of"),
    ],
)
def test_custom_classes_are_refused(converted: Callable[..., Converted], option: str, found: object, says: str) -> None:
    with pytest.raises(ConfigError) as error:
        converted(**{option: found})
    assert str(error.value).partition(".json: ")[2].startswith(f"{option.replace('__', '.')}: {says}")


@pytest.mark.parametrize(
    ("loss", "ours"), [(["torch.nn", "MSELoss"], "l2"), (["models.loss", "mse_loss"], "l2"), ("l1_loss", "l1")]
)
def test_known_losses(converted: Callable[..., Converted], loss: object, ours: str) -> None:
    assert converted(model__which_losses=[loss]).config["models"]["palette"]["objective"]["loss"] == ours


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("datasets__train__dataloader__args", {"batch_size": 0}, "batch_size: should be 1 or more, found 0."),
        ("train__n_iter", 0, "train.n_iter: should be 1 or more, found 0."),
        ("train__n_epoch", -1, "train.n_epoch: should be 1 or more, found -1."),
        (f"{UNET}channel_mults", [], "channel_mults: expected a list of numbers, found []."),
        (f"{ARGS}image_size", [], "image_size: expected a list of numbers, found []."),
        (f"{ARGS}image_size", [0, 0], "datasets.faces.prepare.image_size: Input should be greater than or equal to 8"),
        (f"{UNET}inner_channel", 0, "models.palette.network.channels: Input should be greater than or equal to 8"),
        (f"{UNET}num_head_channels", 0, "models.palette.network.head_channels: Input should be greater"),
        (f"{UNET}dropout", 1.5, "models.palette.network.dropout: Input should be less than 1 (given: 1.5)."),
        ("model__which_model__args__optimizers", [{"lr": -1.0}], "train.learning_rate: Input should be greater than 0"),
        (
            "model__which_networks__0__args__beta_schedule__test__n_timestep",
            0,
            "samplers.ancestral0.steps: Input should",
        ),
    ],
)
def test_impossible_values(converted: Callable[..., Converted], option: str, value: object, says: str) -> None:
    with pytest.raises(ConfigError) as error:
        converted(**{option: value})
    assert says in str(error.value)
    assert "faces.json: " in str(error.value)


def test_schedules_of_the_released_configs_match_ours(converted: Callable[..., Converted]) -> None:
    assert not [line for line in converted().not_honored if "beta_schedule" in line]


def test_attention_that_matches_no_level_is_noted(converted: Callable[..., Converted]) -> None:
    result = converted(**{f"{UNET}attn_res": [16]})
    assert result.config["models"]["palette"]["network"]["attention"] == []
    assert any("attn_res: [16] meets no level" in note for note in result.notes)


def fetched(config: dict[str, Any], folder: Path) -> dict[str, set[str]]:
    """Split → the names of its pictures, as `fetch` finds them by a converted config."""
    file = folder / "ours.yaml"
    file.write_text(yaml.safe_dump({**config, "results": str(folder / "results")}))
    (spec,) = plan_of([file]).of_kind("fetch")
    fetch.run(Stage.read(spec.write(folder / "results")))
    entries = list(Manifest.read(folder / "results" / spec.folder / "manifest.jsonl").images())
    return {split: {Path(e["file"]).name for e in entries if e["split"] == split} for split in ("train", "test")}


@pytest.mark.parametrize("relative", [False, True])
def test_file_lists_are_split_as_in_the_unofficial_code(
    tmp_path: Path, converted: Callable[..., Converted], monkeypatch: pytest.MonkeyPatch, relative: bool
) -> None:
    monkeypatch.chdir(tmp_path)  # where the unofficial code is started
    files = [file.relative_to(tmp_path) if relative else file for file in images(tmp_path / "images", 40)]
    (tmp_path / "lists").mkdir()
    for name, part in (("train", files[:30]), ("test", files[30:])):
        (tmp_path / f"lists/{name}.flist").write_text("\n".join(map(str, part)))
    roots = {f"{ARGS}data_root": "lists/train.flist", f"{TESTS}data_root": "lists/test.flist"}
    result = converted(**roots, **{f"{ARGS}data_len": 25})
    dataset = result.config["datasets"]["faces"]
    assert dataset["prepare"] == {"image_size": 16, "train_images": 25, "test_images": 10}
    assert not any("held out" in line or "prepare.seed" in line for line in result.not_honored)
    found = fetched(result.config, tmp_path)
    assert found == {"train": {file.name for file in files[:30]}, "test": {file.name for file in files[30:]}}


@pytest.mark.slow
@pytest.mark.parametrize(("classes", "kind"), [(("cats",), "pixels"), (("cats", "dogs"), "photos")])
def test_file_lists_run_through_to_scores(
    tmp_path: Path, converted: Callable[..., Converted], classes: tuple[str, ...], kind: str
) -> None:
    """With one class, by the note of the import and without the network that would need two."""
    for part, count in (("train", 6), ("test", 3)):
        files = [file for name in classes for file in images(tmp_path / part / name, count)]
        (tmp_path / f"{part}.flist").write_text("\n".join(map(str, files)))
    roots = {f"{ARGS}data_root": f"{tmp_path}/train.flist", f"{TESTS}data_root": f"{tmp_path}/test.flist"}
    config = converted(**roots).config
    config["models"]["palette"]["train"] |= {"steps": 2}
    config["samplers"] = {name: {**options, "steps": 2} for name, options in config["samplers"].items()}
    config["score"]["photos"] = {"steps": 2}
    project = Project.create(tmp_path / "project", config)
    project.snakemake()
    assert (project.results / "tabulate/faces/faces.csv").is_file()
    assert [folder.name.rpartition("-")[0] for folder in (project.results / "extractor").iterdir()] == [
        kind if kind == "pixels" else f"faces-{kind}"
    ]


def test_sibling_folders_are_split_as_in_the_unofficial_code(
    tmp_path: Path, converted: Callable[..., Converted]
) -> None:
    images(tmp_path / "set/train", 12)
    images(tmp_path / "set/val", 5)
    result = converted(
        **{f"{ARGS}data_root": str(tmp_path / "set/train"), f"{TESTS}data_root": str(tmp_path / "set/val")}
    )
    prepare = result.config["datasets"]["faces"]["prepare"]
    assert (prepare["train_images"], prepare["test_images"]) == (12, 5)
    assert {split: len(names) for split, names in fetched(result.config, tmp_path).items()} == {"train": 12, "test": 5}


def test_lists_that_share_images_are_split_again(tmp_path: Path, converted: Callable[..., Converted]) -> None:
    files = images(tmp_path / "images", 40)
    (tmp_path / "train.flist").write_text("\n".join(map(str, files[:30])))
    (tmp_path / "test.flist").write_text("\n".join(map(str, files[29:])))
    roots = {f"{ARGS}data_root": str(tmp_path / "train.flist"), f"{TESTS}data_root": str(tmp_path / "test.flist")}
    result = converted(**roots)
    assert result.config["datasets"]["faces"]["fetch"]["path"] == str(tmp_path / "images")
    assert any("not by the lists" in line for line in result.not_honored)


def test_colorization(tmp_path: Path, converted: Callable[..., Converted]) -> None:
    images(tmp_path / "set/color", 20)
    (tmp_path / "train.flist").write_text("\n".join(str(number) for number in range(15)))
    phase = {
        "which_dataset": {
            "name": "ColorizationDataset",
            "args": {"data_root": str(tmp_path / "set"), "data_flist": str(tmp_path / "train.flist")},
        }
    }
    result = converted(datasets={"train": phase, "test": phase}, model__which_model__args__task="colorization")
    dataset = result.config["datasets"]["faces"]
    assert dataset["fetch"]["path"] == str(tmp_path / "set/color")
    assert dataset["prepare"]["image_size"] == 224
    assert result.config["tasks"] == {"colorization": {"degradation": "colorization"}}
    assert any("gray is not read" in line for line in result.not_honored)


def test_missing_images(converted: Callable[..., Converted], tmp_path: Path) -> None:
    result = converted(**{f"{ARGS}data_root": str(tmp_path / "nowhere/train.flist")})
    assert result.config["datasets"]["faces"] == {
        "fetch": {"source": "folder", "path": str(tmp_path / "nowhere")},
        "prepare": {"image_size": 16},
    }
    assert any("cannot be read now" in line for line in result.not_honored)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"datasets__train__which_dataset__name": "MyDataset", "model__which_model__args__task": "dehaze"},
            "MyDataset is none of",
        ),
        ({f"{UNET}in_channel": 2}, "6 channels"),
        ({f"{UNET}channel_mults": [0.5, 1]}, r"channel_mults: \[0.5, 1\]"),
        ({"model__which_networks__0__args__module_name": "dit"}, "'dit'"),
        ({"train__n_iter": "all"}, "train.n_iter: expected int"),
    ],
)
def test_refused_configs(changes: dict[str, Any], says: str, converted: Callable[..., Converted]) -> None:
    with pytest.raises(ConfigError, match=says):
        converted(**changes)


def test_the_command_writes_yaml(
    tmp_path: Path, converted: Callable[..., Converted], capsys: pytest.CaptureFixture[str]
) -> None:
    file, output = json_config(tmp_path), tmp_path / "mine.yaml"
    assert main(["import", str(file), "-o", str(output)]) == 0
    assert "not honored: seed" in capsys.readouterr().out
    assert main(["config", "-c", str(output)]) == 0
    assert main(["import", str(file), "-o", str(output)]) == 2
    assert "is there already" in capsys.readouterr().err


def test_a_checkpoint_to_resume_from_is_imported(
    tmp_path: Path, converted: Callable[..., Converted], capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path / "200_Network.pth", guided())
    file = json_config(tmp_path, path__resume_state=str(tmp_path / "200"))
    assert main(["import", str(file), "-o", str(tmp_path / "mine.yaml")]) == 0
    model = yaml.safe_load((tmp_path / "mine.yaml").read_text())["models"]["palette"]
    assert model["network"]["noise_embedding"] == "gamma"
    start = Path(model["train"]["start_from"])
    assert start.exists()
    assert start.parent.parent == tmp_path / "mine"
    capsys.readouterr()
    missing = json_config(tmp_path, path__resume_state=str(tmp_path / "300"))
    assert main(["import", str(missing), "-o", str(tmp_path / "other.yaml")]) == 0
    assert "path.resume_state" in capsys.readouterr().out
    model = yaml.safe_load((tmp_path / "other.yaml").read_text())["models"]["palette"]
    assert model["network"]["noise_embedding"] == "log-snr"
    assert "start_from" not in model["train"]
