"""Classifies DuckDB's errors by type and text, ignoring the names quoted in it.

DuckDB quotes paths and values in its messages, and these contain the user's words: a file in /crypto/ or /corrupt/
must not count as encrypted or damaged. So every check looks at the type of the error first, and at its text only
after all names have been removed.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path

import duckdb

_KIND = re.compile(r"^(?:INTERNAL|FATAL|[A-Z][A-Za-z-]*(?: [A-Z][A-Za-z-]*)*) Error: ")
_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")
_LOCK = re.compile(r"^could not set lock on file\b", re.IGNORECASE)
# A file system without locks: waiting for the lock would be in vain.
_NO_LOCKS = re.compile(r"^could not set lock on file \"\": (file locks are not supported|no locks available)", re.I)
_PID = re.compile(r"\(PID (\d+)\)")


def bare(error: BaseException, names: Iterable[str | Path] = ()) -> str:
    """The text of an error without its type, the given names, and everything in quotes."""
    text = _KIND.sub("", str(error), count=1)
    spellings = {spelling for name in names for spelling in _spellings(str(name))}
    for name in sorted(spellings, key=len, reverse=True):
        text = text.replace(name, "")
    return _QUOTED.sub('""', text)


def held(error: duckdb.Error, path: str | Path) -> bool:
    """Whether the only problem is that another process has the file open."""
    text = bare(error, [path])
    return isinstance(error, duckdb.IOException) and bool(_LOCK.match(text)) and not _NO_LOCKS.match(text)


def holder(error: duckdb.Error) -> int | None:
    """The process that holds the file, if DuckDB names it: after the name of its program."""
    found = _PID.findall(str(error))
    return int(found[-1]) if found else None


def system_reason(text: str, numbers: Iterable[int]) -> str:
    """The first of these errors of the system, in its words, that the text names; "" for none."""
    return next((reason for reason in map(os.strerror, numbers) if reason.lower() in text.lower()), "")


def _spellings(name: str) -> Iterable[str]:
    """The forms of a path in a message: DuckDB may make it absolute or resolve it. One-letter names are left out,
    as they would split words.
    """
    path = Path(name)
    return [s for s in (name, str(path.absolute()), str(path.resolve())) if len(s) > 1]
