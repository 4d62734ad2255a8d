"""Poloniex's lists of markets: spot pairs, and linear perpetuals with the sizes of their contracts."""

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

SPOT_PATH, SWAP_PATH = "/markets", "/v3/market/allInstruments"
REQUESTS = (RestRequest(path=SPOT_PATH), RestRequest(path=SWAP_PATH))
# A pair that is paused goes on without notice. Which states contracts have besides OPEN is unsure.
_TRADED = ("NORMAL", "PAUSE", "POST_ONLY")


class _Limits(msgspec.Struct, gc=False, rename={"price_digits": "priceScale", "volume_digits": "quantityScale"}):
    price_digits: int
    volume_digits: int


class _Pair(
    msgspec.Struct,
    gc=False,
    rename={
        "native": "symbol",
        "base": "baseCurrencyName",
        "quote": "quoteCurrencyName",
        "limits": "symbolTradeLimit",
    },
):
    """{"symbol":"BTC_USDT","baseCurrencyName":"BTC","quoteCurrencyName":"USDT","state":"NORMAL",
    "symbolTradeLimit":{"priceScale":2,"quantityScale":6,...},...}"""

    native: str
    base: str
    quote: str
    state: str
    limits: _Limits


class _Contract(
    msgspec.Struct,
    gc=False,
    rename={
        "native": "symbol",
        "base": "bCcy",
        "quote": "qCcy",
        "settle": "sCcy",
        "size": "ctVal",
        "price_step": "tSz",
        "volume_step": "lotSz",
    },
):
    """{"symbol":"BNB_USDT_PERP","bCcy":"BNB","qCcy":"USDT","sCcy":"USDT","tSz":"0.001","lotSz":"1","ctVal":"0.1",
    "status":"OPEN","alias":"","ctType":"LINEAR",...}; an alias marks dated futures, of which there are none."""

    native: str
    base: str
    quote: str
    settle: str
    size: str
    price_step: str
    volume_step: str
    status: str
    alias: str = ""


class _Contracts(msgspec.Struct, gc=False):
    data: list[msgspec.Raw]


_pairs, _contracts = msgspec.json.Decoder(list[msgspec.Raw]), msgspec.json.Decoder(_Contracts)
_pair, _contract = msgspec.json.Decoder(_Pair), msgspec.json.Decoder(_Contract)


def parse(body: bytes, request: RestRequest) -> InstrumentPage:
    if request.path == SWAP_PATH:
        return read_instruments(decoded(_contracts, body).data, _swap)
    pairs = decoded(_pairs, body)
    return read_instruments(pairs, _spot)


def _spot(body: bytes) -> Instrument:
    row = _pair.decode(body)
    return instrument_of(
        Symbol(row.base, row.quote),
        row.native,
        price_step=decimal_step(row.limits.price_digits),
        volume_step=decimal_step(row.limits.volume_digits),
        active=row.state in _TRADED,
    )


def _swap(body: bytes) -> Instrument | None:
    row = _contract.decode(body)
    if row.alias:
        return None
    return instrument_of(
        Symbol(row.base, row.quote, row.settle),
        row.native,
        volume_unit="contracts",
        contract_size=row.size,
        price_step=row.price_step,
        volume_step=row.volume_step,
        active=row.status == "OPEN",
    )
