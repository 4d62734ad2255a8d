"""One client of a loopback exchange over real sockets, which uses the exchange's dialect step by step."""

import math
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self, TypeVar

import httpx
import trio
from msgspec.structs import replace

from actors.backfill.fetcher import Fetcher, FetchResult
from actors.backfill.rate_limiter import RateLimiter
from actors.backfill.rest_client import RestClient
from actors.exchanges.contract.feed import Control, Market, Reply, Welcome
from actors.exchanges.contract.history import TradeRange
from actors.exchanges.contract.instruments import Instrument
from actors.exchanges.contract.loopback_market import Fill
from actors.exchanges.contract.rest import RestRequest
from actors.exchanges.registry import EXCHANGES
from actors.feed.decoder import Decoder
from actors.feed.sharding import redirected
from actors.model.ticks import Block, Reject
from actors.wire.websocket import CloseReason, ConnectionLost, WebSocket, WebSocketLimits, connect
from ops.sandbox import Sandbox
from ops.sandbox.session import Session
from supervisor import Backoff
from tests.harness.exchange_cases import market_of
from tests.harness.exchange_server import PATIENCE_S, until
from tests.harness.exchange_values import changed_loopback, dialect_of, history_of

C = TypeVar("C")
QUIET_S = 0.15  # what is not there by then is taken not to come: the machine is one, and nothing else is sent
RATE_PER_S = 0.001  # none are made but by `trade`


async def fetch(sandbox: Sandbox, name: str, request: RestRequest) -> bytes:
    """The body of the loopback's answer, which has status 200."""
    async with httpx.AsyncClient(trust_env=False) as http:
        url = request.url("", sandbox.url(name, "http"))
        answer = await http.request(request.method, url, content=request.body, headers=dict(request.headers))
    assert answer.status_code == 200, (url, answer.text)
    return answer.content


async def listed_markets(sandbox: Sandbox, name: str) -> list[Market]:
    """The markets of the loopback, from its list of instruments where there is one, else from the naming rule."""
    symbols, instruments = sandbox.symbols(name), EXCHANGES[name].instruments
    if instruments is None or sandbox.exchanges[name].venue.listing is None:
        return [market_of(name, symbol) for symbol in symbols]
    found: dict[str, Instrument] = {}
    for request in instruments.requests:
        page = instruments.page(await fetch(sandbox, name, request), request)
        assert page.odd == () and page.next_request is None
        found |= {instrument.symbol: instrument for instrument in page.instruments}
    channel = dialect_of(name).channels[0]
    return [dialect_of(name).market_listed(found[symbol], channel) for symbol in symbols]


async def fetch_again(
    sandbox: Sandbox, name: str, market: Market, trade_range: TradeRange
) -> tuple[FetchResult, Block]:
    """What the exchange's history has of this range, and what became of the request.

    No rate limit is kept, so that many pages take no time: the loopback must have none either.
    """
    history, block = history_of(name), Block(name)

    async def store(rows: Block) -> None:
        block.extend(*rows.lists())

    def no_reject(reject: Reject) -> None:
        raise AssertionError(f"{reject} is a sound trade")

    limiter = RateLimiter(tuple(replace(limit, units=1e9, burst=1e8) for limit in history.limits))
    url = sandbox.url(name, "http")
    async with RestClient(history, limiter, rest_url=url, backoff=Backoff(0.01, 0.05)) as rest:
        fetcher = Fetcher(name, history, dialect_of(name).channels[0], rest, reject=no_reject, settle_s=0)
        with trio.fail_after(PATIENCE_S):
            return await fetcher.fetch(market, trade_range, store), block


class LoopbackClient:
    """What came on one connection, in order: `messages` as they were sent, `controls`, `rejects`, and `block`."""

    def __init__(self, name: str, sandbox: Sandbox, markets: Sequence[Market]) -> None:
        self.name, self.dialect, self.markets = name, dialect_of(name), list(markets)
        self.block, self.controls, self.rejects = Block(name), list[Control](), list[Reject]()
        self.messages: list[bytes] = []
        self.replies = True  # answers what the exchange wants answered
        self._exchange = sandbox.exchanges[name]
        by_native = {market.native: market for market in markets}
        symbols = {native: market.symbol for native, market in by_native.items()}
        self._decoder = Decoder(name, self.dialect, symbols, self.dialect.decoder_for(by_native))
        self._decoder.requested(symbols, time.time_ns())
        self._wire: WebSocket | None = None
        self._requests = 0
        self._send_at = -math.inf

    @classmethod
    @asynccontextmanager
    async def connected(cls, name: str, sandbox: Sandbox, *markets: Market) -> AsyncIterator[Self]:
        """Connects to the endpoint of the markets as the dialect says, up to where requests may be sent."""
        client, endpoint = cls(name, sandbox, markets), markets[0].endpoint
        dialect, url = client.dialect, sandbox.url(name, "ws")
        if token := dialect.token_at(endpoint):
            endpoint = token.read(await fetch(sandbox, name, token.request)).url
        limits = WebSocketLimits(message_bytes=dialect.limits.message_bytes)
        async with connect(
            redirected(endpoint, url), sink=client._read, limits=limits, headers=dialect.headers
        ) as client._wire:
            await trio.sleep(dialect.settle_s)
            if dialect.waits_for_welcome:
                await client.controls_received(Welcome)
            for text in dialect.opening:
                await client.send(text)
            yield client

    async def _read(self, messages: list[bytes], received_ns: int) -> None:
        self.messages += messages
        while messages:
            outcome = self._decoder.read(messages, received_ns, self.block)
            messages = messages[outcome.messages :]
            self.controls += outcome.controls
            self.rejects += outcome.rejects
            for control in outcome.controls:
                if isinstance(control, Reply) and self.replies:
                    await self.wire.send(control.text)

    @property
    def wire(self) -> WebSocket:
        """The connection."""
        assert self._wire is not None
        return self._wire

    @property
    def ids(self) -> list[str | None]:
        """Of the trades that came, in order."""
        return self.block.trade_id

    async def send(self, text: str) -> None:
        """Sends a message, no sooner after the last one than the exchange allows."""
        await trio.sleep_until(self._send_at)
        await self.wire.send(text)
        self._send_at = trio.current_time() + 1 / self.dialect.limits.requests_per_s

    async def subscribe(self, *natives: str) -> None:
        """Sends the requests for these natives, by default for all markets of the connection."""
        wanted = natives or [market.native for market in self.markets]
        requests = self.dialect.subscribe(wanted, self.dialect.channels[0], self._requests + 1)
        self._requests += len(requests)
        for request in requests:
            await self.send(request.text)

    async def unsubscribe(self, *natives: str) -> None:
        """Sends the message that ends these subscriptions."""
        assert self.dialect.unsubscribe_text is not None
        self._requests += 1
        await self.send(self.dialect.unsubscribe_text(natives, self.dialect.channels[0], str(self._requests)))

    async def subscribed(self, *natives: str) -> None:
        """Subscribes, and waits until the exchange has these markets down for this connection."""
        before = len(self.subscribers(*natives))
        await self.subscribe(*natives)
        await until(lambda: len(self.subscribers(*natives)) > before, "the subscription")

    def subscribers(self, *natives: str) -> set[Session]:
        """The connections that the exchange sends all of these markets to."""
        wanted = natives or [market.native for market in self.markets]
        symbols = {market.symbol for market in self.markets if market.native in wanted}
        audiences = [audience for market, audience in self._exchange.audiences.items() if market.symbol in symbols]
        return set.intersection(*map(set, audiences)) if len(audiences) == len(symbols) > 0 else set()

    def trade(self, symbol: str, orders: int = 1) -> list[Fill]:
        """Makes trades of a market that was subscribed, and sends them to all its subscribers; returns them."""
        market = next(market for market in self._exchange.audiences if market.symbol == symbol)
        before = len(self._exchange.truth[symbol])
        for _ in range(orders):
            self._exchange.trade(market)
        return list(self._exchange.truth[symbol])[before:]

    def single(self, symbol: str, fill: Fill) -> list[Fill]:
        """The trades of a fill, which the stream may send as one."""
        return next(market for market in self._exchange.audiences if market.symbol == symbol).parts(fill)

    async def received(self, fills: Sequence[Fill]) -> None:
        """Waits until as many trades of this market have come after each other, and checks that it is these."""
        wanted = [(float(fill.price), float(fill.volume), fill.side) for fill in fills]

        def last() -> list[tuple[float, float, str | None]]:
            rows = zip(self.block.price, self.block.volume, self.block.side, strict=True)
            return [(float(price), float(volume), side) for price, volume, side in rows][-len(wanted) :]

        await until(lambda: last() == wanted, f"{len(wanted)} trades of {self.name}")

    def controls_of(self, kind: type[C]) -> list[C]:
        """The controls of a kind."""
        return [control for control in self.controls if isinstance(control, kind)]

    async def controls_received(self, kind: type[Control], count: int = 1) -> None:
        """Waits for controls of this kind."""
        await until(lambda: len(self.controls_of(kind)) >= count, f"{kind.__name__} of {self.name}")

    async def quiet(self) -> None:
        """Lets pass what time anything takes that is still to come."""
        await trio.sleep(QUIET_S)

    async def closed(self) -> CloseReason:
        """How the exchange closes the connection."""
        with trio.fail_after(10.0):
            return await self.wire.closed()

    async def is_open(self) -> bool:
        """Whether a protocol ping still comes through."""
        try:
            await self.wire.ping()
        except ConnectionLost:
            return False
        return self.wire.ended is None


@asynccontextmanager
async def loopback(name: str, **changes: Any) -> AsyncIterator[Sandbox]:
    """One loopback exchange that makes no trades by itself, with changes; nobody connects too often."""
    sandbox = Sandbox([name], RATE_PER_S, venues=changed_loopback(name, connects=(1000.0, 1.0), **changes))
    async with trio.open_nursery() as nursery:
        await nursery.start(sandbox.serve)
        yield sandbox
        nursery.cancel_scope.cancel()
