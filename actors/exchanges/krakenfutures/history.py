"""Kraken Futures over REST: a product's trades by time, newest first, 100 at once."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

import msgspec

from actors.exchanges.contract.feed import MS, Trades
from actors.exchanges.contract.feed_helpers import digits_column, rfc3339_ns, text_inside
from actors.exchanges.contract.history import ErrorResponse, Garbled, Page, Query, RestRequest
from actors.exchanges.contract.history_helpers import (
    decoded,
    error_json,
    error_text,
    read_rows,
    trades,
)

# https://docs.kraken.com/api/docs/futures-api/trading/get-history, read 2026-11-26 via stored copy. There
# `trade_id` is only the row's number.
PATH = "/derivatives/api/v3/history"
ROWS_MAX = 100
# An argument is wrong, as an unknown product is; all else (apiLimitExceeded, Server Error, ...) is transient.
_FINAL = ("invalidArgument", "notFound", "requiredArgumentMissing", "contractNotFound")
_BUSY = "apiLimitExceeded"
BUSY_S = 10.0


class _Trade(msgspec.Struct, gc=False, rename={"id": "uid", "volume": "size", "kind": "type"}):
    """{"time":"2019-11-11T07:14:20.093Z","trade_id":100,"price":186.45,"size":1,"side":"sell","type":"fill",
    "uid":"df8522a1-5f97-41e4-8eb1-e2c2546199a1"}; the side is the taker's."""

    id: str
    time: str
    price: msgspec.Raw
    volume: msgspec.Raw
    side: Literal["buy", "sell"]
    kind: str = "fill"


class _Answer(msgspec.Struct, gc=False, rename={"rows": "history"}):
    """{"result":"success","history":[...],"serverTime":"2026-11-26T00:00:00.000Z"}"""

    result: str
    rows: msgspec.Raw = msgspec.Raw(b"null")


_decoder = msgspec.json.Decoder(_Answer)
_rows = msgspec.json.Decoder(list[_Trade])


def request(query: Query) -> RestRequest:
    """`lastTime` is the newest time wanted; whether it is included is not documented, so a ms more is requested."""
    parameters, to_ns = [("symbol", query.market.native)], query.trade_range.to_ns
    if query.cursor is not None:
        parameters.append(("lastTime", _iso(int(query.cursor))))
    elif to_ns is not None:
        parameters.append(("lastTime", _iso(to_ns // MS + 1)))
    return RestRequest(path=PATH, query=tuple(parameters))


def _iso(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms // 1000, UTC):%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"


def parse(body: bytes, _headers: Mapping[str, str], query: Query) -> Page:
    answer = decoded(_decoder, body)
    if answer.result != "success":
        raise parse_error(200, body).error("krakenfutures")
    native = query.market.native
    rows = read_rows(_rows, bytes(answer.rows), lambda rows: _columns(rows, native), query)
    if rows.total < ROWS_MAX:
        return Page(rows.trades, None, rows.odd)
    oldest_ms = rfc3339_ns(rows.sound[-1].time) // MS
    cursor = oldest_ms + 1  # the trades of one ms may go on on the next page
    skips = query.cursor is not None and cursor >= int(query.cursor)
    if query.cursor is not None and skips:
        cursor = oldest_ms
        if cursor >= int(query.cursor):
            raise Garbled(f"the rows do not lie before the time that was asked for ({query.cursor})")
    return Page(rows.trades, str(cursor), rows.odd, skips=skips)


def _columns(rows: list[_Trade], native: str) -> Trades:
    made = trades(
        [native] * len(rows),
        digits_column([row.price for row in rows], "price"),
        digits_column([row.volume for row in rows], "size"),
        [row.side for row in rows],
        [row.id for row in rows],
        [rfc3339_ns(row.time) for row in rows],
    )
    blocks = [row.kind == "block" for row in rows]
    made.off_book = blocks if True in blocks else None
    return made


def parse_error(_status: int, body: bytes) -> ErrorResponse:
    """{"result":"error","error":"invalidArgument: symbol","serverTime":"2026-11-26T00:00:00.000Z"}"""
    error = text_inside(error_json(body), "error")
    busy_s = BUSY_S if error.startswith(_BUSY) else None
    return ErrorResponse(error_text(body, "error"), error.startswith(_FINAL), busy_s)
