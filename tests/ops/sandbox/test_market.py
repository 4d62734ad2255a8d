"""The invented markets: the shape of real frames, the same trades for the same seed."""

import tomllib

import pytest

from actors.exchanges.contract.loopback_market import Market, Seed, Style
from actors.model.symbols import parse_symbol
from ops.sandbox import LOOPBACKS, Faults, Fill, Sandbox
from ops.sandbox.instruments import listings
from tests.harness.exchange_values import dialect_of
from tests.harness.sandbox_client import (
    NOW_NS,
)


def _market(exchange: str = "binance", seed: int = 1) -> Market:
    return Sandbox([exchange], seed=seed).exchanges[exchange].market("", listings(LOOPBACKS[exchange])[0].native)


def test_the_same_seed_makes_the_same_trades_and_another_one_others() -> None:
    def made(seed: int) -> list[Fill]:
        market = _market(seed=seed)
        return [fill for _ in range(200) for fill in market.trade(NOW_NS)]

    assert made(1) == made(1)
    assert made(1) != made(2)


def test_the_truth_is_bounded() -> None:
    sandbox = Sandbox(["binance"], keep_truth=10)
    exchange = sandbox.exchanges["binance"]
    market = exchange.market("", "BTCUSDT")
    for _ in range(50):
        exchange.trade(market)
    assert len(sandbox.truth["binance"]["BTC/USDT"]) == 10


def test_ids_can_start_where_another_sandbox_ended() -> None:
    one, two = Sandbox(["binance"]), Sandbox(["binance"], ids_from=10**6)
    first, second = (
        int(box.exchanges["binance"].market("", "BTCUSDT").trade(NOW_NS)[0].trade_id) for box in (one, two)
    )
    assert second == first + 10**6


def test_prices_walk_and_stay_near_the_recorded_one_with_its_digits() -> None:
    style = Style(resolution_ns=1_000_000, trims_zeros=False)
    market = Market("X/Y", "XY", "", Seed(5, 0, ["100.0"], ["0.10", "2.00"]), style, _market().rng)
    fills = [fill for _ in range(5000) for fill in market.trade(NOW_NS)]
    prices = {fill.price for fill in fills}
    assert len(prices) > 20 and all(90 <= float(price) <= 110 for price in prices)
    assert all(price.partition(".")[2] in "0" for price in prices)  # the recorded step is one, written ".0"
    assert all(len(fill.volume.partition(".")[2]) == 2 and float(fill.volume) > 0 for fill in fills)
    assert all(fill.ns % 1_000_000 == 0 for fill in fills)


def test_times_never_run_backwards_when_the_clock_does() -> None:
    market = _market()
    times = [market.trade(now)[0].ns for now in (NOW_NS, NOW_NS - 5_000_000_000, NOW_NS + 1_000_000)]
    assert times == sorted(times)


def test_the_config_it_prints_points_at_each_exchange_and_names_its_markets() -> None:
    sandbox = Sandbox()
    sandbox.host, sandbox.ports = "127.0.0.1", {name: 4711 + at for at, name in enumerate(LOOPBACKS)}
    exchanges = tomllib.loads(sandbox.config_toml())["exchanges"]
    assert list(exchanges) == list(LOOPBACKS)
    for name, table in exchanges.items():
        assert table["ws_url"] == f"ws://127.0.0.1:{sandbox.ports[name]}"
        assert table["rest_url"] == f"http://127.0.0.1:{sandbox.ports[name]}"
        for symbol in table["symbols"]:
            dialect_of(name).market(parse_symbol(symbol))


def test_wrong_names_and_rates_are_refused_at_once() -> None:
    with pytest.raises(ValueError, match="nearest known one is 'kraken'"):
        Sandbox(["krakken"])
    with pytest.raises(ValueError, match="a rate of 0"):
        Sandbox(rate_per_s=0)
    with pytest.raises(ValueError, match="'okx' is not running here"):
        Sandbox(["binance"]).set_faults(Faults(), "okx")
