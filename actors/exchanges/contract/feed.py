"""What a dialect is: how one exchange speaks, as a frozen value and a few pure functions. No I/O here."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from actors.model.symbols import Symbol
from actors.model.ticks import IdPromise

MS = 1_000_000  # nanoseconds in a millisecond: most exchanges stamp trades in milliseconds


@dataclass(frozen=True, slots=True)
class Market:
    """One market as the exchange names it.

    `native` is the name in the exchange's own frames; `endpoint` the WebSocket URL (without query) that
    carries it; `volume_unit` 'base', 'contracts' or 'quote'.
    """

    symbol: str
    native: str
    endpoint: str
    volume_unit: str = "base"


@dataclass(slots=True)
class Trades:
    """Columns of equal length, one entry a trade, in wire order.

    `price` and `volume` are the wire's own digits, not yet checked; `side` is the taker's, 'buy', 'sell'
    or None; `trade_id` None where the exchange sends none; `exchange_ns` nanoseconds UTC or None;
    `snapshot` True for old trades that the frame itself marks as re-sent on subscribe; `fills` how many
    single trades a row stands for, ending with its id, None where each row is one.
    """

    native: list[str]
    price: list[str]
    volume: list[str]
    side: list[str | None]
    trade_id: list[str | None]
    exchange_ns: list[int | None]
    snapshot: list[bool]
    fills: list[int] | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One subscribe message. `request_id` is what the answer will echo, `natives` what it asks for."""

    text: str
    request_id: str
    natives: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ack:
    """The exchange confirmed `natives`, or all of the request with this id, or (both empty) of the oldest.

    With `whole`, `natives` are all that this connection is subscribed to now.
    """

    natives: tuple[str, ...] = ()
    request_id: str = ""
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """The exchange refused a subscription; `reason` is its own words. Which markets: as in Ack.

    With `passing`, it is about the rate of requests or the exchange's own trouble, not about the markets: the
    same request is right later. One of these that names neither market nor request is for no request in particular.
    """

    reason: str
    natives: tuple[str, ...] = ()
    request_id: str = ""
    passing: bool = False


@dataclass(frozen=True, slots=True)
class Unsubscribed:
    """The exchange ended the subscriptions to `natives`, or (empty) to all of this connection, unasked.

    `reason` where it gives one.
    """

    natives: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Condition:
    """The state that the exchange says it is in, in its own words; "" for the normal one.

    `matches` False: no trades are made as long as it lasts.
    """

    words: str = ""
    matches: bool = True


@dataclass(frozen=True, slots=True)
class Alive:
    """A heartbeat, pong, status or other message that is known and carries no trade."""


@dataclass(frozen=True, slots=True)
class Leaving:
    """The exchange says that it will close this connection; `reason` is its own words."""

    reason: str


@dataclass(frozen=True, slots=True)
class TradeLike:
    """The message is of the trade kind, so that what is wrong with it is a field, not its type."""


Control = Ack | Refusal | Unsubscribed | Condition | Alive | Leaving | TradeLike


class MarketRule(Protocol):
    """Makes a Market of a unified symbol; `channel` may decide its endpoint, "" is the dialect's first."""

    def __call__(self, symbol: Symbol, channel: str = "", /) -> Market: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the exchange allows on one connection. Sources stand in each dialect."""

    symbols_per_connection: int
    symbols_per_request: int
    request_bytes: int = 4096
    requests_per_s: float
    requests_per_hour: float = math.inf  # where that is less than requests_per_s would come to
    connects_per_s: float = 1.0
    message_bytes: int = 1 << 20  # a trade frame is 0.2 to 250 KB; more is a fault, not data


@dataclass(frozen=True, slots=True, kw_only=True)
class AppPing:
    """A ping in the exchange's own words, sent every `interval_s`."""

    text: str
    interval_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How one exchange speaks.

    - `market(symbol, channel)`: the Market of a unified symbol; raises SymbolError naming what is right.
    - `examples`: symbols that the exchange takes, to show to people who wrote another one.
    - `subscribe(natives, channel, first_id)`: the Requests for these natives of one endpoint, within
      `limits`; request ids count up from `first_id`.
    - `trades(frames)`: the trades of frames that are all well-formed trade frames, decoded at once;
      raises ValueError (FieldError, msgspec's errors), KeyError or RecursionError as soon as one is
      anything else, an empty trade list included. The caller then goes frame by frame and asks
      `control`. An enum that msgspec refuses is a side: only sides are typed as Literal of their words.
    - `control(message)`: what a message that is no sound trade frame is: `message` is the parsed JSON,
      or the text itself where it is not JSON; None for a type that is not known. Never raises.
    - `list_key`: where a frame's trade list stands, keys joined by dots (lists on the way are gone
      through), when one frame may hold several trades: so one bad trade costs only itself.
    - `answers_each`: a request for several markets is answered market by market, so that a market that is
      refused costs no other of its request.
    - `replays_unmarked`: after a subscribe the exchange may re-send old trades that look like live ones.
    """

    name: str
    title: str
    doc: str
    doc_read: str
    channels: tuple[str, ...]
    limits: Limits
    silence_s: float
    market: MarketRule
    subscribe: Callable[[Sequence[str], str, int], Sequence[Request]]
    trades: Callable[[Sequence[bytes]], Trades]
    control: Callable[[object], Control | None]
    ids: Mapping[str, IdPromise]
    ids_note: str
    history: str
    markets_note: str
    ping_note: str
    ping: AppPing | None = None
    list_key: str = ""
    answers_each: bool = False
    replays_unmarked: bool = False
    ack_s: float = 10.0
    lifetime_s: float | None = None
    examples: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())
