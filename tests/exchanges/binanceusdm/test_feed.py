"""Binance's futures report fills that never met the order book among the others, some of them without a price."""

import json

import pytest

from actors.feed.decoder import Decoder
from actors.model.ticks import OFF_BOOK, Block, Reason
from tests.harness.exchange_cases import market_of
from tests.harness.exchange_values import dialect_of

NOW_NS = 1_723_161_257_000_000_000
SYMBOLS = {"binanceusdm": "BTC/USDT:USDT", "binancecoinm": "BTC/USD:BTC"}


def frame(native: str, number: int, origin: str | None, price: str = "61800.30", volume: str = "6") -> bytes:
    data = {"e": "trade", "E": 1723161256322, "T": 1723161256322, "s": native, "t": number, "p": price, "q": volume}
    origins = {} if origin is None else {"X": origin}
    return json.dumps({"stream": f"{native.lower()}@trade", "data": {**data, **origins, "m": False}}).encode()


@pytest.mark.parametrize("name", SYMBOLS)
def test_a_fill_that_is_no_market_trade_is_off_the_book_whatever_its_price(name: str) -> None:
    market = market_of(name, SYMBOLS[name], "trade")
    messages = [
        frame(market.native, 1, "MARKET"),
        frame(market.native, 2, "INSURANCE_FUND"),
        frame(market.native, 3, "ADL"),
        frame(market.native, 4, "NA", "0", "0"),
        frame(market.native, 5, None),
    ]
    block = Block(name)
    outcome = Decoder(name, dialect_of(name), {market.native: market.symbol}).read(messages, NOW_NS, block)
    assert outcome.off_book and not outcome.rejects
    assert block.trade_id == ["1", "2", "3", "4", "5"]
    assert block.source == ["stream", OFF_BOOK, OFF_BOOK, OFF_BOOK, "stream"]
    assert (block.price[0], block.price[3], block.volume[4]) == ("61800.30", "0", "6")


@pytest.mark.parametrize("name", SYMBOLS)
def test_a_market_trade_beside_one_off_the_book_still_needs_a_price(name: str) -> None:
    market, block = market_of(name, SYMBOLS[name], "trade"), Block(name)
    messages = [frame(market.native, 1, "ADL", "0"), frame(market.native, 2, "MARKET", "0")]
    outcome = Decoder(name, dialect_of(name), {market.native: market.symbol}).read(messages, NOW_NS, block)
    assert block.trade_id == ["1"] and [reject.reason for reject in outcome.rejects] == [Reason.BAD_PRICE]
