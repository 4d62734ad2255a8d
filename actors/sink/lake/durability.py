"""Syncs commits of Delta tables in a folder to the disk: delta-rs calls fsync for nothing that it writes.

First the data, then the entry in the log, each with the names in its folders, before the next table is written and
before a commit returns. If the power fails in the milliseconds before, the entry is usually an empty file: a
version without content, after which the commit is repeated.
"""

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOG = "_delta_log"


def folder_of(uri: str) -> Path | None:
    """The folder of a lake; None for one on object storage, where an answered request is durable."""
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return None if parts.scheme else Path(uri)


def sync_commits(table: Path, versions: Iterable[int], recorder: str) -> None:
    """Syncs those of the table's commits that the recorder made. Raises OSError."""
    ours = f'"appId":"{recorder}"'
    for version in versions:
        entry = table / LOG / f"{version:020}.json"
        try:
            lines = entry.read_text("utf-8").splitlines()
        except FileNotFoundError:  # cleaned up, so it is older than a checkpoint
            continue
        if version == 0 or any(ours in line for line in lines):
            _sync_files(table, lines)
            _sync(entry)
            sync_log(table)


def sync_log(table: Path) -> None:
    """Syncs the names in the log, and those of the folders above it, as far as they belong to the lake."""
    for folder in (table / LOG, table, table.parent):
        _sync(folder)


def sync_checkpoint(table: Path, version: int) -> None:
    """Syncs a checkpoint and the file that points to it. Raises OSError."""
    for path in (*(table / LOG).glob(f"{version:020}.checkpoint*"), table / LOG / "_last_checkpoint"):
        _sync(path)
    sync_log(table)


def _sync_files(table: Path, lines: Iterable[str]) -> None:
    folders: dict[Path, None] = {}
    for line in lines:
        added = json.loads(line).get("add")
        if added is not None:
            path = table / unquote(added["path"])
            with suppress(FileNotFoundError):  # an earlier process's, compacted and deleted since
                _sync(path)
            folders.update(dict.fromkeys(path.relative_to(table).parents))
    for folder in sorted(folders, key=lambda one: len(one.parts), reverse=True):
        with suppress(FileNotFoundError):
            _sync(table / folder)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
