"""A stream that the WebSocket library (control frames) and a session (messages) both write to."""

import select

import trio


class SharedStream(trio.abc.Stream):
    """Every `send_all` is atomic. Closing closes the stream below.

    Data read to identify the client is put back with `unread`, and returned first. After `die()` it is a half-open
    connection: nothing is sent, received data is discarded, and only the other side ends it.
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._unread = b""
        self._dead = False
        self._sending = trio.Lock()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        async with self._sending:
            if self._dead:
                await trio.lowlevel.checkpoint()
            else:
                await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        async with self._sending:
            await self._stream.wait_send_all_might_not_block()

    def die(self) -> None:
        """Makes it half-open, without informing anybody."""
        self._dead = True

    def left(self) -> bool:
        """Whether the client has closed its end, or was killed, even if there is more of it to read."""
        poll = select.poll()
        poll.register(self._stream.socket.fileno(), getattr(select, "POLLRDHUP", 0))  # POLLHUP is always reported
        return bool(poll.poll(0))

    def unread(self, data: bytes) -> None:
        """The next `receive_some` returns this."""
        self._unread = data

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if self._unread:
            await trio.lowlevel.checkpoint()
            data, self._unread = self._unread, b""
            return data
        data = await self._stream.receive_some(max_bytes)
        while self._dead and data:
            data = await self._stream.receive_some(max_bytes)
        return data

    async def aclose(self) -> None:
        await self._stream.aclose()


def data_frame(payload: bytes, *, binary: bool = False) -> bytes:
    """One unfragmented, unmasked text or binary message, as a server sends it (RFC 6455, section 5.2)."""
    first, size = 0x82 if binary else 0x81, len(payload)
    if size < 126:
        head = bytes((first, size))
    elif size < 1 << 16:
        head = bytes((first, 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, 127)) + size.to_bytes(8, "big")
    return head + payload
