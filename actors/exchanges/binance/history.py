"""Binance spot over REST: single trades by id without end, aggregated ones by id or time."""

from collections.abc import Mapping, Sequence

import msgspec

from actors.exchanges.contract.feed import MS, Trades
from actors.exchanges.contract.feed_helpers import text_inside
from actors.exchanges.contract.history import ErrorResponse, Garbled, Page, Query, RestRequest
from actors.exchanges.contract.history_helpers import (
    NO_TRADES,
    Rows,
    TradeId,
    decoded,
    error_json,
    error_text,
    read_rows,
    trades,
)

# https://github.com/binance/binance-spot-api-docs/blob/master/rest-api.md (a5e0bc3), read 2026-11-22 via
# stored copy. Older copies wanted an API key for historicalTrades (unsure since when not): refused with 401.
WEIGHT = "request weight"
TRADES_WEIGHT, AGGREGATES_WEIGHT = 25.0, 4.0
TRADES, AGGREGATES = "/api/v3/historicalTrades", "/api/v3/aggTrades"
# https://developers.binance.com/docs/binance-spot-api-docs/errors: a parameter is wrong, too many, missing or
# unknown; the symbol is invalid. All else (-1000 unknown, -1001 disconnected, -1003 too many requests, ...) passes.
_FINAL = {"-1100", "-1101", "-1102", "-1103", "-1104", "-1105", "-1106", "-1121", "-1127", "-1128", "-1130"}
ROWS_MAX = 1000
SEARCH = "from "
WINDOW_MS = 3_600_000  # startTime and endTime may lie no further apart


class _Trade(
    msgspec.Struct,
    gc=False,
    rename={"volume": "qty", "buyer_is_maker": "isBuyerMaker"},
):
    """{"id":409018748,"price":"0.06436200","qty":"0.01580000","quoteQty":"0.00101691","time":1679280337591,
    "isBuyerMaker":false,"isBestMatch":true}, oldest first."""

    id: TradeId
    price: str
    volume: str
    time: int
    buyer_is_maker: bool


class _Aggregate(
    msgspec.Struct,
    gc=False,
    rename={"id": "a", "price": "p", "volume": "q", "first": "f", "time": "T", "buyer_is_maker": "m"},
):
    """{"a":202790190,"p":"7139.89000000","q":"0.06702300","f":222825297,"l":222825297,"T":1577977823305,
    "m":false,"M":true}, oldest first; `a` has its own id space, `f` to `l` are the trades in it."""

    id: TradeId
    price: str
    volume: str
    first: TradeId
    time: int
    buyer_is_maker: bool


_trades = msgspec.json.Decoder(list[_Trade])
_aggregates = msgspec.json.Decoder(list[_Aggregate])


def request(query: Query) -> RestRequest:
    """By id, inclusive, where one is known. A time is looked for among the aggregates, an hour at a time."""
    symbol, rows = ("symbol", query.market.native), ("limit", str(min(query.rows, ROWS_MAX)))
    searched_from = _searched_from(query)
    if searched_from is not None:
        hour = (("startTime", str(searched_from)), ("endTime", str(searched_from + WINDOW_MS - 1)))
        return RestRequest(
            path=AGGREGATES, query=(symbol, *hour, ("limit", "1")), costs={WEIGHT: AGGREGATES_WEIGHT}
        )
    first = ("fromId", query.cursor or str(query.trade_range.from_id))
    if query.channel == "trade":
        return RestRequest(path=TRADES, query=(symbol, first, rows), costs={WEIGHT: TRADES_WEIGHT})
    return RestRequest(path=AGGREGATES, query=(symbol, first, rows), costs={WEIGHT: AGGREGATES_WEIGHT})


def _searched_from(query: Query) -> int | None:
    """The beginning, in ms, of the hour in which the first trade is looked for; None when its id is known."""
    if query.cursor is not None:
        return int(query.cursor.removeprefix(SEARCH)) if query.cursor.startswith(SEARCH) else None
    return None if query.trade_range.from_id is not None else (query.trade_range.from_ns or 0) // MS


def parse(body: bytes, _headers: Mapping[str, str], query: Query) -> Page:
    if body[:1] == b"{" and text_inside(error_json(body), "code"):  # an error; with status 200 only behind a proxy
        raise parse_error(200, body).error("binance")
    searched_from = _searched_from(query)
    if searched_from is not None:
        return Page(NO_TRADES, _found(decoded(_aggregates, body), searched_from, query))
    native = query.market.native
    if query.channel == "trade":
        return _page(read_rows(_trades, body, lambda rows: _columns(rows, native), query), query)
    return _page(read_rows(_aggregates, body, lambda rows: _columns(rows, native), query), query)


def _page(rows: Rows[_Trade] | Rows[_Aggregate], query: Query) -> Page:
    if rows.total < min(query.rows, ROWS_MAX):
        return Page(rows.trades, None, rows.odd)
    following = rows.sound[-1].id + 1
    if query.cursor is not None and following <= int(query.cursor):
        raise Garbled(f"the rows lie before the id that was asked for ({query.cursor})")
    return Page(rows.trades, str(following), rows.odd)


def _columns(rows: Sequence[_Trade | _Aggregate], native: str) -> Trades:
    return trades(
        [native] * len(rows),
        [row.price for row in rows],
        [row.volume for row in rows],
        ["sell" if row.buyer_is_maker else "buy" for row in rows],
        [str(row.id) for row in rows],
        [row.time * MS for row in rows],
    )


def _found(hour: list[_Aggregate], searched_from: int, query: Query) -> str | None:
    """The cursor after a search: the first id, the next hour, or None where the range ends before that."""
    if hour:
        return str(hour[0].first if query.channel == "trade" else hour[0].id)
    following, to_ns = searched_from + WINDOW_MS, query.trade_range.to_ns
    return f"{SEARCH}{following}" if to_ns is not None and following * MS <= to_ns else None


def parse_error(_status: int, body: bytes) -> ErrorResponse:
    """{"code":-1121,"msg":"Invalid symbol."}"""
    return ErrorResponse(error_text(body, "code", "msg"), text_inside(error_json(body), "code") in _FINAL)
