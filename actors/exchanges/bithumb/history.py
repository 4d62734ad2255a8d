"""Bithumb over REST: a market's newest trades, and on from each page to the trades before it."""

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from actors.exchanges.contract.feed import MS, Trades
from actors.exchanges.contract.feed_helpers import digits_column, inside
from actors.exchanges.contract.history import ErrorResponse, Page, Query
from actors.exchanges.contract.history_helpers import TradeId, error_json, error_text, excerpt, read_rows, trades
from actors.exchanges.contract.rest import RestRequest

# https://apidocs.bithumb.com/reference/%EC%B5%9C%EA%B7%BC-%EC%B2%B4%EA%B2%B0-%EB%82%B4%EC%97%AD. It knows `to` and
# `daysAgo` too; of which zone their hours and days are is not documented, so pages are led by `cursor` alone.
PATH = "/v1/trades/ticks"
ROWS_MAX = 500
_SIDES = {"ASK": "sell", "BID": "buy"}  # the taker's


class _Trade(
    msgspec.Struct,
    gc=False,
    rename={
        "native": "market",
        "time": "timestamp",
        "price": "trade_price",
        "volume": "trade_volume",
        "side": "ask_bid",
        "id": "sequential_id",
    },
):
    """{"market":"KRW-BTC","trade_date_utc":"2026-09-23","trade_time_utc":"03:18:33","timestamp":1790133513739,
    "trade_price":116208000,"trade_volume":0.0009,"prev_closing_price":115000000.0,"change_price":1208000.0,
    "ask_bid":"BID","sequential_id":1079953210371761700}, newest first"""

    native: str
    time: int
    price: msgspec.Raw
    volume: msgspec.Raw
    side: Literal["ASK", "BID"]
    id: TradeId


_decoder = msgspec.json.Decoder(list[_Trade])


def request(query: Query) -> RestRequest:
    """Trades before an id, as of Upbit: the trade that `cursor` names is left out."""
    parameters = [("market", query.market.native), ("count", str(min(query.rows, ROWS_MAX)))]
    if query.cursor is not None:
        parameters.append(("cursor", query.cursor))
    elif query.trade_range.to_id is not None:
        parameters.append(("cursor", str(query.trade_range.to_id + 1)))
    return RestRequest(path=PATH, query=tuple(parameters))


def parse(body: bytes, _headers: Mapping[str, str], query: Query) -> Page:
    if isinstance(inside(error_json(body), "error"), dict):
        raise parse_error(200, body).error("bithumb")
    rows = read_rows(_decoder, body, _columns, query)
    last = str(rows.sound[-1].id) if rows.sound else None
    return Page(rows.trades, None if last == query.cursor else last, rows.odd)


def _columns(rows: Sequence[_Trade]) -> Trades:
    return trades(
        [row.native for row in rows],
        digits_column([row.price for row in rows], "trade_price"),
        digits_column([row.volume for row in rows], "trade_volume"),
        [_SIDES[row.side] for row in rows],
        [str(row.id) for row in rows],
        [row.time * MS for row in rows],
    )


def parse_error(status: int, body: bytes) -> ErrorResponse:
    """{"error":{"name":404,"message":"Code not found"}}, as Upbit's"""
    error = inside(error_json(body), "error")
    if not isinstance(error, dict):
        return ErrorResponse(excerpt(body))
    return ErrorResponse(error_text(msgspec.json.encode(error), "name", "message"), final=status in (400, 404))
