"""BingX's lists of markets: spot pairs and linear perpetuals."""

import msgspec

from actors.exchanges.bingx.feed import QUOTES
from actors.exchanges.contract.feed_helpers import digits
from actors.exchanges.contract.history_helpers import decoded, error_text
from actors.exchanges.contract.instruments import (
    Instrument,
    InstrumentPage,
    decimal_step,
    instrument_of,
    plain_digits,
    read_instruments,
)
from actors.exchanges.contract.rest import Busy, RestRequest
from actors.model.symbols import Symbol

# https://bingx-api.github.io/docs/#/en-us/spot/market-api.html and .../swapV2/market-api.html, read 2026-11-26 via
# stored copies; clients ask both without the documented `timestamp`.
SPOT_PATH, SWAP_PATH = "/openApi/spot/v1/common/symbols", "/openApi/swap/v2/quote/contracts"
REQUESTS = (RestRequest(path=SPOT_PATH), RestRequest(path=SWAP_PATH))
# Online and, for spot, suspended, for perpetuals, forbidden to open positions: these are still closed, and a market
# that is suspended goes on without notice. 0 is offline, 5 before it, 10 accessed.
_TRADED = (1, 25)


class _Pair(
    msgspec.Struct, gc=False, rename={"native": "symbol", "price_step": "tickSize", "volume_step": "stepSize"}
):
    """{"symbol":"BTC-USDT","tickSize":0.01,"stepSize":1e-06,"status":1,"apiStateBuy":true,...}"""

    native: str
    price_step: msgspec.Raw
    volume_step: msgspec.Raw
    status: int


class _Contract(
    msgspec.Struct,
    gc=False,
    rename={
        "native": "symbol",
        "settle": "currency",
        "price_digits": "pricePrecision",
        "volume_digits": "quantityPrecision",
    },
):
    """{"contractId":"100","symbol":"BTC-USDT","quantityPrecision":4,"pricePrecision":1,"currency":"USDT",
    "asset":"BTC","status":1,...}"""

    native: str
    settle: str
    price_digits: int
    volume_digits: int
    status: int


class _Symbols(msgspec.Struct, gc=False):
    symbols: list[msgspec.Raw] = []


class _Pairs(msgspec.Struct, gc=False):
    code: int
    data: _Symbols = msgspec.field(default_factory=_Symbols)


class _Contracts(msgspec.Struct, gc=False):
    code: int
    data: list[msgspec.Raw] = []


_pairs, _contracts = msgspec.json.Decoder(_Pairs), msgspec.json.Decoder(_Contracts)
_pair, _contract = msgspec.json.Decoder(_Pair), msgspec.json.Decoder(_Contract)


def parse(body: bytes, request: RestRequest) -> InstrumentPage:
    answer = decoded(_pairs, body) if request.path == SPOT_PATH else decoded(_contracts, body)
    if answer.code != 0:
        raise Busy(f"bingx: {error_text(body, 'code', 'msg')}")
    if isinstance(answer, _Pairs):
        return read_instruments(answer.data.symbols, lambda row: _spot(_pair.decode(row)))
    return read_instruments(answer.data, lambda row: _swap(_contract.decode(row)))


def _spot(row: _Pair) -> Instrument:
    base, quote = row.native.split("-")
    return instrument_of(
        Symbol(base, quote),
        row.native,
        price_step=plain_digits(digits(row.price_step, "tickSize")),
        volume_step=plain_digits(digits(row.volume_step, "stepSize")),
        active=row.status in _TRADED,
    )


def _swap(row: _Contract) -> Instrument | None:
    base, quote = row.native.split("-")
    if quote not in QUOTES or row.settle != quote:
        return None
    return instrument_of(
        Symbol(base, quote, quote),
        row.native,
        price_step=decimal_step(row.price_digits),
        volume_step=decimal_step(row.volume_digits),
        active=row.status in _TRADED,
    )
