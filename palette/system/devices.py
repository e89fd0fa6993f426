"""Where and how torch computes: the device of this process, its precision, cores and memory."""

import ctypes
import os
import platform
import sys

import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Of glibc's malloc.h."""
LARGEST_MMAP_THRESHOLD = 32 << 20
"""Bytes; glibc takes no larger one."""
KEPT = 1 << 30
"""Bytes free at the end of the heap before the system gets any back."""


def use(threads: int | None = None, exact: bool = False) -> None:
    """Set how this process computes: with `threads` cores (None: torch's choice), keeping freed memory.

    exact: full float32 precision and repeatable kernels on a GPU, for scores. Otherwise TF32, as training and sampling take it.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    keep_memory()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = not exact
    torch.backends.cudnn.deterministic = exact


def local_device(gpus: int = 1) -> torch.device:
    """Return this process's GPU where the job asks for any and torch can use one, else the CPU."""
    if gpus and has_gpu():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def has_gpu() -> bool:
    """Return whether torch can use a GPU. Where the job has one that torch cannot use, say so: the CPU takes many times longer."""
    devices = os.environ.get("CUDA_VISIBLE_DEVICES")
    if torch.cuda.is_available():
        return True
    if devices:
        text = f"torch {torch.__version__} cannot use this job's GPU (CUDA_VISIBLE_DEVICES={devices}): computing on the CPU"
        print(text, file=sys.stderr, flush=True)
    return False


def keep_memory() -> None:
    """Let memory that was freed wait for the next step instead of going back to the system.

    glibc gives it back as soon as some megabytes are free at the end of the heap. The next step of a training or of a sampler
    gets it again page by page, each cleared by the kernel: an eighth of the time of sampling at 256 pixels
    (`python -m benchmarks.memory`). Does nothing where the C library is another one.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD)  # smaller pieces come from the heap
        mallopt(M_TRIM_THRESHOLD, KEPT)
