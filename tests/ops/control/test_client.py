"""The client of the control socket: typed errors for everything that can be wrong at the other end."""

import os
import socket
import stat
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
import trio

from ops.control.app import ControlApp, UnknownName
from ops.control.client import ControlClient, NoService, ProblemReply, segment
from ops.control.limits import ControlLimits
from ops.control.tap import LineBuffer
from tests.harness.control_serving import serve_control

Result = TypeVar("Result")
LIMITS = ControlLimits(request_s=2.0, idle_s=2.0, loop_share=1.0)


class TappedService(ControlApp):
    """A service with one actor of an awkward name and a tap of three lines."""

    capabilities = frozenset({"tap", "restart", "metrics", "change_symbols"})

    def status(self) -> Mapping[str, object]:
        return {"state": "ok"}

    def actors(self) -> Sequence[Mapping[str, object]]:
        return [{"name": "a/b?c=1#ü"}]

    def live(self) -> bool:
        return True

    def ready(self) -> Sequence[str]:
        return ["no feed is fresh"]

    def metrics(self) -> bytes:
        return b"up 1\n"

    @asynccontextmanager
    async def tap(self, exchange: str, symbol: str) -> AsyncIterator[AsyncIterator[bytes]]:
        if exchange:
            raise UnknownName(f"there is no exchange {exchange!r}")
        buffer = LineBuffer(lines_max=2)
        buffer.offer(3, lambda n: b'{"price": "1"}\n' * n)
        buffer.close()
        yield buffer

    async def restart(self, name: str) -> None:
        if name != "a/b?c=1#ü":
            raise UnknownName(f"there is no actor {name!r}")

    async def change_symbols(
        self, exchange: str, add: Sequence[str], remove: Sequence[str]
    ) -> Mapping[str, object]:
        return {"exchange": exchange, "add": add, "remove": remove}


@asynccontextmanager
async def serving(path: Path) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve_control, path, TappedService(), limits=LIMITS))
        yield
        nursery.cancel_scope.cancel()


async def ask(path: Path, work: Callable[[ControlClient], Result]) -> Result:
    """What `work` makes of a client, in a thread of its own as the client blocks."""
    with trio.fail_after(30):
        return await trio.to_thread.run_sync(work, ControlClient(path))


@contextmanager
def scripted(path: Path, answer: bytes) -> Iterator[None]:
    """A server that answers one connection with these bytes and closes it."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join(5)


async def test_it_reads_and_commands(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with serving(path):
        assert await ask(path, lambda client: client.get("/v1/status")) == {"state": "ok"}
        assert await ask(path, lambda client: client.get_text("/metrics")) == "up 1\n"
        change = {"add": ["BTC/USD"], "remove": []}
        changed = await ask(path, lambda client: client.post("/v1/exchanges/kraken/symbols", change))
        assert changed == {"exchange": "kraken", **change}


async def test_any_name_stays_one_name(tmp_path: Path) -> None:
    name, path = "a/b?c=1#ü", tmp_path / "s"
    async with serving(path):
        assert await ask(path, lambda client: client.get(f"/v1/actors/{segment(name)}")) == {"name": name}
        assert await ask(path, lambda client: client.post(f"/v1/actors/{segment(name)}/restart")) == {"ok": True}


async def test_a_stream_returns_each_line_and_ends(tmp_path: Path) -> None:
    async with serving(tmp_path / "s"):
        lines = await ask(tmp_path / "s", lambda client: list(client.stream("/v1/tap")))
    assert lines == [{"price": "1"}, {"price": "1"}, {"lagged": 1}]


async def test_an_error_of_the_service_comes_with_its_code(tmp_path: Path) -> None:
    path = tmp_path / "s"
    calls: dict[str, Callable[[ControlClient], object]] = {
        "unknown_name": lambda client: client.post("/v1/actors/nobody/restart"),
        "not_found": lambda client: client.get("/v1/no-such-route"),
        "not_available": lambda client: client.get("/v1/config"),
    }
    async with serving(path):
        for code, call in calls.items():
            with pytest.raises(ProblemReply) as caught:
                await ask(path, call)
            assert caught.value.code == code and caught.value.status in {404, 501}
        with pytest.raises(ProblemReply) as unready:
            await ask(path, lambda client: client.get("/v1/ready"))
        assert unready.value.members["reasons"] == ["no feed is fresh"]
        with pytest.raises(ProblemReply, match="nowhere") as unknown:
            await ask(path, lambda client: list(client.stream("/v1/tap?exchange=nowhere")))
        assert unknown.value.code == "unknown_name"


def test_no_service_is_reported_with_the_path_and_what_to_do(tmp_path: Path) -> None:
    missing, dead = tmp_path / "missing", tmp_path / "dead"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(dead))
    for path in (missing, dead):
        with pytest.raises(NoService, match="tickwarden run") as caught:
            ControlClient(path).get("/v1/status")
        assert str(path) in str(caught.value)
    with pytest.raises(NoService, match="too long"):
        ControlClient(tmp_path / ("x" * 200)).get("/v1/status")
    with pytest.raises(NoService):
        list(ControlClient(missing).stream("/v1/tap"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may connect to any socket")
def test_a_socket_of_another_user_is_reported(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        listening.listen()
        (tmp_path / "s").chmod(stat.S_IRUSR)
        with pytest.raises(NoService, match="may not connect"):
            ControlClient(tmp_path / "s").get("/v1/status")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ],
)
def test_a_server_with_malformed_answers_is_no_service(tmp_path: Path, answer: bytes) -> None:
    with scripted(tmp_path / "s", answer), pytest.raises(NoService):
        ControlClient(tmp_path / "s").get("/v1/status")


def test_an_error_that_is_no_problem_document_keeps_its_status(tmp_path: Path) -> None:
    answer = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 2\r\n\r\nno"
    with scripted(tmp_path / "s", answer), pytest.raises(ProblemReply) as caught:
        ControlClient(tmp_path / "s").get("/v1/status")
    assert (caught.value.status, caught.value.code) == (502, "unknown")


def test_a_service_that_stops_ends_the_stream_with_a_word(tmp_path: Path) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with scripted(tmp_path / "s", head + b'b\r\n{"n": "1"}\n\r\n'):
        lines = ControlClient(tmp_path / "s").stream("/v1/tap")
        assert next(lines) == {"n": "1"}
        with pytest.raises(NoService, match="closed the connection"):
            next(lines)


async def test_the_answer_of_a_service_without_a_free_slot_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turned_away = threading.Event()
    connect = socket.socket.connect

    def connect_and_dawdle(connection: socket.socket, address: str) -> None:
        connect(connection, address)
        assert turned_away.wait(5)

    monkeypatch.setattr(socket.socket, "connect", connect_and_dawdle)
    answer = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 27\r\n\r\n" + b'{"code":"too_many_clients"}'
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        listening.listen()

        def turn_away() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.sendall(answer)
            turned_away.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, turn_away)
            with pytest.raises(ProblemReply) as caught:
                await ask(tmp_path / "s", lambda client: client.get("/v1/status"))
    assert caught.value.code == "too_many_clients"
