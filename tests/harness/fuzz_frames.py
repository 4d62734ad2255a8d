"""Mutated and inflated real frames of every exchange, and what must be true of whatever a decoder makes of them."""

import copy
import functools
import json
from collections.abc import Iterator
from random import Random
from typing import Any

from actors.feed.decoder import Decoder
from actors.model.batch import Batch
from actors.model.ticks import REJECT_PAYLOAD_BYTES_MAX, REJECTS, TICKS, Block
from supervisor.text import FOREIGN_CHARS_MAX
from tests.harness.capture_files import incoming, recordings
from tests.harness.exchange_values import dialect_of

NATIVES = ("BTCUSDT", "ETHUSDT", "BTC-USD", "BTC/USD", "BTC-USDT")
# As JSON text: what breaks terminals, encodings, number parsers and stacks.
NASTY = (
    r'"\ud800"',
    r'"\u0000"',
    r'"\u001b]0;x\u0007"',
    r'"a\nb\u2028c\u202ed\u200b"',
    '"' + "x" * 2_000 + '"',
    "1e400",
    "-0",
    "9" * 400,
    "0." + "1" * 400,
    "[" * 50 + "]" * 50,
    '{"a":' * 50 + "1" + "}" * 50,
    "null",
    "true",
    "[]",
    "{}",
    '""',
    "NaN",
)
INFLATED = 8  # kinds of frames of an exchange that are inflated
PATTERNS = ("a", " ", "a ", "instId: ", "\x1b[2J", "1", ",", " is not a valid product", "é\ud800")


@functools.cache
def real_frames(exchange: str) -> tuple[bytes, ...]:
    """One of each kind that was recorded: frames with the same keys are of a kind."""
    kinds: dict[str, bytes] = {}
    for name in recordings(exchange):
        for message in incoming(exchange, name)[:3_000]:
            kinds.setdefault(_kind(message), message)
    return tuple(kinds.values())[:60]


def _kind(message: bytes) -> str:
    try:
        value = json.loads(message)
    except ValueError:
        return "text"
    words = (
        [str(value.get(key)) for key in ("type", "event", "op", "method", "channel")]
        if isinstance(value, dict)
        else []
    )
    return f"{sorted(value) if isinstance(value, dict) else type(value)} {words}"


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in a JSON value with every key or index in it."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])


class Mutator:
    """Makes messages out of real ones; the same random numbers make the same ones."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def message(self, exchange: str) -> bytes:
        """One message."""
        message = self._random.choice(real_frames(exchange))
        for _ in range(self._random.randint(0, 3)):
            message = self._random.choice((self._bytes, self._value, self._value, self._repeat))(message)
        return message

    def _bytes(self, message: bytes) -> bytes:
        at, length = self._random.randrange(len(message) + 1), self._random.choice((0, 0, 1, 2, 30))
        return message[:at] + self._random.randbytes(self._random.randint(0, 3)) + message[at + length :]

    def _value(self, message: bytes) -> bytes:
        """Another value somewhere."""
        try:
            value = json.loads(message)
        except (ValueError, RecursionError):
            return message
        places = list(_places(value))
        if not places:
            return message
        container, key = self._random.choice(places)
        container[key] = "<here>"
        return json.dumps(value).replace('"<here>"', self._random.choice(NASTY)).encode()

    def _repeat(self, message: bytes) -> bytes:
        """A list or text many times as long, or the message more than once."""
        try:
            value = json.loads(message)
        except (ValueError, RecursionError):
            return message * 2
        lists = [container[key] for container, key in _places(value) if isinstance(container[key], list)]
        if not lists:
            return message + message
        chosen = self._random.choice(lists)
        chosen.extend(copy.deepcopy(chosen) * self._random.randint(1, 40))
        return json.dumps(value).encode()


def _reader(exchange: str) -> Decoder:
    dialect = dialect_of(exchange)
    return Decoder(exchange, dialect, {native: f"{native}/X" for native in NATIVES}, dialect.decoder_for({}))


def check(exchange: str, messages: list[bytes]) -> int:
    """Decodes as a connection does; every message must be accounted for, and all that comes of it be storable.

    Returns the bytes of evidence that are kept.
    """
    reader = _reader(exchange)
    block, evidence = Block(exchange), 0
    for message in messages:
        before = len(block)
        outcome = reader.read([message], 5, block)
        assert outcome.messages == 1
        assert outcome.ticks == len(block) - before
        assert outcome.ticks + len(outcome.rejects) + len(outcome.controls) >= 1, message
        for control in outcome.controls:
            words = [getattr(control, name) for name in control.__slots__]
            for word in (w for value in words for w in (value if isinstance(value, tuple) else (value,))):
                assert not isinstance(word, str) or (word.isprintable() and len(word) <= FOREIGN_CHARS_MAX), message
        assert all(
            reject.detail.isprintable() and len(reject.payload) <= REJECT_PAYLOAD_BYTES_MAX
            for reject in outcome.rejects
        )
        evidence += sum(len(reject.payload) for reject in outcome.rejects)
        Batch(0, rejects=tuple(outcome.rejects)).arrow(REJECTS)
    assert all(id_ is None or id_.isprintable() for id_ in block.trade_id)
    Batch(0, blocks=(block,)).arrow(TICKS)
    again = Block(exchange)
    rest = list(messages)
    while rest:  # all at once: in portions, as a connection takes them
        outcome = _reader(exchange).read(rest, 5, again)
        assert outcome.messages >= 1
        rest = rest[outcome.messages :]
    assert again.trade_id == block.trade_id
    return evidence


def inflated(exchange: str, size: int) -> Iterator[tuple[str, bytes]]:
    """Messages of about `size` bytes: every text of a frame replaced by each pattern, long lists, many members."""
    for number, message in enumerate(real_frames(exchange)[:INFLATED]):
        try:
            value = json.loads(message)
        except ValueError:
            continue
        for at, (container, key) in enumerate(_places(value)):
            old = container[key]
            if isinstance(old, str):
                for pattern in PATTERNS:
                    container[key] = (pattern * size)[:size]
                    yield f"{number}/{at} text {pattern!r}", json.dumps(value).encode()
            elif isinstance(old, list):
                entries: tuple[object, ...] = (0, {}, old[0] if old else None)
                for entry in entries:
                    container[key] = [entry] * (size // (len(json.dumps(entry)) + 2))
                    yield f"{number}/{at} list of {str(entry)[:20]}", json.dumps(value).encode()
                container[key] = old
                frame = json.dumps(value)
                yield f"{number}/{at} nested", frame.replace(json.dumps(old), "[" * size + "]" * size).encode()
            container[key] = old
        if isinstance(value, dict):
            yield f"{number} members", json.dumps({**value, **{f"m{i}": 0 for i in range(size // 10)}}).encode()
            yield f"{number} long member", json.dumps({"m": "y" * size, **value}).encode()
