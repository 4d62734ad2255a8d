"""The connection actor: one WebSocket to one exchange, from the address to parcels for the buffer."""

import math
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

import trio

from actors.catch import Catch
from actors.continuity import Continuity
from actors.decoding import Reader
from actors.dialect import Ack, Dialect, Leaving, Market, Refusal, Request
from actors.gaps import GapReason
from actors.ledger import Account
from actors.parcel import Parcel
from actors.policy import LAST_PARCEL_S
from actors.settings import ExchangeSettings
from actors.subscription import Subscription
from actors.wire import ConnectionLost, Wire, WireLimits, client_context, connect
from supervisor.context import Context
from supervisor.failures import Weather
from supervisor.mailbox import Mailbox

WATCH_S = 0.25  # how often silence and answers are looked at
ASK_AGAIN_S = 2.0  # after a market was refused by name, how long the others of its request may go unanswered
REFUSALS_TOLD_MAX = 50  # different words of refusal that become events, a connection
OVERFLOW_S = 60.0  # an exchange that is not read from for a while hangs up within so long
REQUESTS_MAX = 10_000  # that wait to be sent; a connection has fewer markets, and each is asked for once or twice


class Silent(Weather):
    """Nothing at all came for longer than the exchange's silence deadline."""


class NotSubscribed(Weather):
    """The exchange answered no subscription and sent no data."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What one connection is for: its actor's name, one endpoint, and its markets."""

    name: str
    url: str
    markets: tuple[Market, ...]


def plan_connections(
    settings: ExchangeSettings, dialect: Dialect, markets: Sequence[Market], *, first: int = 1
) -> list[Plan]:
    """Spreads markets over connections, numbered from `first`: one endpoint each, no more than it may carry.

    With redundancy the whole comes as many times.
    """
    by_endpoint: dict[str, list[Market]] = {}
    for market in markets:
        by_endpoint.setdefault(market.endpoint, []).append(market)
    width = dialect.limits.symbols_per_connection
    parts = [
        (endpoint, tuple(group[at : at + width]))
        for endpoint, group in by_endpoint.items()
        for at in range(0, len(group), width)
    ] * settings.redundancy
    return [
        Plan(f"{settings.name}:{number}", redirected(endpoint, settings.ws_url), part)
        for number, (endpoint, part) in enumerate(parts, first)
    ]


def redirected(endpoint: str, base: str | None) -> str:
    """The endpoint with scheme, host and port of `base`, its own path kept; unchanged without a base."""
    if base is None:
        return endpoint
    there = urlsplit(base)
    return urlunsplit(urlsplit(endpoint)._replace(scheme=there.scheme, netloc=there.netloc))


class Connection:
    """Owned by the exchange: its catch outlives the crashes of `run`."""

    def __init__(
        self,
        plan: Plan,
        settings: ExchangeSettings,
        dialect: Dialect,
        account: Account,
        intake: Mailbox[Parcel],
        pace: Callable[[], Awaitable[None]],
        continuity: Continuity,
    ) -> None:
        self.plan, self.settings, self.dialect = plan, settings, dialect
        self.continuity = continuity
        self.catch = Catch(settings.name, account, intake, continuity)
        self.given_up: set[str] = set()  # symbols that are meant to end with it: no gap opens for them
        self.symbols = {market.native: market.symbol for market in plan.markets}
        self.connected = False
        self.opened_at = math.inf  # on trio's clock, as are all times here
        self.reading_since = math.inf  # silence before that is our own; inf while nothing is read
        self.blocked_at = math.inf  # since when it waits for room in the buffer
        self.since: dict[str, float] = {}  # symbols that it delivers now, as far as is known, and from when on
        self.heard: dict[str, float] = {}  # when the last trade of each came, within WATCH_S
        self.leaving = ""  # the exchange's words when it has said that it will close
        self._pace = pace

    async def run(self, context: Context) -> None:
        """One connection until it ends; raises what ended it (weather, mostly). Ends on `context.stopping`."""
        await self.catch.hand_over()
        await self._pace()
        session = _Session(self, context)
        try:
            await session.run()
        finally:
            self.connected = False
            reason = GapReason.OVERFLOW if self._overflowed() else GapReason.DISCONNECT
            self.continuity.disconnected(self.since.keys() - self.given_up, time.time_ns(), reason)
            self._reset()
            with trio.move_on_after(LAST_PARCEL_S, shield=True):
                await self.catch.hand_over()

    def rest(self) -> Parcel | None:
        """Takes what was read and not handed over, once it runs no more."""
        return self.catch.rest()

    def idle_since(self, symbol: str) -> float:
        """When it last had a trade of the symbol, or began to deliver it; inf where silence means nothing."""
        begun = self.since.get(symbol, math.inf)
        return max(begun, self.heard.get(symbol, begun), self.reading_since)

    def _overflowed(self) -> bool:
        """Whether the exchange may have hung up because the buffer was full and nothing was read."""
        now = trio.current_time()
        lately = self.opened_at < self.reading_since < math.inf and now - self.reading_since < OVERFLOW_S
        return lately or now - self.blocked_at > WATCH_S

    def _reset(self) -> None:
        self.opened_at = self.reading_since = self.blocked_at = math.inf
        self.since, self.heard, self.leaving = {}, {}, ""


class _Session:
    """One life of a connection."""

    def __init__(self, owner: Connection, context: Context) -> None:
        self._owner, self._context = owner, context
        self._dialect, self._settings, self._catch = owner.dialect, owner.settings, owner.catch
        channel = self._settings.channel or self._dialect.channels[0]
        self._subscription = Subscription(self._dialect, list(owner.symbols), channel)
        self._reader = Reader(self._settings.name, self._dialect, owner.symbols)
        self._reader.subscribed_ns = time.time_ns()  # re-sent trades can come before anything was asked
        self._outgoing, self._requests = trio.open_memory_channel[Request](REQUESTS_MAX)
        self._asked_at = self._ask_again_at = math.inf
        self._told: set[str] = set()
        self._known = 0

    async def run(self) -> None:
        silence_s = self._settings.silence_s or self._dialect.silence_s
        limits = WireLimits(message_bytes=self._dialect.limits.message_bytes)
        tls = client_context(self._settings.ca_file) if self._owner.plan.url.startswith("wss:") else None
        async with connect(self._owner.plan.url, sink=self._sink, limits=limits, ssl_context=tls) as wire:
            self._owner.connected = True
            self._owner.opened_at = self._owner.reading_since = trio.current_time()
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
                self._owner.leaving = control.reason or "it said so"
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
        owner, since, begun_at = self._owner, self._owner.reading_since, trio.current_time()
        owner.reading_since, owner.blocked_at = math.inf, begun_at
        await self._catch.hand_over_if_due()
        owner.blocked_at = math.inf
        now = trio.current_time()
        owner.reading_since = now if now - begun_at > WATCH_S else since

    def _carry(self) -> None:
        """Notes which markets this connection delivers now."""
        owner = self._owner
        if len(owner.since) == len(owner.symbols):
            return
        natives = self._subscription.confirmed | self._reader.seen
        symbols = {owner.symbols[native] for native in natives if native in owner.symbols} - owner.since.keys()
        owner.continuity.connected(symbols, time.time_ns())
        owner.since.update(dict.fromkeys(symbols, trio.current_time()))

    def _drop(self, natives: Iterable[str]) -> None:
        """Markets that were delivered and are refused from now on."""
        symbols = self._owner.since.keys() & {self._owner.symbols.get(native, "") for native in natives}
        for symbol in symbols:
            del self._owner.since[symbol]
        self._owner.continuity.disconnected(symbols, time.time_ns())

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
            if now - max(wire.stats.last_frame_at, self._owner.reading_since) > silence_s:
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
        self._owner.heard.update((self._owner.symbols[native], now) for native in seen)
        seen.clear()

    def _amiss(self) -> str:
        """What is wrong with the subscription, in words; "" when nothing is."""
        symbols, subscription = self._owner.symbols, self._subscription
        parts = [f"{symbols.get(n, n)} refused: {why}" for n, why in subscription.refused.items()]
        late = trio.current_time() - self._asked_at > self._dialect.ack_s
        if late and subscription.pending:
            if not subscription.confirmed and not subscription.refused:
                raise NotSubscribed(f"no answer to the subscription within {self._dialect.ack_s:g} s")
            names = ", ".join(symbols[native] for native in list(subscription.pending)[:10])
            parts.append(f"no answer to the subscription of {names}")
        return "; ".join(parts)
