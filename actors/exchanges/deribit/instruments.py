"""Deribit's lists of markets: futures and perpetuals, spot, and the options of each currency."""

import msgspec

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
from actors.exchanges.deribit.feed import expiry_of
from actors.model.symbols import Symbol

PATH = "/api/v2/public/get_instruments"
# A row has about 1 KB: all options in one answer would be several MB.
_LISTS = (("any", "future"), ("any", "spot"), ("BTC", "option"), ("ETH", "option"), ("USDC", "option"))
REQUESTS = tuple(
    RestRequest(path=PATH, query=(("currency", currency), ("kind", kind))) for currency, kind in _LISTS
)
_KINDS = ("future", "option", "spot")


class _Row(
    msgspec.Struct,
    gc=False,
    rename={
        "native": "instrument_name",
        "base": "base_currency",
        "counter": "counter_currency",
        "quote": "quote_currency",
        "settle": "settlement_currency",
        "type": "instrument_type",
        "price_step": "tick_size",
        "volume_step": "min_trade_amount",
        "active": "is_active",
    },
):
    """{"instrument_name":"BTC-PERPETUAL","kind":"future","base_currency":"BTC","counter_currency":"USD",
    "settlement_currency":"BTC","instrument_type":"reversed","tick_size":0.5,"min_trade_amount":10.0,
    "contract_size":10.0,"is_active":true,...}; the `counter_currency` is not sent for all, and an inverse option
    has its base as `quote_currency`. Amounts count US
    dollars or base, not contracts, which are `contract_size` of them."""

    native: str
    kind: str
    base: str
    quote: str
    price_step: msgspec.Raw
    volume_step: msgspec.Raw
    active: bool
    counter: str = ""
    settle: str = ""
    type: str = ""


class _Answer(msgspec.Struct, gc=False):
    result: list[msgspec.Raw]


_decoder, _row = msgspec.json.Decoder(_Answer), msgspec.json.Decoder(_Row)


def parse(body: bytes, _request: RestRequest) -> InstrumentPage:
    return read_instruments(decoded(_decoder, body).result, lambda row: _instrument(_row.decode(row)))


def _instrument(row: _Row) -> Instrument | None:
    """BTC-25SEP26-100000-C: underlying, day, strike and right. Combos have no unified symbol."""
    if row.kind not in _KINDS:
        return None
    _, *rest = row.native.split("-")
    settle, expiry, strike, right = "" if row.kind == "spot" else row.settle, "", "", ""
    if row.kind == "option":
        day, strike, right = rest
        expiry = expiry_of(day)
    elif row.kind == "future" and rest != ["PERPETUAL"]:
        expiry = expiry_of("-".join(rest))
    quote = row.counter or row.quote
    symbol = Symbol(row.base, quote, settle, expiry, strike.replace("d", "."), right)
    return instrument_of(
        symbol,
        row.native,
        volume_unit="quote" if row.type == "reversed" and row.kind == "future" else "base",
        price_step=plain_digits(digits(row.price_step, "tick_size")),
        volume_step=plain_digits(digits(row.volume_step, "min_trade_amount")),
        active=row.active,
    )
