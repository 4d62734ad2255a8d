"""Binance over REST: single trades by id (spot), aggregated ones by id or time. Its futures have other paths."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from actors.exchanges.contract.feed import MS, Trades
from actors.exchanges.contract.feed_helpers import S_NS, text_inside
from actors.exchanges.contract.history import NEVER_NS, ErrorResponse, Garbled, Page, Query, RestRequest
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """Where one of Binance's exchanges answers, and what each request weighs.

    `trades_by_id`: single trades can be requested by id without an API key; else the newest ones only.
    `reach_ns`: so far back the aggregates certainly go; None: without end.
    """

    name: str
    trades: str
    trades_weight: float
    trades_by_id: bool
    aggregates: str
    aggregates_weight: float
    reach_ns: int | None = None


SPOT = Paths(
    name="binance",
    trades="/api/v3/historicalTrades",
    trades_weight=25.0,
    trades_by_id=True,
    aggregates="/api/v3/aggTrades",
    aggregates_weight=4.0,
)
# https://developers.binance.com/docs/binance-spot-api-docs/errors: a parameter is wrong, too many, missing or
# unknown; the symbol is invalid. All else (-1000 unknown, -1001 disconnected, -1003 too many requests, ...) passes.
_FINAL = {"-1100", "-1101", "-1102", "-1103", "-1104", "-1105", "-1106", "-1121", "-1127", "-1128", "-1130"}
ROWS_MAX = 1000
SEARCH, DOUBT = "from ", "perhaps from "
WINDOW_MS = 3_600_000  # startTime and endTime may lie no further apart
FUTURES_REACH_NS = 23 * 3_600 * S_NS  # the newer documents have 24 hours, older ones a year; requests take time


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


def request(query: Query, paths: Paths = SPOT) -> RestRequest:
    """By id, inclusive, where one is known. A time is looked for among the aggregates, an hour at a time."""
    symbol, rows = ("symbol", query.market.native), ("limit", str(min(query.rows, ROWS_MAX)))
    single = query.channel == "trade"
    if single and not paths.trades_by_id:
        return RestRequest(path=paths.trades, query=(symbol, rows), costs={WEIGHT: paths.trades_weight})
    searched_from = _searched_from(query, paths)
    if searched_from is not None:
        hour = (("startTime", str(searched_from)), ("endTime", str(searched_from + WINDOW_MS - 1)))
        parameters = (symbol, *hour, ("limit", "1"))
        return RestRequest(path=paths.aggregates, query=parameters, costs={WEIGHT: paths.aggregates_weight})
    first = ("fromId", query.cursor or str(query.trade_range.from_id))
    path, weight = (paths.trades, paths.trades_weight) if single else (paths.aggregates, paths.aggregates_weight)
    return RestRequest(path=path, query=(symbol, first, rows), costs={WEIGHT: weight})


def _searched_from(query: Query, paths: Paths) -> int | None:
    """The beginning, in ms, of the hour in which the first trade is looked for; None when its id is known.

    Where the history may not go back to the beginning of the range, the search begins an hour before it: a trade
    there proves that it does. After an hour without one, only a trade at the very beginning does.
    """
    if query.cursor is not None:
        searching = query.cursor.startswith((SEARCH, DOUBT))
        return int(query.cursor.removeprefix(DOUBT).removeprefix(SEARCH)) if searching else None
    if query.trade_range.from_id is not None:
        return None
    from_ms = (query.trade_range.from_ns or 0) // MS
    return max(0, from_ms - WINDOW_MS) if _may_be_cut(query, paths) else from_ms


def _may_be_cut(query: Query, paths: Paths) -> bool:
    """Whether the range may begin before the history does."""
    return paths.reach_ns is not None and (query.trade_range.from_ns or 0) < query.now_ns - paths.reach_ns


def parse(body: bytes, _headers: Mapping[str, str], query: Query, paths: Paths = SPOT) -> Page:
    if body[:1] == b"{" and text_inside(error_json(body), "code"):  # an error; with status 200 only behind a proxy
        raise parse_error(200, body).error(paths.name)
    native, newest_only = query.market.native, query.channel == "trade" and not paths.trades_by_id
    searched_from = None if newest_only else _searched_from(query, paths)
    if searched_from is not None:
        hour = decoded(_aggregates, body)
        if query.cursor is None and _may_be_cut(query, paths):
            return Page(NO_TRADES, f"{SEARCH if hour else DOUBT}{(query.trade_range.from_ns or 0) // MS}")
        whole_from_ns = None
        if query.cursor is not None and query.cursor.startswith(DOUBT):
            whole_from_ns = (hour[0].time if hour else searched_from + WINDOW_MS) * MS
        return Page(NO_TRADES, _found(hour, searched_from, query), whole_from_ns=whole_from_ns)
    if query.channel == "trade":
        rows = read_rows(_trades, body, lambda rows: _columns(rows, native), query)
        return _newest(rows, query) if newest_only else _page(rows, query)
    return _page(read_rows(_aggregates, body, lambda rows: _columns(rows, native), query), query)


def _newest(rows: Rows[_Trade], query: Query) -> Page:
    """The newest trades and no others. Of the oldest's millisecond a full page may lack some."""
    if not rows.sound:
        return Page(rows.trades, None, rows.odd, NEVER_NS)
    full = rows.total >= min(query.rows, ROWS_MAX)
    return Page(rows.trades, None, rows.odd, (rows.sound[0].time + full) * MS)


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
