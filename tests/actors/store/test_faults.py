"""A failing disk: ticks wait, health reports why, and nothing acknowledged is lost or duplicated."""

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
import trio
from msgspec.structs import replace

from actors.model.batch import Batch
from actors.model.records import EventRow
from actors.settings import SinkLimits, StoreLimits
from actors.sink.merger import Merger
from actors.sink.writer import Writer
from actors.store.filesystem import Files
from actors.store.store import Store
from actors.telemetry.ledger import Ledger
from supervisor import Backoff, Context, Mailbox
from tests.harness.amounts import amount, variants
from tests.harness.store_harness import (
    CRASH_POINTS,
    FaultyFiles,
    ForgetfulFiles,
    World,
    batch,
    ids_in,
    settings,
)

HASTY = SinkLimits(write_retry=Backoff(0.02, 0.2), merge_retry=Backoff(0.02, 0.2))
SMALL = StoreLimits(compact_width=3, compact_rows_max=30, hide_s=0.0, keep_s=0.0)  # swept at once


class Health:
    """Hears what an actor reports."""

    def __init__(self) -> None:
        self.now = "starting"
        self.reasons: list[str] = []

    def reported_ok(self) -> None:
        """See Listener."""
        self.now = "ok"

    def reported_degraded(self, reason: str) -> None:
        """See Listener."""
        self.now = "degraded"
        self.reasons.append(reason)

    def reported_healthy(self) -> None:
        """See Listener."""
        if self.now == "starting":
            self.now = "ok"

    def reported_waiting(self, waiting: bool) -> None:
        """See Listener."""

    def reported_work(self, amount: int) -> None:
        """See Listener."""

    def reported_note(self, event: str, reason: str, detail: dict[str, object]) -> None:
        """See Listener."""


class Bench:
    """A store with its two actors, as the pipeline joins them, and what became of 'batches'."""

    def __init__(self, folder: Path, layer: Files | None = None, merge_interval_s: float = 0.05) -> None:
        self.settings = settings(folder)
        self.store = Store(self.settings, layer)
        self.store.start()
        self.ledger = Ledger("run")
        self.inbox: Mailbox[Batch] = Mailbox(1000, on_dead_letter=lambda *_: pytest.fail("a batch was given up"))
        self.writer = Writer(self.store, self.ledger, self.inbox, HASTY)
        merging = replace(settings(folder), merge_interval_s=merge_interval_s)
        self.events: list[EventRow] = []
        self.merger = Merger(self.store, merging, self.events.append, finish_s=10, limits=HASTY)
        self.writing, self.merging = Health(), Health()
        self.sent = 0

    async def send(self, ticks: int = 3) -> None:
        """One batch for the writer."""
        ids = range(self.sent, self.sent + ticks)
        self.sent += ticks
        await self.inbox.put(batch(self.store.next_number(), ids))

    async def run(self, act: Callable[[], object], *, merge: bool = False) -> None:
        """Runs the actors while `act` does; then everything drains as at a stop."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.writer.run, Context("writer", self.writing))
            if merge:
                nursery.start_soon(self.merger.run, Context("merger", self.merging))
            with trio.fail_after(60):
                await act()  # type: ignore[misc]
            self.inbox.close()
            self.merger.stop()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits for it."""
        while not condition():  # noqa: ASYNC110 - the actors have no event for tests to wait on
            await trio.sleep(0.01)


async def settled(bench: Bench) -> None:
    """Waits until everything sent is durable, then until a degraded merger is well again."""
    await bench.until(lambda: bench.inbox.statistics().depth == 0)


@pytest.mark.parametrize(
    ("operation", "number", "words"),
    [
        ("write", errno.ENOSPC, "No space left"),
        ("sync", errno.EIO, "Input/output error"),
        ("sync_folder", errno.EIO, "Input/output error"),
        ("rename", errno.EROFS, "Read-only file system"),
    ],
)
async def test_a_disk_in_trouble_degrades_health_with_the_reason_and_costs_nothing(
    tmp_path: Path, operation: str, number: int, words: str
) -> None:
    """Each batch is tried until it is durable; after a failed fsync its file is written anew, not synced again."""
    layer = FaultyFiles()
    bench = Bench(tmp_path, layer)

    async def act() -> None:
        await bench.send()
        await settled(bench)
        assert bench.writing.now == "ok"
        for failures in (1, 2):
            layer.fail[operation] = (failures, number)
            await bench.send()
            await settled(bench)
        layer.fail[operation] = (-1, number)
        await bench.send()
        await bench.send()
        await bench.until(lambda: len(bench.writing.reasons) >= 5)
        assert bench.writing.now == "degraded" and bench.inbox.statistics().depth == 2
        assert ids_in(bench.store.path, "SELECT trade_id FROM ticks WHERE trade_id::INT < 9") == dict.fromkeys(
            range(9), 1
        )
        layer.fail.clear()
        await settled(bench)

    await bench.run(act)
    assert bench.writing.now == "ok"
    assert all("injected" in reason and str(bench.store.tail) in reason for reason in bench.writing.reasons)
    assert layer.synced_after_failure == []
    assert ids_in(bench.store.path) == dict.fromkeys(range(bench.sent), 1)
    assert list((bench.store.tail / ".partial").iterdir()) == []
    assert bench.ledger.accounts["binance"].stored == bench.sent
    assert words == errno_words(number)
    bench.store.close()


def errno_words(number: int) -> str:
    """As the system says it."""
    return os.strerror(number).replace("No space left on device", "No space left")


@pytest.mark.parametrize("operation", variants("write", "rename", "sync", "sync_folder"))
async def test_trouble_while_merging_and_folding_costs_nothing_either(tmp_path: Path, operation: str) -> None:
    """The manifest cannot be written: nothing is deleted, the next merge finds out what happened."""
    layer = FaultyFiles()
    bench = Bench(tmp_path, layer)
    for i in range(20):
        bench.store.write(batch(bench.store.next_number(), [i]))
    layer.fail[operation] = (3, errno.EIO)

    async def act() -> None:
        await bench.until(lambda: bench.merging.now == "degraded")
        assert "cannot merge into" in bench.merging.reasons[0]
        await bench.until(lambda: bench.merging.now == "ok")
        for _ in range(3):
            bench.merger.merge_soon()
            await trio.sleep(0.1)

    bench.sent = 20
    await bench.run(act, merge=True)
    bench.store.close()
    assert not bench.events
    assert layer.synced_after_failure == []
    assert ids_in(bench.store.path) == dict.fromkeys(range(20), 1)
    assert [p.name for p in tmp_path.iterdir()] == ["ticks.duckdb"]


def mounted(folder: Path, *arguments: str) -> bool:
    """Whether the mount worked; only root in a fitting container may."""
    return subprocess.run(["mount", *arguments, str(folder)], capture_output=True).returncode == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    try:
        if not mounted(folder, "-t", "tmpfs", "-o", "size=8m", "tmpfs"):
            pytest.skip("mounting a tmpfs is not allowed here")
    except FileNotFoundError:
        pytest.skip("there is no mount command here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


async def test_a_full_disk_is_waited_out_by_flushes_and_merges_alike(small_disk: Path) -> None:
    """A real one; DuckDB itself meets it in the middle of a file, a commit and a checkpoint."""
    bench = Bench(small_disk)
    ballast = small_disk / "ballast"

    async def act() -> None:
        await bench.send(500)
        await settled(bench)
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        await bench.send(20_000)
        await bench.until(lambda: bench.writing.now == bench.merging.now == "degraded")
        assert "space" in bench.writing.reasons[-1].lower() and "space" in bench.merging.reasons[-1].lower()
        assert ids_in(bench.store.path).total() in (0, 500)
        ballast.unlink()
        await settled(bench)
        await bench.until(lambda: bench.writing.now == bench.merging.now == "ok")
        # Now just too little for the merge, at various points of it.
        for spare in (300_000, 600_000, 900_000):
            await bench.send(5_000)
            await settled(bench)
            with suppress(OSError):
                ballast.write_bytes(bytes(max(0, free(small_disk) - spare)))
            for _ in range(4):
                bench.merger.merge_soon()
                await trio.sleep(0.05)
            ballast.unlink(missing_ok=True)
        await bench.until(lambda: bench.store.segment_count == 0)

    await bench.run(act, merge=True)
    bench.store.close()
    assert not bench.events
    assert ids_in(bench.store.path) == dict.fromkeys(range(bench.sent), 1)


async def test_damage_is_reported_in_an_event_and_stays_in_health_for_a_while(tmp_path: Path) -> None:
    """Recording and merging go on beside it; in the end a restart clears it."""
    bench = Bench(tmp_path)
    for i in range(3):
        bench.store.write(batch(bench.store.next_number(), [i]))
    bench.store.merge(0)
    name = sorted((bench.store.tail / "ticks").glob("0-*"))[1]
    name.write_bytes(name.read_bytes()[:-7])

    async def act() -> None:
        await bench.until(lambda: bench.store.segment_count == 0)
        bench.merger.merge_soon()
        await bench.until(lambda: bench.merger.merges > 2)
        assert bench.merging.now == "degraded" and "1 rows are lost" in bench.merging.reasons[-1]

    await bench.run(act, merge=True)
    assert [event.event for event in bench.events] == ["segment_damaged", "segments_vanished"]
    assert ids_in(bench.store.path) == {0: 1, 2: 1}
    bench.store.close()


def free(folder: Path) -> int:
    """Bytes left."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


async def test_a_file_system_that_becomes_read_only_is_waited_out(small_disk: Path) -> None:
    """As after an error that made the kernel remount it."""
    bench = Bench(small_disk)

    async def act() -> None:
        await bench.send()
        await settled(bench)
        await bench.until(lambda: mounted(small_disk, "-o", "remount,ro"))  # not while a file is being written
        await bench.send()
        await bench.until(lambda: bench.writing.now == bench.merging.now == "degraded")
        assert "read-only" in bench.writing.reasons[-1].lower()
        assert mounted(small_disk, "-o", "remount,rw")
        await settled(bench)
        await bench.until(lambda: bench.writing.now == bench.merging.now == "ok")

    await bench.run(act, merge=True)
    bench.store.close()
    assert ids_in(bench.store.path) == dict.fromkeys(range(bench.sent), 1)


# -- power loss -------------------------------------------------------------------------------------------


def tortured(folder: Path, seed: int, *, honest: bool = True, rounds: int = 6) -> World:
    """A store that loses its power again and again, at any operation on the disk, and is checked each time."""
    random = Random(seed)

    def layer() -> ForgetfulFiles:
        made = ForgetfulFiles(random, folder.with_name(f"{folder.name}.limbo"))
        made.honest = honest
        return made

    world = World(folder, layer, SMALL)
    world.start()
    for _ in range(rounds):
        assert isinstance(world.files, ForgetfulFiles)
        world.files.left = random.randrange(90)
        if random.random() < 0.5:
            world.arm(random.choice(CRASH_POINTS), random.randrange(1, 4))
        for _ in range(60):
            if world.store is None:
                break
            act = random.choices(["write", "merge", "compact", "hold", "finish"], [12, 3, 4, 2, 1])[0]
            match act:
                case "write":
                    world.write(random.randrange(1, 5))
                case "merge":
                    world.release()
                    world.merge(random.choice([3, 1_000_000]))
                case "compact":
                    world.compact()
                case "hold":
                    world.hold()
                case _:
                    world.release()
                    world.finish()
        if world.store is not None:
            world.fall()
        world.release()
        while world.store is None:
            if isinstance(world.files, ForgetfulFiles):
                world.files.left = None if random.random() < 0.7 else random.randrange(20)
            world.start()
        assert isinstance(world.files, ForgetfulFiles)
        world.files.left = None
        world.disarm()  # a point that was not reached, or not so often
        world.check()
    return world


@pytest.mark.parametrize("seed", range(amount(1, 60)))
def test_a_power_cut_at_any_operation_loses_and_doubles_nothing_acknowledged(tmp_path: Path, seed: int) -> None:
    """What was not synced is forgotten: contents garbled, names undone in any combination."""
    one = tortured(tmp_path / "store", seed)
    one.finish()
    one.check()
    assert one.said == []
    assert [p.name for p in (tmp_path / "store").iterdir()] == ["ticks.duckdb"]


def test_a_disk_that_lies_about_fsync_is_what_those_tests_would_notice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where fsync does nothing, a power cut costs something: the layer forgets as it should."""

    def ten_rounds() -> None:
        for seed in range(10):
            one = tortured(tmp_path / str(seed), seed, honest=False)
            assert one.said == []

    with pytest.raises(AssertionError):
        ten_rounds()
