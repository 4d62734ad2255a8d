"""Gemini: trades that ride on the order book channel `l2` of market data v2, or the streams of its newer API."""

import re
from collections.abc import Sequence
from typing import Literal

import msgspec

from actors.exchanges.contract import feed as x
from actors.exchanges.contract.feed_helpers import (
    compact,
    decode_frames,
    id_texts,
    require_kind,
    require_upper,
    text_inside,
)
from actors.model.symbols import Symbol, SymbolError

# https://docs.gemini.com/websocket-api/#market-data-version-2 (archived, but served in September 2026) and
# https://docs.gemini.com/websocket/, read 2026-11-26 through clients that follow them, and as recorded up to
# August 2026.
L2, TRADE = "l2", "trade"
CHANNELS = (L2, TRADE)
ENDPOINTS = {L2: "wss://api.gemini.com/v2/marketdata", TRADE: "wss://ws.gemini.com"}
PERPETUAL = "PERP"
SETTLED = ("USDC", "GUSD")  # what perpetuals settle in; both twins of a coin are the same book

_TAKERS = {"buy": "buy", "sell": "sell"}  # a block has no taker
_STREAM = re.compile(r"([a-z0-9]{1,40})@trade")
_TRANSIENT = re.compile(r"rate.?limit|too many|unavailable|maintenance|internal|timeout", re.IGNORECASE)


class _Trade(
    msgspec.Struct,
    gc=False,
    tag_field="type",
    tag="trade",
    rename={"native": "symbol", "time": "timestamp", "volume": "quantity"},
):
    """{"event_id":1764525600736012,"price":"73.555","quantity":"2.0","side":"sell","symbol":"SOLUSDCPERP",
    "tid":1893456010836639,"timestamp":1785982641619,"type":"trade"}. `side` is the taker's, or "block".
    Several fills of one event share its id, so that it identifies none of them; frames of 2021 have no `tid`."""

    native: str
    price: str
    volume: str
    side: Literal["buy", "sell", "block"]
    time: int
    tid: int | None = None


class _Book(msgspec.Struct, gc=False, tag_field="type", tag="l2_updates"):
    """{"type":"l2_updates","symbol":"BTCUSD","changes":[...],"trades":[...],"auction_events":[]}: the first one of
    a market has its last 50 to 100 trades, newest first in 2021 and oldest first in 2026; later ones have none."""

    trades: list[_Trade] = []


class _Stream(
    msgspec.Struct, gc=False, rename={"native": "s", "time": "E", "id": "t", "price": "p", "volume": "q"}
):
    """{"E":1784851200123456789,"s":"btcusd","t":2840140809213952,"p":"118000.01","q":"0.0042","m":true} of the
    newer API: nanoseconds; `m`, the buyer is the maker, so the taker sold."""

    time: int
    native: str
    id: int
    price: str
    volume: str
    m: bool


_decoder, _stream = msgspec.json.Decoder(_Trade | _Book), msgspec.json.Decoder(_Stream)


def market(symbol: Symbol, channel: str = "") -> x.Market:
    """BTCUSD on spot, BTCUSDCPERP for BTC/USDC:USDC; streams of the newer API are called in small letters."""
    require_kind(symbol, "gemini", ("spot", "swap"))
    require_upper(symbol, "gemini")
    base, quote, settle = symbol.base, symbol.quote, symbol.settle
    if settle and (quote != settle or settle not in SETTLED):
        problem = f"{symbol}: gemini's perpetuals are settled in {' or '.join(SETTLED)}"
        raise SymbolError(problem, f"{base}/{SETTLED[0]}:{SETTLED[0]}")
    return x.Market(str(symbol), base + quote + (PERPETUAL if settle else ""), ENDPOINTS[channel or L2])


def subscribe_text(natives: Sequence[str], channel: str, request_id: str) -> str:
    return _request("subscribe", natives, channel, request_id)


def unsubscribe_text(natives: Sequence[str], channel: str, request_id: str) -> str:
    return _request("unsubscribe", natives, channel, request_id)


def _request(verb: str, natives: Sequence[str], channel: str, request_id: str) -> str:
    if channel == L2:
        return compact({"type": verb, "subscriptions": [{"name": L2, "symbols": list(natives)}]})
    streams = [f"{native.lower()}@{channel}" for native in natives]
    return compact({"id": int(request_id), "method": verb.upper(), "params": streams})


def trades(frames: Sequence[bytes]) -> x.Trades:
    if b'"E"' in frames[0] and b'"type"' not in frames[0]:
        return _of_streams(decode_frames(_stream, frames))
    rows: list[_Trade] = []
    snapshot: list[bool] = []
    counts: list[int] = []
    for frame in decode_frames(_decoder, frames):
        if isinstance(frame, _Book):
            old = frame.trades
            if not old:
                raise ValueError("an order book without trades")
            rows += old[::-1] if len(old) > 1 and old[0].time > old[-1].time else old
            snapshot += [True] * len(old)
            counts.append(len(old))
        else:
            rows.append(frame)
            snapshot.append(False)
            counts.append(1)
    return x.Trades(
        native=[row.native for row in rows],
        price=[row.price for row in rows],
        volume=[row.volume for row in rows],
        side=[_TAKERS.get(row.side) for row in rows],
        trade_id=[None if row.tid is None else str(row.tid) for row in rows],
        exchange_ns=[row.time * x.MS for row in rows],
        snapshot=snapshot,
        counts=counts,
    )


def _of_streams(rows: Sequence[_Stream]) -> x.Trades:
    return x.Trades(
        native=[row.native.upper() for row in rows],
        price=[row.price for row in rows],
        volume=[row.volume for row in rows],
        side=["sell" if row.m else "buy" for row in rows],
        trade_id=id_texts([row.id for row in rows]),
        exchange_ns=[row.time for row in rows],
        snapshot=[False] * len(rows),
    )


def control(message: object) -> x.Control | None:
    if not isinstance(message, dict):
        return None
    match text_inside(message, "type"):
        case "trade":
            return x.MalformedTrade()
        case "l2_updates":  # most of what comes
            return x.MalformedTrade() if message.get("trades") else x.KeepAlive()
        case "heartbeat" | "auction_open" | "auction_indicative" | "auction_result" | "auction_extension":
            return x.KeepAlive()
    if text_inside(message, "result") == "error":  # {"reason":"NoValidTradingPairs","result":"error"}
        reason = text_inside(message, "reason")
        return x.Refusal(reason, transient=bool(_TRANSIENT.search(reason)))
    if isinstance(message.get("status"), int) and "id" in message:
        request_id = text_inside(message, "id")
        if message["status"] == 200:
            return x.Ack(request_id=request_id)
        code, reason = text_inside(message, "error", "code"), text_inside(message, "error", "msg")
        named = tuple(name.upper() for name in _STREAM.findall(reason))
        transient = message["status"] >= 429 or bool(_TRANSIENT.search(reason))
        # One bad stream rejects the whole request: its id leads to the others, which are requested again.
        return x.Refusal(f"{code} {reason}".strip(), named, request_id, transient)
    return x.MalformedTrade() if {"E", "s", "t"} <= message.keys() else None
