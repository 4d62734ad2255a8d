"""BitMEX over REST: a market's trades by time, oldest first, without end."""

from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from actors.exchanges.bitmex.feed import SIDES, SPOT_MARK, Trade
from actors.exchanges.contract.feed import Trades
from actors.exchanges.contract.feed_helpers import S_NS, digits_column, rfc3339_ns, text_inside
from actors.exchanges.contract.history import ErrorResponse, Page, Query, RestRequest
from actors.exchanges.contract.history_helpers import error_json, error_text, excerpt, read_rows, trades
from actors.exchanges.contract.rest import Garbled, Refused

# https://www.bitmex.com/api/explorer/#!/Trade/Trade_get, read 2026-11-26 via stored copies.
PATH = "/api/v1/trade"
ROWS_MAX = 1000
BUSY_S = 2.0
_rows = msgspec.json.Decoder(list[Trade])


def request(query: Query) -> RestRequest:
    """Both times are inclusive. A cursor is the time of a page's last trade, and how many trades of that time to
    pass over, if any."""
    trade_range = query.trade_range
    if trade_range.from_ns is None:
        raise Refused("bitmex's history is asked by time, and no time is known for this range")
    start, _, skip = (query.cursor or _iso(trade_range.from_ns)).partition(" ")
    parameters = [("symbol", query.market.native), ("count", str(min(query.rows, ROWS_MAX)))]
    parameters += [("start", skip)] if skip else []
    parameters += [("startTime", start)]
    if trade_range.to_ns is not None:
        parameters.append(("endTime", max(start, _iso(trade_range.to_ns + S_NS // 1000))))
    return RestRequest(path=PATH, query=(*parameters, ("reverse", "false")))


def _iso(ns: int) -> str:
    """Milliseconds in UTC."""
    return f"{datetime.fromtimestamp(ns // S_NS, UTC):%Y-%m-%dT%H:%M:%S}.{ns % S_NS // 1_000_000:03d}Z"


def parse(body: bytes, _headers: Mapping[str, str], query: Query) -> Page:
    if body.lstrip()[:1] == b"{":
        if inside_error(body):
            raise parse_error(200, body).error("bitmex")
        raise Garbled(f"no list of trades: {excerpt(body)}")
    rows = read_rows(_rows, body, _columns, query)
    if rows.total < min(query.rows, ROWS_MAX) or not rows.sound:
        return Page(rows.trades, None, rows.odd)
    start, _, skipped = (query.cursor or "").partition(" ")
    last = rows.sound[-1].time
    if last < start:
        raise Garbled(f"the rows end at {last}, before what was asked for ({start})")
    # The page may have been cut between fills of one time, of which some may be equal: only in one page can they be
    # counted. So the next page begins with all of them, unless this one has no others.
    same = sum(1 for row in rows.sound if row.time == last)
    if same < len(rows.sound):
        return Page(rows.trades, last, rows.odd)
    return Page(rows.trades, f"{last} {same + (int(skipped or '0') if last == start else 0)}", rows.odd)


def inside_error(body: bytes) -> bool:
    """Whether an answer is an error."""
    return bool(text_inside(error_json(body), "error", "message"))


def _columns(rows: list[Trade]) -> Trades:
    return trades(
        [row.native for row in rows],
        digits_column([row.price for row in rows], "price"),
        digits_column([row.base if SPOT_MARK in row.native else row.contracts for row in rows], "size"),
        [SIDES[row.side] for row in rows],
        [row.id for row in rows],
        [rfc3339_ns(row.time) for row in rows],
    )


def parse_error(status: int, body: bytes) -> ErrorResponse:
    """{"error":{"message":"...","name":"HTTPError"}}; 429 names its wait in the header retry-after."""
    answer = error_json(body)
    name, message = text_inside(answer, "error", "name"), text_inside(answer, "error", "message")
    busy = status == 429 or name == "RateLimitError"
    text = f"{name}: {message}" if message else error_text(body)
    return ErrorResponse(text, status in (400, 404) and bool(message), BUSY_S if busy else None)
