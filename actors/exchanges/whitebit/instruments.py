"""WhiteBIT's list of markets: spot and perpetuals."""

from typing import Literal

import msgspec

from actors.exchanges.contract.history_helpers import decoded
from actors.exchanges.contract.instruments import (
    Instrument,
    InstrumentPage,
    decimal_step,
    instrument_of,
    read_instruments,
)
from actors.exchanges.contract.rest import RestRequest
from actors.model.symbols import Symbol

PATH = "/api/v4/public/markets"


class _Row(
    msgspec.Struct,
    gc=False,
    rename={
        "native": "name",
        "base": "stock",
        "quote": "money",
        "volume_digits": "stockPrec",
        "price_digits": "moneyPrec",
        "active": "tradesEnabled",
        "kind": "type",
    },
):
    """{"name":"BTC_PERP","stock":"BTC","money":"USDT","stockPrec":"3","moneyPrec":"1","minAmount":"0.001",
    "tradesEnabled":true,"isCollateral":true,"type":"futures",...}"""

    native: str
    base: str
    quote: str
    volume_digits: str
    price_digits: str
    active: bool
    kind: Literal["spot", "futures"]


_rows, _row = msgspec.json.Decoder(list[msgspec.Raw]), msgspec.json.Decoder(_Row)


def parse(body: bytes, _request: RestRequest) -> InstrumentPage:
    rows = decoded(_rows, body)
    return read_instruments(rows, _instrument)


def _instrument(raw: bytes) -> Instrument:
    row = _row.decode(raw)
    base, settle = row.base.removesuffix("_PERP"), row.quote if row.kind == "futures" else ""
    return instrument_of(
        Symbol(base, row.quote, settle),
        row.native,
        price_step=decimal_step(int(row.price_digits)),
        volume_step=decimal_step(int(row.volume_digits)),
        active=row.active,
    )
