"""Locks the DuckDB file against a second service, by whatever name that one knows the file.

The lock "<file>.lock" excludes services that use the same folder, also while there is no file yet. A file may have
other names: hard links, and bind mounts of the file alone. So the file itself is locked as well, with flock, which
applies to device and inode. DuckDB ignores it, because it uses the locks of fcntl(2); but the system releases those
as soon as the process closes any descriptor of the file, so our descriptor is opened and closed only while DuckDB
does not have the file open here. The system releases both locks when their process ends: the next service simply
takes them.
"""

import errno
import fcntl
import json
import os
import stat
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from actors.store.database import FileRefused

_BYTES_MAX = 4096
# File systems that may implement flock by the locks of fcntl, where it would lock out DuckDB.
_NETWORK = ("nfs", "cifs", "smb", "9p", "ceph", "gpfs", "lustre")


class StoreTaken(OSError):
    """Another running service records into this file; `pid` and `socket` are its own, if it wrote them."""

    def __init__(self, path: Path, pid: int | None, socket: str, how: str = "") -> None:
        who = f"process {pid}" if pid else "another process"
        where = f" (control socket {socket})" if socket else ""
        super().__init__(
            f"{who}{where} already records into {path}{how}. Stop it, or set another store.path for this one."
        )
        self.pid, self.socket = pid, socket


class StoreLock:
    """Holds the locks while its block runs.

    Raises StoreTaken at once if another service holds them, and FileRefused if another file has the lock file's
    name.
    """

    def __init__(self, store: Path, socket: str = "") -> None:
        self._store, self._socket = store, socket
        self._path = _lock_path(store)
        self._fd = self._file_fd = -1

    def __enter__(self) -> "StoreLock":
        if self._fd >= 0:  # what followed has failed, and is tried again
            return self
        fd = self._open()
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid, socket = _holder(fd)
            os.close(fd)
            raise StoreTaken(self._store, pid, socket) from None
        except OSError:  # a file system without flock: go on without this lock
            pass
        with suppress(OSError):  # a full disk: a second service will not learn our pid and socket
            os.ftruncate(fd, 0)
            os.pwrite(fd, json.dumps({"pid": os.getpid(), "socket": self._socket}).encode(), 0)
        self._fd = fd
        return self

    def file(self, path: Path) -> None:
        """Locks the DuckDB file that has the name now, or is about to get it, and releases an earlier one.

        Raises StoreTaken. Does nothing for a file locked already; otherwise DuckDB must not have it open here.
        """
        if self._fd < 0:
            return
        found = path.stat()
        if self._file_fd >= 0:
            mine = os.fstat(self._file_fd)
            if (mine.st_dev, mine.st_ino) == (found.st_dev, found.st_ino):
                return
        if _on_network(found.st_dev):
            return
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:  # DuckDB will fail too, and report it
            return
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise StoreTaken(self._store, _locker(found), "", ", under another name") from None
        except OSError:
            pass
        if self._file_fd >= 0:
            os.close(self._file_fd)
        self._file_fd = fd

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        """Releases the locks before the block ends, or when it ends; they can be taken again with `with`."""
        if self._fd < 0:
            return
        # The lock file itself stays: if it were removed, two services could each lock a file of that name.
        with suppress(OSError):  # a failing disk: the name of a process that has ended stays in it
            os.ftruncate(self._fd, 0)
        for fd in (self._file_fd, self._fd):
            if fd >= 0:
                os.close(fd)
        self._fd = self._file_fd = -1

    def _open(self) -> int:
        """The lock file, empty or written by us; any other file of that name is neither followed nor changed."""
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
                raise self._refused() from error
            raise
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1 or (status.st_size and not _is_ours(fd)):
            os.close(fd)
            raise self._refused()
        return fd

    def _refused(self) -> FileRefused:
        return FileRefused(
            f"{self._path} is not a lock file of this software (but a link or another file); it was left"
            " unchanged. Move it away, or set store.path to another file."
        )


def lock_holder(store: Path) -> tuple[int | None, str]:
    """Process and control socket of the service that took the lock last, as it wrote them; perhaps it has ended."""
    try:
        fd = os.open(_lock_path(store), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None, ""
    try:
        with suppress(OSError):
            return _holder(fd)
        return None, ""
    finally:
        os.close(fd)


def _lock_path(store: Path) -> Path:
    return store.with_name(store.name + ".lock")


def _holder(fd: int) -> tuple[int | None, str]:
    try:
        owner = json.loads(os.pread(fd, _BYTES_MAX, 0))
        return int(owner["pid"]), str(owner["socket"])
    except (ValueError, KeyError, TypeError):
        return None, ""


def _is_ours(fd: int) -> bool:
    """Whether it contains what we write, perhaps truncated by a power cut."""
    found = os.pread(fd, _BYTES_MAX, 0).strip(b"\0")
    return not found or found.startswith(b'{"pid": ')


def _on_network(device: int) -> bool:
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
    except OSError:  # not Linux
        return False
    for line in lines:
        before, _, after = line.partition(" - ")
        if before.split(" ")[2] == wanted and after.startswith(_NETWORK):
            return True
    return False


def _locker(found: os.stat_result) -> int | None:
    """The process that holds the flock of a file, if the system reports it."""
    try:
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        words = line.split()
        if "FLOCK" in words and words[5].split(":")[-1] == str(found.st_ino):
            return int(words[4])
    return None
