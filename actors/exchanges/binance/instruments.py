"""Binance's lists of markets, exchangeInfo: spot here, and the rows of the two futures exchanges."""

from collections.abc import Callable

import msgspec

from actors.exchanges.binance.history import WEIGHT, parse_error
from actors.exchanges.contract.feed_helpers import text_inside
from actors.exchanges.contract.history_helpers import decoded, error_json
from actors.exchanges.contract.instruments import Instrument, InstrumentPage, instrument_of, read_instruments
from actors.exchanges.contract.rest import RestRequest
from actors.model.symbols import Symbol

REQUEST = RestRequest(path="/api/v3/exchangeInfo", costs={WEIGHT: 20.0})
# A market that is halted goes on without notice; BREAK (spot), SETTLING, DELIVERED and CLOSE (futures) are final.
_TRADED = ("TRADING", "HALT", "AUCTION_MATCH")


class _Filter(
    msgspec.Struct, gc=False, rename={"kind": "filterType", "price_step": "tickSize", "volume_step": "stepSize"}
):
    """{"filterType":"PRICE_FILTER","minPrice":"0.10","maxPrice":"1000000","tickSize":"0.10"}, and LOT_SIZE has
    "stepSize". MARKET_LOT_SIZE has one too, for market orders only."""

    kind: str
    price_step: str | None = None
    volume_step: str | None = None


class Row(
    msgspec.Struct,
    gc=False,
    rename={
        "native": "symbol",
        "base": "baseAsset",
        "quote": "quoteAsset",
        "settle": "marginAsset",
        "contract_status": "contractStatus",
        "contract_kind": "contractType",
        "contract_size": "contractSize",
    },
):
    """{"symbol":"BTCUSDT","status":"TRADING","baseAsset":"BTC","quoteAsset":"USDT","filters":[...],...}; futures
    have "marginAsset":"USDT","contractType":"PERPETUAL", those in coins "contractSize":100 and "contractStatus"."""

    native: str
    base: str
    quote: str
    status: str = ""
    contract_status: str = ""
    settle: str = ""
    contract_kind: str = ""
    contract_size: int | None = None
    filters: list[_Filter] = []

    def step(self, kind: str) -> str | None:
        """The step of the filter of this kind, None where there is none."""
        for one in self.filters:
            if one.kind == kind:
                return one.price_step or one.volume_step
        return None


class _Answer(msgspec.Struct, gc=False):
    symbols: list[msgspec.Raw]


_decoder = msgspec.json.Decoder(_Answer)
_row = msgspec.json.Decoder(Row)


def parse(body: bytes, _request: RestRequest) -> InstrumentPage:
    return parse_rows(body, "binance", _spot)


def parse_rows(body: bytes, name: str, make: Callable[[Row], Instrument | None]) -> InstrumentPage:
    """The page of any of Binance's lists."""
    if text_inside(error_json(body), "code"):
        raise parse_error(200, body).error(name)
    return read_instruments(decoded(_decoder, body).symbols, lambda row: make(_row.decode(row)))


def _spot(row: Row) -> Instrument:
    return instrument_of(
        Symbol(row.base, row.quote),
        row.native,
        price_step=row.step("PRICE_FILTER"),
        volume_step=row.step("LOT_SIZE"),
        active=row.status in _TRADED,
    )


def future(row: Row, volume_unit: str) -> Instrument | None:
    """A perpetual, or a dated future, whose native ends with its day: BTCUSDT_260925. None for those to come."""
    if not row.contract_kind:  # not yet open: neither type nor day
        return None
    day = "" if "PERPETUAL" in row.contract_kind else row.native.rpartition("_")[2]
    symbol = Symbol(row.base, row.quote, row.settle, day)
    return instrument_of(
        symbol,
        row.native,
        volume_unit=volume_unit,
        contract_size=None if row.contract_size is None else str(row.contract_size),
        price_step=row.step("PRICE_FILTER"),
        volume_step=row.step("LOT_SIZE"),
        active=(row.status or row.contract_status) in _TRADED,
    )
