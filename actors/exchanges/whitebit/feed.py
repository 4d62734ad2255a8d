"""WhiteBIT: `trades` of spot and perpetuals; a request replaces the one before, and old trades follow each."""

import re
from collections.abc import Sequence
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
    seconds_column_ns,
    text_inside,
)
from actors.model.symbols import Symbol, SymbolError

# https://docs.whitebit.com/websocket/market-streams/trades; wss://api.whitebit.com/ws is deprecated since September
# 2026 and is to refuse connections from March 2027.
ENDPOINT = "wss://wss.whitebit.com/ws"
CHANNEL = "trades"
PING = '{"id":0,"method":"ping","params":[]}'

# https://docs.whitebit.com/websocket/overview: 1 invalid argument, 2 internal error, 3 service unavailable,
# 4 method not found, 5 service timeout, 6 requires authentication, 7 too many requests, 9 unknown market.
_TRANSIENT = frozenset(("2", "3", "5", "7"))
_MISSING = re.compile(r"market (\S{1,64}) does not exist")


class _Trade(msgspec.Struct, gc=False, rename={"volume": "amount", "side": "type"}):
    """{"id":23416219526,"time":1788335142.5668371,"price":"77572.99","amount":"0.012017","type":"buy","rpi":false};
    `time` is a JSON number of seconds, `type` the taker's side, `rpi` an order of the retail programme."""

    id: int
    time: msgspec.Raw
    price: str
    volume: str
    side: Literal["buy", "sell"]


class _Frame(msgspec.Struct, gc=False, tag_field="method", tag="trades_update"):
    """{"method":"trades_update","params":["BTC_USDT",[...]],"id":null}, newest first; the first one after each
    request holds up to 100 trades from before it."""

    params: tuple[str, Annotated[list[_Trade], msgspec.Meta(min_length=1)]]


_decoder = msgspec.json.Decoder(_Frame)


def market(symbol: Symbol, _channel: str = "") -> x.Market:
    """BTC_USDT on spot, BTC_PERP for BTC/USDT:USDT."""
    require_kind(symbol, "whitebit", ("spot", "swap"))
    require_upper(symbol, "whitebit")
    if not symbol.settle:
        return x.Market(str(symbol), f"{symbol.base}_{symbol.quote}", ENDPOINT)
    if (symbol.quote, symbol.settle) != ("USDT", "USDT"):
        raise SymbolError(
            f"{symbol}: whitebit's perpetuals are quoted and settled in USDT", f"{symbol.base}/USDT:USDT"
        )
    return x.Market(str(symbol), f"{symbol.base}_PERP", ENDPOINT)


def subscribe_text(natives: Sequence[str], channel: str, request_id: str) -> str:
    return compact({"id": int(request_id), "method": f"{channel}_subscribe", "params": list(natives)})


def trades(frames: Sequence[bytes]) -> x.Trades:
    native: list[str] = []
    rows: list[_Trade] = []
    counts: list[int] = []
    for frame in decode_frames(_decoder, frames):
        name, listed = frame.params
        if listed[0].id > listed[-1].id:
            listed.reverse()
        native += [name] * len(listed)
        rows += listed
        counts.append(len(listed))
    return x.Trades(
        native=native,
        price=[row.price for row in rows],
        volume=[row.volume for row in rows],
        side=[row.side for row in rows],
        trade_id=id_texts([row.id for row in rows]),
        exchange_ns=seconds_column_ns(digits_column([row.time for row in rows], "time")),
        snapshot=[False] * len(rows),
        counts=counts,
    )


def control(message: object) -> x.Control | None:
    if text_inside(message, "method") == "trades_update":
        params = inside(message, "params")
        empty = isinstance(params, list) and params[1:] == [[]]
        return x.KeepAlive() if empty else x.MalformedTrade()
    request_id = text_inside(message, "id")
    if isinstance(inside(message, "error"), dict):
        code, reason = text_inside(message, "error", "code"), text_inside(message, "error", "message")
        missing = tuple(_MISSING.findall(reason))
        return x.Refusal(f"{code} {reason}".strip(), missing, request_id, transient=code in _TRANSIENT)
    if inside(message, "result") == "pong":
        return x.KeepAlive()
    if text_inside(message, "result", "status") == "success":
        return x.Ack(request_id=request_id)
    return None
