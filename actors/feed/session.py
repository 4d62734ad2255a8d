"""One connection attempt: connects, subscribes, reads, and ends when the exchange stays silent."""

import math
import time
from collections.abc import Awaitable, Collection, Iterable, Sequence
from functools import partial

import trio

from actors.continuity.continuity import Continuity
from actors.exchanges.contract.feed import (
    Ack,
    CloseNotice,
    Condition,
    Control,
    Dialect,
    Market,
    Refusal,
    Reply,
    Request,
    Token,
    Unsubscribed,
    Welcome,
)
from actors.feed.accumulator import Accumulator
from actors.feed.connection_state import CALM_S, WATCH_S, ConnectionState
from actors.feed.decoder import Decoder
from actors.feed.keep_alive import Replies, keep_alive
from actors.feed.set_aside import REASON, SetAside
from actors.feed.sharding import ConnectionSpec, redirected
from actors.feed.subscription import Subscription
from actors.feed.ticker import Repeated, ticker
from actors.settings import FeedSettings
from actors.wire.observer import ConnectionStep, Observer
from actors.wire.websocket import (
    ENDED_WITHOUT_CLOSE,
    Connect,
    WebSocket,
    WebSocketLimits,
    WebSocketStats,
    client_context,
    connect,
)
from supervisor import Context, TransientError

REFUSALS_REPORTED_MAX = 50  # per connection: how many different refusals without a market become events
NAMES_MAX = 5  # markets that health names per reason
UNSUBSCRIBED = "unsubscribed by the exchange"
LEFT_OUT = "missing from the exchange's answer"


class Silent(TransientError):
    """Nothing was received for longer than the exchange's silence deadline."""


class NotSubscribed(TransientError):
    """The exchange answered no subscription and sent no data."""


class Session:
    """Created for one `run`, which raises the error that ended it, and returns when the context is asked to stop.

    It writes to `state` and `continuity`; ticks go to `accumulator`. `set_aside` outlives it; `token` is the URL to
    use instead of `spec.url`. `observe` is called at each step, for diagnosis; `limits` are those of the WebSocket,
    by default the dialect's.
    """

    def __init__(
        self,
        spec: ConnectionSpec,
        settings: FeedSettings,
        dialect: Dialect,
        state: ConnectionState,
        accumulator: Accumulator,
        continuity: Continuity,
        context: Context,
        *,
        set_aside: SetAside | None = None,
        token: Token | None = None,
        observe: Observer | None = None,
        limits: WebSocketLimits | None = None,
        connect: Connect = connect,
    ) -> None:
        self.spec, self.settings, self.continuity = spec, settings, continuity
        self._dialect, self._state, self._context = dialect, state, context
        self._accumulator, self._observe = accumulator, observe
        self._connect = connect
        self._limits = limits or WebSocketLimits(message_bytes=dialect.limits.message_bytes)
        self._symbols = {market.native: market.symbol for market in spec.markets}
        self._subscription = Subscription(dialect, list(self._symbols), settings.channel, set_aside)
        self._replies, self._welcomed = Replies(), trio.Event()
        self._url = redirected(token.url, settings.ws_url) if token else spec.url
        self._ping_s = token.ping_interval_s if token else None
        feed = dialect.decoder_for({market.native: market for market in spec.markets})
        self._decoder = Decoder(settings.name, dialect, self._symbols, feed)
        self._decoder.requested(self._symbols, time.time_ns())  # replayed trades can arrive before any request
        self._requested_at = math.inf
        self._requesting = True  # a task sends requests; the first one begins with the connection
        self._sent: list[float] = []  # when requests were sent, within the window of the limit
        self._failure: Exception | None = None
        self._opened: tuple[trio.Nursery, WebSocket] | None = None  # while the connection is open
        self._watching: Repeated | None = None
        self._refusals: set[str] = set()  # reasons that became events
        self._reported = ""  # the problems that health shows

    @property
    def subscription(self) -> Subscription:
        """The requested markets, and the answers."""
        return self._subscription

    def add(self, markets: Sequence[Market]) -> None:
        """Subscribes more markets on the open connection."""
        self._symbols.update((market.native, market.symbol) for market in markets)
        self._subscription.add([market.native for market in markets], trio.current_time())
        self._request_due()

    def remove(self, symbols: Collection[str], *, silently: bool) -> None:
        """Unsubscribes markets. What of them is still on its way is read as before."""
        natives = [native for native, symbol in self._symbols.items() if symbol in symbols]
        self._subscription.remove(natives, trio.current_time(), silently=silently)
        self._request_due()

    async def run(self) -> None:
        tls = client_context(self.settings.ca_file) if self._url.startswith("wss:") else None
        opening = self._connect(
            self._url,
            sink=self._read,
            limits=self._limits,
            headers=self._dialect.headers,
            ssl_context=tls,
            observe=self._observe,
        )
        async with opening as wire:
            self._state.opened()
            try:
                async with trio.open_nursery() as nursery:
                    self._opened = nursery, wire
                    try:
                        self._accumulator.decode = self._decode_for_others
                        wire.when_ended(self._fail)
                        self._watch(wire.stats)
                        nursery.start_soon(self._subscribe, wire)
                        if ping := self._dialect.ping_at(self.spec.endpoint):
                            nursery.start_soon(keep_alive, wire, ping, self._ping_s)
                        nursery.start_soon(self._replies.send_to, wire)
                        await self._context.stopping.wait()
                    finally:
                        self._opened = None  # reads go on while the nursery closes, and it takes no task then
                        if self._failure is not None:
                            raise self._failure
                    nursery.cancel_scope.cancel()
            finally:
                if self._watching is not None:
                    self._watching.end()
                try:
                    await self._decode_rest()
                finally:
                    if wire.violation is not None:
                        self._accumulator.take_violation(wire.violation)
                    if wire.ended is not None and (wire.ended.code == ENDED_WITHOUT_CLOSE or not wire.ended.reason):
                        self._lost(self._subscription.closed(trio.current_time()), "refused", REASON)

    def _read(self, messages: list[bytes], received_ns: int) -> Awaitable[None] | None:
        """Accepts one read. Returns what must be awaited before more is read: None if there is room."""
        accumulator = self._accumulator
        if not (accumulator.add(messages, received_ns) or self._subscription.pending or self._observe):
            return None
        self._decode()
        if accumulator.waiting or (accumulator.full and not accumulator.hand_over_now()):
            return self._catch_up()
        return None

    async def _catch_up(self) -> None:
        """Decodes the rest of a read of which much is invalid, so that other tasks get their turn in between, and
        waits until the buffer has room.

        What is not read while the buffer is full is our own delay, not the exchange's silence.
        """
        while self._accumulator.waiting:
            await trio.lowlevel.checkpoint()
            self._decode()
        if self._accumulator.full:
            self._state.blocked()
            await self._accumulator.hand_over()
            self._state.unblocked()

    def _decode(self) -> None:
        """Decodes what was read; a part of it if much of it is invalid."""
        if not self._accumulator.waiting:
            return
        outcome = self._accumulator.take(self._decoder, self._note_first)
        for control in outcome.controls:
            self._handle(control)
        # Only now: a trade does not disprove a refusal of the same read, as they may have come in any order.
        if outcome.controls or not self._decoder.seen <= self._subscription.confirmed:
            self._note_subscribed()
        if outcome.ticks:
            self._context.healthy()
            self._context.handled(outcome.ticks)
        if self._observe is not None:
            self._observe(ConnectionStep.READ, ())

    def _decode_for_others(self) -> None:
        """Decodes for a caller that must not see our errors: they end this session."""
        try:
            self._decode()
            self._note_traded(trio.current_time())
        except Exception as error:  # noqa: BLE001 - raised by `run`
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        """Ends the session, for callers other than its own tasks: `run` raises the first such error."""
        self._failure = self._failure or error
        if self._opened is not None:
            self._opened[0].cancel_scope.cancel()

    def _handle(self, control: Control) -> None:
        subscription, now = self._subscription, trio.current_time()
        match control:
            case Ack():
                left_out = subscription.left_out(control)
                self._unsubscribed(subscription.acknowledged(control, now), UNSUBSCRIBED)
                if left_out:
                    self._refused(Refusal(LEFT_OUT, left_out))
            case Refusal():
                self._refused(control)
            case Unsubscribed():
                reason = f"{UNSUBSCRIBED}: {control.reason}" if control.reason else UNSUBSCRIBED
                self._unsubscribed(control.natives or subscription.confirmed.copy(), reason)
            case Condition():
                halted = self._state.halted
                self._state.announced(control)
                if halted and not self._state.halted:
                    subscription.hurry(now)
            case CloseNotice():
                if self._state.will_close(control.reason or "announced by the exchange"):
                    self._context.note("leaving", control.reason)
            case Reply():
                if self._replies.add(control.text) and self._opened is not None:
                    nursery, wire = self._opened
                    nursery.start_soon(self._replies.send_to, wire)
            case Welcome():
                self._welcomed.set()

    def _note_first(self) -> None:
        """Notes which markets this connection delivers, before their first trades are admitted."""
        if not self._complete:
            self._delivers(self._subscription.proved(self._decoder.seen))

    def _note_subscribed(self) -> None:
        """Notes which markets are subscribed, by their acknowledgement or their trades."""
        self._subscription.delivered(self._decoder.seen, trio.current_time())
        if not self._complete:
            self._delivers(self._subscription.confirmed)

    @property
    def _complete(self) -> bool:
        """Whether every market is delivered."""
        return len(self._state.since) == len(self._symbols)

    def _delivers(self, natives: Iterable[str]) -> None:
        state = self._state
        symbols = {self._symbols[native] for native in natives} - state.since.keys() - state.given_up
        if symbols:
            self.continuity.connected(symbols, time.time_ns(), self._accumulator.session)
            state.delivers(symbols)

    def _lost(self, natives: Iterable[str], event: str, reason: str) -> None:
        """These markets have no subscription from now on: one event for each, until it has one again."""
        for native in natives:
            self._decoder.seen.discard(native)  # only trades received from now on prove it wrong
            symbol = self._symbols[native]
            news, delivered = self._state.lost(symbol, reason)
            if news:
                self._context.note(event, reason if symbol in reason else f"{symbol}: {reason}", symbol=symbol)
            if delivered:
                self.continuity.disconnected([symbol], time.time_ns(), session=self._accumulator.session)
        self._request_due()

    def _refused(self, refusal: Refusal) -> None:
        natives = self._subscription.refuse(refusal, trio.current_time())
        if refusal.reason not in self._refusals and len(self._refusals) < REFUSALS_REPORTED_MAX:
            self._refusals.add(refusal.reason)
            if not natives:
                self._context.note("refused", refusal.reason)
        self._lost(natives, "refused", refusal.reason)

    def _unsubscribed(self, natives: Collection[str], reason: str) -> None:
        ended = self._subscription.unsubscribed(natives, trio.current_time(), reason) if natives else []
        self._lost(ended, "unsubscribed", reason)

    async def _subscribe(self, wire: WebSocket) -> None:
        """Opens the exchange's own protocol, and sends the first requests."""
        await trio.sleep(self._dialect.settle_s)
        if self._dialect.waits_for_welcome:
            with trio.move_on_after(self._dialect.ack_s):
                await self._welcomed.wait()
            if not self._welcomed.is_set():
                raise NotSubscribed(f"{self.settings.name} sent no welcome within {self._dialect.ack_s:g} s")
        for text in self._dialect.opening:
            self._sent.append(trio.current_time())
            await wire.send(text)
            await trio.sleep(1 / self._dialect.limits.requests_per_s)
        await self._send_requests(wire)

    def _request_due(self) -> None:
        """Has requests sent, as there may be some."""
        if self._opened is not None and not self._requesting:
            self._requesting = True
            nursery, wire = self._opened
            nursery.start_soon(self._send_requests, wire)

    async def _send_requests(self, wire: WebSocket) -> None:
        """Sends the requests that are due, no faster than the exchange allows."""
        while True:
            if not self._subscription.acknowledges:  # trades confirm a request, but none that were read before
                self._decode()
                self._note_traded(trio.current_time())
            if (request := self._next_request()) is None:
                break
            self._decoder.requested(request.natives, time.time_ns())
            now = trio.current_time()
            if request.natives:
                self._requested_at = now
            self._sent.append(now)
            await wire.send(request.text)
            if self._observe is not None:
                self._observe(ConnectionStep.REQUESTED, tuple(request.natives))
            await trio.sleep(1 / self._dialect.limits.requests_per_s)
        self._requesting = False

    def _next_request(self) -> Request | None:
        limits, now = self._dialect.limits, trio.current_time()
        self._sent = [at for at in self._sent if now - at < limits.requests_window_s]
        return self._subscription.next(now) if len(self._sent) < limits.requests_max else None

    async def _decode_rest(self) -> None:
        """At the end of the session: what was read belongs to it."""
        self._accumulator.decode = None
        while self._accumulator.waiting:
            self._decode()
            await trio.lowlevel.cancel_shielded_checkpoint()

    def _watch(self, stats: WebSocketStats) -> None:
        calm = self._calm
        every_s = min(CALM_S if calm else WATCH_S, self.settings.silence_s / 4)
        self._watching = ticker().start(partial(self._check, stats, calm), every_s, self._fail)

    @property
    def _calm(self) -> bool:
        """Whether nothing but silence can be due."""
        return self._subscription.settled and not self._reported

    def _check(self, stats: WebSocketStats, calm: bool, now: float) -> bool:
        """Ends a silent connection, decodes what has waited, reports refused and unanswered requests in health.
        Returns whether it goes on in another rhythm, being no longer as `calm` as it was.
        """
        silence_s = self.settings.silence_s
        if now - max(stats.last_frame_at, self._state.reading_since) > silence_s:
            raise Silent(f"nothing came from {self.settings.name} for {silence_s:g} s")
        if self._accumulator.overdue(now):
            self._decode()
        self._note_traded(now)
        if not self._subscription.settled:
            self._request_due()  # a retry may be due by now
        self._check_answered(now)
        self._state.forget_regained()
        problems = self._problems()
        if problems != self._reported:
            self._reported = problems
            if problems:
                self._context.degraded(problems)
        if not problems and not self._subscription.pending:
            self._context.ok()
        if self._calm == calm:
            return False
        self._watch(stats)
        return True

    def _note_traded(self, now: float) -> None:
        """Notes which markets had trades, of those decoded since the last time."""
        seen = self._decoder.seen
        if seen:
            self._state.traded(map(self._symbols.__getitem__, seen), now)
            seen.clear()

    def _check_answered(self, now: float) -> None:
        late = now - max(self._requested_at, self._state.matching_since) > self._dialect.ack_s
        if late and not self._subscription.answered and not self._state.halted:
            raise NotSubscribed(f"no answer to the subscription within {self._dialect.ack_s:g} s")

    def _problems(self) -> str:
        """The problems of subscription and connection, for people; "" if there are none."""
        symbols, subscription = self._symbols, self._subscription
        if not (subscription.refused or subscription.held or subscription.unanswered or self._state.leaving):
            return ""
        refused = [f"{symbols[native]} refused: {why}" for native, why in subscription.refused.items()]
        held: dict[str, list[str]] = {}
        for native, why in subscription.held.items():
            held.setdefault(why, []).append(symbols[native])
        parts = _few(refused, " refused")
        parts += [f"{', '.join(_few(names))}: {why}; will retry" for why, names in held.items()]
        silent = [symbols[native] for native in subscription.unanswered if native not in subscription.held]
        if silent:
            parts.append(f"no answer to the subscription of {', '.join(_few(silent))}")
        if self._state.leaving:
            parts.append(f"{self.settings.name} is about to close this connection: {self._state.leaving}")
        return "; ".join(parts)


def _few(texts: Sequence[str], what: str = "") -> list[str]:
    """The first NAMES_MAX names, and the number of the others."""
    more = len(texts) - NAMES_MAX
    return [*texts[:NAMES_MAX], f"{more} more{what}"] if more > 0 else list(texts)
