"""BingX over REST: a market's newest trades and no way further back."""

from collections.abc import Mapping

import msgspec

from actors.exchanges.bingx.feed import SPOT_URL, held
from actors.exchanges.contract.feed import MS, Trades
from actors.exchanges.contract.feed_helpers import digits, digits_column, text_inside
from actors.exchanges.contract.history import ErrorResponse, Page, Query
from actors.exchanges.contract.history_helpers import decoded, error_json, error_text, read_rows, trades
from actors.exchanges.contract.rest import RestRequest

# https://bingx-api.github.io/docs/#/en-us/spot/market-api.html and .../swapV2/market-api.html, read 2026-11-26 via
# stored copies. Spot has older trades by id as well (/openApi/market/his/v1/trade), but whether those before or
# after `fromId` come is not documented; perpetuals have them for signed requests only.
SPOT_ROWS_MAX, SWAP_ROWS_MAX = 500, 1000
_FINAL = {"100400", "109400"}  # a parameter is wrong, the symbol does not exist
_BUSY = {"100410", "100503"}
BUSY_S = 10.0


class _Trade(msgspec.Struct, gc=False, rename={"volume": "qty"}):
    """Spot {"id":43148253,"price":25714.71,"qty":1.674571,"time":1655085975589,"buyerMaker":false}, perpetuals
    {"time":1672025549368,"isBuyerMaker":true,"price":"16885.0","qty":"3.3002","quoteQty":"55723.87"}."""

    price: msgspec.Raw
    volume: msgspec.Raw
    time: int
    id: msgspec.Raw = msgspec.Raw()
    buyerMaker: bool | None = None  # noqa: N815 - the exchange's names
    isBuyerMaker: bool | None = None  # noqa: N815


class _Answer(msgspec.Struct, gc=False):
    """{"code":0,"timestamp":1655085975600,"data":[...]}; another code is an error, with status 200."""

    code: int
    data: msgspec.Raw = msgspec.Raw()


_decoder = msgspec.json.Decoder(_Answer)
_rows = msgspec.json.Decoder(list[_Trade])


def request(query: Query) -> RestRequest:
    spot = query.market.endpoint == SPOT_URL
    limit = str(min(query.rows, SPOT_ROWS_MAX if spot else SWAP_ROWS_MAX))
    path = "/openApi/spot/v1/market/trades" if spot else "/openApi/swap/v2/quote/trades"
    stamp = ("timestamp", str(query.now_ns // MS))
    return RestRequest(path=path, query=(("symbol", query.market.native), ("limit", limit), stamp))


def parse(body: bytes, _headers: Mapping[str, str], query: Query) -> Page:
    answer = decoded(_decoder, body)
    if answer.code != 0:
        raise parse_error(200, body).error("bingx")
    rows = read_rows(_rows, bytes(answer.data), lambda rows: _columns(rows, query.market.native), query)
    return Page(rows.trades, None, rows.odd)


def _columns(rows: list[_Trade], native: str) -> Trades:
    """Newest first; which order the answer has is not documented."""
    rows = sorted(rows, key=lambda row: row.time, reverse=True)
    return trades(
        [native] * len(rows),
        digits_column([row.price for row in rows], "price"),
        [held(volume) for volume in digits_column([row.volume for row in rows], "qty")],
        [_side(row) for row in rows],
        [digits(row.id, "id") if bytes(row.id) else None for row in rows],
        [row.time * MS for row in rows],
    )


def _side(row: _Trade) -> str:
    maker_bought = row.isBuyerMaker if row.buyerMaker is None else row.buyerMaker
    if maker_bought is None:
        raise msgspec.ValidationError("Object missing required field `buyerMaker`")
    return "sell" if maker_bought else "buy"


def parse_error(_status: int, body: bytes) -> ErrorResponse:
    """{"code":109400,"msg":"NOPE-USDT,symbol not exist, please verify it in api: ..."}"""
    code = text_inside(error_json(body), "code")
    return ErrorResponse(error_text(body, "code", "msg"), code in _FINAL, BUSY_S if code in _BUSY else None)
