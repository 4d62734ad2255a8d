"""The connections of one exchange: starts them, replaces them without a gap before they end, and stops them."""

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from functools import partial

import msgspec
import trio
from msgspec import Struct, field

from actors.exchanges.contract.feed import Dialect, Market
from actors.feed.connection import Connection
from actors.feed.sharding import ConnectionSpec, shard
from actors.model.chunk import Chunk
from actors.settings import CONNECTION_STOP_S, JITTER, LAST_CHUNK_S, FeedSettings, backoff_of, intensity_of
from actors.wire.errors import classify
from supervisor import Backoff, ChildSpec, Supervisor, UnknownActorError

OVERLAP_S = 5.0  # how long old and new deliver together: longer than ids may be out of order
KEEPS_UP_S = 3.0  # how much later a trade may be noted on the new one: more than DECODE_S and CALM_S
# All servers of an exchange may be closing: a new connection that receives such a notice is kept for this long.
LEAVING_S = 30.0
# A connection is replaced after this part of its known lifetime; the exact part is random, so that connections
# opened together are not replaced together.
AGED = (0.90, 0.95)


class PoolLimits(Struct, frozen=True, kw_only=True):
    """Limits of replacements, in seconds."""

    replacement_s: float = 60.0  # one that does not deliver by then what the old connection delivers is dropped ...
    again: Backoff = field(default_factory=partial(Backoff, 60.0, 3600.0, jitter=0.0))  # ... and another tried


DEFAULT_POOL_LIMITS = PoolLimits()


class _Replacement(Struct):
    """A connection that takes over from another; `overlaps_at` is when both began to deliver the same markets."""

    old: Connection
    new: Connection
    reason: str
    since: float
    overlaps_at: float = math.inf


class ConnectionPool:
    """The exchange owns it. `make` builds a connection for its spec; times are trio's clock.

    A crash of the task that calls `look` loses nothing: replacements in progress are kept as data.
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
        self._numbered = 0  # numbers are not reused
        self._replacements: list[_Replacement] = []
        self._failed: dict[Connection, tuple[int, float]] = {}  # its failed replacements, and when to retry
        self._lifetimes: dict[Connection, float] = {}
        self.connections = self._build(markets, self._settings.redundancy)

    def _build(self, markets: Sequence[Market], copies: int) -> list[Connection]:
        settings = msgspec.structs.replace(self._settings, redundancy=copies)
        specs = shard(settings, self._dialect, markets, first=self._numbered + 1)
        self._numbered += len(specs)
        return [self._make(spec) for spec in specs]

    def reset(self, markets: Sequence[Market]) -> None:
        """Sets other markets; called before the start."""
        self._numbered = 0
        self.connections = self._build(markets, self._settings.redundancy)

    def below(self, branch: Supervisor) -> None:
        """Sets `branch` as the supervisor of the connections."""
        self._branch = branch

    async def start(self) -> None:
        """Starts all connections. As with `change`, a cancellation takes effect when that is done."""
        with trio.CancelScope(shield=True):
            async with self._changing:
                await self._start_new()

    async def _start_new(self) -> None:
        """Starts the connections that have no actor yet, also those that an error has left without one."""
        started = self._started()
        for connection in list(self.connections):
            if connection.spec.name not in started and not self._retired:
                await self._start(connection)

    def _started(self) -> set[str]:
        assert self._branch is not None
        return {actor.name for actor in self._branch.snapshot()}

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
        """Ends a connection. As with `change`, a cancellation takes effect when that is done: the pool has none
        without an actor.
        """
        assert self._branch is not None
        with trio.CancelScope(shield=True), suppress(UnknownActorError):  # an error may have left it without actor
            await self._branch.stop_child(connection.spec.name)
        self.connections.remove(connection)
        self._failed.pop(connection, None)
        self._lifetimes.pop(connection, None)

    async def change(self, new: Sequence[Market], gone: set[str], *, delisted: bool = False) -> None:
        """Carries new markets and drops removed ones, on the open connections where the protocol allows it.

        Elsewhere new markets get connections of their own, and a connection that carries a removed one is replaced.
        A market among `new` that is already carried is moved to another connection. `delisted`: the exchange sends
        nothing of the removed ones, so that their connections need not be replaced.
        """
        self._give_up(gone)  # before anything waits: a session that begins meanwhile does not deliver them either
        # A cancellation would leave removed markets that are still delivered, or others whose connection has ended.
        with trio.CancelScope(shield=True):
            async with self._changing:
                await self._change(new, gone, delisted=delisted)

    async def _change(self, new: Sequence[Market], gone: set[str], *, delisted: bool) -> None:
        dialect = self._dialect
        changes_open = dialect.unsubscribe_text is not None or dialect.request_replaces
        replacing = {one for pair in self._replacements for one in (pair.old, pair.new)}
        wanted = {market.symbol: market for market in new}
        moved = wanted.keys() & {market.symbol for one in self.connections for market in one.spec.markets}
        for connection in list(self.connections):
            if self._retired:
                return
            kept = [market for market in connection.spec.markets if market.symbol not in gone]
            stays = moved.isdisjoint(market.symbol for market in kept)
            if stays and len(kept) == len(connection.spec.markets):
                continue
            if stays and kept and (delisted or (changes_open and connection not in replacing)):
                connection.drop(gone, silently=delisted)
                continue
            for market in kept:
                wanted.setdefault(market.symbol, market)
            await self._end(connection)
        if self._retired:
            return
        missing = self._missing_copies(wanted.values())
        # A stateful decoder knows only the markets for which it was created.
        if changes_open and dialect.decoder is None and not dialect.bad_symbol_closes:
            open_ones = [connection for connection in self.connections if connection not in replacing]
            missing = {copies: self._add_to_open(open_ones, markets, copies) for copies, markets in missing.items()}
        for copies, markets in missing.items():
            self.connections += self._build(markets, copies)
        await self._start_new()

    def _missing_copies(self, wanted: Iterable[Market]) -> dict[int, list[Market]]:
        """The markets that too few connections carry, by how many more of them are wanted."""
        second = [pair.new for pair in self._replacements if pair.old in self.connections]  # only one will stay
        carried = Counter(
            market.symbol for one in self.connections if one not in second for market in one.spec.markets
        )
        missing: dict[int, list[Market]] = {}
        for market in wanted:
            missing.setdefault(self._settings.redundancy - carried[market.symbol], []).append(market)
        return {copies: markets for copies, markets in missing.items() if copies > 0}

    def _add_to_open(self, connections: Sequence[Connection], wanted: list[Market], copies: int) -> list[Market]:
        """Adds markets to open connections of their endpoint that have room; returns those without one."""
        width = self._dialect.limits.symbols_per_connection
        carried = {one: {market.symbol for market in one.spec.markets} for one in connections}
        added: dict[Connection, list[Market]] = {}
        left: list[Market] = []
        for market in wanted:
            places = [
                one
                for one, symbols in carried.items()
                if len(symbols) < width and market.symbol not in symbols and one.spec.endpoint == market.endpoint
            ]
            if len(places) < copies:
                left.append(market)
                continue
            for connection in places[:copies]:
                carried[connection].add(market.symbol)
                added.setdefault(connection, []).append(market)
        for connection, markets in added.items():
            connection.add(markets)
        return left

    @property
    def halted(self) -> bool:
        """Whether the exchange reports that it makes no trades at present."""
        return any(connection.state.halted for connection in self.connections)

    def retire(self, symbols: Collection[str]) -> None:
        """Before shutdown: starts nothing more, and opens no gap for connections that end."""
        self._retired = True
        self._give_up(symbols)

    def _give_up(self, symbols: Collection[str]) -> None:
        for connection in self.connections:
            connection.give_up(symbols)

    def rests(self) -> list[Chunk]:
        """At shutdown: removes and returns what was read and not sent."""
        chunks = (connection.rest() for connection in self.connections)
        return [chunk for chunk in chunks if chunk is not None]

    # -- replacement --------------------------------------------------------------------------------------

    async def replace(self, old: Connection, reason: str) -> bool:
        """Opens a second connection for the markets of `old`, which is closed once the new one delivers them too.

        Returns False if that is in progress already, failed a short time ago, or the exchange makes no trades.
        """
        async with self._changing:
            under_way = any(old in (replacement.old, replacement.new) for replacement in self._replacements)
            if self._retired or under_way or old.state.halted or old not in self.connections:
                return False
            if trio.current_time() < self._failed.get(old, (0, -math.inf))[1]:
                return False
            self._numbered += 1
            new = self._make(msgspec.structs.replace(old.spec, name=f"{self._settings.name}:{self._numbered}"))
            new.give_up(old.state.given_up)  # removed while this waited
            self.connections.append(new)
            self._replacements.append(_Replacement(old, new, reason, trio.current_time()))
            await self._start(new)
            return True

    @property
    def replacing(self) -> bool:
        """Whether a connection is being replaced."""
        return bool(self._replacements)

    @property
    def to_replace(self) -> bool:
        """Whether `look` has something to do."""
        return self.replacing or any(map(self._why_replace, self.connections))

    async def look(self) -> list[tuple[str, str]]:
        """Begins and ends replacements, about once a second. Returns events to report, as (event, reason)."""
        events: list[tuple[str, str]] = []
        if self._retired:
            return events
        for connection in list(self.connections):
            why = self._why_replace(connection)
            if why and await self.replace(connection, why):
                events.append(("replacing", f"{connection.spec.name}: {why}; opening a second connection"))
        async with self._changing:
            for replacement in list(self._replacements):
                outcome = await self._carry_on(replacement)
                if outcome:
                    self._replacements.remove(replacement)
                    events.append(outcome)
        return events

    def _why_replace(self, connection: Connection) -> str:
        return self._announced_close(connection) or self._aged(connection)

    def _announced_close(self, connection: Connection) -> str:
        return connection.state.leaving if trio.current_time() - connection.state.opened_at >= LEAVING_S else ""

    def _aged(self, connection: Connection) -> str:
        lifetime_s = self._settings.lifetime_s
        if lifetime_s is None or not connection.state.connected:
            return ""
        share = self._lifetimes.setdefault(connection, JITTER.uniform(*AGED))
        aged = trio.current_time() - connection.state.opened_at > lifetime_s * share
        return f"{self._settings.name} closes connections after {lifetime_s:g} s" if aged else ""

    async def _carry_on(self, replacement: _Replacement) -> tuple[str, str] | None:
        """The next step of one replacement; returns its result once it has ended."""
        old, new, now = replacement.old, replacement.new, trio.current_time()
        if old not in self.connections or new not in self.connections:
            return "replacement_dropped", f"{old.spec.name}: its markets have changed"
        if not _delivers(new, old):
            replacement.overlaps_at = math.inf
        elif replacement.overlaps_at == math.inf:
            replacement.overlaps_at = now
        overlapped = now - replacement.overlaps_at >= OVERLAP_S and _as_much(new, old, replacement.overlaps_at)
        if overlapped or old.spec.name not in self._started():  # without the old one the new one is all there is
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
    """Whether the new connection delivers all markets of the old one, or anything if that has ended meanwhile."""
    return bool(new.state.since) and new.state.since.keys() >= old.state.since.keys()


def _as_much(new: Connection, old: Connection, since: float) -> bool:
    """Whether the new connection has kept up in every market in which the old one had trades."""
    return all(
        at - new.state.last_trade_at.get(symbol, -math.inf) <= KEEPS_UP_S
        for symbol, at in old.state.last_trade_at.items()
        if at > since
    )
