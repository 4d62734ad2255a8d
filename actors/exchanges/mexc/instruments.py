"""MEXC's lists of markets: spot pairs and perpetuals."""

import msgspec

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
from actors.exchanges.mexc.history import FUTURES_BASE
from actors.model.symbols import Symbol

# https://www.mexc.com/api-docs/spot-v3/market-data-endpoints#exchange-information and
# https://www.mexc.com/api-docs/futures (contract/detail), read 2026-11-26 via stored copies.
SPOT_PATH, FUTURES_PATH = "/api/v3/exchangeInfo", "/api/v1/contract/detail"
REQUESTS = (RestRequest(path=SPOT_PATH), RestRequest(base=FUTURES_BASE, path=FUTURES_PATH))
# A market that is paused goes on without notice. Spot: 1 online, 2 paused, 3 offline; futures: 0 enabled, 1 in
# delivery, 2 completed, 3 offline, 4 paused.
_TRADED_PAIRS, _TRADED_CONTRACTS = ("1", "2"), (0, 4)


class _Pair(
    msgspec.Struct,
    gc=False,
    rename={
        "native": "symbol",
        "base": "baseAsset",
        "quote": "quoteAsset",
        "price_digits": "quotePrecision",
        "volume_digits": "baseAssetPrecision",
    },
):
    """{"symbol":"METALUSDT","status":"1","baseAsset":"METAL","baseAssetPrecision":2,"quoteAsset":"USDT",
    "quotePrecision":5,"isSpotTradingAllowed":true,...}"""

    native: str
    status: str
    base: str
    quote: str
    price_digits: int
    volume_digits: int


class _Contract(
    msgspec.Struct,
    gc=False,
    rename={
        "native": "symbol",
        "base": "baseCoin",
        "quote": "quoteCoin",
        "settle": "settleCoin",
        "size": "contractSize",
        "price_step": "priceUnit",
        "volume_step": "volUnit",
    },
):
    """{"symbol":"BTC_USDT","baseCoin":"BTC","quoteCoin":"USDT","settleCoin":"USDT","contractSize":0.0001,
    "priceUnit":0.5,"volUnit":1,"state":0,...}; the size of BTC_USD is in US dollars."""

    native: str
    base: str
    quote: str
    settle: str
    size: msgspec.Raw
    price_step: msgspec.Raw
    volume_step: msgspec.Raw
    state: int


class _Pairs(msgspec.Struct, gc=False):
    symbols: list[msgspec.Raw]


class _Contracts(msgspec.Struct, gc=False):
    success: bool
    data: list[msgspec.Raw] = []


_pairs, _contracts = msgspec.json.Decoder(_Pairs), msgspec.json.Decoder(_Contracts)
_pair, _contract = msgspec.json.Decoder(_Pair), msgspec.json.Decoder(_Contract)


def parse(body: bytes, request: RestRequest) -> InstrumentPage:
    if request.path == SPOT_PATH:
        return read_instruments(decoded(_pairs, body).symbols, lambda row: _spot(_pair.decode(row)))
    answer = decoded(_contracts, body)
    if not answer.success:
        raise Busy(f"mexc: {error_text(body, 'code', 'message')}")
    return read_instruments(answer.data, lambda row: _swap(_contract.decode(row)))


def _spot(row: _Pair) -> Instrument:
    return instrument_of(
        Symbol(row.base, row.quote),
        row.native,
        price_step=decimal_step(row.price_digits),
        volume_step=decimal_step(row.volume_digits),
        active=row.status in _TRADED_PAIRS,
    )


def _swap(row: _Contract) -> Instrument:
    return instrument_of(
        Symbol(row.base, row.quote, row.settle),
        row.native,
        volume_unit="contracts",
        contract_size=plain_digits(digits(row.size, "contractSize")),
        price_step=plain_digits(digits(row.price_step, "priceUnit")),
        volume_step=plain_digits(digits(row.volume_step, "volUnit")),
        active=row.state in _TRADED_CONTRACTS,
    )
