"""Free memory, and a helpful error when it runs out."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from palette.errors import DataError, out_of_memory


@contextmanager
def within_memory(otherwise: str) -> Iterator[None]:
    """Turn running out of memory, on a CPU or a GPU, into a DataError with the text `otherwise`."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise DataError(otherwise) from None


def free_memory(root: Path = Path("/")) -> int | None:
    """Return the bytes that Linux can still give to this process, within its cgroups' limits; None on other systems.

    Linux would promise more, and kill the process when it uses it.
    """
    return min([*_of_machine(root), *_of_cgroups(root)], default=None)


def _of_machine(root: Path) -> Iterator[int]:
    with suppress(OSError):
        sizes = dict(line.split(":") for line in (root / "proc/meminfo").read_text(encoding="ascii").splitlines())
        yield int(sizes["MemAvailable"].split()[0]) * 1024


def _of_cgroups(root: Path) -> Iterator[int]:
    """Yield the memory left in each limited cgroup of the process and those around it. Cached files count as free."""
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:  # version 2
                base, names = root / "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
            elif "memory" in controllers.split(","):
                base = root / "sys/fs/cgroup/memory"
                names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            else:
                continue
            parts = path.strip("/").split("/")
            for depth in range(len(parts) + 1):
                yield from _of_cgroup(base.joinpath(*parts[:depth]), *names)


def _of_cgroup(group: Path, limit: str, used: str, cache: str) -> Iterator[int]:
    with suppress(OSError, ValueError):  # no such file in a container, or the limit `max`
        facts = dict(line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines())
        in_use = int((group / used).read_text()) - int(facts.get(cache, 0))
        yield max(0, int((group / limit).read_text()) - in_use)
