"""What a loopback exchange is: how one venue answers, as a frozen value and pure functions. No I/O here."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from actors.exchanges.contract.loopback_market import Fill, Market, Seed, Style
from actors.exchanges.contract.loopback_rest import Listing, Past, Question, Reply
from actors.exchanges.contract.loopback_rest import compact as compact

MS = 1_000_000
US = 1_000


@dataclass(slots=True)
class Talk:
    """One connection as the venue sees it. `subscribed` is kept by the session, `channels` by the venue."""

    path: str
    query: str
    category: str
    connection: int
    known: Collection[str]
    now_ns: Callable[[], int]
    subscribed: dict[str, Market] = field(default_factory=dict)
    channels: dict[str, set[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a message does: `frames` go out, `add` and `remove` change the subscriptions (native names),
    `replay` re-sends old trades of these. `pong`: it answers the server's own pings, all sent so far.
    A `close` is (code, reason) and comes last."""

    frames: Sequence[str] = ()
    add: Sequence[str] = ()
    remove: Sequence[str] = ()
    replay: Sequence[str] = ()
    pong: bool = False
    close: tuple[int, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Venue:
    """How one exchange behaves on its WebSocket.

    `paths` maps URL paths (and what lies below them) to the category of markets served there.
    `styles[category]` is how its numbers look; `seed(frame)` reads a recorded trade frame.
    `opening` is what happens on connect, `hear` on a client's text, `tell` makes the frames of one taker's
    fills, `replay` those of old trades, `wrap` puts a trade frame into the connection's envelope, `beat`
    gives the heartbeats due every `beat_s` (only while nothing else was sent, if `beat_when_idle`).
    `ping_s` and `pong_s`: protocol pings and how long their answer may take. `deaf_s`: closed when the
    client sent nothing for so long (`deaf_counts_pushes`: and nothing was pushed either).
    `requests_per_s`: how many messages a client may send; `connects`: how many connections an address may
    open, in how many seconds. `warm_up`: old fills that a market has before its first subscriber.
    `server_ping(talk)`: a ping in the exchange's own words, sent every `server_ping_s`; when
    `server_pings_unanswered` of them have no answer the connection is closed with `server_ping_close`.
    `encode` makes the payload of each message of its text (compression), `binary` sends it as a binary message.
    Its REST side: `past` answers about old trades, `listing` lists the markets, `tokens` answers, by
    path, requests for a token; the URL in it is the exchange's real one, as the client replaces its host.
    """

    name: str
    doc: str
    paths: Mapping[str, str]
    styles: Mapping[str, Style]
    seed: Callable[[Mapping[str, object]], Seed]
    hear: Callable[[Talk, str], Answer]
    tell: Callable[[Market, Sequence[Fill]], list[str]]
    opening: Callable[[Talk], Answer] | None = None
    replay: Callable[[Market], list[str]] | None = None
    wrap: Callable[[Talk, Market, str], str] | None = None
    beat: Callable[[Talk], list[str]] | None = None
    beat_s: float = 1.0
    beat_when_idle: bool = False
    ping_s: float = 30.0
    pong_s: float = 60.0
    deaf_s: float | None = None
    deaf_counts_pushes: bool = False
    deaf_close: tuple[int, str] = (1000, "")
    subscribe_within_s: float | None = None
    requests_per_s: int | None = None
    connects: tuple[float, float]
    warm_up: int = 0
    server_ping: Callable[[Talk], str] | None = None
    server_ping_s: float = 5.0
    server_pings_unanswered: int = 2
    server_ping_close: tuple[int, str] = (1000, "")
    encode: Callable[[str], bytes] | None = None
    binary: bool = False
    past: Past | None = None
    listing: Listing | None = None
    tokens: Mapping[str, Callable[[Question], Reply]] = field(default_factory=dict)


def parsed(text: str) -> dict[str, object] | None:
    """A client's JSON object; None for anything else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def texts(value: object) -> list[str]:
    """The texts of a JSON list; [] where it is no list of texts only."""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return list(value)
    return []


def rfc3339_us(ns: int) -> str:
    """UTC with six decimals and Z."""
    whole = datetime.fromtimestamp(ns // 1_000_000_000, UTC)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{ns // US % 1_000_000:06d}Z"
