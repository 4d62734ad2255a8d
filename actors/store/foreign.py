"""Recognizes what stands at the path of a DuckDB file and is none: it is refused, and never replaced. Also a name
under which DuckDB could not read a recording.

A recording whose beginning is damaged is not foreign: a service that has recorded into a file leaves its lock file
beside it (and, unless it was stopped, the tail), and the store sets such a file aside.
"""

import os
import stat
from pathlib import Path

from actors.model.schema import MERGED_SCHEMA
from actors.store.filesystem import open_regular

_MAGIC = b"DUCK"  # behind a checksum of eight bytes
_HEADS = ((b"SQLite format 3\0", "an SQLite database"), (b"PAR1", "a Parquet file"))
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def ambiguous(path: Path) -> bool:
    """Whether DuckDB would give a file at this path the name of the schema that the rows are in, in any case: each
    reference to the schema is then refused. It takes what stands before the first dot.
    """
    return path.name.lstrip(".").partition(".")[0].lower() == MERGED_SCHEMA


def special(path: Path) -> str:
    """What stands there instead of a regular file; "" for one, and where nothing is or can be seen."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return ""
    return next((name for is_kind, name in _KINDS if is_kind(mode)), "")


def foreign(path: Path) -> str:
    """What stands there and can be no recording; "" for what may be one, or become one, as an empty file may.

    It opens and closes the file: not to be called while DuckDB has it open in this process, whose locks would end.
    """
    if kind := special(path):
        return kind
    path = path.resolve()
    try:
        fd = open_regular(path)
    except OSError:  # what opens it next reports that
        return ""
    try:
        head = os.read(fd, 16)
    finally:
        os.close(fd)
    if not head or head[8:12] == _MAGIC:
        return ""
    known = next((name for begin, name in _HEADS if head.startswith(begin)), "")
    recorded = any(path.with_name(path.name + ending).exists() for ending in (".lock", ".tail"))
    return known or ("" if recorded else "not a DuckDB file")
