"""One subscription to the live tap of a running service, under trio or asyncio."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from decimal import Decimal
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlencode

import anyio
import h11
import msgspec
from anyio.abc import ByteStream

from ops.client.tick import EPOCH, MICROSECOND, Tick
from ops.control.client import NoService, closed, problem_of, unreachable

CONNECT_S = 4.0  # a running service answers within milliseconds
READ_BYTES = 1 << 16


class _Line(msgspec.Struct, gc=False):
    """A tick as the tap renders it, or how many are left out in its place."""

    exchange: str = ""
    symbol: str = ""
    timestamp: datetime | None = None
    received_at: datetime = EPOCH
    price: Decimal = Decimal(0)
    volume: Decimal = Decimal(0)
    side: str | None = None
    trade_id: str | None = None
    source: str = ""
    lagged: int = 0


_decoder = msgspec.json.Decoder(_Line)


class Subscription:
    """The lines of a tap as ticks. Not for two tasks at once."""

    def __init__(self, path: Path, stream: ByteStream, http: h11.Connection) -> None:
        self._path, self._stream, self._http = path, stream, http
        self._rest = b""

    async def receive(self) -> tuple[list[Tick], bool]:
        """What has come, at least one tick or a loss; and whether ticks are left out after these.

        If cancelled, nothing is lost. Raises NoService when the service ends the stream.
        """
        ticks: list[Tick] = []
        while True:
            data = await self._data()
            *lines, rest = (self._rest + data).split(b"\n")
            for number, line in enumerate(lines):
                decoded = _decoder.decode(line)
                if decoded.lagged:
                    self._rest = b"\n".join([*lines[number + 1 :], rest])
                    return ticks, True
                ticks.append(_tick(decoded))
            self._rest = rest
            if ticks:
                return ticks, False

    async def answer(self) -> None:
        """Returns once the service shows ticks from now on; raises ProblemReply if it does not."""
        event = await self._event()
        if not isinstance(event, h11.Response):
            raise closed(self._path, "it does not speak HTTP")
        if event.status_code >= HTTPStatus.BAD_REQUEST:
            body = b""
            while isinstance(part := await self._event(), h11.Data):
                body += part.data
            raise problem_of(event.status_code, body)

    async def _data(self) -> bytes:
        event = await self._event()
        if isinstance(event, h11.Data):
            return bytes(event.data)
        raise closed(self._path, "it has ended the stream")

    async def _event(self) -> h11.Event:
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                raise closed(self._path, str(error)) from error
            if isinstance(event, h11.Event):
                return event
            try:
                data = await self._stream.receive(READ_BYTES)
            except anyio.EndOfStream:
                data = b""
            except (anyio.BrokenResourceError, OSError) as error:
                raise closed(self._path, str(error) or type(error).__name__) from error
            self._http.receive_data(data)


@asynccontextmanager
async def subscribed(path: Path, exchange: str = "", symbol: str = "") -> AsyncIterator[Subscription]:
    """A subscription, ended with the block; "" means all. Raises NoService and ProblemReply."""
    chosen = {key: value for key, value in (("exchange", exchange), ("symbol", symbol)) if value}
    http = h11.Connection(h11.CLIENT)
    request = h11.Request(
        method="GET",
        target="/v1/tap" + (f"?{urlencode(chosen)}" if chosen else ""),
        headers=[("Host", "tickwarden"), ("Connection", "close")],
    )
    try:
        with anyio.fail_after(CONNECT_S):
            stream = await anyio.connect_unix(path)
    except (OSError, TimeoutError) as error:
        raise NoService(unreachable(path, error)) from error
    async with stream:
        made = Subscription(path, stream, http)
        try:
            with anyio.fail_after(CONNECT_S):
                await stream.send((http.send(request) or b"") + (http.send(h11.EndOfMessage()) or b""))
                await made.answer()
        except TimeoutError as error:
            raise closed(path, "it does not answer") from error
        yield made


def _tick(line: _Line) -> Tick:
    made = line.timestamp
    return Tick(
        line.exchange,
        line.symbol,
        None if made is None else (made - EPOCH) // MICROSECOND,
        (line.received_at - EPOCH) // MICROSECOND,
        line.price,
        line.volume,
        line.side,
        line.trade_id,
        line.source,
    )
