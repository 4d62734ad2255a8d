"""Asks a running service through its control socket, for the commands of the command line."""

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import httpx
import msgspec

_CONNECT_S = 2.0
_ANSWER_S = 65.0  # the service gives a command up after 60 s and says so itself
_BASE = "http://tickwarden"


class NoService(Exception):  # noqa: N818 - nobody's error
    """No service answers on this socket. The message says what to do."""


class ProblemReply(Exception):  # noqa: N818 - an answer
    """The service answered with an error: its status, stable code, and words for people.

    `members` is the whole problem document, such as the "reasons" of /v1/ready.
    """

    def __init__(
        self, status: int, code: str, detail: str, members: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(f"{detail} ({code})")
        self.status = status
        self.code = code
        self.detail = detail
        self.members = dict(members or {})


def segment(name: str) -> str:
    """A name as one segment of a route: "binance:1" and even "a/b" stay one name."""
    return quote(name, safe="")


class ControlClient:
    """A client of one service. Routes are paths such as "/v1/status".

    Every method raises NoService or ProblemReply. Use it in a `with` block, or call close().
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # trust_env off: a proxy from the environment has no business with a local socket.
        self._http = httpx.Client(
            transport=httpx.HTTPTransport(uds=os.fspath(path)),
            base_url=_BASE,
            timeout=httpx.Timeout(_ANSWER_S, connect=_CONNECT_S),
            trust_env=False,
        )

    def get(self, route: str) -> object:
        """The JSON that a GET answers with."""
        with self._errors():
            return _decode(self._http.get(route))

    def get_text(self, route: str) -> str:
        """The body of a GET as text, for /metrics."""
        with self._errors():
            response = self._http.get(route)
            _raise_problem(response)
            return response.text

    def post(self, route: str, body: Mapping[str, object] | None = None) -> object:
        """The JSON that a command answers with."""
        with self._errors():
            return _decode(self._http.post(route, content=msgspec.json.encode(body) if body else b""))

    def stream(self, route: str) -> Iterator[dict[str, object]]:
        """The lines of a route that goes on, as they come; NoService when the service ends."""
        # No deadline for the next line: a quiet market is no failure.
        timeout = httpx.Timeout(None, connect=_CONNECT_S)
        with self._errors(), self._http.stream("GET", route, timeout=timeout) as response:
            if response.is_error:
                response.read()
                _raise_problem(response)
            for line in response.iter_lines():
                yield msgspec.json.decode(line, type=dict[str, object])

    def close(self) -> None:
        """Closes the connection."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except httpx.ConnectError as error:
            raise NoService(self._why(error)) from error
        except httpx.TimeoutException as error:
            raise NoService(f"the service at {self._path} does not answer; look at its log") from error
        except httpx.TransportError as error:
            raise NoService(f"the service at {self._path} ended the conversation: {error}") from error

    def _why(self, error: BaseException) -> str:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, OSError):
            cause = cause.__cause__ or cause.__context__
        code = getattr(cause, "errno", None)
        if code == errno.ENOENT:
            return f"no service is running: there is no socket {self._path}; start one with `tickwarden run`"
        if code == errno.ECONNREFUSED:
            return f"no service is running: nobody answers on {self._path}; start one with `tickwarden run`"
        if code in {errno.EACCES, errno.EPERM}:
            return f"you may not connect to {self._path}: only its owner, root and its group may"
        return f"cannot connect to {self._path}: {cause or error}"


def _decode(response: httpx.Response) -> object:
    _raise_problem(response)
    return msgspec.json.decode(response.content)


def _raise_problem(response: httpx.Response) -> None:
    if not response.is_error:
        return
    try:
        members = msgspec.json.decode(response.content, type=dict[str, object])
    except msgspec.MsgspecError:
        members = {}
    detail = str(members.get("detail", f"HTTP {response.status_code}"))
    raise ProblemReply(response.status_code, str(members.get("code", "unknown")), detail, members)
