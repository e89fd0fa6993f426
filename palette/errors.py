"""Errors that a user can act on. Each carries its exit code; none is shown with a traceback.

UserError
├── ConfigError   2   a config, spec or command line that cannot be honored
├── DataError     3   a file that is missing, damaged or not what it should be
└── Interrupted  75   stopped by a signal; the same command resumes a stage
"""

from collections.abc import Sequence


class UserError(Exception):
    """Error whose text names the file, the value, what is allowed and the next step."""

    exit_code = 1


class ConfigError(UserError):
    exit_code = 2


class DataError(UserError):
    exit_code = 3


class Interrupted(UserError):
    exit_code = 75


def listed(items: Sequence[str], most: int = 10) -> str:
    """Return `a, b, c` for a message: the first `most` items, and the number of the others."""
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more


def indented(lines: Sequence[str], most: int = 10) -> str:
    """Return lines for the end of a message: the first `most`, and the number of the others."""
    more = [f"and {len(lines) - most} more"] if len(lines) > most else []
    return "".join(f"\n  {line}" for line in [*lines[:most], *more])


OUT_OF_MEMORY = ("out of memory", "DefaultCPUAllocator", "ALLOC_FAILED", "could not create a primitive", "bad_alloc")
"""Phrases with which torch, CUDA, cuDNN, cuBLAS and oneDNN report that memory ran out."""


def out_of_memory(error: Exception) -> bool:
    """Return whether an exception means that memory ran out.

    torch has an exception class only for GPUs; elsewhere, the message is searched.
    """
    return isinstance(error, MemoryError) or any(words in str(error) for words in OUT_OF_MEMORY)
