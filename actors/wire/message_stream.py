"""The stream that trio-websocket reads: handshake and control frames; the messages are diverted to the sink.

trio-websocket moves every message through wsproto and a channel (36 us each, measured); diverted here they cost 0.3
us. Handshake, ping and close are left to the library.
"""

import re
import time
from collections.abc import Awaitable, Callable

import trio
from msgspec import Struct

from actors.wire.errors import CannotConnect, HandshakeRefused, NetworkTimeout, refusal_floor_s
from actors.wire.frame_parser import FrameParser
from actors.wire.poller import READ_BYTES, Poller
from actors.wire.tls import TlsStream
from supervisor.text import printable

Sink = Callable[[list[bytes], int], Awaitable[None] | None]

HEAD_BYTES_MAX = 16 * 1024  # an answer to the handshake is a few hundred bytes; h11 has the same limit
LOCATION_CHARS_MAX = 300  # of the location of a redirect
BODY_EXCERPT_BYTES_MAX = 200  # of an error's body, for people to read

# A read may contain 131,072 pings. The library answers one in 30 us and yields only to send, so it gets a few ms of
# work at a time.
CONTROLS_AT_ONCE = 256
# Connections that flood are read in turn, about so many frames each, so that all get an equal part.
FLOOD_FRAMES = 800
READ_BYTES_MIN = 32 * 1024

_HEAD_END = re.compile(rb"\n\r?\n")
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")
_PRINTABLE = re.compile(r"[^ -~]+")
_CLOSE_BYTE = 0x88


class WebSocketStats(Struct):
    """Counters of one connection. `frames` counts whole messages.

    `last_frame_ns` (UTC) and `last_frame_at` (trio's clock, which no clock change moves) are the time of the last
    message or control frame: any of them shows that the connection is alive.
    """

    bytes: int = 0
    frames: int = 0
    last_frame_ns: int = 0
    last_frame_at: float = 0.0


class MessageStream(trio.abc.Stream):
    """Wraps `inner`, which the caller closes.

    `receive_some` calls `sink(messages, received_ns)` once for each read that completed messages, awaits what it
    returns unless that is None, and returns only when there is something for the library: control frames, or b"" at
    the end. While the sink waits nothing is read, so a slow sink slows the server down through TCP. `before_read`
    is called when the library has processed everything it got.

    With a `poller`, which must run, a socket is read in its task, and an error there is raised here. `received_ns`
    is then when the newest part of the read arrived; without one, or if the kernel does not say, when it was read.

    Raises CannotConnect and HandshakeRefused until the handshake is answered, NetworkTimeout if nothing can be sent
    for `send_s`, and errors of the sink. Reading has no deadline here: how long silence may last depends on the
    exchange.
    """

    def __init__(
        self,
        inner: trio.abc.Stream,
        cutter: FrameParser,
        sink: Sink,
        *,
        before_read: Callable[[], None],
        read_bytes: int,
        send_s: float,
        poller: Poller | None = None,
    ) -> None:
        self.stats = WebSocketStats(last_frame_at=trio.current_time())
        self.leaving = False  # nothing new is delivered, and only a close frame still matters
        self._inner = inner
        self._cutter = cutter
        self._sink = sink
        self._before_read = before_read
        self._read_bytes = read_bytes
        self._send_s = send_s
        self._answered = False
        self._rest = b""  # frames that came in the same read as the handshake's answer
        self._rest_ns = 0
        self._controls: list[bytes] = []  # parsed, and not yet passed to the library
        self._pause: Awaitable[None] | None = None  # to be awaited before more is read
        self._ended = self._closed = False
        self._tls = inner if isinstance(inner, TlsStream) else None
        transport = inner.transport if isinstance(inner, TlsStream) else inner
        self._poller = poller
        self.most = READ_BYTES
        self._fd = transport.socket.fileno() if isinstance(transport, trio.SocketStream) else -1

    async def receive_some(self, max_bytes: int | None = None) -> bytes:  # noqa: ARG002 (reads are larger)
        """See trio.abc.ReceiveStream; reads `read_bytes` at a time, whatever the library requests."""
        if not self._answered:
            return await self._receive_answer()
        while True:
            self._before_read()
            if self._controls:
                await trio.lowlevel.checkpoint()
                if portion := self._some_controls():
                    return portion
            if self._ended:
                return b""
            if self._closed:  # its descriptor may be another connection's by now
                raise trio.ClosedResourceError("the connection was closed from this side")
            if self._rest:
                self._accept(self._rest, self._rest_ns, trio.current_time())
                self._rest = b""
            elif self._poller is not None and self._fd >= 0 and not (self._tls is not None and self._tls.ended):
                await self._poller.serve(self._fd, self)
            else:  # once TLS has ended this returns or raises, though the socket may never become readable again
                self._accept(*await self._read(), trio.current_time())
            if self._pause is not None:
                pause, self._pause = self._pause, None
                await pause
            if self._tls is not None:
                await self._tls.answer()
            if portion := self._some_controls():
                return portion

    def take(self, data: memoryview, received_ns: int, now: float) -> bool:
        """See Readable."""
        tls = self._tls
        if tls is None or not data:
            plain = bytes(data)
        else:
            plain = tls.decrypt(data)
            if not plain and not tls.ended:  # the rest of a record has not arrived yet
                return tls.outgoing.pending > 0
        self.stats.bytes += len(plain)
        stats, cutter = self.stats, self._cutter
        before = stats.frames + cutter.others
        done = self._accept(plain, received_ns, now)
        frames = stats.frames + cutter.others - before
        if frames > FLOOD_FRAMES // 8:
            self.most = max(READ_BYTES_MIN, min(READ_BYTES, FLOOD_FRAMES * len(plain) // frames))
        return done or (tls is not None and (tls.ended or tls.outgoing.pending > 0))

    def _accept(self, data: bytes, received_ns: int, now: float) -> bool:
        """Delivers the messages that one read completes. Returns whether there is more to do than to read on."""
        if not data:
            self._ended = True
            return True
        messages, controls = self._cutter.feed(data)
        if messages or controls:
            stats = self.stats
            if received_ns <= stats.last_frame_ns:
                received_ns = time.time_ns()  # the rest of a packet, say; reads have times of their own, in order
            stats.last_frame_ns = received_ns
            stats.last_frame_at = now
            if messages and not self.leaving:
                stats.frames += len(messages)
                self._pause = self._sink(messages, received_ns)
            self._controls += controls
        return bool(controls) or self._pause is not None or self._cutter.closed

    def _some_controls(self) -> bytes:
        """The next few control frames; b"" if there is none that matters."""
        if self.leaving:
            # The library would fail on a ping after its own close frame, which it cannot answer then.
            self._controls = [frame for frame in self._controls if frame[0] == _CLOSE_BYTE]
        some = b"".join(self._controls[:CONTROLS_AT_ONCE])
        del self._controls[:CONTROLS_AT_ONCE]
        return some

    async def _read(self) -> tuple[bytes, int]:
        data = await self._inner.receive_some(self._read_bytes)
        received_ns = time.time_ns()
        self.stats.bytes += len(data)
        return bytes(data), received_ns

    async def _receive_answer(self) -> bytes:
        """Returns the head of a 101 answer, which the library then checks; rejects anything else.

        The library would wait for the end of an error's body, for ever if the connection ends instead, and keep all
        of it.
        """
        head = bytearray()
        searched = 0
        while (end := _HEAD_END.search(head, searched)) is None:
            if not b"HTTP/".startswith(head[:5]):
                raise CannotConnect(f"the server does not speak HTTP: {_excerpt(head)!r}")
            if len(head) > HEAD_BYTES_MAX:
                raise CannotConnect(f"the answer to the handshake is longer than {HEAD_BYTES_MAX} bytes")
            try:
                data, self._rest_ns = await self._read()
            except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
                raise CannotConnect("the connection broke during the handshake") from exc
            if not data:
                raise CannotConnect("the server closed the connection instead of answering the handshake")
            searched = max(0, len(head) - 2)  # the pattern is three bytes long
            head += data
        answer, self._rest = bytes(head[: end.end()]), bytes(head[end.end() :])
        status = _STATUS.match(answer)
        if status is None:
            raise CannotConnect(f"the server does not speak HTTP/1.1: {_excerpt(head)!r}")
        if status[1] != b"101":
            raise _refusal(int(status[1]), answer, self._rest)
        self._answered = True
        return answer

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See trio.abc.SendStream; gives up after `send_s`."""
        try:
            with trio.fail_after(self._send_s):
                await self._inner.send_all(data)
        except trio.TooSlowError as exc:
            raise NetworkTimeout("sending", self._send_s) from exc
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            if self._answered:
                raise
            raise CannotConnect("the connection broke during the handshake") from exc

    async def wait_send_all_might_not_block(self) -> None:
        """See trio.abc.SendStream."""
        await self._inner.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Closes the inner stream; a task that reads gets trio.ClosedResourceError, now or at its next read."""
        self._closed = True
        if self._poller is not None:
            self._poller.notify_closing(self._fd)
        await self._inner.aclose()


def _refusal(status: int, head: bytes, body: bytes) -> HandshakeRefused:
    headers = {}
    for line in head.decode("latin-1").splitlines()[1:]:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    detail = printable(headers.get("location", ""), LOCATION_CHARS_MAX) or _excerpt(body)
    return HandshakeRefused(
        status, retry_after_s=refusal_floor_s(status, headers.get("retry-after")), detail=detail
    )


def _excerpt(data: bytes | bytearray) -> str:
    return _PRINTABLE.sub(" ", data[:BODY_EXCERPT_BYTES_MAX].decode("latin-1")).strip()
