"""Crypto.com over REST: an instrument's trades by time, newest first."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from actors.exchanges.contract.feed import MS, Trades
from actors.exchanges.contract.feed_helpers import text_inside
from actors.exchanges.contract.history import ErrorResponse, Page, Query, RestRequest
from actors.exchanges.contract.history_helpers import decoded, error_json, error_text, read_rows, trades
from actors.exchanges.contract.rest import Garbled, Refused

# https://exchange-docs.crypto.com/exchange/v1/rest-ws/index.html#public-get-trades, read 2026-11-26 via stored
# copies: `start_ts` inclusive and by default a day before the end, `end_ts` exclusive, both best in nanoseconds.
PATH = "/exchange/v1/public/get-trades"
ROWS_MAX = 150
DAY_NS = 86_400_000_000_000
BUSY_S = 1.0
# Unknown symbol, a missing or invalid argument, bad request.
_FINAL, _BUSY = frozenset(("40003", "40004", "30003")), frozenset(("42901", "10006"))
_SIDES = {"BUY": "buy", "SELL": "sell", "buy": "buy", "sell": "sell"}


class _Trade(
    msgspec.Struct,
    gc=False,
    rename={"native": "i", "id": "d", "price": "p", "volume": "q", "side": "s", "time": "t", "time_ns": "tn"},
):
    """{"d":"4611686018455979970","t":1686944282062,"tn":"1686944282062100000","q":"0.00453","p":"26386.00","s":"SELL",
    "i":"BTC_USD","m":"76423"}; older answers have no `tn`, and sides in small letters."""

    native: str
    id: str
    price: str
    volume: str
    side: Literal["BUY", "SELL", "buy", "sell"]
    time: int
    time_ns: str = ""


class _Result(msgspec.Struct, gc=False):
    data: msgspec.Raw


class _Answer(msgspec.Struct, gc=False):
    """{"id":-1,"method":"public/get-trades","code":0,"result":{"data":[...]}}"""

    code: int
    result: _Result | None = None


_decoder = msgspec.json.Decoder(_Answer)
_rows = msgspec.json.Decoder(list[_Trade])


def request(query: Query) -> RestRequest:
    """The newest before an end, and then before the oldest of the page before.

    The beginning lies before the range, as far back as it does by default: a row from there proves that the history
    reaches the range.
    """
    name, rows = ("instrument_name", query.market.native), ("count", str(min(query.rows, ROWS_MAX)))
    trade_range = query.trade_range
    if trade_range.from_ns is None:
        raise Refused("cryptocom's history is asked by time, and no time is known for this range")
    if query.cursor is not None:
        end_ns = int(query.cursor)
    elif trade_range.to_ns is not None:
        end_ns = (trade_range.to_ns // MS + 1) * MS
    else:
        end_ns = query.now_ns
    from_ns = trade_range.from_ns // MS * MS  # the stream has milliseconds
    start_ns = max(0, min(from_ns - MS, end_ns - DAY_NS))
    times = (("start_ts", str(start_ns)), ("end_ts", str(max(end_ns, from_ns + 1))))
    return RestRequest(path=PATH, query=(name, rows, *times))


def parse(body: bytes, _headers: Mapping[str, str], query: Query) -> Page:
    answer = decoded(_decoder, body)
    if answer.code != 0:
        raise parse_error(200, body).error("cryptocom")
    if answer.result is None:
        raise Garbled("an answer without a result")
    rows = read_rows(_rows, bytes(answer.result.data), _columns, query)
    if not rows.sound:
        return Page(rows.trades, None, rows.odd)
    if rows.total < min(query.rows, ROWS_MAX):  # nothing was cut off, so all of the oldest's time is there
        return Page(rows.trades, None, rows.odd, rows.sound[-1].time * MS)
    oldest_ns = _time_ns(rows.sound[-1])
    if query.cursor is not None and oldest_ns >= int(query.cursor):
        raise Garbled(f"the rows are not older than the time that was asked for ({query.cursor})")
    # The page may have been cut between fills of one time; where all of it has one, only older ones can follow.
    end_ns = oldest_ns + 1
    if str(end_ns) == query.cursor:
        return Page(rows.trades, str(oldest_ns), rows.odd, skips=True)
    return Page(rows.trades, str(end_ns), rows.odd)


def _time_ns(row: _Trade) -> int:
    return int(row.time_ns) if row.time_ns.isascii() and row.time_ns.isdecimal() else row.time * MS


def _columns(rows: list[_Trade]) -> Trades:
    return trades(
        [row.native for row in rows],
        [row.price for row in rows],
        [row.volume for row in rows],
        [_SIDES[row.side] for row in rows],
        [row.id for row in rows],
        [row.time * MS for row in rows],
    )


def parse_error(_status: int, body: bytes) -> ErrorResponse:
    """{"id":-1,"method":"public/get-trades","code":40004,"message":"Invalid instrument_name"}"""
    code = text_inside(error_json(body), "code")
    return ErrorResponse(error_text(body, "code", "message"), code in _FINAL, BUSY_S if code in _BUSY else None)
