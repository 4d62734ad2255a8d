"""Upbit's list of markets."""

import msgspec

from actors.exchanges.contract.history_helpers import decoded
from actors.exchanges.contract.instruments import InstrumentPage, instrument_of
from actors.exchanges.contract.rest import RestRequest
from actors.model.symbols import Symbol

PATH = "/v1/market/all"


class _Row(msgspec.Struct, gc=False):
    """{"market":"KRW-BTC","korean_name":"비트코인","english_name":"Bitcoin"}: neither steps nor states."""

    market: str


_decoder = msgspec.json.Decoder(list[_Row])


def parse(body: bytes, _request: RestRequest) -> InstrumentPage:
    found, odd = [], []
    for row in decoded(_decoder, body):
        quote, _, base = row.market.partition("-")
        if not (base and quote):
            odd.append(row.market)
            continue
        found.append(instrument_of(Symbol(base, quote), row.market))
    return InstrumentPage(tuple(found), odd=tuple(odd))
