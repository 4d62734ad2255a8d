"""The connections of one exchange: started, replaced without a gap before they end, and ended."""

import dataclasses
import math
import random
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import trio

from actors.exchanges.contract.feed import Dialect, Market
from actors.feed.connection import Connection
from actors.feed.sharding import ConnectionSpec, shard
from actors.model.chunk import Chunk
from actors.settings import CONNECTION_STOP_S, LAST_CHUNK_S, FeedSettings, backoff_of, intensity_of
from actors.wire.errors import classify
from supervisor import Backoff, ChildSpec, Supervisor, UnknownActorError

OVERLAP_S = 5.0  # old and new deliver together for so long: more than ids may be out of order
KEEPS_UP_S = 2.0  # so much later a trade may come on the new one: about what looks and watches are apart
# The rest of an exchange may be leaving too: a new connection that gets such a notice is kept for so long.
LEAVING_S = 30.0
# A connection is replaced when it has lived so much of its known lifetime; which part exactly is left to chance,
# so that connections that were opened together do not go together.
AGED = (0.90, 0.95)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """How long a replacement may take, seconds."""

    replacement_s: float = 60.0  # one that does not deliver by then what the old connection does is given up ...
    again: Backoff = field(default_factory=partial(Backoff, 60.0, 3600.0, jitter=0.0))  # ... and another tried


DEFAULT_POOL_LIMITS = PoolLimits()


@dataclass(slots=True)
class _Replacement:
    """One connection that takes over from another; `overlaps_at` is when both began to deliver the same."""

    old: Connection
    new: Connection
    reason: str
    since: float
    overlaps_at: float = math.inf


class ConnectionPool:
    """Owned by the exchange. `make` builds a connection for its spec; times are trio's clock.

    Nothing here is lost by a crash of the task that calls `look`: what is under way is kept as data.
    """

    def __init__(
        self,
        settings: FeedSettings,
        dialect: Dialect,
        make: Callable[[ConnectionSpec], Connection],
        markets: Sequence[Market],
        limits: PoolLimits,
    ) -> None:
        self._settings, self._dialect, self._make, self._limits = settings, dialect, make, limits
        self._branch: Supervisor | None = None
        self._changing = trio.Lock()
        self._retired = False
        self._numbered = 0  # numbers are not used again
        self._replacements: list[_Replacement] = []
        self._failed: dict[Connection, tuple[int, float]] = {}  # replacements of it in vain, and when to try again
        self._lifetimes: dict[Connection, float] = {}
        self._gone: list[Connection] = []  # that may have left something behind
        self._random = random.Random()  # noqa: S311 - spreads load, keeps no secret
        self.connections = self._build(markets)

    def _build(self, markets: Sequence[Market]) -> list[Connection]:
        specs = shard(self._settings, self._dialect, markets, first=self._numbered + 1)
        self._numbered += len(specs)
        return [self._make(spec) for spec in specs]

    async def start(self, branch: Supervisor) -> None:
        """Starts all connections as children of `branch`."""
        self._branch = branch
        for connection in list(self.connections):
            await self._start(connection)

    async def _start(self, connection: Connection) -> None:
        assert self._branch is not None
        supervision = self._settings.supervision
        await self._branch.start(
            ChildSpec(
                connection.spec.name,
                connection.run,
                kind="connection",
                backoff=backoff_of(supervision),
                intensity=intensity_of(supervision),
                classify=classify,
                stop_s=CONNECTION_STOP_S + LAST_CHUNK_S,
                probe_interval_s=supervision.probe_interval_s,
            )
        )

    async def _end(self, connection: Connection) -> None:
        assert self._branch is not None
        with suppress(UnknownActorError):  # a caller that was cancelled here has stopped it all the same
            await self._branch.stop_child(connection.spec.name)
        self.connections.remove(connection)
        self._gone.append(connection)  # what it has read may be in the hands of `hand_over`, and come back
        self._failed.pop(connection, None)
        self._lifetimes.pop(connection, None)

    async def change(self, new: Sequence[Market], gone: set[str]) -> None:
        """New markets get connections of their own; one with a market that is gone makes way for the rest."""
        async with self._changing:
            wanted = {market.symbol: market for market in new}
            for connection in list(self.connections):
                if any(market.symbol in gone for market in connection.spec.markets):
                    connection.give_up(gone)
                    wanted.update((market.symbol, market) for market in connection.spec.markets)
                    await self._end(connection)
            for connection in self._build([market for symbol, market in wanted.items() if symbol not in gone]):
                self.connections.append(connection)
                await self._start(connection)

    @property
    def halted(self) -> bool:
        """Whether the exchange reports that no trades are made at present."""
        return any(connection.state.halted for connection in self.connections)

    def retire(self, symbols: Collection[str]) -> None:
        """Before the end: nothing is begun any more, and no gap opens for these because a connection ends."""
        self._retired = True
        for connection in self.connections:
            connection.give_up(symbols)

    async def hand_over(self) -> None:
        """Puts what all have read so far into the buffer's mailbox."""
        gone = self._gone.copy()
        for connection in (*gone, *self.connections):
            await connection.hand_over()
        self._gone = [connection for connection in self._gone if connection not in gone]

    def rests(self) -> list[Chunk]:
        """At the end: takes what was read and not handed over."""
        chunks = (connection.rest() for connection in (*self._gone, *self.connections))
        return [chunk for chunk in chunks if chunk is not None]

    # -- replacement --------------------------------------------------------------------------------------

    async def replace(self, old: Connection, reason: str) -> bool:
        """Opens a second connection for the markets of `old`, which ends once the new one delivers them too.

        False where that is under way already, or was tried in vain not long ago, or no trades are made.
        """
        async with self._changing:
            under_way = any(old in (replacement.old, replacement.new) for replacement in self._replacements)
            if self._retired or under_way or old.state.halted or old not in self.connections:
                return False
            if trio.current_time() < self._failed.get(old, (0, -math.inf))[1]:
                return False
            self._numbered += 1
            new = self._make(dataclasses.replace(old.spec, name=f"{self._settings.name}:{self._numbered}"))
            self.connections.append(new)
            self._replacements.append(_Replacement(old, new, reason, trio.current_time()))
            await self._start(new)
            return True

    async def look(self) -> list[tuple[str, str]]:
        """About once a second: begins and ends replacements. Returns events to report, as (event, reason)."""
        events: list[tuple[str, str]] = []
        if self._retired:
            return events
        for connection in list(self.connections):
            why = self._announced_close(connection) or self._aged(connection)
            if why and await self.replace(connection, why):
                events.append(("replacing", f"{connection.spec.name}: {why}; a second connection is opened"))
        async with self._changing:
            for replacement in list(self._replacements):
                outcome = await self._carry_on(replacement)
                if outcome:
                    self._replacements.remove(replacement)
                    events.append(outcome)
        return events

    def _announced_close(self, connection: Connection) -> str:
        return connection.state.leaving if trio.current_time() - connection.state.opened_at >= LEAVING_S else ""

    def _aged(self, connection: Connection) -> str:
        lifetime_s = self._settings.lifetime_s
        if lifetime_s is None or not connection.state.connected:
            return ""
        share = self._lifetimes.setdefault(connection, self._random.uniform(*AGED))
        aged = trio.current_time() - connection.state.opened_at > lifetime_s * share
        return f"{self._settings.name} ends connections after {lifetime_s:g} s" if aged else ""

    async def _carry_on(self, replacement: _Replacement) -> tuple[str, str] | None:
        """What is next for one replacement; what came of it once it is over."""
        old, new, now = replacement.old, replacement.new, trio.current_time()
        if old not in self.connections or new not in self.connections:
            return "replacement_dropped", f"{old.spec.name}: its markets have changed"
        if not _delivers(new, old):
            replacement.overlaps_at = math.inf
        elif replacement.overlaps_at == math.inf:
            replacement.overlaps_at = now
        elif now - replacement.overlaps_at >= OVERLAP_S and _as_much(new, old, replacement.overlaps_at):
            await self._end(old)
            return "replaced", f"{new.spec.name} has taken over from {old.spec.name}: {replacement.reason}"
        if now - replacement.since < self._limits.replacement_s:
            return None
        await self._end(new)
        tries = self._failed.get(old, (0, 0.0))[0] + 1
        self._failed[old] = tries, now + self._limits.again.ceiling_s(tries - 1)
        return (
            "replacement_failed",
            f"{old.spec.name}: no second connection delivered the same within {self._limits.replacement_s:g} s",
        )


def _delivers(new: Connection, old: Connection) -> bool:
    """Whether the new one has all that the old one has, or anything where that has ended meanwhile."""
    return bool(new.state.since) and new.state.since.keys() >= old.state.since.keys()


def _as_much(new: Connection, old: Connection, since: float) -> bool:
    """Whether the new one has kept up in every market in which the old one had trades."""
    return all(
        at - new.state.last_trade_at.get(symbol, -math.inf) <= KEEPS_UP_S
        for symbol, at in old.state.last_trade_at.items()
        if at > since
    )
