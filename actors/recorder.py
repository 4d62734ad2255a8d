"""One exchange: its markets spread over connections, and those under a supervisor of their own."""

import dataclasses
import math
import time
from collections.abc import Iterable, Sequence

import trio

from actors.backfill.repairs import RepairJob, TooManyOrders
from actors.backfill.rest_client import TOO_MANY
from actors.backfill.token_source import TokenSource
from actors.continuity.continuity import Continuity
from actors.exchanges.contract.feed import Market
from actors.exchanges.registry import EXCHANGES
from actors.exchanges.spelling import markets_of
from actors.feed.connection import Connection
from actors.feed.connection_pool import ConnectionPool
from actors.feed.gap_reporter import GapReporter
from actors.feed.peer_activity import PeerActivity
from actors.feed.sharding import ConnectionSpec
from actors.feed.stall_detector import StallDetector
from actors.model.chunk import Chunk
from actors.model.symbols import parse_symbol
from actors.model.ticks import IdPromise
from actors.settings import ExchangeSettings
from actors.surroundings import SharedServices
from actors.telemetry.ledger import Account
from actors.wire.errors import HandshakeRefused, KeptAway, classify
from supervisor import ChildSpec, Mailbox, Supervisor
from supervisor.restart_policy import RETRY_AFTER_S_MAX


class CannotRepair(Exception):
    """A stretch cannot be asked for again; the message says why and what would help."""


class ExchangeRecorder:
    """Owned by the pipeline; its connections are children of the supervisor that bears its name.

    Raises SymbolError and KeyError for settings that ops.config.config would have refused.
    """

    def __init__(
        self,
        settings: ExchangeSettings,
        account: Account,
        intake: Mailbox[Chunk],
        surroundings: SharedServices | None = None,
    ) -> None:
        self.settings, self.account = settings, account
        self.dialect = EXCHANGES[settings.dialect].feed
        self._intake = intake
        self._tokens = TokenSource(self.dialect.token, settings) if self.dialect.token else None
        self._next_connect_at = 0.0
        self._away_until, self._away_reason = -math.inf, ""  # what one connection was told holds for all
        self.continuity = Continuity(settings.name, {})
        self.markets = self._markets(settings.symbols)
        self.repair = GapReporter(
            settings,
            settings.channel or self.dialect.channels[0],
            lambda: {market.symbol: market for market in self.markets},
            self.continuity,
            account,
            intake,
            lambda: self.pool.hand_over(),
            surroundings,
            halted=lambda: self.pool.halted,
        )
        self.pool = ConnectionPool(settings, self.dialect, self._connection, self.markets)
        self._neighbours = surroundings.neighbours if surroundings else PeerActivity()
        self._stall_detector = StallDetector(
            settings.name,
            self.pool,
            self.continuity,
            self._neighbours,
            self.repair.recovery.questions if self.repair.recovery else None,
            least_s=settings.stall_s,
        )

    def _markets(self, symbols: Iterable[str], known: Iterable[Market] = ()) -> list[Market]:
        channel = self.settings.channel or self.dialect.channels[0]
        markets = markets_of(symbols, self.dialect, channel, known)
        for market in markets:
            kind = parse_symbol(market.symbol).kind
            self.continuity.add(market.symbol, self.dialect.ids.get(kind, IdPromise.OPAQUE))
        return markets

    @property
    def promises(self) -> dict[str, IdPromise]:
        """What the ids of each market promise."""
        symbols = (parse_symbol(symbol) for symbol in self.settings.symbols)
        return {str(symbol): self.dialect.ids.get(symbol.kind, IdPromise.OPAQUE) for symbol in symbols}

    def _connection(self, plan: ConnectionSpec) -> Connection:
        return Connection(
            plan,
            self.settings,
            self.dialect,
            self.account,
            self._intake,
            self._pace,
            self.continuity,
            self._keep_away,
            self._tokens.get if self._tokens else None,
        )

    @property
    def connections(self) -> Sequence[Connection]:
        """Those that there are now."""
        return self.pool.connections

    async def start(self, above: Supervisor) -> None:
        """Adds the exchange's supervisor and connections below `above`."""
        gaps, fetch, stall_detector = self._specs()
        branch = await above.start_supervisor(self.settings.name, stop_together=True)
        await branch.start(gaps)
        if self.repair.recovery is not None:
            await branch.start(fetch)
        await self.pool.start(branch)
        await branch.start(stall_detector)

    def _specs(self) -> tuple[ChildSpec, ChildSpec, ChildSpec]:
        """Its actors beside the connections. Raises ValueError for a name that no actor can have."""
        name = self.settings.name
        return (
            ChildSpec(f"{name}:gaps", self.repair.keep, kind="continuity"),
            ChildSpec(f"{name}:backfill", self.repair.fetch, kind="backfill", classify=classify),
            ChildSpec(f"{name}:stall_detector", self._stall_detector.run, kind="stall_detector"),
        )

    def check(self) -> None:
        """Raises ValueError where `start` would, before anything has begun."""
        for spec in self._specs():
            dataclasses.replace(spec, name=self.settings.name)  # the branch's own

    async def change(self, add: Sequence[str], remove: Sequence[str]) -> None:
        """Records other symbols from now on; what stays is not interrupted where it can be helped.

        New symbols get connections of their own, so that no other waits for them. A connection that
        carried a removed symbol is replaced by one for the rest. Raises SymbolError before anything
        has changed.
        """
        kept = [market for market in self.markets if market.symbol not in remove]
        new = self._markets((symbol for symbol in dict.fromkeys(add) if symbol not in self.settings.symbols), kept)
        gone = set(remove)
        symbols = [market.symbol for market in (*self.markets, *new) if market.symbol not in gone]
        started = [market.symbol for market in new if market.symbol not in gone]
        self.settings = dataclasses.replace(self.settings, symbols=tuple(symbols))
        self.continuity.wanted_again(started, time.time_ns())
        self.continuity.dropped(gone, time.time_ns())
        self._neighbours.forget(self.settings.name)  # what is still recorded is soon known again
        await self.pool.change(new, gone)
        self.markets = self._markets(symbols)

    def mend(self, symbol: str, from_ns: int, to_ns: int) -> RepairJob:
        """Has the history asked for a stretch again; goes on by itself. Raises CannotMend."""
        if symbol not in self.settings.symbols:
            raise CannotRepair(f"{self.settings.name} does not record {symbol}")
        recovery = self.repair.recovery
        if recovery is None:
            raise CannotRepair(
                f"the history of {self.settings.name} is not asked: ws_url is set, so set rest_url as well"
                if self.settings.ws_url
                else f"{self.settings.dialect} has no history that can be asked"
            )
        try:
            return recovery.mender.order(symbol, from_ns, to_ns)
        except TooManyOrders as error:
            raise CannotRepair(str(error)) from error

    @property
    def mendings(self) -> Sequence[RepairJob]:
        """The orders of `mend`, oldest first."""
        return self.repair.recovery.mender.orders if self.repair.recovery is not None else ()

    def rests(self) -> list[Chunk]:
        """At the end: takes what was read and not handed over."""
        return self.pool.rests() + self.repair.rests()

    def retire(self) -> None:
        """Before the end: its markets end in good order, and no gap opens because a connection ends."""
        self.continuity.dropped(self.settings.symbols, time.time_ns())
        self.pool.retire(self.settings.symbols)
        self._neighbours.forget(self.settings.name)

    async def _pace(self) -> None:
        """Keeps new connections as far apart as the exchange wants them, and what ended before them recorded first.

        A gap that is told behind the trades that come after it would be forgotten by a kill in between.
        Raises KeptAway while the exchange wants no connection from this address.
        """
        await self.repair.tell_news()
        at = max(trio.current_time(), self._next_connect_at)
        self._next_connect_at = at + 1 / self.dialect.limits.connects_per_s
        await trio.sleep_until(at)
        if at < self._away_until:
            raise KeptAway(self._away_until - at, self._away_reason)

    def _keep_away(self, refusal: HandshakeRefused) -> None:
        if refusal.status in TOO_MANY and refusal.retry_after_s is not None:
            until = trio.current_time() + min(refusal.retry_after_s, RETRY_AFTER_S_MAX)
            self._away_until, self._away_reason = max(self._away_until, until), str(refusal)

    def fresh(self, within_s: float) -> bool:
        """Whether anything came from it lately."""
        heard_ns = self.account.last_frame_ns
        return heard_ns is not None and time.time_ns() - heard_ns < within_s * 1e9
