"""DuckDB's errors of a target that cannot be written; apart from `target`, which commands without DuckDB import."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from actors.store.disk_full import FULL
from actors.store.duckdb_messages import system_reason
from ops.export.target import ExportError, unwritable

# DuckDB's errors of a file that cannot be written: a failed COMMIT is a TransactionException.
_UNWRITTEN = (duckdb.IOException, duckdb.TransactionException, duckdb.FatalException)
_NUMBER = re.compile(r'"errno":"(\d+)"')  # in the text of a write that DuckDB made in the background


@contextmanager
def export_errors(target: Path, work: Path) -> Iterator[None]:
    """DuckDB's errors become ExportError: of the target if they are about its workshop or a full disk, else, such
    as of a damaged recording, with DuckDB's own words.
    """
    try:
        yield
    except duckdb.Error as error:
        text = str(error)
        full = _NUMBER.search(text) or system_reason(text, (*FULL, errno.EFBIG))
        if isinstance(error, _UNWRITTEN) and (full or str(work) in text):
            raise unwritable(target, _why(error)) from error
        raise ExportError(text.partition("\n")[0]) from error


@contextmanager
def naming(made: Path) -> Iterator[None]:
    """Adds this file to an error of the system that names none, as that of a write to a full disk.

    DuckDB's error of a write to this file becomes an OSError, as for any other file of a workshop.
    """
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(made)
        raise
    except duckdb.IOException as error:
        if str(made) not in str(error):
            raise  # of a file that was read
        raise OSError(errno.EIO, _why(error), str(made)) from error


def _why(error: duckdb.Error) -> str:
    text = str(error).partition("\n")[0]
    number = _NUMBER.search(text)
    return os.strerror(int(number[1])) if number else text.rpartition(": ")[2]
