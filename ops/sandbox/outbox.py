"""Queues the frames for one client, and sends each, in order, when it is due."""

from collections import deque
from collections.abc import Callable

import trio

from ops.sandbox.shared_stream import data_frame

OUTBOX_FRAMES_MAX = 50_000  # a client this far behind is disconnected, as exchanges do; some 10 MB
SEND_BYTES = 64 * 1024


class Outbox:
    """The session owns it, and runs `send`. `last_sent` and all times are trio's clock.

    `encode` makes the payload of each message, UTF-8 text if it is None; `binary` is the messages' type. At most
    `frames_max` wait.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        encode: Callable[[str], bytes] | None = None,
        *,
        binary: bool = False,
        frames_max: int = OUTBOX_FRAMES_MAX,
    ) -> None:
        self._stream, self._frames_max = stream, frames_max
        self._encode, self._binary = encode or str.encode, binary
        self._frames: deque[tuple[float, str]] = deque()
        self._posted = trio.Event()
        self._ending: tuple[int, str] | None = None
        self._stalled_until = -1.0
        self.last_sent = trio.current_time()

    def post(self, text: str, due: float) -> bool:
        """Queues a frame; returns whether there was room."""
        if len(self._frames) >= self._frames_max:
            return False
        self._frames.append((due, text))
        self._posted.set()
        return True

    def stall(self, until: float) -> None:
        """Sends nothing before this time."""
        self._stalled_until = until

    def end(self, code: int, reason: str) -> None:
        """Makes `send` return this once everything queued before has been sent; the first call counts."""
        self._ending = self._ending or (code, reason)
        self._posted.set()

    async def send(self) -> tuple[int, str]:
        """Sends until an end was requested; returns its code and reason."""
        while True:
            while self._frames:
                await trio.sleep_until(max(self._frames[0][0], self._stalled_until))
                # Many messages at once, bypassing the library: it sends them singly, at some 50 us each.
                await self._stream.send_all(self._due())
                self.last_sent = trio.current_time()
            if self._ending is not None:
                return self._ending
            self._posted = trio.Event()
            await self._posted.wait()

    def _due(self) -> bytes:
        """The messages that are due, at least one, as WebSocket frames of about SEND_BYTES at most."""
        frames: list[bytes] = []
        size, now = 0, trio.current_time()
        while self._frames and (not frames or (size < SEND_BYTES and self._frames[0][0] <= now)):
            frames.append(data_frame(self._encode(self._frames.popleft()[1]), binary=self._binary))
            size += len(frames[-1])
        return b"".join(frames)
