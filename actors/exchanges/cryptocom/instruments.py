"""Crypto.com's list of markets: spot pairs, perpetuals and futures."""

import msgspec

from actors.exchanges.contract.history_helpers import decoded, excerpt
from actors.exchanges.contract.instruments import Instrument, InstrumentPage, instrument_of, read_instruments
from actors.exchanges.contract.rest import Garbled, RestRequest
from actors.model.symbols import Symbol

PATH = "/exchange/v1/public/get-instruments"
REQUESTS = (RestRequest(path=PATH),)
_KINDS = {"CCY_PAIR": "spot", "PERPETUAL_SWAP": "swap", "FUTURE": "future"}


class _Row(
    msgspec.Struct,
    gc=False,
    rename={
        "native": "symbol",
        "type": "inst_type",
        "base": "base_ccy",
        "quote": "quote_ccy",
        "price_step": "price_tick_size",
        "volume_step": "qty_tick_size",
        "active": "tradable",
    },
):
    """{"symbol":"RUNEUSD-PERP","inst_type":"PERPETUAL_SWAP","base_ccy":"RUNE","quote_ccy":"USD",
    "price_tick_size":"0.001","qty_tick_size":"0.1","tradable":true,"contract_size":"1",...}; volumes of contracts
    count base too."""

    native: str
    type: str
    base: str
    quote: str
    price_step: str
    volume_step: str
    active: bool


class _Result(msgspec.Struct, gc=False):
    data: list[msgspec.Raw]


class _Answer(msgspec.Struct, gc=False):
    result: _Result | None = None


_decoder, _row = msgspec.json.Decoder(_Answer), msgspec.json.Decoder(_Row)


def parse(body: bytes, _request: RestRequest) -> InstrumentPage:
    result = decoded(_decoder, body).result
    if result is None:
        raise Garbled(f"cryptocom lists no instruments: {excerpt(body)}")
    return read_instruments(result.data, _instrument)


def _instrument(body: bytes) -> Instrument | None:
    """Warrants (BTCUSD-230630-CW30000) and stocks are left out: they are not recorded."""
    row = _row.decode(body)
    kind = _KINDS.get(row.type)
    if kind is None:
        return None
    settle = "" if kind == "spot" else row.quote
    expiry = row.native.rpartition("-")[2] if kind == "future" else ""
    return instrument_of(
        Symbol(row.base, row.quote, settle, expiry),
        row.native,
        price_step=row.price_step,
        volume_step=row.volume_step,
        active=row.active,
    )
