"""The loopback server of an exchange: its WebSocket behaviour as a frozen value and pure functions. No I/O here."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from actors.exchanges.contract.loopback_market import Fill, Market, Seed, Style
from actors.exchanges.contract.loopback_rest import HistoryServer, HttpRequest, HttpResponse, Listing
from actors.exchanges.contract.loopback_rest import compact as compact

MS = 1_000_000
US = 1_000


@dataclass(slots=True)
class ClientSession:
    """The server's state of one client connection. The sandbox maintains `subscribed`, the venue `channels` and
    `messages`, the number of those sent where the exchange counts them."""

    path: str
    query: str
    category: str
    connection: int
    known: Collection[str]
    now_ns: Callable[[], int]
    subscribed: dict[str, Market] = field(default_factory=dict)
    channels: dict[str, set[str]] = field(default_factory=dict)
    messages: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """The server's reaction to a message: send `frames`, change the subscriptions by `add` and `remove` (native
    names), re-send old trades of the markets in `replay`. `pong`: the message answers all server pings so far.
    `close` is (code, reason), executed last."""

    frames: Sequence[str] = ()
    add: Sequence[str] = ()
    remove: Sequence[str] = ()
    replay: Sequence[str] = ()
    pong: bool = False
    close: tuple[int, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Venue:
    """How one exchange behaves on its WebSocket.

    - `paths`: maps URL paths (and everything below them) to the category of markets served there.
    - `styles[category]`: the format of its numbers; `seed(frame)` reads a recorded trade frame.
    - `on_connect(session)`, `on_message(session, text)`: the reaction to a new client and to a client's message.
    - `trade_frames(market, fills)`: the frames of one taker's fills; `replay(market)`: those of old trades;
      `wrap` puts a trade frame into the connection's envelope.
    - `acknowledges_last`: the re-sent trades come before the answer's frames.
    - `heartbeat(session)`: the heartbeats due every `heartbeat_s` (with `heartbeat_when_idle` only if nothing
      else was sent).
    - `ping_s`, `pong_s`: interval of protocol pings, and the deadline of their answer.
    - `idle_timeout_s`: the server closes with `idle_close` if the client sent nothing for so long
      (`pushes_count_as_activity`: and nothing was pushed either).
    - `subscribe_within_s`: the server closes a connection without subscriptions after so long.
    - `requests_per_s`: how many messages a client may send; `connects`: how many connections an address may
      open, in how many seconds.
    - `warm_up`: old fills that a market has before its first subscriber.
    - `server_ping(session)`: a ping in the exchange's own format, sent every `server_ping_s`; after
      `server_pings_unanswered` of them without an answer the server closes with `server_ping_close`.
    - `encode`: makes the payload of each message from its text (compression); `binary`: sends it as a binary
      message.
    - Its REST side: `history` serves old trades, `listing` the list of markets, `tokens` answers token requests, by
      path; the URL in a token is the exchange's real one, because the client replaces its host.
    """

    name: str
    doc: str
    paths: Mapping[str, str]
    styles: Mapping[str, Style]
    seed: Callable[[Mapping[str, object]], Seed]
    on_message: Callable[[ClientSession, str], Answer]
    trade_frames: Callable[[Market, Sequence[Fill]], list[str]]
    on_connect: Callable[[ClientSession], Answer] | None = None
    replay: Callable[[Market], list[str]] | None = None
    acknowledges_last: bool = False
    wrap: Callable[[ClientSession, Market, str], str] | None = None
    heartbeat: Callable[[ClientSession], list[str]] | None = None
    heartbeat_s: float = 1.0
    heartbeat_when_idle: bool = False
    ping_s: float = 30.0
    pong_s: float = 60.0
    idle_timeout_s: float | None = None
    pushes_count_as_activity: bool = False
    idle_close: tuple[int, str] = (1000, "")
    subscribe_within_s: float | None = None
    requests_per_s: int | None = None
    connects: tuple[float, float]
    warm_up: int = 0
    server_ping: Callable[[ClientSession], str] | None = None
    server_ping_s: float = 5.0
    server_pings_unanswered: int = 2
    server_ping_close: tuple[int, str] = (1000, "")
    encode: Callable[[str], bytes] | None = None
    binary: bool = False
    history: HistoryServer | None = None
    listing: Listing | None = None
    tokens: Mapping[str, Callable[[HttpRequest], HttpResponse]] = field(default_factory=dict)


def json_object(text: str) -> dict[str, object] | None:
    """Parses a client's JSON object; None for anything else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def string_list(value: object) -> list[str]:
    """A JSON list of strings; [] for anything else."""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return list(value)
    return []


def rfc3339_us(ns: int) -> str:
    """UTC with six decimals and Z."""
    whole = datetime.fromtimestamp(ns // 1_000_000_000, UTC)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{ns // US % 1_000_000:06d}Z"
