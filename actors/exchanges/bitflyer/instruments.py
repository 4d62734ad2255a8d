"""bitFlyer's list of markets: spot, the CFD, and futures while there were some."""

import re

import msgspec

from actors.exchanges.bitflyer.feed import MONTHS
from actors.exchanges.contract.history_helpers import decoded
from actors.exchanges.contract.instruments import Instrument, InstrumentPage, instrument_of, read_instruments
from actors.exchanges.contract.rest import RestRequest
from actors.model.symbols import Symbol

PATHS = ("/v1/markets", "/v1/markets/usa", "/v1/markets/eu")  # the latter two add BTC_USD and BTC_EUR
_FUTURE = re.compile(r"([A-Z]+)(JPY)(\d\d)([A-Z]{3})20(\d\d)", re.ASCII)


class _Row(msgspec.Struct, gc=False, rename={"native": "product_code", "kind": "market_type"}):
    """{"product_code":"FX_BTC_JPY","market_type":"FX"}: neither steps nor states."""

    native: str
    kind: str


_rows, _row = msgspec.json.Decoder(list[msgspec.Raw]), msgspec.json.Decoder(_Row)


def parse(body: bytes, _request: RestRequest) -> InstrumentPage:
    rows = decoded(_rows, body)
    return read_instruments(rows, lambda raw: _instrument(_row.decode(raw)))


def _instrument(row: _Row) -> Instrument:
    settle = expiry = ""
    if future := _FUTURE.fullmatch(row.native):
        base, quote, day, month, year = future.groups()
        settle, expiry = quote, f"{year}{MONTHS.index(month) + 1:02d}{day}"
    else:
        base, quote = row.native.removeprefix("FX_").split("_")
        settle = quote if row.kind == "FX" else ""
    symbol = Symbol(base, quote, settle, expiry)
    return instrument_of(symbol, row.native)
