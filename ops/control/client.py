"""Asks a running service through its control socket, for the commands of the command line.

The standard library's http.client over a Unix socket: a command line that is asked often has to start
fast, and httpx takes longer to import than a service takes to answer.
"""

import errno
import http.client
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import msgspec

from ops.exits import FAILED, NO_SERVICE

_CONNECT_S = 2.0
_ANSWER_S = 65.0  # the service gives a command up after 60 s and says so itself
_READ_BYTES = 1 << 16
_LINE_BYTES_MAX = 1 << 20  # a tick takes some hundred bytes


class NoService(Exception):
    """No service answers on this socket. The message says what to do."""

    exit_code = NO_SERVICE


class ProblemReply(Exception):
    """The service answered with an error: its status, stable code, and words for people.

    `members` is the whole problem document, such as the "reasons" of /v1/ready.
    """

    exit_code = FAILED

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
    """A client of one service. Routes are paths such as "/v1/status", names in them made by `segment`.

    Every call has a connection of its own, so there is nothing to close. All of them block, and raise
    NoService or ProblemReply.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, route: str) -> object:
        """The JSON that a GET answers with."""
        return self._decode(self._exchange("GET", route, None))

    def get_text(self, route: str) -> str:
        """The body of a GET as text, for /metrics."""
        return self._exchange("GET", route, None).decode()

    def post(self, route: str, body: Mapping[str, object] | None = None) -> object:
        """The JSON that a command answers with."""
        return self._decode(self._exchange("POST", route, msgspec.json.encode(body or {})))

    def stream(self, route: str) -> Iterator[dict[str, object]]:
        """The lines of a route that goes on, as they come; NoService when the service ends."""
        with self._errors(), self._answer("GET", route, None) as (response, connection):
            connection.settimeout(None)  # a quiet market is no failure
            rest = b""
            # read1, as readline takes a stream that breaks off for one that ends.
            while len(rest) <= _LINE_BYTES_MAX and (data := response.read1(_READ_BYTES)):
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    yield msgspec.json.decode(line, type=dict[str, object])

    def _exchange(self, method: str, route: str, body: bytes | None) -> bytes:
        with self._errors(), self._answer(method, route, body) as (response, _):
            return response.read()

    @contextmanager
    def _answer(
        self, method: str, route: str, body: bytes | None
    ) -> Iterator[tuple[http.client.HTTPResponse, socket.socket]]:
        with self._connect() as connection, closing(http.client.HTTPConnection("tickwarden")) as conversation:
            conversation.sock = connection
            # A service with no place left answers and closes before it has read: the answer is there.
            with suppress(BrokenPipeError, ConnectionResetError):
                conversation.request(method, route, body, {"Connection": "close"})
            with conversation.getresponse() as response:
                if response.status >= http.client.BAD_REQUEST:
                    raise _problem(response.status, response.read())
                yield response, connection

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(_CONNECT_S)
            connection.connect(os.fspath(self._path))
            connection.settimeout(_ANSWER_S)
        except OSError as error:
            connection.close()
            raise NoService(self._why(error)) from error
        return connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError as error:
            raise NoService(f"the service at {self._path} does not answer; look at its log") from error
        except (http.client.HTTPException, OSError, msgspec.MsgspecError) as error:
            raise NoService(f"the service at {self._path} ended the conversation: {error!r}") from error

    def _decode(self, body: bytes) -> object:
        with self._errors():
            return msgspec.json.decode(body)

    def _why(self, error: OSError) -> str:
        if error.errno == errno.ENOENT:
            return f"no service is running: there is no socket {self._path}; start one with `tickwarden run`"
        if error.errno == errno.ECONNREFUSED:
            return f"no service is running: nobody answers on {self._path}; start one with `tickwarden run`"
        if error.errno in {errno.EACCES, errno.EPERM}:
            return f"you may not connect to {self._path}: only its owner, root and its group may"
        return f"cannot connect to {self._path}: {error}"


def _problem(status: int, body: bytes) -> ProblemReply:
    try:
        members = msgspec.json.decode(body, type=dict[str, object])
    except msgspec.MsgspecError:
        members = {}
    return ProblemReply(
        status, str(members.get("code", "unknown")), str(members.get("detail", f"HTTP {status}")), members
    )
