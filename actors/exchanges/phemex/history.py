"""Phemex over REST: a market's newest trades and no way further back."""

from collections.abc import Mapping
from itertools import repeat

import msgspec

from actors.exchanges.contract.feed import Trades
from actors.exchanges.contract.feed_helpers import inside, text_inside
from actors.exchanges.contract.history import ErrorResponse, Page, Query, RestRequest
from actors.exchanges.contract.history_helpers import (
    decoded,
    error_json,
    error_text,
    excerpt,
    read_rows,
    trades,
)
from actors.exchanges.contract.rest import Garbled
from actors.exchanges.phemex.feed import LinearTrade, Trade, is_linear, scales_of, unscaled

# https://phemex-docs.github.io/#query-recent-trades, read 2026-11-26 via stored copies.
PATH, LINEAR_PATH = "/md/trade", "/md/v2/trade"
ROWS_MAX = 200
BUSY_S = 5.0
_SIDES = {"Buy": "buy", "Sell": "sell"}
_FINAL, _BUSY = frozenset(("6001", "30018", "39996")), frozenset(("10003", "30000"))


class _Result(msgspec.Struct, gc=False):
    trades: msgspec.Raw = msgspec.Raw()
    trades_p: msgspec.Raw = msgspec.Raw()


class _Answer(msgspec.Struct, gc=False):
    """{"error":null,"id":0,"result":{"type":"snapshot","sequence":77702250,"symbol":"BTCUSD","trades":[[...]]}}"""

    result: _Result | None = None


_decoder = msgspec.json.Decoder(_Answer)
_rows, _linear_rows = msgspec.json.Decoder(list[Trade]), msgspec.json.Decoder(list[LinearTrade])


def request(query: Query) -> RestRequest:
    path = LINEAR_PATH if is_linear(query.market.native) else PATH
    return RestRequest(path=path, query=(("symbol", query.market.native),))


def parse(body: bytes, _headers: Mapping[str, str], query: Query) -> Page:
    if inside(error_json(body), "error") is not None:
        raise parse_error(200, body).error("phemex")
    result = decoded(_decoder, body).result
    if result is None or not bytes(result.trades or result.trades_p):
        raise Garbled(f"no trades in the answer: {excerpt(body)}")
    native = query.market.native
    scales = scales_of(native, query.market.instrument)
    if is_linear(native):
        linear = read_rows(_linear_rows, bytes(result.trades_p), lambda rows: _linear(rows, native), query)
        return Page(linear.trades, None, linear.odd)
    scaled = read_rows(_rows, bytes(result.trades), lambda rows: _scaled(rows, native, scales), query)
    return Page(scaled.trades, None, scaled.odd)


def _linear(rows: list[LinearTrade], native: str) -> Trades:
    return trades(
        [native] * len(rows),
        [row.price for row in rows],
        [row.volume for row in rows],
        [_SIDES[row.side] for row in rows],
        [None] * len(rows),
        [row.time for row in rows],
    )


def _scaled(rows: list[Trade], native: str, scales: tuple[int, int]) -> Trades:
    return trades(
        [native] * len(rows),
        unscaled([row.price for row in rows], repeat(scales[0])),
        unscaled([row.volume for row in rows], repeat(scales[1])),
        [_SIDES[row.side] for row in rows],
        [None] * len(rows),
        [row.time for row in rows],
    )


def parse_error(_status: int, body: bytes) -> ErrorResponse:
    """{"error":{"code":6001,"message":"invalid argument"},"id":0,"result":null}"""
    answer = error_json(body)
    code, message = text_inside(answer, "error", "code"), text_inside(answer, "error", "message")
    text = f"{code} {message}".strip() if code else error_text(body, "code", "msg")
    return ErrorResponse(text, code in _FINAL, BUSY_S if code in _BUSY else None)
