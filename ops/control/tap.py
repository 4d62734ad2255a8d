"""A bounded buffer of lines between the live data and one reader who may be slow."""

from collections.abc import AsyncIterator, Callable

import trio

from ops.control.limits import ControlLimits


class LineBuffer(AsyncIterator[bytes]):
    """Lines on their way to one reader. The offering side never waits.

    When `lines_max` lines wait, further ones are counted instead of kept, and the reader gets
    {"lagged": N} where they would have stood. One task reads, any may offer or close.
    """

    def __init__(self, lines_max: int = ControlLimits().tap_lines_max) -> None:
        self._lines_max = lines_max
        self._waiting: list[bytes] = []
        self._lines = 0
        self._lagged = 0
        self._closed = False
        self._something = trio.Event()

    def offer(self, lines: int, render: Callable[[int], bytes]) -> None:
        """Takes as many of `lines` as there is room for: `render(n)` gives the first n, each ended by \\n.

        It is only called for what will be kept: to a reader who lags nothing is rendered.
        """
        # Once something is lost there is no room until the reader comes, so that N stands where it belongs.
        kept = min(lines, self._lines_max - self._lines)
        if kept:
            self._waiting.append(render(kept))
            self._lines += kept
        self._lagged += lines - kept
        self._something.set()

    def close(self) -> None:
        """Ends the iteration once everything that waits has been read."""
        self._closed = True
        self._something.set()

    async def __anext__(self) -> bytes:
        """Everything that waits, at least one line; cancelled, it takes nothing."""
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
