"""Bitstamp's list of markets: spot and perpetuals."""

from typing import Literal

import msgspec

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
from actors.model.symbols import Symbol

PATH = "/api/v2/markets/"


class _Row(
    msgspec.Struct,
    gc=False,
    rename={
        "native": "market_symbol",
        "base": "base_currency",
        "quote": "counter_currency",
        "volume_digits": "base_decimals",
        "price_digits": "counter_decimals",
        "kind": "market_type",
        "payoff": "payoff_type",
    },
):
    """{"name":"BTC/USD-PERP","market_symbol":"btcusd-perp","base_currency":"BTC","base_decimals":5,
    "counter_currency":"USD","counter_decimals":0,"trading":"Enabled","market_type":"PERPETUAL",
    "payoff_type":"Linear","contract_size":"1.00000000",...}; spot has none of the last two."""

    native: str
    base: str
    quote: str
    volume_digits: int
    price_digits: int
    trading: str
    kind: Literal["SPOT", "PERPETUAL"] = "SPOT"
    payoff: Literal["Linear"] = "Linear"
    contract_size: str | None = None


_rows, _row = msgspec.json.Decoder(list[msgspec.Raw]), msgspec.json.Decoder(_Row)


def parse(body: bytes, _request: RestRequest) -> InstrumentPage:
    rows = decoded(_rows, body)
    return read_instruments(rows, lambda raw: _instrument(_row.decode(raw)))


def _instrument(row: _Row) -> Instrument:
    settle = row.quote if row.kind == "PERPETUAL" else ""
    return instrument_of(
        Symbol(row.base, row.quote, settle),
        row.native,
        contract_size=plain_digits(row.contract_size) if settle and row.contract_size else None,
        price_step=decimal_step(row.price_digits),
        volume_step=decimal_step(row.volume_digits),
        active=row.trading == "Enabled",
    )
