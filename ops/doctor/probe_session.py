"""One conversation with an exchange: what was asked, what it answered, and the trades that came. Stores nothing."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import trio

from actors.exchanges.contract.feed import Ack, Condition, Dialect, Leaving, Market, Refusal, Request, Unsubscribed
from actors.feed.connection_state import WATCH_S
from actors.feed.decoder import Decoder
from actors.feed.keep_alive import keep_alive
from actors.feed.sharding import ConnectionSpec
from actors.feed.subscription import Subscription
from actors.model.ticks import Block
from actors.settings import ExchangeSettings
from actors.wire.websocket import ConnectionLost, WebSocket
from supervisor import TransientError

STREAM = "stream"  # the source of a live trade; others were re-sent on subscribe


@dataclass(frozen=True, slots=True)
class FirstTrade:
    """The first live trade; `at` on trio's clock, `exchange_ns` None where the exchange sends no time."""

    market: Market
    trade_id: str | None
    exchange_ns: int | None
    price: str
    at: float


class Talk:
    """What has been said on one connection so far; `sink` takes in what comes.

    `traded` holds the symbols with live trades, `timed` how many of these told their time, `lag_ns` the least
    from such a trade's time to its receipt; `rejects` are what could not be read, the first in words;
    `condition` is what the exchange says of its own state, "" where that is normal.
    """

    def __init__(self, plan: ConnectionSpec, settings: ExchangeSettings, dialect: Dialect) -> None:
        self.markets = {market.native: market for market in plan.markets}
        self.by_symbol = {market.symbol: market for market in plan.markets}
        names = {market.native: market.symbol for market in plan.markets}
        channel = settings.channel or dialect.channels[0]
        self.subscription = Subscription(dialect, list(self.markets), channel)
        self.first: FirstTrade | None = None
        self.traded: set[str] = set()
        self.timed, self.lag_ns = 0, math.inf
        self.resent = self.rejects = 0
        self.reject = ""
        self.asked_at = self.first_asked_at = -math.inf
        self._name, self._dialect = settings.name, dialect
        self._reader = Decoder(settings.name, dialect, names, dialect.decoder_for(self.markets))
        self._reader.requested(names, time.time_ns())
        self.condition = ""
        self._leaving = ""
        self._lost: TransientError | None = None
        self._news = trio.Event()

    async def sink(self, messages: list[bytes], received_ns: int) -> None:
        """For `connect`: reads messages into a block that nobody keeps."""
        while messages:
            messages = messages[self._portion(messages, received_ns) :]
            await trio.lowlevel.checkpoint()

    def _portion(self, messages: list[bytes], received_ns: int) -> int:
        block, now = Block(self._name), trio.current_time()
        outcome = self._reader.read(messages, received_ns, block)
        for control in outcome.controls:
            match control:
                case Ack():
                    self.subscription.acknowledged(control, now)
                case Refusal():
                    self._reader.seen -= {*self.subscription.refuse(control, now)}
                case Unsubscribed():
                    self.subscription.unsubscribed(control.natives, now, "ended by the exchange")
                case Condition():
                    self.condition = control.words
                case Leaving():
                    self._leaving = control.reason
        self.subscription.delivered(self._reader.seen, now)
        if outcome.rejects and not self.rejects:
            worst = outcome.rejects[0]
            self.reject = f"{worst.reason}: {worst.detail}"
        self.rejects += len(outcome.rejects)
        self._take(block)
        self._tell()
        return outcome.messages

    def _take(self, block: Block) -> None:
        for row, source in enumerate(block.source):
            if source != STREAM:
                self.resent += 1
                continue
            symbol, exchange_ns = block.symbol[row], block.exchange_ns[row]
            self.traded.add(symbol)
            if exchange_ns is not None:
                self.timed += 1
                self.lag_ns = min(self.lag_ns, block.received_ns[row] - exchange_ns)
            if self.first is None:
                market = self.by_symbol[symbol]
                self.first = FirstTrade(
                    market, block.trade_id[row], exchange_ns, block.price[row], trio.current_time()
                )

    async def subscribe(self, wire: WebSocket) -> int:
        """Asks for everything, no faster than the exchange allows; returns how many requests that took."""
        count = 0
        while request := await self._next():
            await self._ask(wire, request)
            count += 1
        return count

    async def settle(self, wire: WebSocket) -> None:
        """Until each market has its answer or none came for the exchange's `ack_s`; asks again where it helps."""
        subscription = self.subscription
        while subscription.pending.keys() - subscription.unanswered.keys():
            if request := await self._next():
                await self._ask(wire, request)
            else:
                await self.until(lambda: not subscription.pending, trio.current_time() + WATCH_S)

    async def _next(self) -> Request | None:
        """What is to be asked for by now."""
        await trio.sleep_until(self.asked_at + 1 / self._dialect.limits.requests_per_s)
        return self.subscription.next(trio.current_time())

    async def _ask(self, wire: WebSocket, request: Request) -> None:
        self._reader.requested(request.natives, time.time_ns())
        self.asked_at = trio.current_time()
        if math.isinf(self.first_asked_at):
            self.first_asked_at = self.asked_at
        if self._lost is not None:
            raise self._lost
        await wire.send(request.text)

    async def until(self, true: Callable[[], object], at: float) -> bool:
        """Waits until it is so, at most until `at` on trio's clock; raises what ends the connection meanwhile."""
        with trio.move_on_at(at):
            while not true():
                if self._lost is not None:
                    raise self._lost
                self._news = trio.Event()
                await self._news.wait()
        return bool(true())

    async def follow(self, wire: WebSocket) -> None:
        """Runs beside: notes how the connection ends."""
        how = await wire.closed()
        words = "; ".join(filter(None, [how.reason, self._leaving]))
        self._lost = ConnectionLost(how.code, words)
        self._tell()

    async def ping(self, wire: WebSocket) -> None:
        """Runs beside: the pings in the exchange's own words; how the connection ends is `follow`'s to note."""
        if self._dialect.ping is not None:
            try:
                await keep_alive(wire, self._dialect.ping)
            except TransientError as error:
                self._lost = error
                self._tell()

    def _tell(self) -> None:
        self._news.set()
