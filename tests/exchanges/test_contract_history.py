"""What the history of each exchange promises: what it asks, what it reads, what it makes of errors."""

import json
from collections.abc import Callable, Sequence

import pytest

from actors.backfill.rest_client import RestClientLimits
from actors.continuity.twins import COMPOSITE
from actors.exchanges.contract.feed import MS
from actors.exchanges.contract.feed_helpers import S_NS
from actors.exchanges.contract.history import Kind, TradeRange
from actors.exchanges.contract.rest import Garbled, RestRequest
from actors.model.ticks import IdPromise
from actors.model.validation import amounts, check_ids, check_times
from tests.harness.capture_files import expected, recordings
from tests.harness.exchange_cases import cases_of, query_of, unknown_market_of
from tests.harness.exchange_values import WITH_HISTORY, dialect_of, history_of

every_history = pytest.mark.parametrize("name", WITH_HISTORY)


@every_history
def test_a_history_keeps_its_own_limits(name: str) -> None:
    history = history_of(name)
    assert history.origin(None).startswith("https://")
    assert history.origin("http://127.0.0.1:9444/x") == "http://127.0.0.1:9444"
    limits = {limit.name: limit for limit in history.limits}
    ask = history.request(query_of(name))
    assert isinstance(ask, RestRequest) and ask.costs
    assert all(0 < cost <= limits[unit].burst for unit, cost in ask.costs.items())
    assert history.aggregated <= set(dialect_of(name).channels)


@every_history
def test_a_full_page_is_no_larger_than_what_is_read(name: str) -> None:
    history = history_of(name)
    for case in cases_of(name).pages:
        query = query_of(name, symbol=case.symbol, channel=case.channel)
        rows = len(history.page(case.content(), case.headers, query).trades.native)
        assert len(case.content()) / rows * history.page_rows < RestClientLimits().body_bytes


STEPS_NS = {"s": S_NS, "ms": MS, "us": 1000, "100 ns": 100, "ns": 1}
# Where recordings and samples show something else: the times of gemini's channel `trade`, and rows that happen to
# be round.
STREAM_STEP_NS = {"gemini": 1}
HISTORY_STEP_NS = {"bitfinex": MS, "upbit": MS}


def step_of(times: Sequence[int | None]) -> int:
    """The resolution of times: the coarsest that all of them have."""
    return next(step for step in STEPS_NS.values() if not any((time or 0) % step for time in times))


@every_history
def test_a_history_of_coarser_times_than_the_stream_s_says_so_and_has_ids_that_identify_trades(name: str) -> None:
    """A missed trade seems to be older than the last one before it, and one that came live has another time."""
    history, stream = history_of(name), STEPS_NS[dialect_of(name).resolution]
    live = [one for one in recordings(name) if "RETIRED" not in one]
    stream = min([stream, *(step_of([row["ts_ns"] for row in expected(name, one)]) for one in live)])
    stream = STREAM_STEP_NS.get(name, stream)
    past = S_NS
    for case in cases_of(name).pages:
        query = query_of(name, symbol=case.symbol, channel=case.channel)
        past = min(past, step_of(history.page(case.content(), case.headers, query).trades.exchange_ns))
    past = HISTORY_STEP_NS.get(name, past)
    promises = set(dialect_of(name).ids.values())
    if past > stream or history.slack_ns:
        assert promises.isdisjoint(COMPOSITE)
        assert history.slack_ns >= past or promises == {IdPromise.CONTIGUOUS}  # ids say what is missing


@every_history
def test_what_is_asked_is_what_the_documents_say(name: str) -> None:
    cases = cases_of(name).requests
    assert cases
    for case in cases:
        query = query_of(name, case.trade_range, case.cursor, symbol=case.symbol, channel=case.channel)
        request = history_of(name).request(query)
        assert (request.target, request.body) == (case.target, case.body)


@every_history
def test_an_answer_is_read_as_recorded_or_documented(name: str) -> None:
    cases = cases_of(name).pages
    assert cases
    for case in cases:
        body, query = case.content(), query_of(name, symbol=case.symbol, channel=case.channel)
        page = history_of(name).page(body, case.headers, query)
        trades = page.trades
        price, volume = amounts(trades.price, trades.volume)
        check_times(trades.exchange_ns)
        check_ids(trades.trade_id)
        found = list(
            zip(trades.native, trades.trade_id, price, volume, trades.side, trades.exchange_ns, strict=True)
        )
        assert found == list(case.rows(json.loads(body, parse_float=str))) and found
        assert (page.cursor, page.odd) == (case.cursor, ()) and not any(trades.snapshot)


NONSENSE = [b"", b"{", b"null", b"[[]]", b'"x"', b"<html>busy</html>", b"\xff\xfe", b"[" * 5000, b'{"a":1}']


@every_history
@pytest.mark.parametrize("body", NONSENSE)
def test_an_answer_without_sense_is_transient(name: str, body: bytes) -> None:
    with pytest.raises(Garbled):
        history_of(name).page(body, {}, query_of(name))


@every_history
def test_errors_with_status_200_are_told_apart(name: str) -> None:
    cases = cases_of(name).errors
    assert cases
    for body, error in cases:
        with pytest.raises(error):
            history_of(name).page(body, {}, query_of(name))


@every_history
def test_a_market_that_does_not_exist_is_refused_for_good(name: str) -> None:
    status, body, words = unknown_market_of(name)
    refusal = history_of(name).error_response(status, body)
    assert status >= 400 and refusal.final and words and words in refusal.message


@every_history
def test_a_refusal_is_reported_in_the_exchanges_words(name: str) -> None:
    for status, body, words in cases_of(name).error_texts:
        assert history_of(name).error_response(status, body).message == words
    for body in NONSENSE:
        assert not history_of(name).error_response(500, body).final


MS_AT = 1_790_000_000_000
ISO_AT = "2026-09-21T14:13:20.000Z"


def crypto_page(native: str, ids: range) -> object:
    rows = [{"i": native, "d": str(id_), "p": "5", "q": "1", "s": "BUY", "t": MS_AT} for id_ in ids]
    return {"code": 0, "result": {"data": rows}}


def krakenfutures_page(_native: str, ids: range) -> object:
    rows = [{"uid": str(id_), "time": ISO_AT, "price": 5, "size": 1, "side": "buy"} for id_ in ids]
    return {"result": "success", "history": rows}


def dydx_page(_native: str, ids: range) -> object:
    same = {"side": "BUY", "size": "1", "price": "5", "createdAt": ISO_AT, "createdAtHeight": "7"}
    return {"trades": [{"id": str(id_), **same} for id_ in ids]}


def bitfinex_page(_native: str, ids: range) -> object:
    return [[id_, MS_AT, 1, 5] for id_ in ids]


def kraken_page(_native: str, ids: range) -> object:
    rows = [["5", "1", MS_AT / 1000, "b", "l", "", id_] for id_ in ids]
    return {"error": [], "result": {"XXBTZUSD": rows, "last": f"{MS_AT}000000"}}


@pytest.mark.parametrize(
    ("name", "page", "cursor", "earlier"),
    [
        ("cryptocom", crypto_page, f"{MS_AT}000001", f"{MS_AT}000007"),
        ("krakenfutures", krakenfutures_page, f"{MS_AT + 1}", f"{MS_AT + 2}"),
        ("dydx", dydx_page, "7", ""),
        ("bitfinex", bitfinex_page, f"{MS_AT}", f"{MS_AT - 1}"),
        ("kraken", kraken_page, f"{MS_AT - 1}999999", f"{MS_AT - 1}999998"),
    ],
)
def test_a_page_full_of_one_time_that_nothing_leads_on_from_is_marked(
    name: str, page: Callable[[str, range], object], cursor: str, earlier: str
) -> None:
    """The next page begins behind it. One that came from elsewhere is asked for again from that time on."""
    count = min(100, history_of(name).page_rows)
    trade_range = TradeRange(from_ns=(MS_AT - 9) * 1_000_000, to_ns=(MS_AT + 9) * 1_000_000)
    for asked, rows, skips in ((cursor, count, True), (cursor, count - 1, False), (earlier, count, False)):
        if asked:
            query = query_of(name, trade_range, asked, rows=count)
            body = json.dumps(page(query.market.native, range(1, rows + 1))).encode()
            assert history_of(name).page(body, {}, query).skips == skips


def test_some_history_is_of_each_kind_so_that_the_tests_above_see_all() -> None:
    assert {history_of(name).kind for name in WITH_HISTORY} == set(Kind)
