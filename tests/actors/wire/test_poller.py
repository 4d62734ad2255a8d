"""One task reads all sockets; what goes wrong with one of them concerns only the task that waits for it."""

import socket
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from actors.wire.frame_parser import FrameParser
from actors.wire.message_stream import READ_BYTES_MIN, MessageStream
from actors.wire.poller import BURST_BYTES, READ_BYTES, REST_S, Poller
from ops.sandbox.shared_stream import data_frame
from supervisor import Context
from tests.harness.server_frames import CONTINUATION, PING, frame


def pair() -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    return ours, theirs


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        theirs = socket.create_connection(listening.getsockname())
        ours, _ = listening.accept()
    ours.setblocking(False)
    return ours, theirs


class Reads:
    """Notes what is read, when that arrived, and when the turn began; wants no more after `until`."""

    most = READ_BYTES

    def __init__(self, until: bytes = b"end") -> None:
        self.until, self.got = until, list[bytes]()
        self.received_ns, self.turns = list[int](), list[float]()

    def take(self, data: memoryview, received_ns: int, now: float) -> bool:
        self.got.append(bytes(data))
        self.received_ns.append(received_ns)
        self.turns.append(now)
        return self.got[-1] == self.until


class Takes:
    """Calls a function for each read."""

    def __init__(self, take: Callable[[memoryview], bool], most: int = READ_BYTES) -> None:
        self._take, self.most = take, most

    def take(self, data: memoryview, received_ns: int, now: float) -> bool:
        return self._take(data)


async def test_each_socket_is_read_until_its_turn_says_that_it_is_done(nursery: trio.Nursery) -> None:
    poller, readers_of = Poller(), list[Reads]()
    pairs = [pair() for _ in range(20)]

    async def reader(ours: socket.socket) -> None:
        readers_of.append(mine := Reads())
        await poller.serve(ours.fileno(), mine)

    with trio.fail_after(10):
        async with trio.open_nursery() as readers:
            for ours, _ in pairs:
                readers.start_soon(reader, ours)
            await wait_all_tasks_blocked()
            nursery.start_soon(poller.run, Context("poller"))
            for word in (b"one", b"two", b"end"):
                for _, theirs in pairs:
                    theirs.send(word)
                await wait_all_tasks_blocked(0.01)
    assert [one.got for one in readers_of] == [[b"one", b"two", b"end"]] * 20
    for ours, theirs in pairs:
        ours.close()
        theirs.close()


@pytest.mark.parametrize("sockets", [1, 2])
async def test_sockets_that_have_bursts_at_the_same_time_are_read_in_smaller_parts(
    nursery: trio.Nursery, sockets: int
) -> None:
    poller, pairs, readers = Poller(), [pair() for _ in range(sockets)], [Reads() for _ in range(sockets)]
    for (ours, theirs), reader in zip(pairs, readers, strict=True):
        reader.most = 2 * BURST_BYTES
        theirs.send(bytes(6 * BURST_BYTES))
        nursery.start_soon(poller.serve, ours.fileno(), reader)
    await wait_all_tasks_blocked()
    nursery.start_soon(poller.run, Context("poller"))
    await wait_all_tasks_blocked(0.05)
    sizes = [[len(data) // BURST_BYTES for data in reader.got] for reader in readers]
    assert sizes == ([[2, 2, 2]] if sockets == 1 else [[2, 1, 1, 1, 1]] * 2)
    nursery.cancel_scope.cancel()
    for ours, theirs in pairs:
        ours.close()
        theirs.close()


@pytest.mark.parametrize("reads", [1, 2, 3, 4])
async def test_sockets_that_always_have_more_are_read_in_turn(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, reads: int
) -> None:
    """A turn of the poller has time for `reads` of five sockets."""
    pairs, order = [pair() for _ in range(5)], list[int]()
    clock = SimpleNamespace(perf_counter=lambda: len(order), time_ns=time.time_ns)
    monkeypatch.setattr("actors.wire.poller.time", clock)
    monkeypatch.setattr("actors.wire.poller.TURN_S", reads - 0.5)
    poller = Poller()

    async def reader(number: int, ours: socket.socket) -> None:
        def turn(_: memoryview) -> bool:
            order.append(number)
            return len(order) > 36

        await poller.serve(ours.fileno(), Takes(turn, most=1))

    with trio.fail_after(10):
        async with trio.open_nursery() as readers:
            for number, (ours, theirs) in enumerate(pairs):
                theirs.send(b"x" * 60)
                readers.start_soon(reader, number, ours)
            await wait_all_tasks_blocked()
            nursery.start_soon(poller.run, Context("poller"))
    assert all(sorted(order[at : at + 5]) == [0, 1, 2, 3, 4] for at in range(32)), order
    for ours, theirs in pairs:
        ours.close()
        theirs.close()


async def test_what_arrives_shortly_after_a_turn_is_read_together(
    nursery: trio.Nursery, mock_clock: trio.testing.MockClock
) -> None:
    watching = list[str]()
    poller = Poller(watched=lambda: bool(watching))
    pairs, readers = [pair() for _ in range(3)], [Reads() for _ in range(3)]
    nursery.start_soon(poller.run, Context("poller"))
    async with trio.open_nursery() as serving:
        for (ours, _), one in zip(pairs, readers, strict=True):
            serving.start_soon(poller.serve, ours.fileno(), one)

        async def send(*messages: tuple[int, bytes]) -> list[int]:
            for number, message in messages:
                pairs[number][1].send(message)
            await wait_all_tasks_blocked(0.01)
            return [len(one.got) for one in readers]

        assert await send((0, b"x")) == [1, 0, 0]  # after a silence at once
        assert await send((1, b"x"), (2, b"x"), (1, b"y")) == [1, 0, 0]
        mock_clock.jump(REST_S)
        assert await send() == [1, 1, 1]
        assert readers[1].got == [b"xy"]
        assert [one.turns[-1] for one in readers] == [0.0, REST_S, REST_S]
        assert await send((0, b"x")) == [1, 1, 1]
        watching.append("somebody")
        mock_clock.jump(REST_S)
        assert await send() == [2, 1, 1]
        assert await send((1, b"x")) == [2, 2, 1]  # at once while somebody watches
        watching.clear()
        mock_clock.jump(2 * REST_S)
        assert await send((0, b"x" * BURST_BYTES)) == [3, 2, 1]
        assert await send((0, b"x")) == [4, 2, 1]  # and after so much that more is sure to come
        serving.cancel_scope.cancel()
    for ours, theirs in pairs:
        ours.close()
        theirs.close()


async def test_a_reader_that_is_stopped_while_it_rests_ends_at_once(mock_clock: trio.testing.MockClock) -> None:
    poller, (ours, theirs), reader = Poller(), pair(), Reads()
    async with trio.open_nursery() as serving:
        serving.start_soon(poller.serve, ours.fileno(), reader)
        async with trio.open_nursery() as reading:
            reading.start_soon(poller.run, Context("poller"))
            theirs.send(b"x")
            await wait_all_tasks_blocked(0.01)
            assert reader.got == [b"x"]
            theirs.send(b"y")
            reading.cancel_scope.cancel()
        assert trio.current_time() == 0.0 and reader.got == [b"x"]
        serving.start_soon(poller.run, Context("poller"))  # the next one goes on where this one ended
        await wait_all_tasks_blocked(0.01)
        assert reader.got == [b"x", b"y"]
        serving.cancel_scope.cancel()
    ours.close()
    theirs.close()


async def test_a_message_is_as_old_as_its_arrival_however_late_it_is_read(nursery: trio.Nursery) -> None:
    ours, theirs = tcp_pair()
    poller, reader = Poller(), Reads()
    nursery.start_soon(poller.serve, ours.fileno(), reader)
    await wait_all_tasks_blocked()
    for _ in range(20):  # the kernel begins to note times soon after it was asked to
        began_ns = time.time_ns()
        theirs.send(b"x")
        sent_ns = time.time_ns()
        await trio.sleep(0.03)
        async with trio.open_nursery() as reading:
            reading.start_soon(poller.run, Context("poller"))
            await wait_all_tasks_blocked(0.01)
            reading.cancel_scope.cancel()
        if reader.received_ns[-1] <= sent_ns + 10_000_000:
            break
    assert began_ns <= reader.received_ns[-1] <= sent_ns + 10_000_000
    assert sorted(reader.received_ns) == reader.received_ns
    nursery.cancel_scope.cancel()
    ours.close()
    theirs.close()


async def test_reads_of_a_connection_keep_their_order_although_one_packet_came_in_parts(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.wire.message_stream.READ_BYTES", 40)
    ours, theirs = tcp_pair()
    at_ns = list[int]()
    stream = MessageStream(
        trio.SocketStream(trio.socket.from_stdlib_socket(ours)),
        FrameParser(1 << 20),
        lambda messages, received_ns: at_ns.extend([received_ns] * len(messages)),
        before_read=lambda: None,
        read_bytes=65536,
        send_s=1.0,
        poller=(poller := Poller()),
    )
    nursery.start_soon(poller.run, Context("poller"))
    with trio.fail_after(10):
        theirs.send(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        await stream.receive_some()
        theirs.send(data_frame(b"x" * 18) * 20 + b"\x89\x00")  # a ping ends the reading
        await stream.receive_some()
    assert len(at_ns) == 20
    assert all(before < after for before, after in zip(at_ns[::2], at_ns[2::2], strict=False))
    await stream.aclose()
    theirs.close()


async def test_after_its_end_a_stream_does_not_read_the_connection_that_got_its_descriptor(
    nursery: trio.Nursery,
) -> None:
    poller, reader = Poller(), Reads()
    nursery.start_soon(poller.run, Context("poller"))
    ours, theirs = tcp_pair()
    fd = ours.fileno()
    stream = MessageStream(
        trio.SocketStream(trio.socket.from_stdlib_socket(ours)),
        FrameParser(1 << 20),
        lambda *_: pytest.fail("it has no messages"),
        before_read=lambda: None,
        read_bytes=65536,
        send_s=1.0,
        poller=poller,
    )
    with trio.fail_after(10):
        theirs.send(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        await stream.receive_some()
        await stream.aclose()
        after, to_after = sorted(pair(), key=lambda one: one.fileno() != fd)
        assert after.fileno() == fd
        with pytest.raises(trio.ClosedResourceError):
            await stream.receive_some()
        nursery.start_soon(poller.serve, fd, reader)
        to_after.send(b"x")
        await wait_all_tasks_blocked(0.01)
        assert reader.got == [b"x"]
    nursery.cancel_scope.cancel()
    for one in (theirs, after, to_after):
        one.close()


async def test_an_error_of_one_turn_is_raised_in_its_task_and_the_others_go_on(nursery: trio.Nursery) -> None:
    poller, goes_on = Poller(), Reads()
    (bad, to_bad), (good, to_good) = pair(), pair()
    nursery.start_soon(poller.run, Context("poller"))

    def explode(_: memoryview) -> bool:
        raise ZeroDivisionError("a bug")

    async def crashes() -> None:
        with pytest.raises(ZeroDivisionError, match="a bug"):
            await poller.serve(bad.fileno(), Takes(explode))

    with trio.fail_after(10):
        async with trio.open_nursery() as readers:
            readers.start_soon(crashes)
            readers.start_soon(poller.serve, good.fileno(), goes_on)
            await wait_all_tasks_blocked()
            to_bad.send(b"x")
            to_good.send(b"one")
            await wait_all_tasks_blocked(0.01)
            to_good.send(b"end")
    assert goes_on.got == [b"one", b"end"]
    for each in (bad, to_bad, good, to_good):
        each.close()


@pytest.mark.parametrize("closed", [True, False])
async def test_a_task_that_is_cancelled_or_whose_socket_is_closed_waits_no_more(
    nursery: trio.Nursery, closed: bool
) -> None:
    poller, (ours, theirs) = Poller(), pair()
    nursery.start_soon(poller.run, Context("poller"))
    fd, ended = ours.fileno(), list[str]()

    async def reader() -> None:
        try:
            await poller.serve(fd, Reads())
        except trio.ClosedResourceError:
            ended.append("closed")

    with trio.fail_after(10):
        async with trio.open_nursery() as readers:
            readers.start_soon(reader)
            await wait_all_tasks_blocked()
            if closed:
                poller.notify_closing(fd)
            else:
                readers.cancel_scope.cancel()
    assert ended == (["closed"] if closed else [])
    ours.close()
    # the number may be given to the next socket, which is read like any other
    again, to_again = pair()
    last = Reads()
    with trio.fail_after(10):
        to_again.send(b"end")
        await poller.serve(again.fileno(), last)
    assert last.got == [b"end"]
    for each in (theirs, again, to_again):
        each.close()


async def test_connections_that_flood_get_equal_parts_however_long_their_frames_are(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.wire.poller.TURN_S", -1.0)  # each read takes all the time of a turn
    poller, frames = Poller(), [0, 0]

    async def record(connections: trio.Nursery, number: int, payload: bytes) -> None:
        ours, theirs = map(trio.SocketStream, trio.socket.socketpair())

        async def flood() -> None:
            await theirs.send_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
            while True:
                await theirs.send_all(data_frame(payload) * 5_000)

        def sink(messages: list[bytes], _: int) -> None:
            frames[number] += len(messages)

        stream = MessageStream(
            ours, FrameParser(1 << 20), sink, before_read=lambda: None, read_bytes=65536, send_s=1.0, poller=poller
        )
        async with ours, theirs:
            connections.start_soon(flood)
            await stream.receive_some()
            await stream.receive_some()

    nursery.start_soon(poller.run, Context("poller"))
    with trio.fail_after(30):
        async with trio.open_nursery() as connections:
            connections.start_soon(record, connections, 0, b"x" * 60)
            connections.start_soon(record, connections, 1, b"x" * 120)
            while sum(frames) < 200_000:  # noqa: ASYNC110 - no event marks it
                await trio.sleep(0.01)
            connections.cancel_scope.cancel()
    assert 0.8 < frames[0] / frames[1] < 1.25


@pytest.mark.parametrize(
    ("first", "each"),
    [(b"", frame(b"")), (b"", frame(b"", PING)), (frame(b"", final=False), frame(b"", CONTINUATION, final=False))],
    ids=["messages", "pings", "continuations"],
)
async def test_less_is_read_at_once_of_a_flood_of_whatever_frames(first: bytes, each: bytes) -> None:
    near, far = memory_stream_pair()
    async with near, far:
        stream = MessageStream(
            near, FrameParser(1 << 20), lambda *_: None, before_read=lambda: None, read_bytes=65536, send_s=1.0
        )
        assert stream.most == READ_BYTES
        stream.take(memoryview(first + each * 2_000), 1, 0.0)
        assert stream.most == READ_BYTES_MIN
