"""Tests of the frame cutter, with wsproto as the oracle of what RFC 6455 means."""

import itertools
import random
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from types import FrameType

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from wsproto.frame_protocol import FrameProtocol, Opcode, ParseFailed

from actors.wire import frame_parser
from actors.wire.frame_parser import EXCERPT_BYTES_MAX, FrameParser, Violation
from tests.harness.amounts import amount
from tests.harness.memory import allocations
from tests.harness.server_frames import BINARY, CLOSE, CONTINUATION, NORMAL_CLOSE, PING, PONG, TEXT, frame

HUGE = 1 << 24


@dataclass
class Received:
    """What came of a byte stream: messages, (opcode, payload) of control frames, and the verdict."""

    messages: list[bytes] = field(default_factory=list)
    controls: list[tuple[int, bytes]] = field(default_factory=list)
    code: int | None = None


def cut(portions: Iterable[bytes], limit: int = HUGE) -> Received:
    cutter, heard = FrameParser(limit), Received()
    for portion in portions:
        messages, controls = cutter.feed(portion)
        heard.messages += messages
        heard.controls += [(raw[0] & 0x0F, raw[2:]) for raw in controls]
    heard.code = cutter.violation.code if cutter.violation else None
    return heard


def ask_wsproto(portions: Iterable[bytes], limit: int = HUGE) -> Received:
    """What wsproto makes of the same bytes, with trio-websocket's limit on messages."""
    protocol, heard, parts = FrameProtocol(client=True, extensions=[]), Received(), b""
    for portion in portions:
        protocol.receive_bytes(portion)
        try:
            for event in protocol.received_frames():
                payload = event.payload
                if event.opcode is Opcode.CLOSE:
                    assert isinstance(payload, tuple)
                    code, reason = payload
                    empty = code == 1005
                    heard.controls.append((CLOSE, b"" if empty else int(code).to_bytes(2, "big") + reason.encode()))
                    return heard
                assert isinstance(payload, bytes | bytearray | str)
                data = payload.encode() if isinstance(payload, str) else bytes(payload)
                if event.opcode.iscontrol():
                    heard.controls.append((int(event.opcode), data))
                    continue
                parts += data
                if len(parts) > limit:
                    heard.code = 1009
                    return heard
                if event.message_finished:
                    heard.messages.append(parts)
                    parts = b""
        except ParseFailed as exc:
            heard.code = int(exc.code)
            return heard
    return heard


def one_by_one(stream: bytes) -> list[bytes]:
    return [stream[i : i + 1] for i in range(len(stream))]


def ways_to_feed(stream: bytes) -> list[list[bytes]]:
    halves = len(stream) // 2
    return [[stream], one_by_one(stream), [stream[:halves], stream[halves:]], [stream[:1], stream[1:]]]


CASES: dict[str, tuple[bytes, list[bytes], list[int]]] = {
    "text": (frame(b"hello"), [b"hello"], []),
    "binary": (frame(b"\x00\xff", BINARY), [b"\x00\xff"], []),
    "empty": (frame(b""), [b""], []),
    "several": (frame(b"a") + frame(b"b", BINARY) + frame(b""), [b"a", b"b", b""], []),
    "125 bytes": (frame(b"x" * 125), [b"x" * 125], []),
    "126 bytes": (frame(b"x" * 126), [b"x" * 126], []),
    "65535 bytes": (frame(b"x" * 65535), [b"x" * 65535], []),
    "65536 bytes": (frame(b"x" * 65536), [b"x" * 65536], []),
    "fragments": (
        frame(b"one ", final=False) + frame(b"two ", CONTINUATION, final=False) + frame(b"three", CONTINUATION),
        [b"one two three"],
        [],
    ),
    "a ping between fragments": (
        frame(b"a", BINARY, final=False) + frame(b"?", PING) + frame(b"b", CONTINUATION),
        [b"ab"],
        [PING],
    ),
    "empty fragments": (frame(b"", final=False) + frame(b"", CONTINUATION), [b""], []),
    "controls": (frame(b"p", PING) + frame(b"", PONG) + frame(b"m"), [b"m"], [PING, PONG]),
    "invalid UTF-8": (frame(b"\xff\xfe") + frame(b"next"), [b"\xff\xfe", b"next"], []),
    "nothing after close": (frame(b"a") + NORMAL_CLOSE + frame(b"b") + b"\xff\xff", [b"a"], [CLOSE]),
    "close between fragments": (
        frame(b"a", final=False) + NORMAL_CLOSE + frame(b"b", CONTINUATION),
        [],
        [CLOSE],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_stream_means_the_same_however_it_was_cut(name: str) -> None:
    stream, messages, controls = CASES[name]
    for portions in ways_to_feed(stream):
        heard = cut(portions)
        assert heard.messages == messages
        assert [opcode for opcode, _ in heard.controls] == controls
        assert heard.code is None


VIOLATIONS: dict[str, tuple[bytes, str]] = {
    "masked": (b"\x81\x85abcdhello", "masked"),
    "masked and long": (b"\x81\xfe\x00\xc8abcd" + b"x" * 200, "masked"),
    "rsv1": (b"\xc1\x02hi", "rsv"),
    "rsv2 on a ping": (b"\xa9\x00", "rsv"),
    "rsv3 on a continuation": (frame(b"a", final=False) + b"\x90\x00", "rsv"),
    "reserved data opcode": (frame(b"x", 3), "opcode"),
    "reserved control opcode": (frame(b"x", 11), "opcode"),
    "continuation of nothing": (frame(b"x", CONTINUATION), "continuation"),
    "message inside a message": (frame(b"a", final=False) + frame(b"b"), "continuation"),
    "binary inside a text message": (
        frame(b"a", final=False) + frame(b"b", BINARY, final=False),
        "continuation",
    ),
    "two-byte length for 125": (frame(b"x" * 125, extended=2), "length"),
    "eight-byte length for 65535": (frame(b"x" * 65535, extended=8), "length"),
    "length with its top bit set": (b"\x82\x7f\x80" + b"\x00" * 7, "length"),
    "long control frame": (frame(b"x" * 126, PING), "control"),
    "fragmented control frame": (frame(b"x", PING, final=False), "control"),
}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_a_violation_ends_the_cutting_with_1002_and_keeps_what_came_before(name: str) -> None:
    wrong, kind = VIOLATIONS[name]
    stream = frame(b"before") + frame(b"?", PING) + wrong + frame(b"after") + frame(b"!", PING)
    assert ask_wsproto([stream]).code == 1002
    for portions in ways_to_feed(stream):
        heard = cut(portions)
        assert (heard.messages, heard.controls, heard.code) == ([b"before"], [(PING, b"?")], 1002)
    cutter = FrameParser(HUGE)
    cutter.feed(stream)
    assert cutter.closed and cutter.violation is not None
    assert cutter.violation.kind == kind and cutter.violation.detail
    assert wrong[-2:] in cutter.violation.excerpt or len(cutter.violation.excerpt) == EXCERPT_BYTES_MAX


def refused(portions: Iterable[bytes], limit: int) -> Violation:
    cutter = FrameParser(limit)
    for portion in portions:
        cutter.feed(portion)
    assert cutter.violation is not None
    return cutter.violation


def test_a_message_of_exactly_the_limit_passes() -> None:
    whole, parts = frame(b"x" * 300), frame(b"y" * 200, final=False) + frame(b"y" * 100, CONTINUATION)
    for portions in ways_to_feed(whole + parts + frame(b"z" * 8)):
        assert cut(portions, limit=300).messages == [b"x" * 300, b"y" * 300, b"z" * 8]


@pytest.mark.parametrize(
    ("size", "limit"), [(11, 10), (126, 125), (301, 300), (70_000, 65_536), (1 << 40, 1 << 20)]
)
def test_an_oversize_message_is_refused_at_its_header_with_1009(size: int, limit: int) -> None:
    header = frame(b"")[:1] + frame(b"x" * size)[1:10] if size < 1 << 20 else b"\x81\x7f" + size.to_bytes(8, "big")
    for portions in ways_to_feed(header):
        violation = refused(portions, limit)
        assert (violation.code, violation.kind, violation.size_bytes) == (1009, "oversize", size)
        assert str(limit) in violation.detail


def test_an_oversize_fragmented_message_is_refused_at_the_fragment_that_exceeds() -> None:
    stream = frame(b"a" * 200, final=False) + frame(b"b" * 100, CONTINUATION, final=False)
    over = stream + frame(b"c", CONTINUATION)
    assert cut([stream], limit=300).code is None
    for portions in ways_to_feed(over):
        violation = refused(portions, 300)
        assert (violation.code, violation.size_bytes) == (1009, 301)
        assert violation.excerpt.startswith(b"a" * 200 + b"b" * 100)


def test_the_excerpt_of_an_oversize_message_is_its_own_first_64_kib() -> None:
    payload = random.Random(1).randbytes(100_000)
    excerpt = refused([frame(payload) + frame(b"next")], 90_000).excerpt
    assert excerpt == payload[:EXCERPT_BYTES_MAX]
    assert refused([frame(b"x" * 500) + frame(b"next")], 90).excerpt == b"x" * 500


def test_memory_stays_bounded_by_the_limit_and_one_read() -> None:
    with allocations("*/wire/frame_parser.py") as held:
        cutter, read = FrameParser(10_000), b"\xff" * 4096
        cutter.feed(frame(b"x" * 5000, BINARY, final=False))
        cutter.feed(b"\x00\x7e" + (5000).to_bytes(2, "big"))
        cutter.feed(read)
        assert len(read) < held() <= 2 * (10_000 + len(read))  # a bytearray has room to spare
        for _ in range(100):
            cutter.feed(read)  # fills the fragment, and is then no frame that is allowed
        assert cutter.closed
        assert held() <= 2 * (10_000 + len(read))


# -- against the oracle ------------------------------------------------------------------------------------

sizes = st.one_of(st.integers(0, 300), st.sampled_from([125, 126, 127, 4000, 65535, 65536]))
payloads = st.builds(lambda size, fill: bytes([fill]) * size, sizes, st.integers(0, 255))
texts = st.text(max_size=60).map(str.encode)
controls = st.one_of(
    st.builds(frame, st.binary(max_size=125), st.sampled_from([PING, PONG])),
    st.sampled_from([frame(b"", PING), NORMAL_CLOSE, frame(b"", CLOSE), frame(b"\x0f\xa0\xc3\xa9", CLOSE)]),
)


def fragmented(payload: bytes, opcode: int, cuts: Sequence[int], between: Sequence[bytes]) -> bytes:
    edges = [0, *sorted(place % (len(payload) + 1) for place in cuts), len(payload)]
    pieces = [payload[a:b] for a, b in itertools.pairwise(edges)]
    out = b""
    for i, piece in enumerate(pieces):
        out += frame(piece, opcode if i == 0 else CONTINUATION, final=i == len(pieces) - 1)
        out += between[i % len(between)] if between and i < len(pieces) - 1 else b""
    return out


cuts = st.lists(st.integers(0, 70_000), max_size=3)
binary_messages = st.builds(fragmented, payloads, st.just(BINARY), cuts, st.lists(controls, max_size=2))
text_messages = st.builds(fragmented, texts, st.just(TEXT), cuts, st.lists(controls, max_size=2))
violations = st.sampled_from([wrong for wrong, _ in VIOLATIONS.values()])


def split(stream: bytes, places: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[a:b] for a, b in itertools.pairwise(edges)]


@settings(max_examples=amount(50, 2000))
@given(
    st.lists(st.one_of(binary_messages, text_messages, controls, violations), max_size=8).map(b"".join),
    st.lists(st.integers(0, 1 << 20), max_size=12),
)
def test_cutter_and_wsproto_hear_the_same_in_any_stream(stream: bytes, places: list[int]) -> None:
    assert cut(split(stream, places)) == ask_wsproto([stream])


@settings(max_examples=amount(50, 2000))
@given(
    st.lists(st.one_of(binary_messages, controls, violations), max_size=6).map(b"".join),
    st.lists(st.integers(0, 1 << 20), max_size=12),
    st.integers(0, 5000),
)
def test_cutter_and_library_draw_the_size_limit_at_the_same_byte(
    stream: bytes, places: list[int], limit: int
) -> None:
    ours, theirs = cut(split(stream, places), limit), ask_wsproto([stream], limit)
    assert (ours.messages, ours.controls, ours.code) == (theirs.messages, theirs.controls, theirs.code)


headers = st.builds(
    lambda first, second, more: bytes([first, second]) + more,
    st.integers(0, 255).filter(lambda byte: byte & 0x0F not in (TEXT, CLOSE)),
    st.one_of(st.integers(0, 20), st.integers(0, 255)),
    st.binary(max_size=24),
)


@settings(max_examples=amount(50, 2000))
@given(st.lists(headers, max_size=6).map(b"".join), st.lists(st.integers(0, 400), max_size=12))
def test_cutter_and_wsproto_refuse_the_same_garbage(garbage: bytes, places: list[int]) -> None:
    stream = garbage + b"\x00" * 10  # so that the last header is complete for both
    ours, theirs = cut(split(stream, places)), ask_wsproto([stream])
    if theirs.code == 1007 or any(opcode == CLOSE for opcode, _ in ours.controls):
        return  # UTF-8 is where the two differ on purpose; a close frame's content is the library's to judge
    assert (ours.messages, ours.controls, ours.code) == (theirs.messages, theirs.controls, theirs.code)


SIZES = (0, 125, 126, 130, 150, 1023, 1024, 5000)


@given(
    st.lists(st.tuples(st.sampled_from(SIZES), st.sampled_from((TEXT, BINARY))), min_size=1, max_size=5),
    st.sampled_from(
        (frame(b"hi", PING), frame(b"a", TEXT, final=False), b"\x81\x7e\x00\x05", b"\x91\x7e", NORMAL_CLOSE)
    ),
    st.integers(0, 300),
    st.sampled_from((140, 1023, HUGE)),
)
@example([(150, TEXT)], frame(b"a", TEXT, final=False), 0, HUGE)
@settings(max_examples=80)
def test_runs_of_long_messages_are_heard_as_wsproto_hears_them(
    kinds: list[tuple[int, int]], odd: bytes, missing: int, limit: int
) -> None:
    run = b"".join(frame(b"x" * size, opcode) for size, opcode in kinds * 20)
    whole = run + odd + run
    stream = whole[: len(whole) - missing]
    expected = ask_wsproto([stream], limit)
    assert cut([stream], limit) == expected
    assert cut(split(stream, [len(run + odd)]), limit) == expected
    assert cut(split(stream, [len(stream) // 2]), limit) == expected


def test_a_flood_of_tiny_reads_costs_no_more_than_its_bytes() -> None:
    message = frame(b"x" * 70_000)
    cutter, messages = FrameParser(HUGE), list[bytes]()
    calls = Counter[str]()

    def count(called: FrameType, event: str, _: object) -> None:
        if event == "call" and called.f_code.co_filename == frame_parser.__file__:
            calls[called.f_code.co_name] += 1

    sys.setprofile(count)
    try:
        for portion in one_by_one(message):
            messages += cutter.feed(portion)[0]
    finally:
        sys.setprofile(None)
    assert messages == [b"x" * 70_000]
    assert calls["feed"] == len(message) and calls.total() - calls["feed"] < 30
