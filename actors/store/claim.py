"""One service for one file: a lock beside the file that tells a second service who has it.

The lock is flock on "<file>.lock", never on the DuckDB file itself; the system drops it with its process,
so what a dead process left is taken over without a question.
"""

import fcntl
import json
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType


class StoreTaken(Exception):
    """Another living service records into this file; `pid` and `socket` are its own, as far as it told."""

    def __init__(self, path: Path, pid: int | None, socket: str) -> None:
        who = f"process {pid}" if pid else "another process"
        where = f" (control socket {socket})" if socket else ""
        super().__init__(
            f"{who}{where} already records into {path}. Stop that one, or give this one another store.path."
        )
        self.pid, self.socket = pid, socket


class Claim:
    """Holds the lock while its block runs; raises StoreTaken at once if somebody else does."""

    def __init__(self, store: Path, socket: str = "") -> None:
        self._store, self._socket = store, socket
        self._path = store.with_name(store.name + ".lock")
        self._fd = -1

    def __enter__(self) -> "Claim":
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid, socket = self._holder(fd)
            os.close(fd)
            raise StoreTaken(self._store, pid, socket) from None
        except OSError:  # a file system without flock: nothing to hold on to, and nothing to lose by going on
            pass
        with suppress(OSError):  # a full disk: a second service then learns only that there is a first
            os.ftruncate(fd, 0)
            os.pwrite(fd, json.dumps({"pid": os.getpid(), "socket": self._socket}).encode(), 0)
        self._fd = fd
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The lock file itself stays: were it removed, two later services could each lock a file of that name.
        os.ftruncate(self._fd, 0)
        os.close(self._fd)
        self._fd = -1

    @staticmethod
    def _holder(fd: int) -> tuple[int | None, str]:
        try:
            said = json.loads(os.pread(fd, 4096, 0))
            return int(said["pid"]), str(said["socket"])
        except (ValueError, KeyError, TypeError):
            return None, ""
