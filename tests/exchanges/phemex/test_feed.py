"""Phemex's scaled integers, by the list of products or by default, and its replays with and without their mark."""

import json

import pytest
from msgspec.structs import replace

from actors.exchanges.contract.feed import Market
from actors.exchanges.contract.instruments import Instrument
from actors.exchanges.registry import EXCHANGES
from actors.feed.decoder import Decoder, Outcome
from actors.model.ticks import Block, Reason
from tests.harness.exchange_cases import market_of
from tests.harness.exchange_values import dialect_of

NOW_NS = 1_790_000_000_000_000_000
INVERSE = {"symbol": "ETHUSD", "displaySymbol": "ETH / USD", "type": "Perpetual", "settleCurrency": "USD"}


def read(message: object, *markets: Market) -> tuple[Block, Outcome]:
    dialect, block = dialect_of("phemex"), Block("phemex")
    natives = {market.native: market for market in markets}
    names = {market.native: market.symbol for market in markets}
    decoder = Decoder("phemex", dialect, names, dialect.decoder_for(natives))
    return block, decoder.read([json.dumps(message).encode()], NOW_NS, block)


def frame(native: str, *rows: list[object], **more: object) -> dict[str, object]:
    return {"sequence": 1, "symbol": native, "trades": list(rows), **more}


@pytest.mark.parametrize(
    ("symbol", "price", "volume"),
    [("BTC/USD:BTC", "0.0123", "7"), ("BTC/USDT", "0.00000123", "0.00000007")],
)
def test_small_integers_are_unscaled_exactly(symbol: str, price: str, volume: str) -> None:
    market = market_of("phemex", symbol)
    block, _ = read(frame(market.native, [NOW_NS, "Buy", 123, 7]), market)
    assert (block.price, block.volume, block.trade_id) == ([price], [volume], [None])


def test_the_list_of_products_says_the_scales() -> None:
    market = market_of("phemex", "BTC/USD:BTC")
    instrument = Instrument(
        symbol=market.symbol, native="BTCUSD", kind="swap", base="BTC", quote="USD", price_scale=2, volume_scale=1
    )
    block, _ = read(frame("BTCUSD", [NOW_NS, "Sell", 763550, 375]), replace(market, instrument=instrument))
    assert (block.price, block.volume, block.side) == (["7635.50"], ["37.5"], ["sell"])


def test_a_contract_that_is_settled_in_dollars_is_recorded_by_the_name_in_the_list() -> None:
    instruments = EXCHANGES["phemex"].instruments
    assert instruments is not None
    row = {**INVERSE, "quoteCurrency": "USD", "contractSize": "0.005 ETH", "tickSize": "0.05", "priceScale": 4}
    body = json.dumps({"code": 0, "data": {"products": [row]}}).encode()
    (instrument,) = instruments.page(body, instruments.requests[0]).instruments
    market = dialect_of("phemex").market_listed(instrument, "trade")
    assert (market.symbol, market.native, market.volume_unit) == ("ETH/USD:USD", "ETHUSD", "contracts")
    assert market.instrument is not None and market.instrument.contract_size == "0.005"


def test_negative_and_zero_amounts_are_refused() -> None:
    market = market_of("phemex", "BTC/USD:BTC")
    for row in ([NOW_NS, "Buy", -5, 1], [NOW_NS, "Buy", 0, 1], [NOW_NS, "Buy", 5, 0], [NOW_NS, "Buy", 5, -1]):
        block, outcome = read(frame("BTCUSD", row), market)
        assert not len(block) and outcome.rejects[0].reason in (Reason.BAD_PRICE, Reason.BAD_VOLUME)


def test_many_rows_without_a_type_are_those_sent_again_and_all_are_turned_round() -> None:
    market = market_of("phemex", "BTC/USD:BTC")
    rows: list[list[object]] = [[NOW_NS - number, "Buy", 5, 1] for number in range(200)]
    old, _ = read(frame("BTCUSD", *rows), market)
    new, _ = read(frame("BTCUSD", *rows[:199]), market)
    marked, _ = read(frame("BTCUSD", *rows, type="incremental"), market)
    assert (set(old.source), set(new.source), set(marked.source)) == ({"snapshot"}, {"stream"}, {"stream"})
    assert old.exchange_ns[0] == NOW_NS - 199 and old.exchange_ns[-1] == NOW_NS
