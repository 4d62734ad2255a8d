"""Coinbase Exchange: the public `matches` channel, with `heartbeat` beside it so that quiet is not dead."""

import re
from collections.abc import Sequence
from typing import Literal

import msgspec

from actors.exchanges.contract.feed import (
    Ack,
    Control,
    KeepAlive,
    MalformedTrade,
    Market,
    Refusal,
    Trades,
)
from actors.exchanges.contract.feed_helpers import (
    compact,
    decode_frames,
    id_texts,
    inside,
    require_kind,
    require_upper,
    rfc3339_column_ns,
    text_inside,
)
from actors.model.symbols import Symbol

# https://docs.cdp.coinbase.com/exchange/websocket-feed, read 2026-11-22 via stored copy. A subscribe must
# follow within 5 s of the connect.
ENDPOINT = "wss://ws-feed.exchange.coinbase.com"

# `side` is the maker's: the same trade in `ticker`, which gives the taker's, was opposite 107 times of 107.
_TAKER = {"buy": "sell", "sell": "buy"}
# Tried at the start of a word only, so that a long text takes time in proportion to its length.
INVALID = re.compile(r"(?<!\S)(\S{1,64}) is not a valid product")
# Not about a product: 100 messages a second an IP (rate-limits), and troubles of its own.
TRANSIENT = re.compile(
    r"rate.?limit|too many|throttl|slow down|internal (?:server )?error|try again", re.IGNORECASE
)


class _Match(
    msgspec.Struct,
    gc=False,
    rename={"native": "product_id", "id": "trade_id", "volume": "size", "maker_side": "side"},
):
    """{"type":"match","trade_id":280232,"maker_order_id":"...","taker_order_id":"...","side":"sell","size":"985",
    "price":"0.00001305","product_id":"SKL-BTC","sequence":177100030,"time":"2021-04-17T16:43:37.089723Z"};
    one "last_match" a product comes on subscribe: a trade that may be known already."""

    type: Literal["match", "last_match"]
    native: str
    id: int
    price: str
    volume: str
    maker_side: Literal["buy", "sell"]
    time: str


_decoder = msgspec.json.Decoder(_Match)


def market(symbol: Symbol, _channel: str = "") -> Market:
    require_kind(symbol, "coinbaseexchange", ("spot",))
    require_upper(symbol, "coinbaseexchange")
    return Market(str(symbol), f"{symbol.base}-{symbol.quote}", ENDPOINT)


def subscribe_text(natives: Sequence[str], channel: str, _request_id: str) -> str:
    return compact({"type": "subscribe", "product_ids": list(natives), "channels": [channel, "heartbeat"]})


def unsubscribe_text(natives: Sequence[str], channel: str, _request_id: str) -> str:
    return compact({"type": "unsubscribe", "product_ids": list(natives), "channels": [channel, "heartbeat"]})


def trades(frames: Sequence[bytes]) -> Trades:
    matches = decode_frames(_decoder, frames)
    ids = [match.id for match in matches]
    return Trades(
        native=[match.native for match in matches],
        price=[match.price for match in matches],
        volume=[match.volume for match in matches],
        side=[_TAKER[match.maker_side] for match in matches],
        trade_id=id_texts(ids),
        exchange_ns=rfc3339_column_ns([match.time for match in matches]),
        snapshot=[match.type == "last_match" for match in matches],
        numbers=ids,
    )


def control(message: object) -> Control | None:
    match text_inside(message, "type"):
        case "match" | "last_match":
            return MalformedTrade()
        case "heartbeat":  # its last_trade_id was 0 for months: no use for gaps
            return KeepAlive()
        case "subscriptions":
            return Ack(_subscribed(message), whole=True)
        case "error":
            reason = f"{text_inside(message, 'message')}: {text_inside(message, 'reason')}".strip(": ")
            return Refusal(reason, tuple(INVALID.findall(reason)), transient=bool(TRANSIENT.search(reason)))
    return None


def _subscribed(message: object) -> tuple[str, ...]:
    """All products of the connection's `matches`: every answer lists all subscriptions, not only the new."""
    channels = inside(message, "channels")
    for channel in channels if isinstance(channels, list) else ():
        products = inside(channel, "product_ids")
        if text_inside(channel, "name") == "matches" and isinstance(products, list):
            return tuple(product for product in products if isinstance(product, str))
    return ()
