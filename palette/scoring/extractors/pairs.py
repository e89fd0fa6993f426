"""Perceptual measures of two images: LPIPS and MS-SSIM."""

from typing import Any

import numpy as np
import numpy.typing as npt

from palette.scoring.extractors import Arrays, Extractor, Measure, Pixels, Prepare, Source
from palette.scoring.weights import Weights


def _lpips(source: Source) -> tuple[Prepare, Measure]:
    """Load LPIPS 0.1 with AlexNet (Zhang et al. 2018): heads and formulas of the package, trunk of the weights file."""
    import lpips
    import torch

    from palette.scoring.loading import array, filled, state

    tensors = state(source)
    model = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    # The package's `slice2.3.weight` is torchvision's `features.3.weight`.
    names = {name: "features." + name.partition(".")[2] for name in model.net.state_dict()}
    filled(model.net, {ours: tensors[theirs] for ours, theirs in names.items() if theirs in tensors}, source)
    model = model.to(source.device).eval()

    def prepare(image: Pixels) -> npt.NDArray[np.float32]:
        return np.ascontiguousarray((image.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1))

    def measure(outputs: npt.NDArray[np.float32], originals: npt.NDArray[np.float32], _: Any) -> Arrays:
        first, second = (torch.from_numpy(images).to(source.device) for images in (outputs, originals))
        return {"lpips": array(model(first, second).flatten()).astype(np.float64)}

    return prepare, measure


def _ms_ssim(source: Source) -> tuple[Prepare, Measure]:
    """Load multi-scale structural similarity with five scales (Wang et al. 2003), mean over the channels."""
    import torch
    from pytorch_msssim import ms_ssim

    from palette.scoring.loading import array

    def prepare(image: Pixels) -> Pixels:
        return np.ascontiguousarray(image.transpose(2, 0, 1))

    def measure(outputs: Pixels, originals: Pixels, _: Any) -> Arrays:
        first, second = (torch.from_numpy(images).to(source.device).float() for images in (outputs, originals))
        values = ms_ssim(first, second, data_range=255, size_average=False)
        return {"ms-ssim": array(values).astype(np.float64)}

    return prepare, measure


EXTRACTORS: dict[str, Extractor] = {
    # Consecutive draws as in Zhu et al. 2017; the first and each other one as in Guadarrama et al. 2017.
    "lpips": Extractor(
        _lpips,
        weights=Weights(
            file="alexnet-owt-7be5be79.pth",
            url="https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
            sha256="7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
            about="torchvision's AlexNet, the trunk of LPIPS; its heads are in the package lpips",
        ),
        flops_per_pixel=53e3,
        package="lpips",
        smallest=32,
        pairs=True,
        chain=True,
    ),
    "ms-ssim": Extractor(_ms_ssim, package="pytorch_msssim", smallest=161, pairs=True),
}
