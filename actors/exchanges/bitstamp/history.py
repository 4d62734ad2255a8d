"""Bitstamp over REST: the trades of a pair's last minute, hour or day, newest first, in one answer."""

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from actors.exchanges.contract.feed import Trades
from actors.exchanges.contract.feed_helpers import S_NS, inside, seconds_column_ns
from actors.exchanges.contract.history import Page, Query
from actors.exchanges.contract.history_helpers import error_json, error_text, read_rows, trades
from actors.exchanges.contract.rest import ErrorResponse, RestRequest

# https://www.bitstamp.net/api/#tag/Transactions-public
PATH = "/api/v2/transactions/"
ROWS_MAX = 50_000  # ours: all of a day; the BTC/USD of 2019 had 383 in an hour
SLACK_NS = S_NS  # times are whole seconds
_SPANS = {"minute": 60, "hour": 3_600, "day": 86_400}
_MARGIN_S = 10  # a clock may be off, and the answer takes its time
_SIDES = {"0": "buy", "1": "sell"}  # the taker's


class _Trade(msgspec.Struct, gc=False, rename={"time": "date", "id": "tid", "volume": "amount", "side": "type"}):
    """{"date":"1560481868","tid":"90574283","price":"8194.79","type":"1","amount":"0.00288599"}"""

    time: str
    id: str
    price: str
    volume: str
    side: Literal["0", "1"]


_rows = msgspec.json.Decoder(list[_Trade])


def request(query: Query) -> RestRequest:
    return RestRequest(path=f"{PATH}{query.market.native}/", query=(("time", _span(query)),))


def _span(query: Query) -> str:
    """The shortest span that reaches back to the range's beginning; a day where that is not known."""
    if query.cursor is not None:
        return query.cursor
    age_s = _MARGIN_S + (query.now_ns - (query.trade_range.from_ns or 0)) // S_NS
    return next((name for name, span_s in _SPANS.items() if age_s < span_s), "day")


def parse(body: bytes, _headers: Mapping[str, str], query: Query) -> Page:
    if inside(error_json(body), "status") == "error" or inside(error_json(body), "error") is not None:
        raise parse_error(200, body).error("bitstamp")
    native = query.market.native
    rows = read_rows(_rows, body, lambda rows: _columns(rows, native), query)
    span, whole_from_ns = _span(query), None
    if rows.sound:  # an empty answer proves nothing: it may come from a history that has nothing at all
        answered_ns = max(query.answered_ns, int(rows.sound[0].time) * S_NS)
        whole_from_ns = answered_ns - (_SPANS[span] - _MARGIN_S) * S_NS
    longer = {"minute": "hour", "hour": "day"}.get(span)
    reached = whole_from_ns is not None and whole_from_ns <= (query.trade_range.from_ns or 0)
    return Page(rows.trades, None if reached else longer, rows.odd, whole_from_ns)


def _columns(rows: Sequence[_Trade], native: str) -> Trades:
    return trades(
        [native] * len(rows),
        [row.price for row in rows],
        [row.volume for row in rows],
        [_SIDES[row.side] for row in rows],
        [row.id for row in rows],
        seconds_column_ns([row.time for row in rows]),
    )


def parse_error(_status: int, body: bytes) -> ErrorResponse:
    """Never final: the 404 for a pair that does not exist is a page of HTML, as any proxy may send."""
    return ErrorResponse(error_text(body, "code", "reason", "error"))
