"""Where scoring computes, and how exactly."""

import torch

from palette.system import devices


def device(gpus: int) -> torch.device:
    """The first GPU if the stage asked for one and there is one, else the CPU; full float32 precision and repeatable kernels on both."""
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    return torch.device("cuda" if gpus and devices.has_gpu() else "cpu")
