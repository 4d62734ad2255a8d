"""Kraken spot over REST: a pair's trades by time, oldest first, without end."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from actors.exchanges.contract.feed import Trades
from actors.exchanges.contract.feed_helpers import digits_column, inside, seconds_column_ns
from actors.exchanges.contract.history import (
    ID_DIGITS_MAX,
    ErrorResponse,
    Garbled,
    Page,
    Query,
    Refused,
    RestRequest,
)
from actors.exchanges.contract.history_helpers import (
    ERROR_TEXT_CHARS,
    NO_TRADES,
    TradeId,
    decoded,
    error_json,
    excerpt,
    read_rows,
    trades,
)

# https://docs.kraken.com/api/docs/rest-api/get-recent-trades, read 2026-11-22 via stored copy.
ROWS_MAX = 1000
# REST knows the old names only; the WebSocket the new ones.
_RENAMED = {"BTC": "XBT", "DOGE": "XDG"}
_SIDES = {"b": "buy", "s": "sell"}
# Times have at most seven decimals here and six on the feed, and are rounded each in its own way.
SLACK_NS = 1_000
# https://docs.kraken.com/api/docs/guides/spot-errors. All else passes: EService:Unavailable, EGeneral:Internal
# error (which XChange saw answered well when asked again), ...
_UNKNOWN_PAIR = "EQuery:Unknown asset pair"
_FINAL = (_UNKNOWN_PAIR, "EQuery:Invalid asset pair", "EGeneral:Invalid arguments")
_BUSY = ("EGeneral:Too many requests", "EAPI:Rate limit", "EService", "EGeneral:Temporary lockout")
BUSY_S = 5.0
# Tokenised stocks ("AAPLx/USD") are found only with asset_class (https://docs.kraken.com/api/docs/rest-api/
# get-tradable-asset-pairs, Kraken.Net issue 146); the WebSocket knows them without. Nothing in the name says it for
# sure, so a pair that is unknown is asked for again with it; the cursor remembers that.
TOKENIZED = "tokenized "


class _Trade(msgspec.Struct, gc=False, array_like=True):
    """["105433.60000","0.00027625",1762795433.9717445,"b","l","",10218208]; the side is the taker's."""

    price: msgspec.Raw
    volume: msgspec.Raw
    time: msgspec.Raw
    side: Literal["b", "s"]
    order_type: str
    misc: str
    id: TradeId


class _Answer(msgspec.Struct, gc=False):
    """{"error":[],"result":{"XXBTZUSD":[[...],...],"last":"1762820035982277754"}}: the key is Kraken's own name
    of the pair, `last` the next `since`. An error comes with status 200."""

    error: list[str]
    result: dict[str, msgspec.Raw] = {}


_decoder = msgspec.json.Decoder(_Answer)
_rows = msgspec.json.Decoder(list[_Trade])
_text = msgspec.json.Decoder(str)


def request(query: Query) -> RestRequest:
    """`since` is exclusive (some say inclusive), in nanoseconds."""
    if query.cursor is None and query.trade_range.from_ns is None:
        raise Refused("kraken's history is requested by time, and this range has no time")
    cursor, tokenized = _cursor(query)
    since = cursor or str(max(0, (query.trade_range.from_ns or 0) - SLACK_NS - 1))
    base, _, quote = query.market.native.partition("/")
    pair = _RENAMED.get(base, base) + _RENAMED.get(quote, quote)
    parameters = (("pair", pair), ("since", since), ("count", str(min(query.rows, ROWS_MAX))))
    asset_class = (("asset_class", "tokenized_asset"),) if tokenized else ()
    return RestRequest(path="/0/public/Trades", query=parameters + asset_class)


def _cursor(query: Query) -> tuple[str, bool]:
    """The `since` of the page ("" for the first), and whether the pair is asked for as a tokenised asset."""
    cursor = query.cursor or ""
    return cursor.removeprefix(TOKENIZED), cursor.startswith(TOKENIZED)


def parse(body: bytes, _headers: Mapping[str, str], query: Query) -> Page:
    answer, (cursor, tokenized) = decoded(_decoder, body), _cursor(query)
    if answer.error:
        error = parse_error(200, body)
        if error.final and error.message.startswith(_UNKNOWN_PAIR) and query.cursor is None:
            return Page(NO_TRADES, TOKENIZED)
        raise error.error("kraken")
    pairs = [key for key in answer.result if key != "last"]
    if len(pairs) != 1 or "last" not in answer.result:
        raise Garbled("the answer holds no trades of one pair, or no `last`")
    native = query.market.native
    rows = read_rows(_rows, bytes(answer.result[pairs[0]]), lambda rows: _columns(rows, native), query)
    last = decoded(_text, bytes(answer.result["last"]))
    if not (last.isascii() and last.isdecimal() and len(last) <= ID_DIGITS_MAX):
        raise Garbled(f"`last` is no time: {last[:40]}")
    if rows.total < min(query.rows, ROWS_MAX):
        return Page(rows.trades, None, rows.odd)
    if cursor and int(last) < int(cursor):
        raise Garbled(f"`last` ({last}) lies before what was asked for ({cursor})")
    following = _following(last, cursor)
    return Page(rows.trades, (TOKENIZED if tokenized else "") + following, rows.odd, skips=following == last)


def _columns(rows: list[_Trade], native: str) -> Trades:
    return trades(
        [native] * len(rows),
        digits_column([row.price for row in rows], "price"),
        digits_column([row.volume for row in rows], "volume"),
        [_SIDES[row.side] for row in rows],
        [str(row.id) for row in rows],
        seconds_column_ns(digits_column([row.time for row in rows], "time")),
    )


def _following(last: str, before: str) -> str:
    """One step back: the page may have been cut between trades of the same nanosecond.

    Where a whole page was of one nanosecond that would lead nowhere, so there it is `last` itself.
    """
    step_back = str(int(last) - 1)
    return step_back if step_back != before else last


def parse_error(_status: int, body: bytes) -> ErrorResponse:
    """{"error":["EQuery:Unknown asset pair"]}"""
    errors = inside(error_json(body), "error")
    errors = [error for error in errors if isinstance(error, str)] if isinstance(errors, list) else []
    if not errors:
        return ErrorResponse(excerpt(body))
    retry_after_s = BUSY_S if any(error.startswith(_BUSY) for error in errors) else None
    final = retry_after_s is None and all(error.startswith(_FINAL) for error in errors)
    return ErrorResponse(", ".join(errors)[:ERROR_TEXT_CHARS], final, retry_after_s)
