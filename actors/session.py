"""One life of a connection: connect, subscribe, read, and watch over silence and answers until it ends."""

import math
import time
from collections.abc import Iterable, Sequence

import trio

from actors.decoding import Reader
from actors.dialect import Ack, Leaving, Refusal, Request
from actors.line import WATCH_S, Line
from actors.subscription import Subscription
from actors.wire import ConnectionLost, Wire, WireLimits, client_context, connect
from supervisor.context import Context
from supervisor.failures import Weather

ASK_AGAIN_S = 2.0  # after a market was refused by name, how long the others of its request may go unanswered
REFUSALS_TOLD_MAX = 50  # different words of refusal that become events, a connection
REQUESTS_MAX = 10_000  # that wait to be sent; a connection has fewer markets, and each is asked for once or twice


class Silent(Weather):
    """Nothing at all came for longer than the exchange's silence deadline."""


class NotSubscribed(Weather):
    """The exchange answered no subscription and sent no data."""


class Session:
    """Raises what ended it; ends in order when the context is asked to stop."""

    def __init__(self, line: Line, context: Context) -> None:
        self._line, self._context = line, context
        self._dialect, self._settings, self._catch = line.dialect, line.settings, line.catch
        channel = self._settings.channel or self._dialect.channels[0]
        self._subscription = Subscription(self._dialect, list(line.symbols), channel)
        self._reader = Reader(self._settings.name, self._dialect, line.symbols)
        self._reader.subscribed_ns = time.time_ns()  # re-sent trades can come before anything was asked
        self._outgoing, self._requests = trio.open_memory_channel[Request](REQUESTS_MAX)
        self._asked_at = self._ask_again_at = math.inf
        self._told: set[str] = set()
        self._known = 0

    async def run(self) -> None:
        silence_s = self._settings.silence_s or self._dialect.silence_s
        limits = WireLimits(message_bytes=self._dialect.limits.message_bytes)
        tls = client_context(self._settings.ca_file) if self._line.plan.url.startswith("wss:") else None
        async with connect(self._line.plan.url, sink=self._sink, limits=limits, ssl_context=tls) as wire:
            self._line.opened()
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._catch.hand_over_by_age)
                    nursery.start_soon(self._subscribe, wire)
                    nursery.start_soon(self._watch, wire, silence_s)
                    if self._dialect.ping is not None:
                        nursery.start_soon(self._ping, wire, self._dialect.ping.text, self._dialect.ping.interval_s)
                    nursery.start_soon(self._end_with, wire)
                    await self._context.stopping.wait()
                    nursery.cancel_scope.cancel()
            finally:
                if wire.violation is not None:
                    self._catch.take_violation(wire.violation)

    async def _sink(self, messages: list[bytes], received_ns: int) -> None:
        outcome = self._catch.take(messages, received_ns, self._reader)
        for control in outcome.controls:
            if isinstance(control, Ack):
                self._subscription.acknowledged(control)
            elif isinstance(control, Refusal):
                self._refused(control)
            elif isinstance(control, Leaving):
                self._line.leaving = control.reason or "it said so"
                self._context.note("leaving", control.reason)
        known = len(self._subscription.confirmed) + len(self._reader.seen)
        if known != self._known:
            self._known = known
            self._carry()
        if outcome.ticks:
            self._context.healthy()
            self._context.handled(outcome.ticks)
        await self._hand_over()

    async def _hand_over(self) -> None:
        """What was not read while the buffer was full is our doing, not the exchange's silence."""
        line, since, begun_at = self._line, self._line.reading_since, trio.current_time()
        line.reading_since, line.blocked_at = math.inf, begun_at
        await self._catch.hand_over_if_due()
        line.blocked_at = math.inf
        now = trio.current_time()
        line.reading_since = now if now - begun_at > WATCH_S else since

    def _carry(self) -> None:
        """Notes which markets this connection delivers now."""
        line = self._line
        if len(line.since) == len(line.symbols):
            return
        natives = self._subscription.confirmed | self._reader.seen
        symbols = {line.symbols[native] for native in natives if native in line.symbols} - line.since.keys()
        line.continuity.connected(symbols, time.time_ns())
        line.since.update(dict.fromkeys(symbols, trio.current_time()))

    def _drop(self, natives: Iterable[str]) -> None:
        """Markets that were delivered and are refused from now on."""
        symbols = self._line.since.keys() & {self._line.symbols.get(native, "") for native in natives}
        for symbol in symbols:
            del self._line.since[symbol]
        self._line.continuity.disconnected(symbols, time.time_ns())

    def _refused(self, refusal: Refusal) -> None:
        if refusal.reason not in self._told and len(self._told) < REFUSALS_TOLD_MAX:
            self._told.add(refusal.reason)
            self._context.note("refused", refusal.reason)
        self._send(self._subscription.refuse(refusal))
        self._drop(self._subscription.refused)
        self._reader.seen -= self._subscription.refused.keys()  # only trades that come from now on prove it wrong
        self._ask_again_at = trio.current_time() + ASK_AGAIN_S

    def _send(self, requests: Sequence[Request]) -> None:
        for request in requests:
            self._outgoing.send_nowait(request)

    async def _subscribe(self, wire: Wire) -> None:
        """Sends requests no faster than the exchange allows; refused ones come back in parts."""
        self._send(self._subscription.requests())
        async for request in self._requests:
            self._reader.subscribed_ns = time.time_ns()
            self._asked_at = trio.current_time()
            await wire.send(request.text)
            await trio.sleep(1 / self._dialect.limits.requests_per_s)

    async def _ping(self, wire: Wire, text: str, interval_s: float) -> None:
        while True:
            await trio.sleep(interval_s)
            await wire.send(text)

    async def _end_with(self, wire: Wire) -> None:
        how = await wire.closed()
        raise ConnectionLost(how.code, how.reason)

    async def _watch(self, wire: Wire, silence_s: float) -> None:
        """Ends a connection on which nothing moves, and says in health what was refused or not answered."""
        said = ""
        while True:
            await trio.sleep(min(WATCH_S, silence_s / 4))
            now = trio.current_time()
            if now - max(wire.stats.last_frame_at, self._line.reading_since) > silence_s:
                raise Silent(f"nothing came from {self._settings.name} for {silence_s:g} s")
            self._note_heard(now)
            if trio.current_time() >= self._ask_again_at:
                self._ask_again_at = math.inf
                self._send(self._subscription.again())
            amiss = self._amiss()
            if amiss != said:
                said = amiss
                if amiss:
                    self._context.degraded(amiss)
            if not amiss and not self._subscription.pending:
                self._context.ok()

    def _note_heard(self, now: float) -> None:
        """Which markets had trades since the last look."""
        seen = self._reader.seen
        self._carry()
        self._subscription.delivered(seen)
        self._line.heard.update((self._line.symbols[native], now) for native in seen)
        seen.clear()

    def _amiss(self) -> str:
        """What is wrong with the subscription, in words; "" when nothing is."""
        symbols, subscription = self._line.symbols, self._subscription
        parts = [f"{symbols.get(n, n)} refused: {why}" for n, why in subscription.refused.items()]
        late = trio.current_time() - self._asked_at > self._dialect.ack_s
        if late and subscription.pending:
            if not subscription.confirmed and not subscription.refused:
                raise NotSubscribed(f"no answer to the subscription within {self._dialect.ack_s:g} s")
            names = ", ".join(symbols[native] for native in list(subscription.pending)[:10])
            parts.append(f"no answer to the subscription of {names}")
        return "; ".join(parts)
