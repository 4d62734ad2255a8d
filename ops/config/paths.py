"""Checks the paths of a configuration: each alone, all together, and (for check-config) on this host."""

import errno
import grp
import os
import socket
import ssl
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actors.model.schema import MERGED_SCHEMA
from actors.settings import LakeSettings, StoreSettings
from actors.sink.lake.credentials import CredentialsWrong, read_credentials
from actors.sink.lake.durability import unusable_in_folder
from actors.store.foreign import ambiguous, foreign
from ops.config.checks import read_as_pattern
from ops.config.reader import Mistake, shown
from ops.control.listener import PATH_BYTES_MAX, bytes_needed

if TYPE_CHECKING:
    from ops.config.config import Config
    from ops.config.keys import ControlSettings

NAME_BYTES_MAX = 255  # of every common Linux file system
# The suffixes that the store appends to its file's name; the longest is of a damaged write-ahead log set aside.
_OWN = (".tail", ".lock", ".wal", ".new", ".new.wal", ".tmp", ".new.tmp")
_LONGEST = ".wal.damaged-20260101T000000.000000Z"
PATH_CHARS_LEFT = 96  # for the names of segments and unfinished files


def place_mistakes(store: StoreSettings, control: Path, lake: LakeSettings | None = None) -> Iterator[Mistake]:
    """Mistakes that fail on every host: characters, lengths, and paths that collide."""
    try:
        path = store.path.resolve()
    except (OSError, RuntimeError) as error:
        yield Mistake("store.path", _quoted(store.path), f"a path that leads somewhere ({_why(error)})")
        return
    if odd := read_as_pattern(path) or _not_utf8(path):
        yield Mistake("store.path", _quoted(path), f"a path without {odd}")
    if ambiguous(path):
        why = f"DuckDB would confuse it with the schema {MERGED_SCHEMA} in the file"
        yield Mistake("store.path", _quoted(path), f'another name, like "ticks.duckdb": {why}')
    yield from _too_long("store.path", path, _LONGEST)
    if _is_folder(path):
        yield Mistake("store.path", f"a folder, {_quoted(path)}", "the name of a file")
    yield from _socket(control)
    if store.archive_dir is not None:
        yield from _archive(store.archive_dir)
    yield from _collisions(path, control, store.archive_dir, _lake_folder(lake))


def lake_mistakes(lake: LakeSettings) -> Iterator[Mistake]:
    """The same for a lake alone."""
    if lake.credentials is not None and not lake.credentials.is_file():
        yield Mistake("lake.credentials", _quoted(lake.credentials), "a file that is there")
    if (folder := _lake_folder(lake)) is not None:
        if odd := unusable_in_folder(folder):
            yield Mistake("lake.uri", _quoted(folder), f"a path without {odd}")
        yield from _too_long("lake.uri", folder, "")


def _lake_folder(lake: LakeSettings | None) -> Path | None:
    return None if lake is None or "://" in lake.uri else Path(lake.uri)


def _collisions(store: Path, control: Path, archive: Path | None, lake: Path | None) -> Iterator[Mistake]:
    """Each place is compared with those before it: it must not be at or below one of them.

    Nothing else may be in a folder of the lake, either: `lake compact` deletes from those of its tables what they
    do not name. Beside these folders there may be files.
    """
    taken = [store, *(store.with_name(store.name + ending) for ending in _OWN)]
    for key, place in (("control.socket", control), ("store.archive_dir", archive), ("lake.uri", lake)):
        if place is None:
            continue
        met = [one for one in taken if _contains(one, place)]
        if key == "lake.uri":
            met += [one for one in taken if _contains(place, one) and (one == archive or not _beside(one, place))]
        if met:
            yield Mistake(key, _quoted(place), f"a path of its own, apart from {met[0]}")
        taken.append(place)


def _contains(folder: Path, path: Path) -> bool:
    """Whether the path is at or below the folder."""
    return _resolved(path).is_relative_to(_resolved(folder))


def _beside(file: Path, folder: Path) -> bool:
    """Whether the file is directly in the folder."""
    return _resolved(file).parent == _resolved(folder)


def _socket(control: Path) -> Iterator[Mistake]:
    needed = bytes_needed(control)
    if needed > PATH_BYTES_MAX:
        right = f"at most {PATH_BYTES_MAX} bytes, the system's limit; set control.socket to a shorter one"
        yield Mistake("control.socket", f"{needed} bytes, {_quoted(control)}", right)


def _archive(archive: Path) -> Iterator[Mistake]:
    if odd := read_as_pattern(_resolved(archive)) or _not_utf8(archive):
        yield Mistake("store.archive_dir", _quoted(archive), f"a path without {odd}")
    yield from _too_long("store.archive_dir", archive, "")


def _not_utf8(path: Path) -> str:
    """DuckDB takes paths as UTF-8; a folder above the configuration may have a name that is not."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return "bytes that are not UTF-8"
    return ""


def _too_long(key: str, path: Path, ending: str) -> Iterator[Mistake]:
    """File systems limit the length of names, and the kernel that of paths."""
    most = NAME_BYTES_MAX - len(ending)
    for index, part in enumerate(reversed(path.parts)):
        size, limit = len(os.fsencode(part)), most if index == 0 else NAME_BYTES_MAX
        if size > limit:
            yield Mistake(key, f"a name of {size} bytes, {shown(part)}", f"names of at most {limit} bytes")
    if len(os.fsencode(path)) > os.pathconf("/", "PC_PATH_MAX") - PATH_CHARS_LEFT:
        yield Mistake(key, f"a path of {len(os.fsencode(path))} bytes", "a shorter one")


def host_mistakes(config: "Config") -> Iterator[Mistake]:
    """Mistakes on this host and for this user, for `check-config`.

    Not for `run`: a disk that comes back needs no other configuration. No written file remains.
    """
    store, control = config.store, config.control
    yield from store_mistakes(store)
    if store.archive_dir is not None and (trouble := _folder(store.archive_dir)):
        yield Mistake("store.archive_dir", _quoted(store.archive_dir), trouble)
    if config.lake is not None:
        yield from _lake(config.lake)
    yield from _control(control.socket, store.path.resolve().parent)
    yield from _group(control.group)
    yield from _address(control)
    for name, exchange in config.exchanges.items():
        if exchange.ca_file is not None and (trouble := _certificates(exchange.ca_file)):
            yield Mistake(f"exchanges.{name}.ca_file", _quoted(exchange.ca_file), trouble)


def store_mistakes(store: StoreSettings) -> Iterator[Mistake]:
    """Those of the DuckDB file and what lies beside it."""
    path = store.path.resolve()
    yield from _file("store.path", path)
    yield from _tail(path)
    yield from _storage(path, store.storage_version)


def _file(key: str, path: Path) -> Iterator[Mistake]:
    """A file that can be read and written, or one that can be created."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        if trouble := _folder(path.parent):
            yield Mistake(key, _quoted(path), trouble)
        return
    except OSError as error:
        yield Mistake(key, _quoted(path), f"a path that can be reached ({_why(error)})")
        return
    if what := foreign(path):
        yield Mistake(key, f"{_quoted(path)}, which is {what}", "a DuckDB file, or a name that is free")
    elif not os.access(path, os.R_OK | os.W_OK):
        yield Mistake(key, _quoted(path), f"a file that {_user()} may read and write")
    elif trouble := _folder(path.parent):  # its lock, its tail and its log are beside it
        yield Mistake(key, _quoted(path), trouble)


def _storage(path: Path, wanted: str) -> Iterator[Mistake]:
    """A file keeps the storage version with which it was created. A file held by a service is not checked."""
    import duckdb

    from actors.store.connecting import command_limits, connect, other_storage

    if not path.is_file() or foreign(path):
        return
    try:
        with connect(path, command_limits(), read_only=True) as con:
            found = other_storage(con, wanted)
    except duckdb.Error:
        return
    if found:
        right = f"{shown(found)}, with which {_quoted(path)} was created, or another store.path"
        yield Mistake("store.storage_version", shown(wanted), right)


def _tail(path: Path) -> Iterator[Mistake]:
    """Checks the places of the store's own files."""
    tail, lock = path.with_name(path.name + ".tail"), path.with_name(path.name + ".lock")
    if _exists(tail) and not (_is_folder(tail) and os.access(tail, os.W_OK | os.X_OK)):
        yield Mistake(
            "store.path", f"{_quoted(tail)} beside it", f"a folder that {_user()} may write, or nothing there"
        )
    if _exists(lock) and not (lock.is_file() and os.access(lock, os.W_OK)):
        yield Mistake(
            "store.path", f"{_quoted(lock)} beside it", f"a file that {_user()} may write, or nothing there"
        )


def _lake(lake: LakeSettings) -> Iterator[Mistake]:
    """The folder and the credentials. Whether an object store answers, the service finds, and waits for it."""
    folder = _lake_folder(lake)
    if folder is not None and (trouble := _folder(folder)):
        yield Mistake("lake.uri", _quoted(folder), trouble)
    if lake.credentials is not None:
        try:
            read_credentials(lake.credentials)
        except CredentialsWrong as error:
            yield Mistake("lake.credentials", _quoted(lake.credentials), str(error))
        except OSError as error:
            yield Mistake(
                "lake.credentials", _quoted(lake.credentials), f"a file that {_user()} can read ({_why(error)})"
            )


def _control(path: Path, made: Path) -> Iterator[Mistake]:
    """The socket's folder must exist, or be one that is `made` with the store. A socket may exist already."""
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        found = None
    except OSError as error:
        yield Mistake("control.socket", _quoted(path), f"a path that can be reached ({_why(error)})")
        return
    if found is not None and not stat.S_ISSOCK(found.st_mode):
        yield Mistake("control.socket", f"{_quoted(path)}, which exists and is not a socket", "another path")
    elif not _is_folder(path.parent) and _resolved(path.parent) not in (made, *made.parents):
        yield Mistake(
            "control.socket", _quoted(path), f"a path in a folder that exists; {_quoted(path.parent)} does not"
        )
    elif _resolved(path.parent) != made and (trouble := _folder(path.parent)):  # otherwise store.path is reported
        yield Mistake("control.socket", _quoted(path), trouble)


def _folder(path: Path) -> str:
    """What is expected instead of a folder that cannot be created or written, "" if it can."""
    place = path
    while not _exists(place) and place != place.parent:
        place = place.parent
    if not _is_folder(place):
        return f"a path through folders; {_quoted(place)} is not one"
    try:
        with tempfile.TemporaryFile(dir=place):  # root may write everywhere, but not in /proc
            return ""
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):  # temporary, and not a mistake in the configuration
            return ""
        return f"a path where {_user()} may write; not in {_quoted(place)} ({_why(error)})"


def _group(name: str) -> Iterator[Mistake]:
    if not name or os.geteuid() == 0:
        return
    if grp.getgrnam(name).gr_gid not in (os.getegid(), *os.getgroups()):
        yield Mistake("control.group", shown(name), f"a group that {_user()} is a member of")


def _address(control: "ControlSettings") -> Iterator[Mistake]:
    """Whether the port may be opened, or is the running service's own."""
    address = control.http
    if not address:
        return
    host, _, port = address.rpartition(":")
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[
            0
        ]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
    except OSError as error:
        if error.errno != errno.EADDRINUSE or not _serves(control):
            yield Mistake("control.http", shown(address), f"an address and port that can be opened ({_why(error)})")


def _serves(control: "ControlSettings") -> bool:
    """Whether the service on this configuration's control socket has the http port."""
    from ops.control.client import ControlClient, NoService, ProblemReply

    try:
        running: Any = ControlClient(control.socket).get("/v1/config")
    except (NoService, ProblemReply):
        return False
    return bool(running["control"]["http"] == control.http)


def _certificates(path: Path) -> str:
    """What is expected instead of a file without certificates, "" if it has some."""
    try:
        ssl.create_default_context(cafile=str(path))
    except ssl.SSLError:
        return "a file with certificates in PEM form (-----BEGIN CERTIFICATE-----)"
    except (OSError, ValueError) as error:
        return f"a file that {_user()} can read ({_why(error)})"
    return ""


def _exists(path: Path) -> bool:
    """True also for a dangling link, over which nothing can be created."""
    return os.path.lexists(path)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name that is too long
        return False


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        return path


def _user() -> str:
    return f"this user ({os.geteuid()})"


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _quoted(path: Path) -> str:
    return shown(str(path))
