"""Bybit's list of markets over REST: spot, linear and inverse perpetuals."""

import msgspec

from actors.exchanges.contract.history_helpers import decoded, error_text
from actors.exchanges.contract.instruments import Instrument, InstrumentPage, instrument_of, read_instruments
from actors.exchanges.contract.rest import Busy, RestRequest
from actors.model.symbols import Symbol

PATH = "/v5/market/instruments-info"
ROWS_MAX = 1000
REQUESTS = tuple(
    RestRequest(path=PATH, query=(("category", category), ("limit", str(ROWS_MAX))))
    for category in ("spot", "linear", "inverse")
)
_PERPETUAL = {"LinearPerpetual", "InversePerpetual"}


class _Prices(msgspec.Struct, gc=False, rename={"step": "tickSize"}):
    step: str | None = None


class _Lots(msgspec.Struct, gc=False, rename={"step": "qtyStep", "precision": "basePrecision"}):
    """Perpetuals have a step, spot has a precision that means the same."""

    step: str | None = None
    precision: str | None = None


class _Row(
    msgspec.Struct,
    gc=False,
    rename={
        "native": "symbol",
        "contract": "contractType",
        "base": "baseCoin",
        "quote": "quoteCoin",
        "settle": "settleCoin",
        "prices": "priceFilter",
        "lots": "lotSizeFilter",
    },
):
    """{"symbol":"BTCUSDT","contractType":"LinearPerpetual","status":"Trading","baseCoin":"BTC","quoteCoin":"USDT",
    "settleCoin":"USDT","priceFilter":{"tickSize":"0.5",...},"lotSizeFilter":{"qtyStep":"0.001",...},...}"""

    native: str
    status: str
    base: str
    quote: str
    contract: str = ""
    settle: str = ""
    prices: _Prices = msgspec.field(default_factory=_Prices)
    lots: _Lots = msgspec.field(default_factory=_Lots)


class _Result(msgspec.Struct, gc=False, rename={"rows": "list", "cursor": "nextPageCursor"}):
    rows: list[msgspec.Raw] = []
    cursor: str | None = None


class _Answer(msgspec.Struct, gc=False, rename={"code": "retCode"}):
    code: int
    result: _Result = msgspec.field(default_factory=_Result)


_decoder, _row = msgspec.json.Decoder(_Answer), msgspec.json.Decoder(_Row)


def parse(body: bytes, request: RestRequest) -> InstrumentPage:
    """Dated futures stand in the lists of perpetuals too, and are left out: they are not recorded."""
    answer = decoded(_decoder, body)
    if answer.code != 0:
        raise Busy(f"bybit: {error_text(body, 'retCode', 'retMsg')}")
    following = None
    if answer.result.cursor:
        asked = tuple(parameter for parameter in request.query if parameter[0] != "cursor")
        following = RestRequest(path=PATH, query=(*asked, ("cursor", answer.result.cursor)))
    return read_instruments(answer.result.rows, lambda row: _instrument(_row.decode(row)), following)


def _instrument(row: _Row) -> Instrument | None:
    if row.contract and row.contract not in _PERPETUAL:
        return None
    settle = row.settle if row.contract else ""
    return instrument_of(
        Symbol(row.base, row.quote, settle),
        row.native,
        volume_unit="quote" if row.contract == "InversePerpetual" else "base",
        price_step=row.prices.step,
        volume_step=row.lots.step or row.lots.precision,
        active=row.status == "Trading",
    )
