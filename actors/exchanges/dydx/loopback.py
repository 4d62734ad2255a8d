"""dYdX v4, v4_trades: wss://indexer.dydx.trade/v4/ws and its REST side, as documented and quoted up to 2026."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from actors.exchanges.contract.loopback import MS, Answer, ClientSession, Venue, compact, json_object
from actors.exchanges.contract.loopback_market import Fill, Market, Seed, Style
from actors.exchanges.contract.loopback_rest import (
    Find,
    HistoryServer,
    HttpRequest,
    HttpResponse,
    ListedMarket,
    Listing,
    error,
)

CHANNEL = "v4_trades"
SUBSCRIPTIONS_MAX = 32
REPLAYED = 100
UNNUMBERED = '"connection_id":"","message_id":0'  # of a frame before it goes out


def _numbered(session: ClientSession, frame: str) -> str:
    """Every message of a connection has the number after the one before."""
    number = f'"connection_id":"sandbox-{session.connection:05d}","message_id":{session.messages}'
    session.messages += 1
    return frame.replace(UNNUMBERED, number, 1)


def _message(session: ClientSession, kind: str, **fields: object) -> str:
    rest = f",{compact(fields)[1:-1]}" if fields else ""
    return _numbered(session, f'{{"type":"{kind}",{UNNUMBERED}{rest}}}')


def _error(session: ClientSession, message: str) -> Answer:
    return Answer([_message(session, "error", message=message)])


def _on_message(session: ClientSession, text: str) -> Answer:
    """The answer to a subscription holds the last trades; here it comes without them, then with `_replay`'s."""
    message = json_object(text) or {}
    kind, channel, native = message.get("type"), message.get("channel"), str(message.get("id"))
    if kind == "ping":
        return Answer([_message(session, "pong")])
    if kind not in ("subscribe", "unsubscribe"):
        return _error(session, f"Invalid message type: {kind}")
    if channel != CHANNEL:
        return _error(session, f"Invalid channel: {channel}")
    if native not in session.known:
        return _error(session, f"Invalid subscription id for channel: ({channel}-{native})")
    if kind == "unsubscribe":
        return Answer([_message(session, "unsubscribed", channel=channel, id=native)], remove=[native])
    if native not in session.subscribed and len(session.subscribed) >= SUBSCRIPTIONS_MAX:
        return _error(
            session, f"Per-connection subscription limit reached for {channel} (limit={SUBSCRIPTIONS_MAX})."
        )
    done = _message(session, "subscribed", id=native, channel=channel, contents={"trades": []})
    return Answer([done], add=[] if native in session.subscribed else [native], replay=[native])


def _height(fill: Fill) -> int:
    """A block a second."""
    return fill.ns // (1000 * MS)


def _row(fill: Fill) -> str:
    moment = datetime.fromtimestamp(fill.ns // MS // 1000, UTC)
    return (
        f'{{"id":"{fill.trade_id}","side":"{fill.side.upper()}","size":"{fill.volume}","price":"{fill.price}",'
        f'"type":"LIMIT","createdAt":"{moment:%Y-%m-%dT%H:%M:%S}.{fill.ns // MS % 1000:03d}Z",'
        f'"createdAtHeight":"{_height(fill)}"}}'
    )


def _frame(market: Market, fills: Sequence[Fill], kind: str, version: str) -> str:
    rows = ",".join(_row(fill) for fill in fills)
    return (
        f'{{"type":"{kind}",{UNNUMBERED},"id":"{market.native}","channel":"{CHANNEL}",{version}'
        f'"contents":{{"trades":[{rows}]}}}}'
    )


def _trade_frames(market: Market, fills: Sequence[Fill]) -> list[str]:
    return [_frame(market, fills, "channel_data", '"version":"2.4.0",')]


def _replay(market: Market) -> list[str]:
    return [_frame(market, list(market.recent)[: -REPLAYED - 1 : -1], "subscribed", "")]


def _seed(frame: Mapping[str, Any]) -> Seed:
    rows = frame["contents"]["trades"]
    last_id = int(rows[-1]["id"], 16) % 10**15
    return Seed(last_id, 0, [row["price"] for row in rows], [row["size"] for row in rows])


# The REST side: newest first, from a height or a time on.

REST_PATH = "/v4/trades/perpetualMarket/"
REST_ROWS_MAX = 1000


def _rest_error(status: int, message: str) -> HttpResponse:
    return error(status, errors=[{"msg": message}])


def _rest_answer(request: HttpRequest, find: Find) -> HttpResponse:
    native = request.path.removeprefix(REST_PATH)
    tape = find("", native)
    if tape is None:
        return _rest_error(404, f"{native} not found in markets of type perpetualMarket")
    fills = list(tape.fills)
    height, before = request.number("createdBeforeOrAtHeight"), request.query.get("createdBeforeOrAt")
    if height is not None:
        fills = [fill for fill in fills if _height(fill) <= height]
    elif before is not None:
        try:
            end_ms = round(datetime.fromisoformat(before).timestamp() * 1000)
        except ValueError:
            return _rest_error(400, "createdBeforeOrAt must be a valid ISO 8601 date")
        fills = [fill for fill in fills if fill.ns // MS <= end_ms]
    rows = fills[-request.limit("limit", REST_ROWS_MAX, REST_ROWS_MAX) :]
    return HttpResponse(f'{{"trades":[{",".join(_row(fill) for fill in reversed(rows))}]}}')


def _listing(_request: HttpRequest, markets: Sequence[ListedMarket]) -> HttpResponse:
    steps = {"status": "ACTIVE", "tickSize": "0.01", "stepSize": "0.0001"}
    return HttpResponse(compact({"markets": {one.native: {"ticker": one.native, **steps} for one in markets}}))


DYDX = Venue(
    name="dydx",
    doc="https://docs.dydx.xyz/indexer-client/websockets",
    paths={"/v4/ws": ""},
    styles={"": Style(resolution_ns=MS, trims_zeros=True)},
    seed=_seed,
    on_connect=lambda session: Answer([_message(session, "connected")]),
    on_message=_on_message,
    trade_frames=_trade_frames,
    replay=_replay,
    wrap=lambda session, _market, frame: _numbered(session, frame),
    ping_s=30.0,
    pong_s=10.0,
    requests_per_s=2,
    warm_up=5,
    connects=(10.0, 1.0),
    history=HistoryServer(
        doc="https://docs.dydx.xyz/indexer-client/http",
        paths=(REST_PATH,),
        answer=_rest_answer,
        units=100.0,
        window_s=10.0,
        too_many=_rest_error(429, "Too many requests"),
    ),
    listing=Listing(paths=("/v4/perpetualMarkets",), answer=_listing),
)
