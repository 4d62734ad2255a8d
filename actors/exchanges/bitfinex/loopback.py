"""Bitfinex v2, trades: wss://api-pub.bitfinex.com/ws/2, as documented and recorded in 2021 and 2026."""

from collections.abc import Mapping, Sequence
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
)

CHANNELS_MAX = 30  # of one connection
FIRST_CHANNEL = 19_111
NO_CHANNEL = 0
SNAPSHOT_ROWS = 30


def _on_connect(_session: ClientSession) -> Answer:
    return Answer([compact({"event": "info", "version": 2, "serverId": "sandbox", "platform": {"status": 1}})])


def _error(code: int, msg: str, **echo: object) -> Answer:
    return Answer([compact({**echo, "event": "error", "msg": msg, "code": code})])


def _on_message(session: ClientSession, text: str) -> Answer:
    message = json_object(text)
    if message is None:
        return Answer()  # text that is no JSON gets no reply
    match message.get("event"):
        case "ping":
            return Answer([compact({"event": "pong", "ts": session.now_ns() // MS, "cid": message.get("cid")})])
        case "subscribe":
            return _subscribe(session, message)
        case "unsubscribe":
            return _unsubscribe(session, message.get("chanId"))
    return _error(10000, "unknown event")


def _subscribe(session: ClientSession, message: Mapping[str, object]) -> Answer:
    symbol = str(message.get("symbol"))
    symbol = symbol if symbol.startswith("t") else f"t{symbol}"  # a pair without its t is taken as well
    echo = {"channel": message.get("channel"), "symbol": symbol, "pair": symbol[1:]}
    if message.get("channel") != "trades":
        return _error(10301, "channel: unknown", **echo)
    if symbol not in session.known:
        return _error(10300, "symbol: invalid", **echo)
    if symbol in session.subscribed:
        return _error(10301, "subscribe: dup", **echo)
    if len(session.subscribed) >= CHANNELS_MAX:
        return _error(10305, "subscribe: limit", **echo)
    ids = session.channels.setdefault("ids", set())
    channel = FIRST_CHANNEL + 1000 * session.connection + len(ids)
    ids.add(str(channel))
    session.channels[symbol] = {str(channel)}
    ack = {"event": "subscribed", "channel": "trades", "chanId": channel, "symbol": symbol, "pair": symbol[1:]}
    return Answer([compact(ack)], add=[symbol], replay=[symbol])


def _unsubscribe(session: ClientSession, channel: object) -> Answer:
    symbol = next((one for one in session.subscribed if session.channels.get(one) == {str(channel)}), None)
    if symbol is None:
        return _error(10400, "unsubscribe: invalid", chanId=channel)
    return Answer([compact({"event": "unsubscribed", "status": "OK", "chanId": channel})], remove=[symbol])


def _row(fill: Fill) -> str:
    """The sign of the amount is the taker's side."""
    return f"[{fill.trade_id},{fill.ns // MS},{'-' if fill.side == 'sell' else ''}{fill.volume},{fill.price}]"


def _trade_frames(_market: Market, fills: Sequence[Fill]) -> list[str]:
    """Each trade twice: executed, and its update. The channel id is the connection's, see _wrap."""
    return [f'[{NO_CHANNEL},"{kind}",{_row(fill)}]' for kind in ("te", "tu") for fill in fills]


def _replay(market: Market) -> list[str]:
    newest = list(market.recent)[-SNAPSHOT_ROWS:]
    return [f"[{NO_CHANNEL},[{','.join(_row(fill) for fill in reversed(newest))}]]"]


def _wrap(session: ClientSession, market: Market, frame: str) -> str:
    (channel,) = session.channels[market.native]
    return f"[{channel}{frame.removeprefix(f'[{NO_CHANNEL}')}"


def _heartbeat(session: ClientSession) -> list[str]:
    return [f'[{channel},"hb"]' for symbol in session.subscribed for channel in session.channels[symbol]]


def _seed(frame: Any) -> Seed:
    """Of a trade that was executed, or of the newest of a snapshot."""
    row = frame[2] if frame[1] == "te" else frame[1][0]
    return Seed(row[0], 0, [str(row[3])], [str(row[2]).removeprefix("-")])


# The REST side: a pair's trades by time.

REST_PATH = "/v2/trades/"
REST_ROWS_MAX = 10_000


def _rest_answer(request: HttpRequest, find: Find) -> HttpResponse:
    native, _, last = request.path.removeprefix(REST_PATH).partition("/")
    tape = find("", native)
    if tape is None or last != "hist":
        return HttpResponse('["error",10020,"symbol: invalid"]', 500)
    start, end = request.number("start", 0) or 0, request.number("end")
    first = tape.at_ns(start * MS)
    behind = len(tape.fills) if end is None else tape.at_ns((end + 1) * MS)
    rows, limit = tape.fills[first:behind], request.limit("limit", 125, REST_ROWS_MAX)
    rows = rows[:limit] if request.query.get("sort") == "1" else rows[-limit:][::-1]
    return HttpResponse(f"[{','.join(map(_row, rows))}]")


# The lists of pairs and perpetuals: names alone, without the t.

LIST_PATHS = ("/v2/conf/pub:list:pair:exchange", "/v2/conf/pub:list:pair:futures")


def _listing(request: HttpRequest, markets: Sequence[ListedMarket]) -> HttpResponse:
    futures = request.path == LIST_PATHS[1]
    names = [market.native.removeprefix("t") for market in markets if (":" in market.symbol) == futures]
    return HttpResponse(compact([names]))


BITFINEX = Venue(
    name="bitfinex",
    doc="https://docs.bitfinex.com/reference/ws-public-trades",
    paths={"/ws/2": ""},
    styles={"": Style(resolution_ns=MS, trims_zeros=True)},
    seed=_seed,
    on_connect=_on_connect,
    on_message=_on_message,
    trade_frames=_trade_frames,
    replay=_replay,
    wrap=_wrap,
    heartbeat=_heartbeat,
    heartbeat_s=15.0,
    subscribe_within_s=60.0,
    connects=(20.0, 60.0),
    history=HistoryServer(
        doc="https://docs.bitfinex.com/reference/rest-public-trades",
        paths=(REST_PATH,),
        answer=_rest_answer,
        units=15.0,
        window_s=60.0,
        too_many=HttpResponse('["error",11010,"ratelimit: error"]', 429),
    ),
    listing=Listing(paths=LIST_PATHS, answer=_listing),
)
