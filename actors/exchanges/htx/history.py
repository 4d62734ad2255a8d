"""HTX over REST: a market's newest trades and no way further back."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from actors.exchanges.contract.feed import MS, Trades
from actors.exchanges.contract.feed_helpers import digits_column, text_inside
from actors.exchanges.contract.history import ErrorResponse, Page, Query
from actors.exchanges.contract.history_helpers import NO_TRADES, decoded, error_json, error_text, read_rows, trades
from actors.exchanges.contract.rest import Garbled, RestRequest
from actors.exchanges.htx.feed import COIN, LINEAR, SWAP_BASE

# https://huobiapi.github.io/docs/spot/v1/en/ (GET /market/history/trade), and for linear swaps
# https://www.htx.com/en-us/opend/newApiPages/?id=8cb81024-77b5-11ed-9966-0242ac110003, read 2026-11-26 via stored
# copy; the path of the coin-margined swaps is the same with another beginning.
ROWS_MAX = 2000
BASE = "https://api.huobi.pro"
_SWAP_PATHS = {LINEAR: "/linear-swap-ex", COIN: "/swap-ex"}
# A parameter is wrong, or the market does not exist; everything else passes.
_FINAL = ("invalid-parameter", "bad-request", "base-symbol-error", "invalid-symbol")


class _Trade(
    msgspec.Struct,
    gc=False,
    rename={"spot_id": "trade-id", "volume": "amount", "side": "direction", "time": "ts"},
):
    """{"id":146507451359183894799,"ts":1533265950234,"trade-id":102043495674,"amount":0.0099,"price":401.74,
    "direction":"buy"}: here the key has a hyphen; swaps have `id` alone, as on the feed."""

    id: msgspec.Raw
    price: msgspec.Raw
    volume: msgspec.Raw
    side: Literal["buy", "sell", ""]
    time: int
    spot_id: msgspec.Raw = msgspec.Raw()


class _Match(msgspec.Struct, gc=False):
    """{"id":14650745135,"ts":1533265950234,"data":[...]}: the trades of one order."""

    data: list[msgspec.Raw]


class _Answer(msgspec.Struct, gc=False):
    """{"ch":"market.btcusdt.trade.detail","status":"ok","ts":1533265950234,"data":[...]}, newest first.

    An error has status 200 too, and "status":"error".
    """

    status: str
    ch: str = ""
    data: list[_Match] | None = None


_decoder = msgspec.json.Decoder(_Answer)
_rows = msgspec.json.Decoder(list[_Trade])


def request(query: Query) -> RestRequest:
    native, size = query.market.native, str(min(query.rows, ROWS_MAX))
    prefix = _SWAP_PATHS.get(query.market.endpoint)
    if prefix is None:
        return RestRequest(path="/market/history/trade", query=(("symbol", native), ("size", size)))
    parameters = (("contract_code", native), ("size", size))
    return RestRequest(base=SWAP_BASE, path=f"{prefix}/market/history/trade", query=parameters)


def parse(body: bytes, _headers: Mapping[str, str], query: Query) -> Page:
    answer = decoded(_decoder, body)
    if answer.status != "ok":
        raise parse_error(200, body).error("htx")
    native = query.market.native
    if answer.data is None or answer.ch not in ("", f"market.{native}.trade.detail"):
        raise Garbled(f"the answer holds no trades of {native}: {answer.ch[:80]!r}")
    flat = b",".join(bytes(row) for match in answer.data for row in match.data)
    if not flat:
        return Page(NO_TRADES, None)
    rows = read_rows(_rows, b"[" + flat + b"]", lambda rows: _columns(rows, native), query)
    return Page(rows.trades, None, rows.odd)


def _columns(rows: list[_Trade], native: str) -> Trades:
    return trades(
        [native] * len(rows),
        digits_column([row.price for row in rows], "price"),
        digits_column([row.volume for row in rows], "amount"),
        [row.side or None for row in rows],
        digits_column([row.spot_id or row.id for row in rows], "id"),
        [row.time * MS for row in rows],
    )


def parse_error(_status: int, body: bytes) -> ErrorResponse:
    """{"ts":1490758171271,"status":"error","err-code":"invalid-parameter","err-msg":"invalid symbol"}"""
    message = error_json(body)
    code = text_inside(message, "err-code") or text_inside(message, "err_code")
    return ErrorResponse(error_text(body, "err-code", "err_code", "err-msg", "err_msg"), code in _FINAL)
