"""Coinbase Advanced Trade's list of products: spot."""

import msgspec

from actors.exchanges.contract.feed_helpers import text_inside
from actors.exchanges.contract.history_helpers import decoded, error_json
from actors.exchanges.contract.instruments import Instrument, InstrumentPage, instrument_of, read_instruments
from actors.exchanges.contract.rest import Busy, RestRequest
from actors.model.symbols import Symbol

REQUEST = RestRequest(path="/api/v3/brokerage/market/products", query=(("product_type", "SPOT"),))


class _Row(
    msgspec.Struct,
    gc=False,
    rename={
        "native": "product_id",
        "kind": "product_type",
        "base": "base_currency_id",
        "quote": "quote_currency_id",
        "price_step": "price_increment",
        "volume_step": "base_increment",
        "stands_for": "alias",
    },
):
    """{"product_id":"BTC-USD","product_type":"SPOT","base_currency_id":"BTC","quote_currency_id":"USD",
    "price_increment":"0.01","base_increment":"0.00000001","alias":"","status":"online","is_disabled":false,...};
    BTC-USDC has the alias BTC-USD, whose trades it shares."""

    native: str
    kind: str
    base: str
    quote: str
    price_step: str | None = None
    volume_step: str | None = None
    stands_for: str | None = None
    status: str | None = None
    is_disabled: bool = False
    view_only: bool = False


class _Answer(msgspec.Struct, gc=False):
    products: list[msgspec.Raw]


_decoder = msgspec.json.Decoder(_Answer)
_row = msgspec.json.Decoder(_Row)


def parse(body: bytes, _request: RestRequest) -> InstrumentPage:
    if error := text_inside(error_json(body), "error"):
        raise Busy(f"coinbase: {error}")
    return read_instruments(decoded(_decoder, body).products, _instrument)


def _instrument(raw: bytes) -> Instrument | None:
    row = _row.decode(raw)
    if row.kind != "SPOT" or row.stands_for:
        return None
    return instrument_of(
        Symbol(row.base, row.quote),
        row.native,
        price_step=row.price_step or None,
        volume_step=row.volume_step or None,
        active=row.status == "online" and not (row.is_disabled or row.view_only),
    )
