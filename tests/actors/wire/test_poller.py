"""One task reads all sockets; what goes wrong with one of them concerns only the task that waits for it."""

import socket
from collections.abc import Callable

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.wire.frame_parser import FrameParser
from actors.wire.message_stream import MessageStream
from actors.wire.poller import Poller, read_into
from ops.sandbox.shared_stream import data_frame
from supervisor import Context


def pair() -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    return ours, theirs


def reads(ours: socket.socket, got: list[bytes], until: bytes = b"end") -> Callable[[memoryview], bool]:
    """A turn that notes what it reads, and is done with `until`."""

    def turn(buffer: memoryview) -> bool:
        data = read_into(ours.fileno(), buffer)
        assert data is not None
        got.append(bytes(data))
        return got[-1] == until

    return turn


async def test_each_socket_is_read_until_its_turn_says_that_it_is_done(nursery: trio.Nursery) -> None:
    poller, got = Poller(), list[list[bytes]]()
    pairs = [pair() for _ in range(20)]

    async def reader(ours: socket.socket) -> None:
        mine = list[bytes]()
        got.append(mine)
        await poller.serve(ours.fileno(), reads(ours, mine))

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
    assert got == [[b"one", b"two", b"end"]] * 20
    for ours, theirs in pairs:
        ours.close()
        theirs.close()


async def test_sockets_that_always_have_more_are_read_in_turn(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.wire.poller.TURN_S", -1.0)  # each read takes all the time of a turn
    pairs, order = [pair() for _ in range(4)], list[int]()
    poller = Poller()

    async def reader(number: int, ours: socket.socket) -> None:
        def turn(_: memoryview) -> bool:
            order.append(number)
            ours.recv(1)
            return len(order) > 36

        await poller.serve(ours.fileno(), turn)

    with trio.fail_after(10):
        async with trio.open_nursery() as readers:
            for number, (ours, theirs) in enumerate(pairs):
                theirs.send(b"x" * 60)
                readers.start_soon(reader, number, ours)
            await wait_all_tasks_blocked()
            nursery.start_soon(poller.run, Context("poller"))
    assert all(sorted(order[at : at + 4]) == [0, 1, 2, 3] for at in range(33))
    for ours, theirs in pairs:
        ours.close()
        theirs.close()


async def test_an_error_of_one_turn_is_raised_in_its_task_and_the_others_go_on(nursery: trio.Nursery) -> None:
    poller, got = Poller(), list[bytes]()
    (bad, to_bad), (good, to_good) = pair(), pair()
    nursery.start_soon(poller.run, Context("poller"))

    def explode(_: memoryview) -> bool:
        raise ZeroDivisionError("a bug")

    async def crashes() -> None:
        with pytest.raises(ZeroDivisionError, match="a bug"):
            await poller.serve(bad.fileno(), explode)

    with trio.fail_after(10):
        async with trio.open_nursery() as readers:
            readers.start_soon(crashes)
            readers.start_soon(poller.serve, good.fileno(), reads(good, got))
            await wait_all_tasks_blocked()
            to_bad.send(b"x")
            to_good.send(b"one")
            await wait_all_tasks_blocked(0.01)
            to_good.send(b"end")
    assert got == [b"one", b"end"]
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
            await poller.serve(fd, reads(ours, []))
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
    got = list[bytes]()
    with trio.fail_after(10):
        to_again.send(b"end")
        await poller.serve(again.fileno(), reads(again, got))
    assert got == [b"end"]
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
