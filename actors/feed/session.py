"""One life of a connection: connect, subscribe, read, and watch over silence and answers until it ends."""

import math
import time
from collections import deque
from collections.abc import Collection, Iterable, Sequence

import trio

from actors.exchanges.contract.feed import Ack, Condition, Control, Leaving, Refusal, Unsubscribed
from actors.feed.connection_state import STRAGGLERS_S, WATCH_S, ConnectionState
from actors.feed.decoder import Decoder
from actors.feed.keep_alive import keep_alive
from actors.feed.subscription import Subscription
from actors.wire.websocket import ConnectionLost, WebSocket, WebSocketLimits, client_context, connect
from supervisor import Context, TransientError

REFUSALS_TOLD_MAX = 50  # different words of refusal that name no market and become events, a connection
HOUR_S = 3600.0
NAMES_MAX = 5  # markets that health names for one reason
UNSUBSCRIBED = "unsubscribed by the exchange"


class Silent(TransientError):
    """Nothing at all came for longer than the exchange's silence deadline."""


class NotSubscribed(TransientError):
    """The exchange answered no subscription and sent no data."""


class Session:
    """Raises what ended it; ends in order when the context is asked to stop."""

    def __init__(self, line: ConnectionState, context: Context) -> None:
        self._line, self._context = line, context
        self._dialect, self._settings, self._catch = line.dialect, line.settings, line.catch
        channel = self._settings.channel or self._dialect.channels[0]
        self._subscription = Subscription(self._dialect, list(line.symbols), channel)
        self._reader = Decoder(self._settings.name, self._dialect, line.symbols)
        self._reader.subscribed_ns = time.time_ns()  # re-sent trades can come before anything was asked
        self._asked_at = math.inf
        self._news = trio.Event()  # there may be something to send
        self._told: set[str] = set()
        self._known = 0

    async def run(self) -> None:
        silence_s = self._settings.silence_s or self._dialect.silence_s
        limits = WebSocketLimits(message_bytes=self._dialect.limits.message_bytes)
        tls = client_context(self._settings.ca_file) if self._line.plan.url.startswith("wss:") else None
        async with connect(self._line.plan.url, sink=self._sink, limits=limits, ssl_context=tls) as wire:
            self._line.opened()
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._catch.hand_over_by_age)
                    nursery.start_soon(self._subscribe, wire)
                    nursery.start_soon(self._watch, wire, silence_s)
                    if self._dialect.ping is not None:
                        nursery.start_soon(keep_alive, wire, self._dialect.ping)
                    nursery.start_soon(self._end_with, wire)
                    await self._context.stopping.wait()
                    nursery.cancel_scope.cancel()
            finally:
                if wire.violation is not None:
                    self._catch.take_violation(wire.violation)

    async def _sink(self, messages: list[bytes], received_ns: int) -> None:
        """Takes one read, in portions where much of it is no sound trade: others get their turn in between."""
        while True:
            taken = await self._portion(messages, received_ns)
            if taken >= len(messages):
                return
            messages = messages[taken:]
            await trio.lowlevel.checkpoint()

    async def _portion(self, messages: list[bytes], received_ns: int) -> int:
        outcome = self._catch.take(messages, received_ns, self._reader)
        for control in outcome.controls:
            self._take(control)
        known = len(self._subscription.confirmed) + len(self._reader.seen)
        if known != self._known:
            self._known = known
            self._carry()
        if outcome.ticks:
            self._context.healthy()
            self._context.handled(outcome.ticks)
        await self._hand_over()
        return outcome.messages

    def _take(self, control: Control) -> None:
        subscription, now = self._subscription, trio.current_time()
        match control:
            case Ack():
                self._ended(subscription.acknowledged(control, now), UNSUBSCRIBED)
            case Refusal():
                self._refused(control)
            case Unsubscribed():
                words = f"{UNSUBSCRIBED}: {control.reason}" if control.reason else UNSUBSCRIBED
                self._ended(control.natives or subscription.confirmed.copy(), words)
            case Condition():
                halted = self._line.halted
                self._line.says(control)
                if halted and not self._line.halted:
                    subscription.hurry(now)
            case Leaving():
                words = control.reason or "it said so"
                if words != self._line.leaving:
                    self._line.leaving = words
                    self._context.note("leaving", control.reason)

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
        self._subscription.delivered(self._reader.seen, trio.current_time())
        symbols = {line.symbols[native] for native in self._subscription.confirmed} - line.since.keys()
        line.continuity.connected(symbols, time.time_ns())
        line.since.update(dict.fromkeys(symbols, trio.current_time()))

    def _drop(self, natives: Iterable[str], event: str, words: str) -> None:
        """Markets without a subscription from now on: an event for each, once until it has one again."""
        line = self._line
        for native in natives:
            self._reader.seen.discard(native)  # only trades that come from now on prove it wrong
            symbol = line.symbols[native]
            if symbol not in line.told:
                line.told[symbol] = words
                self._context.note(event, words if symbol in words else f"{symbol}: {words}", symbol=symbol)
            if line.since.pop(symbol, None) is not None:
                line.continuity.disconnected([symbol], time.time_ns())
        self._news.set()

    def _refused(self, refusal: Refusal) -> None:
        natives = self._subscription.refuse(refusal, trio.current_time())
        if refusal.reason not in self._told and len(self._told) < REFUSALS_TOLD_MAX:
            self._told.add(refusal.reason)
            if not natives:
                self._context.note("refused", refusal.reason)
        self._drop(natives, "refused", refusal.reason)

    def _ended(self, natives: Collection[str], words: str) -> None:
        ended = self._subscription.unsubscribed(natives, trio.current_time(), words) if natives else []
        self._drop(ended, "unsubscribed", words)

    async def _subscribe(self, wire: WebSocket) -> None:
        """Sends requests no faster than the exchange allows, and again what is refused or not answered."""
        limits = self._dialect.limits
        sent: deque[float] = deque()  # in the last hour
        while True:
            self._news, now = trio.Event(), trio.current_time()
            while sent and now - sent[0] >= HOUR_S:
                sent.popleft()
            request = self._subscription.next(now) if len(sent) < limits.requests_per_hour else None
            if request is None:
                await self._news.wait()
                continue
            self._reader.subscribed_ns = time.time_ns()
            self._asked_at = now
            sent.append(now)
            await wire.send(request.text)
            await trio.sleep(1 / limits.requests_per_s)

    async def _end_with(self, wire: WebSocket) -> None:
        how = await wire.closed()
        raise ConnectionLost(how.code, how.reason)

    async def _watch(self, wire: WebSocket, silence_s: float) -> None:
        """Ends a connection on which nothing moves, and says in health what was refused or not answered."""
        said = ""
        while True:
            await trio.sleep(min(WATCH_S, silence_s / 4))
            now = trio.current_time()
            if now - max(wire.stats.last_frame_at, self._line.reading_since) > silence_s:
                raise Silent(f"nothing came from {self._settings.name} for {silence_s:g} s")
            self._note_heard(now)
            self._news.set()  # something may be due by now
            amiss = self._amiss()
            if amiss != said:
                said = amiss
                if amiss:
                    self._context.degraded(amiss)
            if not amiss and not self._subscription.pending:
                self._context.ok()

    def _note_heard(self, now: float) -> None:
        """Which markets had trades since the last look."""
        seen, line = self._reader.seen, self._line
        self._carry()
        line.heard.update((line.symbols[native], now) for native in seen)
        if seen and now - line.halted_at > STRAGGLERS_S:
            line.matches()
        seen.clear()

    def _amiss(self) -> str:
        """What is wrong with the subscription and the connection, in words; "" when nothing is."""
        symbols, subscription, line = self._line.symbols, self._subscription, self._line
        late = trio.current_time() - max(self._asked_at, line.matching_since) > self._dialect.ack_s
        if late and not subscription.answered and not line.halted:
            raise NotSubscribed(f"no answer to the subscription within {self._dialect.ack_s:g} s")
        line.told = {symbol: why for symbol, why in line.told.items() if symbol not in line.since}
        refused = [f"{symbols[native]} refused: {why}" for native, why in subscription.refused.items()]
        held: dict[str, list[str]] = {}
        for native, why in subscription.held.items():
            held.setdefault(why, []).append(symbols[native])
        parts = _few(refused, " refused")
        parts += [f"{', '.join(_few(names))}: {why}; asked for again" for why, names in held.items()]
        silent = [symbols[native] for native in subscription.unanswered if native not in subscription.held]
        if silent:
            parts.append(f"no answer to the subscription of {', '.join(_few(silent))}")
        if line.leaving:
            parts.append(f"{self._settings.name} is about to close this connection: {line.leaving}")
        return "; ".join(parts)


def _few(texts: Sequence[str], what: str = "") -> list[str]:
    """The first NAMES_MAX, and how many there are beyond."""
    more = len(texts) - NAMES_MAX
    return [*texts[:NAMES_MAX], f"{more} more{what}"] if more > 0 else list(texts)
