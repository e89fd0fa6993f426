"""The Inception network of 2015 as clean-fid loads it in each of its three modes, with all outputs from one pass.

Features are those of the last pooling layer (`pool_3`), 2048 numbers. The spatial features are the first 7 channels of
`mixed_6/conv`, 17 x 17 each, as in the evaluation code of Dhariwal & Nichol 2021.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import cast

import torch
from cleanfid.inception_torchscript import InceptionV3W
from cleanfid.resize import build_resizer
from torch import Tensor, nn

from palette.errors import DataError
from palette.scoring.extractors import Prepare

SIDE = 299
"""Side of the network's input images in pixels."""
SPATIAL = 7
"""Number of channels used as spatial features."""


class Inception(nn.Module):
    """Network: images float32 [B,3,H,W] in [0,255] → features, spatial features, class probabilities.

    Features are [B,2048], spatial features [B,7*17*17] or None, class probabilities [B,1008].
    before, mixed, after: the layers; `mixed` is the block whose 1 x 1 convolution `spatial` gives the spatial features,
    or None without them. normalize: converts [0,255] to the input range of the layers. classes: weights [1008,2048];
    the Inception Score's softmax has no bias (Salimans et al. 2016).
    """

    def __init__(
        self,
        before: nn.Module,
        mixed: nn.Module,
        after: nn.Module,
        spatial: nn.Module | None,
        normalize: Callable[[Tensor], Tensor],
        classes: Tensor,
    ) -> None:
        super().__init__()
        self.before, self.mixed, self.after, self.spatial = before, mixed, after, spatial
        self.normalize = normalize
        self.register_buffer("classes", classes.float())

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        middle = self.before(self.normalize(images))
        features = self.after(self.mixed(middle)).flatten(1)
        spatial = None if self.spatial is None else self.spatial(middle)[:, :SPATIAL].flatten(1)
        return features, spatial, (features @ self.classes.T).softmax(1)


def torchscript(path: Path, mode: str) -> tuple[Inception, Prepare]:
    """Load the network from NVIDIA's file; mode: `clean` or `legacy_tensorflow`.
    Raises DataError for a different file."""
    try:
        whole = InceptionV3W(str(path.parent), download=False, resize_inside=mode == "legacy_tensorflow").eval()
        layers, classes = whole.base.layers, whole.base.output.weight
    except (RuntimeError, AttributeError, ValueError) as error:
        raise DataError(f"{path}: not the Inception network of 2015 ({error}). Delete it and get it again.") from None
    network = _from_layers(layers, _tensorflow if mode == "legacy_tensorflow" else _centered, classes)
    if network is None or not _agree(network, whole):  # as clean-fid calls it, without spatial features
        network = Inception(whole, nn.Identity(), nn.Identity(), None, nn.Identity(), classes)
    return network, build_resizer(mode)


def _from_layers(layers: nn.Module, normalize: Callable[[Tensor], Tensor], classes: Tensor) -> Inception | None:
    """Build the network from its layers, in their order; None if the layer with the spatial features is not found."""
    chain = dict(layers.named_children())
    names = list(chain)
    if "mixed_6" not in names or not hasattr(layers.mixed_6, "conv"):
        return None
    at = names.index("mixed_6")
    before, after = (nn.Sequential(*(chain[name] for name in part)) for part in (names[:at], names[at + 1 :]))
    spatial = cast(nn.Module, layers.mixed_6.conv)
    return Inception(before, chain["mixed_6"], after, spatial, normalize, classes)


@torch.no_grad()
def _agree(network: Inception, whole: nn.Module) -> bool:
    """Return whether a network built from layers gives the same features as clean-fid's, on an image of noise."""
    side = 100 if whole.resize_inside else SIDE
    image = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0)) * 255
    expected = whole(image)
    return bool((network(image)[0] - expected).norm() < 1e-4 * expected.norm())


def _centered(images: Tensor) -> Tensor:
    return (images - 128) / 128


def _tensorflow(images: Tensor) -> Tensor:
    """Resize bilinearly as TensorFlow 1 does: pixel i of 299 is at i H / 299 of the image.
    No centers, no anti-aliasing."""
    rows, columns = (_bilinear(side).to(images.device) for side in images.shape[2:])
    return _centered(rows @ images @ columns.T)


def _bilinear(side: int) -> Tensor:
    """Return weights float32 [299,side] of the pixels of a line of `side` pixels."""
    place = torch.arange(SIDE, dtype=torch.float64) * side / SIDE
    left = place.floor().long().clamp(max=side - 1)
    share = place - left
    weights = torch.zeros(SIDE, side, dtype=torch.float64)
    weights.scatter_add_(1, left[:, None], 1 - share[:, None])
    weights.scatter_add_(1, (left + 1).clamp(max=side - 1)[:, None], share[:, None])
    return weights.float()


def legacy_pytorch(state: dict[str, Tensor]) -> tuple[Inception, Prepare]:
    """Build the network from the tensors of pytorch-fid's file. Raises DataError for tensors of a different network."""
    from cleanfid import inception_pytorch  # here because its import takes seconds

    try:
        with _loading(inception_pytorch, state):
            blocks = inception_pytorch.InceptionV3(output_blocks=[3], resize_input=False).eval().blocks
        classes = state["fc.weight"]
    except (RuntimeError, KeyError, AttributeError) as error:
        raise DataError(
            f"pt_inception: not the tensors of the Inception network of 2015 ({error}). Get the file again."
        ) from None
    third, mixed, rest = blocks[2][:6], blocks[2][6], blocks[2][7:]
    before, after = nn.Sequential(blocks[0], blocks[1], third), nn.Sequential(rest, blocks[3])
    network = Inception(before, mixed, after, mixed.branch1x1, normalize=_unit, classes=classes)
    return network, build_resizer("legacy_pytorch")


def _unit(images: Tensor) -> Tensor:
    return images / 127.5 - 1


@contextmanager
def _loading(module: ModuleType, state: dict[str, Tensor]) -> Iterator[None]:
    """Make clean-fid's module use these tensors instead of downloading them."""
    original = module.load_state_dict_from_url
    module.load_state_dict_from_url = lambda *_, **__: state  # type: ignore[attr-defined]
    try:
        yield
    finally:
        module.load_state_dict_from_url = original  # type: ignore[attr-defined]
