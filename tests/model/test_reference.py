"""Both networks equal the mathematics written out plainly in `benchmarks/reference`, weight by weight."""

from collections.abc import Iterator
from itertools import chain

import pytest
import torch
from torch import Tensor, nn

from benchmarks.reference import guided_diffusion, sr3
from palette.config.models import Network
from palette.model.networks import build
from palette.model.unet import UNet

Pair = tuple[nn.Module, nn.Module]
"""A layer of the reference, and ours."""


def stir(network: nn.Module) -> None:
    """Change every weight, so that none is 0 or 1."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.03 * torch.randn(parameter.shape, generator=generator)


def copy(pairs: Iterator[Pair], reference: nn.Module, ours: nn.Module) -> None:
    """Copy each pair's weights; every parameter of both networks is in exactly one pair."""
    copied: list[Tensor] = []
    for theirs, mine in pairs:
        if isinstance(mine, nn.Identity):
            assert isinstance(theirs, nn.Identity)
            continue
        for name, parameter in mine.named_parameters():
            with torch.no_grad():
                parameter.copy_(theirs.get_parameter(name).view_as(parameter))
            copied += [parameter, theirs.get_parameter(name)]
    assert {id(p) for p in copied} == {id(p) for p in chain(reference.parameters(), ours.parameters())}
    assert len({id(p) for p in copied}) == len(copied)


def adm_block(theirs: nn.Module, mine: nn.Module) -> Iterator[Pair]:
    """A residual block."""
    yield theirs.in_layers[0], mine.norm1
    yield theirs.in_layers[2], mine.conv1
    yield theirs.emb_layers[1], mine.modulation
    yield theirs.out_layers[0], mine.norm2
    yield theirs.out_layers[3], mine.conv2
    yield theirs.skip_connection, mine.skip


def adm_attention(theirs: guided_diffusion.AttentionBlock, mine: nn.Module) -> Iterator[Pair]:
    """Theirs lists queries, keys and values head by head, ours all heads' queries first, then keys, then values."""
    reordered = nn.Module()
    for name, parameter in theirs.qkv.named_parameters():
        per_head = parameter.data.unflatten(0, (theirs.heads, 3, -1))
        parameter.data = per_head.transpose(0, 1).reshape(parameter.shape)
        reordered.register_parameter(name, parameter)
    yield theirs.norm, mine.norm
    yield reordered, mine.qkv
    yield theirs.proj_out, mine.out


def adm_stage(theirs: list[nn.Module], mine: list[nn.Module]) -> Iterator[Pair]:
    """Residual blocks and attention in a row; ours have the attention inside."""
    rest = list(theirs)
    for block in mine:
        yield from adm_block(rest.pop(0), block.residual)
        if block.attention is not None:
            yield from adm_attention(rest.pop(0), block.attention)
    assert not rest


def adm(theirs: guided_diffusion.UNet, mine: nn.Module) -> Iterator[Pair]:
    yield theirs.cond_embed[0], mine.embed[1]
    yield theirs.cond_embed[2], mine.embed[3]
    yield theirs.input_blocks[0][0], mine.first
    for stage, block in zip(theirs.input_blocks[1:], mine.encoder, strict=True):
        yield from adm_stage(list(stage), [block])
    yield from adm_stage(list(theirs.middle_block), list(mine.middle))
    for stage, blocks in zip(theirs.output_blocks, mine.decoder, strict=True):
        yield from adm_stage(list(stage), list(blocks))
    yield theirs.out[0], mine.last[0]
    yield theirs.out[2], mine.last[2]


def sr3_part(theirs: nn.Module, mine: nn.Module) -> Iterator[Pair]:
    """A block, or a change of resolution."""
    if not isinstance(theirs, sr3.ResnetBlocWithAttn):
        yield theirs.conv, mine.conv
        return
    block = theirs.res_block
    yield block.noise_func.noise_func[0], mine.residual.modulation
    yield block.block1.block[0], mine.residual.norm1
    yield block.block1.block[3], mine.residual.conv1
    yield block.block2.block[0], mine.residual.norm2
    yield block.block2.block[3], mine.residual.conv2
    yield block.res_conv, mine.residual.skip
    if mine.attention is not None:
        yield theirs.attn.norm, mine.attention.norm
        yield theirs.attn.qkv, mine.attention.qkv
        yield theirs.attn.out, mine.attention.out


def sr3_network(theirs: sr3.UNet, mine: nn.Module) -> Iterator[Pair]:
    yield theirs.noise_level_mlp[1], mine.embed[1]
    yield theirs.noise_level_mlp[3], mine.embed[3]
    yield theirs.downs[0], mine.first
    ups = chain.from_iterable(mine.decoder)
    parts = chain(zip(theirs.downs[1:], mine.encoder, strict=True), zip(theirs.mid, mine.middle, strict=True))
    for their_part, my_part in chain(parts, zip(theirs.ups, ups, strict=True)):
        yield from sr3_part(their_part, my_part)
    yield theirs.final_conv.block[0], mine.last[0]
    yield theirs.final_conv.block[3], mine.last[2]


def output(network: nn.Module, height: int, width: int) -> Tensor:
    """Always for the same images and noise levels, which the reference wants as γ."""
    x = torch.randn(3, 6, height, width, generator=torch.Generator().manual_seed(1))
    gammas = torch.tensor([4.4e-5, 0.4, 0.999])
    with torch.no_grad():
        return network(x, torch.logit(gammas.double()) if isinstance(network, UNet) else gammas[:, None])  # type: ignore[no-any-return]


@pytest.mark.parametrize(("height", "width"), [(16, 16), (16, 24), (24, 8)])
@pytest.mark.parametrize("reductions", [(16,), (1, 2, 4)])
def test_adm_is_guided_diffusion(reductions: tuple[int, ...], height: int, width: int) -> None:
    options = {"channels": 32, "multipliers": (1, 2, 2), "blocks": 1, "head_channels": 16, "groups": 32}
    network = Network(**options, attention=[16 // r for r in reductions if r <= 4], noise_embedding="gamma")
    reference = guided_diffusion.UNet(6, 32, 3, 1, reductions, 0.0, (1, 2, 2), 16)
    ours = build(network, 16)
    stir(reference)
    expected = output(reference, height, width)
    copy(adm(reference, ours), reference, ours)
    found = output(ours, height, width)
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (16, 24), (24, 8)])
@pytest.mark.parametrize("attention", [(), (16, 8, 4)])
def test_sr3_is_sr3(attention: tuple[int, ...], height: int, width: int) -> None:
    network = Network(
        backbone="sr3",
        channels=16,
        multipliers=(1, 2, 3),
        blocks=2,
        attention=attention,
        groups=8,
        noise_embedding="gamma",
    )
    reference = sr3.UNet(6, 3, 16, 8, (1, 2, 3), attention, 2, 0.0, 16)
    ours = build(network, 16)
    stir(reference)
    copy(sr3_network(reference, ours), reference, ours)
    expected, found = output(reference, height, width), output(ours, height, width)
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_the_default_of_the_unofficial_code_has_its_parameters() -> None:
    options = {"attention": (), "head_channels": 32, "dropout": 0.2, "noise_embedding": "gamma"}
    with torch.device("meta"):
        theirs, ours = guided_diffusion.UNet(), build(Network(**options), 256)
    assert sum(p.numel() for p in theirs.parameters()) == sum(p.numel() for p in ours.parameters()) == 62_641_347
