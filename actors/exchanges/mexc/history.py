"""MEXC over REST: a market's newest trades and no way further back."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from actors.exchanges.contract.feed import MS, Trades
from actors.exchanges.contract.feed_helpers import digits_column, text_inside
from actors.exchanges.contract.history import ErrorResponse, Page, Query
from actors.exchanges.contract.history_helpers import decoded, error_json, error_text, read_rows, trades
from actors.exchanges.contract.rest import Garbled, RestRequest
from actors.exchanges.mexc.feed import SIDES, SPOT_URL

# https://www.mexc.com/api-docs/spot-v3/market-data-endpoints and https://www.mexc.com/api-docs/futures, read
# 2026-11-26 via stored copies.
SPOT_ROWS_MAX, FUTURES_ROWS_MAX = 1000, 100
FUTURES_BASE = "https://contract.mexc.com"
# A symbol is bad or not supported; a contract does not exist or is not available, a parameter is wrong.
_FINAL = {"-1121", "10007", "700004", "700008", "600", "1001", "1002", "6005"}
_BUSY = {"429", "501", "510"}
BUSY_S = 5.0


class _SpotTrade(msgspec.Struct, gc=False, rename={"volume": "qty", "maker_bought": "isBuyerMaker"}):
    """{"id":null,"price":"3219.58","qty":"0.04757","quoteQty":"153.1554206","time":1737623988881,
    "isBuyerMaker":false,"isBestMatch":true,"tradeType":"BID"}: ids are null."""

    price: str
    volume: str
    maker_bought: bool
    time: int


class _FuturesTrade(
    msgspec.Struct, gc=False, rename={"price": "p", "volume": "v", "side": "T", "time": "t", "id": "i"}
):
    """{"p":31199,"v":18,"T":1,"O":3,"M":2,"t":1609831235985}; one that comes with an id keeps it."""

    price: msgspec.Raw
    volume: msgspec.Raw
    side: Literal[1, 2]
    time: int
    id: str | None = None


class _Answer(msgspec.Struct, gc=False):
    """{"success":true,"code":0,"data":[...]}, of contracts alone."""

    success: bool
    data: msgspec.Raw = msgspec.Raw()


_decoder = msgspec.json.Decoder(_Answer)
_spot_rows, _futures_rows = msgspec.json.Decoder(list[_SpotTrade]), msgspec.json.Decoder(list[_FuturesTrade])


def request(query: Query) -> RestRequest:
    native = query.market.native
    if query.market.endpoint == SPOT_URL:
        limit = str(min(query.rows, SPOT_ROWS_MAX))
        return RestRequest(path="/api/v3/trades", query=(("symbol", native), ("limit", limit)))
    limit = str(min(query.rows, FUTURES_ROWS_MAX))
    return RestRequest(base=FUTURES_BASE, path=f"/api/v1/contract/deals/{native}", query=(("limit", limit),))


def parse(body: bytes, _headers: Mapping[str, str], query: Query) -> Page:
    native = query.market.native
    if body.lstrip()[:1] == b"{" and text_inside(error_json(body), "code") not in ("", "0", "200"):
        raise parse_error(200, body).error("mexc")
    if query.market.endpoint == SPOT_URL:
        spot = read_rows(_spot_rows, body, lambda rows: _spot(rows, native), query)
        return Page(spot.trades, None, spot.odd)
    answer = decoded(_decoder, body)
    if not answer.success:
        raise Garbled("the answer is no success and has no code")
    futures = read_rows(_futures_rows, bytes(answer.data), lambda rows: _futures(rows, native), query)
    return Page(futures.trades, None, futures.odd)


def _spot(rows: list[_SpotTrade], native: str) -> Trades:
    return trades(
        [native] * len(rows),
        [row.price for row in rows],
        [row.volume for row in rows],
        ["sell" if row.maker_bought else "buy" for row in rows],
        [None] * len(rows),
        [row.time * MS for row in rows],
    )


def _futures(rows: list[_FuturesTrade], native: str) -> Trades:
    return trades(
        [native] * len(rows),
        digits_column([row.price for row in rows], "p"),
        digits_column([row.volume for row in rows], "v"),
        [SIDES[row.side] for row in rows],
        [row.id for row in rows],
        [row.time * MS for row in rows],
    )


def parse_error(_status: int, body: bytes) -> ErrorResponse:
    """Spot {"code":-1121,"msg":"Invalid symbol."}, contracts {"success":false,"code":1001,"message":"..."}"""
    code = text_inside(error_json(body), "code")
    text = error_text(body, "code", "msg", "message")
    return ErrorResponse(text, code in _FINAL, BUSY_S if code in _BUSY else None)
