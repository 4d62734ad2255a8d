"""Exchanges in memory, for the chaos test: real WebSocket bytes, dropped, cut, repeated and refused by a seed.

Every trade carries its own identity in its price, "<connection of the exchange>.<number on it>", so that
each delivery can be told from each other wherever it ends up, also when an exchange sends a trade again.
"""

import base64
import hashlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random

import msgspec
import trio

from actors.exchanges.kraken import KRAKEN
from actors.wire.dial import Target
from actors.wire.websocket import CannotConnect
from tests.harness.server_frames import CLOSE, PING, frame

SYMBOLS = ("BTC/USD", "ETH/USD", "SOL/USD", "XRP/USD", "ADA/USD")
TRADE_TIME = "2026-11-22T12:00:00Z"
POISON = "666"  # the volume of a trade that makes whoever handles it crash
AGAIN_MAX = 4  # trades of before that a new connection may repeat
_KEY = re.compile(rb"Sec-WebSocket-Key: *([^\r]+)", re.IGNORECASE)
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3

CHAOS = msgspec.structs.replace(
    KRAKEN,
    name="chaos",
    feed=msgspec.structs.replace(
        KRAKEN.feed,
        silence_s=4.0,
        ack_s=5.0,
        limits=msgspec.structs.replace(
            KRAKEN.feed.limits,
            symbols_per_connection=2,
            requests_per_s=50.0,
            connects_per_s=20.0,
            message_bytes=4096,
        ),
    ),
)


class Market:
    """The trades of one exchange: ids that only rise, and the last few kept to be sent again."""

    def __init__(self) -> None:
        self.next_id: dict[str, int] = {}
        self.last: dict[str, list[int]] = {}

    def trade(self, symbol: str) -> int:
        """A new one."""
        number = self.next_id[symbol] = self.next_id.get(symbol, 0) + 1
        self.last[symbol] = [*self.last.get(symbol, []), number][-AGAIN_MAX:]
        return number


class Venue:
    """All exchanges of one run. `calm` ends all trouble; `mishap` is asked before each use of the network."""

    def __init__(self, random: Random, mishap: Callable[[str], Awaitable[None]]) -> None:
        self.random, self.mishap = random, mishap
        self.calm = False
        self.pace_s = random.choice([0.02, 0.05, 0.2])
        self.poisons = random.choice([0, 0, 1])  # how many trades more will crash who handles them
        self.poisoned = False  # there has been one
        self.garbage_share = random.choice([0.0, 0.02])
        self.markets: dict[str, Market] = {}
        self.connections = 0
        self.trades: dict[str, tuple[str, str, int]] = {}  # by identity: exchange, symbol, id

    def poisons_now(self) -> bool:
        """Whether the next trade is to be one of those."""
        if self.calm or not self.poisons or self.random.random() > 0.03:
            return False
        self.poisons -= 1
        self.poisoned = True
        return True

    @asynccontextmanager
    async def dial(self, target: Target, **_: object) -> AsyncIterator[trio.abc.Stream]:
        """In place of actors.wire.dial.dial."""
        await self.mishap("dial")
        await trio.sleep(self.random.random() * 0.1)
        if not self.calm and self.random.random() < 0.1:
            raise CannotConnect("refused")
        self.connections += 1
        yield Line(self, target.host, self.connections)


class Line(trio.abc.Stream):
    """One connection, as the service sees it."""

    def __init__(self, venue: Venue, exchange: str, number: int) -> None:
        self._venue, self._random, self._exchange, self._number = venue, venue.random, exchange, number
        self._market = venue.markets.setdefault(exchange, Market())
        self._out = bytearray()
        self._subscribed: list[str] = []
        self._sent = 0
        self._nudge = trio.Event()
        self._over = self._answered = False
        self._left = self._random.randint(3, 60)  # how many reads until it breaks
        self._deaf = not venue.calm and self._random.random() < 0.1  # never answers a goodbye

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Handshake's answer, acknowledgements, then trades; now and then half a frame, or the end."""
        await self._venue.mishap("read")
        while not self._out and not self._over:
            with trio.move_on_after(self._random.expovariate(1) * self._venue.pace_s) as scope:
                await self._nudge.wait()
            self._nudge = trio.Event()
            if scope.cancelled_caught and self._subscribed:
                self._live()
        await trio.lowlevel.checkpoint()
        size = len(self._out)
        if size > 1 and self._answered and self._random.random() < 0.1:
            size = self._random.randrange(1, size)
        data = bytes(self._out[:size])
        del self._out[:size]
        self._answered = True
        return data

    def _live(self) -> None:
        self._left -= 1
        if self._left < 0 and not self._venue.calm:
            self._break()
        elif self._random.random() < 0.05:
            self._out += frame(b"ping", PING)
        elif self._random.random() < self._venue.garbage_share:
            self._sent += 1
            self._out += frame(b"rubbish %d.%06d" % (self._number, self._sent))
        else:
            self._trade(self._random.randint(1, 4))

    def _break(self) -> None:
        match self._random.randrange(4):
            case 0:
                self._over = True
            case 1:
                raise trio.BrokenResourceError("reset")
            case 2:
                self._out += frame((1001).to_bytes(2, "big"), CLOSE)
            case _:
                self._out += frame(b"x" * 5000)  # over the limit: this side must end it

    def _trade(self, messages: int) -> None:
        for _ in range(messages):
            symbol = self._random.choice(self._subscribed)
            self._say(symbol, [self._market.trade(symbol) for _ in range(self._random.randint(1, 3))])

    def _say(self, symbol: str, ids: list[int]) -> None:
        trades = []
        for number in ids:
            self._sent += 1
            poisoned = self._venue.poisons_now()
            self._venue.trades[f"{self._number}.{self._sent:06d}"] = (self._exchange, symbol, number)
            trades.append(
                f'{{"symbol":"{symbol}","side":"buy","price":{self._number}.{self._sent:06d},'
                f'"qty":{POISON if poisoned else "1.5"},"trade_id":{number},"timestamp":"{TRADE_TIME}"}}'
            )
        self._out += frame(f'{{"channel":"trade","type":"update","data":[{",".join(trades)}]}}'.encode())

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """The handshake, a request, a pong or a goodbye; each comes whole."""
        await self._venue.mishap("send")
        await trio.lowlevel.checkpoint()
        data = bytes(data)
        key = _KEY.search(data)
        if key is not None:
            self._shake(key[1])
        else:
            self._hear(data)
        self._nudge.set()

    def _shake(self, key: bytes) -> None:
        if not self._venue.calm and self._random.random() < 0.05:
            self._out += b"HTTP/1.1 503 Unavailable\r\nContent-Length: 0\r\n\r\n"
            self._over = True
            return
        proof = base64.b64encode(hashlib.sha1(key + _GUID).digest())
        self._out += b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        self._out += b"Sec-WebSocket-Accept: " + proof + b"\r\n\r\n"

    def _hear(self, data: bytes) -> None:
        opcode, size, at = data[0] & 0x0F, data[1] & 0x7F, 2
        if size == 126:
            size, at = int.from_bytes(data[2:4], "big"), 4
        mask, payload = data[at : at + 4], data[at + 4 : at + 4 + size]
        text = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
        if opcode == CLOSE and not self._deaf:
            self._out += frame(text[:2], CLOSE)
            self._over = True
        elif opcode == 1:
            self._subscribe(json.loads(text))

    def _subscribe(self, request: dict[str, dict[str, list[str]]]) -> None:
        for symbol in request["params"]["symbol"]:
            answer = {"method": "subscribe", "result": {"channel": "trade", "symbol": symbol}, "success": True}
            self._out += frame(json.dumps(answer).encode())
            self._subscribed.append(symbol)
            again = self._market.last.get(symbol, [])
            if again:
                self._say(symbol, again[self._random.randint(0, len(again)) :] or again[-1:])

    async def wait_send_all_might_not_block(self) -> None:
        """There is always room."""
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """Nothing more comes."""
        self._over = True
        self._nudge.set()
        await trio.lowlevel.checkpoint()
