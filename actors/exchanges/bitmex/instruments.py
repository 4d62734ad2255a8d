"""BitMEX's list of markets: perpetuals, futures and spot pairs that are traded now."""

from decimal import Decimal

import msgspec

from actors.exchanges.bitmex.feed import UNIFIED
from actors.exchanges.contract.feed_helpers import digits
from actors.exchanges.contract.history_helpers import decoded
from actors.exchanges.contract.instruments import (
    Instrument,
    InstrumentPage,
    instrument_of,
    plain_digits,
    read_instruments,
)
from actors.exchanges.contract.rest import RestRequest
from actors.model.symbols import Symbol

PATH = "/api/v1/instrument/active"
REQUESTS = (RestRequest(path=PATH),)
# The others are indices, spreads and options (https://www.bitmex.com/api/explorer/#!/Instrument/Instrument_get).
_KINDS = {"FFWCSX": "swap", "FFCCSX": "future", "IFXXXP": "spot"}


class _Row(
    msgspec.Struct,
    gc=False,
    rename={
        "native": "symbol",
        "type": "typ",
        "base": "underlying",
        "quote": "quoteCurrency",
        "settle": "settlCurrency",
        "per_base": "underlyingToPositionMultiplier",
        "inverse": "isInverse",
        "quanto": "isQuanto",
        "price_step": "tickSize",
        "volume_step": "lotSize",
    },
):
    """{"symbol":"XBTUSD","state":"Open","typ":"FFWCSX","underlying":"XBT","quoteCurrency":"USD","settlCurrency":"XBt",
    "isInverse":true,"isQuanto":false,"tickSize":0.1,"lotSize":100,"expiry":null,...}; currencies as XBt and USDt
    are the smallest units of XBT and USDT."""

    native: str
    type: str
    state: str
    base: str
    quote: str
    settle: str | None = None
    expiry: str | None = None
    inverse: bool = False
    quanto: bool = False
    per_base: msgspec.Raw = msgspec.Raw()
    price_step: msgspec.Raw = msgspec.Raw()
    volume_step: msgspec.Raw = msgspec.Raw()


_decoder, _row = msgspec.json.Decoder(list[msgspec.Raw]), msgspec.json.Decoder(_Row)


def parse(body: bytes, _request: RestRequest) -> InstrumentPage:
    rows = decoded(_decoder, body)
    return read_instruments(rows, _instrument)


def _instrument(body: bytes) -> Instrument | None:
    row = _row.decode(body)
    kind = _KINDS.get(row.type)
    if kind is None:
        return None
    base, quote, settle = (_unified(code) for code in (row.base, row.quote, row.settle or ""))
    settle = "" if kind == "spot" else settle
    expiry = (row.expiry or "")[2:10].replace("-", "") if kind == "future" else ""
    return instrument_of(
        Symbol(base, quote, settle, expiry),
        row.native,
        volume_unit="base" if kind == "spot" else "contracts",
        contract_size=_contract_size(row, kind),
        price_step=_step(row.price_step, "tickSize"),
        volume_step=_step(row.volume_step, "lotSize") if kind != "spot" else None,
        active=row.state == "Open",
    )


def _unified(code: str) -> str:
    upper = code.upper()
    return UNIFIED.get(upper, upper)


def _contract_size(row: _Row, kind: str) -> str | None:
    """One US dollar on inverse contracts; a quanto's worth in base changes with the price."""
    if kind == "spot" or row.quanto:
        return None
    if row.inverse:
        return "1"
    token = bytes(row.per_base)
    contracts = Decimal(digits(row.per_base, "multiplier")) if token not in (b"", b"null") else Decimal(0)
    return format(1 / contracts, "f") if contracts else None


def _step(token: msgspec.Raw, name: str) -> str | None:
    return None if bytes(token) in (b"", b"null") else plain_digits(digits(token, name))
