"""Kraken spot over REST: a pair's trades by time, oldest first, without end."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from actors.dialects._history import decoded, digits, seconds_ns, trades, words
from actors.history import Ask, Busy, Garbled, History, Kind, Page, Query, RateLimit, Refused

# https://docs.kraken.com/api/docs/rest-api/get-recent-trades, read 2026-11-22 via stored copy.
ROWS_MAX = 1000
# REST knows the old names only; the WebSocket the new ones.
_RENAMED = {"BTC": "XBT", "DOGE": "XDG"}
_SIDES = {"b": "buy", "s": "sell"}
# Times have at most seven decimals here and six on the feed, and are rounded each in its own way.
SLACK_NS = 1_000
BUSY_S = 5.0
_BUSY = ("Too many requests", "Rate limit", "EService", "Throttled")


class _Trade(msgspec.Struct, gc=False, array_like=True):
    """["105433.60000","0.00027625",1762795433.9717445,"b","l","",10218208]; the side is the taker's."""

    price: msgspec.Raw
    volume: msgspec.Raw
    time: msgspec.Raw
    side: Literal["b", "s"]
    order_type: str
    misc: str
    id: int


class _Answer(msgspec.Struct, gc=False):
    """{"error":[],"result":{"XXBTZUSD":[[...],...],"last":"1762820035982277754"}}: the key is Kraken's own name
    of the pair, `last` the next `since`. An error comes with status 200."""

    error: list[str]
    result: dict[str, msgspec.Raw] = {}


_decoder = msgspec.json.Decoder(_Answer)
_rows = msgspec.json.Decoder(list[_Trade])
_text = msgspec.json.Decoder(str)


def _ask(query: Query) -> Ask:
    """`since` is exclusive (some say inclusive), in nanoseconds."""
    if query.cursor is None and query.stretch.from_ns is None:
        raise Refused("kraken's history is asked by time, and no time is known for this stretch")
    since = query.cursor or str(max(0, (query.stretch.from_ns or 0) - SLACK_NS - 1))
    base, _, quote = query.market.native.partition("/")
    pair = _RENAMED.get(base, base) + _RENAMED.get(quote, quote)
    parameters = (("pair", pair), ("since", since), ("count", str(min(query.rows, ROWS_MAX))))
    return Ask(path="/0/public/Trades", query=parameters)


def _parse(body: bytes, _headers: Mapping[str, str], query: Query) -> Page:
    answer = decoded(_decoder, body)
    if answer.error:
        said = ", ".join(answer.error)
        if any(word in said for word in _BUSY):
            raise Busy(f"kraken: {said}", retry_after_s=BUSY_S)
        raise Refused(said)
    pairs = [key for key in answer.result if key != "last"]
    if len(pairs) != 1 or "last" not in answer.result:
        raise Garbled("the answer holds no trades of one pair, or no `last`")
    rows = decoded(_rows, bytes(answer.result[pairs[0]]))
    page = trades(
        query.market.native,
        [digits(row.price, "price") for row in rows],
        [digits(row.volume, "volume") for row in rows],
        [_SIDES[row.side] for row in rows],
        [str(row.id) for row in rows],
        [seconds_ns(digits(row.time, "time")) for row in rows],
    )
    last = decoded(_text, bytes(answer.result["last"]))
    if not last.isdecimal():
        raise Garbled(f"`last` is no time: {last[:40]}")
    full = len(rows) >= min(query.rows, ROWS_MAX)
    return Page(page, _following(last, query.cursor) if full else None)


def _following(last: str, before: str | None) -> str:
    """One step back: the page may have been cut between trades of the same nanosecond.

    Where a whole page was of one nanosecond that would lead nowhere, so there it is `last` itself.
    """
    step_back = str(int(last) - 1)
    return step_back if step_back != before else last


def _refusal(_status: int, body: bytes) -> str:
    return words(body, "error")


KRAKEN_HISTORY = History(
    name="kraken",
    kind=Kind.BY_TIME,
    depth="without end",
    doc="https://docs.kraken.com/api/docs/rest-api/get-recent-trades",
    doc_read="2026-11-22",
    base="https://api.kraken.com",
    # About one a second by IP and pair (unsure); one bucket for all pairs is on the safe side.
    limits=(RateLimit(name="requests", units=10.0, window_s=10.0, burst=1.0),),
    page_rows=ROWS_MAX,
    newest_first=False,
    ask=_ask,
    parse=_parse,
    refusal=_refusal,
    slack_ns=SLACK_NS,
    notes=("a stretch known by ids alone cannot be asked for: it needs the time of its beginning",),
)
