"""The socket file and who may use it: how it is created, replaced and removed, and what each peer may do."""

import base64
import grp
import json
import os
import shutil
import socket
import stat
import struct
import sys
import tempfile
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, aclosing, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from ops.control.limits import ControlLimits
from ops.control.listener import PATH_BYTES_MAX, ControlError, SocketInUse, SocketPathError, control_listener
from ops.control.peers import Peer, peer_of
from ops.control.tap import LineBuffer
from tests.harness.control_serving import QuietApp, serve_control, serve_http

FAST = ControlLimits(request_s=1.0, idle_s=1.0, linger_s=0.2, loop_share=1.0)
NOBODY = 65534
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

# As nobody, sends one request and prints the status code, or "denied" if it may not even connect.
ASK = """
import os, socket, sys
path, method, target, gid, *extra = sys.argv[1:]
os.setgroups([int(group) for group in extra])
os.setgid(int(gid))
os.setuid(65534)
connection = socket.socket(socket.AF_UNIX)
connection.settimeout(5)
try:
    connection.connect(path)
    connection.sendall(f"{method} {target} HTTP/1.1\\r\\nHost: t\\r\\nConnection: close\\r\\n\\r\\n".encode())
    print(connection.recv(65536).decode().split()[1])
except PermissionError:
    print("denied")
"""


class QuietService(QuietApp):
    """The least that a service offers."""

    capabilities = frozenset({"merge"})
    asked = 0

    def status(self) -> Mapping[str, object]:
        self.asked += 1
        return {"state": "ok"}

    async def merge(self) -> None:
        return None


@asynccontextmanager
async def serving(
    path: Path,
    *,
    group: str = "",
    limits: ControlLimits = FAST,
    credentials: Callable[[socket.socket, int | None], Peer] = peer_of,
) -> AsyncIterator[QuietService]:
    app = QuietService()
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve_control, path, app, group=group, limits=limits, credentials=credentials))
        yield app
        nursery.cancel_scope.cancel()


async def ask(path: Path, target: str = "/v1/status") -> int:
    """The status code that a GET on a connection of its own is answered with."""
    with trio.fail_after(30):
        async with await trio.open_unix_socket(path) as stream:
            await stream.send_all(f"GET {target} HTTP/1.1\r\nHost: t\r\n\r\n".encode())
            return int((await stream.receive_some(65536)).split()[1])


async def refused(error: type[ControlError], path: Path, *, group: str = "") -> str:
    """What a service says that cannot open its socket at `path`."""
    with pytest.RaisesGroup(pytest.RaisesExc(error)) as caught:
        async with serving(path, group=group):
            pass
    return str(caught.value.exceptions[0])


async def test_the_socket_is_for_its_owner_only_and_removed_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    async with serving(path):
        assert stat.S_IMODE(path.lstat().st_mode) == 0o600 and stat.S_ISSOCK(path.lstat().st_mode)
        assert [entry.name for entry in tmp_path.iterdir()] == ["s.sock"]
        assert await ask(path) == 200
    assert list(tmp_path.iterdir()) == []


async def test_a_relative_path_is_served_where_the_process_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with serving(Path("s.sock")):
        assert await ask(tmp_path / "s.sock") == 200
    assert list(tmp_path.iterdir()) == []


async def test_nobody_can_reach_the_socket_before_its_mode_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, born = tmp_path / "s.sock", []
    chmod = os.chmod

    def watched(where: Path, mode: int, **how: bool) -> None:
        if where.is_socket():
            born.append((stat.S_IMODE(where.parent.stat().st_mode), where.parent.parent, path.exists()))
        chmod(where, mode, **how)

    monkeypatch.setattr(os, "chmod", watched)
    seen: set[int] = set()
    stop = threading.Event()

    def spy() -> None:
        while not stop.is_set():
            try:
                seen.add(stat.S_IMODE(path.lstat().st_mode))
            except FileNotFoundError:
                continue

    umask = os.umask(0)  # the worst one: whatever is made without care is open to everybody
    watcher = threading.Thread(target=spy)
    watcher.start()
    try:
        for _ in range(50):
            with control_listener(path, None, 10):
                pass
    finally:
        stop.set()
        watcher.join()
        os.umask(umask)
    assert set(born) == {(0o700, tmp_path, False)}
    assert seen <= {0o600}


async def test_the_socket_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    script = (
        "import os, signal, socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen();"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    await trio.run_process([sys.executable, "-c", script, str(path)], check=False)
    assert path.is_socket()
    async with serving(path):
        assert await ask(path) == 200
    assert list(tmp_path.iterdir()) == []


async def test_a_living_service_is_not_displaced(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    async with serving(path):
        before = path.lstat().st_ctime_ns
        assert str(path) in await refused(SocketInUse, path)
        assert path.lstat().st_ctime_ns == before  # not even moved away and back
        assert await ask(path) == 200
    assert list(tmp_path.iterdir()) == []


def test_a_successor_takes_the_path_in_one_step_and_its_predecessor_leaves_it_alone(tmp_path: Path) -> None:
    path, lost = tmp_path / "s.sock", list[str]()
    over = threading.Event()

    def connect() -> None:
        while not over.is_set():
            with socket.socket(socket.AF_UNIX) as client:
                if client.connect_ex(str(path)):
                    lost.append("nobody listens")

    with ExitStack() as successors, control_listener(path, None, 1000):
        visitor = threading.Thread(target=connect)
        visitor.start()
        try:
            for _ in range(50):
                listening = successors.enter_context(control_listener(path, None, 1000, replaces=True))
        finally:
            over.set()
            visitor.join()
        assert lost == []
        before = path.lstat().st_ino
        with control_listener(path, None, 10, replaces=True):
            assert path.lstat().st_ino != before
        assert not path.exists() and listening.fileno() >= 0
    assert list(tmp_path.iterdir()) == []


async def test_a_service_whose_backlog_is_full_counts_as_living(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
        busy.bind(str(path))
        busy.listen(0)
        waiting.connect(str(path))
        await refused(SocketInUse, path)


async def test_one_that_started_in_the_same_moment_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.sock"
    rename = os.rename
    with socket.socket(socket.AF_UNIX) as dead, socket.socket(socket.AF_UNIX) as other:
        dead.bind(str(path))

        def another_starts(old: Path, new: Path) -> None:
            """It was asked whether somebody listens, and the answer was no; now somebody does."""
            path.unlink()
            other.bind(str(path))
            other.listen()
            rename(old, new)

        monkeypatch.setattr(os, "rename", another_starts)
        assert "has just started" in await refused(SocketInUse, path)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
    assert list(tmp_path.iterdir()) == [path]


async def test_of_many_starting_on_a_dead_socket_exactly_one_serves(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    for _ in range(20):
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
        outcomes: list[str] = []
        async with trio.open_nursery() as nursery:

            async def contend(nursery: trio.Nursery = nursery, outcomes: list[str] = outcomes) -> None:
                try:
                    with control_listener(path, None, 10):
                        outcomes.append("serves")
                        await trio.sleep_forever()
                except SocketInUse:
                    outcomes.append("in use")

            for _ in range(8):
                nursery.start_soon(contend)
            with trio.fail_after(30):
                while len(outcomes) < 8:  # noqa: ASYNC110 - eight contenders, one list
                    await trio.sleep(0.001)
            nursery.cancel_scope.cancel()
        assert sorted(outcomes) == ["in use"] * 7 + ["serves"]
        assert list(tmp_path.iterdir()) == []


async def test_a_socket_that_is_no_longer_ours_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    with socket.socket(socket.AF_UNIX) as other:
        async with serving(path):
            path.unlink()
            other.bind(str(path))
        assert path.is_socket()


async def test_a_file_in_the_way_is_kept_and_named(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    path.write_text("precious")
    assert "not a socket" in await refused(SocketPathError, path)
    assert path.read_text() == "precious"


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    assert str(tmp_path / "no") in await refused(SocketPathError, tmp_path / "no" / "s.sock")


async def test_a_path_too_long_for_a_socket_reports_what_to_do(tmp_path: Path) -> None:
    longest = tmp_path / ("x" * (PATH_BYTES_MAX - len(os.fsencode(tmp_path)) - 1))
    async with serving(longest):
        assert await ask(longest) == 200
    message = await refused(SocketPathError, longest.with_name(longest.name + "x"))
    assert "107" in message and "[control] socket" in message
    deep = Path(tempfile.mkdtemp(dir=tmp_path, suffix="y" * (PATH_BYTES_MAX - 12 - len(os.fsencode(tmp_path)))))
    await refused(SocketPathError, deep / "s")  # the name fits, its birthplace does not


async def test_an_unknown_group_is_named(tmp_path: Path) -> None:
    assert "'no-such-group'" in await refused(ControlError, tmp_path / "s", group="no-such-group")


async def test_a_group_that_cannot_be_set_is_an_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_permitted(*_: object) -> None:
        raise PermissionError(1, "not permitted")

    monkeypatch.setattr(os, "chown", not_permitted)
    assert "not a member" in await refused(SocketPathError, tmp_path / "s", group=grp.getgrgid(os.getgid()).gr_name)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can enter, which pytest's are not."""
    folder = Path(tempfile.mkdtemp(prefix="tw-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


async def ask_as(path: Path, method: str, target: str, *, gid: int, extra: list[int]) -> str:
    """What user nobody with these groups gets."""
    command = [sys.executable, "-S", "-c", ASK, str(path), method, target, str(gid), *map(str, extra)]
    done = await trio.run_process(command, capture_stdout=True)
    return done.stdout.decode().strip()


@root_only
async def test_another_user_is_refused_even_if_the_file_lets_him_in(open_folder: Path) -> None:
    path = open_folder / "s.sock"
    async with serving(path):
        assert await ask_as(path, "GET", "/v1/status", gid=NOBODY, extra=[]) == "denied"
        path.chmod(0o666)
        assert await ask_as(path, "GET", "/v1/status", gid=NOBODY, extra=[]) == "403"
        assert await ask_as(path, "POST", "/v1/merge", gid=NOBODY, extra=[]) == "403"


@root_only
async def test_members_of_the_group_read_and_never_command(open_folder: Path) -> None:
    path = open_folder / "s.sock"
    group = next(entry for entry in grp.getgrall() if entry.gr_gid not in (0, NOBODY))
    async with serving(path, group=group.gr_name):
        assert stat.S_IMODE(path.lstat().st_mode) == 0o660 and path.lstat().st_gid == group.gr_gid
        for gid, extra in ((group.gr_gid, []), (NOBODY, [1234, group.gr_gid])):
            assert await ask_as(path, "GET", "/v1/status", gid=gid, extra=extra) == "200"
            assert await ask_as(path, "POST", "/v1/merge", gid=gid, extra=extra) == "403"
        assert await ask_as(path, "GET", "/v1/status", gid=NOBODY, extra=[1234]) == "denied"


class Stranger(socket.socket):
    """A connection of another user's process, by what the kernel says."""

    def getsockopt(self, level: int, option: int, size: int = 0) -> Any:
        if option == socket.SO_PEERCRED:
            return struct.pack("3i", 77, 4242, 4243)
        return super().getsockopt(level, option, size)


def test_the_owner_commands_and_a_stranger_may_nothing() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        peer = peer_of(ours, None)
        assert peer == Peer(may_read=True, may_command=True, uid=os.geteuid(), pid=os.getpid())
        with Stranger(fileno=ours.detach()) as stranger:
            assert peer_of(stranger, None) == Peer(may_read=False, may_command=False, uid=4242, pid=77)
            assert peer_of(stranger, 4243).may_read
            assert not peer_of(stranger, 4244).may_read


def test_where_the_kernel_names_no_peer_the_files_mode_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "SO_PEERCRED")
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        assert peer_of(ours, None) == Peer(may_read=True, may_command=True)
        assert peer_of(ours, 4243) == Peer(may_read=True, may_command=False)


async def test_one_client_too_many_is_rejected_at_once_and_served_when_another_leaves(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    async with serving(path, limits=ControlLimits(loop_share=1.0)):
        clients = [await trio.open_unix_socket(path) for _ in range(16)]
        with trio.fail_after(30):
            async with await trio.open_unix_socket(path) as late:
                answer = b"".join([chunk async for chunk in late])  # without having asked anything
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503") and json.loads(body)["code"] == "too_many_clients"
        assert f"Content-Length: {len(body)}".encode() in head and b"Retry-After: 1" in head
        await clients.pop().aclose()
        with trio.fail_after(30):
            while await ask(path) != 200:  # noqa: ASYNC110 - when the server notices is its own affair
                await trio.sleep(0.01)
        for client in clients:
            await client.aclose()


GET = "GET {} HTTP/1.1\r\nHost: t\r\n\r\n"


class TalkingService(QuietService):
    """Its tap has a line every few moments, or one line and then no more."""

    capabilities = frozenset({"tap", "events"})

    def __init__(self, every_s: float) -> None:
        super().__init__()
        self._every_s = every_s

    @asynccontextmanager
    async def tap(self, exchange: str, symbol: str) -> AsyncIterator[AsyncIterator[bytes]]:
        async def lines() -> AsyncGenerator[bytes, None]:
            while True:
                yield b'{"price":"1"}\n'
                await trio.sleep(self._every_s)

        async with aclosing(lines()) as opened:
            yield opened

    def events(self, since: int) -> Sequence[Mapping[str, object]]:
        return [{"number": since, "reason": "x" * 100} for _ in range(10_000)]


@pytest.mark.parametrize(
    ("sent", "every_s"),
    [
        ("", 1000),
        (GET.format("/v1/tap"), 0.01),
        (GET.format("/v1/tap"), 1000),
        (GET.format("/v1/status"), 1000),
        (GET.format("/v1/events"), 1000),
        (GET.format("/v1/status") * 50, 1000),
    ],
    ids=["nothing", "busy tap", "quiet tap", "status", "events", "pipeline"],
)
async def test_clients_that_never_read_or_ask_give_up_their_places_and_no_others(
    tmp_path: Path, sent: str, every_s: float
) -> None:
    path, limits = tmp_path / "s.sock", ControlLimits(loop_share=1.0, wasted_s=0.2, look_every_s=0.05)
    app, heard = TalkingService(every_s), [0]

    async def reader(stream: trio.SocketStream) -> None:
        async for chunk in stream:
            heard[0] += len(chunk)
            await trio.sleep(0.01)
        heard[0] = -1  # it was closed

    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve_control, path, app, limits=limits))
        honest = await trio.open_unix_socket(path)
        await honest.send_all(GET.format("/v1/tap").encode())
        nursery.start_soon(reader, honest)
        idlers = []
        for _ in range(limits.clients_max - 1):
            idlers.append(await trio.open_unix_socket(path))
            await idlers[-1].send_all(sent.encode())
        with trio.fail_after(30):
            await trio.sleep(0.5)  # wasted_s and the looks around it; without the eviction it would be 5 s and more
            for _ in range(3 * limits.clients_max):
                assert await ask(path) == 200
        assert heard[0] > 0  # who reads what comes, or waits where nothing comes, keeps its place
        nursery.cancel_scope.cancel()
    for client in (honest, *idlers):
        await client.aclose()


async def test_clients_that_left_before_their_turn_cost_no_answer(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    async with serving(path) as app:
        for _ in range(200):  # all in the queue before the server's task runs
            with socket.socket(socket.AF_UNIX) as hasty:
                hasty.connect(str(path))
                hasty.send(b"GET /v1/status HTTP/1.1\r\nHost: t\r\n\r\n")
        assert await ask(path) == 200
        assert app.asked == 1


async def test_readers_cannot_take_the_slots_reserved_for_commanders(tmp_path: Path) -> None:
    peers = iter([Peer(may_read=True, may_command=False)] * 13)
    owner = Peer(may_read=True, may_command=True)
    path = tmp_path / "s.sock"
    async with serving(path, credentials=lambda *_: next(peers, owner)):
        readers = [await trio.open_unix_socket(path) for _ in range(12)]
        assert await ask(path) == 503
        assert await ask(path) == 200
        for reader in readers:
            await reader.aclose()


async def ask_http(port: int, method: str, target: str, *headers: str) -> int:
    with trio.fail_after(30):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            lines = [f"{method} {target} HTTP/1.1", *headers, "Connection: close", "", ""]
            await stream.send_all("\r\n".join(lines).encode())
            return int((await stream.receive_some(65536)).split()[1])


@pytest.mark.parametrize(
    ("token", "names"),
    [("", "localhost or the address of [control] http"), ("s" * 16, "an IP address or this machine's own name")],
)
async def test_a_misdirected_request_learns_which_names_are_answered(
    nursery: trio.Nursery, token: str, names: str
) -> None:
    port = await nursery.start(partial(serve_http, "127.0.0.1", 0, QuietService(), token=token, limits=FAST))
    with trio.fail_after(30):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: box.example\r\nConnection: close\r\n\r\n")
            answer = b"".join([part async for part in stream]).decode()
    assert "421" in answer and names in answer and "the header Host" in answer
    nursery.cancel_scope.cancel()


async def test_loopback_tcp_reads_for_local_names_only(nursery: trio.Nursery) -> None:
    port = await nursery.start(partial(serve_http, "127.0.0.1", 0, QuietService(), limits=FAST))
    for host in ("localhost", "127.0.0.1", f"127.0.0.1:{port}", "[::1]:9999", "LOCALHOST:80"):
        assert await ask_http(port, "GET", "/v1/status", f"Host: {host}") == 200, host
    for host in (
        "evil.example",
        f"evil.example:{port}",
        "127.0.0.1.evil.example",
        "localhost.evil",
        "[::2]",
        "",
    ):
        assert await ask_http(port, "GET", "/v1/status", f"Host: {host}") == 421, host
    assert await ask_http(port, "GET", "http://evil.example/v1/status", "Host: localhost") == 421
    assert await ask_http(port, "GET", "/v1/status", "Host: localhost", "Origin: http://evil.example") == 421
    here = f"Host: localhost:{port}"
    assert await ask_http(port, "GET", "/v1/status", here, f"Origin: http://localhost:{port}") == 200
    for origin in ("http://localhost:3000", f"http://127.0.0.1:{port}", "null", ""):  # all of these are other pages
        assert await ask_http(port, "GET", "/v1/status", here, f"Origin: {origin}") == 421, origin
    assert await ask_http(port, "POST", "/v1/merge", "Host: localhost", "Content-Length: 0") == 403
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.com", ""])
async def test_an_address_that_others_can_reach_is_refused(host: str) -> None:
    with pytest.raises(ControlError, match=r"no loopback.*token|not an IP address"):
        await serve_http(host, 0, QuietService())


class OneEvent(QuietService):
    """A service with a dashboard that never changes."""

    capabilities = frozenset({"dashboard"})

    def dashboard(self) -> tuple[bytes, str]:
        return b"<!doctype html>", "default-src 'none'"

    @asynccontextmanager
    async def snapshots(self) -> AsyncIterator[AsyncIterator[bytes]]:
        lines = LineBuffer()
        lines.offer(1, lambda _: b"event: x\ndata: {}\n\n")
        yield lines


async def test_the_dashboard_is_only_read_and_by_as_many_as_the_limits_allow(nursery: trio.Nursery) -> None:
    limits = ControlLimits(loop_share=1.0)
    port = await nursery.start(partial(serve_http, "127.0.0.1", 0, OneEvent(), limits=limits))
    here = "Host: localhost"
    with trio.fail_after(30):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            page = bytes(await stream.receive_some(65536))
        assert page.startswith(b"HTTP/1.1 200") and page.endswith(b"<!doctype html>")
        for header in (
            b"Content-Type: text/html; charset=utf-8",
            b"Content-Security-Policy: default-src 'none'",
            b"X-Content-Type-Options: nosniff",
            b"Cross-Origin-Resource-Policy: same-origin",
            b"Cache-Control: no-store",
        ):
            assert header in page
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            for target in ("/", "/v1/snapshots"):
                assert await ask_http(port, method, target, here, "Content-Length: 0") == 405, (method, target)
        async with AsyncExitStack() as readers:
            served = 0
            while served < limits.clients_max:
                stream = await readers.enter_async_context(await trio.open_tcp_stream("127.0.0.1", port))
                await stream.send_all(b"GET /v1/snapshots HTTP/1.1\r\nHost: localhost\r\n\r\n")
                begun = bytes(await stream.receive_some(65536))
                # Those above may still have their slots for a moment.
                assert begun.startswith((b"HTTP/1.1 200", b"HTTP/1.1 503"))
                if begun.startswith(b"HTTP/1.1 200"):
                    assert b"Content-Type: text/event-stream" in begun
                    served += 1
            assert await ask_http(port, "GET", "/v1/snapshots", here) == 503
        while await ask_http(port, "GET", "/v1/snapshots", here) != 200:  # noqa: ASYNC110 - until they have left
            await trio.sleep(0.01)
    nursery.cancel_scope.cancel()


async def test_with_a_token_every_request_must_carry_it(nursery: trio.Nursery) -> None:
    token = "correct-horse-battery"
    port = await nursery.start(partial(serve_http, "0.0.0.0", 0, QuietService(), token=token, limits=FAST))
    basic = base64.b64encode(f"anybody:{token}".encode()).decode()
    right = (f"Authorization: Bearer {token}", f"authorization: basic {basic}")
    wrong = (
        "X: y",
        "Authorization: Bearer",
        f"Authorization: Bearer {token}x",
        f"Authorization: Basic {base64.b64encode(token.encode()).decode()}",
        "Authorization: Basic ***",
        f"Authorization: Digest {token}",
    )
    for header in right:
        for host in ("localhost", f"192.0.2.7:{port}", "[2001:db8::1]", socket.gethostname()):
            assert await ask_http(port, "GET", "/v1/status", f"Host: {host}", header) == 200, (host, header)
        for host in ("evil.example", "192.0.2.7.evil.example", ""):
            assert await ask_http(port, "GET", "/v1/status", f"Host: {host}", header) == 421, host
        assert await ask_http(port, "POST", "/v1/merge", "Host: localhost", "Content-Length: 0", header) == 403
    for header in wrong:
        for target in ("/v1/status", "/v1/live", "/metrics", "/nothing"):
            assert await ask_http(port, "GET", target, "Host: localhost", header) == 401, (target, header)
    nursery.cancel_scope.cancel()


async def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ControlError, match=r"127\.0\.0\.1"):
        await serve_http("127.0.0.1", taken.getsockname()[1], QuietService())
