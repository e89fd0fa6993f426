"""Amount of work: the table of extractors against torch's count on the architectures, with tensors without values."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from palette.scoring.extractors import EXTRACTORS
from palette.scoring.extractors.photos import flops_per_pixel

FID = ("inception", "inception-legacy-tensorflow", "inception-legacy-pytorch")
NEAR = 0.02


def counted(model: nn.Module, side: int, images: int = 1) -> int:
    """FLOPs of one evaluation, for `images` images of `side` pixels."""
    inputs = [torch.empty(1, 3, side, side, device="meta")] * images
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.to("meta").eval()(*inputs)
    return int(counter.get_total_flops())


def inception() -> nn.Module:
    """The network of 2015 from the layers of pytorch-fid, without its weights."""
    from cleanfid import inception_pytorch as fid
    from torchvision.models import inception_v3

    network = inception_v3(weights=None, num_classes=1008, aux_logits=False, init_weights=False)
    for name, features in (("Mixed_5b", (192, 32)), ("Mixed_5c", (256, 64)), ("Mixed_5d", (288, 64))):
        setattr(network, name, fid.FIDInceptionA(*features))
    for name, width in (("Mixed_6b", 128), ("Mixed_6c", 160), ("Mixed_6d", 160), ("Mixed_6e", 192)):
        setattr(network, name, fid.FIDInceptionC(768, width))
    network.Mixed_7b, network.Mixed_7c = fid.FIDInceptionE_1(1280), fid.FIDInceptionE_2(2048)
    return network


def classifier(name: str) -> nn.Module:
    from torchvision import models

    return models.get_model(name, weights=None)  # type: ignore[no-any-return]


def dinov2() -> nn.Module:
    """As the product builds it for weights of the shape of ViT-L/14."""
    from palette.scoring.extractors.dinov2 import vision_transformer

    shapes = {"pos_embed": torch.zeros(1, 1 + 37 * 37, 1024), "blocks.23.norm1.weight": torch.zeros(1024)}
    return vision_transformer(shapes)[0]


NETWORKS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    **dict.fromkeys(FID, (inception, 299)),
    "resnet50": (lambda: classifier("resnet50"), 224),
    "efficientnet-b0": (lambda: classifier("efficientnet_b0"), 224),
    "dinov2": (dinov2, 224),
}


@pytest.mark.parametrize("kind", [name for name, extractor in EXTRACTORS.items() if extractor.flops])
def test_the_table_matches_the_architectures(kind: str) -> None:
    build, side = NETWORKS[kind]
    with torch.device("meta"):
        network = build()
    assert EXTRACTORS[kind].flops == pytest.approx(counted(network, side), rel=NEAR)


def test_lpips_has_constant_flops_per_pixel() -> None:
    import lpips

    with warnings.catch_warnings(action="ignore"):  # it calls torchvision as one did years ago
        network: Any = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    assert EXTRACTORS["lpips"].flops_per_pixel * 256**2 == pytest.approx(counted(network, 256, images=2), rel=NEAR)


@pytest.mark.parametrize("channels", [8, 32])
def test_the_classifier_of_the_photographs_has_constant_flops_per_pixel(channels: int) -> None:
    from palette.scoring.classifier import Classifier

    assert flops_per_pixel(channels) * 64**2 == pytest.approx(counted(Classifier(channels, 10), 64), rel=NEAR)


def test_every_extractor_with_a_network_is_counted() -> None:
    without = {"pixels", "ms-ssim"}  # the second blurs five times, which is little beside reading the images
    kinds = EXTRACTORS.items()
    with_network = {name for name, e in kinds if e.flops or e.flops_per_pixel or e.trained_flops_per_pixel}
    assert with_network | without == EXTRACTORS.keys()
