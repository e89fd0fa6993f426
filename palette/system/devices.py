"""Settings of torch in this process: device, precision, cores and memory."""

import ctypes
import os
import platform
import sys

import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Options of `mallopt`, from glibc's malloc.h."""
LARGEST_MMAP_THRESHOLD = 32 << 20
"""Bytes; glibc accepts no larger threshold."""
KEPT = 1 << 30
"""Bytes that stay free at the end of the heap before any go back to the system."""


def use(threads: int | None = None, exact: bool = False) -> None:
    """Set how this process computes: with `threads` cores (None: torch's choice), and keeping freed memory.

    exact: full float32 precision and deterministic kernels on a GPU, for scores. Otherwise TF32, as in training and
    sampling.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    keep_memory()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = not exact
    torch.backends.cudnn.deterministic = exact


def local_device(gpus: int = 1) -> torch.device:
    """Return this process's GPU if the job requests any and torch can use one, else the CPU."""
    if gpus and has_gpu():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def has_gpu() -> bool:
    """Return whether torch can use a GPU; say so if it cannot use the job's, because the CPU takes many times longer."""
    devices = os.environ.get("CUDA_VISIBLE_DEVICES")
    if torch.cuda.is_available():
        return True
    if devices:
        text = f"torch {torch.__version__} cannot use this job's GPU (CUDA_VISIBLE_DEVICES={devices}): computing on the CPU"
        print(text, file=sys.stderr, flush=True)
    return False


def keep_memory() -> None:
    """Keep freed memory for the next step instead of returning it to the system.

    glibc returns it as soon as some megabytes are free at the end of the heap. The next step of a training or of a
    sampler then gets it back page by page, each cleared by the kernel: an eighth of the time of sampling at 256 pixels
    (`python -m benchmarks.memory`). Does nothing with another C library.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD)  # smaller pieces come from the heap
        mallopt(M_TRIM_THRESHOLD, KEPT)
