"""The form of tests/exchanges/NAME/cases.py: what is particular to one exchange, inputs and what must come of them.

Expectations come from the exchange's documentation and from recordings, never from this code.
"""

import importlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from actors.exchanges.contract.feed import Control, Market
from actors.exchanges.contract.history import Query, TradeRange
from actors.exchanges.contract.instruments import Instrument
from actors.exchanges.contract.rest import RestRequest
from actors.exchanges.loopbacks import LOOPBACKS
from actors.exchanges.registry import EXCHANGES
from actors.model.symbols import parse_symbol
from ops.config.keys import DEFAULT_SYMBOLS
from ops.sandbox.instruments import listings
from tests.harness.exchange_values import dialect_of, history_of
from tests.harness.paths import EXCHANGES_FOLDER, capture

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MS = 1_000_000


def json_or_text(payload: bytes) -> Any:
    """A message with its numbers as text; {"text": ...} of one that is no JSON."""
    try:
        return json.loads(payload, parse_float=str, parse_int=str)
    except ValueError:
        return {"text": payload.decode()}


@dataclass(frozen=True, slots=True)
class Native:
    """The unified `symbol` is called `native` at `endpoint`, where its volumes count `unit`."""

    symbol: str
    native: str
    endpoint: str
    unit: str = "base"
    channel: str = ""


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Request 7 asks for these natives of a channel with `text`."""

    natives: Sequence[str]
    channel: str
    text: str


@dataclass(frozen=True, slots=True)
class WireTrade:
    """A trade of a recorded frame, read by the documentation alone: exact values, the taker's side."""

    native: str
    trade_id: str | None
    price: Decimal
    volume: Decimal
    side: str | None
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """A page of the history to request, and the expected target (path and query) and body of the request."""

    trade_range: TradeRange
    target: str
    symbol: str = ""
    channel: str = ""
    cursor: str | None = None
    body: bytes | None = None


Row = tuple[str, str | None, str, str, str | None, int | None]  # native, id, price, volume, side, nanoseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class PageResponse:
    """An answer of the history (`body`, or what was recorded in `capture`), its rows and the next cursor.

    `rows` makes the rows of the parsed answer, whose numbers with a fraction are text.
    """

    rows: Callable[[Any], Iterable[Row]]
    cursor: str | None
    body: bytes = b""
    capture: str = ""
    symbol: str = ""
    channel: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    def content(self) -> bytes:
        """The body."""
        return capture(self.capture).read_bytes() if self.capture else self.body


@dataclass(frozen=True, slots=True, kw_only=True)
class InstrumentsResponse:
    """An answer of the instrument list (`body`, or as recorded in `capture`) to its request number `request`.

    It holds `count` instruments, among them `some`. `next_request` is the target of the next page's request.
    `listed_only` are the native names that no naming rule can know.
    """

    request: int
    count: int
    some: Sequence[Instrument]
    body: bytes = b""
    capture: str = ""
    next_request: str | None = None
    listed_only: Sequence[str] = ()

    def content(self) -> bytes:
        """The body."""
        return capture(self.capture).read_bytes() if self.capture else self.body


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeFrame:
    """A recorded trade frame, to be broken in every way: the last one of `capture`, of the market `symbol`.

    `path` leads to a trade in it, `keys` names that trade's native and id (which it may lack), price, volume, side
    and time.
    `native`: the market's name, where it is not what the frame calls it.
    `bad_times` are times out of range or without sense, `odd_time` is one of the wrong type. `numbers`: prices
    and volumes are JSON numbers, `texts`: they may be texts. `flag_side`: the side is a boolean. `text_ids`.
    `optional`: names of fields without which it is a sound trade all the same; a side may then be empty as well.
    """

    capture: str
    symbol: str
    keys: Mapping[str, str]
    path: tuple[str | int, ...] = ()
    bad_times: Sequence[object]
    odd_time: object
    numbers: bool = False
    texts: bool = True
    flag_side: bool = False
    text_ids: bool = False
    optional: Sequence[str] = ()
    native: str = ""


# Times that are none, for exchanges that send milliseconds as a JSON number, and for those that send RFC 3339.
BAD_MS = (0, -5, 10**16, 10**40)
BAD_RFC3339 = (
    *("", "yesterday", "2026-13-01T00:00:00Z", "1969-12-31T23:59:59Z", "2200-01-01T00:00:00Z"),
    *("2021-04-17T16:43:37.0897231234Z", "2021-04-17T16:43:37", "\uff12021-04-17T16:43:37Z"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cases:
    """What is particular to one exchange.

    - `markets`: unified symbols and what the exchange calls them.
    - `refused`: symbols that it has not, and a pattern of what the error proposes instead.
    - `subscribes`: what is sent to subscribe.
    - `controls`: messages that are no sound trades, and what they mean; a message that is no JSON stands for
      itself. `before` are messages that come first on the connection, where decoding depends on them.
    - `wire(message)`: the trades of a recorded message, its numbers with a fraction as text; None where it is no
      trade message. `control(message)`: it is one of the exchange's other known messages.
    - `parse(payload)`: what `wire` and `control` get of a recorded (decompressed) message: its JSON with numbers as
      text, or {"text": ...} where it is no JSON.
    - `markets_of`: recordings without expected trades, and the recording whose markets they have.
    - `frame`: a trade frame to break, where its trades are JSON objects that can be read by themselves.
    - `gained`: keys, by category, that a trade has gained since the loopback's frames were recorded.
    - `unknown_market`: how the history refuses a market that does not exist: status (0 if none is
      documented or it cannot be told from a proxy's), body, its text.
    - `rest_symbol`: the market of the recorded answers of the history; `requests`, `pages`, and its errors: bodies
      with status 200 (`errors`, with the class that is raised) or with another status (`error_texts`).
    - `listed`: recorded lists of instruments, where the exchange has instruments.
    - `loopback_errors`: requests to the loopback's REST side that it refuses: target or whole request, status,
      part of the body.
    - `loopback_shapes`: recorded answers of the history whose rows the loopback's have the shape of: the
      loopback's target, the recorded file, and the keys that lead to the rows in both.
    """

    markets: Sequence[Native]
    refused: Sequence[tuple[str, str]] = ()
    subscribes: Sequence[Subscribe]
    controls: Sequence[tuple[str, Control | None]]
    before: Sequence[bytes] = ()
    wire: Callable[[Any], Iterable[WireTrade] | None]
    control: Callable[[Any], bool]
    parse: Callable[[bytes], Any] = json_or_text
    markets_of: Mapping[str, str] = field(default_factory=dict)
    frame: TradeFrame | None = None
    gained: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    unknown_market: tuple[int, bytes, str] = (0, b"", "")
    rest_symbol: str = ""
    requests: Sequence[PageRequest] = ()
    pages: Sequence[PageResponse] = ()
    errors: Sequence[tuple[bytes, type[Exception]]] = ()
    error_texts: Sequence[tuple[int, bytes, str]] = ()
    listed: Sequence[InstrumentsResponse] = ()
    loopback_errors: Sequence[tuple[str | RestRequest, int, str]] = ()
    loopback_shapes: Sequence[tuple[str, str, tuple[str | int, ...], tuple[str | int, ...]]] = ()


def cases_of(name: str) -> Cases:
    """The cases of one exchange."""
    assert (EXCHANGES_FOLDER / name / "cases.py").is_file(), f"tests/exchanges/{name}/cases.py is missing"
    cases = importlib.import_module(f"tests.exchanges.{name}.cases").CASES
    assert isinstance(cases, Cases)
    return cases


def unknown_market_of(name: str) -> tuple[int, bytes, str]:
    """How the history of an exchange refuses a market; skips the test if that is not known."""
    found = cases_of(name).unknown_market
    if not found[0]:
        pytest.skip(f"how {name} answers for a market that it does not have is not documented")
    return found


def of_ms(ms: str | int) -> datetime:
    """The instant of milliseconds since 1970."""
    return EPOCH + timedelta(milliseconds=int(ms))


def parsed(message: str) -> object:
    """A message as `control` gets it."""
    try:
        return json.loads(message)
    except ValueError:
        return message


def market_of(name: str, symbol: str, channel: str = "") -> Market:
    """The market of a unified symbol."""
    return dialect_of(name).market(parse_symbol(symbol), channel or dialect_of(name).channels[0])


def listed_symbol(name: str) -> str:
    """A symbol that the loopback lists, of the kind that is recorded by default."""
    symbols = [listing.symbol for listing in listings(LOOPBACKS[name])]
    return next((symbol for symbol in DEFAULT_SYMBOLS.get(name, ()) if symbol in symbols), symbols[0])


def query_of(
    name: str,
    trade_range: TradeRange | None = None,
    cursor: str | None = None,
    *,
    symbol: str = "",
    channel: str = "",
    rows: int = 0,
) -> Query:
    """A page that is wanted of an exchange's history, of the recorded market where no other is named."""
    channel = channel or EXCHANGES[name].feed.channels[0]
    return Query(
        market=market_of(name, symbol or cases_of(name).rest_symbol, channel),
        channel=channel,
        trade_range=trade_range or TradeRange(from_id=1, to_id=10, from_ns=1_762_795_433_971_744_500),
        rows=rows or history_of(name).page_rows,
        cursor=cursor,
    )
