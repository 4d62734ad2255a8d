"""Encodes the WebSocket frames that a server sends (RFC 6455, section 5.2), valid and invalid ones."""

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10
NORMAL_CLOSE = b"\x88\x02\x03\xe8"


def message_frame(payload: bytes) -> bytes:
    """A message's frame, binary where it is no text."""
    try:
        payload.decode()
    except UnicodeDecodeError:
        return frame(payload, BINARY)
    return frame(payload)


def frame(payload: bytes, opcode: int = TEXT, *, final: bool = True, extended: int | None = None) -> bytes:
    """A server's frame; `extended` forces the number of extra length bytes (0, 2 or 8)."""
    size = len(payload)
    if extended is None:
        extended = 0 if size < 126 else 2 if size < 1 << 16 else 8
    short = {0: size, 2: 126, 8: 127}[extended]
    return bytes([opcode | 0x80 * final, short]) + (size.to_bytes(extended, "big") if extended else b"") + payload
