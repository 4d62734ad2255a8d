"""A scripted loopback exchange over a real TCP socket, and the real service that records from it."""

import json
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import trio
import trio.testing
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Event, Ping, Pong, Request, TextMessage

from actors.exchanges.contract.loopback_rest import HttpRequest, HttpResponse
from actors.exchanges.loopbacks import LOOPBACKS
from actors.pipeline import Parts, Pipeline
from actors.settings import DEFAULT_LIMITS, Limits
from actors.telemetry.ledger import Account
from actors.wire.websocket import Connect, connect
from ops.config.config import load_config
from ops.monitoring import status as report
from ops.sandbox.rest import serve_rest
from ops.sandbox.shared_stream import SharedStream
from tests.harness.paths import CERTS
from tests.harness.server_frames import CLOSE, frame
from tests.harness.store_reader import looking

PATIENCE_S = 20.0  # for real sockets on a busy machine; nothing waits so long when all is well
POLL_S = 0.005


class Client:
    """One connection of the service, seen from the exchange; `asked` holds all it has said so far."""

    def __init__(self, number: int, stream: trio.abc.Stream) -> None:
        self.number = number  # the first is 1
        self.stream = stream
        self.path = ""
        self.asked: list[str] = []
        self.asked_at: list[float] = []
        self.pongs: list[bytes] = []
        self.close_code: int | None = None
        self._protocol = WSConnection(ConnectionType.SERVER)
        self._events: list[Event] = []
        self._sending = trio.Lock()

    async def accept(self, also: bytes = b"") -> None:
        """Answers the handshake; `also` goes out in the same write."""
        event = await self._event()
        if not isinstance(event, Request):  # a service that stops leaves in the middle of a handshake
            raise trio.BrokenResourceError("the client went away")
        self.path = event.target
        await self.stream.send_all(self._protocol.send(AcceptConnection()) + also)

    async def ask(self) -> str | None:
        """The next text from the service; None when it has gone."""
        while (event := await self._event()) is not None:
            if isinstance(event, TextMessage):
                self.asked.append(event.data)
                self.asked_at.append(trio.current_time())
                return event.data
            if isinstance(event, Pong):
                self.pongs.append(bytes(event.payload))
            elif isinstance(event, Ping):
                await self.raw(self._protocol.send(event.response()))
            elif isinstance(event, CloseConnection):
                self.close_code = event.code
                await self.raw(self._protocol.send(event.response()))
                return None
        return None

    async def gone(self) -> None:
        """Listens until the service has gone."""
        while await self.ask() is not None:
            pass

    async def gone_while(self, run: Callable[..., Awaitable[object]], *args: object) -> None:
        """Listens until the service has gone, and runs `run(*args)` for as long."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(run, *args))
            await self.gone()
            nursery.cancel_scope.cancel()

    async def send(self, *texts: bytes | str) -> None:
        """Messages, all in one write."""
        await self.raw(b"".join(frame(text.encode() if isinstance(text, str) else text) for text in texts))

    async def raw(self, data: bytes) -> None:
        """Bytes as they are; no error if the service has gone meanwhile."""
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async with self._sending:
                await self.stream.send_all(data)

    async def close(self, code: int = 1000) -> None:
        """Says goodbye and waits for the answer."""
        await self.raw(frame(code.to_bytes(2, "big"), CLOSE))
        await self.gone()

    async def _event(self) -> Event | None:
        while not self._events:
            try:
                data = await self.stream.receive_some()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return None
            if not data:
                return None
            self._protocol.receive_data(bytes(data))
            self._events += self._protocol.events()
        return self._events.pop(0)


Script = Callable[[Client], Awaitable[None]]


def connect_in_memory(
    nursery: trio.Nursery, handle: Callable[[trio.abc.HalfCloseableStream], Awaitable[None]]
) -> Connect:
    """As actors.wire.websocket.connect, by streams in memory whose other ends `handle` serves in `nursery`."""

    @asynccontextmanager
    async def dial(*_: object, **__: object) -> AsyncIterator[trio.abc.Stream]:
        ours, theirs = trio.testing.memory_stream_pair()
        nursery.start_soon(handle, theirs)
        try:
            yield ours
        finally:
            await trio.aclose_forcefully(ours)

    return partial(connect, dial=dial)


class Server:
    """Runs its script for each connection; `clients` in the order in which they came."""

    def __init__(self, script: Script, certificate: str = "") -> None:
        self.script = script
        self.clients: list[Client] = []
        self.connected_at: list[float] = []
        self.port = 0
        self._tls: ssl.SSLContext | None = None
        if certificate:
            self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self._tls.load_cert_chain(CERTS / certificate)

    @property
    def url(self) -> str:
        """For ws_url."""
        return f"{'wss' if self._tls else 'ws'}://127.0.0.1:{self.port}"

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled; on `port`, or on a free one where that is 0."""
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(
                partial(trio.serve_tcp, self.handle, self.port, host="127.0.0.1", handler_nursery=nursery)
            )
            self.port = listeners[0].socket.getsockname()[1]
            task_status.started()

    async def handle(self, stream: trio.abc.HalfCloseableStream) -> None:
        """One connection, from the moment it is accepted."""
        self.connected_at.append(trio.current_time())
        if self._tls is None:
            client = Client(len(self.connected_at), stream)
            self.clients.append(client)
            with suppress(trio.BrokenResourceError):
                async with stream:
                    await self.script(client)
            return
        tls = trio.SSLStream(stream, self._tls, server_side=True, https_compatible=True)
        client = Client(len(self.connected_at), tls)
        self.clients.append(client)
        with suppress(trio.BrokenResourceError):
            async with tls:
                await self.script(client)


@asynccontextmanager
async def serving(*servers: Server) -> AsyncIterator[None]:
    """Runs the servers while the block runs."""
    async with trio.open_nursery() as nursery:
        for server in servers:
            await nursery.start(server.serve)
        yield
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def serving_tokens(exchange: str) -> AsyncIterator[str]:
    """Answers token requests as the exchange's loopback does, while the block runs; gives the URL for rest_url."""
    tokens = LOOPBACKS[exchange].tokens

    async def answer(request: HttpRequest) -> HttpResponse:
        token = tokens.get(request.path)
        return token(request) if token is not None else HttpResponse("", 404)

    async def handle(stream: trio.SocketStream) -> None:
        async with stream:
            with suppress(trio.BrokenResourceError):
                await serve_rest(SharedStream(stream), answer)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, handle, 0, host="127.0.0.1"))
        yield f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


def trade(exchange: str, native: str, number: int, ns: int | None = None) -> bytes:
    """A sound trade frame in the exchange's own form; made now unless `ns` says when."""
    ms = (time.time_ns() if ns is None else ns) // 1_000_000
    when = f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
    frames: dict[str, object] = {
        "binance": {"e": "trade", "s": native, "t": number, "p": "1.5", "q": "2.5", "T": ms, "m": True},
        "coinbaseexchange": {"type": "match", "product_id": native, "trade_id": number, "price": "1.5"}
        | {"size": "2.5", "side": "sell", "time": when},
        "kraken": {
            "symbol": native,
            "side": "buy",
            "price": 1.5,
            "qty": 2.5,
            "trade_id": number,
            "timestamp": when,
        },
        "okx": {"instId": native, "tradeId": str(number), "px": "1.5", "sz": "2.5", "side": "buy", "ts": str(ms)},
        "bybit": {"T": ms, "s": native, "S": "Buy", "v": "2.5", "p": "1.5", "i": str(number)},
    }
    one = frames[exchange]
    wrapped = {
        "kraken": {"channel": "trade", "type": "update", "data": [one]},
        "okx": {"arg": {"channel": "trades", "instId": native}, "data": [one]},
        "bybit": {"topic": f"publicTrade.{native}", "type": "snapshot", "ts": ms, "data": [one]},
    }
    return json.dumps(wrapped.get(exchange, one)).encode()


HASTE = """
[store]
path = "ticks.duckdb"
flush_interval_s = 0.05
[supervision]
backoff_initial_s = 0.05
backoff_max_s = 0.2
"""


def table(name: str, dialect: str, symbols: Iterable[str], url: str, **more: object) -> str:
    """One exchange as TOML; one connection delivers each market unless `more` says otherwise."""
    listed = ", ".join(f'"{symbol}"' for symbol in symbols)
    lines = [f"[exchanges.{name}]", f'dialect = "{dialect}"', f"symbols = [{listed}]", f'ws_url = "{url}"']
    keys = {"redundancy": 1, **more}
    lines += [f'{key} = "{value}"' if isinstance(value, str) else f"{key} = {value}" for key, value in keys.items()]
    return "\n".join(lines) + "\n"


def pipeline_of(
    folder: Path,
    *tables: str,
    head: str = HASTE,
    limits: Limits = DEFAULT_LIMITS,
    parts: Parts | None = None,
) -> Pipeline:
    """The service's pipeline, from a config file as an operator writes it."""
    config = folder / "tickwarden.toml"
    config.write_text(head + "\n".join(tables))
    return Pipeline(msgspec.structs.replace(load_config(config).pipeline(), limits=limits), parts=parts)


@asynccontextmanager
async def recording(pipeline: Pipeline) -> AsyncIterator[Pipeline]:
    """Records while the block runs, and then stops as a service does."""
    with trio.fail_after(3 * PATIENCE_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(pipeline.run)
            yield pipeline
            pipeline.stop()


async def until(true: Callable[[], object], what: str = "it", patience_s: float = PATIENCE_S) -> None:
    """Waits until it is so."""
    deadline = time.monotonic() + patience_s
    while not true():
        assert time.monotonic() < deadline, f"{what} did not come within {patience_s:g} s"
        await trio.sleep(POLL_S)


def settled(account: Account, received: int) -> bool:
    """Whether so much has come and all of it has found its place."""
    assert account.balanced
    return account.received >= received and account.in_flight == 0


def actor(pipeline: Pipeline, name: str) -> dict[str, Any]:
    """One actor as /v1/actors shows it."""
    return next(row for row in report.actors(pipeline) if row["name"] == name)


def query(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    """Asks the finished file on a connection of its own."""
    assert not (folder / "ticks.duckdb.tail").exists()
    with looking(folder / "ticks.duckdb") as con:
        return con.execute(sql).fetchall()


def check_audit(folder: Path) -> None:
    """Conservation, in every row ever written."""
    wrong = "received <> stored + duplicates + rejected + in_flight"
    assert query(folder, f"SELECT * FROM audit WHERE {wrong}") == []
    assert query(folder, "SELECT count(*) FROM audit")[0][0] > 0
