"""Binance spot, individual trades: wss://stream.binance.com:9443, as recorded in 2024 and 2026."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs

from actors.exchanges.contract.loopback import MS, Answer, Talk, Venue, compact, parsed, texts
from actors.exchanges.contract.loopback_market import Fill, Market, Seed, Style

SUFFIX = "@trade"
STREAMS_MAX = 1024  # per connection


def _natives(talk: Talk, streams: Sequence[str]) -> list[str]:
    """The markets of stream names. What is not known stays silent: Binance acknowledges it all the same."""
    names = [stream.removesuffix(SUFFIX).upper() for stream in streams if stream.endswith(SUFFIX)]
    return [name for name in names if name in talk.known]


def _opening(talk: Talk) -> Answer:
    """Streams may stand in the URL: /ws/btcusdt@trade or /stream?streams=btcusdt@trade/ethusdt@trade."""
    streams = talk.path.split("/")[2:] + "/".join(parse_qs(talk.query).get("streams", [])).split("/")
    return Answer(add=_natives(talk, streams))


def _hear(talk: Talk, text: str) -> Answer:
    message = parsed(text)
    if message is None:
        return Answer([compact({"code": 3, "msg": "Invalid JSON: expected value at line 1 column 1"})])
    method, request_id, params = message.get("method"), message.get("id"), texts(message.get("params"))
    if method == "LIST_SUBSCRIPTIONS":
        streams = [native.lower() + SUFFIX for native in talk.subscribed]
        return Answer([compact({"result": streams, "id": request_id})])
    if method not in ("SUBSCRIBE", "UNSUBSCRIBE"):
        variants = "expected one of `SUBSCRIBE`, `UNSUBSCRIBE`, `LIST_SUBSCRIPTIONS`"
        problem = f"Invalid request: unknown variant `{method}`, {variants} at line 1 column 1"
        return Answer([compact({"code": 2, "msg": problem, "id": request_id})])
    ack = compact({"result": None, "id": request_id})
    if method == "UNSUBSCRIBE":
        return Answer([ack], remove=_natives(talk, params))
    if len(talk.subscribed) + len(params) > STREAMS_MAX:
        return Answer(close=(1008, "Too many streams"))
    return Answer([ack], add=_natives(talk, params))


def _tell(market: Market, fills: Sequence[Fill]) -> list[str]:
    return [
        f'{{"e":"trade","E":{fill.ns // MS + 1},"s":"{market.native}","t":{fill.trade_id},"p":"{fill.price}",'
        f'"q":"{fill.volume}","T":{fill.ns // MS},"m":{"true" if fill.side == "sell" else "false"},"M":true}}'
        for fill in fills
    ]


def _wrap(talk: Talk, market: Market, frame: str) -> str:
    if not talk.path.startswith("/stream"):
        return frame
    return f'{{"stream":"{market.native.lower()}{SUFFIX}","data":{frame}}}'


def _seed(frame: Mapping[str, Any]) -> Seed:
    return Seed(frame["t"], 0, [frame["p"]], [frame["q"]])


BINANCE = Venue(
    name="binance",
    doc="https://github.com/binance/binance-spot-api-docs/blob/master/web-socket-streams.md",
    paths={"/ws": "", "/stream": ""},
    styles={"": Style(resolution_ns=MS, trims_zeros=False)},
    seed=_seed,
    opening=_opening,
    hear=_hear,
    tell=_tell,
    wrap=_wrap,
    ping_s=20.0,
    pong_s=60.0,
    requests_per_s=5,
    connects=(300.0, 300.0),
)
