"""The Inception network of 2015 with random weights, in the two forms in which the field distributes it.

`torchscript` has the interface of NVIDIA's `inception-2015-12-05.pt`: `model.layers.conv … mixed_10`, `model.output`,
`model(images, return_features=True)` with TensorFlow 1's resize inside. `state` is the content of pytorch-fid's weights
file. The layers are torchvision's, with the changes that clean-fid makes to them.
"""

from collections import OrderedDict
from pathlib import Path

import torch
from cleanfid import inception_pytorch as blocks
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import Inception3


def network(seed: int = 0) -> Inception3:
    """The whole network with 1008 classes; its weights preserve the scale of the activations."""
    torch.manual_seed(seed)
    made = Inception3(num_classes=1008, aux_logits=False, init_weights=False)
    made.Mixed_5b = blocks.FIDInceptionA(192, pool_features=32)
    made.Mixed_5c = blocks.FIDInceptionA(256, pool_features=64)
    made.Mixed_5d = blocks.FIDInceptionA(288, pool_features=64)
    made.Mixed_6b = blocks.FIDInceptionC(768, channels_7x7=128)
    made.Mixed_6c = blocks.FIDInceptionC(768, channels_7x7=160)
    made.Mixed_6d = blocks.FIDInceptionC(768, channels_7x7=160)
    made.Mixed_6e = blocks.FIDInceptionC(768, channels_7x7=192)
    made.Mixed_7b = blocks.FIDInceptionE_1(1280)
    made.Mixed_7c = blocks.FIDInceptionE_2(2048)
    for module in made.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.bias, -0.2, 0.2)
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
    return made.eval()


def state(seed: int = 0) -> dict[str, Tensor]:
    """Return the content of `pt_inception-2015-12-05-6726825d.pth`, with other values."""
    return network(seed).state_dict()


class _Resizing(nn.Module):
    """NVIDIA's module: TensorFlow 1's bilinear resize, normalization, layers, classes."""

    def __init__(self, layers: nn.Module, output: nn.Linear) -> None:
        super().__init__()
        self.layers = layers
        self.output = output

    def forward(self, images: Tensor, return_features: bool = False) -> Tensor:
        size, height, width = len(images), images.shape[2], images.shape[3]
        theta = torch.eye(2, 3, device=images.device)
        theta[0, 2] += 1 / width - 1 / 299
        theta[1, 2] += 1 / height - 1 / 299
        grid = F.affine_grid(theta.unsqueeze(0).repeat(size, 1, 1), [size, 3, 299, 299], align_corners=False)
        x = F.grid_sample(images.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
        features = self.layers((x - 128) / 128).flatten(1)
        return features if return_features else self.output(features).softmax(1)


def torchscript(path: Path, seed: int = 0) -> None:
    """Write a stand-in for NVIDIA's file."""
    net = network(seed)
    net.Mixed_6d.conv = net.Mixed_6d.branch1x1
    names = ["conv", "conv_1", "conv_2", "pool0", "conv_3", "conv_4", "pool1", "mixed"]
    names += [f"mixed_{number}" for number in range(1, 11)] + ["pool2"]
    chain = [net.Conv2d_1a_3x3, net.Conv2d_2a_3x3, net.Conv2d_2b_3x3, net.maxpool1, net.Conv2d_3b_1x1]
    chain += [net.Conv2d_4a_3x3, net.maxpool2, net.Mixed_5b, net.Mixed_5c, net.Mixed_5d, net.Mixed_6a, net.Mixed_6b]
    chain += [net.Mixed_6c, net.Mixed_6d, net.Mixed_6e, net.Mixed_7a, net.Mixed_7b, net.Mixed_7c, net.avgpool]
    layers = nn.Sequential(OrderedDict(zip(names, chain, strict=True)))
    torch.jit.script(_Resizing(layers, net.fc).eval()).save(str(path))
