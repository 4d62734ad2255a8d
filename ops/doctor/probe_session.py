"""Runs one session of the service for diagnosis, and records its steps, answers and trades. Stores nothing."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import trio

from actors.backfill.token_source import TokenSource
from actors.continuity.continuity import Continuity
from actors.exchanges.contract.feed import Dialect, Market
from actors.feed.accumulator import Accumulator
from actors.feed.connection_state import ConnectionState
from actors.feed.session import Session
from actors.feed.sharding import ConnectionSpec
from actors.feed.subscription import Subscription
from actors.model.chunk import Chunk
from actors.model.symbols import parse_symbol
from actors.model.ticks import Block, IdPromise
from actors.settings import FeedSettings
from actors.telemetry.ledger import Account
from actors.wire.errors import ConnectionLost, classify
from actors.wire.observer import ConnectionStep
from actors.wire.websocket import WebSocketLimits
from supervisor import Context, Mailbox, Verdict, leaves

STREAM = "stream"  # the source of a live trade; others are replayed on subscribing


@dataclass(frozen=True, slots=True)
class FirstTrade:
    """The first live trade; `at` on trio's clock, `exchange_ns` None if the exchange sends no time."""

    market: Market
    trade_id: str | None
    exchange_ns: int | None
    price: str
    at: float


class Probe:
    """A session with an observer, whose mailbox this class reads instead of the buffer.

    `at` holds when each step was first reached, on trio's clock, and `details` what the observer received with it.
    `traded` holds the symbols with live trades, `timed` counts trades with a time, `lag_ns` is the least lag of
    one; `rejects` counts invalid messages, `reject` describes the first.
    """

    def __init__(
        self, spec: ConnectionSpec, settings: FeedSettings, dialect: Dialect, limits: WebSocketLimits | None
    ) -> None:
        self.markets = {market.native: market for market in spec.markets}
        self.state = ConnectionState()
        self.at: dict[ConnectionStep, float] = {}
        self.details: dict[ConnectionStep, tuple[str, ...]] = {}
        self.requests, self.requested, self.requested_at = 0, set[str](), -math.inf
        self.first: FirstTrade | None = None
        self.traded: set[str] = set()
        self.timed, self.lag_ns = 0, math.inf
        self.resent = self.rejects = 0
        self.reject = ""
        self._spec, self._settings, self._dialect, self._limits = spec, settings, dialect, limits
        self._by_symbol = {market.symbol: market for market in spec.markets}
        promises = {s: dialect.ids.get(parse_symbol(s).kind, IdPromise.OPAQUE) for s in self._by_symbol}
        self._continuity = Continuity(settings.name, promises)
        # Its content is taken after each read, so nothing goes into the mailbox.
        mailbox: Mailbox[Chunk] = Mailbox(1, on_dead_letter=lambda *_: None)
        self._accumulator = Accumulator(settings.name, Account(), mailbox, lambda _: None, self._continuity)
        self._session: Session | None = None
        self._ended: Exception | None = None
        self._news = trio.Event()

    @property
    def subscription(self) -> Subscription:
        """The session's subscription, once it is connected."""
        assert self._session is not None
        return self._session.subscription

    async def run(self) -> None:
        """Runs the session until it ends or is cancelled; `until` raises what ended it."""
        try:
            await self._run_session()
        except Exception as error:
            if classify(error)[0] is Verdict.BUG:
                raise
            self._ended = self._explained(leaves(error)[0])
        self._take_rest()
        self._tell()

    async def _run_session(self) -> None:
        request = self._dialect.token_at(self._spec.endpoint)
        rest_url, ca_file = self._settings.rest_url, self._settings.ca_file
        token = await TokenSource(request, rest_url=rest_url, ca_file=ca_file).get() if request else None
        self._session = Session(
            self._spec,
            self._settings,
            self._dialect,
            self.state,
            self._accumulator,
            self._continuity,
            Context(self._spec.name),
            token=token,
            observe=self._observe,
            limits=self._limits,
        )
        await self._session.run()

    async def until(self, true: Callable[[], object], at: float = math.inf) -> bool:
        """Waits for the condition, at most until `at` on trio's clock; raises an error that ends the session
        meanwhile.
        """
        with trio.move_on_at(at):
            while not true():
                if self._ended is not None:
                    raise self._ended
                self._news = trio.Event()
                await self._news.wait()
        return bool(true())

    def _observe(self, step: ConnectionStep, detail: tuple[str, ...]) -> None:
        now = trio.current_time()
        self.at.setdefault(step, now)
        self.details.setdefault(step, detail)
        if step is ConnectionStep.REQUESTED:
            self.requests += 1
            self.requested |= set(detail)
            self.requested_at = now
        elif step is ConnectionStep.READ:
            self._take_rest()
        self._tell()

    def _take_rest(self) -> None:
        chunk = self._accumulator.rest()
        if chunk is None:
            return
        if chunk.rejects and not self.rejects:
            first = chunk.rejects[0]
            self.reject = f"{first.reason}: {first.detail}"
        self.rejects += len(chunk.rejects)
        self._take_trades(chunk.block)

    def _take_trades(self, block: Block) -> None:
        for row, source in enumerate(block.source):
            if source != STREAM:
                self.resent += 1
                continue
            symbol, exchange_ns, received_ns = block.symbol[row], block.exchange_ns[row], block.received_ns[row]
            self.traded.add(symbol)
            if exchange_ns is not None:
                self.timed += 1
                self.lag_ns = min(self.lag_ns, received_ns - exchange_ns)
            if self.first is None:
                at = trio.current_time() - (time.time_ns() - received_ns) / 1e9
                self.first = FirstTrade(
                    self._by_symbol[symbol], block.trade_id[row], exchange_ns, block.price[row], at
                )

    def _explained(self, error: BaseException) -> Exception:
        """A closed connection with the exchange's announcement, any other error unchanged."""
        assert isinstance(error, Exception)
        if isinstance(error, ConnectionLost) and self.state.leaving:
            return ConnectionLost(error.code, "; ".join(filter(None, [error.reason, self.state.leaving])))
        return error

    def _tell(self) -> None:
        self._news.set()
