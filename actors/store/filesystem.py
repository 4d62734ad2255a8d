"""The file operations that durability depends on, in one place, so that tests can make each of them fail."""

import contextlib
import errno
import fcntl
import os
import signal
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

_F_SETSIG = 10  # Linux, fcntl.h; the fcntl module has no name for it

# Errors of opening a name that no regular file has; ENXIO is that of a socket.
_NONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EINVAL, errno.ENXIO)
TEXT_BYTES_MAX = 16 << 20  # the maximum size of the small files in a tail; larger ones are not ours


def open_regular(path: Path) -> int:
    """Opens a regular file for reading; never blocks, as opening a FIFO would, and follows no link.

    Raises OSError, with errno EINVAL for anything but a regular file.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "is not a regular file", str(path))
    return fd


def read_text(path: Path) -> str:
    """Reads a small file of ours; invalid UTF-8 becomes a replacement character. Raises as `open_regular` does."""
    with open(open_regular(path), "rb") as file:
        return file.read(TEXT_BYTES_MAX).decode("utf-8", "replace")


def read_text_if_any(path: Path) -> str | None:
    """The same, None if there is no regular file of that name. Raises OSError for other errors: what a start could
    not read because of them would count as never written.
    """
    try:
        return read_text(path)
    except OSError as error:
        if error.errno in _NONE:
            return None
        raise


def _give(path: Path, group: int) -> None:
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode) or os.geteuid() not in (0, found.st_uid):
        return
    if found.st_gid != group:
        os.chown(path, -1, group)
    path.chmod(stat.S_IMODE(found.st_mode) | (0o2050 if stat.S_ISDIR(found.st_mode) else 0o040))


class Files:
    """The real file system. Every method raises OSError as the system does.

    A `group`, if given, may read the folders that are created, and what they will contain. `crash_at`, set by tests
    only, is "NAME" or "NAME:N": the process is killed when it passes that crash point for the N-th time.
    """

    def __init__(self, crash_at: str = "", group: int | None = None) -> None:
        self._group = group
        self._crash_name, _, count = crash_at.partition(":")
        self._crash_left = int(count or 1)

    def crash_point(self, name: str) -> None:
        """A named point at which tests kill the process; otherwise does nothing."""
        if name == self._crash_name:
            self._crash_left -= 1
            if self._crash_left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def produce(self, path: Path, write: Callable[[Path], object]) -> None:
        """Lets `write` create the file at `path`, and syncs its content.

        After an error nothing is left: a half-written file would occupy space on a full disk, and after a failed
        fsync a file cannot be trusted (its pages count as clean), only written again.
        """
        try:
            write(path)
            self.sync_file(path)
        except BaseException:
            with contextlib.suppress(OSError):
                self.remove(path)
            raise

    def sync_file(self, path: Path) -> None:
        """Syncs the content of a file to the disk."""
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def sync_folder(self, path: Path) -> None:
        """Syncs the names in a folder to the disk."""
        self.sync_file(path)

    def rename(self, old: Path, new: Path) -> None:
        """Renames atomically within one file system; replaces `new`."""
        old.rename(new)

    def remove(self, path: Path) -> None:
        """Deletes a file; no error if it does not exist."""
        with contextlib.suppress(FileNotFoundError):
            path.unlink()

    def publish(self, new: Path, path: Path) -> None:
        """Moves a finished file to its name, unless that name exists: then `new` is deleted and `path` kept."""
        try:
            path.hardlink_to(new)
        except FileExistsError:
            pass
        except OSError:  # a file system without hard links
            self.rename(new, path)
        self.remove(new)

    def hide(self, path: Path, behind: Path) -> None:
        """Moves the file to `behind` and leaves a symbolic link: `path` can be opened at any moment."""
        with contextlib.suppress(FileExistsError):
            behind.hardlink_to(path)
        link = behind.with_name(behind.name + ".link")
        self.remove(link)
        link.symlink_to(behind)
        self.rename(link, path)

    def remove_folder(self, path: Path) -> None:
        """Removes a folder; a missing or non-empty one is left alone."""
        with contextlib.suppress(OSError):
            path.rmdir()

    def names(self, folder: Path) -> list[str]:
        """The names in the folder; empty if there is none."""
        try:
            return os.listdir(folder)
        except FileNotFoundError:
            return []

    def share(self, path: Path) -> None:
        """Lets the group, if there is one, read a file, or a folder with all that is in it or created there later.
        A link, and what belongs to another user, stays as it is; no error if there is nothing.
        """
        if self._group is None:
            return
        for one in (path, *path.rglob("*")):
            with contextlib.suppress(FileNotFoundError):
                _give(one, self._group)

    def make_folder(self, path: Path) -> None:
        """Creates the folder and its parents, durably."""
        if not path.is_dir():
            self.make_folder(path.parent)
            path.mkdir(exist_ok=True)
            try:
                self.share(path)
            except OSError:  # the next attempt creates it again
                self.remove_folder(path)
                raise
            self.sync_folder(path.parent)

    def any_open(self, paths: Iterable[Path]) -> bool | None:
        """Whether any process has one of these files open; None if the system cannot tell.

        Linux grants a write lease on a file only while nobody else has it open (fcntl(2), F_SETLEASE), so the check
        is to take one and release it at once. It works for files of our own, with readers of any user. SIGURG,
        ignored by default, replaces the SIGIO that a reader who opens the file at that moment would cause; that
        reader waits for microseconds.
        """
        if not hasattr(fcntl, "F_SETLEASE"):
            return None
        for path in paths:
            try:
                fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            try:
                fcntl.fcntl(fd, _F_SETSIG, signal.SIGURG)
                fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
                fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
            except BlockingIOError:
                return True
            except OSError:
                return None
            finally:
                os.close(fd)
        return False
