"""`palette info`: counts against formulas and real runs, facts against the files that they come from."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

from palette.cli import main
from palette.config.models import Network
from palette.costs import models
from palette.model import description
from palette.model.blocks import Attention
from palette.model.flops import flops, parameters, training_flops
from palette.model.memory import activations
from palette.model.networks import adm, build
from palette.stages import train
from palette.system.units import scaled
from tests.tiny import NETWORK, SIZE, prepared, stage, train_spec

SMALL: dict[str, Any] = {
    "datasets": {"photos": {"prepare": {"image_size": SIZE}}, "faces": {"prepare": {"image_size": SIZE}}},
    "tasks": {"jpeg": {"degradation": "jpeg"}, "color": {"degradation": "colorization"}},
    "models": {
        "one": {
            "network": NETWORK.model_dump(mode="json"),
            "train": {"steps": 100, "batch_size": 8, "ema_widths": [0.05, 0.1]},
        },
        "mix": {"network": NETWORK.model_dump(mode="json"), "mix": {"jpeg": 1, "colorization": 1}},
        "regression": {"network": NETWORK.model_dump(mode="json"), "objective": {"kind": "regression"}},
    },
    "samplers": {"dpm": {"steps": 20}, "heun": {"kind": "heun", "steps": 18}},
    "experiments": [
        {
            "dataset": ["photos", "faces"],
            "task": ["jpeg", "color"],
            "model": "one",
            "sampler": ["dpm", "heun"],
            "seed": [0, 1],
        },
        {"dataset": "photos", "task": ["jpeg", "color"], "model": "mix", "sampler": "dpm"},
        {"dataset": "photos", "task": "jpeg", "model": ["regression", "input"]},
        {"dataset": "photos", "model": "originals"},
    ],
}


def written(path: Path, **changes: Any) -> Path:
    path.write_text(yaml.safe_dump({**SMALL, **changes}, sort_keys=False))
    return path


def real(network: Network) -> nn.Module:
    torch.manual_seed(0)
    return build(network, SIZE)


NETWORKS = {
    "adm": NETWORK,
    "wide": NETWORK.model_copy(update={"channels": 32, "attention": (16, 8), "head_channels": 16}),
    "sr3": NETWORK.model_copy(update={"backbone": "sr3"}),
    "timestep": NETWORK.model_copy(update={"noise_embedding": "timestep", "patch_size": 2}),
}


def formula(model: nn.Module) -> int:
    """FLOP of one image: 2·k²·inner·outer a pixel of a convolution, 2·inner·outer of a linear layer, 4·C·N² of attention."""
    total = 0

    def add(module: nn.Module, _: tuple[Tensor, ...], out: Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Conv2d):
            total += 2 * module.weight[0].numel() * out[0].numel()
        elif isinstance(module, nn.Linear):
            total += 2 * module.in_features * out[0].numel()
        elif isinstance(module, Attention):
            total += 4 * out.shape[1] * (out.shape[2] * out.shape[3]) ** 2

    for module in model.modules():
        module.register_forward_hook(add)
    with pytest.MonkeyPatch.context() as patch:  # the shortcut for CPUs
        patch.setattr(adm, "doubled", lambda h, conv: conv(adm.resample(h, "up")))
        model(torch.zeros(1, 6, SIZE, SIZE), torch.zeros(1))
    return total


@pytest.mark.parametrize("name", NETWORKS)
def test_flops_are_those_of_convolutions_linear_layers_and_attention(name: str) -> None:
    found = flops(NETWORKS[name], SIZE)
    assert found == formula(real(NETWORKS[name]))
    assert training_flops(NETWORKS[name], SIZE, recompute=False) == 3 * found
    assert training_flops(NETWORKS[name], SIZE, recompute=True) == 4 * found
    assert parameters(NETWORKS[name], SIZE) == sum(p.numel() for p in real(NETWORKS[name]).parameters())


def saved_bytes(model: nn.Module, batch: int) -> int:
    """What a real forward pass keeps for the backward pass, weights aside."""
    kept: dict[int, int] = {}
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = model(torch.zeros(batch, 6, SIZE, SIZE), torch.zeros(batch))
    assert out.requires_grad
    return sum(size for place, size in kept.items() if place not in own)


@pytest.mark.parametrize("name", NETWORKS)
def test_memory_is_that_of_a_real_pass_plus_a_little_for_backward(name: str) -> None:
    model = real(NETWORKS[name]).train()
    kept = saved_bytes(model, 2) - saved_bytes(model, 1)
    found = activations(NETWORKS[name], SIZE)
    assert kept <= found.training <= 1.3 * kept
    assert found.sampling < found.training / 2


def test_memory_of_half_precision_and_of_recomputation_is_less() -> None:
    plain = activations(NETWORKS["wide"], SIZE).training
    assert 0.4 < activations(NETWORKS["wide"], SIZE, "bf16").training / plain < 0.9
    assert activations(NETWORKS["wide"], SIZE, recompute=True).training < 0.7 * plain


def test_counting_leaves_networks_as_they_are() -> None:
    """What it pretends must not stay behind in tables that networks share."""
    activations(NETWORKS["timestep"], SIZE)
    out = real(NETWORKS["timestep"])(torch.zeros(1, 6, SIZE, SIZE), torch.zeros(1))
    assert type(out) is Tensor
    assert torch.isfinite(out).all()


@pytest.mark.slow
def test_the_papers_network_without_its_memory(tmp_path: Path) -> None:
    paper = {"channels": 256, "multipliers": [1, 1, 2, 2, 4, 4]}
    models = {"palette": {"network": paper, "train": {"steps": 1_000_000, "batch_size": 1024}}}
    config = written(
        tmp_path / "paper.yaml",
        datasets={"imagenet": {"fetch": {"source": "folder", "path": "not/here"}, "prepare": {"image_size": 256}}},
        models=models,
        samplers={"paper": {"kind": "ancestral", "steps": 1000}},
        experiments=[{"dataset": "imagenet", "task": "jpeg", "model": "palette", "sampler": "paper"}],
    )
    code = (
        "import sys; from palette.cli import main; from benchmarks.timing import resident\n"
        "code = main(['info', '-c', sys.argv[1]]); print(resident('VmHWM') or 0); sys.exit(code)"  # 0: not on Linux
    )
    run = subprocess.run([sys.executable, "-c", code, str(config)], check=True, capture_output=True, text=True)
    *text, peak = run.stdout.splitlines()
    lines = {line[:20].strip(): line[20:].strip() for line in text}
    assert lines["parameters"] == "552,814,083"
    # Dhariwal & Nichol 2021 and later papers give ADM at 256 pixels 1.12e12 multiplications with additions.
    flops = float(lines["evaluation"].removesuffix(" TFLOP an image"))
    assert flops == pytest.approx(2 * 1.12, rel=0.01)
    assert lines["sample, paper"] == f"1,000 evaluations: {flops:.2f} PFLOP"
    assert lines["memory in training"].endswith("beside 11.1 GB of weights, gradients, moments and averages")
    assert float(peak) * 2**20 < 4 * 552_814_083


def test_a_config_lists_its_trainings_and_samplers(tmp_path: Path) -> None:
    one, mix, regression = models.of_config(written(tmp_path / "c.yaml"))["models"]
    found = flops(NETWORK, SIZE)
    assert (one["model"], one["trainings"], mix["trainings"], regression["trainings"]) == ("one", 8, 1, 1)
    assert one["training_flops"] == 100 * 8 * 3 * found
    assert one["all_trainings_flops"] == 8 * one["training_flops"]
    assert one["training_state_bytes"] == (4 + 4 + 8 + 3 * 4) * parameters(NETWORK, SIZE)
    assert one["samplers"] == [
        {"sampler": "dpm", "evaluations": 20, "flops_per_sample": 20 * found},
        {"sampler": "heun", "evaluations": 35, "flops_per_sample": 35 * found},
    ]
    assert regression["samplers"] == [{"sampler": None, "evaluations": 1, "flops_per_sample": found}]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model after two steps."""
    results = prepared(tmp_path_factory.mktemp("results"))
    one = stage(results, train_spec(steps=2, warmup=0, ema_widths=(0.05, 0.1)))
    train.run(one)
    return one.path("")


@pytest.mark.parametrize("file", ["", "model.safetensors", "model.json", "averages.safetensors"])
def test_a_model_is_described(trained: Path, file: str) -> None:
    facts = description.describe(trained / file)
    card = json.loads((trained / "card.json").read_text())
    assert facts["parameters"] == json.loads((trained / "model.json").read_text())["parameters"]
    assert facts["mix"] == {"colorization": 1.0, "inpainting": 1.0}
    assert (facts["dataset"], facts["steps"], facts["images"], facts["batch_size"]) == ("tiny", 2, 16, 8)
    assert facts["averages"] == [0.05, 0.1]
    assert {key: facts[key] for key in ("training_seconds", "device", "versions")} == {
        key: card[key] for key in ("training_seconds", "device", "versions")
    }
    text = description.text(facts)
    assert "colorization (1), inpainting (1); dataset tiny" in text
    assert "2 steps, 16 images, 0:0" in text
    assert "decay 0.9; widths 0.05, 0.1" in text


def test_the_weights_alone_are_enough(trained: Path, tmp_path: Path) -> None:
    alone = tmp_path / "mine.safetensors"
    alone.write_bytes((trained / "model.safetensors").read_bytes())
    facts = description.describe(alone)
    assert (facts["network"], facts["steps"]) == (NETWORK.model_dump(mode="json"), 2)
    assert "2 steps" in description.text(facts)


def test_an_imported_model_names_its_origin(trained: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    save_file(load_file(trained / "model.safetensors"), tmp_path / "model.safetensors", {"imported": "palette"})
    imported = {
        "format": "palette",
        "mapped": {"a": "b"},
        "dropped": {},
        "assumed": ["32 channels a head"],
        "notes": [],
    }
    facts = json.loads((trained / "model.json").read_text()) | {"step": None, "images": None, "imported": imported}
    (tmp_path / "model.json").write_text(json.dumps(facts))
    text = description.text(description.describe(tmp_path))
    assert "trained for         unknown" in text
    assert "mapped            1 tensors" in text
    assert "32 channels a head" in text


def test_the_command_prints_json(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--json", str(trained)]) == 0
    assert json.loads(capsys.readouterr().out) == description.describe(trained)
    config = written(tmp_path / "c.yaml")
    assert main(["info", "--json", "-c", str(config)]) == 0
    assert json.loads(capsys.readouterr().out) == models.of_config(config)


def test_files_that_are_not_models(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nameless, broken, other = tmp_path / "a.safetensors", tmp_path / "b.safetensors", tmp_path / "weights.pt"
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(2)}, nameless)
    broken.write_bytes(b"PK")
    other.write_bytes(b"")
    for argument, message in (
        (tmp_path / "nowhere", "no model"),
        (tmp_path, "no model"),
        (other, "no model"),
        (nameless, "palette import"),
        (broken, "not a readable safetensors file"),
    ):
        assert main(["info", str(argument)]) == 3
        assert message in capsys.readouterr().err
    assert main(["info"]) == 2
    assert main(["info", str(trained), "-c", "config.yaml"]) == 2
    assert "name one thing" in capsys.readouterr().err
    assert main(["info", "-c", str(written(tmp_path / "c.yaml", models={}))]) == 2


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (999.6, "1.00 kB"),
        (9_994, "9.99 kB"),
        (9_996, "10.0 kB"),
        (123_456, "123 kB"),
        (2.24e15, "2.24 PB"),
    ],
)
def test_numbers_have_three_digits(number: float, text: str) -> None:
    assert scaled(number, "B") == text
