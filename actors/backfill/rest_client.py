"""Sends REST requests to one exchange: within its rate limits, with deadlines, size limits and retries."""

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from importlib import import_module
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

import trio
from msgspec import Struct

from actors.backfill.rate_limiter import RateLimiter
from actors.exchanges.contract.rest import Busy, Garbled, Refused, RestRequest, RestService, origin
from actors.settings import JITTER
from actors.wire.dial import client_context, deadline
from actors.wire.errors import TOO_MANY, WrongCertificate, has_wrong_certificate, refusal_floor_s
from supervisor import Backoff, TransientError

if TYPE_CHECKING:
    import httpx

# After these statuses our minimum wait applies if the answer has none; other errors are retried with our backoff.
FLOORED = (*TOO_MANY, 401, 403, 451)
INLINE_BYTES = 256 * 1024  # a larger answer is read in a thread, so that it does not block the loop
HEADERS = {"user-agent": "tickwarden", "accept": "application/json", "accept-encoding": "identity"}
JSON = {"content-type": "application/json"}

T = TypeVar("T")

_importing = Lock()


def _import_httpx() -> None:
    """Takes 70 ms: too long for a start, and for the loop, which must not wait for a thread that does it either."""
    with _importing:
        import_module("httpx")
        import_module("httpcore")  # otherwise the first client imports it


class RestClientLimits(Struct, frozen=True, kw_only=True):
    """Bounds of one request and its retries; seconds and bytes."""

    connect_s: float = 10.0
    answer_s: float = 30.0  # from the request to the last byte
    # Pages have some 250 KB, but Bitstamp returns a whole day of 92 bytes a trade: over all pairs 200,000 trades.
    body_bytes: int = 24 << 20
    tries: int = 6
    wait_s: float = 120.0  # longer waits are left to the caller


class Answer(Struct, frozen=True):
    """A body with status 200; header names in lower case. `received_ns`: when its last byte was read."""

    body: bytes
    headers: Mapping[str, str]
    received_ns: int


class Unanswered(TransientError):
    """The REST server could not be reached, or returned a transient error."""


class RestClient:
    """A client of one exchange; an async context manager that owns its connections.

    `limiter` is shared by all clients of the exchange. The client may be re-entered after it was left. Apart from
    misuse it raises Refused (the exchange will not answer this), MisconfiguredError (a wrong certificate) and,
    after retries, TransientError (everything else).
    """

    def __init__(
        self,
        service: RestService,
        limiter: RateLimiter,
        *,
        rest_url: str | None = None,
        ca_file: Path | None = None,
        limits: RestClientLimits | None = None,
        backoff: Backoff | None = None,
        transport: "httpx.AsyncBaseTransport | None" = None,
    ) -> None:
        self._rest_url, self.origin = rest_url, origin(rest_url or service.base)
        self._service, self._limiter, self._ca_file = service, limiter, ca_file
        self._limits = limits or RestClientLimits()
        self._backoff = backoff or Backoff(initial_s=0.5, max_s=20.0)
        self._transport = transport
        self._stack = AsyncExitStack()
        self._client: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        await self._stack.__aenter__()
        if "httpx" not in sys.modules or _importing.locked():
            await trio.to_thread.run_sync(_import_httpx)
        import httpx

        verify = client_context(self._ca_file) if self.origin.startswith("https:") else False
        # No proxies from the environment: the WebSocket uses none either.
        client = httpx.AsyncClient(
            headers=HEADERS,
            verify=verify,
            trust_env=False,
            timeout=httpx.Timeout(self._limits.answer_s, connect=self._limits.connect_s),
            limits=httpx.Limits(max_connections=2, max_keepalive_connections=1, keepalive_expiry=30.0),
            transport=self._transport,
        )
        self._client = await self._stack.enter_async_context(client)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client = None
        await self._stack.__aexit__(kind, error, trace)

    async def get(self, request: RestRequest, read: Callable[[Answer], T]) -> T:
        """Returns the result of `read` on the answer. Retries after TransientError, up to `tries` requests in
        total.

        `read` may raise TransientError too: an unreadable answer is requested again. For an answer of more than
        INLINE_BYTES it is called in a thread, because it may take seconds. A wait that the exchange demands is
        never shortened; one of more than `wait_s` is raised at once, to the caller.
        """
        failures = 0
        while True:
            try:
                await self._wait_for_turn(request)
                answer = await self._once(request)
                if len(answer.body) <= INLINE_BYTES:
                    return read(answer)
                return await trio.to_thread.run_sync(read, answer)
            except TransientError as transient:
                self._pause_all(transient)
                failures += 1
                delay_s = self._backoff.delay_s(failures - 1, JITTER, transient.retry_after_s)
                if failures >= self._limits.tries or delay_s > self._limits.wait_s:
                    raise
            await trio.sleep(delay_s)

    async def _wait_for_turn(self, request: RestRequest) -> None:
        paused_s = self._limiter.paused_s
        if paused_s > self._limits.wait_s:
            raise Unanswered(
                f"{self.origin} is rate-limiting us; next request in {paused_s:.0f} s", retry_after_s=paused_s
            )
        await self._limiter.take(request.costs)

    def _pause_all(self, transient: TransientError) -> None:
        """Pauses all clients of the exchange if the limit applies to the address, not to this request."""
        if isinstance(transient, _TooMany | Busy) and transient.retry_after_s is not None:
            self._limiter.pause(transient.retry_after_s)

    async def _once(self, request: RestRequest) -> Answer:
        import httpx

        assert self._client is not None, "a RestClient is used inside `async with`"
        url = request.url(self._service.base, self._rest_url)
        what = f"{request.method} {url.partition('?')[0]}"
        headers = {**(JSON if request.body is not None else {}), **dict(request.headers)}
        try:
            with deadline(what, self._limits.answer_s):
                async with self._client.stream(
                    request.method, url, content=request.body, headers=headers
                ) as response:
                    body = await self._body(response, what)
        except httpx.HTTPError as error:
            if has_wrong_certificate(error):
                raise WrongCertificate(f"the certificate of {origin(url)} cannot be trusted: {error}") from error
            raise Unanswered(f"{what}: {str(error) or type(error).__name__}") from error
        received_ns = time.time_ns()
        answer_headers = {name.lower(): value for name, value in response.headers.items()}
        if response.status_code != 200:
            raise self._failure(response.status_code, answer_headers, body, what)
        return Answer(body, answer_headers, received_ns)

    async def _body(self, response: "httpx.Response", what: str) -> bytes:
        """Reads the body as sent; rejects a compressed one, which was not requested: it could be of any size."""
        if response.headers.get("content-encoding", "identity") != "identity":
            raise Garbled(f"{what}: the answer is compressed, which was not requested")
        parts: list[bytes] = []
        size = 0
        # Cancelled from inside: a break would leave httpx's generators half read.
        with trio.CancelScope() as reading:
            async for part in response.aiter_raw():
                size += len(part)
                if size > self._limits.body_bytes:
                    reading.cancel()
                else:
                    parts.append(part)
        if size > self._limits.body_bytes:
            raise Garbled(f"{what}: the answer is larger than {self._limits.body_bytes} bytes")
        return b"".join(parts)

    def _failure(self, status: int, headers: Mapping[str, str], body: bytes, what: str) -> Exception:
        error = self._service.error_response(status, body)
        text = f"{what}: HTTP {status} {error.message}".strip()
        ban_s = self._service.banned.get(status, 0.0)
        asked_s = refusal_floor_s(0, headers.get("retry-after"))
        # Our minimum wait applies only if the exchange gave none.
        floor_s = refusal_floor_s(status, None) if asked_s is None and status in FLOORED else asked_s
        if status in TOO_MANY or ban_s or error.retry_after_s is not None:
            return _TooMany(text, retry_after_s=max(ban_s, floor_s or 0.0, error.retry_after_s or 0.0))
        if error.final and status >= 400:
            return Refused(text)
        return Unanswered(text, retry_after_s=floor_s)


class _TooMany(Unanswered):
    """The exchange's rate limit was exceeded."""
