"""Coinbase Exchange's list of products."""

import msgspec

from actors.exchanges.coinbaseexchange.history import parse_error
from actors.exchanges.contract.feed_helpers import text_inside
from actors.exchanges.contract.history_helpers import decoded, error_json
from actors.exchanges.contract.instruments import Instrument, InstrumentPage, instrument_of, read_instruments
from actors.exchanges.contract.rest import RestRequest
from actors.model.symbols import Symbol

REQUEST = RestRequest(path="/products")


class _Row(
    msgspec.Struct,
    gc=False,
    rename={
        "native": "id",
        "base": "base_currency",
        "quote": "quote_currency",
        "price_step": "quote_increment",
        "volume_step": "base_increment",
    },
):
    """{"id":"BTC-USD","base_currency":"BTC","quote_currency":"USD","quote_increment":"0.01","base_increment":
    "0.00000001","status":"online",...}"""

    native: str
    base: str
    quote: str
    price_step: str | None = None
    volume_step: str | None = None
    status: str = ""


_rows = msgspec.json.Decoder(list[msgspec.Raw])
_row = msgspec.json.Decoder(_Row)


def parse(body: bytes, _request: RestRequest) -> InstrumentPage:
    if body[:1] == b"{" and text_inside(
        error_json(body), "message"
    ):  # an error; with status 200 only behind a proxy
        raise parse_error(200, body).error("coinbaseexchange")
    rows = decoded(_rows, body)
    return read_instruments(rows, _instrument)


def _instrument(raw: bytes) -> Instrument:
    row = _row.decode(raw)
    return instrument_of(
        Symbol(row.base, row.quote),
        row.native,
        price_step=row.price_step,
        volume_step=row.volume_step,
        active=row.status == "online",
    )
