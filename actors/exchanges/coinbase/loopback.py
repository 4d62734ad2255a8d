"""Coinbase Advanced Trade, market_trades: wss://advanced-trade-ws.coinbase.com, as recorded in 2026."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
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

CHANNELS = ("market_trades", "heartbeats")


def _error(message: str, reason: str) -> Answer:
    return Answer([compact({"type": "error", "message": message, "reason": reason})])


def _on_message(session: ClientSession, text: str) -> Answer:
    message = json_object(text)
    if message is None:
        return Answer([compact({"type": "error", "message": "Malformed JSON"})])
    kind, channel, products = message.get("type"), message.get("channel"), string_list(message.get("product_ids"))
    if kind not in ("subscribe", "unsubscribe"):
        return _error("Failed to parse message", f"{kind} is not a valid type")
    if channel not in CHANNELS:
        return _error("Failed to subscribe", f"{channel} is not a valid channel")
    for product in products:
        if product not in session.known:
            return _error("Failed to subscribe", f"{product} is not a valid product")
    subscribed = session.channels.setdefault(str(channel), set())
    before, named = set(subscribed), ["heartbeats"] if channel == "heartbeats" else products
    if kind == "subscribe":
        subscribed.update(named)
    else:
        subscribed.difference_update(named)
    subscriptions = {name: sorted(members) for name, members in session.channels.items() if members}
    ack = {
        "channel": "subscriptions",
        "timestamp": rfc3339_us(session.now_ns()),
        "sequence_num": 0,
        "events": [{"subscriptions": subscriptions}],
    }
    if channel == "heartbeats":
        return Answer([compact(ack)])
    new = sorted(subscribed - before)
    return Answer([compact(ack)], add=new, remove=sorted(before - subscribed), replay=new)


def _row(market: Market, fill: Fill) -> str:
    side = "SELL" if fill.side == "buy" else "BUY"  # the maker's: the opposite of the taker's
    return (
        f'{{"product_id":"{market.native}","trade_id":"{fill.trade_id}","price":"{fill.price}",'
        f'"size":"{fill.volume}","time":"{rfc3339_us(fill.ns)}","side":"{side}"}}'
    )


def _frame(market: Market, kind: str, fills: Sequence[Fill]) -> str:
    """Newest first, also live."""
    rows = ",".join(_row(market, fill) for fill in reversed(fills))
    return (
        f'{{"channel":"market_trades","timestamp":"{rfc3339_us(fills[-1].ns)}","sequence_num":{fills[-1].seq},'
        f'"events":[{{"type":"{kind}","trades":[{rows}]}}]}}'
    )


def _trade_frames(market: Market, fills: Sequence[Fill]) -> list[str]:
    return [_frame(market, "update", fills)]


def _replay(market: Market) -> list[str]:
    return [_frame(market, "snapshot", list(market.recent))]


def _heartbeat(session: ClientSession) -> list[str]:
    if not session.channels.get("heartbeats"):
        return []
    now = datetime.fromtimestamp(session.now_ns() // 1_000_000_000, UTC)
    event = {"current_time": f"{now:%Y-%m-%d %H:%M:%S} +0000 UTC m=+41691.260485341", "heartbeat_counter": 41691}
    frame = {"channel": "heartbeats", "timestamp": rfc3339_us(session.now_ns()), "sequence_num": 35}
    return [compact({**frame, "events": [event]})]


def _seed(frame: Mapping[str, Any]) -> Seed:
    rows = frame["events"][0]["trades"]
    prices, sizes = [row["price"] for row in rows], [row["size"] for row in rows]
    return Seed(int(rows[0]["trade_id"]), frame["sequence_num"], prices, sizes)


def _listed(_request: HttpRequest, markets: Sequence[ListedMarket]) -> HttpResponse:
    rows = []
    for market in markets:
        base, _, quote = market.symbol.partition("/")
        rows.append(
            {
                "product_id": market.native,
                "base_increment": "0.00000001",
                "price_increment": "0.01",
                "status": "online",
                "product_type": "SPOT",
                "base_currency_id": base,
                "quote_currency_id": quote,
                "alias": "",
            }
        )
    return HttpResponse(compact({"products": rows, "num_products": len(rows), "pagination": None}))


COINBASE = Venue(
    name="coinbase",
    doc="https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-channels",
    paths={"": ""},
    styles={"": Style(resolution_ns=US, trims_zeros=True)},
    seed=_seed,
    on_message=_on_message,
    trade_frames=_trade_frames,
    replay=_replay,
    acknowledges_last=True,
    heartbeat=_heartbeat,
    subscribe_within_s=5.0,
    requests_per_s=8,
    warm_up=1,
    connects=(8.0, 1.0),
    history=HISTORY,
    listing=Listing(paths=("/api/v3/brokerage/market/products",), answer=_listed),
)
