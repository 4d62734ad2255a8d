"""Gemini over REST: a market's trades from an id or a time on, page by page."""

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from actors.exchanges.contract.feed import MS, Trades
from actors.exchanges.contract.feed_helpers import S_NS, text_inside
from actors.exchanges.contract.history import Page, Query
from actors.exchanges.contract.history_helpers import TradeId, error_json, error_text, read_rows, trades
from actors.exchanges.contract.rest import ErrorResponse, RestRequest

# https://docs.gemini.com/rest-api/#trade-history, read 2026-11-26 through clients that follow it. A request that
# begins before the history is refused whole (unsure).
PATH = "/v1/trades/"
ROWS_MAX = 500
REACH_NS = (7 * 86_400 - 600) * S_NS  # ten minutes less than 7 days: requests wait, and clocks differ
SLACK_NS = MS  # times are whole milliseconds, those of the channel `trade` nanoseconds
_TAKERS = {"buy": "buy", "sell": "sell"}
AUCTION = "auction"
_FINAL = ("InvalidSymbol", "HistoricalDataNotAvailable")


class _Trade(msgspec.Struct, gc=False, rename={"side": "type", "time": "timestampms"}):
    """{"timestamp":1591404856,"timestampms":1591404856618,"tid":607568549,"price":"9593.65","amount":"0.0002916",
    "exchange":"gemini","type":"buy"}; `type` is the taker's side, or "auction" or "block"."""

    time: int
    tid: TradeId
    price: str
    amount: str
    side: Literal["buy", "sell", "auction", "block"]


_rows = msgspec.json.Decoder(list[_Trade])


def request(query: Query) -> RestRequest:
    """`since_tid` leaves out the trade that it names, `timestamp` takes milliseconds; the first goes before."""
    limit = ("limit_trades", str(min(query.rows, ROWS_MAX)))
    by_time = ("timestamp", str(_start_ns(query) // MS))
    start = by_time if query.cursor is None else ("since_tid", query.cursor)
    return RestRequest(path=PATH + query.market.native.lower(), query=(start, limit))


def _start_ns(query: Query) -> int:
    """Where the first page begins: with the range, or with the history if the range began before it."""
    return max(query.trade_range.from_ns or 0, query.now_ns - REACH_NS)


def parse(body: bytes, _headers: Mapping[str, str], query: Query) -> Page:
    """Newest first within a page, pages go forwards."""
    if body[:1] == b"{" and text_inside(error_json(body), "result") == "error":
        raise parse_error(200, body).error("gemini")
    native = query.market.native
    rows = read_rows(_rows, body, lambda rows: _columns(rows, native), query)
    full = rows.total >= min(query.rows, ROWS_MAX)
    cursor = str(max(row.tid for row in rows.sound)) if full else None
    return Page(rows.trades, cursor, rows.odd, _start_ns(query) if query.cursor is None else None)


def _columns(listed: Sequence[_Trade], native: str) -> Trades:
    # The stream announces an auction's result without the id of a trade, which is not recorded, so neither is this.
    rows = [row for row in reversed(listed) if row.side != AUCTION]
    return trades(
        [native] * len(rows),
        [row.price for row in rows],
        [row.amount for row in rows],
        [_TAKERS.get(row.side) for row in rows],
        [str(row.tid) for row in rows],
        [row.time * MS for row in rows],
    )


def parse_error(status: int, body: bytes) -> ErrorResponse:
    """{"result":"error","reason":"InvalidSymbol","message":"Supplied value 'nope' is not a valid symbol"}"""
    final = status in (400, 404) and text_inside(error_json(body), "reason") in _FINAL
    return ErrorResponse(error_text(body, "reason", "message"), final=final)
