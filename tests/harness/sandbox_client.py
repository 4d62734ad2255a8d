"""A client of the loopback exchanges on real sockets, and what it asks each of them."""

import gzip
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import trio
from trio_websocket import (
    WebSocketConnection,
    wrap_client_stream,
)

from ops.sandbox import Sandbox

PATIENCE_S = 60.0  # for real sockets on a busy machine; nothing waits so long when all is well
FAST = 2000.0  # trades a second: quick tests
NOW_NS = 1_790_000_000_123_456_789

# What each exchange is asked for one market, word for word as its documentation has it.
ASK = {
    "binance": ("/ws", '{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":1}'),
    "coinbaseexchange": ("/", '{"type":"subscribe","product_ids":["BTC-USD"],"channels":["matches"]}'),
    "kraken": ("/v2", '{"method":"subscribe","params":{"channel":"trade","symbol":["BTC/USD"]},"req_id":1}'),
    "okx": ("/ws/v5/public", '{"op":"subscribe","args":[{"channel":"trades","instId":"BTC-USDT"}]}'),
    "bybit": ("/v5/public/linear", '{"req_id":"1","op":"subscribe","args":["publicTrade.BTCUSDT"]}'),
}


@asynccontextmanager
async def serving(sandbox: Sandbox) -> AsyncIterator[Sandbox]:
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(sandbox.serve)
            yield sandbox
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def client(sandbox: Sandbox, path: str, *asks: str) -> AsyncIterator[WebSocketConnection]:
    """A client on a stream of our own, which closes however the connection ends."""
    stream = await trio.open_tcp_stream("127.0.0.1", sandbox.port)
    async with stream, trio.open_nursery() as nursery:
        socket = await wrap_client_stream(nursery, stream, "127.0.0.1", path)
        for ask in asks:
            await socket.send_message(ask)
        yield socket
        nursery.cancel_scope.cancel()


async def text(socket: WebSocketConnection) -> str:
    """The text of the next message, binary or not, compressed or not."""
    message = await socket.get_message()
    if isinstance(message, bytes):
        return (gzip.decompress(message) if message[:2] == b"\x1f\x8b" else message).decode()
    return message


async def hear(socket: WebSocketConnection, count: int) -> list[Any]:
    return [json.loads(await text(socket), parse_float=str) for _ in range(count)]


async def heard_from(exchange: str, sandbox: Sandbox, count: int) -> list[str]:
    async with serving(sandbox), client(sandbox, *ASK[exchange]) as socket:
        return [await text(socket) for _ in range(count)]


def handshake(path: str) -> bytes:
    key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
    head = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{key}\r\n\r\n"
    return head.encode()


async def refusal(sandbox: Sandbox, path: str, port: int = 0) -> int:
    """The HTTP status of a handshake, 0 where nothing is said; asked by hand, as the client library leaves
    refused sockets open."""
    async with await trio.open_tcp_stream("127.0.0.1", port or sandbox.port) as stream:
        await stream.send_all(handshake(path))
        answer = await stream.receive_some()
        return int(answer.split()[1]) if answer else 0


def binance_ids(frames: Iterable[str]) -> list[int]:
    return [json.loads(frame)["t"] for frame in frames if '"e":"trade"' in frame]


def jumps(ids: list[int]) -> list[int]:
    return [b - a for a, b in pairwise(ids)]
