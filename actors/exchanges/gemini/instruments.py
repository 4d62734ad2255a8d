"""Gemini's list of markets: names alone, as the details of each would take a request each."""

import re
from collections.abc import Container, Iterable

import msgspec

from actors.exchanges.contract.history_helpers import decoded
from actors.exchanges.contract.instruments import Instrument, InstrumentPage, instrument_of, read_instruments
from actors.exchanges.contract.rest import UNREADABLE, RestRequest
from actors.exchanges.gemini.feed import PERPETUAL, SETTLED
from actors.model.symbols import Symbol

# https://docs.gemini.com/rest-api/#symbols, read 2026-11-26 through clients that follow it.
PATH = "/v1/symbols"
# What Gemini quotes in. Of several that end a name, one that leaves a known base counts, else the first here:
# paxgusd is PAXG in USD, as there is PAXG and no PAX; btcgusd is BTC in GUSD.
_QUOTES = ("RLUSD", "USDC", "USDT", "USD", "GUSD", "EUR", "GBP", "SGD", "BTC", "ETH", "BCH", "LTC", "DAI", "FIL")
_NAME = re.compile(r"[a-z0-9]{3,}", re.ASCII)
BASE_CHARS_MIN = 2
_PERPETUAL = PERPETUAL.lower()

_rows = msgspec.json.Decoder(list[msgspec.Raw])
_name = msgspec.json.Decoder(str)


def parse(body: bytes, _request: RestRequest) -> InstrumentPage:
    """["btcusd","ethbtc","btcusdcperp",...]; a name whose quote is not known is odd."""
    rows = decoded(_rows, body)
    known = _sure_bases(rows)
    return read_instruments(rows, lambda row: _instrument(_name.decode(row), known))


def _sure_bases(rows: Iterable[msgspec.Raw]) -> set[str]:
    """The bases of names that only one quote ends."""
    found: set[str] = set()
    for row in rows:
        try:
            splits = _splits(_name.decode(row))
        except UNREADABLE:
            continue
        if len(splits) == 1:
            found.add(splits[0][0])
    return found


def _splits(name: str) -> list[tuple[str, str]]:
    """Each base and quote that a name may have; raises ValueError if there are none."""
    stem = name.removesuffix(_PERPETUAL)
    quotes = SETTLED if stem != name else _QUOTES
    found = [
        (stem.removesuffix(quote.lower()).upper(), quote)
        for quote in quotes
        if stem.endswith(quote.lower()) and len(stem) >= len(quote) + BASE_CHARS_MIN
    ]
    if not found or _NAME.fullmatch(name) is None:
        raise ValueError(f"not base and quote: {name[:60]}")
    return found


def _instrument(name: str, known: Container[str]) -> Instrument:
    splits = _splits(name)
    base, quote = next((split for split in splits if split[0] in known), splits[0])
    return instrument_of(Symbol(base, quote, quote if name.endswith(_PERPETUAL) else ""), name.upper())
