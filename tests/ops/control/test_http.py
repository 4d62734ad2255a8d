"""What the control socket answers: every route, every error, and the rules of HTTP, over the real socket."""

import json
import re
import shutil
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
import structlog
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from ops.control.app import ControlApp, NotAvailable, Refused, UnknownName
from ops.control.limits import ControlLimits
from ops.control.pace import Pace
from ops.control.problem import Problem
from ops.control.routes import find_route, split_target
from ops.control.tap import LineBuffer
from tests.harness.control_serving import serve_control

SHORT = ControlLimits(request_s=0.4, write_s=0.4, idle_s=0.4, command_s=0.3, linger_s=0.3, loop_share=1.0)
READS_OFFERED = {"config", "events", "tap", "metrics"}
COMMANDS = {"restart", "pause", "resume", "flush", "merge", "reload", "change_symbols", "log_level"}
ALL = frozenset(READS_OFFERED | COMMANDS)


class FakeService(ControlApp):
    """A service that remembers what it was asked."""

    def __init__(self, capabilities: frozenset[str] = ALL) -> None:
        self.capabilities = capabilities
        self.asked: list[object] = []
        self.reasons: list[str] = []
        self.may_merge = trio.Event()
        self.may_merge.set()
        self.alive = True
        self.taps: list[LineBuffer] = []
        self.tap_names: list[tuple[str, str]] = []

    def status(self) -> Mapping[str, object]:
        return {"version": "0.1.0", "pid": 1, "state": "ok"}

    def actors(self) -> Sequence[Mapping[str, object]]:
        return [{"name": "writer"}, {"name": "binance:1"}, {"name": "a/b ü"}]

    def live(self) -> bool:
        return self.alive

    def ready(self) -> Sequence[str]:
        return self.reasons

    def config(self) -> Mapping[str, object]:
        return {"store": {}}

    def events(self, since: int) -> Sequence[Mapping[str, object]]:
        return [{"since": since}]

    @asynccontextmanager
    async def tap(self, exchange: str, symbol: str) -> AsyncIterator[AsyncIterator[bytes]]:
        if exchange not in ("", "binance"):
            raise UnknownName(f"there is no exchange {exchange!r}")
        buffer = LineBuffer(lines_max=10)
        self.tap_names.append((exchange, symbol))
        self.taps.append(buffer)
        try:
            yield buffer
        finally:
            self.taps.remove(buffer)

    def metrics(self) -> bytes:
        return b"up 1\n"

    async def restart(self, name: str) -> None:
        if name != "binance:1":
            raise UnknownName(f"there is no actor {name!r}")
        self.asked.append(("restart", name))

    async def pause(self, name: str) -> None:
        raise Refused(f"{name} cannot be paused now")

    async def resume(self, name: str) -> None:
        raise ZeroDivisionError(name)

    async def flush(self) -> None:
        await trio.sleep_forever()

    async def merge(self) -> None:
        await self.may_merge.wait()
        self.asked.append("merge")

    async def reload(self) -> Mapping[str, object]:
        raise NotAvailable("reload without a file")

    async def change_symbols(
        self, exchange: str, add: Sequence[str], remove: Sequence[str]
    ) -> Mapping[str, object]:
        self.asked.append((exchange, tuple(add), tuple(remove)))
        return {"symbols": list(add)}

    def log_level(self, level: str) -> None:
        self.asked.append(level)


class Answer:
    """One parsed HTTP response."""

    def __init__(self, raw: bytes) -> None:
        head, _, self.body = raw.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}

    @property
    def code(self) -> str:
        assert self.headers["content-type"] == "application/problem+json"
        problem = json.loads(self.body)
        assert problem["status"] == self.status and problem["type"] == "about:blank"
        assert problem["title"] and problem["detail"]
        return str(problem["code"])


@asynccontextmanager
async def serving(
    path: Path, app: ControlApp, limits: ControlLimits = SHORT, pace: Pace | None = None
) -> AsyncIterator[Callable[[bytes], Awaitable[bytes]]]:
    """Serves while the block is open; yields a function that sends bytes and reads to the end."""

    async def exchange(data: bytes) -> bytes:
        received = b""
        with trio.fail_after(30):
            async with await trio.open_unix_socket(path) as stream:
                await stream.send_all(data)
                async for chunk in stream:
                    received += chunk
        return received

    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve_control, path, app, limits=limits, pace=pace))
        yield exchange
        nursery.cancel_scope.cancel()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what the kernel tells the other side has no event here
        await trio.sleep(0.01)


def http(method: str, target: str, body: bytes = b"", *, close: bool = True) -> bytes:
    head = f"{method} {target} HTTP/1.1\r\nHost: tickwarden\r\nContent-Length: {len(body)}\r\n"
    return (head + ("Connection: close\r\n" if close else "") + "\r\n").encode() + body


READS = {
    "/v1/live": {"live": True},
    "/v1/ready": {"ready": True, "reasons": []},
    "/v1/status": {"version": "0.1.0", "pid": 1, "state": "ok"},
    "/v1/actors": [{"name": "writer"}, {"name": "binance:1"}, {"name": "a/b ü"}],
    "/v1/actors/binance:1": {"name": "binance:1"},
    "/v1/actors/binance%3A1": {"name": "binance:1"},
    "/v1/actors/a%2Fb%20%C3%BC": {"name": "a/b ü"},
    "/v1/config": {"store": {}},
    "/v1/events": [{"since": 0}],
    "/v1/events?since=17": [{"since": 17}],
    "http://tickwarden/v1/live": {"live": True},
}


async def test_every_reading_route_answers_with_its_json(tmp_path: Path) -> None:
    async with serving(tmp_path / "s", FakeService()) as exchange:
        for target, expected in READS.items():
            answer = Answer(await exchange(http("GET", target)))
            assert (answer.status, answer.headers["content-type"]) == (200, "application/json"), target
            assert json.loads(answer.body) == expected
        metrics = Answer(await exchange(http("GET", "/metrics")))
        assert metrics.body == b"up 1\n"
        assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")


async def test_head_is_get_without_its_body(tmp_path: Path) -> None:
    async with serving(tmp_path / "s", FakeService()) as exchange:
        for target in ("/v1/status", "/metrics", "/v1/actors/nobody"):
            get = Answer(await exchange(http("GET", target)))
            head = Answer(await exchange(http("HEAD", target)))
            assert head.body == b"" and get.body
            assert (head.status, head.headers["content-length"]) == (get.status, str(len(get.body)))
        tap = Answer(await exchange(http("HEAD", "/v1/tap")))
        assert (tap.status, tap.body) == (200, b"")


async def test_a_command_that_is_given_up_says_what_the_service_waits_for(tmp_path: Path) -> None:
    app = FakeService()
    app.reasons = ["cannot write: No space left on device"]
    async with serving(tmp_path / "s", app) as exchange:
        given_up = Answer(await exchange(http("POST", "/v1/flush")))
        assert (given_up.status, given_up.code) == (504, "command_timeout")
        assert "and was cancelled: cannot write: No space left on device" in json.loads(given_up.body)["detail"]
        app.reasons = []
        given_up = Answer(await exchange(http("POST", "/v1/flush")))
        assert "and was cancelled; see the status" in json.loads(given_up.body)["detail"]


async def test_a_service_that_is_not_ready_or_not_live_reports_why(tmp_path: Path) -> None:
    app = FakeService()
    app.reasons, app.alive = ["no feed is fresh", "the last flush is 9 s old"], False
    async with serving(tmp_path / "s", app) as exchange:
        ready = Answer(await exchange(http("GET", "/v1/ready")))
        assert (ready.status, ready.code) == (503, "not_ready")
        assert json.loads(ready.body)["reasons"] == app.reasons
        live = Answer(await exchange(http("GET", "/v1/live")))
        assert (live.status, live.code) == (503, "not_live")


async def test_every_command_reaches_the_service_once(tmp_path: Path) -> None:
    app = FakeService()
    async with serving(tmp_path / "s", app) as exchange:
        for target, body in {
            "/v1/actors/binance:1/restart": b"",
            "/v1/merge": b"{}",
            "/v1/exchanges/kraken/symbols": b'{"add": ["BTC/USD"], "remove": ["ETH/USD"]}',
            "/v1/log-level": b'{"level": "debug"}',
        }.items():
            answer = Answer(await exchange(http("POST", target, body)))
            assert answer.status == 200, answer.body
    assert app.asked == [("restart", "binance:1"), "merge", ("kraken", ("BTC/USD",), ("ETH/USD",)), "debug"]


ERRORS = [
    ("GET", "/nothing", b"", 404, "not_found"),
    ("GET", "/", b"", 501, "not_available"),
    ("GET", "/v1/snapshots", b"", 501, "not_available"),
    ("POST", "/", b"", 405, "method_not_allowed"),
    ("GET", "/v2/status", b"", 404, "not_found"),
    ("GET", "/v1/status/", b"", 404, "not_found"),
    ("GET", "/v1/../v1/status", b"", 404, "not_found"),
    ("GET", "/v1/actors/" + "x" * 200, b"", 404, "not_found"),
    ("GET", "/v1/actors/__class__", b"", 404, "unknown_name"),
    ("GET", "/v1/actors/%2e%2e%2fetc%2fpasswd", b"", 404, "unknown_name"),
    ("POST", "/v1/actors/nobody/restart", b"", 404, "unknown_name"),
    ("GET", "/v1/tap?exchange=nowhere", b"", 404, "unknown_name"),
    ("POST", "/v1/actors/binance:1/__init__", b"", 404, "not_found"),
    ("POST", "/v1/status", b"", 405, "method_not_allowed"),
    ("GET", "/v1/flush", b"", 405, "method_not_allowed"),
    ("OPTIONS", "/v1/status", b"", 405, "method_not_allowed"),
    ("BREW", "/v1/status", b"", 405, "method_not_allowed"),
    ("GET", "/v1/status?verbose=1", b"", 400, "bad_request"),
    ("GET", "/v1/events?since=-1", b"", 400, "bad_request"),
    ("GET", "/v1/events?since=" + "9" * 40, b"", 400, "bad_request"),
    ("GET", "/v1/events?since=1&since=2", b"", 400, "bad_request"),
    ("GET", "/v1/events?" + "&".join(f"a{n}=1" for n in range(40)), b"", 400, "bad_request"),
    ("GET", "/v1/actors/%ff", b"", 400, "bad_request"),
    ("GET", "v1/status", b"", 400, "bad_request"),
    ("POST", "/v1/merge", b'{"path": "/etc/passwd"}', 400, "bad_request"),
    ("POST", "/v1/log-level", b'{"level": "trace"}', 400, "bad_request"),
    ("POST", "/v1/log-level", b"{", 400, "bad_request"),
    ("POST", "/v1/log-level", b"\xff\xfe", 400, "bad_request"),
    ("POST", "/v1/exchanges/kraken/symbols", b"[" * 60_000, 400, "bad_request"),
    ("POST", "/v1/exchanges/kraken/symbols", b'{"add": "BTC/USD"}', 400, "bad_request"),
    ("POST", "/v1/actors/writer/pause", b"", 409, "refused"),
    ("POST", "/v1/actors/writer/resume", b"", 500, "internal"),
    ("POST", "/v1/reload", b"", 501, "not_available"),
    ("POST", "/v1/flush", b"", 504, "command_timeout"),
    ("POST", "/v1/merge", b" " * 65_537, 413, "body_too_large"),
]


@pytest.mark.parametrize(("method", "target", "body", "status", "code"), ERRORS)
async def test_every_error_is_a_problem_with_a_stable_code(
    tmp_path: Path, method: str, target: str, body: bytes, status: int, code: str
) -> None:
    with structlog.testing.capture_logs() as logs:
        async with serving(tmp_path / "s", FakeService()) as exchange:
            answer = Answer(await exchange(http(method, target, body)))
    assert (answer.status, answer.code) == (status, code)
    if status == 405:
        assert answer.headers["allow"] in {"GET, HEAD", "POST"}
    if status == 500:
        assert b"division" not in answer.body and "ZeroDivisionError" not in answer.body.decode()
        assert any(entry["event"] == "control_request_failed" for entry in logs)


async def test_a_service_is_only_asked_for_its_capabilities(tmp_path: Path) -> None:
    app = FakeService(capabilities=frozenset())
    async with serving(tmp_path / "s", app) as exchange:
        for method, target in (("GET", "/metrics"), ("GET", "/v1/tap"), ("POST", "/v1/merge")):
            answer = Answer(await exchange(http(method, target)))
            assert (answer.status, answer.code) == (501, "not_available")
        assert Answer(await exchange(http("GET", "/v1/status"))).status == 200
    assert app.asked == []


async def test_a_command_is_carried_out_even_if_its_client_leaves(tmp_path: Path) -> None:
    app = FakeService()
    app.may_merge = trio.Event()
    async with serving(tmp_path / "s", app, ControlLimits(loop_share=1.0)) as exchange:
        async with await trio.open_unix_socket(tmp_path / "s") as stream:
            await stream.send_all(http("POST", "/v1/merge"))
            await until(lambda: app.may_merge.statistics().tasks_waiting == 1)
        await exchange(http("GET", "/v1/live"))
        app.may_merge.set()
        await exchange(http("GET", "/v1/live"))
    assert app.asked == ["merge"]


class NotedPace(Pace):
    """Notes what was spent, and makes nobody wait."""

    def __init__(self) -> None:
        super().__init__(1.0, 1.0)
        self.paid: list[float] = []

    async def spend(self, busy_s: float) -> None:
        self.paid.append(busy_s)
        await trio.lowlevel.checkpoint()


async def test_the_time_a_command_waits_is_not_held_against_clients(tmp_path: Path) -> None:
    pace = NotedPace()
    app = FakeService()
    app.may_merge = trio.Event()
    limits = ControlLimits(loop_share=1.0)
    async with serving(tmp_path / "s", app, limits, pace) as exchange, trio.open_nursery() as nursery:
        nursery.start_soon(exchange, http("POST", "/v1/merge"))
        await until(lambda: app.may_merge.statistics().tasks_waiting == 1)
        await trio.sleep(0.3)
        app.may_merge.set()
    assert app.asked == ["merge"] and 0 < sum(pace.paid) < 0.2


async def test_each_command_is_logged_with_its_client(tmp_path: Path) -> None:
    with structlog.testing.capture_logs() as logs:
        async with serving(tmp_path / "s", FakeService()) as exchange:
            await exchange(http("POST", "/v1/merge"))
            await exchange(http("GET", "/v1/status"))
    (entry,) = logs
    assert entry["event"] == "control_command" and entry["target"] == "/v1/merge"
    assert isinstance(entry["uid"], int) and isinstance(entry["pid"], int)


async def test_pipelined_requests_are_answered_in_order(tmp_path: Path) -> None:
    async with serving(tmp_path / "s", FakeService()) as exchange:
        names = ["writer", "binance:1", "nobody", "writer"] * 25
        requests = b"".join(http("GET", f"/v1/actors/{name}", close=False) for name in names)
        answers = (await exchange(requests + http("GET", "/v1/live"))).split(b"HTTP/1.1 ")[1:]
        assert len(answers) == 101
        for name, answer in zip(names, answers, strict=False):
            assert answer.startswith(b"404" if name == "nobody" else b"200") and name.encode() in answer


async def test_a_request_may_come_byte_by_byte(tmp_path: Path) -> None:
    async with serving(tmp_path / "s", FakeService()), await trio.open_unix_socket(tmp_path / "s") as stream:
        with trio.fail_after(30):
            for byte in http("POST", "/v1/log-level", b'{"level": "info"}'):
                await stream.send_all(bytes([byte]))
                await trio.lowlevel.checkpoint()
            assert (await stream.receive_some(9999)).startswith(b"HTTP/1.1 200")


async def test_a_client_that_expects_100_continue_gets_it(tmp_path: Path) -> None:
    async with serving(tmp_path / "s", FakeService()), await trio.open_unix_socket(tmp_path / "s") as stream:
        head, _, body = http("POST", "/v1/log-level", b'{"level": "info"}').partition(b"\r\n\r\n")
        with trio.fail_after(30):
            await stream.send_all(head + b"\r\nExpect: 100-continue\r\n\r\n")
            assert (await stream.receive_some(9999)).startswith(b"HTTP/1.1 100")
            await stream.send_all(body)
            assert (await stream.receive_some(9999)).startswith(b"HTTP/1.1 200")


RUDE = {
    b"\x16\x03\x01\x02\x00\x01\x00": (400, "bad_request"),  # TLS
    b"hello\r\n\r\n": (400, "bad_request"),
    b"GET /v1/status HTTP/1.1\r\n\r\n": (400, "bad_request"),  # no Host
    b"GET /v1/status HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n": (400, "bad_request"),
    b"GET /v1/sta": (408, "request_timeout"),
    b"POST /v1/merge HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n{": (408, "request_timeout"),
    b"GET /" + b"x" * (1 << 20) + b" HTTP/1.1\r\n\r\n": (431, "headers_too_large"),
    b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 16_384 + b"\r\n\r\n": (431, "headers_too_large"),
    b"POST /v1/merge HTTP/1.1\r\nHost: a\r\nContent-Length: 1073741824\r\n\r\n" + b" " * 100_000: (
        413,
        "body_too_large",
    ),
    b"POST /v1/merge HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"1000\r\n%b\r\n" % (b" " * 4096) * 17: (413, "body_too_large"),
}


@pytest.mark.parametrize("index", range(len(RUDE)))
async def test_a_request_that_cannot_be_served_is_answered_and_closed(tmp_path: Path, index: int) -> None:
    data, expected = list(RUDE.items())[index]
    async with serving(tmp_path / "s", FakeService()), await trio.open_unix_socket(tmp_path / "s") as stream:
        received = b""
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_send_what_goes, stream, data)
                with suppress(trio.BrokenResourceError):
                    async for chunk in stream:
                        received += chunk
                nursery.cancel_scope.cancel()
    answer = Answer(received)
    assert (answer.status, answer.code) == expected
    assert answer.headers["connection"] == "close"


async def _send_what_goes(stream: trio.SocketStream, data: bytes) -> None:
    with suppress(trio.BrokenResourceError):
        await stream.send_all(data)


async def test_an_idle_connection_is_closed_without_a_word(tmp_path: Path) -> None:
    async with serving(tmp_path / "s", FakeService()) as exchange:
        answers = await exchange(http("GET", "/v1/live", close=False))
        assert answers.count(b"HTTP/1.1") == 1 and answers.startswith(b"HTTP/1.1 200")


async def test_the_tap_sends_lines_until_the_client_leaves(tmp_path: Path) -> None:
    app = FakeService()
    async with serving(tmp_path / "s", app), await trio.open_unix_socket(tmp_path / "s") as stream:
        with trio.fail_after(30):
            await stream.send_all(http("GET", "/v1/tap?exchange=binance&symbol=BTC%2FUSDT"))
            head = await stream.receive_some(9999)
            assert b"application/x-ndjson" in head and app.tap_names == [("binance", "BTC/USDT")]
            app.taps[0].offer(1, lambda _n: b'{"price": "1"}\n')
            assert b'{"price": "1"}\n' in await stream.receive_some(9999)
            await stream.aclose()
            await until(lambda: not app.taps)  # noticed although nothing is written


async def test_a_slow_reader_of_the_tap_gets_the_number_of_missed_ticks(tmp_path: Path) -> None:
    app = FakeService()
    line = b'{"n": "%s"}\n' % (b"x" * 4000)
    limits = ControlLimits(write_s=5, loop_share=1.0)
    async with serving(tmp_path / "s", app, limits), await trio.open_unix_socket(tmp_path / "s") as stream:
        with trio.fail_after(30):
            await stream.send_all(http("GET", "/v1/tap"))
            await until(lambda: bool(app.taps))
            for _ in range(400):  # far more than the kernel's buffer and the tap's ten lines hold
                app.taps[0].offer(1, lambda n: line * n)
                await trio.lowlevel.checkpoint()
            app.taps[0].close()
            data = b"".join([chunk async for chunk in stream])
    lagged = [int(count) for count in re.findall(rb'{"lagged": (\d+)}\n', data)]
    assert lagged and data.count(b'{"n"') + sum(lagged) == 400


async def test_a_client_that_never_reads_is_dropped(tmp_path: Path) -> None:
    app = FakeService()
    async with serving(tmp_path / "s", app), await trio.open_unix_socket(tmp_path / "s") as stream:
        with trio.fail_after(30):
            await stream.send_all(http("GET", "/v1/tap"))
            await until(lambda: bool(app.taps))
            while app.taps:
                app.taps[0].offer(10, lambda n: b"x" * 10_000 * n)
                await trio.sleep(0.01)


async def test_a_waiting_request_is_answered_in_the_second_turn_of_the_loop(tmp_path: Path) -> None:
    # Under a flood a turn takes milliseconds. The first accepts the connection, and one is for the order of tasks.
    async with serving(tmp_path / "s", FakeService()):
        with socket.socket(socket.AF_UNIX) as client:
            await trio.testing.wait_all_tasks_blocked()
            client.connect(str(tmp_path / "s"))
            client.sendall(http("GET", "/v1/status"))
            client.setblocking(False)
            turns, answer = 0, b""
            while not answer:
                await trio.lowlevel.checkpoint()
                turns += 1
                with suppress(BlockingIOError):
                    answer = client.recv(65536)
    assert answer.startswith(b"HTTP/1.1 200") and turns <= 3


async def test_lines_of_the_tap_are_not_held_up_by_what_requests_cost(tmp_path: Path) -> None:
    app = FakeService()
    limits = ControlLimits(loop_share=1e-6, loop_burst_s=1e-3, tap_share=1.0)
    path = tmp_path / "s"
    async with serving(path, app, limits) as exchange, await trio.open_unix_socket(path) as stream:
        await stream.send_all(http("GET", "/v1/tap"))
        await until(lambda: bool(app.taps) and app.taps[0].waiting)
        with trio.move_on_after(0.3):
            while True:
                await exchange(http("GET", "/v1/status"))
        await stream.receive_some()
        for _ in range(2):  # the first is sent whatever has been spent, and paid for afterwards
            app.taps[0].offer(1, lambda n: b"a line\n" * n)
            with trio.fail_after(0.5):
                assert b"a line" in await stream.receive_some()


async def test_work_is_paid_for_at_the_share_after_the_burst(autojump_clock: trio.testing.MockClock) -> None:
    pace = Pace(share=0.1, burst_s=0.5)
    started = trio.current_time()
    for _ in range(50):
        await pace.spend(0.01)
    assert trio.current_time() == started  # the burst
    for _ in range(100):
        await pace.spend(0.01)
    assert trio.current_time() - started == pytest.approx(10)  # one second of work at a tenth
    before = trio.current_time()
    await pace.spend(60)
    assert trio.current_time() - before == pytest.approx(1)  # one heavy answer does not close the socket


@given(st.lists(st.integers(min_value=1, max_value=30), max_size=20), st.integers(min_value=1, max_value=20))
def test_the_tap_keeps_order_and_counts_all_it_does_not_keep(offers: list[int], lines_max: int) -> None:
    buffer = LineBuffer(lines_max)
    rendered = 0

    def render(n: int) -> bytes:
        nonlocal rendered
        rendered += n
        return b"x\n" * n

    async def read_all() -> list[bytes]:
        return [line for data in [chunk async for chunk in buffer] for line in data.splitlines()]

    for lines in offers:
        buffer.offer(lines, render)
    buffer.close()
    got = trio.run(read_all)
    kept = [line for line in got if line == b"x"]
    lagged = [json.loads(line)["lagged"] for line in got if line != b"x"]
    assert len(kept) == rendered <= lines_max
    assert len(kept) + sum(lagged) == sum(offers) and 0 not in lagged
    assert got == kept + got[len(kept) :]


@given(st.text(st.characters(codec="ascii", min_codepoint=33), max_size=60))
def test_any_request_target_is_a_route_or_a_problem(target: str) -> None:
    with suppress(Problem):
        segments, _ = split_target(target)
        find_route(segments)


async def test_curl_reads_and_commands(tmp_path: Path) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    app = FakeService()

    async def run(*arguments: str) -> str:
        done = await trio.run_process(
            [curl, "-sS", "--max-time", "5", "--unix-socket", str(tmp_path / "s"), *arguments],
            capture_stdout=True,
        )
        return done.stdout.decode()

    async with serving(tmp_path / "s", app):
        assert json.loads(await run("http://tickwarden/v1/status"))["state"] == "ok"
        assert json.loads(await run("-X", "POST", "http://tickwarden/v1/merge")) == {"ok": True}
        assert "200 OK" in await run("-I", "http://tickwarden/v1/live")
        endless = await run("-X", "POST", "-T", "/dev/zero", "http://tickwarden/v1/merge")
        assert json.loads(endless)["code"] == "body_too_large"
    assert app.asked == ["merge"]
