"""Whatever a history answers is the exchange's fault: transient, a refusal or a reject, in bounded time."""

import copy
import json
import operator
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from functools import cache, partial, reduce
from typing import Any

import httpx
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from actors.backfill.fetcher import Budget, Fetcher, FetchResult
from actors.backfill.paging import Progress
from actors.backfill.rate_limiter import RateLimiter
from actors.backfill.rest_client import RestClient, RestClientLimits
from actors.exchanges.contract.history import Kind, Page, Query, RateLimit, Refused, TradeRange
from actors.exchanges.contract.history_helpers import trades
from actors.model.symbols import parse_symbol
from actors.model.ticks import Block, Reject
from actors.model.validation import YEAR_2200_NS, amounts, check_ids, check_times
from supervisor import TransientError
from tests.harness.continuity_rows import SECOND_NS, T0_NS
from tests.harness.exchange_cases import cases_of
from tests.harness.exchange_values import WITH_HISTORY, dialect_of, history_of
from tests.harness.sampling import sample

NINES = "9" * 5000
ODD = [
    *(
        "null",
        "true",
        "-1",
        "0",
        "1.5",
        "1e400",
        "NaN",
        "1" + "0" * 30,
        NINES,
        '""',
        f'"{NINES}"',
        '"x"',
        "[]",
        "{}",
    ),
    *('"\\ud800"', '"\\u0000\\u001b[2J"', '"-1"', '"1e999999999"', '"0x10"', '"\uff11"', "[" * 200 + "]" * 200),
    *(
        "253402300799000",
        '"253402300799999"',
        "-253402300799000",
        '"9999-12-31T23:59:59.999Z"',
        "9223372036854775808",
    ),
]
SECOND_S = 1.0  # what one answer may take; most take a millisecond


def rows_in(value: Any) -> list[Any]:
    """The rows of an answer: the first list, innermost first, whose elements hold plain values; [] for none."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if found := next(filter(None, map(rows_in, inner)), None):
        return found
    if not isinstance(value, list) or not all(isinstance(row, dict | list) for row in value):
        return []
    return value


@cache
def body_of(name: str) -> bytes:
    """A real page, cut to a few rows where it is long."""
    answer = json.loads(cases_of(name).pages[0].content(), parse_float=str)
    del rows_in(answer)[5:]
    return json.dumps(answer).encode()


def query_of(name: str, rows: int = 0, cursor: str | None = None) -> Query:
    channel = dialect_of(name).channels[0]
    market = dialect_of(name).market(parse_symbol(cases_of(name).rest_symbol), channel)
    by_time = history_of(name).kind is Kind.BY_TIME
    trade_range = TradeRange(from_id=1, from_ns=1, to_ns=YEAR_2200_NS) if by_time else TradeRange(from_id=1)
    rows = rows or history_of(name).page_rows
    return Query(market=market, channel=channel, trade_range=trade_range, rows=rows, cursor=cursor)


def check(name: str, body: bytes, headers: dict[str, str] | None = None, query: Query | None = None) -> Page | None:
    """Reads the answer. Only what blames the exchange is raised; what is left are sound trades of the market."""
    began, asked = time.thread_time(), query or query_of(name)
    history = history_of(name)
    page, text = None, history.error_response(400, body).message
    try:
        page = history.page(body, headers or {}, asked)
    except (Refused, TransientError) as error:
        text += str(error)
    assert len(text) < 1500
    assert time.thread_time() - began < SECOND_S
    if page is not None:
        assert set(page.trades.native) <= {asked.market.native}
        assert amounts(page.trades.price, page.trades.volume) == (page.trades.price, page.trades.volume)
        check_times(page.trades.exchange_ns)
        check_ids(page.trades.trade_id)
        assert page.cursor is None or history.request(
            Query(
                market=asked.market,
                channel=asked.channel,
                trade_range=asked.trade_range,
                rows=10,
                cursor=page.cursor,
            )
        )
        for trade_range in (TradeRange(from_id=1, to_id=9), TradeRange(from_ns=1, to_ns=9)):
            progress = Progress(history, trade_range)
            progress.take(page)
            progress.remaining()
    return page


def values(node: object, path: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """The paths of all values in a JSON document."""
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(found for key, value in inner for found in values(value, (*path, key)))]


def spoiled(body: bytes, places: list[int], odd: list[str]) -> bytes:
    """The document with other values in some places, as text: not all of them are what Python's json can write."""
    document = json.loads(body, parse_float=str)
    paths = values(document)
    marks = {}
    for number, (place, value) in enumerate(zip(places, odd, strict=False)):
        path, node, mark = paths[place % len(paths)], document, f"<<{number}>>"
        marks[json.dumps(mark)] = value
        if not path:
            return value.encode("utf-8", "surrogatepass")
        try:
            for key in path[:-1]:
                node = node[key]
            node[path[-1]] = mark
        except (KeyError, IndexError, TypeError):
            continue  # an earlier one took its place away
    text = json.dumps(document)
    for mark, value in marks.items():
        text = text.replace(mark, value)
    return text.encode()


@pytest.mark.parametrize("name", sample(WITH_HISTORY, 3, "odd pages"))
@settings(max_examples=120, deadline=None)
@given(
    places=st.lists(st.integers(0, 200), min_size=1, max_size=4),
    odd=st.lists(st.sampled_from(ODD), min_size=4, max_size=4),
    cut=st.none() | st.integers(0, 2000),
    full=st.booleans(),
    cursor=st.sampled_from([None, "5", "116922626"]),
    after=st.sampled_from(["", "x", "seek x y", "-1", NINES, "116922624", "\u0661"]),
)
def test_a_spoiled_page_is_the_exchanges_fault_or_costs_its_rows(
    name: str, places: list[int], odd: list[str], cut: int | None, full: bool, cursor: str | None, after: str
) -> None:
    body = spoiled(body_of(name), places, odd)[:cut]
    query = query_of(name, 1 if full else 0, cursor)
    check(name, body, {"cb-after": after} if after else {}, query)


@pytest.mark.parametrize("name", WITH_HISTORY)
def test_a_text_of_any_length_in_a_row_makes_no_long_error(name: str) -> None:
    """An error is logged, and shown in health."""
    document = json.loads(body_of(name), parse_float=str)
    for path in values(document):
        answer = copy.deepcopy(document)
        *within, last = path or ("",)
        node = reduce(operator.getitem, within, answer)
        if path and isinstance(node[last], str):
            node[last] = NINES
            check(name, json.dumps(answer).encode())


@pytest.mark.parametrize("name", sample(WITH_HISTORY, 3, "no answers"))
@settings(max_examples=60, deadline=None)
@given(body=st.binary(max_size=200), kept=st.integers(0, 300))
def test_bytes_that_are_no_answer_are_transient(name: str, body: bytes, kept: int) -> None:
    check(name, body_of(name)[:kept] + body)


def digits_of(number: str) -> tuple[int, ...]:
    """Without the place of the point: some prices are sent as scaled integers."""
    return Decimal(number).normalize().as_tuple().digits


def is_number(value: object) -> bool:
    return re.fullmatch(r"[0-9.]+", str(value)) is not None


@pytest.mark.parametrize("name", WITH_HISTORY)
def test_one_odd_row_of_many_costs_itself_alone(name: str) -> None:
    page = check(name, body_of(name))
    assert page is not None and not page.odd
    answer = json.loads(body_of(name))
    rows = rows_in(answer)
    bad = copy.deepcopy(rows[0])
    places = bad.items() if isinstance(bad, dict) else enumerate(bad)
    prices = {digits_of(price) for price in page.trades.price}  # rows may be turned round
    key = next(key for key, value in places if is_number(value) and digits_of(str(value)) in prices)
    bad[key] = type(bad[key])("0")
    rows[:1] = [rows[0], bad, rows[0]]
    spoilt = check(name, json.dumps(answer).encode())
    assert spoilt is not None and len(spoilt.odd) == 1
    assert len(spoilt.trades.price) == len(page.trades.price) + 1


@pytest.mark.parametrize("name", sample(WITH_HISTORY, 3, "large bodies"))
@pytest.mark.parametrize(
    "body",
    [
        b"[" * (4 << 20),
        b"[" + b"0," * (1 << 21) + b"0]",
        b"[" + b"{}," * (1 << 20) + b"{}]",
        b'{"code":"0","data":[' + b"0," * (1 << 21) + b"0]}",
        b'{"retCode":0,"result":{"list":[' + b"{}," * (1 << 20) + b"{}]}}",
        b'{"error":[],"result":{"X":[' + b"[]," * (1 << 20) + b'[]],"last":"1"}}',
        b'{"error":[' + b'"E",' * (1 << 20) + b'"E"]}',
        b'{"code":-1,"msg":"' + b"x" * (4 << 20) + b'"}',
        b'{"message":"' + b"\\u001b" * (600 << 10) + b'"}',
        b" " * (4 << 20),
    ],
    ids=lambda body: body[:24].decode(),
)
def test_the_largest_body_that_is_read_takes_no_long_time(name: str, body: bytes) -> None:
    assert check(name, body) is None


@pytest.mark.parametrize(("name", "key"), [("okx", "instId"), ("bybit", "symbol")])
def test_a_row_of_another_market_is_not_stored_as_this_one(name: str, key: str) -> None:
    other = (
        body_of(name)
        .replace(f'"{key}": "'.encode(), f'"{key}":"'.encode())
        .replace(f'"{key}":"'.encode(), f'"{key}":"X'.encode())
    )
    with pytest.raises(TransientError, match="was not requested"):
        history_of(name).page(other, {}, query_of(name))


def test_one_row_far_ahead_in_the_middle_of_a_page_ends_no_range() -> None:
    ids, times = ["1", "2", "900", "4", "5"], [T0_NS + at * SECOND_NS for at in (1, 2, 10**6, 4, 5)]
    page = Page(trades(["x"] * 5, ["1"] * 5, ["1"] * 5, ["buy"] * 5, ids, times), "next")
    for trade_range in (TradeRange(from_ns=T0_NS, to_ns=T0_NS + 100 * SECOND_NS), TradeRange(from_id=1, to_id=100)):
        progress = Progress(history_of("kraken"), trade_range)
        progress.take(page)
        assert not progress.arrived and not progress.complete


def no_reject(reject: Reject) -> None:
    raise AssertionError(f"{reject} is a sound trade")


async def test_pages_in_a_circle_are_abandoned_for_now(autojump_clock: MockClock) -> None:
    asked: list[str] = []

    def circle(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.params["since"])
        rows = [["6", "1", T0_NS / 1e9 + 5, "b", "l", "", number] for number in range(1000)]
        body = json.dumps({"error": [], "result": {"X": rows, "last": str(T0_NS + 5 * SECOND_NS)}}).encode()
        return httpx.Response(200, stream=httpx.ByteStream(body))

    async def store(block: Block) -> None:
        await trio.lowlevel.checkpoint()

    history, free = (
        history_of("kraken"),
        RateLimiter([RateLimit(name="requests", units=1e6, window_s=1, burst=1e5)]),
    )
    async with RestClient(history, free, transport=httpx.MockTransport(circle)) as rest:
        fetcher = Fetcher("x", history, "trade", rest, reject=no_reject, settle_s=0)
        recovered = await fetcher.fetch(
            query_of("kraken").market, TradeRange(from_ns=T0_NS, to_ns=T0_NS + 10**12), store
        )
    assert not recovered.complete and not recovered.final and "leads back" in recovered.reason
    assert len(set(asked)) <= 4 and len(asked) <= 10


# -- over a real socket ------------------------------------------------------------------------------------


def answer(body: bytes, *headers: str) -> bytes:
    head = "".join(f"{line}\r\n" for line in (f"Content-Length: {len(body)}", *headers))
    return f"HTTP/1.1 200 OK\r\n{head}\r\n".encode() + body


async def endless(stream: trio.SocketStream, head: bytes, part: bytes) -> None:
    await stream.send_all(head)
    while True:
        await stream.send_all(part)
        await trio.lowlevel.checkpoint()


WHOLE = {
    "a body that says it is compressed": answer(b"[]", "Content-Encoding: gzip"),
    "an unknown encoding": answer(b"[]", "Content-Encoding: \xff\x00".replace("\x00", "")),
    "no HTTP": b"SSH-2.0-x\r\n\r\n",
    "nothing": b"",
    "a status of words": b"HTTP/1.1 fine OK\r\n\r\n",
    "a length of words": b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n[]",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n[]",
    "half a body": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[]",
    "chunks without sense": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n[]\r\n",
    "a header of a megabyte": b"HTTP/1.1 200 OK\r\nX: " + b"x" * (1 << 20) + b"\r\n\r\n[]",
    "a redirect": b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
    "another protocol": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "a wait of words": b"HTTP/1.1 503 x\r\nRetry-After: " + b"9" * 5000 + b"\r\nContent-Length: 0\r\n\r\n",
    "a page of HTML": answer(b"<html>busy</html>"),
    "an empty body": answer(b""),
    "half a document": answer(b'[{"id":1,"pri'),
}
ENDLESS = {
    "200 MB": (b"HTTP/1.1 200 OK\r\nContent-Length: 200000000\r\n\r\n", b"[" * 65536),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n[\r\n" * 1000),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X: x\r\n" * 1000),
    "informational answers": (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
}


@asynccontextmanager
async def answering(talk: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncIterator[str]:
    async def handle(stream: trio.SocketStream) -> None:
        try:
            async with stream:
                await stream.receive_some()
                await talk(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client has had enough

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, handle, 0, host="127.0.0.1"))
        yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


async def fetch(url: str) -> FetchResult:
    async def store(block: Block) -> None:
        await trio.lowlevel.checkpoint()

    limits = RestClientLimits(answer_s=0.5, tries=1)
    free = RateLimiter([RateLimit(name="request weight", units=1e6, window_s=1, burst=1e5)])
    async with RestClient(history_of("binance"), free, rest_url=url, limits=limits) as rest:
        fetcher = Fetcher("x", history_of("binance"), "trade", rest, reject=no_reject, settle_s=0)
        return await fetcher.fetch(
            query_of("binance").market, TradeRange(from_id=1, to_id=9), store, Budget(pages=2)
        )


@pytest.mark.parametrize("kind", [*WHOLE, *ENDLESS])
async def test_no_answer_is_more_than_transient(kind: str) -> None:
    async def talk(stream: trio.SocketStream) -> None:
        if kind in WHOLE:
            await stream.send_all(WHOLE[kind])
        else:
            await endless(stream, *ENDLESS[kind])

    with trio.fail_after(10):
        async with answering(talk) as url:
            recovered = await fetch(url)
    assert not recovered.complete and not recovered.final and not recovered.refused and recovered.reason
