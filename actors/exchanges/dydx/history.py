"""dYdX v4 over REST: a perpetual's trades by block height or time, newest first, without end."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec

from actors.exchanges.contract.feed import MS, Trades
from actors.exchanges.contract.feed_helpers import inside, rfc3339_ns
from actors.exchanges.contract.history import Page, Query
from actors.exchanges.contract.history_helpers import decoded, error_json, excerpt, read_rows, trades
from actors.exchanges.contract.rest import ErrorResponse, RestRequest

# https://docs.dydx.xyz/indexer-client/http#get-trades, through clients that follow it.
PATH = "/v4/trades/perpetualMarket/"
ROWS_MAX = 1000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SIDES = {"BUY": "buy", "SELL": "sell"}


class _Trade(
    msgspec.Struct,
    gc=False,
    rename={"volume": "size", "time": "createdAt", "kind": "type", "height": "createdAtHeight"},
):
    """{"id":"03f89a550000000200000002","side":"BUY","size":"0.0001","price":"89942","type":"LIMIT",
    "createdAt":"2025-12-08T16:11:30.590Z","createdAtHeight":"66624085"}"""

    id: str
    side: Literal["BUY", "SELL"]
    volume: str
    price: str
    time: str
    height: str
    kind: str = ""


class _Answer(msgspec.Struct, gc=False):
    trades: msgspec.Raw


_decoder = msgspec.json.Decoder(_Answer)
_rows = msgspec.json.Decoder(list[_Trade])


def request(query: Query) -> RestRequest:
    """From the end of the range, then from the block of the last row, so that none of its trades is left out."""
    parameters = [("limit", str(min(query.rows, ROWS_MAX)))]
    if query.cursor is not None:
        parameters.append(("createdBeforeOrAtHeight", query.cursor))
    elif query.trade_range.to_ns is not None:
        end = _EPOCH + timedelta(milliseconds=query.trade_range.to_ns // MS + 1)
        parameters.append(("createdBeforeOrAt", f"{end:%Y-%m-%dT%H:%M:%S}.{end.microsecond // 1000:03d}Z"))
    return RestRequest(path=PATH + query.market.native, query=tuple(parameters))


def parse(body: bytes, _headers: Mapping[str, str], query: Query) -> Page:
    if inside(error_json(body), "errors") is not None:  # with status 200 only behind a proxy
        raise parse_error(200, body).error("dydx")
    native = query.market.native
    rows = read_rows(_rows, bytes(decoded(_decoder, body).trades), lambda rows: _columns(rows, native), query)
    if rows.total < min(query.rows, ROWS_MAX):
        return Page(rows.trades, None, rows.odd)
    first, last = int(rows.sound[0].height), int(rows.sound[-1].height)
    skips = last >= first  # one block fills the page: nothing leads to the rest of it
    return Page(rows.trades, str(last - 1 if skips else last), rows.odd, skips=skips)


def _columns(rows: Sequence[_Trade], native: str) -> Trades:
    made = trades(
        [native] * len(rows),
        [row.price for row in rows],
        [row.volume for row in rows],
        [_SIDES[row.side] for row in rows],
        [row.id for row in rows],
        [rfc3339_ns(row.time) for row in rows],
    )
    if any(row.kind == "DELEVERAGED" for row in rows):
        made.off_book = [row.kind == "DELEVERAGED" for row in rows]
    return made


def parse_error(status: int, body: bytes) -> ErrorResponse:
    """{"errors":[{"msg":"NOPE-USD not found in markets of type perpetualMarket"}]} with status 404 or 400."""
    errors = inside(error_json(body), "errors")
    found = [inside(one, "msg") for one in errors] if isinstance(errors, list) else []
    message = " ".join(text for text in found if isinstance(text, str))
    return ErrorResponse(message or excerpt(body), final=status in (400, 404) and bool(message))
