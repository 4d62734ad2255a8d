"""Poloniex over REST: a market's newest trades and no way further back."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from actors.exchanges.contract.feed import MS, Trades
from actors.exchanges.contract.feed_helpers import text_inside
from actors.exchanges.contract.history import ErrorResponse, Page, Query, RestRequest
from actors.exchanges.contract.history_helpers import decoded, error_json, error_text, excerpt, read_rows, trades
from actors.exchanges.contract.rest import Garbled
from actors.exchanges.poloniex.feed import SWAP

# https://api-docs.poloniex.com/spot/api/public/market-data#trades and .../v3/futures/api/market/get-trades-info,
# read # 2026-11-26 via stored copies.
SWAP_PATH = "/v3/market/trades"
ROWS_MAX = 1000
OK = 200  # the code of a v3 answer that is none of an error
BUSY_S = 1.0
_FINAL, _BUSY = frozenset(("24101", "24104", "21305")), frozenset(("429",))
_SIDES = {"BUY": "buy", "SELL": "sell"}


class _Trade(msgspec.Struct, gc=False, rename={"volume": "quantity", "side": "takerSide", "time": "createTime"}):
    """{"id":"128015795","price":"79525.15","quantity":"0.000203","amount":"16.14360545","takerSide":"BUY",
    "ts":1743970367446,"createTime":1743970367435}, newest first."""

    id: str
    price: str
    volume: str
    side: Literal["BUY", "SELL"]
    time: int


class _Fill(msgspec.Struct, gc=False, rename={"price": "px", "volume": "qty", "time": "cT"}):
    """{"id":105091009,"side":"sell","px":"103868.38","qty":"1","amt":"103.86838","cT":1734354688285}, newest
    first."""

    id: int
    price: str
    volume: str
    side: Literal["buy", "sell"]
    time: int


class _Answer(msgspec.Struct, gc=False):
    """{"code":200,"data":[...],"msg":"Success"}; errors come with status 200 as well."""

    code: int
    data: msgspec.Raw = msgspec.Raw()


_rows, _fills = msgspec.json.Decoder(list[_Trade]), msgspec.json.Decoder(list[_Fill])
_answer = msgspec.json.Decoder(_Answer)


def request(query: Query) -> RestRequest:
    native, rows = query.market.native, ("limit", str(min(query.rows, ROWS_MAX)))
    if query.market.endpoint == SWAP:
        return RestRequest(path=SWAP_PATH, query=(("symbol", native), rows))
    return RestRequest(path=f"/markets/{native}/trades", query=(rows,))


def parse(body: bytes, _headers: Mapping[str, str], query: Query) -> Page:
    native = query.market.native
    if query.market.endpoint != SWAP:
        if text_inside(error_json(body), "code"):
            raise parse_error(200, body).error("poloniex")
        spot = read_rows(_rows, body, lambda rows: _spot(rows, native), query)
        return Page(spot.trades, None, spot.odd)
    answer = decoded(_answer, body)
    if answer.code != OK:
        raise parse_error(200, body).error("poloniex")
    if not bytes(answer.data):
        raise Garbled(f"no trades in the answer: {excerpt(body)}")
    swap = read_rows(_fills, bytes(answer.data), lambda rows: _swap(rows, native), query)
    return Page(swap.trades, None, swap.odd)


def _spot(rows: list[_Trade], native: str) -> Trades:
    return trades(
        [native] * len(rows),
        [row.price for row in rows],
        [row.volume for row in rows],
        [_SIDES[row.side] for row in rows],
        [row.id for row in rows],
        [row.time * MS for row in rows],
    )


def _swap(rows: list[_Fill], native: str) -> Trades:
    return trades(
        [native] * len(rows),
        [row.price for row in rows],
        [row.volume for row in rows],
        [row.side for row in rows],
        [str(row.id) for row in rows],
        [row.time * MS for row in rows],
    )


def parse_error(_status: int, body: bytes) -> ErrorResponse:
    """{"code":24101,"message":"Invalid symbol"}, on v3 {"code":24101,"msg":"Invalid symbol!","data":""}"""
    code = text_inside(error_json(body), "code")
    text = error_text(body, "code", "message", "msg")
    return ErrorResponse(text, code in _FINAL, BUSY_S if code in _BUSY else None)
