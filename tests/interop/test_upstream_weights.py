"""Checkpoints of the unofficial code become models of ours with the same outputs."""

import errno
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from palette.cli import main
from palette.config.models import Network
from palette.diffusion.schedule import log_snr_of_gamma
from palette.interop.upstream_weights import BUFFERS
from palette.model import facts
from palette.stages.train import TrainRuntime
from palette.system.files import sha256
from palette.training.distributed import World
from palette.training.start import begin
from palette.training.trainer import build
from tests.interop.checkpoints import guided, imported, json_config, model, save, save_state, small_sr3
from tests.tiny import train_spec

GAMMAS = (4.4e-5, 1e-3, 0.03, 0.3, 0.7, 0.97, 0.9999, 1 - 1e-6)
FLAGS = ("--task", "inpainting", "--image-size", "16")


@torch.no_grad()
def difference(reference: nn.Module, ours: nn.Module, height: int, width: int) -> float:
    """The largest difference of the outputs over γ; the outputs are about 1."""
    gamma = torch.tensor(GAMMAS, dtype=torch.float64)
    x = torch.randn(len(gamma), 6, height, width, generator=torch.Generator().manual_seed(1))
    expected: Tensor = reference(x, gamma.float()[:, None])
    assert expected.std() > 0.3
    return float((ours(x, log_snr_of_gamma(gamma)) - expected).abs().max())


@pytest.mark.parametrize(
    ("network", "flags"),
    [
        (lambda: guided(), ("--head-channels", "16")),
        (lambda: guided(attn_res=(1,), num_head_channels=32), ()),
        (lambda: guided(attn_res=(16,), channel_mults=(1, 1, 3), res_blocks=2), ("--head-channels", "16")),
        (lambda: small_sr3(norm_groups=32), ()),
        (lambda: small_sr3(norm_groups=32, channel_mults=(2, 1, 1), res_blocks=2, attn_res=(16, 4)), ()),
    ],
    ids=["guided", "guided-one-head", "guided-middle", "sr3", "sr3-deep"],
)
@pytest.mark.parametrize("sides", [(16, 16), (8, 24)], ids=["square", "oblong"])
def test_equal_outputs(
    network: Callable[[], nn.Module], flags: tuple[str, ...], sides: tuple[int, int], tmp_path: Path
) -> None:
    reference = network()
    file = save(tmp_path / "200_Network.pth", reference)
    assert difference(reference, imported(file, tmp_path / "m", *FLAGS, *flags), *sides) < 1e-5


def test_the_json_config_gives_what_shapes_do_not(tmp_path: Path) -> None:
    reference = guided()
    file, config = save(tmp_path / "200_Network.pth", reference), json_config(tmp_path)
    ours = imported(file, tmp_path / "m", "--config", str(config))
    assert difference(reference, ours, 16, 16) < 1e-5
    facts = json.loads((tmp_path / "m/model.json").read_text())
    assert (facts["mix"], facts["image_size"], facts["attention_at"]) == ({"inpainting": 1.0}, 16, [8])
    assert facts["network"]["head_channels"] == 16
    assert facts["objective"] == {"kind": "epsilon", "loss": "l2", "weighting": "none"}
    assert facts["imported"]["assumed"] == []


def test_sr3_with_its_config(tmp_path: Path) -> None:
    reference = small_sr3()  # 16 groups, which no shape tells
    unet = {"inner_channel": 32, "channel_mults": [1, 2], "res_blocks": 1, "attn_res": [8], "norm_groups": 16}
    options = {"module_name": "sr3", "unet": {**unet, "image_size": 16, "dropout": 0.1}, "beta_schedule": {}}
    config = json_config(tmp_path, model__which_networks__0__args=options)
    ours = imported(save(tmp_path / "8_Network.pth", reference), tmp_path / "m", "--config", str(config))
    assert difference(reference, ours, 16, 24) < 1e-5
    assert ours.network.dropout == 0.1


def test_new_attention_order_needs_no_reordering(tmp_path: Path) -> None:
    file = save(tmp_path / "200_Network.pth", guided())
    new = json_config(tmp_path, **{"model__which_networks__0__args__unet__use_new_attention_order": True})
    imported(file, tmp_path / "new", "--config", str(new))
    imported(file, tmp_path / "old", *FLAGS, "--head-channels", "16")
    qkv = "middle.0.attention.qkv.weight"
    theirs = torch.load(file, weights_only=True)["denoise_fn.middle_block.1.qkv.weight"][..., None]
    assert torch.equal(load_file(tmp_path / "new/model.safetensors")[qkv], theirs)
    assert not torch.equal(load_file(tmp_path / "old/model.safetensors")[qkv], theirs)


# -------------------------------------------------------------------------------------- what is imported


@pytest.fixture
def checkpoint(tmp_path: Path) -> tuple[Path, nn.Module, nn.Module, torch.optim.Adam]:
    """Prefix of a checkpoint in three files; the network, its average and the optimizer after three steps."""
    network, average = guided(), guided(seed=1)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for step in range(3):
        torch.autograd.backward(objective(network, step))
        optimizer.step()
        optimizer.zero_grad()
    save(tmp_path / "200_Network.pth", network)
    save(tmp_path / "200_Network_ema.pth", average, buffers=False)
    save_state(tmp_path / "200.state", optimizer)
    return tmp_path / "200", network, average, optimizer


def objective(network: nn.Module, seed: int, gamma: float = 0.5, ours: bool = False) -> Tensor:
    """Some loss, the same for the reference and for our network."""
    x = torch.randn(2, 6, 16, 16, generator=torch.Generator().manual_seed(seed))
    level = torch.full((2,), gamma, dtype=torch.float64)
    return (network(x, log_snr_of_gamma(level)) if ours else network(x, level.float()[:, None])).square().mean()


def test_a_prefix_brings_all_three_files(
    checkpoint: tuple[Path, nn.Module, nn.Module, torch.optim.Adam], tmp_path: Path
) -> None:
    prefix, network, average, _ = checkpoint
    ours = imported(prefix, tmp_path / "m", *FLAGS, "--head-channels", "16")
    assert difference(average, ours, 16, 16) < 1e-5  # the average is what is sampled from
    start = load_file(tmp_path / "m/start.safetensors")
    groups = {key.partition("/")[0] for key in start}
    assert groups == {"network", "averages", "exp_avg", "exp_avg_sq"}
    ours.load_state_dict({name: start[f"network/{name}"] for name in ours.state_dict()})
    assert difference(network, ours, 16, 16) < 1e-5
    with safe_open(tmp_path / "m/start.safetensors", "pt") as file:
        assert file.metadata() == {"adam_step": "3"}
    facts = json.loads((tmp_path / "m/model.json").read_text())
    assert (facts["step"], facts["images"]) == (3, 6000)
    assert facts["sha256"] == sha256(tmp_path / "m/model.safetensors")
    origin = facts["imported"]
    assert [entry["file"] for entry in origin["files"]] == ["200_Network.pth", "200_Network_ema.pth", "200.state"]
    assert origin["files"][0]["sha256"] == sha256(tmp_path / "200_Network.pth")
    assert set(origin["dropped"]) == set(BUFFERS)
    assert origin["mapped"]["denoise_fn.input_blocks.0.0.weight"] == "first.weight"
    assert set(origin["mapped"].values()) == set(ours.state_dict())


def test_raw_and_single_files(checkpoint: tuple[Path, nn.Module, nn.Module, torch.optim.Adam], tmp_path: Path) -> None:
    prefix, network, average, _ = checkpoint
    flags = (*FLAGS, "--head-channels", "16")
    assert difference(network, imported(prefix, tmp_path / "raw", "--raw", *flags), 16, 16) < 1e-5
    assert difference(network, imported(tmp_path / "200_Network.pth", tmp_path / "one", *flags), 16, 16) < 1e-5
    assert difference(average, imported(tmp_path / "200_Network_ema.pth", tmp_path / "ema", *flags), 16, 16) < 1e-5
    assert not (tmp_path / "one/start.safetensors").exists()


def test_a_checkpoint_without_averages(tmp_path: Path) -> None:
    network = guided()
    optimizer = torch.optim.Adam(network.parameters())
    torch.autograd.backward(objective(network, 0))
    optimizer.step()
    save(tmp_path / "8_Network.pth", network)
    save_state(tmp_path / "8.state", optimizer)
    ours = imported(tmp_path / "8.state", tmp_path / "m", *FLAGS, "--head-channels", "16")
    assert difference(network, ours, 16, 16) < 1e-5
    start = load_file(tmp_path / "m/start.safetensors")
    assert all(torch.equal(start[f"averages/{name}"], start[f"network/{name}"]) for name in ours.state_dict())


def test_a_training_resumes_with_the_same_adam(
    checkpoint: tuple[Path, nn.Module, nn.Module, torch.optim.Adam], tmp_path: Path
) -> None:
    """One step of our trainer's optimizer from the import equals one more step of the reference's."""
    prefix, network, _, optimizer = checkpoint
    imported(prefix, tmp_path / "m", *FLAGS, "--head-channels", "16")
    start = tmp_path / "m/start.safetensors"
    facts = json.loads((tmp_path / "m/model.json").read_text())
    spec = train_spec(
        network=Network.model_validate(facts["network"]),
        learning_rate=1e-3,
        start_sha256=sha256(start),
        runtime=TrainRuntime(start_from=start),
    )
    trainer = build(spec, World(0, 1, torch.device("cpu")))
    begin(trainer)
    trainer.network.eval()  # no dropout
    torch.autograd.backward(objective(trainer.network, 9, ours=True))
    torch.autograd.backward(objective(network, 9))
    gradients = model_of(
        save(tmp_path / "gradients_Network.pth", gradients_as_weights(network)), tmp_path / "gradients"
    )
    for name, weight in trainer.network.named_parameters():
        assert weight.grad is not None
        torch.testing.assert_close(weight.grad, gradients[name], atol=1e-5, rtol=1e-4, msg=name)
        weight.grad.copy_(gradients[name])  # Adam makes steps of rounding errors where a gradient is 0
    trainer.optimizer.step()
    optimizer.step()
    after = model_of(save(tmp_path / "201_Network.pth", network), tmp_path / "after")
    before = load_file(start)
    for name, weight in trainer.network.named_parameters():
        assert (weight - before[f"network/{name}"]).abs().max() > 1e-5, name
        torch.testing.assert_close(weight.detach(), after[name], atol=1e-6, rtol=0, msg=name)


def gradients_as_weights(network: nn.Module) -> nn.Module:
    same = guided()
    same.load_state_dict({name: weight.grad for name, weight in network.named_parameters()})
    return same


def model_of(file: Path, folder: Path) -> dict[str, Tensor]:
    return imported(file, folder, *FLAGS, "--head-channels", "16").state_dict()


def test_wrapped_by_distributed_data_parallel(tmp_path: Path) -> None:
    reference = guided()
    file = save(tmp_path / "200_Network.pth", reference, prefix="module.")
    assert difference(reference, imported(file, tmp_path / "m", *FLAGS, "--head-channels", "16"), 16, 16) < 1e-5


def test_verbose_names_every_tensor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = save(tmp_path / "200_Network.pth", guided())
    flags = (*FLAGS, "--head-channels", "16")
    imported(file, tmp_path / "m", *flags)
    counts = capsys.readouterr().out
    assert "dropped: 6 (--verbose" in counts
    assert "dropout 0.2, as in the released configs" in counts
    assert "middle_block" not in counts
    imported(file, tmp_path / "n", *flags, "--verbose")
    names = capsys.readouterr().out
    assert "denoise_fn.middle_block.1.qkv.bias → middle.0.attention.qkv.bias" in names
    assert "posterior_mean_coef1 dropped" in names


# ------------------------------------------------------------------------------------------- what is not


def refused(capsys: pytest.CaptureFixture[str], code: int, *arguments: str) -> str:
    """The message with which the command line refuses."""
    capsys.readouterr()
    assert main(["import", *arguments]) == code
    return capsys.readouterr().err


def test_a_config_of_another_network_names_keys_and_shapes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unet = "model__which_networks__0__args__unet__"
    config = json_config(tmp_path, **{f"{unet}inner_channel": 64, f"{unet}attn_res": [1]})
    file = save(tmp_path / "200_Network.pth", guided())
    text = refused(capsys, 3, str(file), "-o", str(tmp_path / "m"), "--config", str(config))
    assert "unet.inner_channel: 64 in the config, 32 in the file: cond_embed.0.weight [128, 32]" in text
    assert "attn_res" in text
    assert "input_blocks.3.1.qkv.weight [192, 64, 1]" in text
    assert not (tmp_path / "m").exists()


def test_wrong_backbone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = save(tmp_path / "200_Network.pth", small_sr3())
    text = refused(capsys, 3, str(file), "-o", str(tmp_path / "m"), "--config", str(json_config(tmp_path)))
    assert "weights of sr3" in text
    assert "module_name: guided_diffusion" in text


def test_unknown_and_missing_tensors_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = save(tmp_path / "200_Network.pth", guided())
    content = torch.load(file, weights_only=True)
    content["denoise_fn.extra.weight"] = content.pop("denoise_fn.out.0.bias")
    torch.save(content, file)
    text = refused(capsys, 3, str(file), "-o", str(tmp_path / "m"), *FLAGS)
    assert "unknown: extra.weight" in text
    assert "missing: out.0.bias" in text
    content["optimizer"] = torch.zeros(1)
    torch.save(content, file)
    assert "the state of an optimizer, without weights" in refused(
        capsys, 3, str(file), "-o", str(tmp_path / "m"), *FLAGS
    )


def test_a_tensor_of_another_shape(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = save(tmp_path / "200_Network.pth", guided())
    content = torch.load(file, weights_only=True)
    content["denoise_fn.middle_block.0.in_layers.0.bias"] = torch.zeros(7)
    torch.save(content, file)
    text = refused(capsys, 3, str(file), "-o", str(tmp_path / "m"), *FLAGS, "--head-channels", "16")
    assert "middle_block.0.in_layers.0.bias is [7]" in text
    assert "[64]" in text


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"input_blocks.2.0.op.weight": torch.zeros(32, 32, 3, 3)}, "resblock_updown: false"),
        ({"input_blocks.1.0.emb_layers.1.weight": torch.zeros(32, 128)}, "use_scale_shift_norm: false"),
        ({"input_blocks.0.0.weight": torch.zeros(64, 6, 3, 3)}, "channel_mults"),
        ({"input_blocks.0.0.weight": torch.zeros(32, 2, 3, 3)}, "takes 2 channels"),
        ({"input_blocks.1.0.in_layers.2.weight": torch.zeros(48, 32, 3, 3)}, "no whole multiple"),
    ],
)
def test_variants_without_a_counterpart(
    change: dict[str, Tensor], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = save(tmp_path / "200_Network.pth", guided())
    content = torch.load(file, weights_only=True) | {f"denoise_fn.{key}": tensor for key, tensor in change.items()}
    if "no whole multiple" in says:
        content["denoise_fn.input_blocks.1.0.emb_layers.1.weight"] = torch.zeros(96, 128)
    torch.save(content, file)
    assert says in refused(capsys, 3, str(file), "-o", str(tmp_path / "m"), *FLAGS)


def test_flags_are_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = str(save(tmp_path / "200_Network.pth", guided())), ("-o", str(tmp_path / "m"))
    assert "does not tell its task" in refused(capsys, 2, file, *out)
    assert "Did you mean 'inpainting'" in refused(capsys, 2, file, *out, "--task", "inpaintig")
    assert "--ema: there are no such weights" in refused(capsys, 2, file, *out, *FLAGS, "--ema")
    assert "must be 1 or more" in refused(capsys, 2, file, *out, "--task", "inpainting", "--head-channels", "0")
    assert "24" in refused(capsys, 2, file, *out, *FLAGS, "--head-channels", "24")
    sr3_file = str(save(tmp_path / "8_Network.pth", small_sr3()))
    assert "has one head" in refused(capsys, 2, sr3_file, *out, *FLAGS, "--head-channels", "16")
    assert "neither" in refused(capsys, 3, str(tmp_path / "9"), *out, *FLAGS)
    assert "a folder. Name a checkpoint in it: 200, 8" in refused(capsys, 3, str(tmp_path), *out, *FLAGS)
    config = str(json_config(tmp_path))
    assert "takes no option" in refused(capsys, 2, config, "-o", str(tmp_path / "c.yaml"), "--raw")


def test_an_optimizer_of_another_network(
    checkpoint: tuple[Path, nn.Module, nn.Module, torch.optim.Adam], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prefix = checkpoint[0]
    other = torch.optim.Adam(nn.Linear(2, 2).parameters())
    save_state(tmp_path / "200.state", other)
    flags = (*FLAGS, "--head-channels", "16")
    assert "the optimizer's state is of 0 parameters" in refused(
        capsys, 3, str(prefix), "-o", str(tmp_path / "m"), *flags
    )
    for content in ({"epoch": 3}, [1], {"optimizers": [3]}, {"optimizers": [{"state": {}, "param_groups": []}]}):
        torch.save(content, tmp_path / "200.state")
        assert "not a training state" in refused(capsys, 3, str(prefix), "-o", str(tmp_path / "m"), *flags)


def test_adam_options_that_differ_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = guided()
    optimizer = torch.optim.Adam(network.parameters(), weight_decay=0.1)
    torch.autograd.backward(objective(network, 0))
    optimizer.step()
    save(tmp_path / "8_Network.pth", network)
    save_state(tmp_path / "8.state", optimizer)
    imported(tmp_path / "8", tmp_path / "m", *FLAGS, "--head-channels", "16")
    assert "Not taken over of Adam: weight_decay 0.1." in capsys.readouterr().out


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = save(tmp_path / "200_Network.pth", guided())
    imported(file, tmp_path / "m", *FLAGS, "--head-channels", "16")
    before = sha256(tmp_path / "m/model.safetensors")
    assert "is there already" in refused(
        capsys, 2, str(file), "-o", str(tmp_path / "m"), *FLAGS, "--head-channels", "32"
    )
    assert sha256(tmp_path / "m/model.safetensors") == before
    assert model(tmp_path / "m").network.head_channels == 16


@pytest.mark.parametrize("name", ["200_Network.pth", "200_Network_ema.pth", "200.state"])
def test_nan_values_are_refused(
    checkpoint: tuple[Path, nn.Module, nn.Module, torch.optim.Adam],
    tmp_path: Path,
    name: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    content = torch.load(tmp_path / name, weights_only=True)
    tensor = content["optimizers"][0]["state"][3]["exp_avg_sq"] if name == "200.state" else [*content.values()][-1]
    tensor.view(-1)[0] = float("-inf" if name == "200.state" else "nan")
    torch.save(content, tmp_path / name)
    code = main(["import", str(checkpoint[0]), "-o", str(tmp_path / "m"), *FLAGS, "--head-channels", "16"])
    assert code == 3
    assert f"{name}: NaN or infinite values in " in capsys.readouterr().err
    assert not (tmp_path / "m").exists()


def test_an_import_that_failed_can_be_repeated(
    checkpoint: tuple[Path, nn.Module, nn.Module, torch.optim.Adam], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "model.json")

    arguments = ["import", str(checkpoint[0]), "-o", str(tmp_path / "m"), *FLAGS, "--head-channels", "16"]
    with monkeypatch.context() as patched:
        patched.setattr(facts, "write_json", full)
        assert main(arguments) == 3
    assert not list((tmp_path / "m").iterdir())
    assert main(arguments) == 0
