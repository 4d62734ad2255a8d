"""The error that every user of the database has to expect."""


class DatabaseLocked(Exception):
    """Another process has the database open; `pid` if it is known. It is no fault: try again later."""

    def __init__(self, name: str = "the database", pid: int | None = None, detail: str = "") -> None:
        super().__init__(f"{f'process {pid}' if pid else 'another process'} has {name} open{detail}")
        self.pid = pid
