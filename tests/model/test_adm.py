"""Optimizations of the ADM blocks change no value."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from palette.model.adm import doubled


@pytest.mark.parametrize(("inner", "outer", "height", "width"), [(3, 4, 5, 7), (4, 4, 1, 1), (2, 1, 4, 3)])
def test_upsampling_and_convolution_in_one_step(inner: int, outer: int, height: int, width: int) -> None:
    generator = torch.Generator().manual_seed(0)
    conv = nn.Conv2d(inner, outer, 3, padding=1, dtype=torch.float64)
    x = torch.randn(2, inner, height, width, dtype=torch.float64, generator=generator, requires_grad=True)
    inputs = (x, conv.weight, conv.bias)
    plain, folded = conv(F.interpolate(x, scale_factor=2.0, mode="nearest")), doubled(x, conv)
    torch.testing.assert_close(folded, plain)
    weights = torch.randn(plain.shape, dtype=torch.float64, generator=generator)
    for ours, expected in zip(
        torch.autograd.grad((folded * weights).sum(), inputs),
        torch.autograd.grad((plain * weights).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(ours, expected)
