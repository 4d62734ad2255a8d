"""Coinbase Advanced Trade: the public `market_trades` channel, with `heartbeats` so that quiet is not dead."""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

from actors.exchanges.coinbaseexchange.feed import INVALID, TRANSIENT
from actors.exchanges.contract.feed import Ack, Control, KeepAlive, MalformedTrade, Market, Refusal, Trades
from actors.exchanges.contract.feed_helpers import (
    compact,
    decode_frames,
    inside,
    require_kind,
    require_upper,
    rfc3339_column_ns,
    text_inside,
)
from actors.exchanges.contract.instruments import Instrument
from actors.model.symbols import Symbol, SymbolError

# https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-overview, read 2026-11-26 via
# stored copy. A subscribe must follow within 5 s of the connect; channels close after 60 to 90 s without updates.
ENDPOINT = "wss://advanced-trade-ws.coinbase.com"
CHANNEL = "market_trades"
HEARTBEATS = compact({"type": "subscribe", "channel": "heartbeats"})

# `side` is the maker's: by the order book of 2026-08-09 in 73 of 76 trades. The documents do not say.
_TAKER = {"BUY": "sell", "SELL": "buy"}


class _Trade(
    msgspec.Struct,
    gc=False,
    rename={"native": "product_id", "id": "trade_id", "volume": "size", "maker_side": "side"},
):
    """{"product_id":"BTC-USD","trade_id":"1068572090","price":"65083.67","size":"0.002186",
    "time":"2026-08-09T21:05:42.514318Z","side":"SELL"}"""

    native: str
    id: str
    price: str
    volume: str
    maker_side: Literal["BUY", "SELL"]
    time: str


class _Event(msgspec.Struct, gc=False):
    """{"type":"update","trades":[...]}, newest first; "snapshot" holds the last 100 of a product."""

    type: str
    trades: list[_Trade]


class _Frame(msgspec.Struct, gc=False, tag_field="channel", tag=CHANNEL):
    """{"channel":"market_trades","timestamp":"2026-08-09T21:05:48.228568804Z","sequence_num":0,"events":[...]}"""

    events: Annotated[list[_Event], msgspec.Meta(min_length=1)]


_decoder = msgspec.json.Decoder(_Frame)


def market(symbol: Symbol, _channel: str = "") -> Market:
    require_kind(symbol, "coinbase", ("spot",))
    require_upper(symbol, "coinbase")
    if symbol.quote == "USDC":
        raise SymbolError(f"{symbol}: coinbase sends the trades of the USD market instead", f"{symbol.base}/USD")
    return Market(str(symbol), f"{symbol.base}-{symbol.quote}", ENDPOINT)


def listed(instrument: Instrument, _channel: str) -> Market:
    """The list leaves out products that stand for another, so one in USDC that it has is a market of its own."""
    return Market(instrument.symbol, instrument.native, ENDPOINT)


def subscribe_text(natives: Sequence[str], channel: str, _request_id: str) -> str:
    return compact({"type": "subscribe", "product_ids": list(natives), "channel": channel})


def unsubscribe_text(natives: Sequence[str], channel: str, _request_id: str) -> str:
    return compact({"type": "unsubscribe", "product_ids": list(natives), "channel": channel})


def trades(frames: Sequence[bytes]) -> Trades:
    rows: list[_Trade] = []
    snapshot: list[bool] = []
    counts: list[int] = []
    for frame in decode_frames(_decoder, frames):
        before = len(rows)
        for event in frame.events:
            rows += event.trades[::-1]
            snapshot += [event.type == "snapshot"] * len(event.trades)
        if len(rows) == before:
            raise ValueError("no trades")
        counts.append(len(rows) - before)
    return Trades(
        native=[row.native for row in rows],
        price=[row.price for row in rows],
        volume=[row.volume for row in rows],
        side=[_TAKER[row.maker_side] for row in rows],
        trade_id=[row.id for row in rows],
        exchange_ns=rfc3339_column_ns([row.time for row in rows]),
        snapshot=snapshot,
        counts=counts,
    )


def control(message: object) -> Control | None:
    match text_inside(message, "channel"):
        case "market_trades":  # a product that has never traded has an empty snapshot
            return KeepAlive() if _is_empty(inside(message, "events")) else MalformedTrade()
        case "heartbeats":
            return KeepAlive()
        case "subscriptions":
            return _subscribed(inside(message, "events"))
    if text_inside(message, "type") == "error":
        reason = f"{text_inside(message, 'message')}: {text_inside(message, 'reason')}".strip(": ")
        return Refusal(reason, tuple(INVALID.findall(reason)), transient=bool(TRANSIENT.search(reason)))
    return None


def _is_empty(events: object) -> bool:
    return isinstance(events, list) and all(inside(event, "trades") == [] for event in events)


def _subscribed(events: object) -> Control:
    """{"subscriptions":{"market_trades":["BTC-USD","ETH-USD"],"heartbeats":["heartbeats"]}}, of the connection."""
    for event in events if isinstance(events, list) else ():
        products = inside(event, "subscriptions", CHANNEL)
        if isinstance(products, list):
            return Ack(tuple(product for product in products if isinstance(product, str)), whole=True)
    return KeepAlive()  # the answer to the request for heartbeats
