"""KuCoin's lists of markets: spot pairs, and the contracts that are traded now."""

import msgspec

from actors.exchanges.contract.feed_helpers import digits
from actors.exchanges.contract.history_helpers import decoded, error_text
from actors.exchanges.contract.instruments import (
    Instrument,
    InstrumentPage,
    instrument_of,
    plain_digits,
    read_instruments,
)
from actors.exchanges.contract.rest import Busy, RestRequest
from actors.exchanges.kucoin.feed import FUTURES_BASE, UNIFIED
from actors.model.symbols import Symbol

# https://www.kucoin.com/docs-new/rest/spot-trading/market-data/get-all-symbols and .../futures-trading/...,
# read 2026-11-26 via stored copies.
SPOT_PATH, FUTURES_PATH = "/api/v2/symbols", "/api/v1/contracts/active"
REQUESTS = (RestRequest(path=SPOT_PATH), RestRequest(base=FUTURES_BASE, path=FUTURES_PATH))
_OK, _PERPETUAL = "200000", "FFWCSX"  # FFICSX is a dated contract
# A contract that is paused goes on without notice. The others are Init, BeingSettled, Settled and Closed. Spot has
# only a flag (unsure whether it is off while a market is paused).
_TRADED = ("Open", "Paused", "CancelOnly")


class _Pair(
    msgspec.Struct,
    gc=False,
    rename={
        "native": "symbol",
        "base": "baseCurrency",
        "quote": "quoteCurrency",
        "price_step": "priceIncrement",
        "volume_step": "baseIncrement",
        "active": "enableTrading",
    },
):
    """{"symbol":"BTC-USDT","name":"BTC-USDT","baseCurrency":"BTC","quoteCurrency":"USDT","priceIncrement":"0.1",
    "baseIncrement":"0.00000001","enableTrading":true,...}"""

    native: str
    base: str
    quote: str
    price_step: str
    volume_step: str
    active: bool


class _Contract(
    msgspec.Struct,
    gc=False,
    rename={
        "native": "symbol",
        "base": "baseCurrency",
        "quote": "quoteCurrency",
        "settle": "settleCurrency",
        "price_step": "tickSize",
        "volume_step": "lotSize",
    },
):
    """{"symbol":"XBTUSDTM","type":"FFWCSX","baseCurrency":"XBT","quoteCurrency":"USDT","settleCurrency":"USDT",
    "lotSize":1,"tickSize":0.1,"multiplier":0.001,"isInverse":false,"status":"Open",...}; an inverse one
    has the multiplier -1, as it is worth 1 of the quote."""

    native: str
    type: str
    base: str
    quote: str
    settle: str
    price_step: msgspec.Raw
    volume_step: msgspec.Raw
    multiplier: msgspec.Raw
    status: str


class _Answer(msgspec.Struct, gc=False):
    code: str
    data: list[msgspec.Raw] = []


_decoder = msgspec.json.Decoder(_Answer)
_pair, _contract = msgspec.json.Decoder(_Pair), msgspec.json.Decoder(_Contract)


def parse(body: bytes, request: RestRequest) -> InstrumentPage:
    answer = decoded(_decoder, body)
    if answer.code != _OK:
        raise Busy(f"kucoin: {error_text(body, 'code', 'msg')}")
    if request.path == SPOT_PATH:
        return read_instruments(answer.data, lambda row: _spot(_pair.decode(row)))
    return read_instruments(answer.data, lambda row: _swap(_contract.decode(row)))


def _spot(row: _Pair) -> Instrument:
    return instrument_of(
        Symbol(row.base, row.quote),
        row.native,
        price_step=row.price_step,
        volume_step=row.volume_step,
        active=row.active,
    )


def _swap(row: _Contract) -> Instrument | None:
    if row.type != _PERPETUAL:
        return None
    base, settle = UNIFIED.get(row.base, row.base), UNIFIED.get(row.settle, row.settle)
    return instrument_of(
        Symbol(base, row.quote, settle),
        row.native,
        volume_unit="contracts",
        contract_size=plain_digits(digits(row.multiplier, "multiplier").removeprefix("-")),
        price_step=plain_digits(digits(row.price_step, "tickSize")),
        volume_step=plain_digits(digits(row.volume_step, "lotSize")),
        active=row.status in _TRADED,
    )
