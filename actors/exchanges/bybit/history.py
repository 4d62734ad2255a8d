"""Bybit v5 over REST: a market's newest trades and no way further back."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from actors.exchanges.contract.feed import Trades
from actors.exchanges.contract.feed_helpers import ms_texts_ns, text_inside
from actors.exchanges.contract.history import ErrorResponse, Page, Query, RestRequest
from actors.exchanges.contract.history_helpers import decoded, error_json, error_text, read_rows, trades

# https://bybit-exchange.github.io/docs/v5/market/recent-trade and .../v5/rate-limit, read 2026-11-22 via
# stored copy. Older days are files on public.bybit.com, not REST.
ROWS_MAX = 1000
SPOT_ROWS_MAX = 60
BAN_S = 600.0  # "access too frequent" means: stay away for at least ten minutes
_SIDES = {"Buy": "buy", "Sell": "sell"}
# https://bybit-exchange.github.io/docs/v5/error: a parameter is wrong (an unknown market too), the symbol is
# invalid. All else (10000 timeout, 10016 server error, ...) passes.
_FINAL = {"10001", "10029"}
_BUSY = {"10006", "10018"}  # too many visits, too many by this IP
BUSY_S = 5.0


class _Trade(
    msgspec.Struct,
    gc=False,
    rename={"native": "symbol", "id": "execId", "volume": "size"},
):
    """{"execId":"2100000000007764263","symbol":"BTCUSDT","price":"16618.49","size":"0.00012","side":"Buy",
    "time":"1672052955758","isBlockTrade":false}, newest first; the side is the taker's."""

    id: str
    price: str
    volume: str
    side: Literal["Buy", "Sell"]
    time: str
    native: str = ""  # the market asked for


class _Result(msgspec.Struct, gc=False, rename={"rows": "list"}):
    rows: msgspec.Raw = msgspec.Raw()


class _Answer(msgspec.Struct, gc=False, rename={"code": "retCode"}):
    """{"retCode":0,"retMsg":"OK","result":{"category":"spot","list":[...]},"retExtInfo":{},"time":...}"""

    code: int
    result: msgspec.Raw = msgspec.Raw()


_decoder = msgspec.json.Decoder(_Answer)
_result = msgspec.json.Decoder(_Result)
_rows = msgspec.json.Decoder(list[_Trade])


def request(query: Query) -> RestRequest:
    category = query.market.endpoint.rpartition("/")[2]  # .../v5/public/linear
    rows = min(query.rows, SPOT_ROWS_MAX if category == "spot" else ROWS_MAX)
    parameters = (("category", category), ("symbol", query.market.native), ("limit", str(rows)))
    return RestRequest(path="/v5/market/recent-trade", query=parameters)


def parse(body: bytes, _headers: Mapping[str, str], query: Query) -> Page:
    answer = decoded(_decoder, body)
    if answer.code != 0:
        raise parse_error(200, body).error("bybit")
    native, listed = query.market.native, decoded(_result, bytes(answer.result)).rows
    rows = read_rows(_rows, bytes(listed), lambda rows: _columns(rows, native), query)
    return Page(rows.trades, None, rows.odd)


def _columns(rows: list[_Trade], native: str) -> Trades:
    return trades(
        [row.native or native for row in rows],
        [row.price for row in rows],
        [row.volume for row in rows],
        [_SIDES[row.side] for row in rows],
        [row.id for row in rows],
        ms_texts_ns([row.time for row in rows]),
    )


def parse_error(_status: int, body: bytes) -> ErrorResponse:
    code = text_inside(error_json(body), "retCode")
    return ErrorResponse(error_text(body, "retCode", "retMsg"), code in _FINAL, BUSY_S if code in _BUSY else None)
