"""Every history reads what its exchange was recorded to answer, field by field, and asks as documented."""

import json
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.backfill.fetcher import Recovered
from actors.backfill.paging import Progress
from actors.backfill.trade_ranges import status_of, stretches
from actors.exchanges.contract.feed import Market, Trades
from actors.exchanges.contract.feed_helpers import digits, seconds_ns
from actors.exchanges.contract.history import (
    Ask,
    Busy,
    Garbled,
    History,
    Kind,
    Page,
    Query,
    RateLimit,
    Refused,
    TradeRange,
)
from actors.model.records import GapReason, GapRow, GapStatus
from actors.model.symbols import parse_symbol
from actors.model.validation import FieldError, amounts, check_ids, check_times
from tests.harness.capture_files import REST_MARKETS
from tests.harness.exchange_values import WITH_HISTORY, dialect_of, history_of
from tests.harness.paths import capture

MS = 1_000_000
FROM_NS = 1_762_795_433_971_744_500
CHANNELS = {name: dialect_of(name).channels[0] for name in WITH_HISTORY}


def query(name: str, stretch: TradeRange | None = None, cursor: str | None = None, **other: Any) -> Query:
    market = dialect_of(name).market(parse_symbol(other.pop("symbol", REST_MARKETS[name])))
    rows = history_of(name).page_rows
    stretch = stretch or TradeRange(from_id=1, to_id=10, from_ns=FROM_NS)
    return Query(
        **{"market": market, "channel": CHANNELS[name], "stretch": stretch, "rows": rows, "cursor": cursor, **other}
    )


def parse(name: str, body: bytes, asked: Query | None = None, headers: Mapping[str, str] | None = None) -> Page:
    return history_of(name).page(body, headers or {}, asked or query(name))


def recorded(path: str) -> tuple[bytes, Any]:
    body = capture(path).read_bytes()
    return body, json.loads(body, parse_float=str)


def rows_of(trades: Trades) -> list[tuple[object, ...]]:
    price, volume = amounts(trades.price, trades.volume)
    check_times(trades.exchange_ns)
    check_ids(trades.trade_id)
    assert not any(trades.snapshot)
    return list(zip(trades.native, trades.trade_id, price, volume, trades.side, trades.exchange_ns, strict=True))


def test_binance_trades_are_read_as_recorded() -> None:
    body, rows = recorded("binance/rest/trades_ETHBTC_limit1000_2023-03-20.json")
    page = parse("binance", body)
    assert rows_of(page.trades) == [
        (
            "ETHBTC",
            str(row["id"]),
            row["price"],
            row["qty"],
            "sell" if row["isBuyerMaker"] else "buy",
            row["time"] * MS,
        )
        for row in rows
    ]
    assert len(rows) == 1000 and page.cursor == str(rows[-1]["id"] + 1)
    assert page.ids == [row["id"] for row in rows] and page.times_ns[0] == rows[0]["time"] * MS


def test_binance_aggregates_are_trades_on_their_own_channel() -> None:
    body, rows = recorded("binance/rest/aggTrades_BTCUSDT_fromId202790190_2020.json")
    asked = query("binance", TradeRange(from_id=202790190), symbol="BTC/USDT", channel="aggTrade")
    ask = history_of("binance").ask(asked)
    said = capture("binance/rest/aggTrades_BTCUSDT_fromId202790190_2020.txt").read_text("utf-8").split()[1]
    assert ask.path == said.partition("?")[0] and set(ask.target.split("?")[1].split("&")) == set(
        said.partition("?")[2].split("&")
    )
    page = parse("binance", body, asked)
    assert rows_of(page.trades) == [
        ("BTCUSDT", str(row["a"]), row["p"], row["q"], "sell" if row["m"] else "buy", row["T"] * MS) for row in rows
    ]


def test_binance_finds_the_id_of_a_time_among_the_aggregates() -> None:
    body, rows = recorded("binance/rest/aggTrades_BTCUSDT_startTime_endTime_2020-11-18.json")
    stretch = TradeRange(from_ns=1605740428000 * MS, to_ns=1605750000000 * MS)
    asked = query("binance", stretch, symbol="BTC/USDT")
    assert dict(history_of("binance").ask(asked).query)["startTime"] == "1605740428000"
    page = parse("binance", body, asked)
    assert not page.trades.price and page.cursor == str(rows[0]["f"])
    assert parse("binance", body, query("binance", stretch, channel="aggTrade")).cursor == str(rows[0]["a"])
    following = history_of("binance").ask(query("binance", stretch, page.cursor))
    assert following.path == "/api/v3/historicalTrades" and dict(following.query)["fromId"] == str(rows[0]["f"])


def test_binance_goes_on_looking_hour_by_hour_but_not_past_the_stretch() -> None:
    asked, hours = query("binance", TradeRange(from_ns=5 * MS, to_ns=2 * 3_600_000 * MS)), 0
    while True:
        parameters = dict(history_of("binance").ask(asked).query)
        assert int(parameters["endTime"]) - int(parameters["startTime"]) < 3_600_000
        cursor, hours = parse("binance", b"[]", asked).cursor, hours + 1
        if cursor is None:
            break
        asked = query("binance", asked.stretch, cursor)
    assert hours == 2


def test_kraken_trades_are_read_as_recorded_with_times_to_the_last_digit() -> None:
    body, answer = recorded("kraken/rest/Trades_XBTUSDT_1000_2025-11-10.json")
    page = parse("kraken", body)
    assert rows_of(page.trades) == [
        (
            "BTC/USDT",
            str(row[6]),
            row[0],
            row[1],
            {"b": "buy", "s": "sell"}[row[3]],
            int(Decimal(row[2]) * 1_000_000_000),
        )
        for row in answer["result"]["XBTUSDT"]
    ]
    assert page.trades.exchange_ns[0] == 1_762_795_433_971_744_500
    assert page.cursor == str(int(answer["result"]["last"]) - 1)


def test_kraken_steps_back_from_last_except_where_that_leads_nowhere() -> None:
    row = '["1.5","2.5",1762795433.5,"b","l","",%d]'
    body = '{"error":[],"result":{"XXBTZUSD":[%s],"last":"1762795433500000000"}}'
    two = (body % ",".join(row % id_ for id_ in (1, 2))).encode()
    assert parse("kraken", two, query("kraken", rows=2)).cursor == "1762795433499999999"
    again = query("kraken", cursor="1762795433499999999", rows=2)
    assert parse("kraken", two, again).cursor == "1762795433500000000"
    assert parse("kraken", two, query("kraken", rows=3)).cursor is None  # not full: the newest page


def test_kraken_asks_for_an_unknown_pair_again_as_a_tokenised_asset_and_goes_on_so() -> None:
    unknown = b'{"error":["EQuery:Unknown asset pair"]}'
    first = query("kraken", symbol="AAPLx/USD", rows=1)
    page = parse("kraken", unknown, first)
    assert not page.trades.price and page.cursor is not None
    second = replace(first, cursor=page.cursor)
    asked = dict(history_of("kraken").ask(second).query)
    assert asked == {**dict(history_of("kraken").ask(first).query), "asset_class": "tokenized_asset"}
    row = b'["230.1","0.5",1762795433.5,"b","m","",7]'
    body = b'{"error":[],"result":{"AAPLxUSD":[%b],"last":"1762795433500000000"}}' % row
    page = parse("kraken", body, second)
    assert page.trades.native == ["AAPLx/USD"] and page.cursor is not None
    following = dict(history_of("kraken").ask(replace(first, cursor=page.cursor)).query)
    assert (following["since"], following["asset_class"]) == ("1762795433499999999", "tokenized_asset")
    with pytest.raises(Refused, match="Unknown asset pair"):
        parse("kraken", unknown, second)


def test_okx_trades_are_read_as_recorded() -> None:
    body, answer = recorded("okx/rest/trades_BTC-USDT_2025-05-12.json")
    page = parse("okx", body)
    assert rows_of(page.trades) == [
        ("BTC-USDT", row["tradeId"], row["px"], row["sz"], row["side"], int(row["ts"]) * MS)
        for row in answer["data"]
    ]
    assert page.cursor == "734864332" and history_of("okx").aggregated == {"trades"}


def test_bybit_trades_are_read_as_documented() -> None:
    # https://bybit-exchange.github.io/docs/v5/market/recent-trade, its own sample
    body = (
        b'{"retCode":0,"retMsg":"OK","result":{"category":"spot","list":[{"execId":"2100000000007764263",'
        b'"symbol":"BTCUSDT","price":"16618.49","size":"0.00012","side":"Buy","time":"1672052955758",'
        b'"isBlockTrade":false}]},"retExtInfo":{},"time":1672053054358}'
    )
    page = parse("bybit", body)
    assert rows_of(page.trades) == [
        ("BTCUSDT", "2100000000007764263", "16618.49", "0.00012", "buy", 1672052955758 * MS)
    ]
    assert page.cursor is None and history_of("bybit").kind is Kind.RECENT_ONLY


def test_coinbase_gives_the_makers_side_and_is_turned_round() -> None:
    # rows that a user of coinbasepro-python showed on 2020-12-30 (issue 414 there)
    body = (
        b'[{"time":"2020-12-30T13:45:30.397Z","trade_id":116922625,"price":"28026.04000000","size":"0.17982618",'
        b'"side":"sell"},{"time":"2020-12-30T13:33:55.41Z","trade_id":116921530,"price":"27909.44000000",'
        b'"size":"1.50000000","side":"buy"}]'
    )
    page = parse("coinbaseexchange", body, headers={"cb-before": "116922625", "cb-after": "116921530"})
    assert rows_of(page.trades) == [
        ("BTC-USD", "116922625", "28026.04000000", "0.17982618", "buy", 1609335930397 * MS),
        ("BTC-USD", "116921530", "27909.44000000", "1.50000000", "sell", 1609335235410 * MS),
    ]
    assert page.cursor == "116921530"


@pytest.mark.parametrize("newest", [3, 777, 1_000_003])
def test_coinbase_finds_a_time_by_halving_the_ids(newest: int) -> None:
    """A market of one trade a second, the first with id 1 at second 1."""
    for wanted in sorted({1, newest // 3 + 1, newest - 1, newest, newest + 5}):
        stretch = TradeRange(from_ns=0, to_ns=wanted * 1_000_000_000)
        asked, requests = query("coinbaseexchange", stretch), 0
        while asked.cursor is None or asked.cursor.startswith("seek"):
            requests += 1
            parameters = dict(history_of("coinbaseexchange").ask(asked).query)
            id_ = min(newest, int(parameters.get("after", newest + 1)) - 1)
            assert parameters["limit"] == "1" and requests < 20
            day, second = divmod(id_, 86_400)
            time = f"1970-01-{day + 1:02d}T{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}Z"
            body = json.dumps([{"time": time, "trade_id": id_, "price": "1", "size": "1", "side": "buy"}])
            cursor = parse("coinbaseexchange", (body if id_ > 0 else "[]").encode(), asked).cursor
            assert cursor is not None
            asked = query("coinbaseexchange", stretch, cursor)
        assert asked.cursor is not None
        assert 0 <= int(asked.cursor) - 1 - min(wanted, newest) <= 501


def test_what_is_asked_is_what_the_documents_say() -> None:
    def target(name: str, stretch: TradeRange, cursor: str | None = None, **other: Any) -> str:
        return history_of(name).ask(query(name, stretch, cursor, **other)).target

    by_id = TradeRange(from_id=5, to_id=9, from_ns=FROM_NS, to_ns=FROM_NS + 10)
    by_time = TradeRange(from_ns=FROM_NS, to_ns=FROM_NS + 10)
    assert target("binance", by_id) == "/api/v3/historicalTrades?symbol=ETHBTC&fromId=5&limit=1000"
    assert target("coinbaseexchange", by_id) == "/products/BTC-USD/trades?limit=1000&after=10"
    assert target("coinbaseexchange", by_time) == "/products/BTC-USD/trades?limit=1"
    assert target("coinbaseexchange", by_time, "77") == "/products/BTC-USD/trades?limit=1000&after=77"
    assert target("kraken", by_id) == "/0/public/Trades?pair=XBTUSDT&since=1762795433971743499&count=1000"
    assert target("kraken", by_id, symbol="DOGE/BTC").startswith("/0/public/Trades?pair=XDGXBT&")
    assert target("okx", by_id) == "/api/v5/market/history-trades?instId=BTC-USDT&type=1&after=10&limit=100"
    at_ms = FROM_NS // MS + 1
    assert target("okx", by_time) == f"/api/v5/market/history-trades?instId=BTC-USDT&type=2&after={at_ms}&limit=100"
    assert target("bybit", by_id) == "/v5/market/recent-trade?category=linear&symbol=BTCUSDT&limit=1000"
    assert "category=spot&symbol=BTCUSDT&limit=60" in target("bybit", by_id, symbol="BTC/USDT")
    with pytest.raises(Refused, match="no time is known"):
        target("kraken", TradeRange(from_id=5, to_id=9))


@pytest.mark.parametrize("name", WITH_HISTORY)
@pytest.mark.parametrize(
    "body", [b"", b"{", b"null", b"[[]]", b'"x"', b"<html>busy</html>", b"\xff\xfe", b"[" * 5000, b'{"a":1}']
)
def test_an_answer_without_sense_is_transient(name: str, body: bytes) -> None:
    with pytest.raises(Garbled):
        parse(name, body)


@pytest.mark.parametrize(
    ("name", "body", "error"),
    [
        ("kraken", b'{"error":["EGeneral:Too many requests"]}', Busy),
        ("kraken", b'{"error":["EService:Unavailable"],"result":{}}', Busy),
        ("kraken", b'{"error":["EGeneral:Invalid arguments"]}', Refused),
        ("kraken", b'{"error":["EGeneral:Internal error"]}', Busy),
        ("kraken", b'{"error":["EQuery:Unknown asset pair","EService:Busy"]}', Busy),
        ("kraken", b'{"error":["EGeneral:Unknown method"]}', Busy),
        ("okx", b'{"code":"50026","msg":"System error","data":[]}', Busy),
        ("okx", b'{"code":"0","msg":""}', Garbled),
        ("bybit", b'{"retCode":10016,"retMsg":"Server error","result":{}}', Busy),
        ("bybit", b'{"retCode":0,"retMsg":"OK","result":{}}', Garbled),
        ("binance", b'{"code":-1000,"msg":"An unknown error occurred"}', Busy),
        ("binance", b'{"code":-1121,"msg":"Invalid symbol."}', Refused),
        ("coinbaseexchange", b'{"message":"Internal server error"}', Busy),
        ("kraken", b'{"error":[],"result":{"XXBTZUSD":[]}}', Garbled),
        ("kraken", b'{"error":[],"result":{"XXBTZUSD":[],"last":"now"}}', Garbled),
        ("okx", b'{"code":"50011","msg":"Too Many Requests","data":[]}', Busy),
        ("okx", b'{"code":"51001","msg":"Instrument ID does not exist","data":[]}', Refused),
        ("bybit", b'{"retCode":10006,"retMsg":"Too many visits!","result":{}}', Busy),
        ("bybit", b'{"retCode":10001,"retMsg":"Not supported symbols","result":{}}', Refused),
    ],
)
def test_errors_with_status_200_are_told_apart(name: str, body: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        parse(name, body)


@pytest.mark.parametrize(
    ("name", "body", "words"),
    [
        ("binance", b'{"code":-1121,"msg":"Invalid symbol."}', "-1121 Invalid symbol."),
        ("coinbaseexchange", b'{"message":"NotFound"}', "NotFound"),
        ("okx", b'{"code":"50011","msg":"Too Many Requests"}', "50011 Too Many Requests"),
        ("bybit", b"access too frequent", "access too frequent"),
        ("kraken", b"\xff", "\ufffd"),
    ],
)
def test_a_refusal_is_told_in_the_exchanges_words(name: str, body: bytes, words: str) -> None:
    assert history_of(name).said(400, body).words == words


@given(st.decimals(min_value=0, max_value=10**11, places=9))
def test_seconds_in_decimals_become_nanoseconds_exactly(seconds: Decimal) -> None:
    assert seconds_ns(f"{seconds:f}") == int(seconds * 1_000_000_000)


@pytest.mark.parametrize("text", ["", "x", "-1", "1e9", "1.", "1.2.3", " 1", "\uff11"])
def test_a_time_that_is_no_number_of_seconds_is_refused(text: str) -> None:
    with pytest.raises(FieldError):
        seconds_ns(text)


def test_decimals_keep_their_digits_as_numbers_and_as_strings() -> None:
    body = b'{"error":[],"result":{"P":[[0.00123440,"105433.60000",1762795433.9717445,"b","l","",1]],"last":"1"}}'
    trades = parse("kraken", body).trades
    assert (trades.price, trades.volume) == (["0.00123440"], ["105433.60000"])
    with pytest.raises(FieldError):
        digits(msgspec.Raw(b"null"), "price")


def _history(*, newest_first: bool, dense: bool = True) -> History:
    def nothing(*_: object) -> Any:
        raise NotImplementedError

    return History(
        name="test",
        kind=Kind.BY_ID,
        depth="deep",
        doc="",
        doc_read="",
        base="https://api.example:1/ignored",
        limits=(),
        page_rows=10,
        newest_first=newest_first,
        ask=nothing,
        parse=nothing,
        refusal=nothing,
        dense=dense,
    )


def _page(ids: list[int], at: int = 1) -> Page:
    texts: list[str | None] = [str(id_) for id_ in ids]
    count = len(ids)
    times: list[int | None] = [id_ * at for id_ in ids]
    return Page(
        Trades(["X"] * count, ["1"] * count, ["1"] * count, [None] * count, texts, times, [False] * count), "c"
    )


@given(
    st.booleans(),
    st.integers(2, 60),  # something older and newer proves that a time has been passed
    st.integers(0, 39),
    st.integers(2, 9),
    st.integers(0, 1),
    st.booleans(),
)
def test_every_wanted_row_is_taken_once_whatever_the_pages(
    newest_first: bool, first: int, more: int, rows: int, overlap: int, by_time: bool
) -> None:
    last, step = first + more, rows - overlap
    stretch = TradeRange(from_ns=first, to_ns=last) if by_time else TradeRange(from_id=first, to_id=last)
    progress = Progress(_history(newest_first=newest_first), stretch)
    ids = list(range(100, 0, -1) if newest_first else range(1, 101))
    got: list[int] = []
    for start in range(0, len(ids), step):
        page = _page(ids[start : start + rows])
        got += [page.ids[at] for at in progress.take(page)]
        if progress.arrived:
            break
    assert sorted(got) == list(range(first, last + 1)) and len(got) == progress.count
    assert progress.complete and progress.missing == (None if by_time else 0)


def test_what_remains_begins_where_the_pages_have_come_to() -> None:
    stretch = TradeRange(from_id=10, to_id=30, from_ns=10, to_ns=30)
    onwards = Progress(_history(newest_first=False), stretch)
    onwards.take(_page([10, 11, 12]))
    assert onwards.remaining() == TradeRange(from_id=13, to_id=30, from_ns=12, to_ns=30) and onwards.missing == 18
    back = Progress(_history(newest_first=True), stretch)
    assert back.remaining() == stretch
    back.take(_page([32, 31, 30, 29]))
    assert back.remaining() == TradeRange(from_id=10, to_id=28, from_ns=10, to_ns=29)
    back.take(_page([12, 11, 10]))
    assert back.remaining() == stretch and back.missing == 16 and not back.complete


def test_a_time_is_met_only_by_what_lies_past_it() -> None:
    """Several trades may share a time, and a page may have been cut between them."""
    progress = Progress(_history(newest_first=True, dense=False), TradeRange(from_ns=5, to_ns=9))
    progress.take(_page([9, 8, 7, 6, 5]))
    assert not progress.complete
    progress.take(_page([4]))
    assert progress.complete


def test_wrong_stretches_and_limits_are_refused_at_once() -> None:
    with pytest.raises(ValueError, match="first id or a first time"):
        TradeRange(to_id=5)
    with pytest.raises(ValueError, match="begins before it ends"):
        TradeRange(from_id=6, to_id=5)
    with pytest.raises(ValueError, match="0 < burst < units"):
        RateLimit(name="x", units=1, window_s=1, burst=1)


def test_a_gap_is_asked_for_by_its_ids_and_ranges_that_share_a_page_together() -> None:
    gap = GapRow(1, "g", "okx", "BTC/USDT", GapReason.SEQUENCE, 1, from_id="9", from_ns=100, to_id="500", to_ns=200)
    asked = stretches(gap, [(10, 12), (20, 20), (105, 110), (111, 480)], history_of("okx"))  # 100 rows a page
    assert [(part.from_id, part.to_id) for part in asked] == [(10, 20), (105, 110), (111, 480)]
    assert {(part.from_ns, part.to_ns) for part in asked} == {(100, 200)}
    clocks = replace(gap, from_ns=201)
    assert stretches(clocks, [(10, 12)], history_of("okx")) == [
        TradeRange(from_id=10, to_id=12, from_ns=201, to_ns=201)
    ]


def test_a_gap_without_ids_is_asked_for_by_its_times_once_it_has_an_end() -> None:
    gap = GapRow(1, "g", "bybit", "BTC/USDT:USDT", GapReason.DISCONNECT, 1, from_id=None, from_ns=100, to_ns=200)
    assert stretches(gap, [], history_of("bybit")) == [TradeRange(from_ns=100, to_ns=200)]
    assert stretches(replace(gap, from_ns=300), [], history_of("bybit")) == [TradeRange(from_ns=200, to_ns=200)]
    assert stretches(replace(gap, to_ns=None), [], history_of("bybit")) == []
    assert stretches(replace(gap, from_ns=None), [], history_of("bybit")) == []


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ([(5, True, True), (0, True, True)], GapStatus.FILLED),
        ([(5, True, True), (3, False, False)], GapStatus.OPEN),
        ([(0, False, False), (0, False, True)], GapStatus.OPEN),
        ([(5, True, True), (0, False, True)], GapStatus.PARTIAL),
        ([(0, False, True)], GapStatus.LOST),
    ],
)
def test_a_gap_is_what_its_parts_have_become(parts: list[tuple[int, bool, bool]], status: GapStatus) -> None:
    recovered = [Recovered(count=count, complete=complete, final=final) for count, complete, final in parts]
    assert status_of(recovered) is status


@pytest.mark.parametrize("name", WITH_HISTORY)
def test_every_history_is_told_in_words_and_keeps_its_own_limits(name: str) -> None:
    history = history_of(name)
    assert history.name == name and history.depth and history.doc.startswith("https://")
    assert history.origin(None).startswith("https://")
    assert history.origin("http://127.0.0.1:9444/x") == "http://127.0.0.1:9444"
    limits = {limit.name: limit for limit in history.limits}
    ask = history.ask(query(name))
    assert isinstance(ask, Ask) and all(cost <= limits[unit].burst for unit, cost in ask.costs.items())
    assert history.aggregated <= set(dialect_of(name).channels)
    assert isinstance(query(name).market, Market)
