"""Creates the listening Unix socket with its permissions, and replaces that of a dead process."""

import errno
import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# sockaddr_un.sun_path holds 108 bytes with the closing NUL: unix(7). BSD and macOS have 104.
PATH_BYTES_MAX = 107
_PRIVATE_NAME = ".12345678/s"  # as long as tempfile's names, with the socket in it


class ControlError(Exception):
    """The control interface cannot be opened; the message gives the reason and what to do."""


class SocketInUse(ControlError):
    """A running process answers on this path."""


class SocketPathError(ControlError):
    """The path cannot hold a socket."""


@contextmanager
def control_listener(
    path: Path, group_id: int | None, backlog: int, *, replaces: bool = False
) -> Iterator[socket.socket]:
    """Listens on `path` while the block is open: mode 0600, or 0660 for the group `group_id`.

    bind() creates the file with a mode by umask, and the umask belongs to the whole process: between bind and chmod
    others could connect, or files created by other threads would get the wrong mode. So the socket is created in a
    new folder of mode 0700, gets its group and mode there, and is then linked to its path, which is atomic and,
    unlike a rename, never replaces a socket that another service has just created there.

    With `replaces` it takes the path from a service that listens there now, in one step: a client
    reaches the one or the other.

    On leaving, the file is removed if it is still this listener's own. Raises SocketInUse, SocketPathError.
    """
    _check_length(path)
    if not replaces:
        _take_over(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.setblocking(False)
        try:
            with tempfile.TemporaryDirectory(prefix=".", dir=path.parent) as private:  # made with mode 0700
                born = Path(private, "s")
                listening.bind(os.fspath(born))
                listening.listen(backlog)
                inode = _publish(born, path, group_id, replaces=replaces)
        except OSError as error:
            raise SocketPathError(
                f"no socket can be created at {path}: {error.strerror}; set [control] socket to another path"
            ) from error
        try:
            yield listening
        finally:
            # Still listening, so that nobody takes the path over between this check and the removal.
            _remove_own(path, inode)


def bytes_needed(path: Path) -> int:
    """The length of the longest path to which a socket here is bound; PATH_BYTES_MAX is the system's limit."""
    return max(len(os.fsencode(path)), len(os.fsencode(path.parent / _PRIVATE_NAME)))


def _check_length(path: Path) -> None:
    longest = bytes_needed(path)
    if longest > PATH_BYTES_MAX:
        raise SocketPathError(
            f"the control socket's path {path} is too long: got {longest} bytes, a Unix socket allows "
            f'{PATH_BYTES_MAX}; set [control] socket to a shorter one, such as "/run/tickwarden.sock"'
        )


def _take_over(path: Path) -> None:
    """Clears the path of a dead process's socket; of several concurrent callers none removes a live one."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise SocketPathError(
            f"the control socket {path} cannot be reached: {error.strerror}; set [control] socket to another path"
        ) from error
    if not stat.S_ISSOCK(mode):
        raise SocketPathError(
            f"{path} exists and is not a socket; move it away or set [control] socket to another path"
        )
    if _answers(path):
        raise SocketInUse(
            f"a running service answers on {path}; stop it first, or set [control] socket to another path"
        )
    try:
        _move_away_dead(path)
    except OSError as error:
        raise SocketPathError(
            f"the old socket {path} cannot be removed: {error.strerror}; remove it yourself"
        ) from error


def _move_away_dead(path: Path) -> None:
    aside = path.parent / f".{os.urandom(4).hex()}"
    with suppress(FileNotFoundError):
        # Between the check and this move another service may have created its own: check again.
        path.rename(aside)
        if _answers(aside):
            with suppress(FileExistsError):
                path.hardlink_to(aside)
            aside.unlink()
            raise SocketInUse(f"another service has just started on {path}; `tickwarden status` shows it")
        aside.unlink()


def _answers(path: Path) -> bool:
    """Whether a process listens on the socket. Never waits: a full backlog means a running process too."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        code = probe.connect_ex(os.fspath(path))
    if code == errno.EACCES:
        raise SocketPathError(f"{path} belongs to another user; set [control] socket to another path")
    return code not in {errno.ECONNREFUSED, errno.ENOENT}


def _publish(private: Path, path: Path, group_id: int | None, *, replaces: bool) -> tuple[int, int]:
    """Sets the socket's group and mode, then its name; returns its identity."""
    if group_id is not None:
        try:
            os.chown(private, -1, group_id)
        except PermissionError as error:
            raise SocketPathError(
                f"{path} cannot be given to group {group_id}: the service's user is not a member;"
                " set [control] group to one of its groups"
            ) from error
    private.chmod(0o600 if group_id is None else 0o660)
    made = private.stat()
    try:
        if replaces:
            private.rename(path)
        else:
            path.hardlink_to(private)
    except FileExistsError as error:
        raise SocketInUse(f"another service has just started on {path}; `tickwarden status` shows it") from error
    return made.st_dev, made.st_ino


def _remove_own(path: Path, inode: tuple[int, int]) -> None:
    with suppress(OSError):
        found = path.lstat()
        if (found.st_dev, found.st_ino) == inode:
            path.unlink()
