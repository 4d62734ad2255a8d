"""Takes the pages of DuckDB's library out of this process's resident memory, after a use of the file.

A start and a merge run code that nothing else does; it would stay resident until the system is short of memory. The
system keeps the pages in its cache of files, and maps those again that are used: no disk is read.
"""

import ctypes
import re
from functools import cache
from pathlib import Path

import _duckdb

_DONTNEED = 4  # MADV_DONTNEED in Linux' asm-generic/mman-common.h
# A private mapping that cannot be written to and has not been: all its pages are as in the file.
_UNWRITTEN = re.compile(r"^(\w+)-(\w+) r-.p \S+ \S+ \S+ +(/.*)\n(?:\w+:.*\n)*?Anonymous: +0 kB$", re.MULTILINE)


def release_library_pages() -> None:
    """Takes about a millisecond, without the interpreter's lock. Does nothing on other systems than Linux."""
    madvise = ctypes.CDLL(None).madvise
    for start, size in _code():
        madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), _DONTNEED)


@cache
def _code() -> list[tuple[int, int]]:
    """Address and length in bytes of the library's code and constants."""
    smaps, library = Path("/proc/self/smaps"), str(Path(_duckdb.__file__).resolve())
    mappings = _UNWRITTEN.findall(smaps.read_text()) if smaps.exists() else []
    return [(int(start, 16), int(end, 16) - int(start, 16)) for start, end, name in mappings if name == library]
