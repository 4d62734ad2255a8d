"""Bitget over REST: a market's trades back from an id or a time, newest first, 90 days."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from actors.exchanges.bitget.feed import SEPARATOR, SPOT
from actors.exchanges.contract.feed import MS, Trades
from actors.exchanges.contract.feed_helpers import ms_texts_ns, text_inside
from actors.exchanges.contract.history import ErrorResponse, Page, Query
from actors.exchanges.contract.history_helpers import decoded, error_json, error_text, read_rows, trades
from actors.exchanges.contract.rest import Garbled, RestRequest

# https://www.bitget.com/api-doc/spot/market/Get-Market-Trades and .../contract/market/Get-Fills-History, read
# 2026-11-26 via stored copies: from startTime to endTime are at most 7 days, and both default to the last 7.
ROWS_MAX = 1000
WINDOW_MS = 7 * 24 * 3600 * 1000
_OK = "00000"
# A parameter is wrong, the market does not exist or has been taken off.
_FINAL = {"40017", "40019", "40020", "40034", "40304", "40309"}
_BUSY = {"429", "30007", "40010", "40725"}
BUSY_S = 5.0


class _Trade(msgspec.Struct, gc=False, rename={"id": "tradeId", "volume": "size", "time": "ts"}):
    """{"symbol":"BTCUSDT","tradeId":"1","side":"Sell","price":"26372.5","size":"9.25","ts":"1695865151000"}: the
    side has a capital here, at least for perpetuals."""

    id: str
    price: str
    volume: str
    side: Literal["buy", "sell", "Buy", "Sell"]
    time: str


class _Answer(msgspec.Struct, gc=False):
    """{"code":"00000","msg":"success","requestTime":1695865481335,"data":[...]}; another code is an error."""

    code: str
    data: msgspec.Raw = msgspec.Raw()


_decoder = msgspec.json.Decoder(_Answer)
_rows = msgspec.json.Decoder(list[_Trade])


def request(query: Query) -> RestRequest:
    """The cursor is "ID MS": of the oldest row so far. Ids fall with time, but alone they would be sought in the
    last 7 days only."""
    kind, _, name = query.market.native.partition(SEPARATOR)
    trade_range, below = query.trade_range, ""
    end_ms = (trade_range.to_ns or query.now_ns) // MS + 1
    if query.cursor is not None:
        below, oldest_ms = query.cursor.split()
        end_ms = int(oldest_ms) + 1
    elif trade_range.to_id is not None:
        below = str(trade_range.to_id + 1)
    parameters = [("symbol", name), ("limit", str(min(query.rows, ROWS_MAX)))]
    if kind != SPOT:
        parameters.insert(1, ("productType", kind))
    if below:
        parameters.append(("idLessThan", below))
    parameters += [("startTime", str(max(0, end_ms - WINDOW_MS))), ("endTime", str(end_ms))]
    path = "/api/v2/spot/market/fills-history" if kind == SPOT else "/api/v2/mix/market/fills-history"
    return RestRequest(path=path, query=tuple(parameters))


def parse(body: bytes, _headers: Mapping[str, str], query: Query) -> Page:
    answer = decoded(_decoder, body)
    if answer.code != _OK:
        raise parse_error(200, body).error("bitget")
    native = query.market.native
    rows = read_rows(_rows, bytes(answer.data), lambda rows: _columns(rows, native), query)
    if not rows.sound:
        return Page(rows.trades, None, rows.odd)
    cursor = f"{rows.sound[-1].id} {rows.sound[-1].time}"
    if query.cursor is not None and int(rows.sound[-1].time) > int(query.cursor.split()[1]):
        raise Garbled(f"the rows are not older than what was asked for ({query.cursor})")
    return Page(rows.trades, cursor, rows.odd)


def _columns(rows: list[_Trade], native: str) -> Trades:
    return trades(
        [native] * len(rows),
        [row.price for row in rows],
        [row.volume for row in rows],
        [row.side.lower() for row in rows],
        [row.id for row in rows],
        ms_texts_ns([row.time for row in rows]),
    )


def parse_error(_status: int, body: bytes) -> ErrorResponse:
    """{"code":"40034","msg":"Parameter NOPEUSDT does not exist","requestTime":1695865481335,"data":null}"""
    code = text_inside(error_json(body), "code")
    return ErrorResponse(error_text(body, "code", "msg"), code in _FINAL, BUSY_S if code in _BUSY else None)
