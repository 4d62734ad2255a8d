"""Bitget's lists of markets: spot pairs, and the perpetuals of each settlement coin."""

from decimal import Decimal

import msgspec

from actors.exchanges.bitget.feed import COIN, USDC, USDT
from actors.exchanges.contract.history_helpers import decoded, error_text
from actors.exchanges.contract.instruments import (
    Instrument,
    InstrumentPage,
    decimal_step,
    instrument_of,
    read_instruments,
)
from actors.exchanges.contract.rest import Busy, RestRequest
from actors.model.symbols import Symbol

# https://www.bitget.com/api-doc/spot/market/Get-Symbols and .../contract/market/Get-All-Symbols-Contracts, read
# 2026-11-26 via stored copies.
SPOT_PATH, CONTRACT_PATH = "/api/v2/spot/public/symbols", "/api/v2/mix/market/contracts"
REQUESTS = (
    RestRequest(path=SPOT_PATH),
    *(RestRequest(path=CONTRACT_PATH, query=(("productType", kind),)) for kind in (USDT, USDC, COIN)),
)
_OK = "00000"
# A market that is halted or restricted goes on without notice, and its positions may be closed meanwhile. The
# others are "offline" of spot, and of contracts "listed", which is before the first trade, and "off".
_TRADED = ("online", "gray", "halt", "normal", "limit_open", "restrictedAPI", "maintain")


class _Pair(
    msgspec.Struct,
    gc=False,
    rename={
        "native": "symbol",
        "base": "baseCoin",
        "quote": "quoteCoin",
        "price_digits": "pricePrecision",
        "volume_digits": "quantityPrecision",
    },
):
    """{"symbol":"BTCUSDT","baseCoin":"BTC","quoteCoin":"USDT","pricePrecision":"2","quantityPrecision":"6",
    "status":"online",...}; others are offline, gray (traded by some) and halt (suspended)."""

    native: str
    base: str
    quote: str
    price_digits: str
    volume_digits: str
    status: str


class _Contract(
    msgspec.Struct,
    gc=False,
    rename={
        "native": "symbol",
        "base": "baseCoin",
        "quote": "quoteCoin",
        "kind": "symbolType",
        "price_digits": "pricePlace",
        "price_unit": "priceEndStep",
        "volume_step": "sizeMultiplier",
        "status": "symbolStatus",
    },
):
    """{"symbol":"BTCUSDT","baseCoin":"BTC","quoteCoin":"USDT","symbolType":"perpetual","pricePlace":"1",
    "priceEndStep":"1","sizeMultiplier":"0.01","symbolStatus":"normal",...}: prices are multiples of priceEndStep
    in their last decimal. "delivery" ones have an end."""

    native: str
    base: str
    quote: str
    kind: str
    price_digits: str
    price_unit: str
    volume_step: str
    status: str


class _Answer(msgspec.Struct, gc=False):
    code: str
    data: list[msgspec.Raw] | None = None


_decoder = msgspec.json.Decoder(_Answer)
_pair, _contract = msgspec.json.Decoder(_Pair), msgspec.json.Decoder(_Contract)


def parse(body: bytes, request: RestRequest) -> InstrumentPage:
    answer = decoded(_decoder, body)
    if answer.code != _OK:
        raise Busy(f"bitget: {error_text(body, 'code', 'msg')}")
    if request.path == SPOT_PATH:
        return read_instruments(answer.data or [], lambda row: _spot(_pair.decode(row)))
    return read_instruments(answer.data or [], lambda row: _swap(_contract.decode(row)))


def _spot(row: _Pair) -> Instrument:
    return instrument_of(
        Symbol(row.base, row.quote),
        row.native,
        price_step=decimal_step(int(row.price_digits)),
        volume_step=decimal_step(int(row.volume_digits)),
        active=row.status in _TRADED,
    )


def _swap(row: _Contract) -> Instrument | None:
    if row.kind != "perpetual":
        return None
    settle = row.base if row.quote == "USD" else row.quote
    step = Decimal(row.price_unit) * Decimal(decimal_step(int(row.price_digits)))
    return instrument_of(
        Symbol(row.base, row.quote, settle),
        row.native,
        price_step=format(step, "f"),
        volume_step=row.volume_step,
        active=row.status in _TRADED,
    )
