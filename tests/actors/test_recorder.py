"""actors.recorder: what an exchange is configured with, and its own values where nothing is."""

import msgspec
import pytest

from actors.exchanges.contract.history import Kind
from actors.exchanges.registry import EXCHANGES
from actors.feed.sharding import shard, too_many_connections
from actors.model.symbols import parse_symbol
from actors.recorder import feed_settings
from actors.settings import ExchangeSettings


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


@pytest.mark.parametrize(("name", "connections"), [("hyperliquid", 1), ("bingx", 1), ("phemex", 1), ("bybit", 2)])
def test_a_wildcard_may_be_more_than_is_allowed(name: str, connections: int) -> None:
    settings = ExchangeSettings(name="mine", dialect=name, symbols=("*/USDT", "BTC/USDT"))
    assert feed_settings(settings, EXCHANGES[name]).redundancy == connections
