"""Pretrained weights: known files, their sources and their folder. Imports no torch, so that planning is fast."""

import os
from dataclasses import dataclass
from pathlib import Path

from palette.errors import ConfigError, DataError
from palette.system.download import Remote, download
from palette.system.files import sha256

VARIABLE = "PALETTE_WEIGHTS"
"""Environment variable with the folder of weights."""


@dataclass(frozen=True)
class Weights:
    """A file of pretrained weights."""

    file: str
    url: str
    sha256: str
    about: str
    """Description and purpose."""


_INCEPTION = Weights(
    file="inception-2015-12-05.pt",
    url="https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/inception-2015-12-05.pt",
    sha256="f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4",
    about="the Inception network of 2015, for FID, KID and the Inception Score",
)

WEIGHTS: dict[str, Weights] = {
    "inception": _INCEPTION,
    "inception-legacy-tensorflow": _INCEPTION,
    "inception-legacy-pytorch": Weights(
        file="pt_inception-2015-12-05-6726825d.pth",
        url="https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
        sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
        about="the Inception network of 2015 as pytorch-fid has it",
    ),
    "resnet50": Weights(
        file="resnet50-0676ba61.pth",
        url="https://download.pytorch.org/models/resnet50-0676ba61.pth",
        sha256="0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
        about="torchvision's ResNet-50, IMAGENET1K_V1, for classification accuracy",
    ),
    "efficientnet-b0": Weights(
        file="efficientnet_b0_rwightman-7f5810bc.pth",
        url="https://download.pytorch.org/models/efficientnet_b0_rwightman-7f5810bc.pth",
        sha256="7f5810bc96def8f7552d5b7e68d53c4786f81167d28291b21c0d90e1fca14934",
        about="torchvision's EfficientNet-B0, IMAGENET1K_V1, for classification accuracy",
    ),
    "dinov2": Weights(
        file="dinov2_vitl14_pretrain.pth",
        url="https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/dinov2_vitl14_pretrain.pth",
        sha256="d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428",
        about="DINOv2 ViT-L/14, for FD-DINOv2",
    ),
    "lpips": Weights(
        file="alexnet-owt-7be5be79.pth",
        url="https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
        sha256="7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
        about="torchvision's AlexNet, the trunk of LPIPS; its heads are in the package lpips",
    ),
}
"""Kind of extractor → its file."""


def folder_of(folder: Path | None) -> Path | None:
    """Return the folder of weights: the given one, else that of the environment variable, else None."""
    named = os.environ.get(VARIABLE)
    return folder or (Path(named) if named else None)


def locate(folder: Path | None, name: str, download: bool = False) -> Path:
    """Return the path of the weights file of extractor `name`: where it is, or with `download` where it will be.

    folder: where to look; None means the environment variable PALETTE_WEIGHTS. Only checks if the file exists: `verify`
    reads it, `fetch` downloads it. Raises ConfigError naming file, URL, hash, folder and variable.
    """
    weights, folder = WEIGHTS[name], folder_of(folder)
    if folder is None:
        raise ConfigError(missing(weights, "no folder of weights is named"))
    path = folder.expanduser().absolute() / weights.file
    if not path.is_file() and not download:
        raise ConfigError(missing(weights, f"{path} does not exist"))
    return path


def missing(weights: Weights, problem: str) -> str:
    """Return the message for a user who lacks a file: which file, where to get it, where to put it."""
    return (
        f"extractor weights: {problem}. Needed: {weights.file} ({weights.about}).\n"
        f"  Get it from {weights.url}\n"
        f"  (SHA-256 {weights.sha256})\n"
        f"  and put it into a folder that `score.weights` in the config or the environment variable {VARIABLE} names;\n"
        f"  or set `score.download: true`. Without it, `score.extractors: [photos]` needs no file."
    )


def verify(path: Path, expected: str) -> None:
    """Raise DataError unless the SHA-256 of the file is `expected`."""
    found = sha256(path)
    if found != expected:
        raise DataError(
            f"{path}: not the known file (sha256 {found}, expected {expected}). Delete it and get it again."
        )


def fetch(weights: Weights, path: Path) -> None:
    """Download a file of weights to `path`, unless it exists.

    Jobs that need the same file wait for the one that downloads it.

    The download is verified under another name and then renamed: an incomplete download is never mistaken for the file.
    Raises DataError.
    """
    about = missing(weights, "the download failed")
    download(Remote(weights.file, (weights.url,), sha256=weights.sha256, about=about), path)
