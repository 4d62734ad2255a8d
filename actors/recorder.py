"""Records one exchange: builds its connections, gap reporter, backfill and stall detector and supervises them."""

import dataclasses
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import trio
from msgspec import Struct, field

from actors.backfill.delivery import Delivery
from actors.backfill.fetch_job import DEFAULT_LIMITS, BackfillLimits
from actors.backfill.fetcher import Fetcher
from actors.backfill.gap_filler import GapFiller
from actors.backfill.instruments import (
    DEFAULT_INSTRUMENT_LIMITS,
    REST_LIMITS,
    Applied,
    InstrumentLimits,
    Instruments,
    ListService,
    limiter_of,
)
from actors.backfill.rate_limiter import RateLimiters
from actors.backfill.repairs import RepairJob, Repairs, TooManyRepairs
from actors.backfill.rest_client import RestClient
from actors.backfill.stall_probe import StallProbes
from actors.backfill.stored_instruments import StoredList, read_stored
from actors.backfill.stored_trades import Consult, StoredTrades
from actors.backfill.token_source import TokenSource
from actors.backfill.worker import BackfillWorker
from actors.continuity.continuity import Continuity
from actors.continuity.tracker_state import TrackerState
from actors.exchanges.contract.exchange import Exchange
from actors.exchanges.contract.feed import Market
from actors.exchanges.contract.history import Kind
from actors.exchanges.registry import EXCHANGES
from actors.exchanges.selection import NOT_LISTED, Selection, check_symbols, select
from actors.feed.connect_pace import ConnectPace
from actors.feed.connection import Connection
from actors.feed.connection_pool import DEFAULT_POOL_LIMITS, ConnectionPool, PoolLimits
from actors.feed.gap_reporter import GapReporter, Past
from actors.feed.peer_activity import PeerActivity
from actors.feed.sharding import ConnectionSpec, too_many_connections
from actors.feed.stall_detector import DEFAULT_STALL_LIMITS, StallDetector, StallLimits
from actors.model.chunk import Chunk, Source
from actors.model.errors import DatabaseLocked
from actors.model.records import InstrumentRow
from actors.model.symbols import is_wildcard, parse_symbol
from actors.model.ticks import IdPromise
from actors.settings import CHUNK_ROWS, ExchangeSettings, FeedSettings
from actors.telemetry.ledger import Account
from actors.wire.errors import classify
from actors.wire.websocket import Connect, connect
from supervisor import ChildSpec, Context, Mailbox, Supervisor

if TYPE_CHECKING:
    import httpx


WILDCARD_MARKETS_MAX = 5_000  # that a wildcard may name before the list is read; the longest list has some 3,000


class CannotRepair(Exception):
    """A range cannot be repaired; the message has the reason and what to do."""


class ExchangeAccess(Struct, frozen=True, kw_only=True):
    """The exchanges that a dialect can name, and their access over WebSocket and (None: the network) REST."""

    exchanges: Mapping[str, Exchange] = field(default_factory=lambda: EXCHANGES)
    connect: Connect = connect
    transport: "httpx.AsyncBaseTransport | None" = None


DEFAULT_ACCESS = ExchangeAccess()


class SharedServices(Struct, frozen=True, kw_only=True):
    """What the recorders of one pipeline share: rate limits by host, symbol listings, access to the file, and
    limits.

    `consult` runs a query on the DuckDB file; `restored` returns when it is known what is stored, and `flush` when
    everything that has reached the buffer is durable; `expect` has a connection's rows collected before the next
    batch; `past` reads the states of an exchange's markets from the file, or raises DatabaseLocked;
    `stored_until_ns` is until when trades may have been stored before this run, 0 if none were; `record` stores
    changes of the exchanges' lists of markets.
    """

    limiters: RateLimiters
    peers: PeerActivity
    consult: Consult
    flush: Callable[[], Awaitable[None]]
    expect: Callable[[Source], None]
    past: Past
    stored_until_ns: Callable[[], int]
    record: Callable[[Sequence[InstrumentRow]], None]
    restored: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint
    backfill: BackfillLimits = DEFAULT_LIMITS
    stalls: StallLimits = DEFAULT_STALL_LIMITS
    pool: PoolLimits = DEFAULT_POOL_LIMITS
    access: ExchangeAccess = DEFAULT_ACCESS
    chunk_rows: int = CHUNK_ROWS
    instruments: InstrumentLimits = DEFAULT_INSTRUMENT_LIMITS


async def run_after(
    ready: Callable[[], Awaitable[None]], run: Callable[[Context], Awaitable[None]], context: Context
) -> None:
    """Runs an actor as soon as `ready` returns."""
    await ready()
    await run(context)


def feed_settings(settings: ExchangeSettings, exchange: Exchange) -> FeedSettings:
    """The settings with the exchange's own values where none are configured; the only place that looks at both."""
    dialect = exchange.feed
    return FeedSettings(
        name=settings.name,
        channel=settings.channel or dialect.channels[0],
        silence_s=settings.silence_s or dialect.silence_s,
        lifetime_s=settings.lifetime_s or dialect.lifetime_s,
        ws_url=settings.ws_url,
        rest_url=settings.rest_url,
        redundancy=settings.redundancy or _redundancy(settings, exchange),
        ca_file=settings.ca_file,
        supervision=settings.supervision,
    )


def _redundancy(settings: ExchangeSettings, exchange: Exchange) -> int:
    """Two connections where the history has only the newest trades, or where there is none, so that it soon forgets
    an outage; if the exchange allows so many connections, and one more to replace another. One where a ws_url leads
    elsewhere: perhaps to a replay, which plays once.
    """
    history, limits = exchange.history, exchange.feed.limits
    if settings.ws_url is not None or not (history is None or history.kind is Kind.RECENT_ONLY):
        return 1
    markets = len(settings.symbols) + (WILDCARD_MARKETS_MAX if any(map(is_wildcard, settings.symbols)) else 0)
    needed = -(-markets // limits.symbols_per_connection)
    return 1 if 2 * needed + 1 > limits.connections_max else 2


class ExchangeRecorder:
    """Records one exchange; the pipeline owns it. Its connections are children of a supervisor of its name.

    Raises SymbolError and KeyError for settings that ops.config.config rejects.
    """

    def __init__(
        self,
        settings: ExchangeSettings,
        account: Account,
        intake: Mailbox[Chunk],
        services: SharedServices,
    ) -> None:
        self.settings, self.account, self._access = settings, account, services.access
        self._exchange = self._access.exchanges[settings.dialect]
        self.dialect = self._exchange.feed
        self._intake, self._chunk_rows = intake, services.chunk_rows
        self._past, self._stored_until_ns = services.past, services.stored_until_ns
        self._expect, self._restored = services.expect, services.restored
        self._feed_settings = feed_settings(settings, self._exchange)
        history = self._exchange.history
        self._limiter = limiter_of(services.limiters, history, settings.rest_url)
        self._tokens: dict[str, TokenSource] = {}  # by endpoint
        self._connect_pace = ConnectPace(self.dialect.limits.connects_per_s)
        self.continuity = Continuity(settings.name, {}, compares=self._feed_settings.redundancy > 1)
        self.instruments = self._build_instruments(services)
        self._opened = False  # before that no connection is started
        self._applying = trio.Lock()
        check_symbols(
            settings.symbols, self._exchange, self._feed_settings.channel, exchanges=self._access.exchanges
        )
        self.selection = self._select(settings.symbols)
        # By symbol; the parts below share this mapping, so that they see the changes made by `apply`.
        self._by_symbol = dict(self.selection.markets)
        self.pool = ConnectionPool(self._feed_settings, self.dialect, self._connection, self.markets, services.pool)
        self._gaps = GapReporter(
            settings.name,
            self._by_symbol,
            self.continuity,
            account,
            intake,
            services.past,
            services.expect,
            history=self._exchange.history is not None,
        )
        self._backfill = self._build_backfill(services)
        self._peers = services.peers
        self._stall_detector = StallDetector(
            settings.name,
            self.pool,
            self.continuity,
            services.peers,
            self._backfill.probes if self._backfill else None,
            least_s=settings.stall_s,
            limits=services.stalls,
        )

    def _build_backfill(self, services: SharedServices) -> BackfillWorker | None:
        """The backfill; None for an exchange whose history is not used."""
        settings, history, limits = self.settings, self._exchange.history, services.backfill
        if history is None or not self.settings.has_rest:
            return None
        rest = RestClient(
            history,
            self._limiter,
            rest_url=settings.rest_url,
            ca_file=settings.ca_file,
            transport=self._access.transport,
        )
        stored_trades = StoredTrades(settings.name, services.consult)
        delivery = Delivery(settings.name, self.continuity, self.account, self._gaps, stored_trades, services.flush)
        channel = self._feed_settings.channel
        fetcher = Fetcher(
            settings.name,
            history,
            channel,
            rest,
            reject=delivery.reject,
            settle_s=limits.settle_s,
            now_ns=lambda: self.continuity.exchange_ns(time.time_ns()),
            promises=self.continuity.promises,
        )
        markets, continuity, pool = self._by_symbol, self.continuity, self.pool
        return BackfillWorker(
            fetcher,
            markets,
            GapFiller(history, markets, continuity, delivery, pool, limits),
            StallProbes(history, markets, continuity, pool, limits),
            Repairs(markets, continuity, stored_trades, delivery, limits),
            limits,
        )

    def _build_instruments(self, services: SharedServices) -> Instruments | None:
        """The reader of the exchange's list of markets; None if it is not read."""
        settings, history, instruments = self.settings, self._exchange.history, self._exchange.instruments
        if instruments is None or not self.settings.has_rest:
            return None
        rest = RestClient(
            ListService(instruments.base, history),
            self._limiter,
            rest_url=settings.rest_url,
            ca_file=settings.ca_file,
            limits=REST_LIMITS,
            transport=self._access.transport,
        )

        async def recall() -> StoredList:
            found: StoredList = await services.consult(partial(read_stored, exchange=settings.name))
            return found

        return Instruments(
            settings.name,
            instruments,
            rest,
            self.apply,
            recall=recall,
            record=services.record,
            limits=services.instruments,
        )

    @property
    def markets(self) -> list[Market]:
        """The markets recorded now."""
        return list(self._by_symbol.values())

    def _select(self, symbols: Sequence[str]) -> Selection:
        listed = self.instruments.listed if self.instruments is not None else NOT_LISTED
        return select(
            symbols,
            self._exchange,
            self._feed_settings.channel,
            listed,
            exchanges=self._access.exchanges,
        )

    def _promise(self, symbol: str) -> IdPromise:
        return self.dialect.ids.get(parse_symbol(symbol).kind, IdPromise.OPAQUE)

    @property
    def acknowledges(self) -> bool:
        """Whether the exchange answers requests for its channel."""
        return self.dialect.acknowledges_on(self._feed_settings.channel)

    @property
    def promises(self) -> dict[str, IdPromise]:
        """What the ids of each recorded market promise."""
        return {symbol: self._promise(symbol) for symbol in self._by_symbol}

    def _token_source(self, endpoint: str) -> TokenSource | None:
        request = self.dialect.token_at(endpoint)
        if request is not None and endpoint not in self._tokens:
            self._tokens[endpoint] = TokenSource(
                request,
                rest_url=self.settings.rest_url,
                ca_file=self.settings.ca_file,
                beside=self._limiter,
                transport=self._access.transport,
            )
        return self._tokens.get(endpoint)

    def _connection(self, spec: ConnectionSpec) -> Connection:
        tokens = self._token_source(spec.endpoint)
        return Connection(
            spec,
            self._feed_settings,
            self.dialect,
            self.account,
            self._intake,
            self._expect,
            self._connect_pace.wait,
            self.continuity,
            self._connect_pace.refused,
            tokens.get if tokens else None,
            self._access.connect,
            self._chunk_rows,
        )

    @property
    def connections(self) -> Sequence[Connection]:
        """The current connections."""
        return self.pool.connections

    def recall(self, stored: StoredList) -> None:
        """Before the start: puts the stored list of markets in force until it is read again."""
        if self.instruments is not None:
            self.instruments.recalled(stored)
            self.selection = self._select(self.settings.symbols)
            self._set_markets(self.selection.markets)
            self.pool.reset(self.markets)

    def _set_markets(self, markets: Mapping[str, Market]) -> None:
        self._by_symbol.clear()
        self._by_symbol.update(markets)

    def begin(
        self,
        promises: Mapping[str, IdPromise],
        states: Sequence[TrackerState] | None,
        now_ns: int,
        *,
        delivered: Collection[str] = (),
    ) -> None:
        """Begins markets with their stored states, or blind where these cannot be read (None); before any trade of
        them is admitted. `delivered`: see Continuity.restore.

        The continuity gets markets here and nowhere else, so that none begins as if nothing of it were stored.
        """
        for symbol, promise in promises.items():
            self.continuity.add(symbol, promise)
        if states is None:
            self.continuity.go_blind(promises, self._stored_until_ns(), now_ns)
        else:
            self.continuity.restore(states, now_ns, delivered=delivered)

    async def start(self, above: Supervisor) -> None:
        """Adds the exchange's supervisor and connections below `above`.

        If a symbol is in no known list, connections wait a moment for the list of markets, and the instruments
        actor starts them.
        """
        *before, stall_detector = self._specs()
        branch = await above.start_supervisor(self.settings.name, stop_together=True)
        self.pool.below(branch)
        self._opened = self.instruments is None or (
            self.instruments.listed is not NOT_LISTED
            and all(is_wildcard(one) or one in self.instruments.listed.instruments for one in self.settings.symbols)
        )
        for spec in before:
            await branch.start(spec)
        if self._opened:
            await self.pool.start()
        await branch.start(stall_detector)

    def _specs(self) -> list[ChildSpec]:
        """Its actors besides the connections, which wait until it is known what is stored. Raises ValueError for a
        name that no actor can have.
        """
        name = self.settings.name
        specs = [ChildSpec(f"{name}:gaps", self._gaps.run, kind="continuity")]
        if self._backfill is not None:
            specs.append(ChildSpec(f"{name}:backfill", self._backfill.run, kind="backfill", classify=classify))
        if self.instruments is not None:
            specs.append(
                ChildSpec(f"{name}:instruments", self.instruments.run, kind="instruments", classify=classify)
            )
        specs.append(ChildSpec(f"{name}:stall_detector", self._stall_detector.run, kind="stall_detector"))
        return [dataclasses.replace(one, run=partial(run_after, self._restored, one.run)) for one in specs]

    def check(self) -> None:
        """Raises ValueError if `start` would, before anything has begun."""
        for spec in self._specs():
            dataclasses.replace(spec, name=self.settings.name)  # the name of the branch itself

    async def change(self, add: Sequence[str], remove: Sequence[str]) -> None:
        """Records other symbols from now on; where possible, the remaining ones are not interrupted.

        Raises SymbolError before anything has changed.
        """
        async with self._applying:
            kept = [text for text in self.settings.symbols if text not in remove]
            new = [text for text in dict.fromkeys(add) if text not in self.settings.symbols and text not in remove]
            listed = self.instruments.listed if self.instruments is not None else NOT_LISTED
            channel = self._feed_settings.channel
            check_symbols((*kept, *new), self._exchange, channel, listed, exchanges=self._access.exchanges)
            await self._record((*kept, *new), delisted=False)
        if self.instruments is not None:
            self.instruments.look()

    def unlisted(self, symbols: Iterable[str]) -> list[str]:
        """Those of these recorded symbols of which the exchange's list, as far as it is known, has nothing."""
        listed = self.instruments.listed if self.instruments is not None else NOT_LISTED
        return [one for one in symbols if one in self._by_symbol and one not in listed.instruments]

    async def apply(self, *, delisted: bool = True) -> Applied:
        """Records the configured symbols according to the list in force.

        Markets whose native name or scales have changed move to another connection. `delisted`: markets end because
        the exchange no longer lists them, so their connections need not be replaced.
        """
        async with self._applying:
            return await self._record(self.settings.symbols, delisted=delisted)

    async def _record(self, symbols: tuple[str, ...], *, delisted: bool) -> Applied:
        """Records these configured symbols.

        What may fail or be cancelled comes first, and leaves everything as it was. After that nothing waits but the
        pool, which cannot be cancelled.
        """
        selection = self._select(symbols)
        before, markets = dict(self._by_symbol), selection.markets
        gone = [symbol for symbol in before if symbol not in markets]
        new = [market for symbol, market in markets.items() if symbol not in before]
        moved = [
            market for symbol, market in markets.items() if symbol in before and _differs(market, before[symbol])
        ]
        known = [symbol for symbol in markets if symbol in self.continuity.promises]
        unknown = {symbol: self._promise(symbol) for symbol in markets if symbol not in self.continuity.promises}
        states = await self._stored(unknown)
        now_ns = time.time_ns()
        self.settings, self.selection = msgspec.structs.replace(self.settings, symbols=symbols), selection
        self._set_markets(markets)
        self.begin(unknown, states, now_ns)
        self.continuity.wanted_again([symbol for symbol in known if symbol not in before], now_ns)
        end = self.continuity.delisted if delisted else self.continuity.dropped
        end(gone, now_ns)
        if gone:
            self._peers.forget(self.settings.name)  # what is still recorded is soon known again
        if self._opened:
            await self.pool.change([*new, *moved], set(gone), delisted=delisted)
            return self._applied([market.symbol for market in new], gone)
        self._opened = True
        self.pool.reset(self.markets)
        await self.pool.start()
        return self._applied()

    async def _stored(self, promises: Mapping[str, IdPromise]) -> Sequence[TrackerState] | None:
        """The states of markets in the file; None while another process has it open."""
        if not promises:
            return ()
        try:
            return await self._past(self.settings.name, promises, {})
        except DatabaseLocked:
            return None

    def _applied(self, started: Sequence[str] = (), ended: Sequence[str] = ()) -> Applied:
        excess = too_many_connections(self._feed_settings, self.dialect, self.markets)
        return Applied(
            started, ended, self.selection.left_out, self.selection.problems, (excess,) if excess else ()
        )

    def describe(self, now_ns: int) -> None:
        """Stores again that its markets are recorded, and the exchange's list: the file with them is gone."""
        self.continuity.describe(now_ns)
        if self.instruments is not None:
            self.instruments.describe(now_ns)

    def repair(self, symbol: str, from_ns: int, to_ns: int) -> RepairJob:
        """Starts a job that fetches a range from the history again. Raises CannotRepair."""
        if symbol not in self._by_symbol:
            raise CannotRepair(f"{self.settings.name} does not record {symbol}")
        if self._backfill is None:
            raise CannotRepair(
                f"the history of {self.settings.name} is not used: ws_url is set, so set rest_url as well"
                if self.settings.ws_url
                else f"{self.settings.dialect} has no history to repair from"
            )
        try:
            return self._backfill.repairs.order(symbol, from_ns, to_ns)
        except TooManyRepairs as error:
            raise CannotRepair(str(error)) from error

    @property
    def repair_jobs(self) -> Sequence[RepairJob]:
        """The jobs of `repair`, oldest first."""
        return self._backfill.repairs.jobs if self._backfill is not None else ()

    def rests(self) -> list[Chunk]:
        """At shutdown: takes what was read and not sent to the buffer."""
        return self.pool.rests() + self._gaps.rests()

    def retire(self) -> None:
        """Before shutdown: ends its markets in an orderly way, so that closing connections opens no gap."""
        for connection in self.connections:
            connection.decode()  # what was read while markets were delivered may end an outage
        self.continuity.dropped(self._by_symbol, time.time_ns())
        self.pool.retire(self._by_symbol)
        self._peers.forget(self.settings.name)

    def fresh(self, within_s: float) -> bool:
        """Whether it delivered data recently. A time ahead of the clock is from before it was set back."""
        last_ns = self.account.last_frame_ns
        return last_ns is not None and abs(time.time_ns() - last_ns) < within_s * 1e9


def _differs(market: Market, before: Market) -> bool:
    """Whether a market is requested or decoded in another way than before."""
    return _as_read(market) != _as_read(before)


def _as_read(market: Market) -> tuple[object, ...]:
    listed = market.instrument
    scales = (listed.price_scale, listed.volume_scale) if listed is not None else (None, None)
    return market.endpoint, market.native, market.volume_unit, *scales
