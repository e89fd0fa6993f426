"""Memory of a network's activations, counted on tensors without values: nothing is computed or allocated."""

import weakref
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from palette.config.models import Network
from palette.model.networks import build
from palette.model.unet import UNet


class Activations(NamedTuple):
    """Peak memory in bytes that each further image in a batch takes."""

    training: int
    """In a training step: activations and their gradients."""
    sampling: int


@cache
def activations(network: Network, image_size: int, precision: str = "fp32", recompute: bool = False) -> Activations:
    """Count the memory for square images of `image_size` pixels. Raises ConfigError for a network that does not fit them.

    precision: `fp32`, or `bf16` or `fp16`, whose activations are half as large. Attention is assumed not to store its
    N×N weights, as in all of torch's fused kernels. GPU workspaces are not counted and need additional memory.
    """
    with torch.device("meta"):
        model = build(network, image_size)
    with FakeTensorMode():
        _remove_values(model)
        sampling = [_peak(model, image_size, batch, precision, training=False) for batch in (1, 2)]
        model.recompute = recompute
        training = [_peak(model, image_size, batch, precision, training=True) for batch in (1, 2)]
    return Activations(training[1] - training[0], sampling[1] - sampling[0])


def _remove_values(model: nn.Module) -> None:
    """Give `model` parameters and buffers that pretend to be on the CPU, whose attention is fused as on a GPU."""
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            setattr(module, name, nn.Parameter(torch.empty(parameter.shape, device="cpu")))
            # Gradients of weights would accumulate in the backward pass. They are not part of an image's memory.
            getattr(module, name).register_post_accumulate_grad_hook(_drop)
        for name, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, name, torch.empty(buffer.shape, dtype=buffer.dtype, device="cpu"))


def _drop(parameter: Tensor) -> None:
    parameter.grad = None


def _peak(model: UNet, image_size: int, batch: int, precision: str, training: bool) -> int:
    """Return the peak memory in bytes of a forward pass and, in training, a backward pass.

    Parts that do not grow with the batch, such as casts of weights, cancel in the difference of two peaks.
    """
    channels = model.first.in_channels // model.network.patch_size**2
    model.train(training)
    memory = _Memory(model)
    with memory:
        x, log_snr = torch.empty(batch, channels, image_size, image_size), torch.empty(batch)
        with torch.set_grad_enabled(training), torch.autocast("cpu", torch.bfloat16, enabled=precision != "fp32"):
            predicted: Tensor = model(x, log_snr)
        if training:
            torch.autograd.backward(predicted.float().square().mean())
    return memory.peak


class _Memory(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Track the bytes of live tensors other than those of `model`: `now` and `peak`."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now: int = 0
        self.peak: int = 0
        self.known: set[int] = {_key(tensor) for tensor in [*model.parameters(), *model.buffers()]}

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and _key(tensor) not in self.known:
                self._add(tensor)
        return result

    def _add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        self.known.add(_key(tensor))
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._free, _key(tensor), storage.nbytes())

    def _free(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.now -= size


def _key(tensor: Tensor) -> int:
    """Return the identity of a tensor's storage, which its views share."""
    key: int = tensor.untyped_storage()._cdata
    return key
