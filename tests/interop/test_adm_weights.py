"""ADM's networks become warm starts with the same outputs, whatever the condition."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from palette.cli import main
from palette.model.noise import adm_levels
from tests.interop.checkpoints import guided, imported

FLAGS = ("--head-channels", "16", "--image-size", "16")


def adm(**options: Any) -> nn.Module:
    """A network with ADM's learned variance, which is told the timestep."""
    return guided(in_channel=3, out_channel=6, **options)


def save_adm(file: Path, network: nn.Module, **more: Tensor) -> Path:
    names = {name: name.replace("cond_embed", "time_embed") for name in network.state_dict()}
    torch.save({names[name]: tensor for name, tensor in network.state_dict().items()} | more, file)
    return file


@torch.no_grad()
def difference(reference: nn.Module, ours: nn.Module, condition: float) -> float:
    steps = torch.tensor([0, 1, 17, 250, 500, 998, 999])
    noisy, other = torch.randn(2, len(steps), 3, 16, 16, generator=torch.Generator().manual_seed(2))
    expected = reference(noisy, steps)[:, :3]
    found = ours(torch.cat([condition * other, noisy], dim=1), adm_levels()[steps])
    assert expected.std() > 0.3
    return float((found - expected).abs().max())


@pytest.mark.parametrize("attn_res", [(1, 2), (2,), (4,)])
def test_unconditional_network(attn_res: tuple[int, ...], tmp_path: Path) -> None:
    reference = adm(attn_res=attn_res)
    ours = imported(save_adm(tmp_path / "uncond.pt", reference), tmp_path / "m", *FLAGS)
    assert difference(reference, ours, 0.0) < 1e-5
    assert difference(reference, ours, 5.0) < 1e-5
    facts = json.loads((tmp_path / "m/model.json").read_text())
    assert facts["network"]["noise_embedding"] == "timestep"
    assert facts["mix"] == {}
    assert set(facts["imported"]["dropped"]) == {"out.2.weight[3:]", "out.2.bias[3:]"}


def test_class_conditional_network_is_of_the_mean_class(tmp_path: Path) -> None:
    reference = adm()
    labels = torch.randn(10, 128, generator=torch.Generator().manual_seed(3))
    file = save_adm(tmp_path / "cond.pt", reference, **{"label_emb.weight": labels})
    ours = imported(file, tmp_path / "m", "--from", "adm", *FLAGS)
    assert difference(reference, ours, 1.0) > 0.1
    with torch.no_grad():
        reference.cond_embed[2].bias += labels.mean(dim=0)  # type: ignore[index, operator, union-attr]
    assert difference(reference, ours, 1.0) < 1e-5
    dropped = json.loads((tmp_path / "m/model.json").read_text())["imported"]["dropped"]
    assert "the mean of the 10 embeddings" in dropped["label_emb.weight"]


def test_half_precision_weights(tmp_path: Path) -> None:
    reference = adm().half().float()
    ours = imported(save_adm(tmp_path / "half.pt", reference.half()), tmp_path / "m", *FLAGS)
    assert difference(reference.float(), ours, 0.0) < 1e-5


def test_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    six = save_adm(tmp_path / "six.pt", guided())
    assert main(["import", str(six), "-o", str(tmp_path / "m")]) == 3
    assert "takes 6 channels" in capsys.readouterr().err
    other = tmp_path / "other.pt"
    torch.save({"a": torch.zeros(1)}, other)
    assert main(["import", str(other), "--from", "adm", "-o", str(tmp_path / "m")]) == 3
    assert "time_embed" in capsys.readouterr().err
    assert main(["import", str(six), "-o", str(tmp_path / "m"), "--raw"]) == 2
    assert "no meaning for a network of ADM" in capsys.readouterr().err
