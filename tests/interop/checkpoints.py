"""Checkpoints as the unofficial code and ADM write them, of tiny reference networks."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from benchmarks.reference import guided_diffusion, sr3
from palette.cli import main
from palette.config.models import Network
from palette.interop.upstream_weights import BUFFERS
from palette.model.networks import build
from palette.model.unet import UNet

GUIDED: dict[str, Any] = {
    "inner_channel": 32,
    "channel_mults": (1, 2),
    "res_blocks": 1,
    "attn_res": (2,),
    "num_head_channels": 16,
    "dropout": 0.0,
}
SR3: dict[str, Any] = {
    "inner_channel": 32,
    "channel_mults": (1, 2),
    "res_blocks": 1,
    "attn_res": (8,),
    "image_size": 16,
    "norm_groups": 16,
}


def stirred(network: nn.Module, seed: int = 0) -> nn.Module:
    """Every weight at random, so that each part of the network counts and its output is about 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            random = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim > 1:
                parameter.copy_(random * parameter[0].numel() ** -0.5)
            else:
                parameter.add_(0.3 * random)
    return network.eval()


def guided(seed: int = 0, **options: Any) -> nn.Module:
    return stirred(guided_diffusion.UNet(**(GUIDED | options)), seed)


def small_sr3(seed: int = 0, **options: Any) -> nn.Module:
    return stirred(sr3.UNet(**(SR3 | options)), seed)


def save(file: Path, network: nn.Module, buffers: bool = True, prefix: str = "") -> Path:
    """`Network`'s state dict: schedule buffers first, then the U-Net's tensors."""
    content: dict[str, Tensor] = {name: torch.rand(2000) for name in BUFFERS} if buffers else {}
    content |= {f"denoise_fn.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save({f"{prefix}{name}": tensor for name, tensor in content.items()}, file)
    return file


def save_state(file: Path, optimizer: torch.optim.Optimizer) -> Path:
    torch.save({"epoch": 200, "iter": 6000, "schedulers": [], "optimizers": [optimizer.state_dict()]}, file)
    return file


def imported(file: Path, folder: Path, *arguments: str) -> UNet:
    """What the command line makes of a checkpoint."""
    assert main(["import", str(file), "-o", str(folder), *arguments]) == 0
    return model(folder)


def model(folder: Path) -> UNet:
    facts = json.loads((folder / "model.json").read_text())
    network = build(Network.model_validate(facts["network"]), facts["image_size"])
    network.load_state_dict(load_file(folder / "model.safetensors"))
    return network.eval()


def json_config(folder: Path, name: str = "faces", **changes: Any) -> Path:
    """A JSON config of a tiny inpainting model, with changed entries (`path__to__option`), as a file."""
    phase = {
        "which_dataset": {
            "name": ["data.dataset", "InpaintDataset"],
            "args": {
                "data_root": str(folder / "images"),
                "image_size": [16, 16],
                "mask_config": {"mask_mode": "center"},
            },
        },
        "dataloader": {"args": {"batch_size": 2, "num_workers": 1}},
    }
    unet = {"in_channel": 6, "out_channel": 3, "image_size": 16, **GUIDED}
    content: dict[str, Any] = {
        "name": name,
        "gpu_ids": [0],
        "seed": -1,
        "path": {"base_dir": "experiments", "resume_state": None},
        "datasets": {"train": phase, "test": phase},
        "model": {
            "which_model": {
                "name": ["models.model", "Palette"],
                "args": {
                    "task": "inpainting",
                    "ema_scheduler": {"ema_start": 1, "ema_iter": 1, "ema_decay": 0.99},
                    "optimizers": [{"lr": 5e-5, "weight_decay": 0}],
                },
            },
            "which_networks": [
                {
                    "name": ["models.network", "Network"],
                    "args": {
                        "module_name": "guided_diffusion",
                        "unet": unet,
                        "beta_schedule": {
                            "train": {
                                "schedule": "linear",
                                "n_timestep": 2000,
                                "linear_start": 1e-6,
                                "linear_end": 0.01,
                            },
                            "test": {
                                "schedule": "linear",
                                "n_timestep": 1000,
                                "linear_start": 1e-4,
                                "linear_end": 0.09,
                            },
                        },
                    },
                }
            ],
            "which_losses": ["mse_loss"],
        },
        "train": {"n_epoch": 1e8, "n_iter": 6, "val_epoch": 1, "save_checkpoint_epoch": 1},
    }
    content = json.loads(json.dumps(content))  # no entry is shared any more
    for path, value in changes.items():
        *sections, last = path.split("__")
        section: Any = content
        for part in sections:
            section = section[int(part) if part.isdigit() else part]
        section[last] = value
    file = folder / f"{name}.json"
    file.write_text("// a comment\n" + json.dumps(content, indent=2))
    return file
