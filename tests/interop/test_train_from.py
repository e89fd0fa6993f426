"""`palette train -c FILE` with a config: makes what the training needs, once, where `snakemake` looks for it."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from palette.cli import main
from palette.running import train_from
from palette.running.start import plan_of
from tests.interop.checkpoints import guided, json_config, model, save, save_state
from tests.interop.test_upstream_config import images
from tests.interop.test_upstream_weights import difference

CONFIG = """
results: results
datasets:
  photos: {prepare: {image_size: 16, train_images: 8, test_images: 2}}
tasks:
  colorization: {degradation: colorization}
models:
  tiny:
    network: {channels: 8, multipliers: [1, 2], blocks: 1, attention: [], head_channels: 8}
    train: {steps: 2, batch_size: 2}
  other:
    network: {channels: 8, multipliers: [1], blocks: 1, attention: [], head_channels: 8}
    train: {steps: 1, batch_size: 2}
samplers:
  quick: {kind: ddim, steps: 2}
experiments:
  - {dataset: photos, task: colorization, model: tiny, sampler: quick}
  - {dataset: photos, task: colorization, model: input}
"""
OTHER = "  - {dataset: photos, task: colorization, model: other, sampler: quick}\n"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS"):  # what a command sets for its own process
        monkeypatch.setenv(variable, "")


def config(text: str) -> str:
    Path("my.yaml").write_text(text)
    return "my.yaml"


def done() -> set[str]:
    """The stages that are done, as `palette plan` sees them."""
    plan = plan_of([Path("my.yaml")])
    return {
        spec.kind
        for spec in plan.stages.values()
        if all((plan.results / o).exists() for o in plan.outputs(spec.folder))
    }


def test_the_only_model_of_a_config(capsys: pytest.CaptureFixture[str]) -> None:
    file = config(CONFIG)
    assert main(["train", "-c", file]) == 0
    assert done() == {"fetch", "prepare", "train"}
    model = Path(capsys.readouterr().out.splitlines()[0])
    written = model.stat().st_mtime_ns
    assert main(["train", "-c", file]) == 0
    assert "done" in capsys.readouterr().err
    assert model.stat().st_mtime_ns == written


def test_one_of_several_experiments(capsys: pytest.CaptureFixture[str]) -> None:
    file = config(CONFIG + OTHER)
    assert main(["train", "-c", file]) == 2
    message = capsys.readouterr().err
    assert "2 models are trained" in message
    assert "photos-colorization-other-quick-s0" in message
    assert main(["train", "-c", file, "--experiment", "photos-colorization-other-quik-s0"]) == 2
    assert "Did you mean 'photos-colorization-other-quick-s0'" in capsys.readouterr().err
    assert main(["train", "-c", file, "--experiment", "photos-colorization-input"]) == 2
    assert "needs no training" in capsys.readouterr().err
    assert not Path("results/train").exists()
    assert main(["train", "-c", file, "--experiment", "photos-colorization-other-quick-s0"]) == 0
    assert [folder.name[:25] for folder in Path("results/train").iterdir()] == ["photos-colorization-other"]


def test_mistakes_in_a_config(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "-c", config(CONFIG.replace("steps: 2,", "stops: 2,"))]) == 2
    assert "Did you mean 'steps'" in capsys.readouterr().err
    assert main(["train", "-c", "nothing.yaml"]) == 2
    assert "no such file" in capsys.readouterr().err


def test_a_json_config_resumes_from_its_checkpoint(capsys: pytest.CaptureFixture[str]) -> None:
    """With Adam's state; then once more, where all is done; then changed weights, which are another start."""
    images(Path("images"), 12)
    network = guided()
    optimizer = torch.optim.Adam(network.parameters())
    torch.autograd.backward(network(torch.ones(1, 6, 16, 16), torch.full((1, 1), 0.5)).square().mean())
    optimizer.step()
    save(Path("200_Network.pth"), network)
    save_state(Path("200.state"), optimizer)
    file = json_config(Path(), path__resume_state="200")
    assert main(["train", "-c", str(file)]) == 0
    told = capsys.readouterr()
    assert "not honored: seed" in told.err
    written = Path(told.out.splitlines()[0])
    facts = json.loads(written.with_name("model.json").read_text())
    assert (facts["step"], facts["network"]["noise_embedding"]) == (3, "gamma")
    spec = yaml.safe_load(written.with_name("spec.yaml").read_text())
    assert "exp_avg/first.weight" in load_file(spec["runtime"]["start_from"])
    assert main(["train", "-c", str(file)]) == 0
    assert Path(capsys.readouterr().out.splitlines()[0]) == written
    save(Path("200_Network.pth"), guided(seed=5))
    assert main(["train", "-c", str(file)]) == 0
    assert Path(capsys.readouterr().out.splitlines()[0]) != written


def test_a_continued_training_starts_its_averages_from_those_of_the_checkpoint(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Three steps that move no weight: the average of the files, and three times a hundredth of their weights."""
    images(Path("images"), 12)
    network, average = guided(), guided(seed=1)
    optimizer = torch.optim.Adam(network.parameters())
    torch.autograd.backward(network(torch.ones(1, 6, 16, 16), torch.full((1, 1), 0.5)).square().mean())
    optimizer.step()
    for state in optimizer.state.values():
        state["step"].fill_(6000)  # the decay's ramp is over
    save(Path("200_Network.pth"), network)
    save(Path("200_Network_ema.pth"), average)
    save_state(Path("200.state"), optimizer)
    still = {"model__which_model__args__optimizers": [{"lr": 1e-30, "weight_decay": 0}]}
    assert main(["train", "-c", str(json_config(Path(), path__resume_state="200", **still))]) == 0
    trained = model(Path(capsys.readouterr().out.splitlines()[0]).parent)
    share = 0.99**3
    for expected, weight in zip(average.parameters(), network.parameters(), strict=True):
        expected.data = share * expected.data + (1 - share) * weight.data
    assert difference(average, trained, 16, 16) < 1e-5
    assert difference(network, trained, 16, 16) > 0.1


def test_a_json_config_without_its_checkpoint_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    images(Path("images"), 12)
    assert main(["train", "-c", str(json_config(Path(), path__resume_state="there/200"))]) == 3
    message = capsys.readouterr().err
    assert "there/200: no such checkpoint" in message
    assert "set that to null" in message
    assert not Path("results/train").exists()


def test_fewer_gpus_than_requested(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    class Lease:
        def __init__(self, count: int) -> None:
            asked.append(count)

        def __enter__(self) -> None: ...

        def __exit__(self, *error: object) -> None: ...

    monkeypatch.setattr("palette.system.gpu_lease.lease", Lease)
    file = config(CONFIG.replace("batch_size: 2}", "batch_size: 2, gpus: 2}", 1))
    train_from.run(Path(file), None, 1)
    assert asked == [0, 0, 1]
