"""Tests of TLS on a stream, with trio.SSLStream as the server."""

import os
import random
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from actors.wire.dial import client_context
from actors.wire.frame_parser import FrameParser
from actors.wire.message_stream import MessageStream
from actors.wire.poller import Poller
from actors.wire.tls import TlsStream
from supervisor import Context
from tests.harness.paths import CERTS
from tests.harness.server_frames import PING, frame

Server = trio.SSLStream[trio.abc.Stream]
ANSWER = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"


@pytest.fixture(params=["own task", "poller"])
async def poller(request: pytest.FixtureRequest, nursery: trio.Nursery) -> Poller | None:
    """That of the service, or none: then each task reads its own socket."""
    if request.param == "own task":
        return None
    running = Poller()
    nursery.start_soon(running.run, Context("poller"))
    return running


class Passing(trio.abc.Stream):
    """Hands on everything."""

    def __init__(self, inner: trio.abc.Stream) -> None:
        self._inner = inner

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return bytes(await self._inner.receive_some(max_bytes))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._inner.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._inner.aclose()


class Dripping(Passing):
    """Hands on what it reads one byte at a time."""

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return await super().receive_some(1)


class Holding(Passing):
    """Keeps what is sent while `held` is not None; `release` sends it at once."""

    held: bytes | None = None

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self.held is None:
            await super().send_all(data)
        else:
            self.held += data

    async def release(self, *, tampered: bool = False) -> None:
        assert self.held is not None
        data, self.held = self.held, None
        await self.send_all(data[:-1] + bytes([data[-1] ^ tampered]))


def holding(server: Server) -> Holding:
    assert isinstance(server.transport_stream, Holding)
    return server.transport_stream


def sockets() -> tuple[trio.SocketStream, Holding]:
    near, far = map(trio.SocketStream, trio.socket.socketpair())
    return near, Holding(far)


@asynccontextmanager
async def joined(
    wrapped: Callable[[trio.abc.Stream], trio.abc.Stream] | None = None,
    *,
    version: ssl.TLSVersion | None = None,
    pair: Callable[[], tuple[trio.abc.Stream, trio.abc.Stream]] = trio.testing.memory_stream_pair,
) -> AsyncIterator[tuple[TlsStream, Server]]:
    """A client, which may read through `wrapped`, and a server that have shaken hands."""
    near, far = pair()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTS / "localhost.pem")
    if version:
        context.maximum_version = version
    client = TlsStream(wrapped(near) if wrapped else near, client_context(CERTS / "ca.pem"), "localhost")
    server: Server = trio.SSLStream(far, context, server_side=True)
    with trio.fail_after(30):
        async with near, far:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(server.do_handshake)
                await client.do_handshake()
            yield client, server


async def read(stream: TlsStream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = await stream.receive_some(65_536)
        assert part
        data += part
    return data


@pytest.mark.parametrize("drip", [False, True], ids=["whole", "dripping"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_bytes_pass_both_ways_at_once_unchanged(drip: bool, version: ssl.TLSVersion) -> None:
    size = 20_000 if drip else 2_000_000
    down, up = random.Random(1).randbytes(size), random.Random(2).randbytes(size)
    heard = bytearray()

    async with joined(Dripping if drip else None, version=version) as (client, server):

        async def listen() -> None:
            while len(heard) < size:
                heard.extend(await server.receive_some())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.send_all, down)
            nursery.start_soon(client.send_all, up)
            nursery.start_soon(listen)
            assert await read(client, size) == down
    assert heard == up


async def test_one_call_returns_all_records_of_one_read() -> None:
    async with joined() as (client, server):
        for i in range(20):
            await server.send_all(b"%02d" % i)
        assert await client.receive_some(262_144) == b"".join(b"%02d" % i for i in range(20))


async def test_tls_goodbye_is_the_end_though_the_transport_stays_open() -> None:
    async with joined() as (client, server), trio.open_nursery() as nursery:
        await server.send_all(b"last words")
        nursery.start_soon(server.unwrap)  # waits for an answer
        await trio.testing.wait_all_tasks_blocked()
        assert await client.receive_some(65_536) == b"last words"
        assert [await client.receive_some(65_536), await client.receive_some(65_536)] == [b"", b""]
        nursery.cancel_scope.cancel()


def messages_of(client: TlsStream, messages: list[bytes], poller: Poller | None) -> MessageStream:
    return MessageStream(
        client,
        FrameParser(1 << 20),
        lambda new, _: messages.extend(new),
        before_read=lambda: None,
        read_bytes=65_536,
        send_s=5.0,
        poller=poller,
    )


@pytest.mark.parametrize("alone", [True, False])
async def test_messages_end_with_tls_in_whatever_read_its_goodbye_comes(poller: Poller | None, alone: bool) -> None:
    """In one read with a message, or with the answer to the handshake too. The transport stays open."""
    messages = list[bytes]()
    async with joined(pair=sockets) as (client, server), trio.open_nursery() as nursery:
        stream = messages_of(client, messages, poller)
        if alone:
            await server.send_all(ANSWER)
            assert await stream.receive_some() == ANSWER
        holding(server).held = b""
        if not alone:
            await server.send_all(ANSWER)
        await server.send_all(frame(b"last words"))
        nursery.start_soon(server.unwrap)  # waits for an answer
        await trio.testing.wait_all_tasks_blocked()
        await holding(server).release()
        if not alone:
            assert await stream.receive_some() == ANSWER
        assert await stream.receive_some() == b""
        nursery.cancel_scope.cancel()
    assert messages == [b"last words"]


async def test_an_end_without_tls_goodbye_is_an_end_too() -> None:
    async with joined() as (client, server):
        await server.transport_stream.aclose()
        assert await client.receive_some(65_536) == b""


async def test_bytes_that_are_not_tls_break_the_stream() -> None:
    async with joined() as (client, server):
        await server.transport_stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        with pytest.raises(trio.BrokenResourceError) as caught:
            await client.receive_some(65_536)
        assert isinstance(caught.value.__cause__, ssl.SSLError)


async def test_a_record_that_was_tampered_with_breaks_the_stream() -> None:
    class Tampering(Passing):
        armed = False

        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            data = await super().receive_some(max_bytes)
            return data[:-1] + bytes([data[-1] ^ 1]) if self.armed else data

    async with joined(Tampering) as (client, server):
        Tampering.armed = True
        await server.send_all(b"price 100")
        with pytest.raises(trio.BrokenResourceError):
            await client.receive_some(65_536)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_records_before_one_that_was_tampered_with_are_delivered(
    poller: Poller | None, version: ssl.TLSVersion
) -> None:
    messages = list[bytes]()
    async with joined(version=version, pair=sockets) as (client, server):
        stream = messages_of(client, messages, poller)
        await server.send_all(ANSWER)
        assert await stream.receive_some() == ANSWER
        holding(server).held = b""
        for part in (frame(b"price 100"), frame(b"price 101") + frame(b"", PING), frame(b"price 102")):
            await server.send_all(part)
        await holding(server).release(tampered=True)
        assert await stream.receive_some() == frame(b"", PING)
        for _ in range(2):
            with pytest.raises(trio.BrokenResourceError, match="is not TLS") as caught:
                await stream.receive_some()
            assert isinstance(caught.value.__cause__, ssl.SSLError)
    assert messages == [b"price 100", b"price 101"]


async def test_the_clients_context_refuses_renegotiation_and_unknown_names() -> None:
    context = client_context()
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.check_hostname and context.verify_mode is ssl.CERT_REQUIRED


def test_the_system_certificates_are_parsed_once_and_a_file_again_when_it_changes(tmp_path: Path) -> None:
    """Each connection attempt asks for them, and parsing holds up everything else."""
    assert client_context() is client_context()
    copy = tmp_path / "ca.pem"
    copy.write_bytes((CERTS / "ca.pem").read_bytes())
    first = client_context(copy)
    assert client_context(copy) is first
    os.utime(copy, ns=(0, 1))
    assert client_context(copy) is not first
