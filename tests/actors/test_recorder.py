"""actors.recorder: what an exchange is configured with, and how its markets begin and end."""

import time
from collections.abc import Coroutine, Generator, Mapping
from types import coroutine
from typing import Any

import duckdb
import msgspec
import pytest
import trio
from trio.testing import MockClock

from actors.continuity.tracker_state import TrackerState
from actors.exchanges.contract.history import Kind
from actors.exchanges.contract.instruments import Instrument
from actors.exchanges.registry import EXCHANGES
from actors.feed.sharding import shard, too_many_connections
from actors.model.errors import DatabaseLocked
from actors.model.records import GapReason
from actors.model.symbols import parse_symbol
from actors.recorder import feed_settings
from actors.settings import ExchangeSettings
from tests.harness.exchange_values import dialect_of
from tests.harness.memory_exchange import EPOCH_NS, ETH, ListFile, Recorder, Venue, recorded, seen


@pytest.mark.parametrize("name", EXCHANGES)
def test_what_is_not_configured_is_the_dialects_own(name: str) -> None:
    dialect = EXCHANGES[name].feed
    plain = feed_settings(ExchangeSettings(name="mine", dialect=name, symbols=()), EXCHANGES[name])
    own = (plain.channel, plain.silence_s, plain.lifetime_s)
    assert own == (dialect.channels[0], dialect.silence_s, dialect.lifetime_s)


def test_what_is_configured_goes_before_the_dialects_own() -> None:
    dialect = EXCHANGES["binance"].feed
    configured = ExchangeSettings(
        name="mine",
        dialect="binance",
        symbols=("BTC/USDT",),
        ws_url="ws://127.0.0.1:1",
        rest_url="http://127.0.0.1:2",
        silence_s=7.0,
        lifetime_s=200.0,
        redundancy=2,
        channel="aggTrade",
    )
    resolved = msgspec.structs.asdict(feed_settings(configured, EXCHANGES["binance"]))
    given = msgspec.structs.asdict(configured)
    assert dialect.channels[0] != "aggTrade"
    assert resolved == {name: given[name] for name in resolved}


@pytest.mark.parametrize("name", EXCHANGES)
def test_two_connections_are_the_default_exactly_where_the_history_forgets(name: str) -> None:
    history = EXCHANGES[name].history
    settings = ExchangeSettings(name="mine", dialect=name, symbols=("BTC/USDT",))
    forgets = history is None or history.kind is Kind.RECENT_ONLY
    assert feed_settings(settings, EXCHANGES[name]).redundancy == (2 if forgets else 1)
    elsewhere = msgspec.structs.replace(settings, ws_url="ws://127.0.0.1")
    assert feed_settings(elsewhere, EXCHANGES[name]).redundancy == 1
    for configured in (1, 2, 3):
        told = msgspec.structs.replace(settings, redundancy=configured)
        assert feed_settings(told, EXCHANGES[name]).redundancy == configured


@pytest.mark.parametrize(("name", "settle"), [("hyperliquid", "USDC"), ("phemex", "USDT")])
def test_no_more_connections_are_opened_by_default_than_the_exchange_allows(name: str, settle: str) -> None:
    exchange = EXCHANGES[name]
    width, most = exchange.feed.limits.symbols_per_connection, int(exchange.feed.limits.connections_max)
    for connections in range(1, most + 1):
        symbols = tuple(f"C{number}/{settle}:{settle}" for number in range(width * connections))
        settings = ExchangeSettings(name="mine", dialect=name, symbols=symbols)
        resolved = feed_settings(settings, exchange)
        assert resolved.redundancy == (2 if 2 * connections < most else 1)
        markets = [exchange.feed.market(parse_symbol(symbol)) for symbol in symbols]
        assert len(shard(resolved, exchange.feed, markets)) <= most
        assert not too_many_connections(resolved, exchange.feed, markets)


@pytest.mark.parametrize(
    ("count", "redundancy", "problem"),
    [
        (500, 1, ""),
        (
            600,
            1,
            "600 markets take 6 connections and the exchange allows 5 at a time: it may refuse the others;"
            " configure fewer symbols",
        ),
        (
            250,
            2,
            "250 markets take 6 connections, 2 for each, and the exchange allows 5 at a time: it may refuse the"
            " others; configure fewer symbols, or a lower redundancy",
        ),
    ],
)
def test_more_markets_than_the_exchange_s_connections_carry_are_a_problem_that_names_both_numbers(
    count: int, redundancy: int, problem: str
) -> None:
    phemex = EXCHANGES["phemex"]
    symbols = tuple(f"C{number}/USDT:USDT" for number in range(count))
    settings = ExchangeSettings(name="mine", dialect="phemex", symbols=symbols, redundancy=redundancy)
    markets = [phemex.feed.market(parse_symbol(symbol)) for symbol in symbols]
    assert too_many_connections(feed_settings(settings, phemex), phemex.feed, markets) == problem


@pytest.mark.parametrize(
    ("name", "connections"), [("hyperliquid", 1), ("phemex", 1), ("bingx", 2), ("bybit", 2), ("kucoin", 2)]
)
def test_a_wildcard_may_be_more_than_is_allowed(name: str, connections: int) -> None:
    settings = ExchangeSettings(name="mine", dialect=name, symbols=("*/USDT", "BTC/USDT"))
    assert feed_settings(settings, EXCHANGES[name]).redundancy == connections


# -- markets begin and end --------------------------------------------------------------------------------

STORED = 5  # trades of ETH that the file has, made some time before
STORED_NS = EPOCH_NS - 30 * 10**9


class File:
    """Has trades of ETH, and none of other markets. Reading it takes some waits."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.read = error, list[str]()

    async def past(self, exchange: str, promises: Mapping[str, object], before: object) -> list[TrackerState]:
        for _ in range(3):
            await trio.lowlevel.checkpoint()
        if self.error is not None:
            raise self.error
        self.read += promises
        stored = TrackerState(
            exchange,
            "ETH/USDT",
            last_id=str(999 + STORED),
            last_ns=STORED_NS,
            mark=999 + STORED,
            lowest=1000,
            recorded_ns=STORED_NS,
        )
        return [stored if symbol == "ETH/USDT" else TrackerState(exchange, symbol) for symbol in promises]


def venue_with_past() -> Venue:
    """What the file has was made there."""
    venue = Venue()
    venue.truth[ETH] = [(1000 + number, STORED_NS - 10**9 * (STORED - number)) for number in range(STORED)]
    return venue


def agreed(recorder: Recorder) -> set[str]:
    """The markets recorded, about which everything agrees."""
    exchange = recorder.exchange
    symbols = {market.symbol for market in exchange.markets}
    assert symbols == set(exchange.settings.symbols) == exchange.selection.markets.keys()
    assert symbols == {market.symbol for one in exchange.connections for market in one.spec.markets}
    assert symbols <= exchange.continuity.promises.keys()
    recorder.check()
    return symbols


async def check_eth(recorder: Recorder, venue: Venue) -> None:
    """The exchange repeats what is stored; what is not stored yet has been missed, and is fetched."""
    await seen(lambda: any("ETH/USDT" in one.state.since for one in recorder.exchange.connections))
    await venue.trade(ETH)
    made = venue.ids(ETH)[STORED:]
    await seen(lambda: sorted(recorder.ids("ETH/USDT"), key=str) == made)
    downtimes = [gap for gap in recorder.gaps() if gap.symbol == "ETH/USDT"]
    assert {gap.reason for gap in downtimes} == {GapReason.DOWNTIME}


@coroutine
def cancelled_at(
    step: int, scope: trio.CancelScope, steps: Coroutine[Any, Any, object]
) -> Generator[Any, Any, None]:
    """Carries out a command; cancels it when it waits for the time `step`."""
    waits, answer = 0, None
    while True:
        try:
            wait = steps.send(answer)
        except StopIteration:
            return
        if waits == step:
            scope.cancel()
        waits += 1
        answer = yield wait


NO_UNSUBSCRIBE: Mapping[str, Any] = {"unsubscribe_text": None}
NARROW = {"limits": msgspec.structs.replace(dialect_of("okx").limits, symbols_per_connection=1)}


@pytest.mark.parametrize("changes", [{}, NO_UNSUBSCRIBE, NARROW])
@pytest.mark.parametrize("late", [False, True])
async def test_a_change_that_is_cancelled_at_any_wait_is_made_whole_or_not_at_all(
    changes: Mapping[str, Any], late: bool, autojump_clock: MockClock
) -> None:
    """`late`: no connection has been started yet, as the list of markets is not known."""
    ended_early = whole = 0
    for step in range(100):
        venue, file = venue_with_past(), File()
        venue.list_s, venue.listed["SOL-USDT"] = 10.0, "live"
        async with recorded(
            venue, "BTC/USDT", "SOL/USDT", changes=changes, past=file.past, redundancy=2, listed=late
        ) as recorder:
            exchange = recorder.exchange
            await venue.trade(ETH)
            with trio.CancelScope() as scope:
                await cancelled_at(step, scope, exchange.change(["ETH/USDT"], ["SOL/USDT"]))
            if set(exchange.settings.symbols) == {"BTC/USDT", "SOL/USDT"}:
                assert scope.cancel_called
                ended_early += 1
                if late:
                    await exchange.apply()
                assert agreed(recorder) == {"BTC/USDT", "SOL/USDT"}
                await exchange.change(["ETH/USDT"], ["SOL/USDT"])
            else:
                whole += 1
            assert agreed(recorder) == {"BTC/USDT", "ETH/USDT"}
            await check_eth(recorder, venue)
            recorder.check()
        if not scope.cancel_called:
            break
    assert not scope.cancel_called and ended_early >= 3 and whole >= 2


async def test_a_change_whose_past_cannot_be_read_changes_nothing_and_can_be_repeated(
    autojump_clock: MockClock,
) -> None:
    venue, file = venue_with_past(), File()
    async with recorded(venue, past=file.past) as recorder:
        await venue.trade(ETH)
        for file.error in (duckdb.OutOfMemoryException("failed to allocate data"), OSError("Input/output error")):
            with pytest.raises(type(file.error)):
                await recorder.exchange.change(["ETH/USDT"], ["BTC/USDT"])
            assert agreed(recorder) == {"BTC/USDT"}
        file.error = None
        await recorder.exchange.change(["ETH/USDT"], ["BTC/USDT"])
        assert agreed(recorder) == {"ETH/USDT"}
        await check_eth(recorder, venue)


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("symbol", ["*/USDT", "ETH/USDT"])
async def test_a_market_that_is_found_only_by_the_list_read_begins_with_its_past(
    symbol: str, held: bool, autojump_clock: MockClock
) -> None:
    """`held`: another process has the file open. The file has no list, or one in which ETH is not traded."""
    venue, file = venue_with_past(), File()
    old = Instrument(symbol="ETH/USDT", native=ETH, kind="spot", base="ETH", quote="USDT", active=False)
    lists = ListFile(*([] if symbol == "*/USDT" else [old]))
    async with recorded(venue, symbol, past=file.past, listed=True, file=lists) as recorder:
        file.error = DatabaseLocked("ticks.duckdb") if held else None
        await venue.trade(ETH)
        await seen(lambda: ETH in [market.native for market in recorder.exchange.markets])
        await seen(lambda: any(one.state.since for one in recorder.exchange.connections))
        await venue.trade(ETH)
        await trio.sleep(10.0)
        file.error = None
        await check_eth(recorder, venue)
        recorder.check()


async def test_after_the_clock_was_set_back_only_what_arrives_is_fresh(autojump_clock: MockClock) -> None:
    venue = Venue()
    async with recorded(venue) as recorder:
        await venue.trade()
        await seen(lambda: recorder.exchange.fresh(30.0))
        before = time.time_ns
        with pytest.MonkeyPatch.context() as patch:  # undone before `recorded` undoes its own
            patch.setattr(time, "time_ns", lambda: before() - 3_600 * 10**9)
            assert not recorder.exchange.fresh(30.0)
            await venue.trade()
            await seen(lambda: recorder.exchange.fresh(30.0))
