"""Hyperliquid: `trades` of perpetuals, those of builders' dexes too, and of spot; one coin a request."""

import re
from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

from actors.exchanges.contract import feed as x
from actors.exchanges.contract.feed_helpers import (
    compact,
    decode_frames,
    id_texts,
    inside,
    named,
    require_kind,
    text_inside,
)
from actors.model.symbols import Symbol, SymbolError

# https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/websocket/subscriptions, through clients that
# follow it, and as recorded up to September 2026.
ENDPOINT = "wss://api.hyperliquid.xyz/ws"
CHANNEL = "trades"
# What builders' dexes settle in; the exchange's own perpetuals know USDC alone.
DEX_QUOTES = ("USDC", "USDH", "USDE", "USDT0")

_SIDES = {"B": "buy", "A": "sell"}  # the taker's
_COIN = re.compile(r'"coin": ?"([^"\s]{1,64})"')
# Not about a coin: no list of errors is documented.
_TRANSIENT = re.compile(r"too many|rate.?limit|cannot track more|try again|internal", re.IGNORECASE)


class _Trade(
    msgspec.Struct,
    gc=False,
    rename={"native": "coin", "price": "px", "volume": "sz", "id": "tid"},
):
    """{"coin":"BTC","side":"B","px":"105056.0","sz":"0.02222","time":1737918847000,"hash":"0x00...","tid":
    917211710228416,"users":["0x8a43...","0x6802..."]}; `users` are buyer and seller, `hash` is zeros for parts of
    TWAP orders and liquidations, `time` that of the block."""

    native: str
    side: Literal["B", "A"]
    price: str
    volume: str
    time: int
    id: int


class _Frame(msgspec.Struct, gc=False, tag_field="channel", tag=CHANNEL):
    """{"channel":"trades","data":[...]}, oldest first; the first one of a coin is its last 30 trades."""

    data: Annotated[list[_Trade], msgspec.Meta(min_length=1)]


_decoder = msgspec.json.Decoder(_Frame)


def market(symbol: Symbol, _channel: str = "") -> x.Market:
    """BTC for BTC/USDC:USDC, xyz:SP500 for xyz_SP500/USDC:USDC of the dex xyz. Spot pairs are called by an index,
    which only the list of markets knows (@107 is HYPE/USDC); PURR/USDC alone has a name of its own."""
    require_kind(symbol, "hyperliquid", ("spot", "swap"))
    base, quote, settle = symbol.base, symbol.quote, symbol.settle
    if not settle:
        return x.Market(str(symbol), f"{base}/{quote}", ENDPOINT)
    dex, _, coin = base.rpartition("_")
    if quote != settle or settle not in (DEX_QUOTES if dex else ("USDC",)):
        raise SymbolError(
            f"{symbol}: hyperliquid's perpetuals are settled in USDC, in capitals", f"{base}/USDC:USDC"
        )
    if coin == coin.lower() != coin.upper():  # kPEPE is 1,000 PEPE
        right = f"{dex}_{coin.upper()}" if dex else coin.upper()
        raise SymbolError(f"{symbol}: hyperliquid writes its coins in capitals", f"{right}/{quote}:{settle}")
    return x.Market(str(symbol), f"{dex}:{coin}" if dex else coin, ENDPOINT)


def _request(method: str, natives: Sequence[str], channel: str) -> str:
    (native,) = natives
    return compact({"method": method, "subscription": {"type": channel, "coin": native}})


def subscribe_text(natives: Sequence[str], channel: str, _request_id: str) -> str:
    return _request("subscribe", natives, channel)


def unsubscribe_text(natives: Sequence[str], channel: str, _request_id: str) -> str:
    return _request("unsubscribe", natives, channel)


def trades(frames: Sequence[bytes]) -> x.Trades:
    lists = [frame.data for frame in decode_frames(_decoder, frames)]
    rows = [trade for data in lists for trade in data]
    return x.Trades(
        native=[row.native for row in rows],
        price=[row.price for row in rows],
        volume=[row.volume for row in rows],
        side=[_SIDES[row.side] for row in rows],
        trade_id=id_texts([row.id for row in rows]),
        exchange_ns=[row.time * x.MS for row in rows],
        snapshot=[False] * len(rows),
        counts=[len(data) for data in lists],
    )


def control(message: object) -> x.Control | None:
    match text_inside(message, "channel"):
        case "trades":
            return x.KeepAlive() if inside(message, "data") == [] else x.MalformedTrade()
        case "subscriptionResponse":
            if text_inside(message, "data", "subscription", "type") != CHANNEL:
                return x.KeepAlive()
            coin = named(text_inside(message, "data", "subscription", "coin"))
            unsubscribed = text_inside(message, "data", "method") == "unsubscribe"
            return x.Unsubscribed(coin) if unsubscribed and coin else x.Ack(coin)
        case "error":
            reason = text_inside(message, "data")
            coins = tuple(_COIN.findall(reason))
            if reason.startswith("Already subscribed"):
                return x.Ack(coins)
            return x.Refusal(reason, coins, transient=bool(_TRANSIENT.search(reason)))
        case "pong":
            return x.KeepAlive()
    return None
