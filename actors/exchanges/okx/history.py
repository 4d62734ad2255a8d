"""OKX over REST: a market's single fills by id or time, newest first, three months back."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from actors.exchanges.contract.feed import MS, Trades
from actors.exchanges.contract.feed_helpers import ms_texts_ns, text_inside
from actors.exchanges.contract.history import ErrorResponse, Garbled, Page, Query, RestRequest, id_number
from actors.exchanges.contract.history_helpers import decoded, error_json, error_text, read_rows, trades
from actors.model.ticks import Reason
from actors.model.validation import FieldError

# https://www.okx.com/docs-v5/en/#order-book-trading-market-data-get-trades-history, read 2026-11-22 via
# stored copy. `after` is older than the id (type 1) or the time (type 2); `before` alone gives the newest
# rows, not the next ones, so pages only ever lead back.
ROWS_MAX = 100
BY_ID, BY_TIME = "1", "2"
# https://www.okx.com/docs-v5/en/#error-code-rest-api: a parameter is wrong, the instrument does not exist or is not
# of this type. All 50xxx (unavailable, timeout, busy, internal error) pass.
_FINAL = {"51000", "51001", "51015"}
_BUSY = {"50011", "50040"}  # too many requests
BUSY_S = 2.0


class _Trade(
    msgspec.Struct,
    gc=False,
    rename={"native": "instId", "id": "tradeId", "price": "px", "volume": "sz", "time": "ts"},
):
    """{"instId":"BTC-USDT","side":"sell","sz":"0.00013669","px":"102537.9","tradeId":"734864333",
    "ts":"1747087163557"}, newest first.

    Each is one fill, with an id of its own. A row of the feed's `trades` is all fills of one order at one
    price: its tradeId is the last of `count`. So a gap on that channel ends before the first fill inside
    the next row: id - count, not id - 1. Filling it brings more and smaller rows than the feed would have.
    """

    id: str
    price: str
    volume: str
    side: Literal["buy", "sell"]
    time: str
    native: str = ""  # the market asked for


class _Answer(msgspec.Struct, gc=False):
    """{"code":"0","msg":"","data":[...]}; a code other than "0" is an error, with status 200 or not."""

    code: str
    data: msgspec.Raw = msgspec.Raw()


_decoder = msgspec.json.Decoder(_Answer)
_rows = msgspec.json.Decoder(list[_Trade])


def request(query: Query) -> RestRequest:
    trade_range, parameters = query.trade_range, [("instId", query.market.native)]
    if query.cursor is not None:
        parameters += [("type", BY_ID), ("after", query.cursor)]
    elif trade_range.to_id is not None:
        parameters += [("type", BY_ID), ("after", str(trade_range.to_id + 1))]
    elif trade_range.to_ns is not None:
        parameters += [("type", BY_TIME), ("after", str(trade_range.to_ns // MS + 1))]
    parameters.append(("limit", str(min(query.rows, ROWS_MAX))))
    return RestRequest(path="/api/v5/market/history-trades", query=tuple(parameters))


def parse(body: bytes, _headers: Mapping[str, str], query: Query) -> Page:
    answer = decoded(_decoder, body)
    if answer.code != "0":
        raise parse_error(200, body).error("okx")
    native = query.market.native
    rows = read_rows(_rows, bytes(answer.data), lambda rows: _columns(rows, native), query)
    last, before = rows.sound[-1].id if rows.sound else None, id_number(query.cursor)
    if last is not None and before is not None and int(last) >= before:
        raise Garbled(f"the rows are not older than the id that was asked for ({query.cursor})")
    return Page(rows.trades, last, rows.odd)


def _columns(rows: list[_Trade], native: str) -> Trades:
    for row in rows:
        if id_number(row.id) is None:
            raise FieldError(Reason.BAD_ID, f"a trade id that is no number: {row.id[:60]!r}")
    return trades(
        [row.native or native for row in rows],
        [row.price for row in rows],
        [row.volume for row in rows],
        [row.side for row in rows],
        [row.id for row in rows],
        ms_texts_ns([row.time for row in rows]),
    )


def parse_error(_status: int, body: bytes) -> ErrorResponse:
    code = text_inside(error_json(body), "code")
    return ErrorResponse(error_text(body, "code", "msg"), code in _FINAL, BUSY_S if code in _BUSY else None)
