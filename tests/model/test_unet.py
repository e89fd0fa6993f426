"""The network is the paper's, and each option does what it says."""

import pytest
import torch

from palette.config import Network
from palette.errors import ConfigError
from palette.model import ema
from palette.model.blocks import Attention, Block, group_norm, head_count, sinusoids
from palette.model.unet import UNet

PAPER = Network(channels=256, multipliers=(1, 1, 2, 2, 4, 4), blocks=2, attention=(32, 16, 8), head_channels=64)
SMALL = Network(channels=16, multipliers=(1, 2), blocks=1, attention=(8,), head_channels=8)


def sides_with_attention(network: UNet, size: int) -> set[int]:
    """Where attention really runs, seen from outside: sides of the maps that pass through it, the middle left out."""
    seen: set[int] = set()
    inside_middle = {module for module in network.middle.modules() if isinstance(module, Attention)}
    for module in network.modules():
        if isinstance(module, Attention) and module not in inside_middle:
            module.register_forward_hook(lambda _, inputs, __: seen.add(inputs[0].shape[-1]))
    network(torch.zeros(1, 6, size, size), torch.zeros(1))
    return seen


def randomized(network: UNet) -> UNet:
    """With the zero-initialized layers filled, so that everything matters."""
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.05, generator=generator)
    return network


def test_paper_network_has_the_papers_parameters() -> None:
    with torch.device("meta"):
        network = UNet(PAPER, 6, 3, 256)
    assert sum(parameter.numel() for parameter in network.parameters()) == 552_814_083


@pytest.mark.parametrize(
    ("patch", "size", "wanted", "found"),
    [
        (1, 64, (32, 16), {32, 16}),
        (2, 64, (32, 16), {32, 16}),
        (1, 64, (), set()),
        (4, 64, (64, 8), {8}),
        (1, 96, (32,), set()),
    ],
)
def test_attention_is_at_the_resolutions_named(patch: int, size: int, wanted: tuple[int, ...], found: set[int]) -> None:
    network = Network(channels=16, multipliers=(1, 1, 2), blocks=1, attention=wanted, head_channels=8, patch_size=patch)
    unet = UNet(network, 6, 3, size)
    assert sides_with_attention(unet, size) == found
    assert set(unet.attention_at) == found
    first = unet.middle[0]
    assert isinstance(first, Block)
    assert first.attention is not None


def test_starts_as_zero_and_every_residual_block_as_identity() -> None:
    network = UNet(SMALL, 6, 3, 16)
    assert torch.equal(network(torch.randn(2, 6, 16, 16), torch.randn(2)), torch.zeros(2, 3, 16, 16))
    x = torch.randn(2, 32, 8, 8)
    block = network.middle[0]
    assert torch.equal(block(x, torch.randn(2, 64)), x)


@pytest.mark.parametrize("patch", [1, 2, 4])
def test_other_sizes_pass_if_they_are_multiples_of_the_reduction(patch: int) -> None:
    network = UNet(SMALL.model_copy(update={"patch_size": patch}), 6, 3, 16 * patch)
    shape = (2, 3, 8 * patch, 12 * patch)
    assert network(torch.randn(2, 6, *shape[2:]), torch.zeros(2)).shape == shape
    with pytest.raises(ConfigError, match=f"multiples of {2 * patch}"):
        network(torch.randn(1, 6, 8 * patch, 8 * patch + 1), torch.zeros(1))


def test_refuses_an_image_size_that_does_not_divide() -> None:
    with pytest.raises(ConfigError, match=r"60×60 pixels do not fit.*multiples of 8"):
        UNet(Network(channels=8, multipliers=(1, 1, 1, 1)), 6, 3, 60)


def test_every_parameter_matters() -> None:
    network = randomized(UNet(SMALL, 6, 3, 16))
    network(torch.randn(2, 6, 16, 16), torch.tensor([1.0, -1.0])).square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in network.parameters())


def test_dropout_is_off_in_evaluation() -> None:
    network = randomized(UNet(SMALL.model_copy(update={"dropout": 0.5}), 6, 3, 16))
    x, noise = torch.randn(1, 6, 16, 16), torch.zeros(1)
    assert not torch.equal(network(x, noise), network(x, noise))
    network.eval()
    assert torch.equal(network(x, noise), network(x, noise))


@pytest.mark.parametrize(("channels", "groups"), [(8, 2), (16, 4), (48, 8), (64, 16), (128, 32), (256, 32), (1024, 32)])
def test_groups_keep_four_channels(channels: int, groups: int) -> None:
    assert group_norm(channels).num_groups == groups


def test_heads() -> None:
    assert [head_count(c, 64) for c in (32, 64, 128, 1024)] == [1, 1, 2, 16]
    with pytest.raises(ConfigError, match="96 channels, which `head_channels` 64 does not divide"):
        head_count(96, 64)


def test_attention_is_softmax_of_scaled_products() -> None:
    layer = Attention(8, 4)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x = torch.randn(2, 8, 3, 5)
    q, k, v = layer.qkv(layer.norm(x)).flatten(2).chunk(3, dim=1)  # each [2, 8, 15]
    heads = []
    for head in (slice(0, 4), slice(4, 8)):
        weights = torch.softmax(q[:, head].transpose(1, 2) @ k[:, head] / 2, dim=-1)  # √4 = 2
        heads.append(v[:, head] @ weights.transpose(1, 2))
    expected = x + layer.out(torch.cat(heads, dim=1).view_as(x))
    torch.testing.assert_close(layer(x), expected)


def test_sinusoids_are_ddpms() -> None:
    value = torch.tensor([0.0, 3.0])
    embedded = sinusoids(value, 8)
    assert embedded.shape == (2, 8)
    torch.testing.assert_close(embedded[0], torch.tensor([1.0] * 4 + [0.0] * 4))
    torch.testing.assert_close(embedded[1, 5], torch.tensor(3 * 10_000 ** (-1 / 4)).sin())


def test_ema_warms_up_and_then_averages() -> None:
    assert ema.decay_at(0, 0.9999) == pytest.approx(0.1)
    assert ema.decay_at(10**6, 0.9999) == 0.9999
    averages, weights = [torch.zeros(3), torch.ones(2, 2)], [torch.ones(3), torch.ones(2, 2)]
    ema.update(averages, weights, 0, 0.9999)
    torch.testing.assert_close(averages[0], torch.full((3,), 0.9))
    ema.update(averages, weights, 10**6, 0.5)
    torch.testing.assert_close(averages[0], torch.full((3,), 0.95))
    torch.testing.assert_close(averages[1], torch.ones(2, 2))
