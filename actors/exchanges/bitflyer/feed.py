"""bitFlyer: `lightning_executions` of spot, of the CFD and of futures; JSON-RPC, one channel a request."""

import functools
from collections.abc import Sequence
from datetime import date
from typing import Annotated, Literal

import msgspec

from actors.exchanges.contract import feed as x
from actors.exchanges.contract.feed_helpers import (
    compact,
    decode_frames,
    digits_column,
    id_texts,
    inside,
    require_kind,
    require_upper,
    rfc3339_column_ns,
    text_inside,
)
from actors.model.symbols import Symbol, SymbolError

# https://bf-lightning-api.readme.io/docs (JSON-RPC over WebSocket), and as recorded from 2019 to 2026.
ENDPOINT = "wss://ws.lightstream.bitflyer.com/json-rpc"
CHANNEL = "lightning_executions"

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_SIDES = {"BUY": "buy", "SELL": "sell", "": None}  # the taker's
_SUBSCRIBED_ALREADY = "-32009"
_INTERNAL = "-32603"  # of JSON-RPC


class _Execution(msgspec.Struct, gc=False, rename={"volume": "size", "time": "exec_date"}):
    """{"id":2284079807,"side":"BUY","price":5860832.0,"size":0.01,"exec_date":"2021-12-12T23:05:29.9692063Z",
    "buy_child_order_acceptance_id":"JRF20211212-230529-223057","sell_child_order_acceptance_id":"JRF..."}; `side`
    is "" for an auction's (itayose). The time has up to seven decimals."""

    id: int
    side: Literal["BUY", "SELL", ""]
    price: msgspec.Raw
    volume: msgspec.Raw
    time: str


class _Params(msgspec.Struct, gc=False):
    channel: str
    message: Annotated[list[_Execution], msgspec.Meta(min_length=1)]


class _Frame(msgspec.Struct, gc=False, tag_field="method", tag="channelMessage"):
    """{"jsonrpc":"2.0","method":"channelMessage","params":{"channel":"lightning_executions_FX_BTC_JPY",
    "message":[...]}}, oldest first"""

    params: _Params


_decoder = msgspec.json.Decoder(_Frame)


def market(symbol: Symbol, _channel: str = "") -> x.Market:
    """BTC_JPY on spot, FX_BTC_JPY for BTC/JPY:JPY, BTCJPY24DEC2021 for BTC/JPY:JPY-211224."""
    require_kind(symbol, "bitflyer", ("spot", "swap", "future"))
    require_upper(symbol, "bitflyer")
    base, quote = symbol.base, symbol.quote
    if symbol.settle and (quote, symbol.settle) != ("JPY", "JPY"):
        raise SymbolError(f"{symbol}: bitflyer's derivatives are quoted and settled in JPY", f"{base}/JPY:JPY")
    if symbol.kind == "swap":
        return x.Market(str(symbol), f"FX_{base}_{quote}", ENDPOINT)
    if symbol.kind == "future":
        day = date.fromisoformat(f"20{symbol.expiry}")
        native = f"{base}{quote}{day.day:02d}{MONTHS[day.month - 1]}{day.year}"
        return x.Market(str(symbol), native, ENDPOINT)
    return x.Market(str(symbol), f"{base}_{quote}", ENDPOINT)


def _request(method: str, natives: Sequence[str], channel: str, request_id: str) -> str:
    (native,) = natives
    params = {"channel": f"{channel}_{native}"}
    return compact({"jsonrpc": "2.0", "method": method, "params": params, "id": int(request_id)})


def subscribe_text(natives: Sequence[str], channel: str, request_id: str) -> str:
    return _request("subscribe", natives, channel, request_id)


def unsubscribe_text(natives: Sequence[str], channel: str, request_id: str) -> str:
    return _request("unsubscribe", natives, channel, request_id)


def trades(frames: Sequence[bytes]) -> x.Trades:
    native: list[str] = []
    rows: list[_Execution] = []
    counts: list[int] = []
    for frame in decode_frames(_decoder, frames):
        executions = frame.params.message
        native += [_product(frame.params.channel)] * len(executions)
        rows += executions
        counts.append(len(executions))
    return x.Trades(
        native=native,
        price=digits_column([row.price for row in rows], "price"),
        volume=digits_column([row.volume for row in rows], "size"),
        side=[_SIDES[row.side] for row in rows],
        trade_id=id_texts([row.id for row in rows]),
        exchange_ns=rfc3339_column_ns([row.time for row in rows]),
        snapshot=[False] * len(rows),
        counts=counts,
    )


@functools.lru_cache(maxsize=1024)
def _product(channel: str) -> str:
    head, name, product = channel.partition(CHANNEL + "_")
    if head or not name:
        raise ValueError("a channel other than lightning_executions")
    return product


def control(message: object) -> x.Control | None:
    """Requests that are sent as a list, which these are not, are answered by a list."""
    if text_inside(message, "method") == "channelMessage":
        if not text_inside(message, "params", "channel").startswith(CHANNEL + "_"):
            return None
        return x.KeepAlive() if inside(message, "params", "message") == [] else x.MalformedTrade()
    if isinstance(message, list):
        known = all(inside(one, "jsonrpc") is not None and inside(one, "result") is not None for one in message)
        return x.KeepAlive() if message and known else None
    request_id = text_inside(message, "id")
    if isinstance(inside(message, "error"), dict):
        code, reason = text_inside(message, "error", "code"), text_inside(message, "error", "message")
        if code == _SUBSCRIBED_ALREADY:
            return x.Ack(request_id=request_id)
        return x.Refusal(f"{code} {reason}".strip(), request_id=request_id, transient=code == _INTERNAL)
    if inside(message, "jsonrpc") is not None and inside(message, "result") is True:
        return x.Ack(request_id=request_id)
    return None
