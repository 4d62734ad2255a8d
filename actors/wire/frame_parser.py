"""Parses WebSocket messages from a server's byte stream (RFC 6455, section 5); no I/O.

Rules of the parser:

- A whole or fragmented data message is returned as one `bytes`, text and binary alike. Text is not checked for
  UTF-8: RFC 6455 section 8.1 would fail the connection with 1007, and every trade after the bad message would be
  lost. Here only the bad message is lost: the decoder rejects it.
- A control frame (opcode 8 and up) is returned as received, for the caller to answer.
- After a close frame nothing more is delivered.
- A protocol violation ends the parsing: what follows cannot be divided into frames. Messages before it are
  delivered; `violation` then holds the code with which to close the connection.

Memory is bounded by `message_bytes_max` plus the data fed at once: a frame that would exceed it is rejected at its
header.
"""

import struct
from collections.abc import Callable
from contextlib import suppress
from struct import Struct

import msgspec

CONTROL_BYTES_MAX = 125  # RFC 6455, section 5.5
EXCERPT_BYTES_MAX = 64 * 1024  # how much of a rejected message is kept in its row

PROTOCOL_ERROR = 1002
MESSAGE_TOO_BIG = 1009

# The first two bytes, as one number, of a whole and unmasked message: FIN, the opcode, and a length below 126,
# or 126 if the length is in the next two.
_TEXT, _LONG_TEXT = 0x8100, 0x817E
_BINARY, _LONG_BINARY = 0x8200, 0x827E
_first_four = Struct(">HH").unpack_from
_head = Struct(">I").unpack_from
_CLOSE = 0x8

# From this much data on, messages of 126 to 1,023 bytes are first read in runs.
RUN_BYTES_MIN = 4096
RUN_MESSAGE_BYTES_MAX = 1023


class _Readers(dict[int, tuple[Callable[[bytes, int], tuple[bytes, int]], int]]):
    """By the first four bytes of such a message's frame: what reads the message and the four bytes after it, in one
    call where three would be needed, and the frame's size. A KeyError if the frame is anything else."""

    def __missing__(self, head: int) -> tuple[Callable[[bytes, int], tuple[bytes, int]], int]:
        first, length = head >> 16, head & 0xFFFF
        if first not in (_LONG_TEXT, _LONG_BINARY) or not 126 <= length <= RUN_MESSAGE_BYTES_MAX:
            raise KeyError(head)
        self[head] = found = Struct(f">4x{length}sI").unpack_from, 4 + length
        return found


_readers = _Readers()


class Violation(msgspec.Struct, frozen=True):
    """A protocol violation by the server. `code` is the close code for it, `kind` a stable name for counting.

    `excerpt` is the start of the rejected message as far as it had arrived (for an oversize message its payload,
    otherwise the raw frame), `size_bytes` the message's size according to its headers.
    """

    code: int
    kind: str
    detail: str
    excerpt: bytes
    size_bytes: int


class FrameParser:
    """Accepts data in any portions, and returns whole messages and raw control frames."""

    __slots__ = ("_gathered", "_limit", "_need", "_pending", "closed", "others", "violation")

    def __init__(self, message_bytes_max: int) -> None:
        self._limit = message_bytes_max
        self._pending = bytearray()  # the start of a frame that is not complete yet
        self._need = 0  # bytes that `_pending` must hold before parsing can continue
        self._gathered: bytearray | None = None  # fragments of the open message
        self.others = 0  # frames so far that completed no message
        self.closed = False  # after a close frame or a violation: nothing more is returned
        self.violation: Violation | None = None

    def feed(self, data: bytes) -> tuple[list[bytes], list[bytes]]:
        """Returns the messages and the raw control frames that `data` completes, each in wire order."""
        messages: list[bytes] = []
        controls: list[bytes] = []
        if self.closed:
            return messages, controls
        if self._pending:
            self._pending += data
            if len(self._pending) < self._need:
                return messages, controls
            data = bytes(self._pending)
            self._pending = bytearray()
        append = messages.append
        limit = self._limit
        end = len(data)
        position = 0
        if end >= RUN_BYTES_MIN and self._gathered is None and limit >= RUN_MESSAGE_BYTES_MAX:
            head = _head(data)[0]
            with suppress(KeyError, struct.error):  # another kind of frame, or the last one
                while True:
                    read, size = _readers[head]
                    message, head = read(data, position)
                    append(message)
                    position += size
        # Nearly all frames are whole, unmasked and shorter than 64 KiB: those are parsed right here, at a
        # seventh of the cost of a call. Whatever is not plainly so goes through `_other`. (`in` would cost more.)
        while position < end:
            if self._gathered is None:
                while position <= end - 4:
                    head, length = _first_four(data, position)
                    if (head == _LONG_TEXT or head == _LONG_BINARY) and 126 <= length <= limit:  # noqa: SIM109
                        start = position + 4
                    elif _TEXT <= head < _LONG_TEXT or _BINARY <= head < _LONG_BINARY:
                        length = head & 0x7F
                        start = position + 2
                        if length > limit:
                            break
                    else:
                        break
                    stop = start + length
                    if stop > end:
                        break
                    append(data[start:stop])
                    position = stop
                if position == end:
                    break
            after = self._other(data, position, messages, controls)
            if after == position:
                break
            position = after
        if position < end:
            self._pending += data[position:]
        return messages, controls

    def _other(self, data: bytes, position: int, messages: list[bytes], controls: list[bytes]) -> int:
        """Parses any one frame at `position`; returns where the next one starts, or `position` to stop."""
        header = self._header(data, position)
        if header is None:
            return position
        opcode, final, start, length = header
        if opcode < _CLOSE and (len(self._gathered or b"") + length) > self._limit:
            return self._oversize(data, position, start, length)
        stop = start + length
        if stop > len(data):
            self._need = stop - position
            return position
        if opcode >= _CLOSE:
            self.others += 1
            controls.append(data[position:stop])
            if opcode == _CLOSE:
                self.closed = True
                return position
        elif self._gathered is None and final:
            messages.append(data[start:stop])
        else:
            if self._gathered is None:
                self._gathered = bytearray()
            self._gathered += data[start:stop]
            if final:
                messages.append(bytes(self._gathered))
                self._gathered = None
            else:
                self.others += 1
        return stop

    def _header(self, data: bytes, position: int) -> tuple[int, bool, int, int] | None:
        """Parses and checks a header: (opcode, final, start of payload, length); None to stop."""
        have = len(data) - position
        self._need = 2
        if have < 2:
            return None
        first, length = data[position], data[position + 1]
        opcode, final = first & 0x0F, first >= 0x80
        wrong = self._wrong(opcode, final, bool(first & 0x70), length)
        start = position + 2
        extended = {126: 2, 127: 8}.get(length, 0)
        if not wrong and extended:
            self._need = 2 + extended
            if have < self._need:
                return None
            length = int.from_bytes(data[start : start + extended], "big")
            start += extended
            if length < (126 if extended == 2 else 1 << 16):
                wrong = ("length", "the payload length uses more bytes than necessary")
            elif length >> 63:
                wrong = ("length", "the payload length has its top bit set")
        if wrong:
            excerpt = data[position : position + EXCERPT_BYTES_MAX]
            self._refuse(Violation(PROTOCOL_ERROR, *wrong, excerpt, have))
            return None
        return opcode, final, start, length

    def _wrong(self, opcode: int, final: bool, reserved_bits: bool, length: int) -> tuple[str, str] | None:
        """A violation in the first two bytes of a header."""
        if reserved_bits:
            return "rsv", "a reserved bit is set, and no extension was agreed"
        if 2 < opcode < _CLOSE or opcode > 10:
            return "opcode", f"opcode {opcode:#x} is reserved"
        if length > 0x7F:
            return "masked", "a server must not mask its frames"
        if opcode >= _CLOSE:
            if not final:
                return "control", "a control frame is fragmented"
            if length > CONTROL_BYTES_MAX:
                return "control", f"a control frame is longer than {CONTROL_BYTES_MAX} bytes"
        elif opcode == 0 and self._gathered is None:
            return "continuation", "a continuation frame continues nothing"
        elif opcode and self._gathered is not None:
            return "continuation", "a new message starts inside a fragmented one"
        return None

    def _oversize(self, data: bytes, position: int, start: int, length: int) -> int:
        gathered = bytes(self._gathered or b"")
        seen = gathered + data[start : start + min(length, EXCERPT_BYTES_MAX)]
        size = len(gathered) + length
        detail = f"a message of {size} bytes or more exceeds the limit of {self._limit}"
        self._refuse(Violation(MESSAGE_TOO_BIG, "oversize", detail, seen[:EXCERPT_BYTES_MAX], size))
        return position

    def _refuse(self, violation: Violation) -> None:
        self.violation = violation
        self.closed = True
