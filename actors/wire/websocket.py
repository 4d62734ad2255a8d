"""Opens one WebSocket connection to an exchange and delivers its messages in batches."""

import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress

import h11
import trio
import trio_websocket
import wsproto.events
import wsproto.utilities
from msgspec import Struct

from actors.wire.dial import Dial, Target, client_context, deadline, dial, parse_url
from actors.wire.errors import (
    CannotConnect,
    ConnectionLost,
    HandshakeRefused,
    NetworkTimeout,
    WrongCertificate,
)
from actors.wire.frame_parser import CONTROL_BYTES_MAX, FrameParser, Violation
from actors.wire.message_stream import MessageStream, Sink, WebSocketStats
from actors.wire.observer import ConnectionStep, Observer
from actors.wire.poller import READ_BYTES, Poller
from supervisor.text import printable

__all__ = [
    "CannotConnect",
    "CloseReason",
    "Connect",
    "ConnectionLost",
    "HandshakeRefused",
    "NetworkTimeout",
    "Sink",
    "WebSocket",
    "WebSocketLimits",
    "WebSocketStats",
    "WrongCertificate",
    "client_context",
    "connect",
]

ENDED_WITHOUT_CLOSE = 1006  # RFC 6455, section 7.1.5
_WRONG_ANSWER = "the server does not speak WebSocket: its 101 does not match our request"


class WebSocketLimits(Struct, frozen=True, kw_only=True):
    """The limits of one connection: the longest message, and a deadline in seconds for every wait."""

    message_bytes: int
    connect_s: float = 10.0
    tls_s: float = 10.0
    handshake_s: float = 10.0
    close_s: float = 2.0
    send_s: float = 10.0
    read_bytes: int = READ_BYTES


class CloseReason(Struct, frozen=True):
    """How a connection ended: RFC 6455's code (1006: without a close frame) and the reason sent with it."""

    code: int
    reason: str


class WebSocket:
    """One open connection; `connect` creates and closes it."""

    def __init__(
        self,
        inner: trio.abc.Stream,
        target: Target,
        sink: Sink,
        limits: WebSocketLimits,
        poller: Poller | None = None,
    ) -> None:
        self._target = target
        self._limits = limits
        self._cutter = FrameParser(limits.message_bytes)
        self._stream = MessageStream(
            inner,
            self._cutter,
            sink,
            before_read=self._look,
            read_bytes=limits.read_bytes,
            send_s=limits.send_s,
            poller=poller,
        )
        self._nursery: trio.Nursery | None = None
        self._library: trio_websocket.WebSocketConnection | None = None
        self._shaken = False  # the library has accepted the server's answer to the handshake
        self._pings = 0  # sent so far
        self._failing = False  # this side is closing because of a protocol violation
        self._over = trio.Event()
        self._on_end: Callable[[ConnectionLost], object] | None = None
        self._reading = trio.CancelScope()
        self._goodbye = trio.CancelScope(shield=True)

    @property
    def stats(self) -> WebSocketStats:
        """Live counters of this connection."""
        return self._stream.stats

    @property
    def violation(self) -> Violation | None:
        """The server's protocol violation, if this side closed because of one (code 1002 or 1009)."""
        return self._cutter.violation

    @property
    def ended(self) -> CloseReason | None:
        """How the connection ended; None while it is open."""
        return self._how() if self._over.is_set() else None

    async def send(self, text: str) -> None:
        """Sends one text message. Raises ConnectionLost if the connection has ended, or NetworkTimeout."""
        assert self._library is not None
        try:
            await self._library.send_message(text)
        except trio_websocket.ConnectionClosed as exc:
            raise self._lost() from exc

    async def ping(self) -> None:
        """Sends a protocol ping, then waits for its answer, at most `send_s`; a missing answer is no error here.

        Raises ConnectionLost if the connection has ended, or NetworkTimeout if the ping cannot be sent.
        """
        # The library's own `ping` keeps each ping without an answer, and a deadline for its wait is one for sending
        # too, which can cut a ping off half-sent. Nothing else that is public sends pings, hence its private parts.
        library = self._library
        assert library is not None
        if library.closed is not None:
            raise self._lost()
        self._pings += 1
        payload = self._pings.to_bytes(4, "big")
        answered = library._pings[payload] = trio.Event()
        try:
            await library._send(wsproto.events.Ping(payload))
            with trio.move_on_after(self._limits.send_s):
                await answered.wait()
        except trio_websocket.ConnectionClosed as exc:
            raise self._lost() from exc
        finally:
            library._pings.pop(payload, None)

    async def closed(self) -> CloseReason:
        """Waits until the connection has ended, by either side; returns how."""
        await self._over.wait()
        return self._how()

    def when_ended(self, on_end: Callable[[ConnectionLost], object]) -> None:
        """Calls `on_end` once, when either side has ended the connection; immediately if it has ended already."""
        self._on_end = on_end
        if self._over.is_set():
            self._end()

    def _end(self) -> None:
        self._over.set()
        if self._on_end is not None:
            how, on_end, self._on_end = self._how(), self._on_end, None
            on_end(ConnectionLost(how.code, how.reason))

    def _lost(self) -> ConnectionLost:
        self._look()
        how = self._how()
        return ConnectionLost(how.code, how.reason)

    def _how(self) -> CloseReason:
        if self._cutter.violation is not None:
            return CloseReason(self._cutter.violation.code, self._cutter.violation.detail)
        assert self._library is not None
        reason = self._library.closed
        if reason is None or reason.code == ENDED_WITHOUT_CLOSE:
            return CloseReason(ENDED_WITHOUT_CLOSE, "the connection ended without a close frame")
        return CloseReason(int(reason.code), printable(reason.reason or "", CONTROL_BYTES_MAX))

    async def _run(
        self,
        headers: list[tuple[bytes, bytes]],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Does the handshake, then runs the library's reading task until the connection ends or `_leave` is done.

        A cancellation from outside does not reach the reading task: otherwise there would be no orderly close, and
        a delivery to the sink would be interrupted. `_leave` bounds how long it may continue.
        """
        try:
            with self._reading:
                async with trio.open_nursery() as self._nursery:
                    with deadline("the WebSocket handshake", self._limits.handshake_s):
                        self._library = await trio_websocket.wrap_client_stream(
                            self._nursery,
                            self._stream,  # type: ignore[arg-type]  # any trio.abc.Stream will do, its docs say
                            self._target.host_header,
                            self._target.resource,
                            extra_headers=headers,
                            max_message_size=self._limits.message_bytes,
                        )
                    # A cancellation at just this moment must take effect now: behind the shield, and with a start
                    # that trio then treats as failed, nothing would ever end the reading.
                    await trio.lowlevel.checkpoint_if_cancelled()
                    self._reading.shield = True
                    self._look()
                    task_status.started()
        except* wsproto.utilities.LocalProtocolError as errors:
            if not self._shaken:
                raise CannotConnect(_WRONG_ANSWER) from errors
            # The library fails on a ping that arrives after this side's close frame.
            if not (self._failing or self._stream.leaving):
                raise
        except* (wsproto.utilities.RemoteProtocolError, h11.ProtocolError, UnicodeError) as errors:
            if self._shaken:
                raise
            raise CannotConnect(_WRONG_ANSWER) from errors
        finally:
            self._goodbye.cancel()
        self._end()

    def _look(self) -> None:
        """Updates the state; called when the library has processed everything it got."""
        self._shaken = True
        if self._library is None or self._failing:
            return
        if self._cutter.violation is not None:
            self._failing = True
            assert self._nursery is not None
            self._nursery.start_soon(self._fail)
            self._end()
        elif self._library.closed is not None:
            self._end()

    async def _fail(self) -> None:
        # trio-websocket would note a protocol error without informing the server, and keep reading into
        # memory; so the connection is failed from here, as RFC 6455 section 7.1.7 asks.
        with trio.move_on_after(self._limits.close_s):
            await self._say_goodbye()

    async def _say_goodbye(self) -> None:
        assert self._library is not None
        violation = self._cutter.violation
        if violation is None:
            await self._library.aclose()
        else:
            await self._library.aclose(violation.code, violation.detail)

    async def _leave(self) -> None:
        """Sends a close frame and waits for the other side's, both at most `close_s`."""
        self._stream.leaving = True
        self._goodbye.deadline = trio.current_time() + self._limits.close_s
        with self._goodbye:  # left when the reading task has ended, or at the deadline
            with suppress(NetworkTimeout):
                await self._say_goodbye()
            await trio.sleep_forever()
        self._reading.cancel()


@asynccontextmanager
async def connect(
    url: str,
    *,
    sink: Sink,
    limits: WebSocketLimits,
    ssl_context: ssl.SSLContext | None = None,
    headers: Sequence[tuple[str, str]] = (),
    observe: Observer | None = None,
    dial: Dial = dial,
    poller: Poller | None = None,
) -> AsyncIterator[WebSocket]:
    """Opens `url` (ws:// or wss://) and closes it when the block is left, within `limits.close_s`.

    `sink(messages, received_ns)` is called once for each read that completed messages, in order, possibly before
    this yields, and what it returns is awaited unless that is None; no new delivery starts once the block is left.
    Errors of the sink leave the block unchanged. The end of the connection does not end the block: await
    `WebSocket.closed`.

    Raises CannotConnect, HandshakeRefused, NetworkTimeout (all TransientError) and WrongCertificate (a
    MisconfiguredError).
    """
    target = parse_url(url)
    dialled = dial(target, ssl_context=ssl_context, connect_s=limits.connect_s, tls_s=limits.tls_s, observe=observe)
    with _unwrapped():
        async with dialled as inner, trio.open_nursery() as nursery:
            wire = WebSocket(inner, target, sink, limits, poller)
            extra = [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers]
            await nursery.start(wire._run, extra)
            if observe is not None:
                observe(ConnectionStep.OPENED, ())
            try:
                yield wire
            finally:
                await wire._leave()


Connect = Callable[..., AbstractAsyncContextManager[WebSocket]]  # as `connect`


@contextmanager
def _unwrapped() -> Iterator[None]:
    """Nurseries raise groups: a single error is raised as itself, so that its type shows its cause."""
    try:
        yield
    except BaseExceptionGroup as group:
        single: BaseException = group
        while isinstance(single, BaseExceptionGroup) and len(single.exceptions) == 1:
            single = single.exceptions[0]
        if single is group:
            raise
        raise single from single.__cause__
