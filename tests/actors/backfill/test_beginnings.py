"""A range by time is complete only where the exchange's answers prove that they lack nothing of its beginning."""

import json
from collections.abc import Callable, Mapping
from typing import TypeVar

import pytest
import trio
from msgspec.structs import replace

from actors.backfill.fetcher import Budget, Fetcher, FetchResult
from actors.backfill.rest_client import Answer
from actors.exchanges.contract.history import RestRequest, TradeRange
from actors.model.symbols import parse_symbol
from actors.model.ticks import Block, Reject
from tests.harness.exchange_values import dialect_of, history_of

T = TypeVar("T")
MS, S, HOUR = 10**6, 10**9, 3_600 * 10**9
NOW_NS = 1_790_000_000 * S
FUTURES = ("binanceusdm", "binancecoinm")
SYMBOLS = {
    "binanceusdm": "BTC/USDT:USDT",
    "binancecoinm": "BTC/USD:BTC",
    "bitstamp": "LTC/EUR",
    "cryptocom": "BTC/USD",
    "deribit": "ETH/USD:ETH",
    "gemini": "ZEC/BTC",
}

Tape = list[tuple[int, int]]  # nanoseconds and id of each trade, oldest first
Served = Callable[[Tape, str, Mapping[str, str], int], object]


def binance_futures(tape: Tape, path: str, query: Mapping[str, str], _now_ns: int) -> object:
    limit = int(query["limit"])
    if path.endswith("/trades"):
        rows = [{"id": id_, "qty": "1", "time": ns // MS} for ns, id_ in tape[-limit:]]
        return [{**row, "price": "5", "isBuyerMaker": False} for row in rows]
    if "startTime" in query:
        low, high = int(query["startTime"]), int(query["endTime"])
        found = [(ns, id_) for ns, id_ in tape if low <= ns // MS <= high]
    else:
        found = [(ns, id_) for ns, id_ in tape if id_ >= int(query["fromId"])]
    return [{"a": id_, "p": "5", "q": "1", "f": id_, "T": ns // MS, "m": False} for ns, id_ in found[:limit]]


def bitstamp(tape: Tape, _path: str, query: Mapping[str, str], now_ns: int) -> object:
    span_s = {"minute": 60, "hour": 3_600, "day": 86_400}[query["time"]]
    rows = [(ns // S, id_) for ns, id_ in reversed(tape) if ns >= now_ns - span_s * S]
    return [{"date": str(s), "tid": str(id_), "price": "5", "type": "0", "amount": "1"} for s, id_ in rows]


def cryptocom(tape: Tape, _path: str, query: Mapping[str, str], _now_ns: int) -> object:
    low, high = int(query["start_ts"]), int(query["end_ts"])
    rows = [(ns // MS, str(id_)) for ns, id_ in tape if low <= ns < high][-int(query["count"]) :]
    data = [{"i": "BTC_USD", "d": id_, "t": ms, "p": "5", "q": "1", "s": "SELL"} for ms, id_ in reversed(rows)]
    return {"code": 0, "result": {"data": data}}


def deribit(tape: Tape, path: str, query: Mapping[str, str], _now_ns: int) -> object:
    if path.endswith("_and_time"):
        low, high = int(query["start_timestamp"]), int(query["end_timestamp"])
        found = [(ns, id_) for ns, id_ in tape if low <= ns // MS <= high]
    else:
        found = [(ns, id_) for ns, id_ in tape if id_ >= int(query["start_seq"])]
    rows = found[: int(query["count"])]
    same = {"instrument_name": "ETH-PERPETUAL", "price": 5, "amount": 1, "direction": "buy"}
    trades = [{**same, "trade_id": str(id_), "trade_seq": id_, "timestamp": ns // MS} for ns, id_ in rows]
    return {"result": {"trades": trades, "has_more": len(rows) < len(found)}}


def gemini(tape: Tape, _path: str, query: Mapping[str, str], now_ns: int) -> object:
    from_ns, since = int(query.get("timestamp", now_ns // MS)) * MS, int(query.get("since_tid", 0))
    if from_ns < now_ns - 7 * 24 * HOUR:
        body = b'{"result":"error","reason":"HistoricalDataNotAvailable","message":"too old"}'
        raise history_of("gemini").error_response(400, body).error("gemini")
    found = [(ns, id_) for ns, id_ in tape if (id_ > since if since else ns >= from_ns)]
    rows = [{"timestampms": ns // MS, "tid": id_} for ns, id_ in found[: int(query["limit_trades"])]]
    return [{**row, "price": "5", "amount": "1", "type": "buy"} for row in reversed(rows)]


SERVED: Mapping[str, Served] = {
    "binanceusdm": binance_futures,
    "binancecoinm": binance_futures,
    "bitstamp": bitstamp,
    "cryptocom": cryptocom,
    "deribit": deribit,
    "gemini": gemini,
}


class Exchange:
    """An exchange that answers from a tape, each time `slow_s` after it was asked; `ids` are those fetched."""

    def __init__(self, name: str, tape: Tape, channel: str = "", slow_s: int = 0) -> None:
        self.name, self.tape, self.channel = name, tape, channel or dialect_of(name).channels[0]
        self.slow_s, self.now_ns = slow_s, NOW_NS
        self.ids, self.asked = list[int](), list[Mapping[str, str]]()

    async def get(self, request: RestRequest, read: Callable[[Answer], T]) -> T:
        await trio.lowlevel.checkpoint()
        self.now_ns += self.slow_s * S
        self.asked.append(dict(request.query))
        answer = SERVED[self.name](self.tape, request.path, self.asked[-1], self.now_ns)
        return read(Answer(json.dumps(answer).encode(), {}, self.now_ns))

    async def _store(self, block: Block) -> None:
        await trio.lowlevel.checkpoint()
        self.ids += [int(id_ or "") for id_ in block.trade_id]

    async def fetch(self, from_ns: int, to_ns: int, rows: int = 1_000, pages: int = 50) -> FetchResult:
        """The result for a range by time; what it leaves for later is requested until nothing is."""
        history = history_of(self.name)
        fetcher = Fetcher(
            self.name,
            replace(history, page_rows=min(rows, history.page_rows)),
            self.channel,
            self,  # type: ignore[arg-type]
            reject=no_reject,
            settle_s=0,
            now_ns=lambda: self.now_ns,
        )
        market = dialect_of(self.name).market(parse_symbol(SYMBOLS[self.name]), self.channel)
        left, budget = TradeRange(from_ns=from_ns, to_ns=to_ns), Budget(pages=pages, rows_per_s=1e9)
        for _ in range(100):
            result = await fetcher.fetch(market, left, self._store, budget)
            if result.final or result.remaining in (None, left):
                return result
            assert result.remaining is not None
            left = result.remaining
        raise AssertionError("it never ends")


def no_reject(reject: Reject) -> None:
    raise AssertionError(f"{reject} is a sound trade")


def every(step_ns: int, first_ns: int, last_ns: int) -> Tape:
    """A trade each `step_ns` from one time to another, numbered."""
    return [(ns, 1_000 + number) for number, ns in enumerate(range(first_ns, last_ns + 1, step_ns))]


# -- Binance's futures ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FUTURES)
async def test_the_newest_single_trades_fill_no_range_that_begins_before_them(name: str) -> None:
    tape = every(S, NOW_NS - HOUR, NOW_NS)  # 3601 trades, of which the newest 1000 are given
    for low, high, complete in (
        (2_700, 3_000, True),
        (2_602, 3_600, True),
        (2_601, 3_600, False),
        (9, 3_600, False),
    ):
        exchange = Exchange(name, tape, "trade")
        result = await exchange.fetch(tape[low][0], tape[high][0])
        given = range(max(low, 2_601), high + 1)
        assert exchange.ids == [tape[at][1] for at in given] and result.complete == complete, result
        assert result.final and ("returns nothing before 2026-" in result.reason) == (not complete)


@pytest.mark.parametrize("name", FUTURES)
async def test_newest_single_trades_that_are_fewer_than_asked_for_lack_none_from_the_oldest_on(name: str) -> None:
    tape = every(60 * S, NOW_NS - HOUR, NOW_NS)
    assert (await Exchange(name, tape, "trade").fetch(tape[0][0], tape[-1][0])).complete
    assert not (await Exchange(name, tape, "trade").fetch(tape[0][0] - MS, tape[-1][0])).complete
    assert not (await Exchange(name, [], "trade").fetch(tape[0][0], tape[-1][0])).complete


@pytest.mark.parametrize("name", FUTURES)
@pytest.mark.parametrize("pages", [1, 50])
async def test_aggregates_that_begin_where_the_history_does_fill_no_range_that_began_before(
    name: str, pages: int
) -> None:
    """Whether a range is fetched at once or in several calls."""
    made = every(60 * S, NOW_NS - 48 * HOUR, NOW_NS)
    kept = [(ns, id_) for ns, id_ in made if ns >= NOW_NS - 24 * HOUR]
    exchange = Exchange(name, kept, "aggTrade")
    result = await exchange.fetch(NOW_NS - 38 * HOUR, NOW_NS - 14 * HOUR, rows=100, pages=pages)
    assert exchange.ids == [id_ for ns, id_ in kept if ns <= NOW_NS - 14 * HOUR]
    assert not result.complete and result.final and "24 hours" in result.reason, result


@pytest.mark.parametrize("name", FUTURES)
@pytest.mark.parametrize("from_h", [38, 24.5, 23.5, 20])
async def test_aggregates_of_a_longer_history_fill_ranges_of_any_age(name: str, from_h: float) -> None:
    made = every(60 * S, NOW_NS - 48 * HOUR, NOW_NS)
    from_ns, to_ns = NOW_NS - int(from_h * HOUR) + 7 * S, NOW_NS - 14 * HOUR
    exchange = Exchange(name, made, "aggTrade")
    assert (await exchange.fetch(from_ns, to_ns)).complete
    assert exchange.ids == [id_ for ns, id_ in made if from_ns <= ns <= to_ns]


@pytest.mark.parametrize("name", FUTURES)
async def test_a_trade_at_the_very_beginning_proves_it_where_none_was_made_in_the_hour_before(name: str) -> None:
    made = every(5 * HOUR, NOW_NS - 48 * HOUR, NOW_NS)
    for early_ns, complete in ((0, True), (MS, False)):
        exchange = Exchange(name, made, "aggTrade")
        assert (await exchange.fetch(made[2][0] - early_ns, made[8][0])).complete == complete
        assert exchange.ids == [id_ for _, id_ in made[2:9]]


@pytest.mark.parametrize("name", FUTURES)
async def test_hours_without_a_trade_that_the_history_certainly_covers_are_quiet_ones(name: str) -> None:
    exchange = Exchange(name, [(NOW_NS - 2 * HOUR, 7)], "aggTrade")
    assert (await exchange.fetch(NOW_NS - 20 * HOUR, NOW_NS - HOUR)).complete and exchange.ids == [7]


# -- Deribit ----------------------------------------------------------------------------------------------


async def test_deribits_trades_that_begin_where_its_history_does_fill_no_range_that_began_before() -> None:
    made = every(60 * S, NOW_NS - 48 * HOUR, NOW_NS)
    kept = [(ns, id_) for ns, id_ in made if ns >= NOW_NS - 24 * HOUR]
    for tape, from_h, complete in ((kept, 38, False), (kept, 22, True), (made, 38, True), ([], 38, False)):
        exchange = Exchange("deribit", tape)
        from_ns, to_ns = NOW_NS - from_h * HOUR + 7 * S, NOW_NS - 14 * HOUR
        result = await exchange.fetch(from_ns, to_ns, rows=100)
        assert exchange.ids == [id_ for ns, id_ in tape if from_ns <= ns <= to_ns]
        assert result.complete == complete, result


async def test_deribits_trade_at_the_very_beginning_proves_it_where_none_was_made_in_the_day_before() -> None:
    made = every(30 * HOUR, NOW_NS - 300 * HOUR, NOW_NS)
    for early_ns, complete in ((0, True), (MS, False)):
        exchange = Exchange("deribit", made)
        assert (await exchange.fetch(made[2][0] - early_ns, made[8][0])).complete == complete
        assert exchange.ids == [id_ for _, id_ in made[2:9]]


# -- Gemini -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "pages"), [(500, 50), (2, 1)])
@pytest.mark.parametrize(("age_h", "complete"), [(24, True), (7 * 24 - 1, True), (7 * 24 + 1, False)])
async def test_geminis_history_fills_what_it_has_of_a_gap_that_began_before_it(
    age_h: int, complete: bool, rows: int, pages: int
) -> None:
    """The last trade of a quiet market may be older than the whole history, although the outage is new."""
    tape = [(NOW_NS - age_h * HOUR, 901), *((NOW_NS - age_s * S, 1_020 - age_s) for age_s in (95, 90, 61, 60))]
    exchange = Exchange("gemini", tape)
    result = await exchange.fetch(tape[0][0], tape[-1][0], rows, pages)
    assert dict.fromkeys(exchange.ids) == dict.fromkeys(id_ for _, id_ in tape[0 if complete else 1 :])
    assert result.complete == complete and result.final and ("7 days" in result.reason) == (not complete)


# -- Crypto.com -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step_s", [1, 60, 3 * 86_400])
@pytest.mark.parametrize("to", [4, 140, 149, 150, 310])
async def test_cryptocoms_pages_fill_a_gap_between_two_trades(step_s: int, to: int) -> None:
    """However rarely the market trades: the trade before the gap shows how far back the history goes."""
    tape = every(step_s * S, NOW_NS - 400 * step_s * S, NOW_NS)
    exchange = Exchange("cryptocom", tape)
    assert (await exchange.fetch(tape[3][0], tape[to][0])).complete
    assert sorted(exchange.ids) == [id_ for _, id_ in tape[3 : to + 1]]


@pytest.mark.parametrize("step_s", [1, 60, 3_600])
async def test_cryptocoms_trade_before_a_range_proves_that_its_history_reaches_it(step_s: int) -> None:
    tape = every(step_s * S, NOW_NS - 400 * step_s * S, NOW_NS)
    for to, count in ((3, 0), (20, 17), (310, 307)):
        exchange = Exchange("cryptocom", tape)
        assert (await exchange.fetch(tape[3][0] + MS, tape[to][0] + 2 * MS)).complete
        assert sorted(exchange.ids) == [id_ for _, id_ in tape[4 : to + 1]] and len(exchange.ids) == count


async def test_cryptocoms_history_that_begins_later_than_the_range_does_not_fill_it() -> None:
    tape = every(60 * S, NOW_NS - HOUR, NOW_NS)
    for from_ns, kept in ((tape[9][0], tape[10:]), (tape[9][0] - MS, tape[9:]), (tape[9][0], [])):
        result = await Exchange("cryptocom", kept).fetch(from_ns, tape[30][0])
        assert not result.complete, result


# -- Bitstamp ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ages_s", [(2, 20, 45), (60, 1_300, 2_700), (5_000, 30_000, 80_000)])
async def test_bitstamps_span_fills_a_gap_that_it_covers_though_no_older_trade_is_in_it(
    ages_s: tuple[int, ...],
) -> None:
    tape = [(NOW_NS - age_s * S, 10 - number) for number, age_s in enumerate(ages_s)][::-1]
    exchange = Exchange("bitstamp", tape)
    assert (await exchange.fetch(tape[0][0], tape[-1][0])).complete
    assert sorted(exchange.ids) == [8, 9, 10] and len(exchange.asked) == 1


async def test_a_longer_span_is_asked_for_where_bitstamps_answer_came_too_late_to_cover_the_beginning() -> None:
    tape = [(NOW_NS - age_s * S, 10 - age_s) for age_s in (45, 30, 5)]
    exchange = Exchange("bitstamp", tape, slow_s=20)
    assert (await exchange.fetch(tape[0][0], tape[-1][0])).complete and sorted(exchange.ids) == [-35, -20, 5]
    assert [query["time"] for query in exchange.asked] == ["minute", "hour"]


async def test_bitstamps_answers_that_end_after_the_beginning_or_are_empty_prove_nothing() -> None:
    tape = [(NOW_NS - age_s * S, age_s) for age_s in (86_395, 500, 5)]
    assert not (await Exchange("bitstamp", tape).fetch(tape[0][0], tape[-1][0])).complete
    exchange = Exchange("bitstamp", [])
    assert not (await exchange.fetch(NOW_NS - 40 * S, NOW_NS - 20 * S)).complete
    assert [query["time"] for query in exchange.asked] == ["minute", "hour", "day"]
