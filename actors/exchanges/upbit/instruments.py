"""Upbit's list of markets."""

import msgspec

from actors.exchanges.contract.history_helpers import decoded
from actors.exchanges.contract.instruments import Instrument, InstrumentPage, instrument_of, read_instruments
from actors.exchanges.contract.rest import RestRequest
from actors.model.symbols import Symbol

PATH = "/v1/market/all"


class _Row(msgspec.Struct, gc=False):
    """{"market":"KRW-BTC","korean_name":"비트코인","english_name":"Bitcoin"}: neither steps nor states."""

    market: str


_rows, _row = msgspec.json.Decoder(list[msgspec.Raw]), msgspec.json.Decoder(_Row)


def parse(body: bytes, _request: RestRequest) -> InstrumentPage:
    rows = decoded(_rows, body)
    return read_instruments(rows, _instrument)


def _instrument(raw: bytes) -> Instrument:
    native = _row.decode(raw).market
    quote, _, base = native.partition("-")
    return instrument_of(Symbol(base, quote), native)
