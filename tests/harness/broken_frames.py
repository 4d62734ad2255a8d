"""Frames with a field removed, null, of another type, or absurd: JSON, and protobuf where they are none."""

import json
from collections.abc import Iterator
from random import Random
from typing import Any

# As JSON text: what breaks terminals, encodings, number parsers and stacks.
NASTY = (
    *("null", "true", "[]", "{}", '""', "0", "-0", "-1", "1.5", '"1"', '"x"'),
    r'"\ud800"',
    r'"\u0000"',
    r'"\u001b]0;x\u0007"',
    r'"a\nb\u2028c\u202ed\u200b"',
    '"' + "x" * 2_000 + '"',
    "1e400",
    "9" * 400,
    "0." + "1" * 400,
    "[" * 50 + "]" * 50,
    '{"a":' * 50 + "1" + "}" * 50,
    "NaN",
)
ODD_VARINTS = (0, 1, 3, 1 << 31, (1 << 64) - 1)
ODD_BYTES = (b"", b"\xff", b"-1", b"NaN", b"1e400", b"9" * 400, b"\n\x02\x08\x01", b"\x00" * 2_000)
_VARINT, _I64, _BYTES, _I32 = 0, 1, 2, 5  # https://protobuf.dev/programming-guides/encoding/ (read 2026-11-26)
Field = tuple[int, int, Any]  # number, wire type, value; a message in it is a list of fields


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in a JSON value with every key or index in it."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from places(value[key])


def broken(frame: bytes, random: Random) -> bytes:
    """The frame with one field of it changed."""
    try:
        value = json.loads(frame)
    except ValueError:
        return _broken_protobuf(frame, random)
    container, key = random.choice(list(places(value)))
    nasty = random.choice(("", *(one for one in NASTY if one != json.dumps(container[key]))))
    if nasty:
        container[key] = "<here>"
    else:
        del container[key]
    return json.dumps(value).replace('"<here>"', nasty).encode()


def _broken_protobuf(frame: bytes, random: Random) -> bytes:
    fields = _fields(frame)
    assert fields is not None, "neither JSON nor protobuf"
    message, place = random.choice(list(_members(fields)))
    odd = random.choice((None, *(one for one in (*ODD_VARINTS, *ODD_BYTES) if one != message[place][2])))
    if odd is None:
        del message[place]
    else:
        message[place] = (message[place][0], _VARINT if isinstance(odd, int) else _BYTES, odd)
    return _encoded(fields)


def _members(message: list[Field]) -> Iterator[tuple[list[Field], int]]:
    """Every message in it, itself first, with the place of each of its fields."""
    for place, (_, _, value) in enumerate(message):
        yield message, place
        if isinstance(value, list):
            yield from _members(value)


def _fields(data: bytes) -> list[Field] | None:
    """The fields of a protobuf message, those that can be messages taken apart; None where it is none."""
    found: list[Field] = []
    at = 0
    try:
        while at < len(data):
            tag, at = _varint(data, at)
            number, kind = tag >> 3, tag & 7
            if not number or kind not in (_VARINT, _I64, _BYTES, _I32):
                return None
            if kind == _VARINT:
                value, at = _varint(data, at)
                found.append((number, kind, value))
                continue
            size, at = _varint(data, at) if kind == _BYTES else ({_I64: 8, _I32: 4}[kind], at)
            content, at = data[at : at + size], at + size
            if len(content) < size:
                return None
            inner = _fields(content) if kind == _BYTES and content else None
            found.append((number, kind, content if inner is None else inner))
    except IndexError:
        return None
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while data[at] & 0x80:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
    return value | data[at] << shift, at + 1


def _number(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _number(rest) if rest else bytes([low])


def _encoded(fields: list[Field]) -> bytes:
    parts = []
    for number, kind, value in fields:
        parts.append(_number(number << 3 | kind))
        if kind == _VARINT:
            parts.append(_number(value))
            continue
        content = _encoded(value) if isinstance(value, list) else value
        parts.append((_number(len(content)) if kind == _BYTES else b"") + content)
    return b"".join(parts)
