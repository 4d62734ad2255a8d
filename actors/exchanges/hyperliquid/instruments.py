"""Hyperliquid's lists of markets: its own perpetuals, spot pairs, and the perpetuals of builders' dexes."""

from collections.abc import Mapping

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
from actors.exchanges.hyperliquid.history import PATH, WEIGHT
from actors.model.symbols import Symbol

# `allPerpMetas` is an array of what `meta` answers, the exchange's own perpetuals first.
META, SPOT, DEXES = "meta", "spotMeta", "allPerpMetas"
KINDS = {f'{{"type":"{kind}"}}'.encode(): kind for kind in (META, SPOT, DEXES)}  # by the request's body
REQUESTS = tuple(RestRequest(path=PATH, body=body, costs={"weight": WEIGHT}) for body in KINDS)
# Prices have at most five significant digits, and at most so many decimals less those of sizes.
PERPETUAL_DECIMALS, SPOT_DECIMALS = 6, 8
# By `collateralToken`, the index in spotMeta of what a dex settles in.
_COLLATERALS = {0: "USDC", 235: "USDE", 268: "USDT0", 360: "USDH"}


class _Perpetual(msgspec.Struct, gc=False, rename={"decimals": "szDecimals", "delisted": "isDelisted"}):
    """{"name":"BTC","szDecimals":5,"maxLeverage":40,"marginTableId":56}, or {"name":"xyz:SP500",...}"""

    name: str
    decimals: int
    delisted: bool = False


class _Meta(msgspec.Struct, gc=False, rename={"collateral": "collateralToken"}):
    universe: list[msgspec.Raw]
    collateral: int = 0


class _Token(msgspec.Struct, gc=False, rename={"decimals": "szDecimals"}):
    """{"name":"HYPE","szDecimals":2,"weiDecimals":8,"index":150,"tokenId":"0x0d01...","isCanonical":false,...}"""

    name: str
    decimals: int
    index: int


class _Pair(msgspec.Struct, gc=False):
    """{"tokens":[150,0],"name":"@107","index":107,"isCanonical":false}"""

    tokens: tuple[int, int]
    name: str


class _Spot(msgspec.Struct, gc=False):
    universe: list[msgspec.Raw]
    tokens: list[_Token]


_row, _pair = msgspec.json.Decoder(_Perpetual), msgspec.json.Decoder(_Pair)
_meta, _spot = msgspec.json.Decoder(_Meta), msgspec.json.Decoder(_Spot)
_metas = msgspec.json.Decoder(list[_Meta])


def parse(body: bytes, request: RestRequest) -> InstrumentPage:
    """A pair of a token without a name, or a dex whose collateral is not known here, is odd."""
    match KINDS[request.body or b""]:
        case "spotMeta":
            listed = decoded(_spot, body)
            tokens = {token.index: token for token in listed.tokens}
            return read_instruments(listed.universe, lambda row: _spot_pair(_pair.decode(row), tokens))
        case "meta":
            return _perpetuals(decoded(_meta, body))
    pages = [_perpetuals(meta) for meta in decoded(_metas, body)[1:]]
    return InstrumentPage(
        tuple(instrument for page in pages for instrument in page.instruments),
        odd=tuple(row for page in pages for row in page.odd),
    )


def _perpetuals(meta: _Meta) -> InstrumentPage:
    return read_instruments(meta.universe, lambda row: _perpetual(_row.decode(row), _COLLATERALS[meta.collateral]))


def _perpetual(row: _Perpetual, settle: str) -> Instrument:
    base = row.name.replace(":", "_")
    return instrument_of(
        Symbol(base, settle, settle),
        row.name,
        price_step=decimal_step(PERPETUAL_DECIMALS - row.decimals),
        volume_step=decimal_step(row.decimals),
        active=not row.delisted,
    )


def _spot_pair(pair: _Pair, tokens: Mapping[int, _Token]) -> Instrument:
    base, quote = (tokens[index] for index in pair.tokens)
    return instrument_of(
        Symbol(base.name, quote.name),
        pair.name,
        price_step=decimal_step(SPOT_DECIMALS - base.decimals),
        volume_step=decimal_step(base.decimals),
    )
