"""Recognizes errors of a full disk, describes them, and waits for space when the service starts."""

import errno
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import duckdb
import trio

from actors.store.duckdb_messages import system_reason

FULL = (errno.ENOSPC, errno.EDQUOT)
ROOM_BYTES_MIN = 1024 * 1024  # a disk with less counts as full if DuckDB's error does not name the reason


def is_full(error: BaseException, folder: Path) -> bool:
    """Whether the error, or one of its causes, comes from a full disk; `folder` is on the disk in question."""
    if isinstance(error, duckdb.Error):
        if system_reason(str(error), FULL):
            return True
        try:
            disk = os.statvfs(folder)
        except OSError:
            return False
        # A file system without a fixed number of inodes reports 0 of 0.
        return disk.f_bavail * disk.f_frsize < ROOM_BYTES_MIN or (disk.f_files > 0 and disk.f_favail == 0)
    return any(isinstance(link, OSError) and link.errno in FULL for link in (error, error.__cause__))


def disk_trouble(error: BaseException, folder: Path) -> str:
    """A message that stays the same over retries: DuckDB's own contains offsets in its temporary file."""
    if isinstance(error, duckdb.Error) and is_full(error, folder):
        return system_reason(str(error), FULL) or os.strerror(errno.ENOSPC)
    return str(error)


class RoomAwaiter:
    """Repeats the steps of a start until the disk of `folder` has space; `trouble` says what it waits for."""

    def __init__(self, folder: Path, stop: trio.Event, retry_s: float) -> None:
        self._folder, self._stop, self._retry_s = folder, stop, retry_s
        self.trouble: str | None = None

    async def repeat(self, step: Callable[[], Awaitable[None]]) -> None:
        """Runs the step until it succeeds; raises its other errors, and OSError if a stop is requested first."""
        twice = False
        while True:
            try:
                await step()
            except Exception as error:
                if not is_full(error, self._folder):
                    if twice or not isinstance(error, duckdb.IOException):
                        raise
                    twice = True  # space may have been freed between the error and the check: retry
                    continue
                self.trouble = (
                    f"waiting for space on the disk of {self._folder}: {disk_trouble(error, self._folder)}"
                )
                if self._stop.is_set():
                    raise OSError(errno.ENOSPC, self.trouble) from error
            else:
                self.trouble = None
                return
            with trio.move_on_after(self._retry_s):
                await self._stop.wait()
