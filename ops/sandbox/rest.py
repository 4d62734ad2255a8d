"""Serves HTTP/1.1 on connections that are not WebSockets."""

import re
import urllib.parse
from collections.abc import Awaitable, Callable

import h11
import trio

from actors.exchanges.contract.loopback_rest import HttpRequest, HttpResponse
from ops.sandbox.shared_stream import SharedStream

HEAD_BYTES_MAX = 16 * 1024
IDLE_S = 60.0  # how long a connection may be idle
READ_BYTES = 16 * 1024
BODY_BYTES_MAX = 64 * 1024
_UPGRADE = re.compile(rb"\r\nupgrade:[ \t]*websocket", re.IGNORECASE)


async def wants_websocket(stream: SharedStream) -> bool | None:
    """Reads the request's head, puts it back, and returns whether it requests a WebSocket; None if there is no
    head.
    """
    head = b""
    while b"\r\n\r\n" not in head:
        data = await stream.receive_some(READ_BYTES)
        head += data
        if not data or len(head) > HEAD_BYTES_MAX:
            return None
    stream.unread(head)
    return _UPGRADE.search(head.partition(b"\r\n\r\n")[0]) is not None


async def serve_rest(stream: SharedStream, answer: Callable[[HttpRequest], Awaitable[HttpResponse]]) -> None:
    """Answers requests one by one until the client disconnects, is idle for long, or breaks the protocol."""
    http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES_MAX)
    with trio.CancelScope() as idle:
        try:
            while True:
                idle.deadline = trio.current_time() + IDLE_S
                request = await _request(stream, http)
                if request is None or stream.left():  # a client that is gone gets no answer and no limit
                    return
                idle.deadline = float("inf")
                await _reply(stream, http, await _answered(*request, answer))
                if http.our_state is not h11.DONE:
                    return
                http.start_next_cycle()
        except h11.RemoteProtocolError as error:
            if http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                await _reply(stream, http, HttpResponse(f"{error}\n", error.error_status_hint))


async def _answered(
    request: h11.Request, body: bytes, answer: Callable[[HttpRequest], Awaitable[HttpResponse]]
) -> HttpResponse:
    if request.method not in (b"GET", b"POST"):
        return HttpResponse("only GET and POST are served here\n", 405)
    path, _, query = request.target.decode("latin-1").partition("?")
    parameters = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
    return await answer(
        HttpRequest(urllib.parse.unquote(path), parameters, body if request.method == b"POST" else None)
    )


async def _request(stream: SharedStream, http: h11.Connection) -> tuple[h11.Request, bytes] | None:
    """The next request and its body; None if the client has disconnected. Raises RemoteProtocolError."""
    request: h11.Request | None = None
    body = b""
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(bytes(await stream.receive_some(READ_BYTES)))
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > BODY_BYTES_MAX:
                raise h11.RemoteProtocolError("the body is too long", 413)
        elif isinstance(event, h11.EndOfMessage):
            return None if request is None else (request, body)
        elif isinstance(event, h11.ConnectionClosed) or event is h11.PAUSED:
            return None


async def _reply(stream: SharedStream, http: h11.Connection, reply: HttpResponse) -> None:
    body = reply.body.encode()
    headers = {"content-type": "application/json", **reply.headers, "content-length": str(len(body))}
    response = h11.Response(status_code=reply.status, headers=list(headers.items()))
    parts = [http.send(response), http.send(h11.Data(data=body)), http.send(h11.EndOfMessage())]
    await stream.send_all(b"".join(part for part in parts if part))
