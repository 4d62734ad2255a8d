"""A bounded buffer of lines between the live data and one reader, who may be slow."""

from collections.abc import AsyncIterator, Callable

import trio

from ops.control.limits import ControlLimits


class LineBuffer(AsyncIterator[bytes]):
    """Lines for one reader. Offering never waits.

    When `lines_max` lines wait, further ones are counted instead of kept, and the reader gets {"lagged": N} in
    their place. One task reads, any may offer or close.
    """

    def __init__(self, lines_max: int = ControlLimits().tap_lines_max) -> None:
        self._lines_max = lines_max
        self._waiting: list[bytes] = []
        self._lines = 0
        self._lagged = 0
        self._closed = False
        self._something = trio.Event()

    def offer(self, lines: int, render: Callable[[int], bytes]) -> None:
        """Accepts as many of `lines` as there is room for: `render(n)` returns the first n, each ended by \\n.

        It is only called for lines that are kept: nothing is rendered for a reader that lags.
        """
        # After a loss there is no room until the reader has read, so that N is in the right place.
        kept = min(lines, self._lines_max - self._lines)
        if kept:
            self._waiting.append(render(kept))
            self._lines += kept
        self._lagged += lines - kept
        self._something.set()

    def close(self) -> None:
        """Ends the iteration once all waiting lines have been read."""
        self._closed = True
        self._something.set()

    async def __anext__(self) -> bytes:
        """All waiting lines, at least one; if cancelled, takes nothing."""
        while not (self._waiting or self._lagged):
            if self._closed:
                raise StopAsyncIteration
            self._something = trio.Event()
            await self._something.wait()
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._lagged:
            self._waiting.append(b'{"lagged": %d}\n' % self._lagged)
        data = b"".join(self._waiting)
        self._waiting.clear()
        self._lines = self._lagged = 0
        return data
