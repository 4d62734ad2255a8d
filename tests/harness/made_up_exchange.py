"""A made-up exchange whose dialect a test changes, and the service's recorder of it with streams in memory."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import trio
import trio.testing

from actors.exchanges.contract import feed as x
from actors.exchanges.contract.exchange import Exchange
from actors.exchanges.contract.feed_helpers import Row, columns, inside, named, text_inside
from actors.model.symbols import Symbol
from actors.model.ticks import IdPromise, Reject
from actors.recorder import ExchangeAccess, ExchangeRecorder
from actors.settings import ExchangeSettings, SupervisionSettings
from actors.telemetry.ledger import Account
from supervisor import ActorHealth, Event, Supervisor
from tests.harness.chunk_consumer import ChunkConsumer
from tests.harness.exchange_server import Script, Server, connect_in_memory
from tests.harness.memory_exchange import shared_services

NAME = "madeup"
NS = 1_790_000_000_000_000_000


def trade(native: str = "AAA-USD", number: int = 1, ns: int = NS) -> str:
    """A trade frame of it."""
    return json.dumps({"trade": native, "id": number, "price": "1.5", "volume": "2", "ns": ns})


def _market(symbol: Symbol, _channel: str = "") -> x.Market:
    return x.Market(str(symbol), f"{symbol.base}-{symbol.quote}", "ws://made.up/feed")


def _subscribe_text(natives: Sequence[str], _channel: str, request_id: str) -> str:
    return json.dumps({"id": request_id, "want": list(natives)})


def trades(frames: Sequence[bytes]) -> x.Trades:
    """Reads trade frames; raises KeyError for others."""
    rows = [json.loads(frame) for frame in frames]
    return columns(
        [Row(row["trade"], row["price"], row["volume"], "buy", str(row["id"]), row["ns"]) for row in rows]
    )


def control(message: object) -> x.Control | None:
    """{"ok": native} and {"no": native} answer a request, {"ping": n} wants its {"pong": n}."""
    if (number := inside(message, "ping")) is not None:
        return x.Reply(json.dumps({"pong": number}))
    if inside(message, "welcome") is not None:
        return x.Welcome()
    if native := text_inside(message, "ok"):
        return x.Ack(named(native))
    if request_id := text_inside(message, "taken"):
        return x.Ack(request_id=request_id)
    if native := text_inside(message, "no"):
        return x.Refusal("not here", named(native))
    return x.MalformedTrade() if inside(message, "trade") is not None else None


LIMITS = x.Limits(symbols_per_connection=100, symbols_per_request=100, requests_per_s=100.0, connects_per_s=100.0)


def dialect(**changes: Any) -> x.Dialect:
    """How it speaks: every market is acknowledged by name, unless `changes` say otherwise."""
    plain: dict[str, Any] = {
        "doc": "https://made.up/docs",
        "doc_read": "2026-11-26",
        "channels": ("trades",),
        "limits": LIMITS,
        "silence_s": 1_000.0,
        "market": _market,
        "subscribe_text": _subscribe_text,
        "ids": {"spot": IdPromise.OPAQUE},
        "ids_note": "",
        "markets_note": "",
        "ping_note": "",
        "resolution": "ms",
        "replay_note": "",
    }
    if "decoder" not in changes:
        plain |= {"trades": trades, "control": control}
    return x.Dialect(**plain | changes)


class Recorder:
    """One exchange under a supervisor, the scripted server it talks to, and what came of it."""

    def __init__(
        self,
        nursery: trio.Nursery,
        script: Script,
        symbols: Sequence[str],
        exchange: Exchange,
        transport: httpx.AsyncBaseTransport | None,
    ) -> None:
        self.server = Server(script)
        self.account = Account()
        consumer = ChunkConsumer(100_000)
        self.intake, self.chunks, self.consume = consumer.intake, consumer.chunks, consumer.run
        self.events: list[Event] = []
        self.tree = Supervisor("tree", on_event=self.events.append)
        policy = SupervisionSettings(backoff_initial_s=1.0, backoff_max_s=60.0, backoff_reset_s=60.0)
        settings = ExchangeSettings(
            name="x", dialect=NAME, symbols=tuple(symbols), supervision=policy, redundancy=1
        )
        access = ExchangeAccess(
            exchanges={NAME: exchange},
            connect=connect_in_memory(nursery, self.server.handle),
            transport=transport,
        )
        services = shared_services(access=access, expect=consumer.expect)
        self.exchange = ExchangeRecorder(settings, self.account, self.intake, services)
        self.exchange.begin(self.exchange.promises, [], 0)

    @property
    def health(self) -> ActorHealth:
        """What the connection reports."""
        return self.tree.health("x:1")

    @property
    def rows(self) -> list[tuple[str, str | None, str]]:
        """Symbol, id and source of all rows, in order."""
        blocks = [chunk.block for chunk in self.chunks]
        return [row for b in blocks for row in zip(b.symbol, b.trade_id, b.source, strict=True)]

    @property
    def rejects(self) -> list[Reject]:
        """All of them, in order."""
        return [reject for chunk in self.chunks for reject in chunk.rejects]

    def errors(self) -> list[str]:
        """Why connections ended."""
        return [event.reason for event in self.events if event.event in ("backoff", "failed")]


@asynccontextmanager
async def recorded(
    script: Script,
    *symbols: str,
    rest: Callable[[httpx.Request], httpx.Response] | None = None,
    **changes: Any,
) -> AsyncIterator[Recorder]:
    """Records from the exchange, spoken as `changes` say, while the block runs; `rest` answers over REST."""
    exchange = Exchange(name=NAME, title="Made-up", proven="documentation", feed=dialect(**changes))
    transport = httpx.MockTransport(rest) if rest is not None else None
    async with trio.open_nursery() as nursery:
        recorder = Recorder(nursery, script, symbols or ("AAA/USD",), exchange, transport)
        nursery.start_soon(recorder.consume)
        async with recorder.tree:
            await recorder.exchange.start(recorder.tree)
            yield recorder
        nursery.cancel_scope.cancel()
