"""A store to be tortured: batches with numbered ticks, file layers that fail or forget, readers, and the truth."""

import grp
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import duckdb

from actors.model.batch import Batch
from actors.model.errors import DatabaseLocked
from actors.model.records import AuditRow, EventRow
from actors.model.ticks import Block, Reason, Reject
from actors.settings import DEFAULT_LIMITS, StoreLimits, StoreSettings
from actors.sink.sink import Merged
from actors.store import filesystem as files
from actors.store.filesystem import Files
from actors.store.store import Store
from tests.harness.store_reader import looking

STORE_SOURCES = Path(files.__file__).parent
# Read from the code, so that a new one cannot be forgotten.
CRASH_POINTS = sorted(
    {
        name
        for path in STORE_SOURCES.glob("*.py")
        for name in re.findall(r'crash_point\("([^"]+)"\)', path.read_text())
    }
)
ROWS_EACH = 4
MEMORY_BYTES_MIN = 1 << 30  # containers often have a twentieth of that
_NUMBERS = count()


def batch(number: int, ids: Sequence[int], *, rejects: int = 0) -> Batch:
    """A batch of ticks with these trade ids, an event that names the batch, and its audit row."""
    block = Block("binance")
    for i in ids:
        block.extend(
            ["BTC/USDT"],
            [1_700_000_000_000_000_000 + i * 1000],
            [1_700_000_000_000_000_000 + i * 1000],
            [f"{60000 + i}.000000000000000001"],
            ["0.5"],
            ["buy"],
            [str(i)],
            ["stream"],
        )
    return Batch(
        number,
        (block,) if ids else (),
        tuple(Reject(1, "binance", None, Reason.NOT_JSON, "why", b"{", 1) for _ in range(rejects)),
        (EventRow(1, "test", "batch", str(number)),),
        (AuditRow(1, "binance", 0, len(ids), len(ids), 0, 0, 0, "run"),),
    )


def settings(folder: Path, name: str = "ticks.duckdb") -> StoreSettings:
    """Settings of a store in that folder."""
    return StoreSettings(path=folder / name, memory_limit="256MB")


def given_group() -> grp.struct_group:
    """One that this process may give files to, not its own."""
    allowed = [one for one in grp.getgrall() if os.geteuid() == 0 or one.gr_gid in os.getgroups()]
    return next((one for one in allowed if one.gr_gid != os.getegid()), grp.getgrgid(os.getegid()))


def ids_in(path: Path, sql: str = "SELECT trade_id FROM ticks") -> Counter[int]:
    """What a fresh reader of this process sees."""
    with looking(path) as con:
        return Counter(int(row[0]) for row in con.execute(sql).fetchall())


def never() -> bool:
    """A deadline that does not come."""
    return False


@contextmanager
def memory_folder() -> Iterator[Path]:
    """A folder in memory where there is enough of it: fsync is most of what a store does, and a busy disk slow."""
    shared = Path("/dev/shm")
    roomy = shared.is_dir() and shutil.disk_usage(shared).free >= MEMORY_BYTES_MIN
    with tempfile.TemporaryDirectory(
        prefix="tickwarden-", dir=shared if roomy else None, ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)


class WatchedFiles(Files):
    """Calls `at` with the name of each crash point."""

    def __init__(self, at: Callable[[str], object] = lambda _: None) -> None:
        super().__init__()
        self.at = at

    def crash_point(self, name: str) -> None:
        self.at(name)


class StumblingFiles(WatchedFiles):
    """The `stumble`-th operation from now fails once."""

    def __init__(self) -> None:
        super().__init__()
        self.stumble = 0

    def _step(self) -> None:
        if self.stumble:
            self.stumble -= 1
            if self.stumble == 0:
                raise OSError(28, "injected: no space left on device")

    def sync_file(self, path: Path) -> None:
        self._step()
        super().sync_file(path)

    def rename(self, old: Path, new: Path) -> None:
        self._step()
        super().rename(old, new)


class Crash(BaseException):
    """The process ends here, or the machine does."""


class Reader:
    """Another process that opens the file. Answers are rows, or the text of DuckDB's error as a string."""

    SOURCE = """
import json, sys, duckdb
con = None
for line in sys.stdin:
    order = json.loads(line)
    try:
        if "open" in order:
            con = duckdb.connect(order["open"], read_only=order["read_only"]); answer = []
        elif "sql" in order:
            answer = con.execute(order["sql"]).fetchall()
        else:
            con.close(); answer = []
    except duckdb.Error as error:
        answer = str(error)
    print(json.dumps(answer, default=str), flush=True)
"""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", self.SOURCE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def _ask(self, order: dict[str, Any]) -> Any:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def open(self, path: Path, *, read_only: bool = True) -> Any:
        """[] when it worked."""
        return self._ask({"open": str(path), "read_only": read_only})

    def sql(self, sql: str) -> Any:
        """The rows as lists."""
        return self._ask({"sql": sql})

    def ids(self) -> Counter[int]:
        """The ticks it sees."""
        return Counter(int(row[0]) for row in self.sql("SELECT trade_id FROM ticks"))

    def close(self) -> None:
        """Lets go of the file."""
        self._ask({})

    def end(self) -> None:
        """Ends the process."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()


@contextmanager
def reader() -> Iterator[Reader]:
    """A reader process for the block."""
    one = Reader()
    try:
        yield one
    finally:
        one.end()


class FaultyFiles(Files):
    """Fails as configured: `fail[operation]` is how often, with which errno (-1: until changed)."""

    def __init__(self) -> None:
        super().__init__()
        self.fail: dict[str, tuple[int, int]] = {}
        self.synced_after_failure: list[Path] = []
        self._failed_inodes: set[int] = set()
        self._kept: list[int] = []

    def _maybe(self, operation: str, path: Path) -> None:
        left, errno = self.fail.get(operation, (0, 0))
        if left:
            self.fail[operation] = (left - 1 if left > 0 else left, errno)
            raise OSError(errno, f"injected into {operation}", str(path))

    def produce(self, path: Path, write: Callable[[Path], object]) -> None:
        def half_write(path: Path) -> None:
            write(path)
            self._maybe("write", path)

        super().produce(path, half_write)

    def sync_file(self, path: Path) -> None:
        if path.is_file():
            inode = path.stat().st_ino
            if inode in self._failed_inodes:
                self.synced_after_failure.append(path)
            try:
                self._maybe("sync", path)
            except OSError:
                self._failed_inodes.add(inode)
                self._kept.append(os.open(path, os.O_RDONLY))  # or its number is given out again
                raise
        else:
            self._maybe("sync_folder", path)
        super().sync_file(path)

    def rename(self, old: Path, new: Path) -> None:
        self._maybe("rename", new)
        super().rename(old, new)


class ForgetfulFiles(WatchedFiles):
    """A disk that keeps only what was synced: `forget()` is the power cut.

    Content without fsync is garbled, wherever the file is by then; each change of a name that no fsync of its
    folder followed is undone or not, as the dice say. `left` operations go well, then comes the cut (Crash).
    DuckDB's own writes are taken as durable (it syncs them itself); the name of its file is not.
    """

    def __init__(self, random: Random, limbo: Path) -> None:
        super().__init__()
        self._random, self._limbo = random, limbo
        self.left: int | None = None
        self.honest = True  # False: fsync does nothing, for the test of this class
        self._unsynced: dict[int, Path] = {}
        self._log: list[tuple[Path, Callable[[], None]]] = []

    def _tick(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Crash

    def produce(self, path: Path, write: Callable[[Path], object]) -> None:
        self._tick()
        write(path)
        self._unsynced[path.stat().st_ino] = path
        self.sync_file(path)

    def sync_file(self, path: Path) -> None:
        self._tick()
        if not self.honest:
            return
        if path.is_dir():
            self._log = [(folder, undo) for folder, undo in self._log if folder != path]
        else:
            self._unsynced.pop(path.stat().st_ino, None)

    def rename(self, old: Path, new: Path) -> None:
        self._tick()
        before = self._kept(new)
        inode = old.lstat().st_ino
        super().rename(old, new)
        if inode in self._unsynced:
            self._unsynced[inode] = new

        def undo() -> None:
            if _there(new):
                new.rename(old)
            if before is not None:
                before.rename(new)

        self._log.append((new.parent, undo))

    def remove(self, path: Path) -> None:
        self._tick()
        before = self._kept(path)
        super().remove(path)
        if before is not None:
            self._log.append((path.parent, lambda: None if _there(path) else _move(before, path)))

    def publish(self, new: Path, path: Path) -> None:
        self._tick()
        super().publish(new, path)
        self._log.append((path.parent, lambda: path.unlink(missing_ok=True)))

    def hide(self, path: Path, behind: Path) -> None:
        self._tick()
        before = self._kept(path)
        super().hide(path, behind)

        def undo() -> None:
            if _there(path) and before is not None:
                path.unlink()
                before.rename(path)

        self._log.append((path.parent, undo))
        self._log.append((behind.parent, lambda: behind.unlink(missing_ok=True)))

    def _kept(self, path: Path) -> Path | None:
        """A second name for what is about to lose its own."""
        if not _there(path):
            return None
        self._limbo.mkdir(parents=True, exist_ok=True)
        kept = self._limbo / str(next(_NUMBERS))
        kept.hardlink_to(path)
        return kept

    def forget(self) -> None:
        """The power is cut."""
        for path in self._unsynced.values():
            if path.is_file():
                data = path.read_bytes()
                cut = self._random.randrange(len(data) + 1)
                path.write_bytes(data[:cut] + bytes(self._random.randrange(2) * (len(data) - cut)))
        for _, undo in reversed(self._log):
            if self._random.random() < 0.5:
                with suppress(FileNotFoundError):
                    undo()
        self._log.clear()
        self._unsynced.clear()


def _there(path: Path) -> bool:
    return path.is_symlink() or path.exists()


def _move(old: Path, new: Path) -> None:
    old.rename(new)


class World:
    """One store, everything that can happen to it, and a plain model of what it must hold."""

    def __init__(
        self,
        folder: Path,
        make_files: Callable[[], WatchedFiles] = WatchedFiles,
        limits: StoreLimits = DEFAULT_LIMITS.store,
    ) -> None:
        self.settings, self._limits = settings(folder), limits
        self.path = self.settings.path
        self._make_files = make_files
        self._crash_name, self._crash_left = "", 0
        self.acknowledged: dict[int, list[int]] = {}
        self.doubtful: dict[int, list[int]] = {}  # not acknowledged when it crashed: whole or not at all
        self._next_id = 1
        self.pending: tuple[int, list[int]] | None = None  # failed, and tried again before anything else
        # Held since before the start, the file cannot be told of its tail: then nobody sees that, until a merge.
        self.excused = False
        self.holder: duckdb.DuckDBPyConnection | None = None
        self._image: dict[Path, bytes | None] = {}
        self.files = self._new_files()
        self.store: Store | None = None
        self.said: list[str] = []

    @property
    def running(self) -> Store:
        """The store; it must be up."""
        assert self.store is not None
        return self.store

    def arm(self, point: str, count: int = 1) -> None:
        """The next crash is at that point."""
        self._crash_name, self._crash_left = point, count

    def disarm(self) -> None:
        """No crash is planned."""
        self._crash_name, self._crash_left = "", 0

    def _new_files(self) -> WatchedFiles:
        files = self._make_files()
        files.at = self._passed
        return files

    def _passed(self, point: str) -> None:
        """In the place of SIGKILL: what DuckDB would do on the way out must not count."""
        if point != self._crash_name:
            return
        self._crash_left -= 1
        if self._crash_left:
            return
        self.disarm()
        self._image = {p: p.read_bytes() if p.exists() else None for p in self._duckdb_files()}
        raise Crash

    def _duckdb_files(self) -> list[Path]:
        return [self.path, Path(f"{self.path}.wal"), Path(f"{self.path}.new"), Path(f"{self.path}.new.wal")]

    def start(self) -> None:
        """Starts a store; may crash on the way."""
        self.store = Store(self.settings, self.files, limits=self._limits)
        self.excused = self.holder is not None
        self._survive(self.store.start)
        if self.store is not None:
            self._settle()

    def _settle(self) -> None:
        """After a recovery: the doubtful batches are there or not, for good."""
        happened = self.seen("events", "reason")
        if happened is None:
            return
        for number, ids in self.doubtful.items():
            if happened[number]:
                self.acknowledged[number] = ids
        self.doubtful.clear()
        if self.pending is None:
            assert happened == Counter(self.acknowledged.keys()), "events and batches differ"

    def write(self, rows: int = ROWS_EACH) -> None:
        """One batch, or once more the one that failed."""
        number, ids = self.pending or (self.running.next_number(), list(range(self._next_id, self._next_id + rows)))
        self._next_id = max([self._next_id - 1, *ids]) + 1
        try:
            survived = self._survive(lambda: self.running.write(batch(number, ids)))
        except OSError:
            self.pending = number, ids
            return
        self.pending = None
        if survived:
            self.acknowledged[number] = ids
        else:
            self.doubtful[number] = ids

    def merge(self, rows_max: int = 1_000_000) -> Merged | DatabaseLocked | None:
        """One merge, or why there was none; None if it crashed."""
        result: list[Merged | DatabaseLocked] = []

        def merge() -> None:
            try:
                result.append(self.running.merge(rows_max))
            except DatabaseLocked as locked:
                result.append(locked)

        self._survive(merge)
        if result and isinstance(result[0], Merged):
            self.excused = False
        return result[0] if result else None

    def compact(self) -> None:
        """Compacts and sweeps."""
        self._survive(lambda: self.running.compact())

    def finish(self) -> Merged | None:
        """A clean stop; the store is down afterwards. None if it crashed, or the file is locked."""
        result: list[Merged] = []

        def finish() -> None:
            with suppress(DatabaseLocked):
                result.append(self.running.finish(never))

        self._survive(finish)
        if self.store is not None:
            self._listen(self.store)
            self.store.close()
            self.store = None
        if result and not result[0].backlog:
            self.excused = False
        return result[0] if result else None

    def _survive(self, act: Callable[[], object]) -> bool | None:
        """Does it; None if the process ended in it."""
        try:
            act()
        except Crash:
            self.fall()
            return None
        self._listen(self.running)
        return True

    def _listen(self, one: Store) -> None:
        self.said += [notice.event for notice in one.notices if notice.event != "store_held_at_start"]
        one.notices.clear()

    def fall(self) -> None:
        """The process is gone."""
        if self.pending is not None:
            self.doubtful[self.pending[0]] = self.pending[1]
            self.pending = None
        if self.store is not None:
            self._listen(self.store)
            self.store.close()
            self.store = None
        for path, content in self._image.items():
            if content is None:
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(content)
        self._image = {}
        self.disarm()
        if isinstance(self.files, ForgetfulFiles):
            self.files.forget()
        self.files = self._new_files()

    def hold(self, *, read_only: bool = True) -> None:
        """Somebody opens the file."""
        if self.holder is None and self.path.exists():
            self.holder = duckdb.connect(str(self.path), read_only=read_only)

    def release(self) -> None:
        """And lets it go."""
        if self.holder is not None:
            self.holder.close()
            self.holder = None

    def seen(self, table: str = "ticks", column: str = "trade_id") -> Counter[int] | None:
        """What a reader sees: the one who holds the file, or a fresh one. None while there is no file."""
        sql = f"SELECT {column} FROM {table}"
        if not self.path.exists():
            return None
        with self.holder.cursor() if self.holder is not None else looking(self.path) as con:
            if self.excused:
                views = con.execute("SELECT sql FROM duckdb_views() WHERE view_name = 'ticks'").fetchall()
                if "read_parquet" not in str(views):
                    return None
            return Counter(int(row[0]) for row in con.execute(sql).fetchall())

    def check(self) -> None:
        """What is seen is what was acknowledged, each once, and of what was in flight all or nothing."""
        seen = self.seen()
        if seen is None:
            return
        must = Counter(i for ids in self.acknowledged.values() for i in ids)
        extra = seen - must
        assert not must - seen, f"lost: {sorted((must - seen).elements())[:10]}"
        in_flight = [*self.doubtful.values(), *([self.pending[1]] if self.pending else [])]
        for ids in in_flight:
            here = sum(extra.pop(i, 0) for i in ids)
            assert here in (0, len(ids)), f"half of a batch is in sight: {ids}"
        assert not extra, f"doubled or unknown: {sorted(extra.elements())[:10]}"


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Waits for another process; fails the test after so long."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
