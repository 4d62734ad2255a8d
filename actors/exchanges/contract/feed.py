"""The WebSocket side of an exchange as a frozen value and a few pure functions: the dialect. No I/O here."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol

from msgspec import Struct, field
from msgspec.structs import replace

from actors.exchanges.contract.instruments import Instrument
from actors.exchanges.contract.rest import (
    DETAIL_CHARS_MAX,
    UNREADABLE,
    ErrorResponse,
    Garbled,
    RateLimit,
    RestRequest,
)
from actors.model.schema import Schema
from actors.model.symbols import Symbol, parse_symbol
from actors.model.ticks import TICKS, IdPromise

ANSWER_EXCERPT_BYTES = 200
TRADES = "trades"  # the stream that every exchange has
MS = 1_000_000  # nanoseconds in a millisecond: most exchanges stamp trades in milliseconds


class Market(Struct, frozen=True):
    """One market in the exchange's terms.

    `native` is the name in the exchange's own frames; `endpoint` the WebSocket URL (without query) that carries it;
    `volume_unit` 'base', 'contracts' or 'quote'. `instrument` is its row of the exchange's list, None if unknown:
    then the documented naming rule has created the market.
    """

    symbol: str
    native: str
    endpoint: str
    volume_unit: str = "base"
    instrument: Instrument | None = None


class Trades(Struct):
    """Columns of equal length, one entry a trade, in wire order.

    `price` and `volume` are the wire's own digits, not yet checked; `side` is the taker's, 'buy', 'sell'
    or None; `trade_id` None where the exchange sends none; `exchange_ns` nanoseconds UTC or None;
    `snapshot` True for old trades that the frame itself marks as re-sent on subscribe; `fills` how many
    single trades a row stands for, ending with its id, None where each row is one; `off_book` True for fills
    that never met the order book (insurance fund, deleveraging, negotiated blocks): their ids count as seen, they
    are not stored but rejected with the reason 'off_book'. None where there is none. `breaks` True for rows before
    which trades of the same market are missing, where the exchange counts its trades (or its frames) with numbers
    beside their ids: only a `decoder` with state can know. None where there is none. `counts` holds how many trades
    each message has; None where each has exactly one. `numbers` holds the ids as integers where the exchange sends
    them so.
    """

    native: list[str]
    price: list[str]
    volume: list[str]
    side: list[str | None]
    trade_id: list[str | None]
    exchange_ns: list[int | None]
    snapshot: list[bool]
    fills: list[int] | None = None
    off_book: list[bool] | None = None
    breaks: list[bool] | None = None
    counts: list[int] | None = None
    numbers: list[int] | None = None


class Request(Struct, frozen=True):
    """One subscribe message. The answer echoes `request_id`; `natives` are the markets requested."""

    text: str
    request_id: str
    natives: tuple[str, ...]


class Ack(Struct, frozen=True):
    """The exchange confirmed `natives`, or all of the request with this id, or (both empty) of the oldest.

    `whole`: `natives` are all markets to which this connection is subscribed now. `only`: the other markets of the
    request with this id do not exist; the exchange refuses them by leaving them out.
    """

    natives: tuple[str, ...] = ()
    request_id: str = ""
    whole: bool = False
    only: bool = False


class Refusal(Struct, frozen=True):
    """The exchange refused a subscription; `reason` is its own text. Which markets: as in Ack.

    `transient`: it is about the request rate or a fault of the exchange, not about the markets; the same request
    may succeed later. A transient refusal that names neither market nor request applies to no particular request.
    """

    reason: str
    natives: tuple[str, ...] = ()
    request_id: str = ""
    transient: bool = False


class Unsubscribed(Struct, frozen=True):
    """The exchange ended the subscriptions to `natives`, or (empty) to all of this connection, unrequested.

    `reason` if it gives one.
    """

    natives: tuple[str, ...] = ()
    reason: str = ""


class Condition(Struct, frozen=True):
    """The exchange's own status; `message` is its text, "" while it works normally.

    `matches` False: its matching engine makes no trades while this lasts.
    """

    message: str = ""
    matches: bool = True


class KeepAlive(Struct, frozen=True):
    """A heartbeat, pong, status or other message that is known and carries no trade."""


class CloseNotice(Struct, frozen=True):
    """The exchange announces that it will close this connection; `reason` is its own text."""

    reason: str


class MalformedTrade(Struct, frozen=True):
    """A trade message that could not be decoded: one of its fields is wrong, not its type."""


class Reply(Struct, frozen=True):
    """The exchange requires `text` as an immediate reply to this message (its own ping, a heartbeat)."""

    text: str


class Welcome(Struct, frozen=True):
    """Requests may be sent from now on; see Dialect.waits_for_welcome."""


Control = Ack | Refusal | Unsubscribed | Condition | KeepAlive | CloseNotice | MalformedTrade | Reply | Welcome


class FeedDecoder(Protocol):
    """Decodes the frames of one connection. Each connection gets its own, so it may keep state between frames.

    `trades` and `control` follow the rules stated in Dialect.
    """

    def trades(self, frames: Sequence[bytes], /) -> Trades:
        """The trades of frames that are all well-formed trade frames."""
        ...

    def control(self, message: object, /) -> Control | None:
        """Classifies a message that is not a well-formed trade frame."""
        ...


class MarketRule(Protocol):
    """Makes a Market of a unified symbol; `channel` may decide its endpoint, "" is the dialect's first."""

    def __call__(self, symbol: Symbol, channel: str = "", /) -> Market: ...


class Limits(Struct, frozen=True, kw_only=True):
    """What the exchange allows on one connection, and how many an address may have. Dialects name sources."""

    symbols_per_connection: int
    symbols_per_request: int
    request_bytes: int = 4096
    requests_per_s: float
    requests_max: float = math.inf  # within `requests_window_s`, if that allows less than requests_per_s
    requests_window_s: float = 3600.0
    connects_per_s: float = 1.0
    connections_max: float = math.inf  # of one address, where a number is documented
    message_bytes: int = 1 << 20  # a trade frame has 0.2 to 250 KB; a larger message is an error


class Ping(Struct, frozen=True, kw_only=True):
    """The ping that this client sends every `interval_s`, so that the exchange keeps the connection open.

    `text` makes the message from its number (1, 2, ...), for an id that must be new; None is a ping of the
    WebSocket protocol (RFC 6455). `when_idle`: only if nothing was received for `interval_s`.
    """

    interval_s: float
    text: Callable[[int], str] | None = None
    when_idle: bool = False


class Token(Struct, frozen=True, kw_only=True):
    """The exchange's answer to a TokenRequest: the URL to connect to, and the ping interval it requires."""

    url: str
    ping_interval_s: float | None = None


class TokenRequest(Struct, frozen=True, kw_only=True):
    """The REST request sent before each connection; `parse` reads the body of an answer with status 200.

    `parse` raises Busy or anything in rest.UNREADABLE; call it through `read`. The settings ws_url and
    rest_url replace scheme, host and port of `Token.url` and of the request. It is a rest.RestService.
    """

    request: RestRequest
    limit: RateLimit
    parse: Callable[[bytes], Token]

    @property
    def base(self) -> str:
        """Scheme and host of the request."""
        return self.request.base

    @property
    def banned(self) -> Mapping[int, float]:
        """Empty: no status is known to mean a ban."""
        return {}

    def error_response(self, status: int, body: bytes) -> ErrorResponse:  # noqa: ARG002 - as RestService has it
        """The beginning of the answer; never final, because a token request may always be repeated."""
        return ErrorResponse(body[:ANSWER_EXCERPT_BYTES].decode("utf-8", "replace"))

    def read(self, body: bytes) -> Token:
        """The token in an answer; raises TransientError."""
        try:
            token = self.parse(body)
        except UNREADABLE as error:
            raise Garbled(f"the answer holds no token: {str(error)[:DETAIL_CHARS_MAX]}") from error
        if not token.url.startswith(("wss://", "ws://")):
            raise Garbled(f"the answer leads to no WebSocket: {token.url[:DETAIL_CHARS_MAX]}")
        return token


class Stream(Struct, frozen=True, kw_only=True):
    """One kind of rows that the exchange sends: its channels, the default first, and the schema of its table."""

    channels: tuple[str, ...]
    schema: Schema


def _undefined(_frames: object) -> Any:
    raise AssertionError("this dialect decodes with state: use Dialect.decoder_for(markets)")


class Dialect(Struct, frozen=True, kw_only=True):
    """The WebSocket protocol of one exchange.

    - `market(symbol, channel)`: the Market of a unified symbol; raises SymbolError with the expected spelling.
    - `examples`: symbols that the exchange accepts, shown in error messages.
    - `subscribe_text(natives, channel, request_id)`: the message that asks for these natives of one endpoint.
    - `trades(frames)`: the trades of frames that are all well-formed trade frames, decoded at once;
      raises ValueError (FieldError, msgspec's errors), KeyError or RecursionError if any frame is
      anything else, including one with an empty trade list. The caller then decodes frame by frame and calls
      `control`. Only sides are typed as Literal, so an enum error of msgspec always means a bad side.
      Rows of newest-first frames are reversed, so that times ascend.
    - `control(message)`: classifies a message that is not a well-formed trade frame: `message` is the parsed
      JSON, the text if it is not JSON, or the bytes if they are not text. Returns None for an unknown type.
      Never raises.
    - `decoder(markets)`: replaces `trades` and `control` where a frame can only be decoded with state from
      earlier frames of the connection; called once per connection with its markets by native name. It may see
      a frame twice: first in a batch that it rejects, then alone.
    - `list_key`: path to a frame's trade list, keys joined by dots (lists on the way are iterated; a number is
      a list index; keys for different frames are joined by "|"), where one frame may hold several trades; then
      one bad trade is rejected alone.
    - `split`: the same where frames are not JSON: one frame for each trade. Raises ValueError.
    - `answers_each`: a request for several markets is answered market by market, so that refusing one market
      does not affect the others of its request.
    - `acknowledges` False: the exchange documents that it answers no request. A market then counts as requested
      once the request is sent, and as recorded from its first trade on. Or the channels whose requests it answers.
    - `request_replaces`: each request replaces all earlier ones of the connection, so each names all markets.
    - `unsubscribe_text(natives, channel, request_id)`: the message that ends these subscriptions, within the
      limits of a request; None where the protocol has none: then a connection is replaced to drop a market.
    - `listed(instrument, channel)`: the Market of a row of the exchange's instrument list, where its native name
      is not the name in the list; else `market` makes it, with the list's native name and volume unit.
    - `opening`: messages sent once on each connection before the first request (for example to switch a heartbeat
      on); `control` classifies their answers as KeepAlive.
    - `settle_s`: the pause between connecting and the first message.
    - `headers`: sent with the handshake.
    - `bad_symbol_closes`: the exchange closes the connection on an unknown symbol without giving a reason.
      Markets are then requested one by one, and a market whose request closes the connection is set aside.
    - `waits_for_welcome`: send no request before `control` has returned a Welcome.
    - `token`: the REST request sent before each connection; its answer contains the URL to connect to. A mapping
      holds one for each endpoint that needs one.
    - `compression`: how each message is compressed. limits.message_bytes applies before and after decompression.
    - `ping`: the ping that this client sends to keep the connection open. A mapping holds one for each endpoint
      that needs one.
    - `replays_unmarked`: how many old trades of each market the exchange may re-send after a subscribe without
      marking them.
    - `resolution`: of the times of its trades. `replay_note`: which old trades come on subscribe, shown to users.
    - `streams`: streams other than trades, by name; `channels` are the channels of trades.
    """

    doc: str
    doc_read: str
    channels: tuple[str, ...]
    limits: Limits
    silence_s: float
    market: MarketRule
    subscribe_text: Callable[[Sequence[str], str, str], str]
    trades: Callable[[Sequence[bytes]], Trades] = _undefined
    control: Callable[[object], Control | None] = _undefined
    decoder: Callable[[Mapping[str, Market]], FeedDecoder] | None = None
    ids: Mapping[str, IdPromise]
    ids_note: str
    markets_note: str
    ping_note: str
    resolution: Literal["s", "ms", "us", "100 ns", "ns"]
    replay_note: str
    ping: Ping | Mapping[str, Ping] | None = None
    list_key: str = ""
    split: Callable[[bytes], Iterable[bytes]] | None = None
    answers_each: bool = False
    acknowledges: bool | frozenset[str] = True
    request_replaces: bool = False
    bad_symbol_closes: bool = False
    waits_for_welcome: bool = False
    token: TokenRequest | Mapping[str, TokenRequest] | None = None
    opening: tuple[str, ...] = ()
    settle_s: float = 0.0
    headers: tuple[tuple[str, str], ...] = ()
    unsubscribe_text: Callable[[Sequence[str], str, str], str] | None = None
    listed: Callable[[Instrument, str], Market] | None = None
    compression: Literal["gzip"] | None = None
    replays_unmarked: int = 0
    ack_s: float = 10.0
    lifetime_s: float | None = None
    examples: tuple[str, ...] = ()
    streams: Mapping[str, Stream] = field(default_factory=dict)
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        stateless = self.trades is not _undefined and self.control is not _undefined
        if stateless == (self.decoder is not None):
            raise ValueError(f"{self.doc}: a dialect has either `trades` and `control` or `decoder`")
        if self.request_replaces and self.limits.symbols_per_request < self.limits.symbols_per_connection:
            raise ValueError(f"{self.doc}: a request that replaces all others must hold a connection's symbols")
        if self.bad_symbol_closes and (self.limits.symbols_per_request > 1 or self.acknowledges is not True):
            raise ValueError(f"{self.doc}: to find a bad symbol, each must be requested and confirmed alone")

    @property
    def all_streams(self) -> Mapping[str, Stream]:
        """All streams by name, trades included."""
        return {TRADES: Stream(channels=self.channels, schema=TICKS), **self.streams}

    def acknowledges_on(self, channel: str) -> bool:
        """Whether requests for this channel are answered."""
        return self.acknowledges if isinstance(self.acknowledges, bool) else channel in self.acknowledges

    def ping_at(self, endpoint: str) -> Ping | None:
        """The ping that keeps a connection to this endpoint open."""
        return self.ping.get(endpoint) if isinstance(self.ping, Mapping) else self.ping

    def token_at(self, endpoint: str) -> TokenRequest | None:
        """The token request to send before connecting to this endpoint."""
        return self.token.get(endpoint) if isinstance(self.token, Mapping) else self.token

    def market_listed(self, instrument: Instrument, channel: str) -> Market:
        """The Market of a row of the instrument list; raises SymbolError for one that cannot be recorded."""
        if self.listed is not None:
            market = self.listed(instrument, channel)
        else:
            made = self.market(parse_symbol(instrument.symbol), channel)
            market = replace(made, native=instrument.native, volume_unit=instrument.volume_unit)
        return replace(market, instrument=instrument)

    def decoder_for(self, markets: Mapping[str, Market]) -> FeedDecoder:
        """The decoder of one connection that carries `markets`, by native name."""
        return self if self.decoder is None else self.decoder(markets)

    def subscribe(self, natives: Sequence[str], channel: str, first_id: int) -> list[Request]:
        """The requests for these natives of one endpoint, within `limits`; their ids count up from `first_id`."""
        return self._requests(self.subscribe_text, natives, channel, first_id)

    def unsubscribe(self, natives: Sequence[str], channel: str, first_id: int) -> list[Request]:
        """The requests that end these subscriptions, likewise; [] if the protocol has none."""
        return self._requests(self.unsubscribe_text, natives, channel, first_id) if self.unsubscribe_text else []

    def _requests(
        self,
        make_text: Callable[[Sequence[str], str, str], str],
        natives: Sequence[str],
        channel: str,
        first_id: int,
    ) -> list[Request]:
        limits, done, start = self.limits, list[Request](), 0
        while start < len(natives):
            request_id = str(first_id + len(done))
            take = min(limits.symbols_per_request, len(natives) - start)
            text = make_text(natives[start : start + take], channel, request_id)
            while len(text.encode()) > limits.request_bytes and take > 1:
                take = max(1, take // 2)
                text = make_text(natives[start : start + take], channel, request_id)
            done.append(Request(text, request_id, tuple(natives[start : start + take])))
            start += take
        return done
