"""Threads that process many items and return results in the items' order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def ordered(function: Callable[[A], B], items: Iterable[A], threads: int) -> Iterator[B]:
    """Yield `function(item)` for each item, in order, computed by `threads` threads.

    Only a few results per thread wait to be used, so memory does not grow with the number of items. Pillow releases
    Python's lock while it decodes, resizes and encodes, so threads are enough.
    """
    if threads <= 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[B]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= 4 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
