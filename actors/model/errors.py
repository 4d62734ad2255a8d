"""The error that every user of the database has to expect: it is locked by another process."""


class DatabaseLocked(Exception):
    """Another process has the database open; `pid` if it is known. Retry later."""

    def __init__(self, name: str = "the database", pid: int | None = None, detail: str = "") -> None:
        super().__init__(f"{f'process {pid}' if pid else 'another process'} has {name} open{detail}")
        self.pid = pid
