"""Coinbase Exchange over REST: a product's trades by id, newest first, without end; those of Advanced Trade too."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from actors.exchanges.contract.feed import Trades
from actors.exchanges.contract.feed_helpers import rfc3339_ns, text_inside
from actors.exchanges.contract.history import ErrorResponse, Garbled, Page, Query, RestRequest, id_number
from actors.exchanges.contract.history_helpers import (
    NO_TRADES,
    TradeId,
    decoded,
    error_json,
    error_text,
    read_rows,
    trades,
)

# https://docs.cdp.coinbase.com/exchange/rest-api/pagination and .../rate-limits, read 2026-11-22 via stored
# copy: `after` is older, `before` newer; cb-after names the last row of the page.
ROWS_MAX = 1000
SEEK = "seek"
_UNKNOWN = {"notfound", "productnotfound"}

# `side` is the maker's here as on the feed.
_TAKER = {"buy": "sell", "sell": "buy"}


class _Trade(msgspec.Struct, gc=False, rename={"id": "trade_id", "volume": "size", "maker_side": "side"}):
    """{"time":"2020-12-30T13:45:30.397Z","trade_id":116922625,"price":"28026.04000000","size":"0.17982618",
    "side":"sell"}, newest first."""

    id: TradeId
    price: str
    volume: str
    maker_side: Literal["buy", "sell"]
    time: str


_decoder = msgspec.json.Decoder(list[_Trade])


def request(query: Query) -> RestRequest:
    """Times cannot be asked for, so an end known by time only is sought: "seek LOW HIGH", halved each time."""
    older_than, rows = query.cursor, min(query.rows, ROWS_MAX)
    if query.cursor is None and query.trade_range.to_id is not None:
        older_than = str(query.trade_range.to_id + 1)
    elif query.cursor is None and query.trade_range.to_ns is not None:
        rows = 1  # the newest trade: where the search begins
    elif query.cursor is not None and _seeking(query.cursor):
        low, high = _bounds(query.cursor)
        older_than, rows = str((low + high) // 2 + 1), 1
    parameters = (("limit", str(rows)),) + ((("after", older_than),) if older_than else ())
    return RestRequest(path=f"/products/{query.market.native}/trades", query=parameters)


def parse(body: bytes, headers: Mapping[str, str], query: Query, name: str = "coinbaseexchange") -> Page:
    # An error comes with status 200 only behind a proxy.
    if body[:1] == b"{" and text_inside(error_json(body), "message"):
        raise parse_error(200, body).error(name)
    to_ns = query.trade_range.to_ns
    if query.trade_range.to_id is None and to_ns is not None and _seeking(query.cursor):
        return Page(NO_TRADES, _narrowed(query, decoded(_decoder, body), to_ns))
    native = query.market.native
    rows = read_rows(_decoder, body, lambda rows: _columns(rows, native), query)
    following = headers.get("cb-after") if rows.total else None
    if following is not None:
        before = id_number(query.cursor)
        if id_number(following) is None or (before is not None and int(following) >= before):
            raise Garbled(f"cb-after leads to no older page: {following[:40]!r}")
    return Page(rows.trades, following, rows.odd)


def _columns(rows: list[_Trade], native: str) -> Trades:
    return trades(
        [native] * len(rows),
        [row.price for row in rows],
        [row.volume for row in rows],
        [_TAKER[row.maker_side] for row in rows],
        [str(row.id) for row in rows],
        [rfc3339_ns(row.time) for row in rows],
    )


def _seeking(cursor: str | None) -> bool:
    return cursor is None or cursor.startswith(SEEK)


def _narrowed(query: Query, rows: list[_Trade], to_ns: int) -> str | None:
    """The next cursor of the search for the newest trade not after `to_ns`: its id lies from LOW to HIGH."""
    late = bool(rows) and rfc3339_ns(rows[0].time) > to_ns
    if query.cursor is None:  # the newest trade
        low, high = 0, rows[0].id if rows else -1
        if not late:
            return str(high + 1) if rows else None
    else:
        low, high = _bounds(query.cursor)
        middle = (low + high) // 2
        low, high = (low, middle - 1) if late else (middle, high)
    # One page reaches over the rest of the way; what is too new in it is left out.
    return f"{SEEK} {low} {high}" if high - low > max(1, query.rows // 2) else str(high + 1)


def _bounds(cursor: str) -> tuple[int, int]:
    _, low, high = cursor.split()
    return int(low), int(high)


def parse_error(status: int, body: bytes) -> ErrorResponse:
    """{"message":"NotFound"}: there are no codes, only statuses. A 404 without a message is a proxy's."""
    message = text_inside(error_json(body), "message")
    final = status == 404 and message.replace(" ", "").casefold() in _UNKNOWN
    return ErrorResponse(error_text(body, "message"), final or (status == 400 and bool(message)))
