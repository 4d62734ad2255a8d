"""A bounded buffer of lines between the live data and one reader, who may be slow."""

from collections.abc import AsyncIterator, Callable

import trio

from ops.control.limits import ControlLimits


class LineBuffer(AsyncIterator[bytes]):
    """Lines for one reader. Offering never waits.

    When `lines_max` lines wait, further ones are counted instead of kept, and the reader gets {"lagged": N} in
    their place. One task reads, any may offer or close. `on_wait` is called when the reader begins to wait for
    lines; while it is `waiting` it could have more at once.
    """

    def __init__(
        self, lines_max: int = ControlLimits().tap_lines_max, on_wait: Callable[[], None] | None = None
    ) -> None:
        self.waiting = False
        self._lines_max, self._on_wait = lines_max, on_wait
        self._kept: list[bytes] = []
        self._lines = 0
        self._lagged = 0
        self._closed = False
        self._something = trio.Event()

    def offer(self, lines: int, render: Callable[[int], bytes]) -> None:
        """Accepts as many of `lines` as there is room for: `render(n)` returns the first n, each ended by \\n.

        It is only called for lines that are kept: nothing is rendered for a reader that lags. After `close` nothing
        is accepted.
        """
        if self._closed:
            return
        # After a loss there is no room until the reader has read, so that N is in the right place.
        kept = min(lines, self._lines_max - self._lines)
        if kept:
            self._kept.append(render(kept))
            self._lines += kept
        self._lagged += lines - kept
        self._something.set()

    def close(self) -> None:
        """Ends the iteration once all waiting lines have been read."""
        self._closed = True
        self._something.set()

    async def __anext__(self) -> bytes:
        """All waiting lines, at least one; if cancelled, takes nothing."""
        while not (self._kept or self._lagged):
            if self._closed:
                raise StopAsyncIteration
            await self._wait()
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._lagged:
            self._kept.append(b'{"lagged": %d}\n' % self._lagged)
        data = b"".join(self._kept)
        self._kept.clear()
        self._lines = self._lagged = 0
        return data

    async def _wait(self) -> None:
        self._something = trio.Event()
        self.waiting = True
        try:
            if self._on_wait is not None:
                self._on_wait()
            await self._something.wait()
        finally:
            self.waiting = False
