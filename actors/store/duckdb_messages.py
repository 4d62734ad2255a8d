"""What DuckDB's error texts say, read without the names in them.

DuckDB quotes paths and values in its messages, and these hold the user's words: a file in /crypto/ or /corrupt/
must not be taken for an encrypted or a damaged one. So everything is decided by the type of the error first, and
by its text only after every name has been taken out of it.
"""

import re
from collections.abc import Iterable
from pathlib import Path

import duckdb

_KIND = re.compile(r"^(?:INTERNAL|FATAL|[A-Z][A-Za-z-]*(?: [A-Z][A-Za-z-]*)*) Error: ")
_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")
_LOCK = re.compile(r"^could not set lock on file\b", re.IGNORECASE)
# A file system that knows no locks: waiting for somebody to give it up would be in vain.
_NO_LOCKS = re.compile(r"^could not set lock on file \"\": (file locks are not supported|no locks available)", re.I)
_PID = re.compile(r"\(PID (\d+)\)")


def bare(error: BaseException, names: Iterable[str | Path] = ()) -> str:
    """The text of an error without its kind, the given names, and whatever else stands in quotes."""
    text = _KIND.sub("", str(error), count=1)
    spellings = {spelling for name in names for spelling in _spellings(str(name))}
    for name in sorted(spellings, key=len, reverse=True):
        text = text.replace(name, "")
    return _QUOTED.sub('""', text)


def held(error: duckdb.Error, path: str | Path) -> bool:
    """Whether another process has the file open, and that is all."""
    text = bare(error, [path])
    return isinstance(error, duckdb.IOException) and bool(_LOCK.match(text)) and not _NO_LOCKS.match(text)


def holder(error: duckdb.Error) -> int | None:
    """The process that has it, where DuckDB names it: it does so behind the name of its program."""
    found = _PID.findall(str(error))
    return int(found[-1]) if found else None


def _spellings(name: str) -> Iterable[str]:
    """DuckDB may have made a path absolute or resolved it. A name of one letter would tear words apart."""
    path = Path(name)
    return [s for s in (name, str(path.absolute()), str(path.resolve())) if len(s) > 1]
