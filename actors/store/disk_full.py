"""Whether an error says that a disk is full, and what to say of it."""

import errno
import os
from pathlib import Path

import duckdb

FULL = (errno.ENOSPC, errno.EDQUOT)
ROOM_BYTES_MIN = 1024 * 1024  # a disk with less is taken for full where DuckDB gives its error no number


def is_full(error: BaseException, folder: Path) -> bool:
    """Whether the error, or what it goes back to, comes from a full disk; `folder` lies on the one in question."""
    if isinstance(error, duckdb.Error):
        try:
            disk = os.statvfs(folder)
        except OSError:
            return False
        return disk.f_bavail * disk.f_frsize < ROOM_BYTES_MIN
    return any(isinstance(link, OSError) and link.errno in FULL for link in (error, error.__cause__))


def disk_trouble(error: BaseException, folder: Path) -> str:
    """The error in words that stay the same from try to try: DuckDB names places in its temporary file."""
    if isinstance(error, duckdb.Error) and is_full(error, folder):
        return os.strerror(errno.ENOSPC)
    return str(error)
