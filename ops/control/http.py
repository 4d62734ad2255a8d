"""One HTTP/1.1 connection through h11: reads whole requests and writes answers, each within a deadline."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from http import HTTPStatus

import h11
import trio
from msgspec import Struct

from ops.control import problem
from ops.control.limits import ControlLimits
from ops.control.pace import Paces
from ops.control.problem import Problem

READ_BYTES = 8 * 1024
WRITE_BYTES = 16 * 1024  # a write that sends fewer bytes within write_s is stalled
# The loop time of a wake-up with a system call, and of rendering and copying lines: measured, rounded up.
WAKE_COST_S = 60e-6
BYTE_COST_S = 20e-9

CLIENT_GONE = (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError)


class Request(Struct, frozen=True):
    """A whole request. `target` as sent, header names in lower case."""

    method: str
    target: str
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    def header(self, name: bytes) -> str | None:
        """The first header of this name."""
        return next((value.decode("latin-1") for key, value in self.headers if key == name), None)


class Reply(Struct, frozen=True):
    """A whole answer."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


class HttpConnection:
    """Reads requests and writes answers, one after the other; the caller closes `stream`.

    `receive_now` reads from the socket without waiting. Reading raises Problem for an error of the client, and any
    of CLIENT_GONE if it disconnected or stalled.
    """

    def __init__(
        self, stream: trio.SocketStream, receive_now: Callable[[int], bytes], limits: ControlLimits, paces: Paces
    ) -> None:
        self._stream = stream
        self._receive_now: Callable[[int], bytes] | None = receive_now
        self._limits = limits
        self._paces = paces
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.header_bytes_max)
        self._head = False
        self._unpaid_s = 0.0
        self.sent_bytes = 0
        self.idle_since: float | None = trio.current_time()  # while nothing of the next request has arrived

    async def first_request(self) -> Request | None:
        """The first request of a connection; None if it closes without one."""
        with trio.move_on_after(self._limits.request_s):
            return await self._request()
        raise Problem(
            HTTPStatus.REQUEST_TIMEOUT,
            "request_timeout",
            f"a request has to be complete within {self._limits.request_s:g} s",
        )

    async def next_request(self) -> Request | None:
        """The next request; None if the client disconnects, asked to close, or stays idle for too long."""
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return None
        self._http.start_next_cycle()
        if not self._http.trailing_data[0]:
            self.idle_since = trio.current_time()
            with trio.move_on_after(self._limits.idle_s) as idle:
                self._http.receive_data(await self._receive())
            if idle.cancelled_caught:
                return None
        return await self.first_request()

    async def answer(self, reply: Reply) -> None:
        """Sends a whole answer, without its body for a HEAD."""
        response = h11.Response(
            status_code=reply.status,
            reason=HTTPStatus(reply.status).phrase,
            headers=_headers(reply.content_type, ("Content-Length", str(len(reply.body))), *reply.headers),
        )
        data = self._encode(response)
        if not self._head:
            data += self._encode(h11.Data(reply.body))
        await self._send(data + self._encode(h11.EndOfMessage()))

    async def answer_problem(self, trouble: Problem) -> None:
        """Sends a problem; if the request was not read completely, also announces that the connection closes."""
        if self._http.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            return  # in the middle of an answer: only closing is left
        headers = trouble.headers
        if self._http.their_state is not h11.DONE:
            headers += (("Connection", "close"),)
        await self.answer(Reply(trouble.body(), int(trouble.status), problem.CONTENT_TYPE, headers))

    async def answer_stream(self, parts: AsyncIterator[bytes], content_type: str) -> None:
        """Sends parts as they come until they end or the client disconnects; the last answer of its connection."""
        headers = _headers(content_type, ("Connection", "close"))
        await self._send(self._encode(h11.Response(status_code=200, reason="OK", headers=headers)))
        if self._head:
            await self._send(self._encode(h11.EndOfMessage()))
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_for_end, nursery.cancel_scope)
            async for chunk in parts:
                await self._send(self._encode(h11.Data(chunk)))
                await self._paces.tap.spend(WAKE_COST_S + BYTE_COST_S * len(chunk))
            await self._send(self._encode(h11.EndOfMessage()))
            nursery.cancel_scope.cancel()

    async def pay(self, busy_s: float) -> None:
        """Waits for the loop time that this connection has used: `busy_s` and its parsing."""
        unpaid_s, self._unpaid_s = self._unpaid_s, 0.0
        await self._paces.requests.spend(busy_s + unpaid_s)

    async def linger(self) -> None:
        """Lets a client that is still sending read the answer before the connection closes."""
        if self._http.their_state is h11.DONE:
            return
        await drain(self._stream, self._limits)

    async def _watch_for_end(self, scope: trio.CancelScope) -> None:
        # In a quiet market nothing is written, so only reading detects a client that disconnected.
        with suppress(*CLIENT_GONE):
            while await self._receive():
                pass
        scope.cancel()

    async def _request(self) -> Request | None:
        event = await self._event()
        if not isinstance(event, h11.Request):
            return None
        self._head = event.method == b"HEAD"
        limits = self._limits
        if (
            len(event.target) + sum(len(name) + len(value) + 4 for name, value in event.headers)
            > limits.header_bytes_max
        ):
            raise self._too_large()
        announced = next((int(value) for name, value in event.headers if name == b"content-length"), 0)
        body = bytearray()
        while True:
            if max(announced, len(body)) > limits.body_bytes_max:
                raise Problem(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                    "body_too_large",
                    f"a body may have at most {limits.body_bytes_max} bytes",
                )
            part = await self._event()
            if not isinstance(part, h11.Data):
                break
            body += part.data
        return Request(
            event.method.decode("ascii"), event.target.decode("ascii"), tuple(event.headers), bytes(body)
        )

    async def _event(self) -> h11.Event | type[h11.PAUSED]:
        while True:
            started = time.perf_counter()
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                if error.error_status_hint == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:
                    raise self._too_large() from error
                raise problem.bad_request(f"this is not HTTP/1.1: {error}") from error
            finally:
                self._unpaid_s += time.perf_counter() - started
            if not (isinstance(event, type) and issubclass(event, h11.NEED_DATA)):
                return event
            if self._http.they_are_waiting_for_100_continue:
                await self._send(self._encode(h11.InformationalResponse(status_code=100, headers=[])))
            self._http.receive_data(await self._receive())

    def _too_large(self) -> Problem:
        return Problem(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            "headers_too_large",
            f"the request line and headers may have at most {self._limits.header_bytes_max} bytes",
        )

    async def _receive(self) -> bytes:
        """Waits for what the client sends next; the first time, what is there already needs no turn of the loop."""
        receive_now, self._receive_now = self._receive_now, None
        data: bytes | None = None
        if receive_now is not None:
            with suppress(OSError):  # nothing is there; a broken connection breaks below again
                data = receive_now(READ_BYTES)
        if data is None:
            data = bytes(await self._stream.receive_some(READ_BYTES))
        self.idle_since = None
        await self.pay(WAKE_COST_S)
        return data

    def _encode(self, event: h11.Event) -> bytes:
        return self._http.send(event) or b""

    async def _send(self, data: bytes) -> None:
        for start in range(0, len(data), WRITE_BYTES):
            with trio.fail_after(self._limits.write_s):
                await self._stream.send_all(data[start : start + WRITE_BYTES])
            self.sent_bytes += len(data[start : start + WRITE_BYTES])


async def drain(stream: trio.SocketStream, limits: ControlLimits) -> None:
    """Ends our direction and throws away what still comes, for a bounded time and amount."""
    with suppress(*CLIENT_GONE), trio.move_on_after(limits.linger_s):
        await stream.send_eof()
        taken = 0
        while taken < limits.linger_bytes_max and (data := await stream.receive_some(READ_BYTES)):
            taken += len(data)


def _headers(content_type: str, *more: tuple[str, str]) -> list[tuple[str, str]]:
    # All but the first matter for browsers at a TCP listener.
    return [
        ("Content-Type", content_type),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        *more,
    ]
