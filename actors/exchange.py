"""One exchange: its markets spread over connections, and those under a supervisor of their own."""

import dataclasses
import time
from collections.abc import Iterable, Sequence

import trio

from actors.connection import Connection, Plan
from actors.continuity import Continuity
from actors.dialect import IdPromise, Market
from actors.dialects import DIALECTS
from actors.fleet import Fleet
from actors.ledger import Account
from actors.limiter import Limiters
from actors.neighbours import Neighbours
from actors.parcel import Parcel
from actors.repair import Repair
from actors.settings import ExchangeSettings
from actors.symbols import parse_symbol
from actors.vigil import Vigil
from actors.weather import classify
from supervisor.mailbox import Mailbox
from supervisor.spec import ChildSpec
from supervisor.tree import Supervisor


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
        neighbours: Neighbours | None = None,
    ) -> None:
        self.settings, self.account = settings, account
        self.dialect = DIALECTS[settings.dialect]
        self._intake = intake
        self._next_connect_at = 0.0
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
            lambda: self.fleet.hand_over(),
        )
        self.fleet = Fleet(settings, self.dialect, self._connection, self.markets)
        self._neighbours = neighbours or Neighbours()
        self._vigil = Vigil(
            settings.name,
            self.fleet,
            self.continuity,
            self._neighbours,
            self.repair.recovery,
            least_s=settings.stall_s,
        )

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

    def _connection(self, plan: Plan) -> Connection:
        return Connection(
            plan, self.settings, self.dialect, self.account, self._intake, self._pace, self.continuity
        )

    @property
    def connections(self) -> Sequence[Connection]:
        """Those that there are now."""
        return self.fleet.connections

    async def start(self, above: Supervisor) -> None:
        """Adds the exchange's supervisor and connections below `above`."""
        branch = await above.start_supervisor(self.settings.name, stop_together=True)
        name = self.settings.name
        await branch.start(ChildSpec(f"{name}:gaps", self.repair.keep, kind="continuity"))
        if self.repair.recovery is not None:
            fetch = ChildSpec(f"{name}:backfill", self.repair.fetch, kind="backfill", classify=classify)
            await branch.start(fetch)
        await self.fleet.start(branch)
        await branch.start(ChildSpec(f"{name}:vigil", self._vigil.run, kind="vigil"))

    async def change(self, add: Sequence[str], remove: Sequence[str]) -> None:
        """Records other symbols from now on; what stays is not interrupted where it can be helped.

        New symbols get connections of their own, so that no other waits for them. A connection that
        carried a removed symbol is replaced by one for the rest. Raises SymbolError before anything
        has changed.
        """
        new = self._markets(symbol for symbol in dict.fromkeys(add) if symbol not in self.settings.symbols)
        gone = set(remove)
        symbols = [market.symbol for market in (*self.markets, *new) if market.symbol not in gone]
        started = [market.symbol for market in new if market.symbol not in gone]
        self.settings = dataclasses.replace(self.settings, symbols=tuple(symbols))
        self.continuity.wanted_again(started, time.time_ns())
        self.continuity.dropped(gone, time.time_ns())
        await self.fleet.change(new, gone)
        self.markets = self._markets(symbols)

    def rests(self) -> list[Parcel]:
        """At the end: takes what was read and not handed over."""
        return self.fleet.rests() + self.repair.rests()

    def retire(self) -> None:
        """Before the end: its markets end in good order, and no gap opens because a connection ends."""
        self.continuity.dropped(self.settings.symbols, time.time_ns())
        self.fleet.retire(self.settings.symbols)
        self._neighbours.forget(self.settings.name)

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
