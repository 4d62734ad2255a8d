"""bitFlyer over REST: a product's executions of the last 31 days, newest first, by id."""

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from actors.exchanges.contract.feed import Trades
from actors.exchanges.contract.feed_helpers import digits_column, inside, rfc3339_ns
from actors.exchanges.contract.history import Page, Query
from actors.exchanges.contract.history_helpers import TradeId, error_json, error_text, read_rows, trades
from actors.exchanges.contract.rest import ErrorResponse, RestRequest

# https://lightning.bitflyer.com/docs?lang=en#execution-history
PATH = "/v1/executions"
ROWS_MAX = 500
SLACK_NS = 1_000_000  # times had three decimals in 2019, the stream's have seven
_SIDES = {"BUY": "buy", "SELL": "sell", "": None}


class _Execution(msgspec.Struct, gc=False, rename={"volume": "size", "time": "exec_date"}):
    """{"id":1340786991,"side":"BUY","price":918390.0,"size":0.58848762,"exec_date":"2019-10-15T10:06:57.593",
    "buy_child_order_acceptance_id":"JRF...","sell_child_order_acceptance_id":"JRF..."}; the time is UTC."""

    id: TradeId
    side: Literal["BUY", "SELL", ""]
    price: msgspec.Raw
    volume: msgspec.Raw
    time: str


_rows = msgspec.json.Decoder(list[_Execution])


def request(query: Query) -> RestRequest:
    """Executions before an id; `before` itself is left out."""
    parameters = [("product_code", query.market.native), ("count", str(min(query.rows, ROWS_MAX)))]
    if query.cursor is not None:
        parameters.append(("before", query.cursor))
    elif query.trade_range.to_id is not None:
        parameters.append(("before", str(query.trade_range.to_id + 1)))
    return RestRequest(path=PATH, query=tuple(parameters))


def parse(body: bytes, _headers: Mapping[str, str], query: Query) -> Page:
    if inside(error_json(body), "error_message") is not None:
        raise parse_error(200, body).error("bitflyer")
    native = query.market.native
    rows = read_rows(_rows, body, lambda rows: _columns(rows, native), query)
    full = rows.total >= min(query.rows, ROWS_MAX)
    return Page(rows.trades, str(rows.sound[-1].id) if full else None, rows.odd)


def _columns(rows: Sequence[_Execution], native: str) -> Trades:
    return trades(
        [native] * len(rows),
        digits_column([row.price for row in rows], "price"),
        digits_column([row.volume for row in rows], "size"),
        [_SIDES[row.side] for row in rows],
        [str(row.id) for row in rows],
        [rfc3339_ns(row.time.removesuffix("Z") + "Z") for row in rows],
    )


def parse_error(status: int, body: bytes) -> ErrorResponse:
    """{"status":-100,"error_message":"Invalid product","data":null} with status 400"""
    known = inside(error_json(body), "error_message") is not None
    return ErrorResponse(error_text(body, "status", "error_message"), final=known and status in (400, 404))
