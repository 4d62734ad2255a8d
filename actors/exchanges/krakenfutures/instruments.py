"""Kraken Futures' list of products: perpetuals and dated futures, inverse (PI_, FI_) and linear (PF_, FF_)."""

import re

import msgspec

from actors.exchanges.contract.feed_helpers import digits
from actors.exchanges.contract.history_helpers import decoded
from actors.exchanges.contract.instruments import (
    Instrument,
    InstrumentPage,
    decimal_step,
    instrument_of,
    plain_digits,
    read_instruments,
)
from actors.exchanges.contract.rest import RestRequest
from actors.exchanges.krakenfutures.feed import unified_code
from actors.exchanges.krakenfutures.history import parse_error
from actors.model.symbols import Symbol

REQUEST = RestRequest(path="/derivatives/api/v3/instruments")
# Indices ("in_xbtusd") and the old vanilla futures (PV_, FV_) are listed too.
_NATIVE = re.compile(r"(?P<kind>[PF])(?P<margin>[IF])_(?P<pair>\w+?)(?:_(?P<expiry>\d{6}))?")


class _Row(
    msgspec.Struct,
    gc=False,
    rename={
        "native": "symbol",
        "price_step": "tickSize",
        "contract_size": "contractSize",
        "decimals": "contractValueTradePrecision",
    },
):
    """{"symbol":"PF_PEPEUSD","type":"flexible_futures","tickSize":1e-10,"contractSize":1,"tradeable":true,
    "contractValueTradePrecision":-3,"base":"PEPE","quote":"USD",...}; older copies have neither base nor quote."""

    native: str
    tradeable: bool = False
    price_step: msgspec.Raw = msgspec.Raw()
    contract_size: msgspec.Raw = msgspec.Raw()
    decimals: int | None = None
    base: str = ""
    quote: str = ""


class _Answer(msgspec.Struct, gc=False):
    result: str
    instruments: list[msgspec.Raw] = []


_decoder = msgspec.json.Decoder(_Answer)
_row = msgspec.json.Decoder(_Row)


def parse(body: bytes, _request: RestRequest) -> InstrumentPage:
    answer = decoded(_decoder, body)
    if answer.result != "success":
        raise parse_error(200, body).error("krakenfutures")
    return read_instruments(answer.instruments, _instrument)


def _instrument(raw: bytes) -> Instrument | None:
    row = _row.decode(raw)
    native = row.native.upper() if row.native.islower() else row.native  # as in frames
    parts = _NATIVE.fullmatch(native)
    if parts is None:
        return None
    linear, quote = parts["margin"] == "F", row.quote or "USD"
    base = unified_code(row.base or parts["pair"].removesuffix(quote))
    symbol = Symbol(base, quote, quote if linear else base, parts["expiry"] or "")
    return instrument_of(
        symbol,
        native,
        volume_unit="base" if linear else "contracts",
        contract_size=None if linear or not row.contract_size else plain_digits(digits(row.contract_size, "size")),
        price_step=plain_digits(digits(row.price_step, "tickSize")) if row.price_step else None,
        volume_step=None if row.decimals is None else decimal_step(row.decimals),
        active=row.tradeable,
    )
