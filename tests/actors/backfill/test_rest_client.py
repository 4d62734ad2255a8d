"""REST requests: never more than allowed, never earlier than the exchange permits, never larger than the limits."""

import itertools
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial

import httpx
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from actors.backfill.rate_limiter import RateLimiter, RateLimiters
from actors.backfill.rest_client import INLINE_BYTES, Answer, RestClient, RestClientLimits, Unanswered
from actors.backfill.token_source import TokenSource
from actors.exchanges.contract.history import Busy, Garbled, RateLimit, Refused, RestRequest
from actors.exchanges.kucoin.feed import SPOT_URL
from actors.wire.errors import NetworkTimeout, WrongCertificate
from supervisor import Backoff, TransientError
from tests.harness.exchange_cases import unknown_market_of
from tests.harness.exchange_values import WITH_HISTORY, dialect_of, history_of
from tests.harness.paths import CERTS

ONE = RateLimit(name="requests", units=10.0, window_s=10.0, burst=2.0)
ASK = RestRequest(path="/x", query=(("a", "b c"),))
FREE = (RateLimit(name="requests", units=1e6, window_s=1.0, burst=1e5),)


class Scripted(httpx.AsyncBaseTransport):
    """An exchange that answers from a script, and notes when it was asked."""

    def __init__(self, *answers: httpx.Response | Exception, takes_s: float = 0.0) -> None:
        self.answers, self.takes_s = list(answers), takes_s
        self.asked: list[tuple[float, str]] = []
        self.headers: list[httpx.Headers] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append((trio.current_time(), str(request.url)))
        self.headers.append(request.headers)
        await trio.sleep(self.takes_s)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        if answer.is_stream_consumed:  # made from bytes: to be read once more, as from a socket
            return httpx.Response(answer.status_code, headers=answer.headers, stream=Body(answer.content))
        return answer


class Body(httpx.AsyncByteStream):
    """Bytes as they come from a socket."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        await trio.lowlevel.checkpoint()
        yield self.data


def ok(body: bytes = b"[]") -> httpx.Response:
    return httpx.Response(200, content=body)


def client(transport: Scripted, name: str = "binance", limits: RestClientLimits | None = None) -> RestClient:
    history = replace(history_of(name), limits=FREE)
    return RestClient(
        history, RateLimiter(history.limits), limits=limits, transport=transport, backoff=Backoff(1.0, 8.0)
    )


def raw(answer: Answer) -> bytes:
    return answer.body


async def get(transport: Scripted, name: str = "binance", limits: RestClientLimits | None = None) -> bytes:
    async with client(transport, name, limits) as rest:
        return await rest.get(ASK, raw)


def waits(transport: Scripted) -> list[float]:
    return [later - earlier for (earlier, _), (later, _) in itertools.pairwise(transport.asked)]


@settings(max_examples=40, deadline=None)
@given(
    st.integers(2, 30),
    st.floats(0.5, 60),
    st.floats(0.05, 0.95),
    st.lists(st.tuples(st.floats(0, 20), st.integers(1, 3)), min_size=1, max_size=40),
)
def test_no_window_ever_holds_more_than_the_limit(
    units: int, window_s: float, share: float, asks: list[tuple[float, int]]
) -> None:
    limit = RateLimit(name="weight", units=units * 4.0, window_s=window_s, burst=max(3.0, share * units))
    taken: list[tuple[float, int]] = []

    async def one(limiter: RateLimiter, at: float, cost: int) -> None:
        await trio.sleep(at)
        await limiter.take({"weight": cost})
        taken.append((trio.current_time(), cost))

    async def main() -> None:
        limiter = RateLimiter([limit])
        async with trio.open_nursery() as nursery:
            for at, cost in asks:
                nursery.start_soon(one, limiter, at, cost)
        assert limiter.statistics().taken == {"weight": sum(cost for _, cost in asks)}

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert len(taken) == len(asks)
    for since, _ in taken:
        spent = sum(cost for at, cost in taken if since <= at <= since + window_s)
        assert spent <= limit.units + 1e-6


@pytest.mark.parametrize(("larger", "inline"), [(0, True), (1, False)])
async def test_a_large_answer_is_read_in_a_thread_and_errors_are_the_same(
    larger: int, inline: bool, autojump_clock: trio.testing.MockClock
) -> None:
    threads: list[int] = []

    def read(answer: Answer) -> int:
        threads.append(threading.get_ident())
        if len(threads) == 1:
            raise Garbled("the first one")
        return len(answer.body)

    size = INLINE_BYTES + larger
    async with client(Scripted(ok(b" " * size))) as rest:
        assert await rest.get(ASK, read) == size
    assert [thread == threading.get_ident() for thread in threads] == [inline] * 2


async def test_the_limit_is_used_up_to_its_rate(autojump_clock: trio.testing.MockClock) -> None:
    limiter = RateLimiter([ONE])
    for _ in range(42):
        await limiter.take({"requests": 1})
    assert trio.current_time() == pytest.approx(40 / ONE.rate_per_s)


async def test_after_another_process_has_recorded_nothing_may_be_requested_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    limiters, history = RateLimiters(), history_of("kraken")
    limiter = limiters.of(history, None)
    await trio.sleep(100.0)
    limiters.spend()
    await limiter.take({"requests": 1})
    assert trio.current_time() == pytest.approx(100.0 + 1 / history.limits[0].rate_per_s)


async def test_requests_are_served_in_order_and_a_cancelled_wait_takes_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    limiter, served = RateLimiter([ONE]), list[int]()

    async def one(number: int) -> None:
        await limiter.take({"requests": 2 if number == 1 else 1})
        served.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(one, number)
            await trio.testing.wait_all_tasks_blocked()
        assert limiter.statistics().waiting == 3
    assert served == [0, 1, 2, 3, 4]
    before = limiter.statistics().taken
    with trio.move_on_after(0.1):
        await limiter.take({"requests": 2})
    assert limiter.statistics().taken == before


async def test_a_pause_holds_for_everybody_and_only_grows(autojump_clock: trio.testing.MockClock) -> None:
    limiter, began = RateLimiter([ONE]), trio.current_time()
    limiter.pause(30)
    limiter.pause(5)
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(limiter.take, {"requests": 1})
        await trio.sleep(10)
        limiter.pause(50)  # while others wait
    assert trio.current_time() - began == pytest.approx(60)


async def test_a_cost_above_the_limit_is_an_error() -> None:
    with pytest.raises(ValueError, match="exceeds what is allowed at once"):
        await RateLimiter([ONE]).take({"requests": 3})
    with pytest.raises(KeyError):
        await RateLimiter([ONE]).take({"weight": 1})


async def test_every_request_takes_its_cost_even_when_it_fails(autojump_clock: trio.testing.MockClock) -> None:
    history = history_of("binance")
    transport = Scripted(httpx.Response(500), httpx.Response(500), ok())
    limiter = RateLimiter(history.limits)
    async with RestClient(history, limiter, transport=transport) as rest:
        await rest.get(replace(ASK, costs={"request weight": 25.0}), raw)
    assert limiter.statistics().taken == {"request weight": 75.0}


async def test_an_answer_comes_whole_with_the_time_it_was_read(autojump_clock: trio.testing.MockClock) -> None:
    transport = Scripted(httpx.Response(200, content=b"[1]", headers={"CB-After": "7"}))
    before = time.time_ns()
    async with client(transport) as rest:
        answer = await rest.get(ASK, lambda answer: answer)
    assert answer.body == b"[1]" and answer.headers["cb-after"] == "7"
    assert before <= answer.received_ns <= time.time_ns()
    assert transport.asked[0][1] == "https://api.binance.com/x?a=b+c"


async def test_headers_of_a_request_are_sent_beside_the_clients_own(
    autojump_clock: trio.testing.MockClock,
) -> None:
    transport = Scripted(httpx.Response(200, content=b"[1]"))
    async with client(transport) as rest:
        await rest.get(replace(ASK, headers=(("x-size-decimal", "1"),)), raw)
        await rest.get(replace(ASK, body=b"{}"), raw)
    first, second = transport.headers
    assert (first["x-size-decimal"], first["user-agent"]) == ("1", "tickwarden") and "content-type" not in first
    assert second["content-type"] == "application/json" and "x-size-decimal" not in second


async def test_server_errors_are_retried_with_growing_pauses(autojump_clock: trio.testing.MockClock) -> None:
    transport = Scripted(*[httpx.Response(status) for status in (500, 502, 503, 504)], ok(b"x"))
    assert await get(transport) == b"x"
    for wait, ceiling in zip(waits(transport), (1, 2, 4, 8), strict=True):
        assert ceiling / 2 <= wait <= ceiling


async def test_retries_end_and_report_the_exchanges_message(autojump_clock: trio.testing.MockClock) -> None:
    transport = Scripted(httpx.Response(503, content=b'{"code":-1001,"msg":"DISCONNECTED"}'))
    with pytest.raises(Unanswered, match=r"GET https://api.binance.com/x: HTTP 503 -1001 DISCONNECTED"):
        await get(transport, limits=RestClientLimits(tries=3))
    assert len(transport.asked) == 3


@pytest.mark.parametrize("status", [429, 418, 503])
async def test_retry_after_is_never_cut_short(status: int, autojump_clock: trio.testing.MockClock) -> None:
    transport = Scripted(httpx.Response(status, headers={"retry-after": "37"}), ok())
    await get(transport)
    assert 37 <= waits(transport)[0] < 38


async def test_retry_after_may_be_a_date(autojump_clock: trio.testing.MockClock) -> None:
    date = datetime.now(UTC) + timedelta(seconds=60)
    transport = Scripted(httpx.Response(429, headers={"retry-after": f"{date:%a, %d %b %Y %H:%M:%S GMT}"}), ok())
    await get(transport)
    assert 55 <= waits(transport)[0] <= 60


async def test_429_without_retry_after_leads_to_a_pause_of_our_own(
    autojump_clock: trio.testing.MockClock,
) -> None:
    transport = Scripted(httpx.Response(429), ok())
    await get(transport)
    assert waits(transport)[0] >= 10


async def test_a_wait_demanded_of_one_client_holds_for_all(autojump_clock: trio.testing.MockClock) -> None:
    history = replace(history_of("binance"), limits=FREE)
    limiter = RateLimiter(FREE)
    limited = Scripted(httpx.Response(429, headers={"retry-after": "20"}), ok())
    other = Scripted(ok())
    async with (
        RestClient(history, limiter, transport=limited) as one,
        RestClient(history, limiter, transport=other) as two,
    ):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.get, ASK, raw)
            await trio.sleep(1)
            nursery.start_soon(two.get, ASK, raw)
        assert other.asked[0][0] - limited.asked[0][0] >= 20


async def test_no_token_is_requested_while_the_exchange_wants_no_request(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The token has a rate of its own, but the demand to wait is for the address."""
    request, history = dialect_of("kucoin").token_at(SPOT_URL), history_of("kucoin")
    assert request is not None
    limiter = RateLimiter(history.limits)
    limited = Scripted(httpx.Response(429, headers={"retry-after": "20"}))
    once = RestClientLimits(tries=1)
    tokens = Scripted(httpx.Response(429, headers={"retry-after": "30"}))
    source = TokenSource(request, rest_url=None, ca_file=None, beside=limiter, transport=tokens)
    async with RestClient(history, limiter, limits=once, transport=limited) as rest:
        with pytest.raises(Unanswered):
            await rest.get(ASK, raw)
        with pytest.raises(Unanswered, match="429"):
            await source.get()
        with pytest.raises(Unanswered, match="429"):
            await rest.get(ASK, raw)
    assert [at for at, _ in tokens.asked] == [20.0]
    assert [at for at, _ in limited.asked] == [0.0, 50.0]


async def test_a_long_ban_is_reported_at_once_and_again_without_a_request(
    autojump_clock: trio.testing.MockClock,
) -> None:
    transport = Scripted(httpx.Response(403, content=b"access too frequent"))
    began = trio.current_time()
    async with client(transport, "bybit") as rest:
        for _ in range(2):
            with pytest.raises(Unanswered) as caught:
                await rest.get(ASK, raw)
            assert caught.value.retry_after_s == pytest.approx(600)
    assert len(transport.asked) == 1 and trio.current_time() == began


@pytest.mark.parametrize("name", WITH_HISTORY)
async def test_a_wrong_request_is_sent_once(name: str, autojump_clock: trio.testing.MockClock) -> None:
    status, body, words = unknown_market_of(name)
    transport = Scripted(httpx.Response(status, content=body))
    with pytest.raises(Refused, match=f"HTTP {status} {re.escape(words)}"):
        await get(transport, name)
    assert len(transport.asked) == 1


PASSING = [
    (500, b'{"code":-1121,"msg":"Invalid symbol."}'),  # who fails himself may say anything
    (400, b'{"code":-1001,"msg":"Internal error; unable to process your request."}'),
    (400, b'{"code":"50001","msg":"Service temporarily unavailable"}'),
    (400, b'{"retCode":10016,"retMsg":"Server error"}'),
    (400, b'{"error":["EGeneral:Internal error"]}'),
    (404, b"<html><h1>404 Not Found</h1></html>"),
    (404, b'{"message":"Route not found"}'),
    (405, b""),
    (400, b'{"code":' + b"9" * 5000 + b"}"),
    (400, b"[" * 100_000),
    (422, b"\xff\xfe"),
]


@pytest.mark.parametrize(("status", "body"), PASSING)
@pytest.mark.parametrize("name", WITH_HISTORY)
async def test_an_error_not_listed_as_final_is_retried(
    name: str, status: int, body: bytes, autojump_clock: trio.testing.MockClock
) -> None:
    transport = Scripted(httpx.Response(status, content=body), ok(b"late"))
    assert await get(transport, name) == b"late"
    assert len(transport.asked) == 2 and waits(transport)[0] < 60


async def test_a_body_over_the_limit_is_refused_before_it_is_whole(autojump_clock: trio.testing.MockClock) -> None:
    sent = []

    async def endless() -> AsyncIterator[bytes]:
        while True:
            await trio.lowlevel.checkpoint()
            sent.append(1)
            assert len(sent) < 100, "read on and on"
            yield bytes(1000)

    transport = Scripted(httpx.Response(200, content=endless()))
    with pytest.raises(Garbled, match="larger than 5000 bytes"):
        await get(transport, limits=RestClientLimits(body_bytes=5000, tries=1))
    assert len(sent) == 6


async def test_a_compressed_answer_that_was_not_requested_is_refused(
    autojump_clock: trio.testing.MockClock,
) -> None:
    transport = Scripted(httpx.Response(200, content=b"\x1f\x8b", headers={"content-encoding": "gzip"}))
    with pytest.raises(Garbled, match="compressed"):
        await get(transport, limits=RestClientLimits(tries=1))


async def test_an_answer_that_is_invalid_is_requested_again(autojump_clock: trio.testing.MockClock) -> None:
    transport = Scripted(ok(b"<html>"), ok(b"busy"), ok(b"fine"))

    def read(answer: Answer) -> bytes:
        if answer.body == b"<html>":
            raise Garbled("no JSON")
        if answer.body == b"busy":
            raise Busy("later", retry_after_s=15)
        return answer.body

    async with client(transport) as rest:
        assert await rest.get(ASK, read) == b"fine"
    assert waits(transport)[1] >= 15


async def test_a_bug_in_reading_is_not_treated_as_transient(autojump_clock: trio.testing.MockClock) -> None:
    def read(answer: Answer) -> bytes:
        raise ZeroDivisionError

    async with client(Scripted(ok())) as rest:
        with pytest.raises(ZeroDivisionError):
            await rest.get(ASK, read)


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError("refused"),
        httpx.ReadError(""),
        httpx.RemoteProtocolError("cut off"),
        httpx.PoolTimeout(""),
    ],
)
async def test_network_errors_are_transient(error: Exception, autojump_clock: trio.testing.MockClock) -> None:
    transport = Scripted(error, ok(b"x"))
    assert await get(transport) == b"x"
    with pytest.raises(Unanswered, match=r"GET https://api.binance.com/x: .+"):
        await get(Scripted(error))


async def test_an_exchange_that_never_answers_is_abandoned_in_time(autojump_clock: trio.testing.MockClock) -> None:
    began = trio.current_time()
    with pytest.raises(NetworkTimeout, match="took longer than 30 s"):
        await get(Scripted(ok(), takes_s=1e6), limits=RestClientLimits(tries=2))
    assert trio.current_time() - began < 63


@asynccontextmanager
async def answering(data: bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A server that answers each connection with `data`, whatever it asks, and closes it."""

    async def one(stream: trio.SocketStream) -> None:
        wrapped: trio.abc.Stream = trio.SSLStream(stream, tls, server_side=True) if tls else stream
        try:
            await wrapped.receive_some(65536)
            await wrapped.send_all(data)
        except trio.BrokenResourceError:
            pass
        with trio.move_on_after(1):
            await trio.aclose_forcefully(wrapped)

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(partial(trio.serve_tcp, one, 0, host="127.0.0.1"))
            yield f"http{'s' if tls else ''}://127.0.0.1:{listeners[0].socket.getsockname()[1]}/ignored"
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00\xff garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000 + b"\r\n\r\n",
    ],
)
async def test_any_malformed_response_is_transient(data: bytes) -> None:
    history = history_of("binance")
    async with (
        answering(data) as url,
        RestClient(
            history, RateLimiter(FREE), rest_url=url, limits=RestClientLimits(tries=2), backoff=Backoff(0.01, 0.02)
        ) as rest,
    ):
        with pytest.raises(TransientError):
            await rest.get(ASK, raw)


async def test_an_unreachable_server_is_transient() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        history = history_of("binance")
        async with RestClient(history, RateLimiter(FREE), rest_url=url, limits=RestClientLimits(tries=1)) as rest:
            with pytest.raises(Unanswered):
                await rest.get(ASK, raw)


@pytest.mark.parametrize(("name", "trusted"), [("localhost", True), ("elsewhere", False), ("expired", False)])
async def test_a_certificate_is_checked_and_a_wrong_one_is_reported_at_once(name: str, trusted: bool) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(CERTS / f"{name}.pem")
    history = history_of("binance")
    async with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", tls) as url:
        url = url.replace("127.0.0.1", "localhost")
        async with RestClient(history, RateLimiter(FREE), rest_url=url, ca_file=CERTS / "ca.pem") as rest:
            if trusted:
                assert await rest.get(ASK, raw) == b"[]"
            else:
                with pytest.raises(WrongCertificate, match="cannot be trusted"):
                    await rest.get(ASK, raw)


CLIENTS_AT_ONCE = """
import importlib.abc, sys, threading
import trio, trio.testing
from actors.backfill.rest_client import RestClient

may_import = threading.Event()

class Slow(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name in ("httpx._client", "httpcore"):
            assert threading.current_thread() is not threading.main_thread(), f"{name} is imported in the loop"
        if name == "httpx._client":
            assert may_import.wait(10), "the loop waits for the import"

class Service:
    base = "http://localhost"

async def use():
    async with RestClient(Service(), None):
        pass

async def main():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(use)
        while "httpx" not in sys.modules:
            await trio.sleep(0.001)
        nursery.start_soon(use)
        await trio.testing.wait_all_tasks_blocked()
        may_import.set()

sys.meta_path.insert(0, Slow())
trio.run(main)
"""


def test_the_loop_neither_imports_httpx_nor_waits_for_another_client_that_does() -> None:
    subprocess.run([sys.executable, "-c", CLIENTS_AT_ONCE], check=True, timeout=60)
