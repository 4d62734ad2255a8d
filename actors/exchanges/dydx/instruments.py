"""dYdX v4's list of perpetuals."""

import msgspec

from actors.exchanges.contract.history_helpers import decoded
from actors.exchanges.contract.instruments import (
    Instrument,
    InstrumentPage,
    instrument_of,
    plain_digits,
    read_instruments,
)
from actors.exchanges.contract.rest import RestRequest
from actors.model.symbols import Symbol

PATH = "/v4/perpetualMarkets"


class _Row(
    msgspec.Struct, gc=False, rename={"native": "ticker", "price_step": "tickSize", "volume_step": "stepSize"}
):
    """{"clobPairId":"0","ticker":"BTC-USD","status":"ACTIVE","oraclePrice":"89942.1","tickSize":"1",
    "stepSize":"0.0001",...}; some that anybody may list are called BABY,RAYDIUM,...-USD, which no symbol can be."""

    native: str
    status: str
    price_step: str
    volume_step: str


class _Answer(msgspec.Struct, gc=False):
    """{"markets":{"BTC-USD":{...},...}}"""

    markets: dict[str, msgspec.Raw]


_decoder, _row = msgspec.json.Decoder(_Answer), msgspec.json.Decoder(_Row)


def parse(body: bytes, _request: RestRequest) -> InstrumentPage:
    return read_instruments(decoded(_decoder, body).markets.values(), _instrument)


def _instrument(raw: bytes) -> Instrument:
    row = _row.decode(raw)
    base, _, quote = row.native.rpartition("-")
    return instrument_of(
        Symbol(base, quote, "USDC"),
        row.native,
        price_step=plain_digits(row.price_step),
        volume_step=plain_digits(row.volume_step),
        active=row.status == "ACTIVE",
    )
