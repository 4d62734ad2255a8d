"""Phemex's list of products: spot, inverse and linear perpetuals, with the scales of their numbers."""

from functools import partial

import msgspec

from actors.exchanges.contract.history_helpers import decoded, excerpt
from actors.exchanges.contract.instruments import (
    Instrument,
    InstrumentPage,
    instrument_of,
    plain_digits,
    read_instruments,
)
from actors.exchanges.contract.rest import Garbled, RestRequest
from actors.exchanges.phemex.feed import LINEAR, SPOT_SCALES
from actors.model.symbols import Symbol

PATH = "/public/products"
REQUESTS = (RestRequest(path=PATH),)
_SPOT, _PERPETUALS = "Spot", ("Perpetual", "PerpetualV2")


class _Row(
    msgspec.Struct,
    gc=False,
    rename={
        "native": "symbol",
        "name": "displaySymbol",
        "quote": "quoteCurrency",
        "settle": "settleCurrency",
        "contract": "contractSize",
        "scale": "priceScale",
        "tick": "tickSize",
        "lot": "lotSize",
        "step": "qtyStepSize",
        "spot_tick": "quoteTickSize",
        "spot_step": "baseTickSize",
    },
):
    """{"symbol":"BTCUSD","displaySymbol":"BTC /
    USD","type":"Perpetual","settleCurrency":"BTC","quoteCurrency":"USD", "contractSize":"1
    USD","lotSize":1,"tickSize":0.5,"priceScale":4,"status":"Listed"}; spot {"symbol":"sBTCUSDT",
    "displaySymbol":"BTC / USDT","type":"Spot","baseTickSize":"0.000001 BTC","quoteTickSize":"0.01 USDT",...};
    linear {"symbol":"BTCUSDT","type":"PerpetualV2","tickSize":"0.1","qtyStepSize":"0.001",...}."""

    native: str
    type: str
    name: str
    quote: str
    settle: str = ""
    status: str = "Listed"
    contract: str | int | float | None = None
    scale: int | None = None
    tick: str | int | float | None = None
    lot: str | int | float | None = None
    step: str | int | float | None = None
    spot_tick: str | None = None
    spot_step: str | None = None


class _Currency(msgspec.Struct, gc=False, rename={"scale": "valueScale"}):
    """{"currency":"BTC","valueScale":8,...}"""

    currency: str
    scale: int


class _Data(msgspec.Struct, gc=False, rename={"linear": "perpProductsV2"}):
    products: list[msgspec.Raw] = []
    linear: list[msgspec.Raw] = []
    currencies: list[_Currency] = []


class _Answer(msgspec.Struct, gc=False):
    code: int
    data: _Data | None = None


_decoder, _row = msgspec.json.Decoder(_Answer), msgspec.json.Decoder(_Row)


def parse(body: bytes, _request: RestRequest) -> InstrumentPage:
    data = decoded(_decoder, body).data
    if data is None:
        raise Garbled(f"phemex lists no products: {excerpt(body)}")
    scales = {currency.currency: currency.scale for currency in data.currencies}
    return read_instruments([*data.products, *data.linear], partial(_instrument, scales))


def _instrument(scales: dict[str, int], body: bytes) -> Instrument | None:
    row = _row.decode(body)
    spot = row.type == _SPOT
    if not spot and row.type not in _PERPETUALS:
        return None
    base = row.name.partition("/")[0].strip()
    settle = "" if spot else row.settle
    linear = not spot and row.quote in LINEAR
    return instrument_of(
        Symbol(base, row.quote, settle),
        row.native,
        volume_unit="base" if spot or linear else "contracts",
        contract_size=None if spot or linear else _number(row.contract),
        price_step=_number(row.spot_tick if spot else row.tick),
        volume_step=_number(row.spot_step if spot else row.step or row.lot),
        active=row.status == "Listed",
        price_scale=None if linear else SPOT_SCALES[0] if spot and row.scale is None else row.scale,
        volume_scale=scales.get(base, SPOT_SCALES[1]) if spot else None if linear else 0,
    )


def _number(value: str | int | float | None) -> str | None:
    """The number in "0.005 ETH", in 0.5 and in "1,000 USDT"."""
    if value is None:
        return None
    return plain_digits(str(value).partition(" ")[0].replace(",", ""))
