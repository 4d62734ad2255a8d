"""Turns whole messages into ticks, rejects and controls, so that what is bad costs only itself."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import msgspec

from actors.exchanges.contract.feed import Control, Dialect, TradeLike, Trades
from actors.model.ticks import REJECT_DETAIL_CHARS_MAX, REJECT_PAYLOAD_BYTES_MAX, Block, Reason, Reject
from actors.model.validation import FieldError, amounts, check_ids, check_times, why_refused
from supervisor.text import WORDS_CHARS_MAX, printable

# What the wire's content can make a decoder raise; anything else is a bug of ours and must show.
_REFUSED = (ValueError, KeyError, RecursionError)

# A message whose trades are looked at one by one holds at most so many: 40 ms of work, and twice the most that an
# exchange documents (bybit: 1,024).
ENTRIES_MAX = 2_000
# A read ends after so many rejects and controls (10 ms of work), so that others get their turn.
ODD_AT_ONCE = 500
# What stands around a list of trades and is copied for each of them; exchanges send some 100 bytes in all.
MEMBERS_MAX, MEMBER_BYTES_MAX = 8, 256

_list = msgspec.json.Decoder(list[msgspec.Raw])
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass(slots=True)
class Outcome:
    """What became of messages: every trade, and every unknown message, is exactly one tick or one reject.

    `joined`: some tick may stand for more than one trade, see `Block.fills`. `messages` is how many of the
    messages this is about; those behind them have not been looked at.
    """

    messages: int = 0
    ticks: int = 0
    joined: bool = False
    rejects: list[Reject] = field(default_factory=list)
    controls: list[Control] = field(default_factory=list)


class Decoder:
    """Reads the messages of one connection; `markets` maps the natives asked for on it to unified symbols.

    `seen` holds the natives that have delivered a trade: data is an acknowledgement too.

    `subscribed_ns` is set by the connection's owner each time a subscribe request is sent (our clock).
    Where the dialect replays without a mark, the first trade of a native is 'snapshot' if it is older than
    that: in all recordings only the last trade before the subscription is ever re-sent. It is a label by
    two clocks: one that differs by a second may mislabel a trade of that second, and loses none.
    """

    def __init__(self, exchange: str, dialect: Dialect, markets: Mapping[str, str]) -> None:
        self.seen: set[str] = set()
        self.subscribed_ns = 0
        self._exchange = exchange
        self._dialect = dialect
        self.markets = markets
        self._settled: set[str] = set()

    def read(self, messages: list[bytes], received_ns: int, block: Block) -> Outcome:
        """Appends the good trades to `block`, in order; never raises for what the messages hold.

        Where much is no sound trade it ends early, see Outcome.messages: the caller yields and goes on.
        """
        outcome = Outcome(len(messages))
        if len(messages) > 1:
            try:
                self._append(messages, received_ns, block, outcome)
            except _REFUSED:
                pass  # something in the batch is no sound trade: one by one
            else:
                return outcome
        for number, message in enumerate(messages, 1):
            self._read_one(message, received_ns, block, outcome)
            if len(outcome.rejects) + len(outcome.controls) >= ODD_AT_ONCE:
                outcome.messages = number
                break
        return outcome

    def _append(self, messages: list[bytes], received_ns: int, block: Block, outcome: Outcome) -> None:
        """All trades of `messages` or, raising one of _REFUSED, none."""
        trades = self._dialect.trades(messages)
        try:
            symbol = list(map(self.markets.__getitem__, trades.native))
        except KeyError as error:
            raise FieldError(Reason.UNKNOWN_SYMBOL, f"a market that was not asked for: {error}") from None
        try:
            price, volume = amounts(trades.price, trades.volume)
            check_times(trades.exchange_ns)
            check_ids(trades.trade_id)
        except FieldError as error:
            error.symbol = symbol[0]
            raise
        if len(self.seen) < len(self.markets):
            self.seen.update(trades.native)
        count = len(symbol)
        block.extend(
            symbol,
            trades.exchange_ns,
            [received_ns] * count,
            price,
            volume,
            trades.side,
            trades.trade_id,
            self._sources(trades),
            trades.fills,
        )
        outcome.ticks += count
        outcome.joined |= trades.fills is not None

    def _sources(self, trades: Trades) -> list[str]:
        settling = self._dialect.replays_unmarked and len(self._settled) < len(self.markets)
        if not settling:
            if not any(trades.snapshot):
                return ["stream"] * len(trades.snapshot)
            return ["snapshot" if marked else "stream" for marked in trades.snapshot]
        sources = []
        for native, time, marked in zip(trades.native, trades.exchange_ns, trades.snapshot, strict=True):
            old = native not in self._settled and time is not None and time < self.subscribed_ns
            self._settled.add(native)
            sources.append("snapshot" if old or marked else "stream")
        return sources

    def _read_one(self, message: bytes, received_ns: int, block: Block, outcome: Outcome) -> None:
        try:
            self._append([message], received_ns, block, outcome)
        except _REFUSED as error:
            failure = error
        else:
            return
        control = self._control(message)
        if isinstance(control, FieldError):
            failure = control
        elif isinstance(control, TradeLike):
            parts = _parts(message, self._dialect.list_key)
            if len(parts) > 1:
                for part in parts:
                    try:
                        self._append([part], received_ns, block, outcome)
                    except _REFUSED as error:
                        outcome.rejects.append(self._reject(part, received_ns, error))
                return
        else:
            outcome.controls.append(self._safe(control))
            return
        outcome.rejects.append(self._reject(message, received_ns, failure))

    def _control(self, message: bytes) -> Control | FieldError:
        """What a message is that is no sound trade frame; a FieldError (not raised) if it is nothing."""
        try:
            text = message.decode()
        except UnicodeDecodeError as error:
            return FieldError(Reason.NOT_UTF8, str(error))
        try:
            parsed = _parse(text)
        except (ValueError, RecursionError) as error:
            return self._dialect.control(text) or FieldError(Reason.NOT_JSON, str(error))
        return self._dialect.control(parsed) or FieldError(
            Reason.UNKNOWN_MESSAGE, "a message type that is not known"
        )

    def _safe(self, control: Control) -> Control:
        """All of the exchange's words as short printable lines, and no market that was not asked for (but one,
        so that it does not seem to name none)."""
        changes: dict[str, Any] = {}
        for name in control.__slots__:
            value = getattr(control, name)
            if isinstance(value, str):
                changes[name] = printable(value, WORDS_CHARS_MAX)
            elif isinstance(value, tuple) and value:
                ours = tuple(native for native in value if native in self.markets)
                changes[name] = ours or (printable(value[0], WORDS_CHARS_MAX),)
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


def _parse(text: str) -> object:
    """Any JSON, to tell what it is; its numbers are not used, so 1e400 or 5,000 digits do not matter."""
    try:
        return msgspec.json.decode(text)
    except msgspec.ValidationError:  # a number beyond float, or beyond what Python turns into an int
        return json.loads(text, parse_int=lambda digits: int(digits[:20]))


def _parts(message: bytes, list_key: str) -> list[bytes]:
    """The message once for each trade in its list, with only that trade in it; [] where that cannot be done.

    What is copied for each trade is bounded, so that the whole takes time and memory linear in the message.
    """
    try:
        parts = list(islice(_split(message, list_key.split(".")), ENTRIES_MAX + 1)) if list_key else []
    except _REFUSED:
        return []
    return parts if len(parts) <= ENTRIES_MAX else []


def _split(raw: bytes, path: list[str]) -> Iterator[bytes]:
    if raw.lstrip()[:1] == b"[":
        for element in _list.decode(raw):
            for part in _split(bytes(element), path) if path else [bytes(element)]:
                yield b"[" + part + b"]"
    elif not path:
        raise ValueError("no list where the trades should stand")
    else:
        members = _object.decode(raw)
        trades = bytes(members.pop(path[0]))
        short = (pair for pair in members.items() if len(pair[0]) + len(bytes(pair[1])) <= MEMBER_BYTES_MAX)
        envelope = dict(islice(short, MEMBERS_MAX))
        for part in _split(trades, path[1:]):
            yield msgspec.json.encode({**envelope, path[0]: msgspec.Raw(part)})
