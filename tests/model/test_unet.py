"""The networks match the papers, and each option has its effect."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from palette.config.models import Network
from palette.errors import ConfigError
from palette.model.blocks import Attention, Block, cut, group_norm, head_count, joined
from palette.model.networks import build
from palette.model.unet import UNet

PAPER = Network(channels=256, multipliers=(1, 1, 2, 2, 4, 4), blocks=2, attention=(32, 16, 8), head_channels=64)
SMALL = Network(channels=16, multipliers=(1, 2), blocks=1, attention=(8,), head_channels=8)


def altered(network: Network, **changes: Any) -> Network:
    return Network.model_validate({**network.model_dump(), **changes})


def randomized(network: UNet) -> UNet:
    """With the zero-initialized layers filled, so that everything matters."""
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.05, generator=generator)
    return network


def inputs(size: int = 16, count: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 6, size, size, generator=generator), torch.linspace(-2.0, 2.0, count)


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def passed(network: UNet, size: int, chosen: Callable[[nn.Module], bool]) -> list[tuple[nn.Module, int]]:
    """What really runs, seen from outside: the modules chosen, in order, each with the side of the map that it is given."""
    seen: list[tuple[nn.Module, int]] = []
    for module in network.modules():
        if chosen(module):
            module.register_forward_hook(lambda module, given, _: seen.append((module, given[0].shape[-1])))
    network(torch.zeros(1, 6, size, size), torch.zeros(1))
    return seen


# ---------------------------------------------------------------------------------------------------- shape


@pytest.mark.parametrize(
    ("context", "count"),
    [
        ("global-attention", 552_814_083),
        ("local-attention", 552_814_083),
        ("dilated", 622_772_227),
        ("more-blocks", 596_812_291),
    ],
)
def test_parameter_counts_of_the_papers_network_and_its_variants(context: str, count: int) -> None:
    with torch.device("meta"):
        assert parameters(build(altered(PAPER, context=context), 256)) == count


@pytest.mark.parametrize("backbone", ["adm", "sr3"])
@pytest.mark.parametrize(
    ("patch", "size", "wanted", "found"),
    [
        (1, 64, (32, 16), [32, 16]),
        (2, 64, (32, 16), [32, 16]),
        (1, 64, (), []),
        (4, 64, (64, 8), [8]),
        (1, 96, (32,), []),
    ],
)
def test_attention_is_at_the_given_resolutions_and_in_the_middle(
    backbone: str, patch: int, size: int, wanted: tuple[int, ...], found: list[int]
) -> None:
    options = {"channels": 16, "multipliers": (1, 1, 2), "blocks": 1, "head_channels": 8, "patch_size": patch}
    unet = build(Network(backbone=backbone, attention=wanted, **options), size)
    middle = size // patch // 4
    expected = [*found, middle, *(side for side in reversed(found) for _ in range(2))]  # the decoder has a block more
    assert [side for _, side in passed(unet, size, lambda module: isinstance(module, Attention))] == expected
    assert unet.attention_at == found


@pytest.mark.parametrize("backbone", ["adm", "sr3"])
@pytest.mark.parametrize("patch", [1, 2, 4])
def test_other_sizes_pass_if_they_are_multiples_of_the_reduction(backbone: str, patch: int) -> None:
    network = build(altered(SMALL, backbone=backbone, patch_size=patch), 16 * patch)
    shape = (2, 3, 8 * patch, 12 * patch)
    assert network(torch.randn(2, 6, *shape[2:]), torch.zeros(2)).shape == shape
    with pytest.raises(ConfigError, match=f"multiples of {2 * patch}"):
        network(torch.randn(1, 6, 8 * patch, 8 * patch + 1), torch.zeros(1))


@pytest.mark.parametrize("backbone", ["adm", "sr3"])
@pytest.mark.parametrize(("ins", "outs"), [(2, 1), (9, 4)])
def test_any_number_of_channels(backbone: str, ins: int, outs: int) -> None:
    network = build(altered(SMALL, backbone=backbone, patch_size=2), 16, ins, outs)
    assert network(torch.zeros(1, ins, 16, 16), torch.zeros(1)).shape == (1, outs, 16, 16)


def test_refuses_an_image_size_that_does_not_divide() -> None:
    with pytest.raises(ConfigError, match=r"60×60 pixels do not fit.*multiples of 8"):
        build(Network(channels=8, multipliers=(1, 1, 1, 1)), 60)


# ----------------------------------------------------------------------------------------------- at the start


@pytest.mark.parametrize("change", [{}, {"backbone": "sr3"}, {"context": "dilated"}])
def test_starts_as_the_zero_function(change: dict[str, str]) -> None:
    network = build(altered(SMALL, **change), 16)
    assert torch.equal(network(*inputs()), torch.zeros(2, 3, 16, 16))


def test_every_residual_block_starts_as_the_identity() -> None:
    block = build(SMALL, 16).middle[0]
    x = torch.randn(2, 32, 8, 8)
    assert torch.equal(block(x, torch.randn(2, 64)), x)


@pytest.mark.parametrize(
    "change",
    [{}, {"backbone": "sr3"}, {"context": "local-attention"}, {"context": "dilated"}, {"context": "more-blocks"}],
)
def test_every_parameter_matters(change: dict[str, str]) -> None:
    network = randomized(build(altered(SMALL, **change), 16))
    network(*inputs()).square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in network.parameters())


# ------------------------------------------------------------------------------------------ table 5's contexts


def places_of_convolutions(network: UNet, part: nn.Module, size: int) -> list[tuple[int, int]]:
    """(side, dilation) of the 3×3 convolutions inside the blocks of `part`, in order."""
    inside = {
        id(module)
        for block in part.modules()
        if isinstance(block, Block) and block.residual.direction is None
        for module in block.modules()
    }
    chosen = passed(network, size, lambda m: isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3) and id(m) in inside)
    return [(side, module.dilation[0]) for module, side in chosen]  # type: ignore[misc, index]


def twice(*places: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """A residual block has two convolutions."""
    return (place for place in places for _ in range(2))


def test_dilation_grows_from_block_to_block() -> None:
    network = Network(channels=8, multipliers=(1, 1, 1), blocks=2, attention=(16, 4), context="dilated")
    unet = build(network, 16)
    assert not any(isinstance(module, Attention) for module in unet.modules())
    assert unet.attention_at == []
    assert places_of_convolutions(unet, unet.encoder, 16) == list(
        twice((16, 1), (16, 2), (16, 4), (8, 1), (8, 1), (4, 1), (4, 2), (4, 2))
    )
    unet = build(network, 16)
    assert places_of_convolutions(unet, unet.decoder, 16) == list(
        twice(*((4, d) for d in (1, 2, 2, 2)), *((8, 1) for _ in range(3)), *((16, d) for d in (1, 2, 4, 8)))
    )


def test_more_blocks_are_twice_as_many_in_the_encoder() -> None:
    network = Network(channels=8, multipliers=(1, 1), blocks=2, attention=(8,), context="more-blocks")
    unet = build(network, 16)
    assert not any(isinstance(module, Attention) for module in unet.modules())
    assert places_of_convolutions(unet, unet.encoder, 16) == list(twice(*[(16, 1)] * 2, *[(8, 1)] * 4))
    unet = build(network, 16)
    assert places_of_convolutions(unet, unet.decoder, 16) == list(twice(*[(8, 1)] * 3, *[(16, 1)] * 3))


def test_local_attention_is_global_attention_within_each_quarter() -> None:
    local, whole = Attention(8, 4, local=True), Attention(8, 4)
    for layer in (local, whole):
        layer.norm = nn.Identity()  # type: ignore[assignment]  # its statistics are the whole map's
    for parameter in local.parameters():
        nn.init.normal_(parameter, std=0.3)
    whole.load_state_dict(local.state_dict())
    x = torch.randn(2, 8, 4, 6)
    top, bottom = ([whole(quarter) for quarter in half.chunk(2, dim=3)] for half in x.chunk(2, dim=2))
    expected = torch.cat([torch.cat(top, dim=3), torch.cat(bottom, dim=3)], dim=2)
    torch.testing.assert_close(local(x), expected)


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
def test_joining_undoes_cutting(batch: int, parts: int, height: int, width: int) -> None:
    x = torch.arange(batch * 2 * parts * height * parts * width).view(batch, 2, parts * height, parts * width)
    pieces = cut(x, parts)
    assert pieces.shape == (batch * parts**2, 2, height, width)
    assert torch.equal(joined(pieces, parts), x)


def test_local_attention_refuses_odd_feature_maps() -> None:
    local = altered(SMALL, context="local-attention")
    for size, attention in [(18, (9,)), (18, ())]:
        with pytest.raises(ConfigError, match=r"feature map of 9×9.*`image_size`.*`context: global-attention`"):
            build(altered(local, attention=attention), size)
    with pytest.raises(ConfigError, match="feature map of 8×7"):
        build(local, 16)(torch.zeros(1, 6, 14, 16), torch.zeros(1))


# -------------------------------------------------------------------------------------------------- options


@pytest.mark.parametrize("backbone", ["adm", "sr3"])
def test_dropout_is_off_in_evaluation(backbone: str) -> None:
    network = randomized(build(altered(SMALL, dropout=0.5, backbone=backbone), 16))
    assert not torch.equal(network(*inputs()), network(*inputs()))
    network.eval()
    assert torch.equal(network(*inputs()), network(*inputs()))


@pytest.mark.parametrize("noise_embedding", ["log-snr", "gamma", "timestep"])
@pytest.mark.parametrize("backbone", ["adm", "sr3"])
def test_the_noise_level_matters(backbone: str, noise_embedding: str) -> None:
    network = randomized(build(altered(SMALL, backbone=backbone, noise_embedding=noise_embedding), 16)).eval()
    x, _ = inputs(count=1)
    one, other = network(x, torch.tensor([-1.0])), network(x, torch.tensor([1.0]))
    assert not torch.equal(one, other)
    torch.testing.assert_close(network(x, torch.tensor([1.0], dtype=torch.float64)), other)


@pytest.mark.parametrize(("channels", "groups"), [(8, 2), (16, 4), (48, 8), (64, 16), (128, 32), (256, 32), (1024, 32)])
def test_groups_keep_four_channels(channels: int, groups: int) -> None:
    assert group_norm(channels).num_groups == groups


@pytest.mark.parametrize("backbone", ["adm", "sr3"])
def test_groups_can_be_named(backbone: str) -> None:
    network = build(altered(SMALL, groups=16, backbone=backbone), 16)
    assert {module.num_groups for module in network.modules() if isinstance(module, nn.GroupNorm)} == {16}
    with pytest.raises(ConfigError, match="20 channels, which `groups` 16 does not divide"):
        group_norm(20, 16)


def test_heads() -> None:
    assert [head_count(c, 64) for c in (32, 64, 128, 1024)] == [1, 1, 2, 16]
    with pytest.raises(ConfigError, match="96 channels, which `head_channels` 64 does not divide"):
        head_count(96, 64)


def test_attention_is_softmax_of_scaled_products() -> None:
    layer = Attention(8, 4)
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.3)
    x = torch.randn(2, 8, 3, 5)
    q, k, v = layer.qkv(layer.norm(x)).flatten(2).chunk(3, dim=1)  # each [2, 8, 15]
    heads = []
    for head in (slice(0, 4), slice(4, 8)):
        weights = torch.softmax(q[:, head].transpose(1, 2) @ k[:, head] / 2, dim=-1)  # √4 = 2
        heads.append(v[:, head] @ weights.transpose(1, 2))
    expected = x + layer.out(torch.cat(heads, dim=1).view_as(x))
    torch.testing.assert_close(layer(x), expected)


# --------------------------------------------------------------------------------------- memory and compiling


def gradients(network: UNet, recompute: bool) -> tuple[list[Tensor], int]:
    """Of each parameter, and the bytes of the tensors that were kept for the backward pass, each storage once."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    network.recompute = recompute
    network.zero_grad()
    torch.manual_seed(5)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = network(*inputs(32)).square().mean()
    loss.backward()
    weights = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    found = [parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None]
    return found, sum(size for pointer, size in kept.items() if pointer not in weights)


@pytest.mark.parametrize("backbone", ["adm", "sr3"])
def test_recomputing_saves_memory_and_changes_no_gradient(backbone: str) -> None:
    network = randomized(build(altered(SMALL, dropout=0.5, backbone=backbone, attention=(16,)), 32))
    (expected, much), (found, little) = gradients(network, False), gradients(network, True)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert little < 0.4 * much


@pytest.mark.parametrize(
    "change", [{"context": "local-attention", "noise_embedding": "timestep", "dropout": 0.1}, {"backbone": "sr3"}]
)
def test_compiles_without_a_break(change: dict[str, Any]) -> None:
    network = randomized(build(altered(SMALL, **change), 16)).eval()
    torch.compiler.reset()
    compiled = torch.compile(network, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(*inputs()), network(*inputs()))
