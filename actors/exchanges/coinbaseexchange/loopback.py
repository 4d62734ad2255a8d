"""Coinbase Exchange, matches: wss://ws-feed.exchange.coinbase.com, as recorded in 2021 and 2026."""

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from actors.exchanges.coinbaseexchange.loopback_common import HISTORY
from actors.exchanges.contract.loopback import (
    US,
    Answer,
    ClientSession,
    Venue,
    compact,
    json_object,
    rfc3339_us,
    string_list,
)
from actors.exchanges.contract.loopback_market import Fill, Market, Seed, Style
from actors.exchanges.contract.loopback_rest import HttpRequest, HttpResponse, ListedMarket, Listing

CHANNELS = ("matches", "heartbeat")


def _error(reason: str, message: str = "Failed to subscribe") -> Answer:
    return Answer([compact({"type": "error", "message": message, "reason": reason})])


def _asked(message: Mapping[str, object]) -> dict[str, list[str]]:
    """Product ids by channel: channels are names, or objects with products of their own."""
    common = string_list(message.get("product_ids"))
    channels = message.get("channels")
    asked: dict[str, list[str]] = {}
    for channel in channels if isinstance(channels, list) else []:
        if isinstance(channel, str):
            asked[channel] = common
        elif isinstance(channel, dict):
            asked[str(channel.get("name"))] = string_list(channel.get("product_ids")) or common
    return asked


def _on_message(session: ClientSession, text: str) -> Answer:
    message = json_object(text)
    if message is None:
        return Answer([compact({"type": "error", "message": "Malformed JSON"})])
    kind, asked = message.get("type"), _asked(message)
    if kind not in ("subscribe", "unsubscribe"):
        return _error(f"{kind} is not a valid type", "Failed to parse message")
    if not asked:
        return _error("No channels specified")
    for channel, products in asked.items():
        if channel not in CHANNELS:
            return _error(f"{channel} is not a valid channel")
        for product in products:  # one bad product fails the whole request
            if product not in session.known:
                return _error(f"{product} is not a valid product")
    before = set(session.channels.get("matches", ()))
    for channel, products in asked.items():
        current = session.channels.setdefault(channel, set())
        if kind == "subscribe":
            current.update(products)
        else:
            current.difference_update(products)
    after = session.channels.get("matches", set())
    ack = {
        "type": "subscriptions",
        "channels": [
            {"name": channel, "product_ids": sorted(products), "account_ids": None}
            for channel, products in session.channels.items()
            if products
        ],
    }
    new = sorted(after - before)
    return Answer([compact(ack)], add=new, remove=sorted(before - after), replay=new)


def _order_id(market: Market, order: str) -> uuid.UUID:
    digest = hashlib.blake2b(f"{market.native} {order}".encode(), digest_size=16).digest()
    return uuid.UUID(bytes=digest, version=4)


def _match(market: Market, fill: Fill, kind: str) -> str:
    # `side` is the maker's: the opposite of the taker's.
    return (
        f'{{"type":"{kind}","trade_id":{fill.trade_id},'
        f'"maker_order_id":"{_order_id(market, fill.trade_id + " maker")}",'
        f'"taker_order_id":"{_order_id(market, str(fill.order))}",'
        f'"side":"{"sell" if fill.side == "buy" else "buy"}",'
        f'"size":"{fill.volume}","price":"{fill.price}","product_id":"{market.native}",'
        f'"sequence":{fill.seq},"time":"{rfc3339_us(fill.ns)}"}}'
    )


def _trade_frames(market: Market, fills: Sequence[Fill]) -> list[str]:
    return [_match(market, fill, "match") for fill in fills]


def _replay(market: Market) -> list[str]:
    return [_match(market, market.recent[-1], "last_match")]


def _heartbeat(session: ClientSession) -> list[str]:
    """One a product; `last_trade_id` has been seen to be 0 for months."""
    now = rfc3339_us(session.now_ns())
    return [
        f'{{"type":"heartbeat","last_trade_id":0,"product_id":"{product}","sequence":0,"time":"{now}"}}'
        for product in sorted(session.channels.get("heartbeat", ()))
    ]


def _seed(frame: Mapping[str, Any]) -> Seed:
    return Seed(frame["trade_id"], frame["sequence"], [frame["price"]], [frame["size"]])


def _listed(_request: HttpRequest, markets: Sequence[ListedMarket]) -> HttpResponse:
    rows = []
    for market in markets:
        base, _, quote = market.symbol.partition("/")
        rows.append(
            {
                "id": market.native,
                "base_currency": base,
                "quote_currency": quote,
                "quote_increment": "0.01",
                "base_increment": "0.00000001",
                "status": "online",
                "trading_disabled": False,
            }
        )
    return HttpResponse(compact(rows))


COINBASEEXCHANGE = Venue(
    name="coinbaseexchange",
    doc="https://docs.cdp.coinbase.com/exchange/websocket-feed/channels",
    paths={"": ""},
    styles={"": Style(resolution_ns=US, trims_zeros=True)},
    seed=_seed,
    on_message=_on_message,
    trade_frames=_trade_frames,
    replay=_replay,
    heartbeat=_heartbeat,
    subscribe_within_s=5.0,
    requests_per_s=100,
    warm_up=1,
    connects=(20.0, 1.0),  # 8 a second, in bursts of 20
    history=HISTORY,
    listing=Listing(paths=("/products",), answer=_listed),
)
