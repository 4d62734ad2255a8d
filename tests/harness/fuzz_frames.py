"""Mutated and inflated real frames of every exchange, and what must be true of whatever a decoder makes of them."""

import copy
import functools
import json
from collections.abc import Iterator
from random import Random

from actors.exchanges.contract.feed import Control, Reply
from actors.model.batch import Batch
from actors.model.ticks import REJECT_PAYLOAD_BYTES_MAX, REJECTS, TICKS, Block
from supervisor.text import FOREIGN_CHARS_MAX
from tests.harness.broken_frames import NASTY, places
from tests.harness.wire_frames import Received, everything, packed, plain, received

OPENING_MAX = 20  # messages without trades that a connection has read before
INFLATED = 8  # kinds of frames of an exchange that are inflated
PATTERNS = ("a", " ", "a ", "instId: ", "\x1b[2J", "1", ",", " is not a valid product", "é\ud800")


@functools.cache
def real_frames(exchange: str) -> tuple[tuple[Received, bytes], ...]:
    """One of each kind, without compression, and where it was heard: frames with the same keys are of a kind."""
    kinds: dict[str, tuple[Received, bytes]] = {}
    for connection in everything(exchange):
        for message in connection.messages:
            content = plain(exchange, message)
            kinds.setdefault(_kind(content), (connection, content))
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


class Mutator:
    """Makes messages out of real ones; the same random numbers make the same ones."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def message(self, exchange: str) -> bytes:
        """One message, not compressed."""
        _, message = self._random.choice(real_frames(exchange))
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
        found = list(places(value))
        if not found:
            return message
        container, key = self._random.choice(found)
        container[key] = "<here>"
        return json.dumps(value).replace('"<here>"', self._random.choice(NASTY)).encode()

    def _repeat(self, message: bytes) -> bytes:
        """A list or text many times as long, or the message more than once."""
        try:
            value = json.loads(message)
        except (ValueError, RecursionError):
            return message * 2
        lists = [container[key] for container, key in places(value) if isinstance(container[key], list)]
        if not lists:
            return message + message
        chosen = self._random.choice(lists)
        chosen.extend(copy.deepcopy(chosen) * self._random.randint(1, 40))
        return json.dumps(value).encode()


def check(exchange: str, contents: list[bytes]) -> int:
    """Decodes as a connection does; every message must be accounted for, and all that comes of it be storable.

    `contents` are messages before compression. Returns the bytes of evidence that are kept.
    """
    connections = {id(connection): connection for connection, _ in real_frames(exchange)}
    markets = [market for connection in connections.values() for market in connection.markets]
    connection = received(exchange, {market.native: market for market in markets}.values(), ())
    opening = [message for one in connections.values() for message in one.others[:OPENING_MAX]]
    messages = [packed(exchange, content) for content in contents]
    reader = connection.decoder(*opening)
    block, evidence = Block(exchange), 0
    for message in messages:
        before = len(block)
        outcome = reader.read([message], 5, block)
        assert outcome.messages == 1
        assert outcome.ticks == len(block) - before
        assert outcome.ticks + len(outcome.rejects) + len(outcome.controls) >= 1, message
        for control in outcome.controls:
            check_words(control, message)
        assert all(
            reject.detail.isprintable() and len(reject.payload) <= REJECT_PAYLOAD_BYTES_MAX
            for reject in outcome.rejects
        )
        evidence += sum(len(reject.payload) for reject in outcome.rejects)
        Batch(0, rejects=tuple(outcome.rejects)).arrow(REJECTS)
    assert all(id_ is None or id_.isprintable() for id_ in block.trade_id)
    Batch(0, blocks=(block,)).arrow(TICKS)
    again = Block(exchange)
    rest, reader = list(messages), connection.decoder(*opening)
    while rest:  # all at once: in portions, as a connection takes them
        outcome = reader.read(rest, 5, again)
        assert outcome.messages >= 1
        rest = rest[outcome.messages :]
    assert again.trade_id == block.trade_id
    return evidence


def check_words(control: Control, message: bytes) -> None:
    """What an exchange says is short and printable; a reply goes back to it as it is."""
    words = [getattr(control, name) for name in control.__struct_fields__] if not isinstance(control, Reply) else []
    for word in (w for value in words for w in (value if isinstance(value, tuple) else (value,))):
        assert not isinstance(word, str) or (word.isprintable() and len(word) <= FOREIGN_CHARS_MAX), message


def inflated(exchange: str, size: int) -> Iterator[tuple[str, bytes]]:
    """Messages of about `size` bytes: every text of a frame replaced by each pattern, long lists, many members."""
    for number, (_, message) in enumerate(real_frames(exchange)[:INFLATED]):
        try:
            value = json.loads(message)
        except ValueError:
            continue
        for at, (container, key) in enumerate(places(value)):
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
