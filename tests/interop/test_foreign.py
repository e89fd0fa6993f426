"""Files that cannot be imported are identified, with what to do."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from palette.cli import main
from tests.interop.checkpoints import guided, imported, small_sr3
from tests.interop.test_adm_weights import FLAGS, adm, difference, save_adm

WEIGHT = {"a": torch.zeros(1)}


def sr3(file: Path) -> None:
    names = {f"denoise_fn.{name}": tensor for name, tensor in small_sr3().state_dict().items()}
    torch.save(names | {"betas": torch.zeros(2), "sqrt_alphas_cumprod": torch.zeros(2)}, file)


def classifier(file: Path) -> None:
    network = {name.replace("cond_embed", "time_embed"): t for name, t in guided().state_dict().items()}
    torch.save({name: tensor for name, tensor in network.items() if not name.startswith("output_blocks")}, file)


def a_lightning_file(file: Path) -> None:
    torch.save({"pytorch-lightning_version": "2.5.0", "epoch": 3, "state_dict": WEIGHT, "optimizer_states": []}, file)


def an_optimizer(file: Path) -> None:
    parameter = nn.Parameter(torch.zeros(1))
    torch.save(
        {"epoch": 3, "iter": 7, "scheduler": None, "optimizer": torch.optim.Adam([parameter]).state_dict()}, file
    )


@pytest.mark.parametrize(
    ("save", "says"),
    [
        (
            sr3,
            "a network of SR3 (Image-Super-Resolution-via-Iterative-Refinement), which takes the noise level as √γ",
        ),
        (classifier, "ADM's classifier of noisy images, which makes none. Name the diffusion model"),
        (a_lightning_file, "a checkpoint of PyTorch Lightning. In the program that made it, save that part alone"),
        (an_optimizer, "the state of an optimizer, without weights. Name the file of the weights"),
        (
            lambda file: torch.save(torch.optim.Adam([nn.Parameter(torch.zeros(1))]).state_dict(), file),
            "of an optimizer",
        ),
        (lambda file: torch.save({"model": WEIGHT, "epoch": 3}, file), "weights under 'model', beside 1 other entries"),
        (
            lambda file: torch.save(nn.Linear(1, 1), file),
            "If it is a whole model, save its weights in the program that",
        ),
        (
            lambda file: torch.save({"conv_in.weight": 0, "time_embedding.linear_1.weight": 0}, file),
            "a U-Net of diffusers, whose blocks differ",
        ),
    ],
)
def test_checkpoints_of_other_programs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], save: Callable[[Path], None], says: str
) -> None:
    file = tmp_path / "model.pth"
    save(file)
    assert main(["import", str(file), "-o", str(tmp_path / "m"), "--task", "inpainting"]) == 3
    assert f"{file}: " in (told := capsys.readouterr().err)
    assert says in told


def test_files_and_folders_not_written_by_torch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_file(WEIGHT, tmp_path / "unet.safetensors")
    (tmp_path / "pipeline/unet").mkdir(parents=True)
    for name, says in (("unet.safetensors", "a safetensors file"), ("pipeline", "a pipeline of diffusers")):
        assert main(["import", str(tmp_path / name), "-o", str(tmp_path / "m"), "--task", "inpainting"]) == 3
        assert f"{tmp_path / name}: {says}" in capsys.readouterr().err


def test_a_config_of_sr3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "sr.json"
    file.write_text(json.dumps({"datasets": {}, "model": {"which_model_G": "sr3", "unet": {}}}))
    assert main(["import", str(file), "-o", str(tmp_path / "ours.yaml")]) == 2
    assert f"{file}: a config of SR3" in capsys.readouterr().err


def test_adm_saved_by_distributed_training(tmp_path: Path) -> None:
    reference = adm()
    file = save_adm(tmp_path / "uncond.pt", reference)
    torch.save({f"module.{name}": tensor for name, tensor in torch.load(file).items()}, file)
    assert difference(reference, imported(file, tmp_path / "m", *FLAGS), 0.0) < 1e-5
