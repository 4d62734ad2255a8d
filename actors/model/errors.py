"""The error that every user of the database has to expect."""

from pathlib import Path


class DatabaseLocked(Exception):
    """Another process has the database open; `pid` if it is known. It is no fault: try again later."""

    def __init__(self, path: Path, pid: int | None = None, detail: str = "") -> None:
        super().__init__(f"{f'process {pid}' if pid else 'another process'} has {path.name} open{detail}")
        self.path, self.pid = path, pid
