"""Deribit over REST: an instrument's trades by time, then on by their sequence, oldest first."""

from collections.abc import Mapping

import msgspec

from actors.exchanges.contract.feed import MS, Trades
from actors.exchanges.contract.feed_helpers import S_NS, digits_column, text_inside
from actors.exchanges.contract.history import NEVER_NS, ErrorResponse, Page, Query, id_number
from actors.exchanges.contract.history_helpers import (
    NO_TRADES,
    decoded,
    error_json,
    error_text,
    excerpt,
    read_rows,
    trades,
)
from actors.exchanges.contract.rest import Garbled, Refused, RestRequest
from actors.exchanges.deribit.feed import Trade

# https://docs.deribit.com/api-reference/market-data/public-get_last_trades_by_instrument_and_time and
# .../public-get_last_trades_by_instrument, read 2026-11-26 via stored copies.
PATH = "/api/v2/public/get_last_trades_by_instrument"
ROWS_MAX = 1000
BUSY_S = 1.0
# How far back it goes is not documented; one's own trades are kept apart after 24 hours
# (https://docs.deribit.com/articles/accessing-historical-trades-orders, read 2026-11-28 via stored copy).
REACH_NS = 23 * 3_600 * S_NS
LOOK_MS = 86_400_000
REACHED, DOUBT = "reached", "doubt"
# Invalid params (an unknown instrument too), instrument not found, not found
# (https://docs.deribit.com/#rpc-error-codes).
_FINAL, _BUSY = frozenset(("-32602", "13020", "13333")), frozenset(("10028",))


class _Result(msgspec.Struct, gc=False):
    """{"trades":[...],"has_more":true}"""

    trades: msgspec.Raw
    has_more: bool


class _Answer(msgspec.Struct, gc=False):
    """With an `error` instead of a `result` where it is refused."""

    result: _Result | None = None
    error: msgspec.Raw = msgspec.Raw()


_decoder = msgspec.json.Decoder(_Answer)
_rows = msgspec.json.Decoder(list[Trade])


def request(query: Query) -> RestRequest:
    """By time, both ends inclusive and wanted; what follows a page by the sequence, which splits no millisecond.

    Where the history may not go back to the beginning of the range, a trade of the day before is asked for first:
    one proves that it does.
    """
    name, trade_range = ("instrument_name", query.market.native), query.trade_range
    rows = (("count", str(min(query.rows, ROWS_MAX))), ("sorting", "asc"))
    if query.cursor not in (None, REACHED, DOUBT):
        return RestRequest(path=PATH, query=(name, ("start_seq", str(query.cursor)), *rows))
    if trade_range.from_ns is None:
        raise Refused("deribit's history is asked by time, and no time is known for this range")
    if _looks_back(query):
        from_ms = trade_range.from_ns // MS
        times = (("start_timestamp", str(max(0, from_ms - LOOK_MS))), ("end_timestamp", str(from_ms - 1)))
        return RestRequest(path=f"{PATH}_and_time", query=(name, *times, ("count", "1"), ("sorting", "asc")))
    end_ns = max(query.now_ns, trade_range.from_ns) if trade_range.to_ns is None else trade_range.to_ns
    times = (("start_timestamp", str(trade_range.from_ns // MS)), ("end_timestamp", str(end_ns // MS + 1)))
    return RestRequest(path=f"{PATH}_and_time", query=(name, *times, *rows))


def _looks_back(query: Query) -> bool:
    return query.cursor is None and (query.trade_range.from_ns or 0) < query.now_ns - REACH_NS


def parse(body: bytes, _headers: Mapping[str, str], query: Query) -> Page:
    answer = decoded(_decoder, body)
    if bytes(answer.error):
        raise parse_error(200, body).error("deribit")
    if (result := answer.result) is None:
        raise Garbled(f"neither a result nor an error: {excerpt(body)}")
    rows = read_rows(_rows, bytes(result.trades), _columns, query)
    if _looks_back(query):
        return Page(NO_TRADES, REACHED if rows.sound else DOUBT)
    whole_from_ns = None
    if query.cursor == DOUBT:
        whole_from_ns = rows.sound[0].time * MS if rows.sound else NEVER_NS
    if not result.has_more or not rows.sound:
        return Page(rows.trades, None, rows.odd, whole_from_ns)
    last, asked = rows.sound[-1].sequence, id_number(query.cursor)
    if asked is not None and last < asked:
        raise Garbled(f"the rows end at {last}, before what was asked for ({query.cursor})")
    return Page(rows.trades, str(last + 1), rows.odd, whole_from_ns)


def _columns(rows: list[Trade]) -> Trades:
    return trades(
        [row.native for row in rows],
        digits_column([row.price for row in rows], "price"),
        digits_column([row.volume for row in rows], "amount"),
        [row.side for row in rows],
        [row.id for row in rows],
        [row.time * MS for row in rows],
    )


def parse_error(_status: int, body: bytes) -> ErrorResponse:
    """{"jsonrpc":"2.0","error":{"message":"Invalid params","data":{...},"code":-32602}}"""
    answer = error_json(body)
    code, reason = text_inside(answer, "error", "code"), text_inside(answer, "error", "message")
    if not code:
        return ErrorResponse(error_text(body))
    param = text_inside(answer, "error", "data", "reason")
    text = " ".join(filter(None, (code, reason, param)))
    return ErrorResponse(text, code in _FINAL, BUSY_S if code in _BUSY else None)
