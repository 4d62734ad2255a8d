"""Gemini's list of markets: names alone, as the details of each would take a request each."""

import re

import msgspec

from actors.exchanges.contract.history_helpers import decoded
from actors.exchanges.contract.instruments import Instrument, InstrumentPage, instrument_of, read_instruments
from actors.exchanges.contract.rest import RestRequest
from actors.exchanges.gemini.feed import PERPETUAL, SETTLED
from actors.model.symbols import Symbol

# https://docs.gemini.com/rest-api/#symbols, read 2026-11-26 through clients that follow it.
PATH = "/v1/symbols"
# What Gemini quotes in; the longest that fits ends a name.
_QUOTES = ("RLUSD", "USDC", "USDT", "GUSD", "USD", "EUR", "GBP", "SGD", "BTC", "ETH", "BCH", "LTC", "DAI", "FIL")
_NAME = re.compile(rf"([a-z0-9]{{2,}}?)({'|'.join(_QUOTES).lower()})", re.ASCII)

_rows = msgspec.json.Decoder(list[msgspec.Raw])
_name = msgspec.json.Decoder(str)


def parse(body: bytes, _request: RestRequest) -> InstrumentPage:
    """["btcusd","ethbtc","btcusdcperp",...]; a name whose quote is not known is odd."""
    rows = decoded(_rows, body)
    return read_instruments(rows, lambda row: _instrument(_name.decode(row)))


def _instrument(name: str) -> Instrument:
    stem = name.removesuffix(PERPETUAL.lower())
    swap = stem != name
    match = _NAME.fullmatch(stem)
    if match is None or (swap and match[2].upper() not in SETTLED):
        raise ValueError(f"not base and quote: {name[:60]}")
    base, quote = match[1].upper(), match[2].upper()
    symbol = Symbol(base, quote, quote if swap else "")
    return instrument_of(symbol, name.upper())
