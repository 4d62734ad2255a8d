"""Gate's lists of markets: spot pairs, perpetual and dated contracts by settlement coin."""

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

# https://www.gate.com/docs/developers/apiv4/en/, read 2026-11-26 via stored copy.
SPOT_PATH = "/api/v4/spot/currency_pairs"
_SETTLED = {
    f"/api/v4/{kind}/{coin}/contracts": coin.upper() for kind in ("futures", "delivery") for coin in ("usdt", "btc")
}
REQUESTS = tuple(RestRequest(path=path) for path in (SPOT_PATH, *_SETTLED))

# Of contracts (unsure): one in delisting is still traded, and one that is halted goes on without notice.
_NOT_TRADED = ("prelaunch", "delisted")


class _Pair(
    msgspec.Struct,
    gc=False,
    rename={"price_digits": "precision", "volume_digits": "amount_precision", "status": "trade_status"},
):
    """{"id":"ETH_USDT","base":"ETH","quote":"USDT","amount_precision":3,"precision":6,"trade_status":"tradable",...}"""

    id: str
    base: str
    quote: str
    price_digits: int
    volume_digits: int
    status: str


class _Contract(
    msgspec.Struct, gc=False, rename={"multiplier": "quanto_multiplier", "price_step": "order_price_round"}
):
    """{"name":"BTC_USDT","type":"direct","quanto_multiplier":"0.0001","order_price_round":"0.1",
    "in_delisting":false,"enable_decimal":false,"status":"trading",...}. An "inverse" one is worth 1 USD and has the
    multiplier "0". The name of a dated one ends with its day, BTC_USDT_20261225."""

    name: str
    type: str
    multiplier: str
    price_step: str
    enable_decimal: bool = False
    status: str = "trading"


_rows = msgspec.json.Decoder(list[msgspec.Raw])
_pair, _contract = msgspec.json.Decoder(_Pair), msgspec.json.Decoder(_Contract)


def parse(body: bytes, request: RestRequest) -> InstrumentPage:
    rows, settle = decoded(_rows, body), _SETTLED.get(request.path)
    if settle is None:
        return read_instruments(rows, lambda row: _spot(_pair.decode(row)))
    return read_instruments(rows, lambda row: _derivative(_contract.decode(row), settle))


def _spot(row: _Pair) -> Instrument:
    return instrument_of(
        Symbol(row.base, row.quote),
        row.id,
        price_step=decimal_step(row.price_digits),
        volume_step=decimal_step(row.volume_digits),
        active=row.status != "untradable",
    )


def _derivative(row: _Contract, settle: str) -> Instrument:
    base, quote, *day = row.name.split("_")
    symbol = Symbol(base, quote, settle, day[0].removeprefix("20") if day else "")
    return instrument_of(
        symbol,
        row.name,
        volume_unit="contracts",
        contract_size="1" if row.type == "inverse" else row.multiplier,
        price_step=row.price_step,
        volume_step=None if row.enable_decimal else "1",
        active=row.status not in _NOT_TRADED,
    )
