"""The connection actor: one WebSocket to one exchange, from the address to parcels for the buffer."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

import trio

from actors.decoding import Outcome, Reader
from actors.dialect import Ack, Dialect, Leaving, Market, Refusal, Request
from actors.frames import Violation
from actors.ledger import Account
from actors.parcel import Parcel
from actors.settings import ExchangeSettings
from actors.subscription import Subscription
from actors.ticks import Block, Reason, Reject
from actors.wire import ConnectionLost, Wire, WireLimits, client_context, connect
from supervisor.context import Context
from supervisor.failures import Weather
from supervisor.mailbox import Mailbox

PARCEL_ROWS = 500  # a parcel goes to the buffer when it has so many ticks ...
PARCEL_S = 0.02  # ... or when its first is so old
REJECTS_MAX = 200
WATCH_S = 0.25  # how often silence and answers are looked at
OVERSIZE_CLOSE = 1009  # RFC 6455, section 7.4.1
PARTING_S = 1.0  # how long a connection that ends may wait to hand over its last parcel


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
    """Spreads markets over connections, numbered from `first`: one endpoint each, no more than it may carry."""
    by_endpoint: dict[str, list[Market]] = {}
    for market in markets:
        by_endpoint.setdefault(market.endpoint, []).append(market)
    width = dialect.limits.symbols_per_connection
    parts = [
        (endpoint, tuple(group[at : at + width]))
        for endpoint, group in by_endpoint.items()
        for at in range(0, len(group), width)
    ]
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
    """Owned by the exchange: what has been read and not handed over outlives the crashes of `run`."""

    def __init__(
        self,
        plan: Plan,
        settings: ExchangeSettings,
        dialect: Dialect,
        account: Account,
        intake: Mailbox[Parcel],
        pace: Callable[[], Awaitable[None]],
    ) -> None:
        self.plan = plan
        self._settings, self._dialect, self._account = settings, dialect, account
        self._intake, self._pace = intake, pace
        self._natives = {market.native: market.symbol for market in plan.markets}
        self._block = Block(settings.name)
        self._rejects: list[Reject] = []
        self._filling = trio.Event()
        self.connected = False

    async def run(self, context: Context) -> None:
        """One connection until it ends; raises what ended it (weather, mostly). Ends on `context.stopping`."""
        await self._hand_over()
        await self._pace()
        session = _Session(self, context)
        try:
            await session.run()
        finally:
            self.connected = False
            with trio.move_on_after(PARTING_S, shield=True):
                await self._hand_over()

    def rest(self) -> Parcel | None:
        """Takes what was read and not handed over; for the pipeline's end."""
        if not (len(self._block) or self._rejects):
            return None
        parcel = Parcel(self._block, tuple(self._rejects))
        self._block, self._rejects = Block(self._settings.name), []
        return parcel

    async def _hand_over(self) -> None:
        """Puts what there is into the buffer's mailbox; if that is cancelled it is still here."""
        parcel = self.rest()
        if parcel is None:
            return
        put = False
        try:
            await self._intake.put(parcel)
            put = True
        finally:
            if not put:
                self._take_back(parcel)

    def _take_back(self, parcel: Parcel) -> None:
        newer, self._block = self._block, parcel.block
        self._block.extend(
            newer.symbol,
            newer.exchange_ns,
            newer.received_ns,
            newer.price,
            newer.volume,
            newer.side,
            newer.trade_id,
            newer.source,
        )
        self._rejects = [*parcel.rejects, *self._rejects]

    def take(self, messages: list[bytes], received_ns: int, reader: Reader) -> Outcome:
        """Decodes messages where they were read and books them; nothing in between can be interrupted."""
        outcome = reader.read(messages, received_ns, self._block)
        self._account.read(len(messages), received_ns, outcome.ticks, len(outcome.rejects), self._block)
        self._rejects += outcome.rejects
        return outcome

    def take_violation(self, violation: Violation) -> None:
        """A message too large to be read: booked as one that was refused."""
        if violation.code != OVERSIZE_CLOSE:
            return
        self._account.reject_unsaved(1)
        self._rejects.append(
            Reject(
                time.time_ns(),
                self._settings.name,
                None,
                Reason.OVERSIZE,
                violation.detail,
                violation.excerpt,
                violation.size_bytes,
            )
        )

    async def hand_over_if_due(self) -> None:
        """Called after each read."""
        if len(self._block) >= PARCEL_ROWS or len(self._rejects) >= REJECTS_MAX:
            await self._hand_over()
        elif len(self._block) or self._rejects:
            self._filling.set()

    async def hand_over_by_age(self) -> None:
        """Runs beside the reading: no tick waits here longer than PARCEL_S."""
        while True:
            await self._filling.wait()
            await trio.sleep(PARCEL_S)
            self._filling = trio.Event()
            await self._hand_over()


class _Session:
    """One life of a connection."""

    def __init__(self, owner: Connection, context: Context) -> None:
        self._owner, self._context = owner, context
        self._dialect, self._settings = owner._dialect, owner._settings
        channel = self._settings.channel or self._dialect.channels[0]
        self._subscription = Subscription(self._dialect, list(owner._natives), channel)
        self._reader = Reader(self._settings.name, self._dialect, owner._natives)
        self._reader.subscribed_ns = time.time_ns()  # re-sent trades can come before anything was asked
        self._outgoing, self._requests = trio.open_memory_channel[Request](10_000)
        self._asked_at = float("inf")
        self._blocked = False  # the buffer is full: not reading is our doing, not the exchange's silence
        self._resumed_at = 0.0

    async def run(self) -> None:
        silence_s = self._settings.silence_s or self._dialect.silence_s
        limits = WireLimits(message_bytes=self._dialect.limits.message_bytes)
        tls = client_context(self._settings.ca_file) if self._owner.plan.url.startswith("wss:") else None
        async with connect(self._owner.plan.url, sink=self._sink, limits=limits, ssl_context=tls) as wire:
            self._owner.connected = True
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._owner.hand_over_by_age)
                    nursery.start_soon(self._subscribe, wire)
                    nursery.start_soon(self._watch, wire, silence_s)
                    if self._dialect.ping is not None:
                        nursery.start_soon(self._ping, wire, self._dialect.ping.text, self._dialect.ping.interval_s)
                    nursery.start_soon(self._end_with, wire)
                    await self._context.stopping.wait()
                    nursery.cancel_scope.cancel()
            finally:
                if wire.violation is not None:
                    self._owner.take_violation(wire.violation)

    async def _sink(self, messages: list[bytes], received_ns: int) -> None:
        outcome = self._owner.take(messages, received_ns, self._reader)
        for control in outcome.controls:
            if isinstance(control, Ack):
                self._subscription.acknowledged(control)
            elif isinstance(control, Refusal):
                for request in self._subscription.refuse(control):
                    self._outgoing.send_nowait(request)
            elif isinstance(control, Leaving):
                self._context.note("leaving", control.reason)
        if outcome.ticks:
            self._context.healthy()
            self._context.handled(outcome.ticks)
        self._blocked = True
        await self._owner.hand_over_if_due()
        self._blocked, self._resumed_at = False, trio.current_time()

    async def _subscribe(self, wire: Wire) -> None:
        """Sends requests no faster than the exchange allows; refused ones come back in parts."""
        for request in self._subscription.requests():
            self._outgoing.send_nowait(request)
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
            heard_at = max(wire.stats.last_frame_at, self._resumed_at)
            if not self._blocked and trio.current_time() - heard_at > silence_s:
                raise Silent(f"nothing came from {self._settings.name} for {silence_s:g} s")
            self._subscription.delivered(self._reader.seen)
            amiss = self._amiss()
            if amiss != said:
                said = amiss
                if amiss:
                    self._context.degraded(amiss)
            if not amiss and not self._subscription.pending:
                self._context.ok()

    def _amiss(self) -> str:
        """What is wrong with the subscription, in words; "" when nothing is."""
        symbols, subscription = self._owner._natives, self._subscription
        parts = [f"{symbols.get(n, n)} refused: {why}" for n, why in subscription.refused.items()]
        late = trio.current_time() - self._asked_at > self._dialect.ack_s
        if late and subscription.pending:
            if not subscription.confirmed and not subscription.refused:
                raise NotSubscribed(f"no answer to the subscription within {self._dialect.ack_s:g} s")
            names = ", ".join(symbols[native] for native in list(subscription.pending)[:10])
            parts.append(f"no answer to the subscription of {names}")
        return "; ".join(parts)
