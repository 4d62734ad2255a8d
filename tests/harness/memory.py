"""How much memory some source files of the product hold."""

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def allocations(*files: str) -> Iterator[Callable[[], int]]:
    """Reports the bytes that these source files, such as "*/wire/tls.py", have allocated since and still hold."""
    only = [tracemalloc.Filter(True, name) for name in files]

    def held() -> int:
        snapshot = tracemalloc.take_snapshot().filter_traces(only)
        return sum(one.size for one in snapshot.statistics("filename"))

    tracemalloc.start()
    try:
        yield held
    finally:
        tracemalloc.stop()
