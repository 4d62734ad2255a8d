"""Writes a copy beside its target, makes it durable, then renames it into place."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from actors.store.filesystem import Files

_FULL = tuple(map(os.strerror, (errno.ENOSPC, errno.EDQUOT)))


class ExportError(Exception):
    """The copy cannot be created at its target; the message is for people."""


def check(source: Path, target: Path, *, as_folder: bool, overwrite: bool) -> None:
    """Raises before the work any error that would come after it."""
    if as_folder:
        if target.exists() and not target.is_dir():
            raise ExportError(f"{target} is a file; name a folder, or leave out the slash for a DuckDB file")
        return
    if target.is_dir():
        raise ExportError(f"{target} is a folder; name a file")
    if target.exists() and source.exists() and target.samefile(source):
        raise ExportError(f"{target} is the recording itself; give the copy another name")
    if target.exists() and not overwrite:
        raise ExportError(f"{target} exists; --overwrite replaces it")
    log = target.with_name(target.name + ".wal")
    if log.exists():
        raise ExportError(
            f"{log} belongs to another database file, and DuckDB would read it as part of the copy:"
            " move it away, or give the copy another name"
        )


_workshops: set[Path] = set()


@contextmanager
def workshop(target: Path) -> Iterator[Path]:
    """A temporary folder beside the target; deleted afterwards in any case.

    Raises ExportError with the target's name where the folder cannot be made, or the system fails within it.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f"{target.name}.partial-", dir=target.parent))
    except OSError as error:
        raise unwritable(target, error.strerror or str(error)) from error
    _workshops.add(work)
    try:
        yield work
    except OSError as error:
        if error.filename is None or work not in Path(os.fsdecode(error.filename)).parents:
            raise  # of something else, such as the output
        raise unwritable(target, error.strerror or str(error)) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
        _workshops.discard(work)


def unwritable(target: Path, why: str) -> ExportError:
    """The error of a target that the system does not let us write; `why` is the system's own text."""
    if any(text in why for text in _FULL):
        return ExportError(f"{target} cannot be written: {why}; free some space, or name a path on another disk")
    return ExportError(f"{target} cannot be written: {why}; name a path where you may write")


def delete_workshops() -> None:
    """Deletes all of them, for a process that ends at once."""
    for work in list(_workshops):
        shutil.rmtree(work, ignore_errors=True)


def make_durable(made: Path) -> int:
    """Syncs everything at or below `made`, readable by its owner only whatever the umask; returns its bytes."""
    files, size = Files(), 0
    for path in (made, *made.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
        if path.is_file():
            size += path.stat().st_size
        files.sync_file(path)
    return size


def place_file(made: Path, target: Path, *, overwrite: bool) -> None:
    """Renames at once; a file created there meanwhile is not replaced without `overwrite`."""
    if overwrite:
        made.replace(target)
    else:
        try:
            os.link(made, target)  # unlike a rename it fails if the name is taken
        except FileExistsError:
            raise ExportError(f"{target} was created meanwhile; --overwrite replaces it") from None
        except OSError:  # a file system without links
            made.rename(target)
    Files().sync_folder(target.parent)


def place_folder(made: Path, target: Path, *, overwrite: bool) -> None:
    """Renames at once if there is no folder or an empty one; otherwise file by file, after a check of all of them.

    A partition that has files already is replaced as a whole, or is an error without `overwrite`.
    """
    files = Files()
    if not target.exists() or not any(target.iterdir()):
        made.replace(target)
        files.sync_folder(target.parent)
        return
    new = sorted(path.relative_to(made) for path in made.rglob("*.parquet"))
    taken = [name.parent for name in new if any((target / name.parent).glob("*.parquet"))]
    if taken and not overwrite:
        raise ExportError(f"{target / taken[0]} has files already; --overwrite replaces them")
    for name in new:
        folder = (target / name).parent
        files.make_folder(folder)
        old = set(folder.glob("*.parquet")) - {folder / other.name for other in new if other.parent == name.parent}
        (made / name).replace(target / name)
        for path in old:
            path.unlink()
        files.sync_folder(folder)


def place_files(made: Path, target: Path, *, overwrite: bool) -> None:
    """Renames each file of the folder `made` into `target`, after a check of all of them."""
    files = Files()
    files.make_folder(target)
    names = sorted(path.name for path in made.iterdir())
    taken = [name for name in names if (target / name).exists()]
    if taken and not overwrite:
        raise ExportError(f"{target / taken[0]} exists; --overwrite replaces it")
    for name in names:
        (made / name).replace(target / name)
    files.sync_folder(target)
