"""One market whose trades are all known, a file that loses some of them, and the real repairs between them."""

from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from itertools import count
from typing import Any, cast

import duckdb
import trio

from actors.backfill.delivery import Delivery
from actors.backfill.fetch_job import BackfillLimits
from actors.backfill.fetcher import FetchResult, Store
from actors.backfill.repairs import RepairJob, Repairs
from actors.backfill.stored_trades import StoredTrades
from actors.backfill.worker import fetch_due
from actors.continuity.recent_ids import RecentIds
from actors.continuity.tracker_state import TrackerState
from actors.continuity.twins import COMPOSITE, StoredTwins, nth_key, twin_of
from actors.exchanges.contract.feed import Market
from actors.exchanges.contract.history import TradeRange
from actors.model.chunk import Chunk
from actors.model.errors import DatabaseLocked
from actors.model.ticks import Block, IdPromise
from actors.telemetry.ledger import Account
from supervisor import Context
from tests.harness.continuity_file import new_file, put_gaps, put_tick
from tests.harness.continuity_rows import BTC, SECOND_NS, T0_NS, block_of, one

PAGE_ROWS = 4
LIVE = 0  # the session that delivers the trades as they are made
CONTENT = ("1", "1", "buy")  # price, volume and side of all
MARKETS = {BTC: cast(Market, "the market")}
ROUNDS_MAX = 100


def name_of(promise: IdPromise, at: int) -> str | None:
    """The id of the trade at this place; of repeated ones two trades share each."""
    number = at + 1000
    if promise in COMPOSITE:
        return None if promise is IdPromise.NONE else str(number // 2)
    if promise is IdPromise.CONTIGUOUS:
        return str(number)
    return str(number * 3 + number % 2) if promise is IdPromise.INCREASING else f"{number * 7919 % 10007:x}-x"


def time_of(at: int) -> int:
    """One trade a second."""
    return T0_NS + at * SECOND_NS


class World:
    """`flight` is admitted and not durable yet. Wherever a repair waits, the next of `script` happens."""

    def __init__(
        self,
        promise: IdPromise,
        *,
        stored: Iterable[int] = (),
        real_file: bool = False,
        limits: BackfillLimits | None = None,
    ) -> None:
        self.promise, self._limits = promise, limits or BackfillLimits()
        self.traded = 0
        self.file: Counter[int] = Counter()  # of each trade, by its time
        self.flight: list[tuple[str | None, int]] = []
        self._sessions = count(LIVE + 1)  # a connection that delivers late ones has not delivered them before
        self.script: Iterator[Callable[[], None]] = iter(())
        self.lacks: set[int] = set()  # trades that come from nowhere any more
        self.depth_from = 0  # the history has nothing before this trade
        self.pages_left = 10**6  # until the history's task crashes
        self.budget = 10**6
        self.held = False
        self.told: list[RepairJob] = []
        self.con: duckdb.DuckDBPyConnection | None = new_file() if real_file else None
        self._stored_trades: Any = StoredTrades("x", self._consult) if real_file else _FakeStoredTrades(self)
        at = sorted(stored)
        self._write(zip([name_of(promise, place) for place in at], map(time_of, at), strict=True))
        self.restart(at)

    def restart(self, stored: Sequence[int]) -> None:
        """An earlier run has stored these: continuity knows little more than where they end."""
        self.continuity = one(self.promise)
        reporter, account = cast(Any, _FakeReporter(self)), Account()
        delivery = Delivery("x", self.continuity, account, reporter, self._stored_trades, self._flush)
        self.repairs = Repairs(MARKETS, self.continuity, self._stored_trades, delivery, self._limits)
        if not stored:
            return
        ids = [name_of(self.promise, at) for at in stored]
        self.traded = stored[-1] + 1
        first, last = self._number(ids[0]), self._number(ids[-1])
        recent = None if self.promise is IdPromise.CONTIGUOUS else self._remembering(ids[-3:], stored[-3:])
        seed = TrackerState("x", BTC, ids[-1], time_of(stored[-1]), last, first, recent=recent)
        self.continuity.restore([seed], time_of(self.traded))

    def _remembering(self, ids: Sequence[str | None], places: Sequence[int]) -> RecentIds:
        recent = RecentIds()
        for trade_id, at_ns in zip(ids, map(time_of, places), strict=True):
            composite = self.promise in COMPOSITE
            recent.add(nth_key(twin_of(trade_id, at_ns, *CONTENT), 1) if composite else hash(trade_id), at_ns)
        recent.reach_ns = time_of(places[-1])
        return recent

    def _number(self, trade_id: str | None) -> int | None:
        return int(trade_id or 0) if self.promise is IdPromise.CONTIGUOUS else None

    def rows(self, places: Iterable[int], source: str) -> Block:
        there = [at for at in places if at not in self.lacks]
        return block_of([(BTC, name_of(self.promise, at), time_of(at)) for at in there], source)

    # -- what happens ---------------------------------------------------------------------------------

    def live(self, *delivered: bool) -> None:
        """The next trades, of which some do not arrive."""
        places = range(self.traded, self.traded + len(delivered))
        self.traded += len(delivered)
        self._arrive([at for at, came in zip(places, delivered, strict=True) if came], "stream", LIVE)

    def arrive(self, places: Sequence[int], source: str) -> None:
        """Trades come, for the first time or not, and are admitted as live rows and backfilled ones are."""
        self._arrive(places, source, next(self._sessions) if source == "stream" else 0)

    def _arrive(self, places: Sequence[int], source: str, session: int) -> None:
        block = self.rows(places, source)
        self.continuity.deduplicator.admit(block, 0, None, 0.0, session=session)
        self.fly(block)

    def lose(self, places: Iterable[int]) -> None:
        """Somebody deletes rows from the file."""
        for at in places:
            del self.file[time_of(at)]
            if self.con is not None:
                self.con.execute("DELETE FROM ticks WHERE trade_id = ?", [name_of(self.promise, at)])

    def flush(self) -> None:
        """What is in flight becomes durable, and so do the states of gaps."""
        flown, self.flight = self.flight, []
        self._write(flown)
        gaps = self.continuity.take_gaps()
        if self.con is not None:
            put_gaps(self.con, gaps)

    def _write(self, rows: Iterable[tuple[str | None, int]]) -> None:
        for trade_id, at_ns in rows:
            self.file[at_ns] += 1
            if self.con is not None:
                put_tick(self.con, trade_id, at_ns)

    def fly(self, block: Block) -> None:
        """These are on their way to the file."""
        for trade_id, at_ns in zip(block.trade_id, block.exchange_ns, strict=True):
            assert at_ns is not None
            self.flight.append((trade_id, at_ns))

    @property
    def copies(self) -> list[int]:
        """The times of trades that are there more than once, stored or in flight."""
        there = self.file + Counter(at_ns for _, at_ns in self.flight)
        return [at_ns for at_ns, times in there.items() if times > 1]

    @property
    def lacking(self) -> list[int]:
        """The places of trades that are not stored."""
        return [at for at in range(self.traded) if not self.file[time_of(at)]]

    # -- what the repairs see -------------------------------------------------------------------------

    async def step(self) -> None:
        await trio.lowlevel.checkpoint()
        next(self.script, lambda: None)()

    async def _flush(self) -> None:
        await self.step()
        self.flush()
        await self.step()

    async def _consult(self, question: Callable[[duckdb.DuckDBPyConnection], Any]) -> Any:
        assert self.con is not None
        if self.held:
            raise DatabaseLocked
        return question(self.con)

    async def carry_on(self, *, newest_first: bool = False) -> None:
        """One round of the repairs."""
        history = cast(Any, _History(self, newest_first))
        try:
            await fetch_due(self.repairs, MARKETS, history, self._limits, Context("x:backfill"))
        finally:
            self.told += self.repairs.take_finished()

    async def repair(self, low: int, high: int, *, newest_first: bool = False) -> RepairJob:
        """An order for the trades between two places, both included, to its end."""
        order = self.repairs.order(BTC, time_of(low), time_of(high))
        for _ in range(ROUNDS_MAX):
            await self.carry_on(newest_first=newest_first)
            await trio.sleep(1)
            if order.complete is not None:
                break
        self.flush()
        return order


class Crashed(Exception):
    """The task that asks the history ends in the middle."""


class _FakeReporter:
    def __init__(self, world: World) -> None:
        self._world = world

    def gather(self) -> None:
        """A flush of this world takes the states of gaps."""

    async def send(self, chunk: Chunk) -> None:
        assert len(chunk.block) <= PAGE_ROWS
        self._world.fly(chunk.block)
        await self._world.step()


class _FakeStoredTrades:
    def __init__(self, world: World) -> None:
        self._world = world

    async def stored(self, _symbol: str, block: Block) -> set[str]:
        await self._world.step()
        rows = zip(block.trade_id, block.exchange_ns, strict=True)
        found = {trade_id for trade_id, at_ns in rows if trade_id and self._world.file[at_ns or 0]}
        await self._look()
        return found

    async def twins(
        self, _symbol: str, block: Block, _promise: IdPromise, remembered: Container[int] = ()
    ) -> StoredTwins:
        await self._world.step()
        file = self._world.file
        rows = zip(block.trade_id, block.exchange_ns, strict=True)
        found = [twin_of(trade_id, at_ns, *CONTENT) for trade_id, at_ns in rows if file[at_ns or 0]]
        await self._look()
        return StoredTwins(found, remembered)

    async def _look(self) -> None:
        await self._world.step()
        if self._world.held:
            raise DatabaseLocked

    async def gaps(self, _symbol: str, _from_ns: int, _to_ns: int) -> list[Any]:
        if self._world.held:
            raise DatabaseLocked
        return []


class _History:
    def __init__(self, world: World, newest_first: bool) -> None:
        self._world, self._newest_first = world, newest_first

    async def fetch(self, _market: object, trade_range: TradeRange, store: Store, _budget: object) -> FetchResult:
        """Pages of the trades in the stretch, until the budget is used up."""
        world, count = self._world, 0
        assert trade_range.from_ns is not None
        assert trade_range.to_ns is not None
        low, high = (max(0, (ns - T0_NS) // SECOND_NS) for ns in (trade_range.from_ns, trade_range.to_ns))
        places = list(range(max(low, world.depth_from), min(high + 1, world.traded)))
        pages = [places[at : at + PAGE_ROWS] for at in range(0, len(places), PAGE_ROWS)]
        for done, page in enumerate(reversed(pages) if self._newest_first else pages):
            if done == world.budget:
                span = (
                    (time_of(low), time_of(page[-1])) if self._newest_first else (time_of(page[0]), time_of(high))
                )
                rest = TradeRange(from_ns=span[0], to_ns=span[1])
                return FetchResult(count=count, complete=False, reason="budget", remaining=rest, final=False)
            if not world.pages_left:
                raise Crashed
            world.pages_left -= 1
            count += len(page)
            await store(world.rows(page, "backfill"))
        if low < world.depth_from:
            return FetchResult(count=count, complete=False, reason="x gives nothing before that", final=True)
        return FetchResult(count=count, complete=True)
