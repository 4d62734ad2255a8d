"""Live ticks from a running service, each once: what the tap leaves out is read from the file."""

import heapq
import math
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import ExitStack, aclosing
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from actors.model.errors import DatabaseLocked
from ops.client.position import LATE_US, Mark, Position
from ops.client.replay import TIMEOUT_S, Instant, instant_us
from ops.client.stored import Delivered, missed, sealed_us
from ops.client.subscription import Subscription, subscribed
from ops.client.tick import Tick, TickFilter, tick_filter
from ops.client.windows import recording
from ops.control.client import ControlClient, NoService, ProblemReply
from ops.export.query import QueryError

HOLD_S = 0.02  # how long a tick waits for others that were received before it
IDLE_S = 5.0  # after so long without a tick it is checked whether the service answers
RECENT_US = 10_000_000  # what was missed for so long is read from the file at once
RETRY_S = 0.1  # before a connection that has broken is made again
SETTLE_S = 0.05  # how often it is checked whether what the service had read is durable
AHEAD_MAX = 200_000  # ticks of the tap kept while the file is read; further ones are read from the file too
Result = TypeVar("Result")


class Live:
    """Iterate it with `async for`, under trio or asyncio; from the first tick on `position` is where it stands.

    Each iteration begins where the last one ended. Raises NoService when the service ends, ProblemReply if it does
    not know one of the exchanges or serves no further reader, PositionLost if the file does not hold the
    position, QueryError and DatabaseLocked if the file cannot be read.
    """

    def __init__(
        self,
        socket: Path,
        file: Path | None,
        wanted: TickFilter,
        after: Position | int | None,
        hold_s: float,
        timeout_s: float,
    ) -> None:
        self.position = after if isinstance(after, Position) else None
        self._after = after if isinstance(after, int) else None  # or when the stream began
        self._socket, self._file, self._wanted = socket, file, wanted
        self._hold_s, self._timeout_s = hold_s, timeout_s
        self._control = ControlClient(socket)

    async def __aiter__(self) -> AsyncGenerator[Tick, None]:
        for exchange in self._wanted.exchanges:
            async with subscribed(self._socket, exchange):
                pass  # raises for a name that the service does not know; below it gets no name if there are several
        while True:
            behind_us = self._behind_us()
            while time.time_ns() // 1000 - behind_us > RECENT_US and self._behind is not None:
                behind_us = time.time_ns() // 1000  # what arrives from now on, and is missed next
                async with aclosing(self._missed(self._behind)) as stored:
                    async for delivered in stored:
                        self.position = delivered.position
                        if delivered.mark is not None:
                            yield delivered.mark.tick
            try:
                async with (
                    subscribed(self._socket, *self._filter_there()) as tap,
                    aclosing(self._joined(tap)) as joined,
                ):
                    async for delivered in joined:
                        self.position = delivered.position
                        if delivered.mark is not None:
                            yield delivered.mark.tick
            except NoService:
                await _in_thread(self._control.get, "/v1/live")  # raises if more than this connection has ended
                await anyio.sleep(RETRY_S)

    def _behind_us(self) -> int:
        """Since when ticks are missed. After a long time they may not fit in memory, and are delivered before the
        subscription."""
        if self.position is None:
            return self._after or 0
        marks = (self.position.seen, self.position.arrived or self.position.seen)  # the clock may have been ahead
        return min(mark.tick.received_us for mark in marks)

    @property
    def _behind(self) -> Position | int | None:
        return self.position or self._after

    def _filter_there(self) -> tuple[str, str]:
        """What the service itself can leave out."""
        exchanges, symbols = self._wanted.exchanges, self._wanted.symbols
        plain = [symbol for symbol in symbols if "*" not in symbol]
        return (
            exchanges[0] if len(exchanges) == 1 else "",
            symbols[0] if len(symbols) == 1 and plain else "",
        )

    async def _missed(self, after: Position | int) -> AsyncGenerator[Delivered, None]:
        """What the file holds beyond the position."""
        with await self._recorded_until(time.time_ns() // 1000) as held:
            portions = missed(held.src, after, self._wanted, self._after or 0)
            while (portion := await _in_thread(next, portions, None)) is not None:
                for delivered in portion:
                    yield delivered

    async def _joined(self, tap: Subscription) -> AsyncGenerator[Delivered, None]:
        """What arrived before the subscription, then what it shows; ends when ticks are left out there."""
        ahead, lossless = list[Tick](), True
        counted, numbers = Counter[Tick](), _Numbers()
        newest_us = 0
        if self._behind is None:
            self._after = time.time_ns() // 1000  # of what was read before this, others may have been shown already
        else:
            known, ahead, lossless = await self._caught_up(tap, self._behind)
            for delivered in known:
                if delivered.mark is not None:
                    counted[delivered.mark.tick] += 1
                    newest_us = max(newest_us, delivered.mark.tick.received_us)
                    numbers.saw(delivered.mark)
                yield delivered
        order = _InOrder(self._hold_s, self.position)
        while True:
            for tick in ahead:
                if counted and counted[tick] > 0:
                    counted[tick] -= 1  # read from the file already
                    continue
                if tick.received_us > newest_us + LATE_US:
                    counted.clear()
                if tick.received_us >= (self._after or 0) and self._wanted.matches(tick.exchange, tick.symbol):
                    late = order.add(numbers.next(tick))
                    if late is not None:
                        yield late
            for delivered in order.due():
                yield delivered
            if not lossless:
                return
            ahead, lossless = await self._received(tap, order.wait_s())

    async def _received(self, tap: Subscription, wait_s: float) -> tuple[list[Tick], bool]:
        """What the tap shows next, perhaps nothing within `wait_s`; and whether nothing is left out after it."""
        ticks: list[Tick] = []
        left_out = False
        with anyio.move_on_after(min(wait_s, IDLE_S)) as waited:
            ticks, left_out = await tap.receive()
        if waited.cancelled_caught and wait_s > IDLE_S:
            await _in_thread(self._control.get, "/v1/live")
        return ticks, not left_out

    async def _caught_up(
        self, tap: Subscription, after: Position | int
    ) -> tuple[list[Delivered], list[Tick], bool]:
        """What had arrived when the subscription began, and what it has shown meanwhile, part of which is the same.

        The third value is whether nothing is left out after the latter.
        """
        began_us = time.time_ns() // 1000
        ahead: list[Tick] = []
        lossless, failure = True, None
        known: list[Delivered] = []

        async def read_ahead() -> None:
            nonlocal lossless
            while lossless and len(ahead) < AHEAD_MAX:
                try:
                    ticks, left_out = await tap.receive()
                except NoService:
                    ticks, left_out = [], True
                ahead.extend(ticks)
                lossless = not left_out

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read_ahead)
            try:
                with await self._recorded_until(began_us) as held:
                    portions = missed(held.src, after, self._wanted, self._after or 0)
                    known = await _in_thread(list, chain.from_iterable(portions))
            except (NoService, ProblemReply, QueryError, DatabaseLocked, OSError) as error:
                failure = error  # raised as it is, and not in a group
            tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure
        return known, ahead, lossless

    async def _recorded_until(self, now_us: int) -> "_Held":
        """The file, open, once it holds what the service had taken by now; the caller closes it."""
        began, patience_s = anyio.current_time(), self._timeout_s
        with anyio.move_on_after(patience_s) as patience:
            while True:
                status: Any = await _in_thread(self._control.get, "/v1/status")
                store = status["store"]
                patience_s = self._timeout_s + store.get("flush_interval_s", 0.0)  # not of an older service
                patience.deadline = began + patience_s
                of_each = sum(one["in_flight"] for one in status["exchanges"].values())
                idle, flushed = not store.get("in_flight", of_each), store["last_flush_at"]
                if idle or (flushed is not None and (instant_us(flushed) or 0) >= now_us):
                    file = self._file or Path(store["path"])
                    held = await _in_thread(_Held, file, self._timeout_s)
                    if idle or held.sealed_us >= now_us:
                        return held
                    held.close()
                await anyio.sleep(SETTLE_S)
        raise QueryError(f"what the service has received is not durable after {patience_s:g} s; see its log")


class _Held(ExitStack):
    """A recording that is open, and when its newest batch was sealed."""

    def __init__(self, file: Path, timeout_s: float) -> None:
        super().__init__()
        self.src = self.enter_context(recording(file, timeout_s))
        self.sealed_us = sealed_us(self.src)


def live(
    socket: Path | str,
    *,
    after: Position | Tick | Instant | None = None,
    exchanges: str | Iterable[str] = (),
    symbols: str | Iterable[str] = (),
    file: Path | str | None = None,
    hold_s: float = HOLD_S,
    timeout_s: float = TIMEOUT_S,
) -> Live:
    """The ticks that the service at this control socket receives, in the order of `received_at`, then of arrival.

    `after` resumes: from a Position exactly, from a tick with all that were received after it, from a time with all
    received then or later. What the tap leaves out, because this reader was slow or the connection broke, is read
    from the file (`file` if the service sees it under another path), so that each tick comes once. A tick waits
    `hold_s` after its receipt for others that were received before; what the service hands over later than that
    comes late. With 0, ticks come as they arrive. `exchanges` and `symbols` as for `replay`. Raises ValueError.
    """
    if isinstance(after, Tick):
        after = Position(Mark(after))
    elif after is not None and not isinstance(after, Position):
        after = instant_us(after)
    if hold_s < 0:
        raise ValueError(f"hold_s is a number of seconds from 0 on, and not {hold_s}")
    wanted = tick_filter(exchanges, symbols)
    return Live(Path(socket), None if file is None else Path(file), wanted, after, hold_s, timeout_s)


class _Numbers:
    """Numbers ticks that are alike in every column; those are of one read, and arrive after each other."""

    def __init__(self) -> None:
        self._received_us = 0
        self._alike = Counter[Tick]()

    def saw(self, mark: Mark) -> None:
        """A tick whose number is known."""
        self._of(mark.tick)[mark.tick] = mark.nth + 1

    def next(self, tick: Tick) -> Mark:
        """The next tick."""
        alike = self._of(tick)
        alike[tick] += 1
        return Mark(tick, alike[tick] - 1)

    def _of(self, tick: Tick) -> Counter[Tick]:
        if tick.received_us != self._received_us:
            self._received_us = tick.received_us
            self._alike.clear()
        return self._alike


class _InOrder:
    """Holds ticks that arrived until none that was received before is expected any more."""

    def __init__(self, hold_s: float, position: Position | None) -> None:
        self._hold_s = hold_s
        self._seen = position.seen if position else None
        self._arrived: Mark | None = None
        self._held: list[tuple[int, int, float, Mark]] = []
        self._count = 0

    def add(self, mark: Mark) -> Delivered | None:
        """The next tick in the order of arrival; returned if it is late, and has to be delivered now."""
        self._arrived = mark
        received_us = mark.tick.received_us
        if self._seen is not None and received_us < self._seen.tick.received_us:
            return Delivered(mark, Position(self._seen, mark))
        self._count += 1
        heapq.heappush(self._held, (received_us, self._count, time.monotonic(), mark))
        return None

    def due(self) -> Iterator[Delivered]:
        """What can be delivered now."""
        while self._held and self._wait_s() <= 0:
            self._seen = heapq.heappop(self._held)[-1]
            yield Delivered(self._seen, Position(self._seen, self._arrived))

    def wait_s(self) -> float:
        """How long until the next one can be; endless if there is none."""
        return max(self._wait_s(), 0.0) if self._held else math.inf

    def _wait_s(self) -> float:
        received_us, _, arrived, _ = self._held[0]
        # By both clocks: one may be set back meanwhile.
        held_s = max(time.time_ns() / 1e9 - received_us / 1e6, time.monotonic() - arrived)
        return self._hold_s - held_s


async def _in_thread(call: Callable[..., Result], *arguments: Any) -> Result:
    return await anyio.to_thread.run_sync(call, *arguments)
