"""Upbit over REST: a market's trades of the last eight days, newest first."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import msgspec

from actors.exchanges.contract.feed import MS, Trades
from actors.exchanges.contract.feed_helpers import S_NS, digits_column, inside
from actors.exchanges.contract.history import ErrorResponse, Page, Query
from actors.exchanges.contract.history_helpers import TradeId, error_json, error_text, excerpt, read_rows, trades
from actors.exchanges.contract.rest import Garbled, Refused, RestRequest

# https://docs.upbit.com/kr/v1.5.9/reference/%EC%B5%9C%EA%B7%BC-%EC%B2%B4%EA%B2%B0-%EB%82%B4%EC%97%AD,
# read 2026-11-26 via stored copy.
# A question without `days_ago` is about the day (UTC) of the newest trade, one with it about so many days before.
ROWS_MAX = 500
DAYS_AGO_MAX = 7
DAY_S = 86_400
BAN_S = 60.0  # ours: 418 follows on many 429 and names the time in words only
_SIDES = {"ASK": "sell", "BID": "buy"}  # the taker's


class _Trade(
    msgspec.Struct,
    gc=False,
    rename={
        "native": "market",
        "time": "timestamp",
        "price": "trade_price",
        "volume": "trade_volume",
        "side": "ask_bid",
        "id": "sequential_id",
    },
):
    """{"market":"KRW-BTC","trade_date_utc":"2018-07-09","trade_time_utc":"01:21:21","timestamp":1531099281000,
    "trade_price":7493000.00000000,"trade_volume":0.00671937,"prev_closing_price":7516000.00000000,
    "change_price":-23000.00000000,"ask_bid":"ASK","sequential_id":15310992810000000}, newest first; answers of 2018
    lack the id."""

    native: str
    time: int
    price: msgspec.Raw
    volume: msgspec.Raw
    side: Literal["ASK", "BID"]
    id: TradeId


_decoder = msgspec.json.Decoder(list[_Trade])


class _Cursor(NamedTuple):
    """Where a page begins: before the trade `before` of the day that `end_s` lies in, or before second `end_s`.

    `newest` is the day of the market's newest trade; days and seconds count from 1970 (UTC).
    """

    newest: int
    end_s: int
    before: str = ""

    @property
    def day(self) -> int:
        """The day asked about: that of the last second before the end."""
        return (self.end_s - 1) // DAY_S

    def __str__(self) -> str:
        return " ".join(map(str, self)).strip()


def _cursor(text: str) -> _Cursor:
    newest, end_s, *before = text.split()
    return _Cursor(int(newest), int(end_s), *before)


def request(query: Query) -> RestRequest:
    parameters = [("market", query.market.native), ("count", str(min(query.rows, ROWS_MAX)))]
    if query.cursor is not None:
        cursor = _cursor(query.cursor)
        if cursor.before:
            parameters.append(("cursor", cursor.before))
        elif cursor.end_s % DAY_S:
            hours, seconds = divmod(cursor.end_s % DAY_S, 3600)
            parameters.append(("to", f"{hours:02d}{seconds // 60:02d}{seconds % 60:02d}"))
        if cursor.day < cursor.newest:
            parameters.append(("days_ago", str(cursor.newest - cursor.day)))
    return RestRequest(path="/v1/trades/ticks", query=tuple(parameters))


def parse(body: bytes, _headers: Mapping[str, str], query: Query) -> Page:
    if isinstance(inside(error_json(body), "error"), dict):  # with status 200 only behind a proxy
        raise parse_error(200, body).error("upbit")
    rows = read_rows(_decoder, body, _columns, query)
    before = None if query.cursor is None else _cursor(query.cursor)
    return Page(rows.trades, _following(rows.sound, before, query), rows.odd)


def _columns(rows: list[_Trade]) -> Trades:
    return trades(
        [row.native for row in rows],
        digits_column([row.price for row in rows], "trade_price"),
        digits_column([row.volume for row in rows], "trade_volume"),
        [_SIDES[row.side] for row in rows],
        [str(row.id) for row in rows],
        [row.time * MS for row in rows],
    )


def _following(rows: list[_Trade], asked: _Cursor | None, query: Query) -> str | None:
    """The next page's cursor.

    Whether `cursor` leads into the day before is not documented: where a day gives no more rows, the day before is
    asked for by itself.
    """
    if not rows:
        if asked is None:
            return None
        following = _Cursor(asked.newest, asked.day * DAY_S)
    else:
        last, to_ns = rows[-1], query.trade_range.to_ns
        if asked is not None and last.time // 1000 > asked.end_s:
            raise Garbled(f"the rows end at {last.time}, later than what was asked for")
        newest = asked.newest if asked is not None else rows[0].time // 1000 // DAY_S
        following = _Cursor(newest, last.time // 1000 + 1, str(last.id))
        if asked is None and to_ns is not None and last.time * MS > to_ns:
            following = _Cursor(newest, to_ns // S_NS + 1)  # the whole page came later: go there at once
    if following.newest - following.day > DAYS_AGO_MAX:
        if not rows or asked is not None:
            return None
        raise Refused(f"upbit's history goes back {DAYS_AGO_MAX} days from the day of the newest trade")
    return str(following)


def parse_error(status: int, body: bytes) -> ErrorResponse:
    """{"error":{"name":404,"message":"Code not found"}}; what is over the limit is plain text with 429."""
    error = inside(error_json(body), "error")
    if not isinstance(error, dict):
        return ErrorResponse(excerpt(body))
    return ErrorResponse(error_text(msgspec.json.encode(error), "name", "message"), status in (400, 404))
