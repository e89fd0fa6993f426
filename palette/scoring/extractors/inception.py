"""The Inception network of 2015, in the three modes of clean-fid, for FID, KID and the Inception Score."""

from functools import partial
from typing import Any

import numpy.typing as npt

from palette.scoring.extractors import Arrays, Extractor, Measure, Prepare, Source
from palette.scoring.weights import Weights


def _load(source: Source, mode: str) -> tuple[Prepare, Measure]:
    import torch

    from palette.scoring.inception import legacy_pytorch, torchscript
    from palette.scoring.loading import array, checked, state

    if mode == "legacy_pytorch":
        network, prepare = legacy_pytorch(state(source))
    else:
        network, prepare = torchscript(checked(source, source.weights), mode)
    model = network.to(source.device).to(memory_format=torch.channels_last).eval()

    def measure(outputs: npt.NDArray[Any], *_: Any) -> Arrays:
        images = torch.from_numpy(outputs).to(source.device).permute(0, 3, 1, 2).float()
        features, spatial, probabilities = model(images.contiguous(memory_format=torch.channels_last))
        arrays = {"features": array(features), "probabilities": array(probabilities)}
        return arrays if spatial is None else {**arrays, "spatial": array(spatial)}

    return prepare, measure


NVIDIA = Weights(
    file="inception-2015-12-05.pt",
    url="https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/inception-2015-12-05.pt",
    sha256="f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4",
    about="the Inception network of 2015, for FID, KID and the Inception Score",
)
PYTORCH_FID = Weights(
    file="pt_inception-2015-12-05-6726825d.pth",
    url="https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
    sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    about="the Inception network of 2015 as pytorch-fid has it",
)

EXTRACTORS: dict[str, Extractor] = {
    "inception": Extractor(
        partial(_load, mode="clean"),
        resize="Pillow bicubic to 299 x 299 with anti-aliasing, not rounded (clean-fid, mode clean)",
        weights=NVIDIA,
        flops=11.43e9,
    ),
    "inception-legacy-tensorflow": Extractor(
        partial(_load, mode="legacy_tensorflow"),
        resize="TensorFlow 1 bilinear to 299 x 299 (clean-fid, mode legacy_tensorflow)",
        label="legacy-tensorflow",
        weights=NVIDIA,
        flops=11.43e9,
    ),
    "inception-legacy-pytorch": Extractor(
        partial(_load, mode="legacy_pytorch"),
        resize="PyTorch bilinear to 299 x 299 without anti-aliasing (clean-fid, mode legacy_pytorch)",
        label="legacy-pytorch",
        weights=PYTORCH_FID,
        flops=11.43e9,
    ),
}
