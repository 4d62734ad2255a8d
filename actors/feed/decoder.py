"""Decodes whole messages to ticks, rejects and control messages, so that a bad message costs only itself."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import compress, groupby, islice, takewhile
from typing import Any

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from actors.exchanges.contract.feed import Control, Dialect, FeedDecoder, MalformedTrade, Reply, Trades
from actors.feed.gunzip import gunzip
from actors.model.ticks import (
    AFTER_BREAK,
    OFF_BOOK,
    OFF_BOOK_AFTER_BREAK,
    REJECT_DETAIL_CHARS_MAX,
    REJECT_PAYLOAD_BYTES_MAX,
    Block,
    Reason,
    Reject,
)
from actors.model.validation import FieldError, amounts, check_ids, check_times, why_refused
from supervisor.text import FOREIGN_CHARS_MAX, printable

# The errors that message content can cause in a decoder; any other error is a bug of ours and must show.
_REFUSED = (ValueError, KeyError, RecursionError)

# The maximum number of trades in a message that is decoded one by one: 40 ms of work, and twice the documented
# maximum of any exchange (bybit: 1,024).
ENTRIES_MAX = 2_000
# A portion of a read holds this much once decompressed (20 ms of work), and one message more.
INFLATED_AT_ONCE = 4 << 20
REPLY_CHARS_MAX = 1_000  # a reply has some 50 characters; longer ones are not sent
OFF_BOOK_CHARS_MAX = 100  # of the numbers of a fill that is not stored
# If a batch cannot be decoded at once, parts of it of this many messages are tried before single ones.
PART_MESSAGES = 8
# A read ends after this many rejects and controls (10 ms of work), so that others get their turn.
ODD_AT_ONCE = 500
# What an exchange sends again by itself comes so long after the first of it, or after the end of the gap it fills.
REPLAY_NS = 10_000_000_000
# The content around a list of trades that is copied for each; exchanges send some 100 bytes in total.
MEMBERS_MAX, MEMBER_BYTES_MAX = 8, 256

_list = msgspec.json.Decoder(list[msgspec.Raw])
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


class _Replay(Struct):
    """Up to this many further rows of a native may be replayed: those older than `requested_ns` that are received
    soon after the first, at `began_ns`.
    """

    requested_ns: int
    rows_left: int
    began_ns: int | None = None

    def has(self, time_ns: int | None, received_ns: int) -> bool:
        """Whether the next row is one of them."""
        if self.began_ns is None:
            self.began_ns = received_ns
        self.rows_left -= 1
        soon = abs(received_ns - self.began_ns) <= REPLAY_NS  # an earlier receipt: this host's clock was set back
        return soon and time_ns is not None and time_ns < self.requested_ns


class Outcome(Struct):
    """The result of decoding: every trade, and every unknown message, became exactly one tick or one reject.

    `joined`: some tick may stand for more than one trade, see `Block.fills`. `off_book`, `breaks`: some tick never
    met the book, comes after a break. `messages` is the number of messages processed; the others have not been
    looked at. `numbers` are the ids of all ticks as integers, None if they are not known.
    """

    messages: int = 0
    ticks: int = 0
    joined: bool = False
    off_book: bool = False
    breaks: bool = False
    numbers: list[int] | None = None
    rejects: list[Reject] = field(default_factory=list)
    controls: list[Control] = field(default_factory=list)


class Decoder:
    """Decodes the messages of one connection; `markets` maps its requested natives to unified symbols.

    `feed` is the result of `Dialect.decoder_for` for this connection; the dialect itself if it keeps no state.
    `seen` holds the natives that have delivered a trade: data is an acknowledgement too.

    If the dialect replays without marking, the first rows of a native (at most dialect.replays_unmarked, until one
    does not qualify) are 'snapshot' if they are older than the request for it. The label depends on two clocks: if
    they differ by a second, trades of that second may be mislabelled, and of REPLAY_NS at most.
    """

    def __init__(
        self, exchange: str, dialect: Dialect, markets: Mapping[str, str], feed: FeedDecoder | None = None
    ) -> None:
        self.seen: set[str] = set()
        self._exchange = exchange
        self._dialect = dialect
        self._feed: FeedDecoder = feed or dialect
        self.markets = markets
        self._replaying: dict[str, _Replay] = {}
        self._behind: list[str] = []  # natives of the rows behind holes in the trades decoded last
        self._broken = set[str]()  # natives whose row behind a hole was rejected: the next one is marked instead
        self._beginning = b""  # what the trade frames of the last batch with other messages had in common

    def requested(self, natives: Iterable[str], now_ns: int) -> None:
        """A subscribe request for these natives is sent now (our clock, UTC): old trades may follow."""
        if self._dialect.replays_unmarked:
            for native in natives:
                self._replaying[native] = _Replay(now_ns, int(self._dialect.replays_unmarked))

    def read(self, messages: Sequence[bytes], received: Sequence[int] | int, block: Block) -> Outcome:
        """Appends the valid trades to `block`, in order; never raises because of message content.

        `received` is when each message was read, in nanoseconds UTC, or one time for all. If much of the content is
        invalid it ends early, see Outcome.messages: the caller yields and continues.
        """
        if isinstance(received, int):
            received = [received] * len(messages)
        if self._dialect.compression is not None:
            return self._read_compressed(messages, received, block)
        return self._read_plain(messages, received, block)

    def _read_plain(self, messages: Sequence[bytes], received: Sequence[int], block: Block) -> Outcome:
        outcome = Outcome(len(messages))
        if self._appended(messages, received, block, outcome):
            return outcome
        samples: list[bytes] = []  # of messages with trades
        for first, end in self._runs(messages):
            run, run_times = messages[first:end], received[first:end]
            if len(run) < len(messages) and self._appended(run, run_times, block, outcome):
                samples += run[0], run[-1]
                continue
            for start in range(first, end, PART_MESSAGES):
                stop = min(end, start + PART_MESSAGES)
                part, times = messages[start:stop], received[start:stop]
                if len(part) < len(run) and self._appended(part, times, block, outcome):
                    samples.append(part[0])
                    continue
                read = self._read_singly(part, times, block, outcome, samples)
                if _odd(outcome) >= ODD_AT_ONCE:
                    outcome.messages = start + read
                    return outcome
        if samples:
            self._beginning = _common_beginning(samples)
        return outcome

    def _read_singly(
        self,
        messages: Sequence[bytes],
        received: Sequence[int],
        block: Block,
        outcome: Outcome,
        samples: list[bytes],
    ) -> int:
        """Reads each message alone until there was much besides trades; returns how many were read. Those with
        trades are added to `samples`.
        """
        for number, (message, received_ns) in enumerate(zip(messages, received, strict=True), 1):
            if self._read_one(message, received_ns, block, outcome):
                samples.append(message)
            if _odd(outcome) >= ODD_AT_ONCE:
                return number
        return len(messages)

    def _runs(self, messages: Sequence[bytes]) -> Iterator[tuple[int, int]]:
        """The places of messages in a row that begin as trades do, and of others, such as heartbeats."""
        first = 0
        for _, run in groupby(messages, key=lambda message: message.startswith(self._beginning)):
            end = first + sum(1 for _ in run)
            yield first, end
            first = end

    def _appended(self, messages: Sequence[bytes], received: Sequence[int], block: Block, outcome: Outcome) -> bool:
        """Appends all messages at once if each is a valid trade frame; otherwise returns False, having appended
        none.

        One message is left to `_read_one`.
        """
        if len(messages) < 2:
            return False
        try:
            self._append(messages, received, block, outcome)
        except _REFUSED:
            return False
        return True

    def _read_compressed(self, messages: Sequence[bytes], received: Sequence[int], block: Block) -> Outcome:
        """The same for compressed messages. Decompresses at most INFLATED_AT_ONCE and one message at once."""
        limit = self._dialect.limits.message_bytes
        plain: list[bytes] = []
        places: list[int] = []  # the places of `plain` among the messages
        rejects: list[tuple[int, Reject]] = []
        size, taken = 0, len(messages)
        for place, message in enumerate(messages):
            if size >= INFLATED_AT_ONCE or place >= ODD_AT_ONCE:
                taken = place
                break
            try:
                plain.append(gunzip(message, limit))
                size += len(plain[-1])
                places.append(place)
            except FieldError as error:
                rejects.append((place, self._reject(message, received[place], error)))
                # its work equals that of this many messages
                size += limit if error.reason is Reason.OVERSIZE else 0
        outcome = self._read_plain(plain, [received[place] for place in places], block)
        if outcome.messages < len(plain):
            taken = places[outcome.messages]
        outcome.messages = taken
        outcome.rejects += [reject for place, reject in rejects if place < taken]
        return outcome

    def _append(self, messages: Sequence[bytes], received: Sequence[int], block: Block, outcome: Outcome) -> None:
        """Appends all trades of `messages` or, raising one of _REFUSED, none."""
        self._behind = []
        trades = self._feed.trades(messages)
        if trades.breaks is not None:
            self._behind = list(compress(trades.native, trades.breaks))
        times = _times(trades, received)
        try:
            symbol = list(map(self.markets.__getitem__, trades.native))
        except KeyError as error:
            raise FieldError(Reason.UNKNOWN_SYMBOL, f"a market that was not requested: {error}") from None
        try:
            price, volume = _amounts(trades)
            check_times(trades.exchange_ns)
            check_ids(trades.trade_id)
        except FieldError as error:
            error.symbol = symbol[0]
            raise
        if len(self.seen) < len(self.markets):
            self.seen.update(trades.native)
        count = len(symbol)
        outcome.breaks |= trades.breaks is not None or bool(self._broken)
        block.take(
            symbol,
            trades.exchange_ns,
            list(times),
            price,
            volume,
            trades.side,
            trades.trade_id,
            self._sources(trades, times),
            trades.fills,
        )
        outcome.numbers = None if outcome.ticks else trades.numbers
        outcome.ticks += count
        outcome.joined |= trades.fills is not None
        outcome.off_book |= trades.off_book is not None

    def _sources(self, trades: Trades, received: Sequence[int]) -> list[str]:
        sources = self._plain_sources(trades, received)
        if trades.breaks is not None:
            marked = zip(sources, trades.breaks, strict=True)
            sources = [AFTER_BREAK if broken else source for source, broken in marked]
        for native in self._broken.intersection(trades.native) if self._broken else ():
            sources[trades.native.index(native)] = AFTER_BREAK
            self._broken.remove(native)
        if trades.off_book is not None:
            booked = zip(sources, trades.off_book, strict=True)
            sources = [
                source if not off_book else OFF_BOOK_AFTER_BREAK if source == AFTER_BREAK else OFF_BOOK
                for source, off_book in booked
            ]
        return sources

    def _plain_sources(self, trades: Trades, received: Sequence[int]) -> list[str]:
        if not self._replaying:
            if not any(trades.snapshot):
                return ["stream"] * len(trades.snapshot)
            return ["snapshot" if marked else "stream" for marked in trades.snapshot]
        sources = []
        rows = zip(trades.native, trades.exchange_ns, trades.snapshot, received, strict=True)
        for native, time_ns, marked, received_ns in rows:
            replay = self._replaying.get(native)
            old = replay is not None and replay.has(time_ns, received_ns)
            if replay is not None and not (old and replay.rows_left):
                del self._replaying[native]
            sources.append("snapshot" if old or marked else "stream")
        return sources

    def _read_one(self, message: bytes, received_ns: int, block: Block, outcome: Outcome) -> bool:
        """Returns whether it is a valid trade frame."""
        try:
            self._append([message], [received_ns], block, outcome)
        except _REFUSED as error:
            failure = error
        else:
            return True
        control = self._control(message)
        if isinstance(control, FieldError):
            failure = control
        elif isinstance(control, MalformedTrade):
            single = parts(message, self._dialect)
            if len(single) > 1:
                for part in single:
                    try:
                        self._append([part], [received_ns], block, outcome)
                    except _REFUSED as error:
                        outcome.rejects.append(self._reject(part, received_ns, error))
                        self._keep_breaks()
                return False
        else:
            outcome.controls.append(self._safe(control))
            return False
        outcome.rejects.append(self._reject(message, received_ns, failure))
        self._keep_breaks()
        return False

    def _keep_breaks(self) -> None:
        """The exchange's numbers show a hole once, before a row that has been rejected now: the next valid row of
        its market is behind the hole too.
        """
        self._broken.update(native for native in self._behind if native in self.markets)

    def _control(self, message: bytes) -> Control | FieldError:
        """Classifies a message that is not a valid trade frame; a FieldError (not raised) if it is invalid."""
        unknown = FieldError(Reason.UNKNOWN_MESSAGE, "an unknown message type")
        try:
            text = message.decode()
        except UnicodeDecodeError as error:
            return self._feed.control(message) or FieldError(Reason.NOT_UTF8, str(error))
        try:
            parsed = _parse(text)
        except (ValueError, RecursionError) as error:
            return self._feed.control(text) or FieldError(Reason.NOT_JSON, str(error))
        control = self._feed.control(parsed)
        if isinstance(control, Reply) and len(control.text) > REPLY_CHARS_MAX:
            return unknown
        return control or unknown

    def _safe(self, control: Control) -> Control:
        """The control message with all text as short printable lines, and without markets that were not requested
        (except one, so that it does not seem to name none).
        """
        changes: dict[str, Any] = {}
        if isinstance(control, Reply):  # it is sent back to the exchange unchanged
            return control
        for name in control.__struct_fields__:
            value = getattr(control, name)
            if isinstance(value, str):
                changes[name] = printable(value, FOREIGN_CHARS_MAX)
            elif isinstance(value, tuple) and value:
                ours = tuple(native for native in value if native in self.markets)
                changes[name] = ours or (printable(value[0], FOREIGN_CHARS_MAX),)
        return replace(control, **changes) if changes else control

    def _reject(self, payload: bytes, received_ns: int, error: Exception) -> Reject:
        reason, symbol = why_refused(error)
        return Reject(
            received_ns,
            self._exchange,
            symbol,
            reason,
            printable(str(error), REJECT_DETAIL_CHARS_MAX),
            payload[:REJECT_PAYLOAD_BYTES_MAX],
            len(payload),
        )


def _odd(outcome: Outcome) -> int:
    """How much there was besides trades."""
    return len(outcome.rejects) + len(outcome.controls)


def _common_beginning(texts: Sequence[bytes]) -> bytes:
    first, last = min(texts), max(texts)
    return first[: sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False)))]


def _times(trades: Trades, received: Sequence[int]) -> Sequence[int]:
    """When each trade was received: with its message. Raises ValueError if that cannot be known."""
    rows = len(trades.native)
    if trades.counts is not None:
        if rows == len(received) == trades.counts.count(1):
            return received
        return [at for at, count in zip(received, trades.counts, strict=True) for _ in range(count)]
    if rows == len(received):
        return received
    if received.count(received[0]) == len(received):
        return [received[0]] * rows
    raise ValueError("which message holds which trade is not known")


def _amounts(trades: Trades) -> tuple[list[str], list[str]]:
    """Prices and volumes as plain decimals. Fills off the book are not stored; their amounts may be 0, as on
    Binance.
    """
    if trades.off_book is None:
        return amounts(trades.price, trades.volume)
    on_book = [at for at, off_book in enumerate(trades.off_book) if not off_book]
    price, volume = ([text[:OFF_BOOK_CHARS_MAX] for text in texts] for texts in (trades.price, trades.volume))
    plain = amounts([trades.price[at] for at in on_book], [trades.volume[at] for at in on_book])
    for at, one_price, one_volume in zip(on_book, *plain, strict=True):
        price[at], volume[at] = one_price, one_volume
    return price, volume


def _parse(text: str) -> object:
    """Parses any JSON, to classify it; its numbers are not used, so 1e400 or 5,000 digits do not matter."""
    try:
        return msgspec.json.decode(text)
    except msgspec.ValidationError:  # a number beyond float, or beyond Python's limit for ints
        return json.loads(text, parse_int=lambda digits: int(digits[:20]))


def parts(message: bytes, dialect: Dialect) -> list[bytes]:
    """Splits a message into one message per trade of its list; [] if that is impossible.

    The content copied for each trade is bounded, so that time and memory are linear in the size of the message.
    """
    try:
        if dialect.split is not None and message.lstrip()[:1] not in (b"{", b"["):
            split = dialect.split(message)
        else:
            split = _split(message, dialect.list_key.split(".")) if dialect.list_key else iter(())
        found = list(islice(split, ENTRIES_MAX + 1))
    except _REFUSED:
        return []
    return found if len(found) <= ENTRIES_MAX else []


def _split(raw: bytes, path: list[str]) -> Iterator[bytes]:
    if raw.lstrip()[:1] == b"[":
        elements = _list.decode(raw)
        if path and path[0].isdecimal():
            yield from _split_place(elements, int(path[0]), path[1:])
            return
        for element in elements:
            for part in _split(bytes(element), path) if path else [bytes(element)]:
                yield b"[" + part + b"]"
    elif not path:
        raise ValueError("no list at the place of the trades")
    else:
        members = _object.decode(raw)
        key = next((key for key in path[0].split("|") if key in members), "")
        trades = bytes(members.pop(key))
        short = (pair for pair in members.items() if len(pair[0]) + len(bytes(pair[1])) <= MEMBER_BYTES_MAX)
        envelope = dict(islice(short, MEMBERS_MAX))
        for part in _split(trades, path[1:]):
            yield msgspec.json.encode({**envelope, key: msgspec.Raw(part)})


def _split_place(elements: list[msgspec.Raw], place: int, path: list[str]) -> Iterator[bytes]:
    """Splits a frame that is a list, with the trades at one place; each part has all other elements."""
    if place >= len(elements) or len(elements) > MEMBERS_MAX:
        raise ValueError("no trades at their place in the list")
    if any(len(bytes(one)) > MEMBER_BYTES_MAX for at, one in enumerate(elements) if at != place):
        raise ValueError("too much content besides the trades")
    for part in _split(bytes(elements[place]), path):
        yield msgspec.json.encode([*elements[:place], msgspec.Raw(part), *elements[place + 1 :]])
