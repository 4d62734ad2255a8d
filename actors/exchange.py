"""One exchange: its markets spread over connections, and those under a supervisor of their own."""

import dataclasses
import time
from collections.abc import Iterable, Sequence

import trio

from actors.connection import Connection, plan_connections
from actors.continuity import Continuity
from actors.coverage import FeedEvent
from actors.dialect import IdPromise, Market
from actors.dialects import DIALECTS
from actors.ledger import Account
from actors.limiter import Limiters
from actors.parcel import Parcel
from actors.repair import Repair
from actors.settings import ExchangeSettings, SupervisionSettings
from actors.symbols import parse_symbol
from actors.weather import classify
from supervisor.backoff import Backoff
from supervisor.intensity import Intensity
from supervisor.mailbox import Mailbox
from supervisor.spec import ChildSpec
from supervisor.tree import Supervisor

# Shutdown is nesting, and these are all its deadlines, upstream first: a connection says goodbye, the buffer
# empties its mailbox, the last batch is written, the tail is merged (and may be left, if time is up).
CONNECTION_STOP_S = 2.0
BUFFER_STOP_S = 5.0
WRITER_STOP_S = 10.0
MERGE_STOP_S = 10.0


def backoff_of(settings: SupervisionSettings) -> Backoff:
    """The settings' delays."""
    return Backoff(settings.backoff_initial_s, settings.backoff_max_s, settings.backoff_reset_s)


def intensity_of(settings: SupervisionSettings) -> Intensity:
    """The settings' patience with bugs."""
    return Intensity(settings.restarts_max, settings.restarts_period_s)


class Exchange:
    """Owned by the pipeline; its connections are children of the supervisor that bears its name.

    Raises SymbolError and KeyError for settings that ops.config would have refused.
    """

    def __init__(
        self,
        settings: ExchangeSettings,
        account: Account,
        intake: Mailbox[Parcel],
        limiters: Limiters | None = None,
    ) -> None:
        self.settings, self.account = settings, account
        self.dialect = DIALECTS[settings.dialect]
        self._intake = intake
        self._branch: Supervisor | None = None
        self._next_connect_at = 0.0
        self._planned = 0  # connections so far: their numbers are not used again
        self._gone: list[Connection] = []  # that may have left something behind
        self.continuity = Continuity(settings.name, {})
        self.markets = self._markets(settings.symbols)
        self.repair = Repair(
            settings,
            settings.channel or self.dialect.channels[0],
            lambda: {market.symbol: market for market in self.markets},
            self.continuity,
            account,
            intake,
            limiters,
            self._hand_over,
        )
        self.connections = self._connections(self.markets)

    def _markets(self, symbols: Iterable[str]) -> list[Market]:
        channel = self.settings.channel or self.dialect.channels[0]
        markets = []
        for symbol in map(parse_symbol, symbols):
            markets.append(self.dialect.market(symbol, channel))
            self.continuity.add(str(symbol), self.dialect.ids.get(symbol.kind, IdPromise.OPAQUE))
        return markets

    @property
    def promises(self) -> dict[str, IdPromise]:
        """What the ids of each market promise."""
        symbols = (parse_symbol(symbol) for symbol in self.settings.symbols)
        return {str(symbol): self.dialect.ids.get(symbol.kind, IdPromise.OPAQUE) for symbol in symbols}

    def _connections(self, markets: Sequence[Market]) -> list[Connection]:
        plans = plan_connections(self.settings, self.dialect, markets, first=self._planned + 1)
        self._planned += len(plans)
        return [
            Connection(plan, self.settings, self.dialect, self.account, self._intake, self._pace, self.continuity)
            for plan in plans
        ]

    async def start(self, above: Supervisor) -> None:
        """Adds the exchange's supervisor and connections below `above`."""
        self._branch = await above.start_supervisor(self.settings.name, stop_together=True)
        self.repair.say(FeedEvent.STARTED, self.settings.symbols)
        await self._branch.start(ChildSpec(f"{self.settings.name}:gaps", self.repair.keep, kind="continuity"))
        if self.repair.can_fetch:
            fetch = ChildSpec(
                f"{self.settings.name}:backfill", self.repair.fetch, kind="backfill", classify=classify
            )
            await self._branch.start(fetch)
        for connection in self.connections:
            await self._start(connection)

    async def _start(self, connection: Connection) -> None:
        assert self._branch is not None
        supervision = self.settings.supervision
        await self._branch.start(
            ChildSpec(
                connection.plan.name,
                connection.run,
                kind="connection",
                backoff=backoff_of(supervision),
                intensity=intensity_of(supervision),
                classify=classify,
                stop_s=CONNECTION_STOP_S + 1.0,  # its goodbye, and its last parcel
                probe_interval_s=supervision.probe_interval_s,
            )
        )

    async def change(self, add: Sequence[str], remove: Sequence[str]) -> None:
        """Records other symbols from now on; what stays is not interrupted where it can be helped.

        New symbols get connections of their own, so that no other waits for them. A connection that
        carried a removed symbol is replaced by one for the rest. Raises SymbolError before anything
        has changed.
        """
        new = self._markets(symbol for symbol in dict.fromkeys(add) if symbol not in self.settings.symbols)
        gone = set(remove)
        symbols = [market.symbol for market in (*self.markets, *new) if market.symbol not in gone]
        self.settings = dataclasses.replace(self.settings, symbols=tuple(symbols))
        self.repair.say(FeedEvent.STOPPED, gone)
        self.repair.say(FeedEvent.STARTED, [market.symbol for market in new if market.symbol not in gone])
        for connection in list(self.connections):
            if any(market.symbol in gone for market in connection.plan.markets):
                connection.given_up |= gone
                await self._end(connection)
                new += [market for market in connection.plan.markets if market.symbol not in gone]
        self.markets = self._markets(symbols)
        for connection in self._connections([market for market in new if market.symbol not in gone]):
            self.connections.append(connection)
            await self._start(connection)

    async def _end(self, connection: Connection) -> None:
        assert self._branch is not None
        await self._branch.stop_child(connection.plan.name)
        self.connections.remove(connection)
        self._gone.append(connection)  # what it has read may be in the hands of `_hand_over`, and come back

    def rests(self) -> list[Parcel]:
        """At the end: takes what was read and not handed over."""
        parcels = (connection.rest() for connection in (*self._gone, *self.connections))
        return [parcel for parcel in parcels if parcel is not None] + self.repair.rests()

    def retire(self) -> None:
        """Before the end: its markets end in good order, and no gap opens because a connection ends."""
        self.repair.say(FeedEvent.STOPPED, self.settings.symbols)
        for connection in self.connections:
            connection.given_up |= set(self.settings.symbols)

    async def _hand_over(self) -> None:
        gone = self._gone.copy()
        for connection in (*gone, *self.connections):
            await connection.catch.hand_over()
        self._gone = [connection for connection in self._gone if connection not in gone]

    async def _pace(self) -> None:
        """Keeps new connections as far apart as the exchange wants them."""
        now = trio.current_time()
        at = max(now, self._next_connect_at)
        self._next_connect_at = at + 1 / self.dialect.limits.connects_per_s
        await trio.sleep_until(at)

    def fresh(self, within_s: float) -> bool:
        """Whether anything came from it lately."""
        heard_ns = self.account.last_frame_ns
        return heard_ns is not None and time.time_ns() - heard_ns < within_s * 1e9
