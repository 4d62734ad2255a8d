"""The client of the control socket, used by the command line.

It uses the standard library's http.client over a Unix socket: commands have to start fast, and importing httpx
takes longer than a service takes to answer.
"""

import errno
import http.client
import os
import select
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import msgspec

from ops.control.listener import PATH_BYTES_MAX

_CONNECT_S = 2.0
_LOOK_S = (
    4.0  # a running service answers within milliseconds; users wait no longer than this to learn that it does not
)
_COMMAND_S = 65.0  # the service cancels a command after 60 s and reports that itself
_IDLE_S = 1.0  # how long a stream is silent before the service is checked
_LIVE_S = 3.0  # ... and its time to answer: together with _IDLE_S less than _LOOK_S
_READ_BYTES = 1 << 16
_LINE_BYTES_MAX = 1 << 20  # a tick takes some hundred bytes


class NoService(Exception):
    """No service answers on this socket. The message suggests what to do."""


class ProblemReply(Exception):
    """The service answered with an error: its status, stable code, and a text for people.

    `members` is the whole problem document, such as the "reasons" of /v1/ready.
    """

    def __init__(self, status: int, code: str, detail: str, members: Mapping[str, object] | None = None) -> None:
        super().__init__(f"{detail} ({code})")
        self.status = status
        self.code = code
        self.detail = detail
        self.members = dict(members or {})


def segment(name: str) -> str:
    """A name as one segment of a route: "binance:1" and even "a/b" stay one name."""
    return quote(name, safe="")


class ControlClient:
    """A client of one service. Routes are paths such as "/v1/status", names in them are encoded by `segment`.

    Every call opens a connection of its own, so there is nothing to close. All calls block, and raise NoService or
    ProblemReply.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, route: str) -> object:
        """The JSON answer of a GET."""
        return self._decode(self._exchange("GET", route, None))

    def get_text(self, route: str) -> str:
        """The body of a GET as text, for /metrics."""
        return self._exchange("GET", route, None).decode()

    def post(self, route: str, body: Mapping[str, object] | None = None) -> object:
        """The JSON answer of a command, within a minute; a blocked service is detected before."""
        self._exchange("GET", "/v1/live", None)
        return self._decode(self._exchange("POST", route, msgspec.json.encode(body or {}), within_s=_COMMAND_S))

    def stream(self, route: str, method: str = "GET") -> Iterator[dict[str, object]]:
        """The lines of a streaming route, as they arrive; raises NoService when the service ends."""
        with self._errors(), self._answer(method, route, None) as (response, connection):
            rest = b""
            # read1, because readline does not distinguish a broken stream from one that ends.
            while len(rest) <= _LINE_BYTES_MAX and (data := self._next_of(response, connection)):
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    yield msgspec.json.decode(line, type=dict[str, object])

    def _next_of(self, response: http.client.HTTPResponse, connection: socket.socket) -> bytes:
        """Some bytes of a stream, b"" at its end. A quiet market is no failure; a blocked service is."""
        connection.setblocking(False)
        waiting = not response.fp.peek(1)
        connection.setblocking(True)
        while waiting and not select.select([connection], [], [], _IDLE_S)[0]:
            self._exchange("GET", "/v1/live", None, within_s=_LIVE_S)
        connection.settimeout(_LOOK_S)
        return response.read1(_READ_BYTES)

    def _exchange(self, method: str, route: str, body: bytes | None, *, within_s: float = _LOOK_S) -> bytes:
        with self._errors(), self._answer(method, route, body, within_s) as (response, _):
            return response.read()

    @contextmanager
    def _answer(
        self, method: str, route: str, body: bytes | None, within_s: float = _LOOK_S
    ) -> Iterator[tuple[http.client.HTTPResponse, socket.socket]]:
        with (
            self._connect(within_s) as connection,
            closing(http.client.HTTPConnection("tickwarden")) as conversation,
        ):
            conversation.sock = connection
            # A service without a free slot answers and closes before it reads: the answer is there.
            with suppress(BrokenPipeError, ConnectionResetError):
                conversation.request(method, route, body, {"Connection": "close"})
            with conversation.getresponse() as response:
                if response.status >= http.client.BAD_REQUEST:
                    raise problem_of(response.status, response.read())
                yield response, connection

    def _connect(self, within_s: float) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(_CONNECT_S)
            connection.connect(os.fspath(self._path))
            connection.settimeout(within_s)
        except OSError as error:
            connection.close()
            raise NoService(unreachable(self._path, error)) from error
        return connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError as error:
            raise NoService(
                f"the service at {self._path} does not answer: it is blocked, or this machine is overloaded;"
                " look at its log"
            ) from error
        except (http.client.HTTPException, OSError, msgspec.MsgspecError) as error:
            why = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
            raise closed(self._path, why) from error

    def _decode(self, body: bytes) -> object:
        with self._errors():
            return msgspec.json.decode(body)


def unreachable(path: Path, error: OSError) -> str:
    """Why nobody answers on this socket, and what to do."""
    if error.errno == errno.ENOENT:
        return f"no service is running: there is no socket {path}; start one with `tickwarden run`"
    if error.errno == errno.ECONNREFUSED:
        return f"no service is running: nobody answers on {path}; start one with `tickwarden run`"
    if error.errno in {errno.EACCES, errno.EPERM}:
        return f"you may not connect to {path}: only its owner, root and its group may"
    if error.errno == errno.EAGAIN or isinstance(error, TimeoutError):
        return f"the service at {path} does not answer: it accepts no more connections; look at its log"
    if len(os.fsencode(path)) > PATH_BYTES_MAX:
        return f"{path} cannot be a socket: its path is too long, at most {PATH_BYTES_MAX} bytes are allowed"
    return f"cannot connect to {path}: {error.strerror or error}; is [control] socket the running service's?"


def closed(path: Path, why: str) -> NoService:
    """The service has ended a connection."""
    return NoService(f"the service at {path} closed the connection ({why}); it may have stopped: try again")


def problem_of(status: int, body: bytes) -> ProblemReply:
    """The error that the service answered with."""
    try:
        members = msgspec.json.decode(body, type=dict[str, object])
    except msgspec.MsgspecError:
        members = {}
    return ProblemReply(
        status, str(members.get("code", "unknown")), str(members.get("detail", f"HTTP {status}")), members
    )
