"""Gate over REST: a market's trades back from a time, newest first, page by page."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from actors.exchanges.contract.feed import Trades
from actors.exchanges.contract.feed_helpers import S_NS, digits, digits_column, seconds_ns, text_inside
from actors.exchanges.contract.history import ErrorResponse, Page, Query
from actors.exchanges.contract.history_helpers import error_json, error_text, read_rows, trades
from actors.exchanges.contract.rest import RestRequest
from actors.exchanges.gate.feed import DELIVERY_URL, FUTURES, FUTURES_URL, HEADERS, SPOT, SPOT_URL, ms_ns, side_of

# https://www.gate.com/docs/developers/apiv4/en/ (/spot/trades and /futures/{settle}/trades), read 2026-11-26 via
# stored copies. Paging by id ("last_id") is no longer recommended, and contracts no longer have it.
ROWS_MAX = 1000
PAGES_MAX = 100  # spot goes back over 100,000 rows so; then the time is moved
_FINAL = {
    *("INVALID_CURRENCY", "INVALID_CURRENCY_PAIR", "CONTRACT_NOT_FOUND", "INVALID_PARAM_VALUE"),
    *("INVALID_PROTOCOL", "INVALID_ARGUMENT", "INVALID_REQUEST_BODY", "MISSING_REQUIRED_PARAM"),
}
_BUSY = {"TOO_MANY_REQUESTS", "TOO_BUSY", "SERVER_ERROR", "INTERNAL"}
BUSY_S = 10.0

# Samples have four decimals of a millisecond in the stream, and three here. Rows of contracts without
# `create_time_ms`, which are documented only, are whole seconds: that is not allowed for.
SLACK_NS = 1_000


class _SpotTrade(
    msgspec.Struct,
    gc=False,
    rename={"volume": "amount", "time": "create_time_ms"},
):
    """{"id":"1232893232","create_time":"1548000000","create_time_ms":"1548000000123.456","currency_pair":"BTC_USDT",
    "side":"buy","amount":"0.15","price":"0.03","sequence_id":"588018"}; the side is the taker's."""

    id: str
    side: Literal["buy", "sell"]
    price: str
    volume: str
    time: str


class _FuturesTrade(msgspec.Struct, gc=False, rename={"seconds": "create_time", "time": "create_time_ms"}):
    """{"id":121234231,"create_time":1514764800,"create_time_ms":1514764800.123,"contract":"BTC_USDT","size":-100,
    "price":"100.123"}: here create_time_ms is seconds with three decimals, and may be missing."""

    id: int
    size: msgspec.Raw
    price: msgspec.Raw
    seconds: msgspec.Raw
    time: msgspec.Raw = msgspec.Raw()
    is_internal: bool = False


_spot_rows = msgspec.json.Decoder(list[_SpotTrade])
_futures_rows = msgspec.json.Decoder(list[_FuturesTrade])


def request(query: Query) -> RestRequest:
    """The cursor is "TO PAGE": `to` stays as it is from page to page, so that new trades move none of them."""
    to, page = _cursor(query)
    endpoint, name, rows = query.market.endpoint, query.market.native, min(query.rows, ROWS_MAX)
    window = (("limit", str(rows)), ("to", str(to)))
    if endpoint == SPOT_URL:
        parameters = (("currency_pair", name.removeprefix(SPOT)), *window, ("page", str(page)))
        return RestRequest(path="/api/v4/spot/trades", query=parameters)
    kind, prefix = ("delivery", DELIVERY_URL) if endpoint.startswith(DELIVERY_URL) else ("futures", FUTURES_URL)
    parameters = (("contract", name.removeprefix(FUTURES)), *window, ("offset", str((page - 1) * rows)))
    coin = endpoint.removeprefix(prefix)
    return RestRequest(path=f"/api/v4/{kind}/{coin}/trades", query=parameters, headers=HEADERS)


def _cursor(query: Query) -> tuple[int, int]:
    if query.cursor is not None:
        to, page = query.cursor.split()
        return int(to), int(page)
    to_ns = query.trade_range.to_ns or query.now_ns
    return to_ns // S_NS + 1, 1


def parse(body: bytes, _headers: Mapping[str, str], query: Query) -> Page:
    if body.lstrip()[:1] == b"{" and text_inside(error_json(body), "label"):  # an error, though the status is 200
        raise parse_error(200, body).error("gate")
    native = query.market.native
    if query.market.endpoint == SPOT_URL:
        spot = read_rows(_spot_rows, body, lambda rows: _spot(rows, native), query)
        return Page(spot.trades, _following(query, spot.total, spot.trades), spot.odd)
    futures = read_rows(_futures_rows, body, lambda rows: _futures(rows, native), query)
    return Page(futures.trades, _following(query, futures.total, futures.trades), futures.odd)


def _following(query: Query, total: int, page: Trades) -> str | None:
    if total < min(query.rows, ROWS_MAX):
        return None
    to, number = _cursor(query)
    if number < PAGES_MAX:
        return f"{to} {number + 1}"
    return f"{(page.exchange_ns[-1] or 0) // S_NS + 1} 1"


def _spot(rows: list[_SpotTrade], native: str) -> Trades:
    return trades(
        [native] * len(rows),
        [row.price for row in rows],
        [row.volume for row in rows],
        [row.side for row in rows],
        [row.id for row in rows],
        [ms_ns(row.time) for row in rows],
    )


def _futures(rows: list[_FuturesTrade], native: str) -> Trades:
    sizes = digits_column([row.size for row in rows], "size")
    made = trades(
        [native] * len(rows),
        digits_column([row.price for row in rows], "price"),
        [size.removeprefix("-") for size in sizes],
        [side_of(size) for size in sizes],
        [str(row.id) for row in rows],
        [_time_ns(row) for row in rows],
    )
    made.off_book = [row.is_internal for row in rows] if any(row.is_internal for row in rows) else None
    return made


def _time_ns(row: _FuturesTrade) -> int:
    """Should create_time_ms be what its name says, its whole part is longer than that of create_time."""
    seconds = digits(row.seconds, "create_time")
    if not bytes(row.time):
        return seconds_ns(seconds)
    time = digits(row.time, "create_time_ms")
    whole = time.partition(".")[0]
    return ms_ns(time) if len(whole) > len(seconds.partition(".")[0]) else seconds_ns(time)


def parse_error(_status: int, body: bytes) -> ErrorResponse:
    """{"label":"INVALID_CURRENCY_PAIR","message":"Invalid currency pair NOPE_USDT"}"""
    label = text_inside(error_json(body), "label")
    return ErrorResponse(error_text(body, "label", "message"), label in _FINAL, BUSY_S if label in _BUSY else None)
