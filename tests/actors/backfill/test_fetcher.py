"""Backfill from loopback exchanges that keep all trades: missed trades are stored once, or reported as missing."""

import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import httpx
import pytest
import trio
import trio.testing
from msgspec.structs import replace

from actors.backfill.fetcher import Budget, Fetcher, FetchResult
from actors.backfill.rate_limiter import RateLimiter
from actors.backfill.rest_client import RestClient, RestClientLimits
from actors.exchanges.contract import loopback_market as sandbox_market
from actors.exchanges.contract.feed import Market
from actors.exchanges.contract.history import History, Kind, RateLimit, TradeRange
from actors.model.symbols import SymbolError, parse_symbol
from actors.model.ticks import Block, Reason, Reject
from ops.sandbox import Faults, Fill, Sandbox, parse_faults
from supervisor import Backoff
from tests.harness.exchange_cases import listed_symbol, unknown_market_of
from tests.harness.exchange_values import (
    WITH_HISTORY,
    changed_history_server,
    changed_loopback,
    dialect_of,
    history_of,
    history_server_of,
)

PATIENCE_S = 20.0
START_NS = 1_790_000_000_000_000_000
HOUR_NS = 3_600 * 10**9
STEP_NS = 7_000_000  # between orders; the fills of one share their time


Row = tuple[str, str, str, str | None, int | None]


def no_reject(reject: Reject) -> None:
    raise AssertionError(f"{reject} is a sound trade")


@dataclass
class Place:
    """One loopback exchange with a market that has traded, and a client that asks it."""

    sandbox: Sandbox
    name: str
    market: Market
    traded: sandbox_market.Market
    fills: list[Fill]  # single ones, as REST tells them
    blocks: list[Block] = field(default_factory=list)
    rest: RestClient | None = None

    async def store(self, block: Block) -> None:
        await trio.lowlevel.checkpoint()
        self.blocks.append(block)

    async def fetch(self, trade_range: TradeRange, rows: int = 1000, budget: Budget | None = None) -> FetchResult:
        assert self.rest is not None
        history = replace(history_of(self.name), page_rows=min(rows, history_of(self.name).page_rows))
        fetcher = Fetcher(
            "mine",
            history,
            dialect_of(self.name).channels[0],
            self.rest,
            reject=no_reject,
            settle_s=0,
            now_ns=lambda: self.fills[-1].ns + HOUR_NS,
        )
        return await fetcher.fetch(
            self.market, trade_range, self.store, budget or Budget(pages=10_000, rows_per_s=1e9)
        )

    @property
    def rows(self) -> list[Row]:
        return sorted(
            (id_ or "", price, volume, side, ns)
            for block in self.blocks
            for id_, price, volume, side, ns in zip(
                block.trade_id, block.price, block.volume, block.side, block.exchange_ns, strict=True
            )
        )

    @property
    def struck(self) -> dict[str, int]:
        return dict(self.sandbox.struck[self.name])


def as_rows(fills: Sequence[Fill]) -> list[Row]:
    return sorted((fill.trade_id, fill.price, fill.volume, fill.side, fill.ns) for fill in fills)


def free(history: History) -> RateLimiter:
    """Lets through at once whatever its requests cost."""
    return RateLimiter([RateLimit(name=one.name, units=1e9, window_s=1, burst=1e8) for one in history.limits])


def by_id(fills: Sequence[Fill]) -> TradeRange:
    return TradeRange(
        from_id=int(fills[0].trade_id), to_id=int(fills[-1].trade_id), from_ns=fills[0].ns, to_ns=fills[-1].ns
    )


def by_time(fills: Sequence[Fill]) -> TradeRange:
    return TradeRange(from_ns=fills[0].ns, to_ns=fills[-1].ns)


def whole_orders(fills: Sequence[Fill], low: int, high: int) -> list[Fill]:
    """Fills from about `low` to `high`, all those of a time or none: what a stretch by time must bring."""
    return [fill for fill in fills if fills[low].ns <= fill.ns <= fills[high].ns]


@asynccontextmanager
async def place(
    name: str,
    orders: int = 200,
    *,
    faults: Faults | None = None,
    keep: int = 100_000,
    symbol: str = "",
    limited: bool = False,
    units: float = 1e9,
    rest_limits: RestClientLimits | None = None,
    rest_url: str = "",
) -> AsyncIterator[Place]:
    """`limited`: with the exchange's real limits, on both sides; else it grants `units` and is asked without delay.

    `rest_url`: another address than its own.
    """
    venues = changed_loopback(name) if limited else changed_history_server(name, units=units)
    ticks = iter(range(START_NS, START_NS + 10**9 * STEP_NS, STEP_NS))
    sandbox = Sandbox([name], 0.001, faults, now_ns=lambda: next(ticks), keep_truth=keep, venues=venues)
    exchange = sandbox.exchanges[name]
    market = dialect_of(name).market(parse_symbol(symbol or listed_symbol(name)))
    listed = next(key for key, row in exchange.listings.items() if row.symbol == market.symbol)
    traded = exchange.market(*listed)
    for _ in range(orders):
        exchange.trade(traded)
    fills = [part for fill in sandbox.truth[name][market.symbol] for part in traded.parts(fill)]
    history = history_of(name)
    limiter = RateLimiter(history.limits) if limited else free(history)
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            port = await nursery.start(sandbox.serve)
            here = Place(sandbox, name, market, traded, fills)
            backoff = Backoff(0.01, 0.05)
            async with RestClient(
                history,
                limiter,
                rest_url=rest_url or f"http://127.0.0.1:{port}",
                backoff=backoff,
                limits=rest_limits,
            ) as rest:
                here.rest = rest
                yield here
            nursery.cancel_scope.cancel()


DEEP = ("binance", "coinbaseexchange", "kraken", "okx")


@pytest.mark.parametrize("name", DEEP)
@pytest.mark.parametrize("rows", [1000, 23])
async def test_a_gap_known_by_ids_is_filled_exactly(name: str, rows: int) -> None:
    async with place(name) as here:
        missed = here.fills[57:240]
        before = time.time_ns()
        recovered = await here.fetch(by_id(missed), rows)
        assert here.rows == as_rows(missed)
        missing = None if name == "okx" else 0
        assert recovered == FetchResult(count=len(missed), complete=True, missing=missing)
        for block in here.blocks:
            assert block.exchange == "mine" and set(block.symbol) == {here.market.symbol}
            assert set(block.source) == {"backfill"} and block.trade_id == sorted(block.trade_id, key=str)
            assert before <= min(block.received_ns) and max(block.received_ns) <= time.time_ns()


@pytest.mark.parametrize("name", [*DEEP, "bybit"])
@pytest.mark.parametrize("rows", [1000, 23])
async def test_a_gap_known_by_times_is_filled_exactly(name: str, rows: int) -> None:
    async with place(name) as here:
        missed = whole_orders(here.fills, 57, 240)
        recovered = await here.fetch(by_time(missed), 1000 if name == "bybit" else rows)
        assert here.rows == as_rows(missed)
        assert recovered == FetchResult(count=len(missed), complete=True)


@pytest.mark.parametrize("name", DEEP)
async def test_one_missing_trade_is_one_row(name: str) -> None:
    async with place(name) as here:
        for at in (100, len(here.fills) - 1):
            here.blocks.clear()
            recovered = await here.fetch(by_id(here.fills[at : at + 1]))
            assert recovered.complete and here.rows == as_rows(here.fills[at : at + 1])


@pytest.mark.parametrize("name", [*DEEP, "bybit"])
async def test_a_range_in_which_nothing_was_traded_is_complete(name: str) -> None:
    async with place(name) as here:
        at = next(at for at in range(100, 200) if here.fills[at].ns != here.fills[at + 1].ns)
        quiet = TradeRange(from_ns=here.fills[at].ns + 2_000_000, to_ns=here.fills[at].ns + 3_000_000)
        assert await here.fetch(quiet) == FetchResult(count=0, complete=True) and not here.rows


@pytest.mark.parametrize("name", DEEP)
async def test_a_range_without_an_end_reaches_up_to_now(name: str) -> None:
    async with place(name) as here:
        recovered = await here.fetch(TradeRange(from_ns=here.fills[150].ns))
        assert recovered.complete and here.rows == as_rows([f for f in here.fills if f.ns >= here.fills[150].ns])


async def test_binance_searches_the_beginning_of_a_quiet_range_hour_by_hour() -> None:
    async with place("binance") as here:
        early = TradeRange(from_ns=START_NS - 5 * 3_600_000_000_000, to_ns=here.fills[9].ns)
        recovered = await here.fetch(early)
        assert recovered.complete and here.rows == as_rows(whole_orders(here.fills, 0, 9))


@pytest.mark.parametrize("name", ["binance", "binanceusdm"])
async def test_a_search_that_takes_more_than_one_round_goes_on_where_it_was(name: str) -> None:
    async with place(name) as here:
        left, rounds = TradeRange(from_ns=START_NS - 9 * 3_600_000_000_000, to_ns=here.fills[9].ns), 0
        while (recovered := await here.fetch(left, budget=Budget(searches=3))).reason:
            assert recovered.remaining is not None and not recovered.final and recovered.remaining != left
            left, rounds = recovered.remaining, rounds + 1
        assert recovered.complete and 3 <= rounds <= 4
        assert here.rows == as_rows(whole_orders(here.fills, 0, 9))


async def test_spot_ids_of_bybit_fill_a_short_gap() -> None:
    async with place("bybit", symbol="BTC/USDT") as here:
        missed = here.fills[-40:-3]
        assert (await here.fetch(by_id(missed))).complete and here.rows == as_rows(missed)


@pytest.mark.parametrize(("symbol", "reach"), [("BTC/USDT", 60), ("BTC/USDT:USDT", 1000)])
async def test_trades_that_bybit_no_longer_has_are_reported_as_final(symbol: str, reach: int) -> None:
    async with place("bybit", orders=900, symbol=symbol) as here:
        assert len(here.fills) > reach + 100
        trade_range = by_time(here.fills[-reach - 50 :])
        recovered = await here.fetch(trade_range)
        assert not recovered.complete and recovered.final and recovered.count == reach
        assert recovered.reason.startswith("bybit returns nothing before") and "the newest 60" in recovered.reason
        assert here.rows == as_rows(here.fills[-reach:])


@pytest.mark.parametrize("name", DEEP)
async def test_a_range_before_the_exchanges_history_is_reported_as_final(name: str) -> None:
    async with place(name, keep=100) as here:
        first = int(here.fills[0].trade_id)
        trade_range = TradeRange(from_id=first - 5, to_id=first + 9, from_ns=START_NS, to_ns=here.fills[9].ns)
        recovered = await here.fetch(trade_range)
        assert recovered.count == 10 and here.rows == as_rows(here.fills[:10])
        assert not recovered.complete and recovered.final and "returns nothing before 2026-" in recovered.reason
        assert recovered.missing == (None if name == "okx" else 5)


@pytest.mark.parametrize("name", DEEP)
async def test_trades_that_the_history_does_not_have_yet_may_be_requested_again(name: str) -> None:
    async with place(name) as here:
        last = int(here.fills[-1].trade_id)
        trade_range = replace(by_id(here.fills[-5:]), to_id=last + 3, to_ns=here.fills[-1].ns + 10**9)
        recovered = await here.fetch(trade_range)
        assert not recovered.complete and not recovered.final and "up to the end yet" in recovered.reason
        assert here.rows == as_rows(here.fills[-5:])


async def test_ids_that_the_history_lacks_are_counted() -> None:
    async with place("binance") as here:
        truth = here.sandbox.exchanges["binance"].truth["BTC/USDT"]
        del truth[100], truth[150]
        recovered = await here.fetch(by_id(here.fills[90:200]))
        assert (recovered.count, recovered.missing, recovered.final) == (108, 2, True)
        assert recovered.reason == "binance's history lacks 2 of these ids"


@pytest.mark.parametrize("name", DEEP)
async def test_a_budget_splits_a_long_range_into_calls_that_lose_and_repeat_nothing(name: str) -> None:
    async with place(name) as here:
        missed = here.fills[30:250]
        left: TradeRange | None = by_id(missed)
        calls = []
        while left is not None:
            calls.append(await here.fetch(left, 23, Budget(pages=2, rows_per_s=1e9)))
            left = calls[-1].remaining
            assert len(calls) < 20
        assert all("budget of 2 pages" in call.reason and not call.final for call in calls[:-1])
        assert calls[-1].complete and len(calls) > 4
        assert here.rows == as_rows(missed) and sum(call.count for call in calls) == len(missed)


@pytest.mark.parametrize("name", DEEP)
async def test_a_budget_splits_a_time_range_too(name: str) -> None:
    async with place(name) as here:
        missed = whole_orders(here.fills, 30, 250)
        left: TradeRange | None = by_time(missed)
        for _ in range(20):
            assert left is not None
            left = (await here.fetch(left, 23, Budget(pages=3, rows_per_s=1e9))).remaining
            if left is None:
                break
        assert left is None and here.rows == as_rows(missed)


@pytest.mark.parametrize("name", [name for name in WITH_HISTORY if history_of(name).kind is not Kind.RECENT_ONLY])
async def test_a_gap_of_more_pages_than_a_call_may_request_is_filled_by_several_calls(name: str) -> None:
    """Newer trades than those of one call's pages lie behind it, and ids of other markets between its own."""
    async with place(name, orders=1200) as here:
        truth = here.sandbox.exchanges[name].truth[here.market.symbol]
        if not history_of(name).dense:
            for at in range(len(truth) - 1, 0, -2):
                del truth[at]
        fills = [part for fill in truth for part in here.traded.parts(fill)]
        missed = whole_orders(fills, 50, len(fills) - 450)
        left: TradeRange | None = by_time(missed)
        calls = []
        while left is not None:
            calls.append(await here.fetch(left, 200, Budget(pages=2, rows_per_s=1e9)))
            left = calls[-1].remaining
            assert len(calls) < 20, calls[-1]
        assert len(calls) > 1 and calls[-1].complete
        assert {row[0] for row in here.rows} == {fill.trade_id for fill in missed}


async def test_fills_inside_a_row_of_okx_are_left_out_if_its_count_is_known() -> None:
    async with place("okx") as here:
        made = list(here.sandbox.truth["okx"]["BTC/USDT"])
        row = next(at for at in range(100, 150) if made[at].count > 2)
        before, after = made[row - 20], made[row]
        trade_range = TradeRange(from_id=int(before.trade_id) + 1, to_id=int(after.trade_id) - after.count)
        assert (await here.fetch(trade_range)).complete
        lost = made[row - 19 : row]
        assert len(here.rows) == sum(fill.count for fill in lost) > len(lost)
        volume = sum(Decimal(volume) for _, _, volume, _, _ in here.rows)
        assert volume == sum(Decimal(fill.volume) for fill in lost)
        assert history_of("okx").aggregated == {"trades"}


async def test_the_exchanges_rate_limits_are_never_exceeded() -> None:
    async def ask_on_and_on(name: str, pages: int) -> None:
        async with place(name, limited=True) as here:
            await here.fetch(by_id(here.fills[10:280]), 10, Budget(pages=pages, rows_per_s=1e9))
            assert here.struck["rest"] == pages and "rate_limit" not in here.struck

    async with trio.open_nursery() as nursery:
        for name, pages in (("binance", 14), ("coinbaseexchange", 18), ("kraken", 3), ("okx", 24)):
            nursery.start_soon(ask_on_and_on, name, pages)


@pytest.mark.parametrize("name", [*DEEP, "bybit"])
async def test_a_client_over_the_rate_limit_is_rejected_and_retries_later(
    name: str,
) -> None:
    units = history_server_of(name).units * 1e-9
    async with place(name, units=units, rest_limits=RestClientLimits(wait_s=0.1)) as here:
        recovered = await here.fetch(by_time(here.fills[10:20]))
        assert here.struck["rate_limit"] == 1 and not recovered.final
        assert recovered.retry_after_s is not None and recovered.retry_after_s >= 5


@pytest.mark.parametrize("name", DEEP)
async def test_requests_to_an_exchange_that_fails_half_the_time_are_retried_until_it_answers(name: str) -> None:
    async with place(name, faults=parse_faults(["rest_fail=0.5"]), rest_limits=RestClientLimits(tries=30)) as here:
        missed = here.fills[57:240]
        assert (await here.fetch(by_id(missed), 23)).complete
        assert here.rows == as_rows(missed) and here.struck["rest_fail"] > 2


async def test_a_client_that_has_to_wait_never_retries_too_early() -> None:
    faults = parse_faults(["rest_429=0.25", "rest_fail=0.25"])
    async with place("binance", faults=faults, rest_limits=RestClientLimits(tries=30)) as here:
        missed = here.fills[57:240]
        assert (await here.fetch(by_id(missed), 60)).complete and here.rows == as_rows(missed)
        assert here.struck["rest_429"] > 0 and "rest_impatient" not in here.struck


async def test_a_slow_exchange_is_waited_for_only_so_long() -> None:
    faults = parse_faults(["rest_slow=0.2"])
    async with place("okx", faults=faults) as here:
        assert (await here.fetch(by_id(here.fills[10:20]))).complete
    async with place("okx", faults=faults, rest_limits=RestClientLimits(answer_s=0.05, tries=2)) as here:
        recovered = await here.fetch(by_id(here.fills[10:20]))
        assert not recovered.complete and not recovered.final and "took longer than 0.05 s" in recovered.reason
        assert recovered.remaining == by_id(here.fills[10:20])


def unknown_market(name: str, listed: str) -> Market:
    """One of the same kind as a listed one, and so spelled in the same way."""
    symbol = listed.replace(parse_symbol(listed).base, "NOPE")
    try:
        return dialect_of(name).market(parse_symbol(symbol))
    except SymbolError as error:  # it is settled in another coin
        return dialect_of(name).market(parse_symbol(error.right))


@pytest.mark.parametrize("name", WITH_HISTORY)
async def test_a_market_that_the_exchange_does_not_know_is_reported_with_its_message(name: str) -> None:
    _, _, words = unknown_market_of(name)
    async with place(name) as here:
        here.market = unknown_market(name, here.market.symbol)
        recovered = await here.fetch(by_time(here.fills[10:20]))
        assert words in recovered.reason and recovered.final and recovered.count == 0 and not recovered.complete


async def test_a_range_that_cannot_be_requested_is_reported() -> None:
    async with place("kraken") as here:
        recovered = await here.fetch(TradeRange(from_id=5, to_id=9))
        assert recovered.final and "has no time" in recovered.reason and recovered.missing == 5


async def test_an_exchange_out_of_reach_is_reported_as_not_final() -> None:
    async with place("kraken", rest_limits=RestClientLimits(tries=2), rest_url="http://127.0.0.1:9") as here:
        recovered = await here.fetch(by_id(here.fills[10:20]))
        assert not recovered.complete and not recovered.final and recovered.count == 0


class Scripted(httpx.AsyncBaseTransport):
    """A Binance of endless history, a trade a millisecond; `price` gives each its price."""

    def __init__(
        self,
        price: Callable[[int], Any] = str,
        number: Callable[[int], int] = int,
        time_ms: Callable[[int], int] = int,
    ) -> None:
        self.price, self.number, self.time_ms, self.asked_at = price, number, time_ms, list[float]()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await trio.lowlevel.checkpoint()
        self.asked_at.append(trio.current_time())
        first = int(request.url.params["fromId"])
        rows = [
            {
                "id": self.number(id_),
                "price": self.price(id_),
                "qty": "1",
                "time": self.time_ms(id_),
                "isBuyerMaker": False,
            }
            for id_ in range(first, first + 1000)
        ]
        data = json.dumps(rows).encode()

        class Body(httpx.AsyncByteStream):
            async def __aiter__(self) -> AsyncIterator[bytes]:
                await trio.lowlevel.checkpoint()
                yield data

        return httpx.Response(200, stream=Body())


async def scripted(
    transport: Scripted, trade_range: TradeRange, budget: Budget, reject: Callable[[Reject], None] = no_reject
) -> tuple[FetchResult, list[Block]]:
    blocks: list[Block] = []

    async def store(block: Block) -> None:
        await trio.lowlevel.checkpoint()
        blocks.append(block)

    history, market = history_of("binance"), dialect_of("binance").market(parse_symbol("BTC/USDT"))
    async with RestClient(history, free(history), transport=transport) as rest:
        fetcher = Fetcher("binance", history, "trade", rest, reject=reject)
        return await fetcher.fetch(market, trade_range, store, budget), blocks


async def test_rows_come_no_faster_than_the_budget_allows(autojump_clock: trio.testing.MockClock) -> None:
    transport = Scripted()
    recovered, _ = await scripted(transport, TradeRange(from_id=1, to_id=10_000), Budget(pages=50, rows_per_s=500))
    assert recovered.complete and recovered.count == 10_000
    assert all(
        later - earlier >= 2 for earlier, later in zip(transport.asked_at, transport.asked_at[1:], strict=False)
    )


@pytest.mark.parametrize("price", ["0", "NaN", 1.5, None, {"a": []}, "9" * 5000, ["1"]])
async def test_a_row_that_is_no_valid_trade_costs_only_itself(
    price: Any, autojump_clock: trio.testing.MockClock
) -> None:
    transport = Scripted(lambda id_: price if id_ == 7 else "1.5")
    rejects: list[Reject] = []
    recovered, blocks = await scripted(transport, TradeRange(from_id=5, to_id=9), Budget(), rejects.append)
    assert [block.trade_id for block in blocks] == [["5", "6", "8", "9"]]
    assert (recovered.count, recovered.complete, recovered.missing, recovered.final) == (4, False, 1, False)
    assert recovered.reason.startswith("invalid rows: ") and recovered.remaining == TradeRange(from_id=5, to_id=9)
    (reject,) = rejects
    assert (reject.exchange, reject.symbol) == ("binance", "BTC/USDT") and b'"id": 7' in reject.payload
    assert reject.reason in (Reason.BAD_PRICE, Reason.BAD_TYPE) and reject.detail


async def test_a_long_page_is_stored_in_parts_that_keep_trades_of_one_time_together(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.backfill.fetcher.PART_ROWS", 3)
    transport = Scripted(time_ms=lambda id_: id_ // 4)
    recovered, blocks = await scripted(transport, TradeRange(from_id=8, to_id=21), Budget())
    assert recovered.complete and recovered.count == 14
    assert [block.trade_id for block in blocks] == [
        [str(id_) for id_ in range(first, min(first + 4, 22))] for first in (8, 12, 16, 20)
    ]


async def test_a_page_with_the_same_trade_twice_fills_one_missing_range(
    autojump_clock: trio.testing.MockClock,
) -> None:
    transport = Scripted(lambda _: "1.5", number=lambda id_: min(id_, 7))
    recovered, blocks = await scripted(transport, TradeRange(from_id=5, to_id=9), Budget(pages=1))
    assert [block.trade_id for block in blocks] == [["5", "6", "7"]]
    assert (recovered.count, recovered.complete, recovered.missing) == (3, False, 2)


async def test_pages_that_never_lead_on_are_abandoned_for_now(autojump_clock: trio.testing.MockClock) -> None:
    transport = Scripted(lambda _: "1.5", number=lambda id_: id_ % 1000)
    recovered, _ = await scripted(transport, TradeRange(from_id=5, to_id=90_000), Budget())
    assert not recovered.complete and not recovered.final and len(transport.asked_at) <= 10


@pytest.mark.parametrize("ahead_s", [0, 3600])
async def test_a_range_that_ends_just_now_is_requested_a_little_later_whatever_the_clock_of_the_exchange(
    autojump_clock: trio.testing.MockClock, ahead_s: int
) -> None:
    transport, now = Scripted(), time.time_ns()
    began = trio.current_time()
    trade_range = TradeRange(from_id=1, from_ns=now, to_ns=now + ahead_s * 1_000_000_000)
    recovered, _ = await scripted(transport, trade_range, Budget(pages=1))
    assert transport.asked_at[0] - began == pytest.approx(2, abs=1) and not recovered.complete
