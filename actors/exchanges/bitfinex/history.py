"""Bitfinex over REST: a pair's trades by time, oldest first, without end."""

from collections.abc import Mapping

import msgspec

from actors.exchanges.bitfinex.feed import Row, side_of
from actors.exchanges.contract.feed import MS, Trades
from actors.exchanges.contract.feed_helpers import digits_column
from actors.exchanges.contract.history import ErrorResponse, Page, Query
from actors.exchanges.contract.history_helpers import error_json, excerpt, read_rows, trades
from actors.exchanges.contract.rest import Garbled, Refused, RestRequest

# https://docs.bitfinex.com/reference/rest-public-trades and, for errors and the pause, notes of clients, read
# 2026-11-26 via stored copies.
ROWS_MAX = 10_000
BUSY_S = 60.0  # so long an address that asked too often is refused
_BUSY, _FINAL = 11010, (10020, 10300)  # "ratelimit: error"; a parameter, or the symbol, is wrong (unsure)

_decoder = msgspec.json.Decoder(list[Row])


def request(query: Query) -> RestRequest:
    """`start` and `end` are milliseconds, both inclusive; `sort` 1 is oldest first."""
    trade_range = query.trade_range
    if query.cursor is None and trade_range.from_ns is None:
        raise Refused("bitfinex's history is requested by time, and this range has no time")
    start = query.cursor or str((trade_range.from_ns or 0) // MS)
    parameters = [("limit", str(min(query.rows, ROWS_MAX))), ("start", start)]
    if trade_range.to_ns is not None:
        parameters.append(("end", str(max(int(start), trade_range.to_ns // MS + 1))))
    return RestRequest(path=f"/v2/trades/{query.market.native}/hist", query=(*parameters, ("sort", "1")))


def parse(body: bytes, _headers: Mapping[str, str], query: Query) -> Page:
    if body.lstrip()[:8] == b'["error"':
        raise parse_error(200, body).error("bitfinex")
    native = query.market.native
    rows = read_rows(_decoder, body, lambda rows: _columns(rows, native), query)
    asked = int(query.cursor or (query.trade_range.from_ns or 0) // MS)
    times = [row.time for row in rows.sound]
    if times and times[0] < asked:
        raise Garbled(f"the rows begin at {times[0]}, before what was asked for ({asked})")
    if rows.total < min(query.rows, ROWS_MAX):
        return Page(rows.trades, None, rows.odd)
    # The page may have been cut between trades of one millisecond; a whole page of one leads nowhere but on.
    return Page(rows.trades, str(max(times[-1], asked + 1)), rows.odd, skips=times[-1] <= asked)


def _columns(rows: list[Row], native: str) -> Trades:
    amounts = digits_column([row.amount for row in rows], "amount")
    return trades(
        [native] * len(rows),
        digits_column([row.price for row in rows], "price"),
        [amount.removeprefix("-") for amount in amounts],
        [side_of(amount) for amount in amounts],
        digits_column([row.id for row in rows], "id"),
        [row.time * MS for row in rows],
    )


def parse_error(_status: int, body: bytes) -> ErrorResponse:
    """["error",11010,"ratelimit: error"]"""
    match error_json(body):
        case ["error", int(code), str(reason), *_]:
            return ErrorResponse(f"{code} {reason}", code in _FINAL, BUSY_S if code == _BUSY else None)
    return ErrorResponse(excerpt(body))
