"""Tests of the wire on real loopback sockets, against servers that behave and servers that do not."""

import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import pytest
import trio
import trio.lowlevel
import trio.testing
from msgspec.structs import replace
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Event, Ping, Pong, Request, TextMessage

from actors.wire.dial import dial
from actors.wire.errors import classify
from actors.wire.observer import ConnectionStep
from actors.wire.poller import Poller
from actors.wire.websocket import (
    CannotConnect,
    CloseReason,
    ConnectionLost,
    HandshakeRefused,
    NetworkTimeout,
    Sink,
    WebSocket,
    WebSocketLimits,
    WrongCertificate,
    client_context,
)
from actors.wire.websocket import connect as connect_wire
from supervisor import Context, MisconfiguredError, TransientError, Verdict
from tests.harness.memory import allocations
from tests.harness.paths import CERTS
from tests.harness.server_frames import BINARY, CLOSE, CONTINUATION, NORMAL_CLOSE, PING, PONG, frame

LIMITS = WebSocketLimits(message_bytes=1 << 20, connect_s=20, tls_s=20, handshake_s=20, close_s=20, send_s=20)
HASTY = replace(LIMITS, close_s=0.2)
PATIENCE_S = 30  # no test takes this long unless it fails
pollers: list[Poller] = []  # of the test that runs


@pytest.fixture(autouse=True, params=["own task", "poller"])
async def reading(request: pytest.FixtureRequest, nursery: trio.Nursery) -> AsyncIterator[None]:
    """Every test is run twice: with a task that reads its socket, and with the poller, as in the service."""
    if request.param == "poller":
        pollers.append(Poller())
        nursery.start_soon(pollers[0].run, Context("poller"))
    yield
    pollers.clear()


def connect(url: str, **more: Any) -> AbstractAsyncContextManager[WebSocket]:
    return connect_wire(url, poller=pollers[0] if pollers else None, **more)


class Peer:
    """The server's side of one connection: sends raw bytes, hears through wsproto."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.request: Request | None = None
        self._protocol = WSConnection(ConnectionType.SERVER)
        self._events: list[Event] = []

    async def accept(self, also: bytes = b"") -> None:
        """Answers the handshake; `also` goes out in the same segment."""
        event = await self.hear()
        assert isinstance(event, Request)
        self.request = event
        await self.stream.send_all(self.answer() + also)

    def answer(self) -> bytes:
        """The answer to the handshake."""
        return self._protocol.send(AcceptConnection())

    async def hear(self) -> Event | None:
        """The client's next event; None when it has gone."""
        while not self._events:
            try:
                data = await self.stream.receive_some()
            except trio.BrokenResourceError:
                return None
            if not data:
                return None
            self._protocol.receive_data(bytes(data))
            self._events += self._protocol.events()
        return self._events.pop(0)

    async def send(self, *raw: bytes) -> None:
        await self.stream.send_all(b"".join(raw))

    async def read_request(self) -> None:
        """Takes in a handshake without answering it."""
        request = b""
        while b"\r\n\r\n" not in request:
            request += await self.stream.receive_some()


Script = Callable[[Peer], Awaitable[None]]


async def flood(peer: Peer, raw: bytes, count: Callable[[int], None] = lambda size: None) -> None:
    """Sends `raw` again and again until the client is gone."""
    with suppress(trio.BrokenResourceError):
        while True:
            await peer.send(raw)
            count(len(raw))


@asynccontextmanager
async def serving(script: Script, *, certificate: str = "") -> AsyncIterator[str]:
    """Runs `script` for each connection to the URL it yields."""
    context = None
    if certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(CERTS / certificate)

    async def handle(stream: trio.SocketStream) -> None:
        if context is None:
            await script(Peer(stream))
            return
        tls = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        await script(Peer(tls))

    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(partial(trio.serve_tcp, handle, 0, host="127.0.0.1"))
            port = listeners[0].socket.getsockname()[1]
            yield f"{'wss' if context else 'ws'}://127.0.0.1:{port}/ws"
            nursery.cancel_scope.cancel()


class Catch:
    """A sink that keeps everything."""

    def __init__(self) -> None:
        self.batches: list[tuple[list[bytes], int]] = []

    async def __call__(self, messages: list[bytes], received_ns: int) -> None:
        self.batches.append((messages, received_ns))

    @property
    def messages(self) -> list[bytes]:
        return [message for batch, _ in self.batches for message in batch]


async def exchange(
    script: Script, *, limits: WebSocketLimits = LIMITS, certificate: str = ""
) -> tuple[Catch, CloseReason, WebSocket]:
    """Connects, waits until the server's script brings the connection to its end, and leaves."""
    catch = Catch()
    trusted = client_context(CERTS / "ca.pem") if certificate else None
    async with (
        serving(script, certificate=certificate) as url,
        connect(url, sink=catch, limits=limits, ssl_context=trusted) as wire,
    ):
        how = await wire.closed()
    return catch, how, wire


async def refused(script: Script, limits: WebSocketLimits = LIMITS) -> TransientError:
    """The error that a server's script makes connecting end with."""
    async with serving(script) as url:
        try:
            async with connect(url, sink=Catch(), limits=limits):
                pytest.fail("connected")
        except TransientError as exc:
            return exc
    raise AssertionError


# -- messages ----------------------------------------------------------------------------------------------


async def test_messages_arrive_in_order_with_the_time_they_were_read() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(frame(b"one"), frame(b"two", BINARY), frame(b"x" * 70_000))
        await peer.send(frame(b"last"), NORMAL_CLOSE)

    before = time.time_ns()
    catch, how, wire = await exchange(script)
    assert catch.messages == [b"one", b"two", b"x" * 70_000, b"last"]
    assert how == CloseReason(1000, "")
    stamps = [stamp for _, stamp in catch.batches]
    assert stamps == sorted(stamps) and before <= stamps[0] <= stamps[-1] <= time.time_ns()
    assert wire.stats.frames == 4
    assert wire.stats.last_frame_ns >= stamps[-1]
    assert wire.stats.bytes > 70_000


async def test_messages_sent_along_with_the_handshakes_answer_are_delivered() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept(also=frame(b"hello") + frame(b"?", PING) + frame(b"there") + NORMAL_CLOSE)

    catch, how, _ = await exchange(script)
    assert (catch.messages, how.code) == ([b"hello", b"there"], 1000)


async def test_a_connection_fed_byte_by_byte_works_the_same() -> None:
    async def script(peer: Peer) -> None:
        class Dripping:
            async def send_all(self, data: bytes) -> None:
                for i in range(len(data)):
                    await plain.send_all(data[i : i + 1])
                    await trio.lowlevel.checkpoint()

        plain = peer.stream
        stream = frame(b"a" * 130) + frame(b"b", final=False) + frame(b"?", PING) + frame(b"c", CONTINUATION)
        event = await peer.hear()
        assert isinstance(event, Request)
        await Dripping().send_all(peer.answer() + stream + NORMAL_CLOSE)

    catch, how, _ = await exchange(script)
    assert (catch.messages, how.code) == ([b"a" * 130, b"bc"], 1000)


@pytest.mark.parametrize("certificate", ["", "localhost.pem"])
async def test_a_message_of_20_mb_arrives_whole(certificate: str) -> None:
    payload = bytes(range(256)) * (20 * 4096)

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(frame(payload, BINARY), NORMAL_CLOSE)

    catch, how, _ = await exchange(script, limits=WebSocketLimits(message_bytes=32 << 20), certificate=certificate)
    assert (catch.messages == [payload], how.code) == (True, 1000)


async def test_a_ping_within_a_fragmented_message_is_answered_with_its_own_payload() -> None:
    heard: list[Event | None] = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(frame(b"he", final=False), frame(b"id-7", PING), frame(b"llo", CONTINUATION))
        heard.append(await peer.hear())
        await peer.send(NORMAL_CLOSE)

    catch, _, _ = await exchange(script)
    assert [bytes(pong.payload) for pong in heard if isinstance(pong, Pong)] == [b"id-7"]
    assert catch.messages == [b"hello"]


@pytest.mark.parametrize("certificate", ["", "localhost.pem"])
async def test_pings_are_answered_while_data_floods(certificate: str) -> None:
    pongs: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.accept()

        async def listen() -> None:
            while len(pongs) < 20:
                event = await peer.hear()
                assert isinstance(event, Pong)
                pongs.append(bytes(event.payload))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            for i in range(20):
                await peer.send(frame(b"x" * 150) * 1000, frame(b"%d" % i, PING))
        await peer.send(NORMAL_CLOSE)

    catch, how, _ = await exchange(script, certificate=certificate)
    assert pongs == [b"%d" % i for i in range(20)]
    assert (len(catch.messages), how.code) == (20_000, 1000)
    assert len(catch.batches) < 2000, "messages are delivered in batches"


async def test_a_message_that_is_not_utf_8_is_delivered_and_costs_nothing_else() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(frame(b"\xff\xfe"), frame(b"next"), NORMAL_CLOSE)

    catch, how, _ = await exchange(script)
    assert (catch.messages, how.code) == ([b"\xff\xfe", b"next"], 1000)


async def test_a_ping_alone_is_a_sign_of_life_and_no_message() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        await trio.sleep(0.02)
        await peer.send(frame(b"?", PING))
        await peer.hear()

    catch, _, wire = await exchange(script)
    assert wire.stats.last_frame_ns > 0
    assert (wire.stats.frames, catch.batches) == (0, [])


async def test_what_is_sent_arrives_with_path_and_headers() -> None:
    heard: list[object] = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        assert peer.request is not None
        heard.append((peer.request.target, peer.request.host, dict(peer.request.extra_headers)[b"x-who"]))
        heard.append(await peer.hear())

    async with serving(script) as url:
        where = url.removeprefix("ws://").removesuffix("/ws")
        async with connect(f"{url}?a=1", sink=Catch(), limits=LIMITS, headers=[("X-Who", "me")]) as wire:
            await wire.send('{"op":"subscribe"}')
            await wire.closed()
    assert heard == [("/ws?a=1", where, b"me"), TextMessage(data='{"op":"subscribe"}')]


# -- how a connection ends -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "code", "reason"), [(b"", 1005, ""), (b"\x0f\xa1ping expired", 4001, "ping expired")]
)
async def test_the_servers_close_code_and_reason_are_reported(payload: bytes, code: int, reason: str) -> None:
    replies: list[Event | None] = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(frame(b"a"), frame(payload, CLOSE), frame(b"too late"))
        replies.append(await peer.hear())

    catch, how, _ = await exchange(script)
    assert (how, catch.messages) == (CloseReason(code, reason), [b"a"])
    assert isinstance(replies[0], CloseConnection)


@pytest.mark.parametrize("certificate", ["", "localhost.pem"])
async def test_an_end_without_close_frame_is_1006(certificate: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(frame(b"a"), frame(b"cut off")[:4])

    catch, how, _ = await exchange(script, certificate=certificate)
    assert (how.code, catch.messages) == (1006, [b"a"])


async def test_a_reset_connection_is_1006() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        assert isinstance(peer.stream, trio.SocketStream)
        peer.stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        await trio.aclose_forcefully(peer.stream)

    _, how, _ = await exchange(script)
    assert how.code == 1006


async def test_sending_on_an_ended_connection_reports_how_it_ended() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(frame(b"\x03\xf0too many requests", CLOSE))
        await peer.hear()

    async with serving(script) as url, connect(url, sink=Catch(), limits=LIMITS) as wire:
        await wire.closed()
        with pytest.raises(ConnectionLost) as caught:
            await wire.send("x")
    assert (caught.value.code, caught.value.reason) == (1008, "too many requests")


async def test_leaving_the_block_sends_a_close_and_waits_for_the_answer() -> None:
    heard: list[Event | None] = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        heard.append(await peer.hear())
        # A ping that crosses our goodbye must not trip anybody up, and data is not delivered any more.
        await peer.send(frame(b"?", PING), frame(b"late"))
        with trio.move_on_after(0.1) as still_there:
            await peer.hear()
        assert still_there.cancelled_caught
        await peer.send(NORMAL_CLOSE)
        heard.append(await peer.hear())

    catch = Catch()
    async with serving(script) as url:
        async with connect(url, sink=catch, limits=LIMITS):
            pass
        await trio.testing.wait_all_tasks_blocked()
    assert isinstance(heard[0], CloseConnection)
    assert (heard[0].code, heard[1:], catch.messages) == (1000, [None], [])


async def test_leaving_amid_a_burst_of_pings_is_no_error() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(frame(b"?", PING) * 1000)
        while not isinstance(await peer.hear(), CloseConnection | None):
            pass

    async with serving(script) as url, connect(url, sink=Catch(), limits=HASTY) as wire:
        while not wire.stats.last_frame_ns:
            await trio.lowlevel.checkpoint()


@pytest.mark.parametrize(("last", "code"), [(NORMAL_CLOSE, 1000), (b"\xff\xff", 1002)])
async def test_an_end_is_reported_at_once_and_answered_though_the_server_keeps_the_connection(
    last: bytes, code: int
) -> None:
    told = trio.Event()

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(last)
        answer = await peer.hear()
        assert isinstance(answer, CloseConnection) and answer.code == code
        told.set()
        await heard.wait()  # until then it keeps the connection

    heard, before, after = trio.Event(), list[int](), list[int]()
    async with serving(script) as url, connect(url, sink=Catch(), limits=LIMITS) as wire:
        wire.when_ended(lambda lost: before.append(lost.code))
        with trio.fail_after(LIMITS.close_s / 2):
            assert (await wire.closed()).code == code
        assert before == [code]
        await told.wait()
        wire.when_ended(lambda lost: after.append(lost.code))
        assert after == [code]
        heard.set()
    assert (before, after) == ([code], [code])


async def test_leaving_takes_no_longer_than_its_deadline_with_a_server_that_never_answers() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        await trio.sleep_forever()

    async with serving(script) as url:
        async with connect(url, sink=Catch(), limits=HASTY):
            started = trio.current_time()
        assert 0.1 < trio.current_time() - started < LIMITS.close_s


async def test_a_cancelled_block_still_sends_a_close() -> None:
    heard: list[Event | None] = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        heard.append(await peer.hear())
        await peer.send(NORMAL_CLOSE)

    async with serving(script) as url:
        with trio.CancelScope() as scope:
            async with connect(url, sink=Catch(), limits=LIMITS):
                scope.cancel()
                await trio.sleep_forever()
        await trio.testing.wait_all_tasks_blocked()
    assert scope.cancelled_caught
    assert isinstance(heard[0], CloseConnection)


# -- violations ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "code"),
    [(b"\x81\x85abcdhello", 1002), (b"\xc1\x02hi", 1002), (frame(b"x" * 1025, BINARY), 1009)],
    ids=["masked", "rsv", "oversize"],
)
async def test_a_violation_is_answered_with_its_code_and_reported(wrong: bytes, code: int) -> None:
    heard: list[Event | None] = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(frame(b"before"), frame(b"?", PING), wrong, frame(b"after"))
        heard.extend([await peer.hear(), await peer.hear()])

    catch, how, wire = await exchange(script, limits=WebSocketLimits(message_bytes=1024, close_s=5))
    assert isinstance(heard[0], Pong)
    assert isinstance(heard[1], CloseConnection)
    assert (heard[1].code, how.code, catch.messages) == (code, code, [b"before"])
    assert wire.violation is not None
    assert wire.violation.detail == how.reason == heard[1].reason


async def test_an_oversize_fragmented_message_is_answered_with_1009_and_an_excerpt() -> None:
    heard: list[Event | None] = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(frame(b"a" * 1000, final=False), frame(b"b" * 1000, CONTINUATION))
        heard.append(await peer.hear())

    catch, how, wire = await exchange(script, limits=WebSocketLimits(message_bytes=1024, close_s=5))
    assert isinstance(heard[0], CloseConnection)
    assert (heard[0].code, how.code, catch.messages) == (1009, 1009, [])
    assert wire.violation is not None
    assert (wire.violation.kind, wire.violation.size_bytes) == ("oversize", 2000)
    assert wire.violation.excerpt.startswith(b"a" * 1000)


async def test_a_server_that_floods_on_after_its_violation_costs_no_memory() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        await flood(peer, b"\xff" * 65536)

    async with serving(script) as url:
        with allocations("*/actors/wire/*.py") as held:
            async with connect(url, sink=Catch(), limits=HASTY) as wire:
                assert (await wire.closed()).code == 1002
                await trio.sleep(0.1)
                assert held() <= 2 * LIMITS.read_bytes
        await trio.testing.wait_all_tasks_blocked()


# -- the handshake -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "status", "floor_s"),
    [
        (b"403 Forbidden\r\nContent-Length: 7\r\n\r\nblocked", 403, 300),
        (b"429 Slow\r\nRetry-After: 77\r\nContent-Length: 0\r\n\r\n", 429, 77),
        (b"503 No\r\n\r\nno length, and then the connection ends", 503, None),
        (b"503 No\r\nTransfer-Encoding: chunked\r\n\r\nffffff\r\nnever ends", 503, None),
        (b"301 Moved\r\nLocation: https://elsewhere.invalid/\r\nContent-Length: 0\r\n\r\n", 301, None),
        (b"200 OK\r\nContent-Length: 2\r\n\r\nhi", 200, None),
        (b"100 Continue\r\n\r\n", 100, None),
    ],
)
async def test_a_refused_handshake_reports_the_status_and_the_wait(
    answer: bytes, status: int, floor_s: float | None
) -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(b"HTTP/1.1 ", answer)
        await trio.sleep_forever()

    exc = await refused(script)
    assert isinstance(exc, HandshakeRefused)
    assert (exc.status, exc.retry_after_s) == (status, floor_s)
    assert classify(exc) == (Verdict.TRANSIENT, floor_s)
    assert str(status) in str(exc)


CUT_OFF = b"HTTP/1.1 101 cut off"


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"HTTP/1.1 101 Fine\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: no\r\n\r\n",
        b"HTTP/1.1 101 Fine\r\n\r\n",
        b"HTTP/1.1 101 Fine\r\nnot a header\r\n\r\n",
        b"HTTP/9 huh\r\n\r\n",
        b"HTTP/1.1 101 " + b"x" * 40_000,
        CUT_OFF,
        b"",
    ],
    ids=["ssh", "tls", "accept", "bare", "header", "version", "endless", "cut", "nothing"],
)
async def test_what_is_no_websocket_answer_is_transient_and_reported_at_once(answer: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(answer)
        if answer not in (b"", CUT_OFF):
            await trio.sleep_forever()

    exc = await refused(script)
    assert isinstance(exc, CannotConnect)
    assert classify(exc)[0] is Verdict.TRANSIENT


async def test_each_stage_of_connecting_has_its_deadline() -> None:
    async def silent(peer: Peer) -> None:
        await trio.sleep_forever()

    hasty = replace(LIMITS, tls_s=0.2, handshake_s=0.2)
    exc = await refused(silent, hasty)
    assert isinstance(exc, NetworkTimeout)
    assert "WebSocket handshake" in exc.what
    async with serving(silent) as url:
        with pytest.raises(NetworkTimeout, match="TLS handshake"):
            async with connect(url.replace("ws:", "wss:"), sink=Catch(), limits=hasty):
                pytest.fail("connected")


class NoNames(trio.abc.HostnameResolver):
    """A name service that knows nobody."""

    async def getaddrinfo(self, *args: object, **kwargs: object) -> NoReturn:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    getnameinfo = getaddrinfo


async def test_a_refused_connection_and_an_unknown_name_are_transient() -> None:
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    trio.socket.set_custom_hostname_resolver(NoNames())
    refused_url, unknown_url, impossible_url = f"ws://127.0.0.1:{port}", "ws://a.invalid", f"ws://{'x' * 64}.com"
    for url, said in ((refused_url, "refused"), (unknown_url, "not known"), (impossible_url, "x.com")):
        with pytest.raises(CannotConnect, match=said) as caught:
            async with connect(url, sink=Catch(), limits=LIMITS):
                pytest.fail("connected")
        assert classify(caught.value) == (Verdict.TRANSIENT, None)


@pytest.mark.parametrize("url", ["http://example.com", "ws://", "example.com"])
async def test_a_url_that_is_no_websocket_url_is_a_value_error(url: str) -> None:
    with pytest.raises(ValueError, match="not a WebSocket URL"):
        async with connect(url, sink=Catch(), limits=LIMITS):
            pytest.fail("connected")


# -- TLS -----------------------------------------------------------------------------------------------------


async def hello(peer: Peer) -> None:
    await peer.accept()
    await peer.send(frame(b"hello " * 10_000), NORMAL_CLOSE)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_trusted_certificate_is_talked_to(host: str) -> None:
    catch = Catch()
    async with serving(hello, certificate="localhost.pem") as url:
        url, trusted = url.replace("127.0.0.1", host), client_context(CERTS / "ca.pem")
        async with connect(url, sink=catch, limits=LIMITS, ssl_context=trusted) as wire:
            assert (await wire.closed()).code == 1000
    assert catch.messages == [b"hello " * 10_000]


@pytest.mark.parametrize("certificate", ["", "localhost.pem"])
async def test_an_observer_sees_each_step_of_the_connection_in_its_order(certificate: str) -> None:
    seen: list[tuple[ConnectionStep, tuple[str, ...]]] = []
    trusted = client_context(CERTS / "ca.pem") if certificate else None
    async with (
        serving(hello, certificate=certificate) as url,
        connect(url, sink=Catch(), limits=LIMITS, ssl_context=trusted, observe=lambda *step: seen.append(step)),
    ):
        pass
    secured = [(ConnectionStep.SECURED, ())] if certificate else []
    assert seen == [
        (ConnectionStep.RESOLVED, ("127.0.0.1",)),
        (ConnectionStep.CONNECTED, ("127.0.0.1",)),
        *secured,
        (ConnectionStep.OPENED, ()),
    ]


async def test_an_observed_connection_that_fails_shows_the_last_step_that_it_reached() -> None:
    seen: list[ConnectionStep] = []
    with pytest.raises(CannotConnect):
        async with connect(
            "ws://nowhere.invalid/", sink=Catch(), limits=LIMITS, observe=lambda step, _: seen.append(step)
        ):
            pass
    assert seen == []
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(CannotConnect):
        async with connect(
            f"ws://127.0.0.1:{port}", sink=Catch(), limits=LIMITS, observe=lambda step, _: seen.append(step)
        ):
            pass
    assert seen == [ConnectionStep.RESOLVED]


@pytest.mark.parametrize(
    ("certificate", "ca_file", "said"),
    [
        ("elsewhere.pem", CERTS / "ca.pem", "IP address mismatch.*127.0.0.1"),
        ("expired.pem", CERTS / "ca.pem", "expired"),
        ("localhost.pem", None, "unable to get"),
    ],
)
async def test_a_certificate_that_cannot_be_trusted_is_a_misconfigured(
    certificate: str, ca_file: Path | None, said: str
) -> None:
    async def script(peer: Peer) -> None:
        assert await peer.hear() is None, "nothing is said to a server that is not trusted"

    async with serving(script, certificate=certificate) as url:
        with pytest.raises(WrongCertificate, match=said) as caught:
            async with connect(url, sink=Catch(), limits=LIMITS, ssl_context=client_context(ca_file)):
                pytest.fail("connected")
    assert isinstance(caught.value, MisconfiguredError)
    assert isinstance(caught.value.__cause__, trio.BrokenResourceError)
    assert classify(caught.value) == (Verdict.MISCONFIGURED, None)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 plain HTTP\r\n\r\n", b""], ids=["plain", "nothing"])
async def test_a_tls_handshake_that_fails_is_transient_and_reported_at_once(answer: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.stream.receive_some()
        await peer.send(answer)

    async with serving(script) as url:
        with pytest.raises(CannotConnect, match="TLS") as caught:
            async with connect(url.replace("ws:", "wss:"), sink=Catch(), limits=LIMITS):
                pytest.fail("connected")
    assert classify(caught.value) == (Verdict.TRANSIENT, None)


async def test_a_ca_file_that_cannot_be_used_is_reported(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing")
    for path in (empty, tmp_path / "missing.pem"):
        with pytest.raises(MisconfiguredError, match=path.name):
            client_context(path)


# -- the sink ------------------------------------------------------------------------------------------------


class OurError(Exception):
    pass


async def endless(peer: Peer) -> None:
    await peer.accept()
    await flood(peer, frame(b"x" * 150) * 100)


async def wait_for_the_end(url: str, sink: Sink) -> None:
    async with connect(url, sink=sink, limits=LIMITS) as wire:
        await wire.closed()
        pytest.fail("a bug is not an end of the connection")


@pytest.mark.parametrize("bug", [OurError, UnicodeError, KeyError])
async def test_what_the_sink_raises_leaves_the_block_as_it_is_and_is_a_bug(bug: type[Exception]) -> None:
    async def sink(messages: list[bytes], received_ns: int) -> None:
        raise bug

    async with serving(endless) as url:
        started = trio.current_time()
        with pytest.raises(bug) as caught:
            await wait_for_the_end(url, sink)
    assert classify(caught.value) == (Verdict.BUG, None)
    assert trio.current_time() - started < LIMITS.close_s / 2


async def test_what_the_block_raises_leaves_it_as_it_is() -> None:
    async with serving(endless) as url:
        with pytest.raises(OurError):
            async with connect(url, sink=Catch(), limits=HASTY):
                raise OurError


async def test_a_slow_sink_slows_the_server_down() -> None:
    sent = 0

    def count(size: int) -> None:
        nonlocal sent
        sent += size

    async def script(peer: Peer) -> None:
        await peer.accept()
        await flood(peer, frame(b"x" * 60_000), count)

    async def stuck(messages: list[bytes], received_ns: int) -> None:
        await trio.sleep_forever()

    async with serving(script) as url:
        async with connect(url, sink=stuck, limits=HASTY) as wire:
            before = -1
            while sent != before:
                before = sent
                await trio.sleep(0.1)
            read = wire.stats.bytes
        assert read <= LIMITS.read_bytes + 1000
        assert sent < 20_000_000, "what the kernel holds, and no more"


async def test_a_delivery_in_progress_is_finished_when_the_block_is_left() -> None:
    done: list[int] = []
    begun = trio.Event()

    async def slow(messages: list[bytes], received_ns: int) -> None:
        begun.set()
        await trio.sleep(0.1)
        done.append(len(messages))

    async def script(peer: Peer) -> None:
        await peer.accept(also=frame(b"a") * 3)
        await peer.hear()
        await peer.send(frame(b"b"), NORMAL_CLOSE)

    async with serving(script) as url:
        with trio.CancelScope() as scope:
            async with connect(url, sink=slow, limits=LIMITS):
                await begun.wait()
                scope.cancel()
    assert done == [3]


async def test_a_server_that_reads_nothing_makes_sending_time_out() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        await trio.sleep_forever()

    async def send_on(url: str) -> None:
        async with connect(url, sink=Catch(), limits=replace(LIMITS, send_s=0.2, close_s=0.2)) as wire:
            while True:
                await wire.send("x" * 1_000_000)

    async with serving(script) as url:
        with pytest.raises(NetworkTimeout, match="sending"):
            await send_on(url)


async def test_a_ping_that_cannot_be_sent_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = list[trio.abc.Stream]()

    async def script(peer: Peer) -> None:
        await peer.accept()
        await trio.sleep_forever()

    @asynccontextmanager
    async def noted(*target: Any, **more: Any) -> AsyncIterator[trio.abc.Stream]:
        async with dial(*target, **more) as stream:
            streams.append(stream)
            yield stream

    async def full(data: bytes) -> NoReturn:
        await trio.sleep_forever()

    limits = replace(LIMITS, send_s=0.1, close_s=0.1)
    async with serving(script) as url, connect(url, sink=Catch(), limits=limits, dial=noted) as wire:
        monkeypatch.setattr(streams[0], "send_all", full)
        with pytest.raises(NetworkTimeout, match="sending"):
            await wire.ping()


@pytest.mark.parametrize("answers", [True, False])
async def test_a_ping_waits_for_its_answer_and_is_not_kept_without_one(answers: bool) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        while isinstance(event := await peer.hear(), Ping):
            if answers:
                await peer.send(frame(bytes(event.payload), PONG))
        await peer.send(NORMAL_CLOSE)

    limits = replace(LIMITS, send_s=20 if answers else 0.05)
    async with serving(script) as url, connect(url, sink=Catch(), limits=limits) as wire:
        began = trio.current_time()
        for _ in range(3):
            await wire.ping()
        took_s = trio.current_time() - began
        assert took_s < limits.send_s if answers else took_s >= 3 * limits.send_s
        assert wire._library is not None and not wire._library._pings


async def test_a_ping_on_an_ended_connection_reports_how_it_ended() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept(NORMAL_CLOSE)
        await peer.hear()

    async with serving(script) as url, connect(url, sink=Catch(), limits=LIMITS) as wire:
        await wire.closed()
        with pytest.raises(ConnectionLost) as caught:
            await wire.ping()
        assert caught.value.code == 1000
