"""Hyperliquid over REST: a coin's newest ten trades and no way further back."""

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from actors.exchanges.contract.feed import MS, Trades
from actors.exchanges.contract.feed_helpers import compact
from actors.exchanges.contract.history import Page, Query
from actors.exchanges.contract.history_helpers import TradeId, excerpt, read_rows, trades
from actors.exchanges.contract.rest import ErrorResponse, RestRequest

PATH = "/info"
ROWS_MAX = 10
# https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/rate-limits-and-user-limits: 1200 a minute and
# address; most requests for information weigh 20.
WEIGHT = 20.0
_SIDES = {"B": "buy", "A": "sell"}


class _Trade(msgspec.Struct, gc=False):
    """{"coin":"BTC","side":"A","px":"77697.0","sz":"0.00527","time":1788415956179,"hash":"0x5d...","tid":353800620709823,
    "users":[...]}, as the stream has them."""

    coin: str
    side: Literal["B", "A"]
    px: str
    sz: str
    time: int
    tid: TradeId


_rows = msgspec.json.Decoder(list[_Trade])


def request(query: Query) -> RestRequest:
    body = compact({"type": "recentTrades", "coin": query.market.native}).encode()
    return RestRequest(path=PATH, body=body, costs={"weight": WEIGHT})


def parse(body: bytes, _headers: Mapping[str, str], query: Query) -> Page:
    rows = read_rows(_rows, body, _columns, query)
    return Page(rows.trades, None, rows.odd)


def _columns(listed: Sequence[_Trade]) -> Trades:
    """Newest first, in whatever order they come: none is documented."""
    rows = sorted(listed, key=lambda row: -row.time)
    return trades(
        [row.coin for row in rows],
        [row.px for row in rows],
        [row.sz for row in rows],
        [_SIDES[row.side] for row in rows],
        [str(row.tid) for row in rows],
        [row.time * MS for row in rows],
    )


def parse_error(status: int, body: bytes) -> ErrorResponse:
    """A request that cannot be read is answered 422 "Failed to deserialize the JSON body into the target type"."""
    return ErrorResponse(excerpt(body), final=status == 422 and body.startswith(b"Failed to deserialize"))
