"""KuCoin over REST: a market's newest 100 trades and no way further back."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from actors.exchanges.contract.feed import Trades
from actors.exchanges.contract.feed_helpers import digits, digits_column, text_inside
from actors.exchanges.contract.history import ErrorResponse, Page, Query
from actors.exchanges.contract.history_helpers import decoded, error_json, error_text, read_rows, trades
from actors.exchanges.contract.rest import RestRequest
from actors.exchanges.kucoin.feed import FUTURES_BASE, SPOT_URL

# https://www.kucoin.com/docs-new/rest/spot-trading/market-data/get-trade-history and .../futures-trading/...,
# read 2026-11-26 via stored copies.
ROWS_MAX = 100
_OK = "200000"
_FINAL = {"400100", "900001"}  # a parameter is wrong, the symbol does not exist
_BUSY = {"429000", "200002"}  # too many requests
BUSY_S = 10.0


class _Trade(msgspec.Struct, gc=False, rename={"id": "tradeId", "volume": "size"}):
    """Spot {"sequence":"1545896668571","price":"0.07","size":"0.004","side":"buy","time":1545904567062140823},
    futures {"sequence":102,"tradeId":"5cbd7377a6ffab0c7ba98b26","price":"7000.0","size":1,"side":"buy",
    "ts":1545904567062140823,...}; the side is the taker's. Spot has no tradeId: on the feed it is the sequence."""

    sequence: msgspec.Raw
    price: msgspec.Raw
    volume: msgspec.Raw
    side: Literal["buy", "sell"]
    id: str = ""
    time: int | None = None
    ts: int | None = None


class _Answer(msgspec.Struct, gc=False):
    """{"code":"200000","data":[...]}; another code is an error, with status 200 or not."""

    code: str
    data: msgspec.Raw = msgspec.Raw()


_decoder = msgspec.json.Decoder(_Answer)
_rows = msgspec.json.Decoder(list[_Trade])


def request(query: Query) -> RestRequest:
    parameters = (("symbol", query.market.native),)
    if query.market.endpoint == SPOT_URL:
        return RestRequest(path="/api/v1/market/histories", query=parameters)
    return RestRequest(base=FUTURES_BASE, path="/api/v1/trade/history", query=parameters)


def parse(body: bytes, _headers: Mapping[str, str], query: Query) -> Page:
    answer = decoded(_decoder, body)
    if answer.code != _OK:
        raise parse_error(200, body).error("kucoin")
    rows = read_rows(_rows, bytes(answer.data), lambda rows: _columns(rows, query.market.native), query)
    return Page(rows.trades, None, rows.odd)


def _columns(rows: list[_Trade], native: str) -> Trades:
    """Newest first; which order the answer has is not documented, and its samples differ."""
    rows = sorted(rows, key=_time, reverse=True)
    return trades(
        [native] * len(rows),
        digits_column([row.price for row in rows], "price"),
        digits_column([row.volume for row in rows], "size"),
        [row.side for row in rows],
        [row.id or digits(row.sequence, "sequence") for row in rows],
        [_time(row) for row in rows],
    )


def _time(row: _Trade) -> int:
    time = row.ts if row.time is None else row.time
    if time is None:
        raise msgspec.ValidationError("Object missing required field `time`")
    return time


def parse_error(_status: int, body: bytes) -> ErrorResponse:
    """{"code":"400100","msg":"symbol not exists"}"""
    code = text_inside(error_json(body), "code")
    return ErrorResponse(error_text(body, "code", "msg"), code in _FINAL, BUSY_S if code in _BUSY else None)
