"""The hold: while it is not known what is stored, keeps what connections deliver, to be admitted later.

That is so at a start, until the file has been read, and while another process records into the store. Whether a
trade is a copy is decided only then. So what happens to the continuity is kept too, in the same order.
"""

from collections import deque
from collections.abc import Awaitable, Callable

import trio

ROWS_MAX = 500_000  # per exchange; packed, a row takes about 150 bytes
TURN_ITEMS = 64  # the replay lets other tasks run after so many

Act = Callable[[], Awaitable[None] | None]


class Hold:
    """The hold of one exchange. `on` is read by those who would otherwise act at once."""

    def __init__(self, rows_max: int = ROWS_MAX) -> None:
        self.on = False
        self._kept: deque[tuple[Act, int]] | None = None  # while it is on: an empty one takes 760 bytes
        self._rows, self._rows_max = 0, rows_max
        self._room = trio.Event()

    @property
    def full(self) -> bool:
        """Whether connections must not read on."""
        return self._rows >= self._rows_max

    def begin(self) -> None:
        """From now on everything is kept."""
        self.on = True
        if self._kept is None:
            self._kept = deque()

    def keep(self, act: Act, rows: int = 0) -> None:
        """Keeps what is to be done later, for so many rows. What it returns is awaited before anything follows."""
        assert self._kept is not None
        self._kept.append((act, rows))
        self._rows += rows

    async def room(self) -> None:
        """Returns when there is room, or the hold has ended."""
        while self.full:
            await self._room.wait()

    async def replay(self) -> None:
        """Does everything that was kept, and ends the hold; what arrives meanwhile comes last."""
        done = 0
        while self._kept:
            act, rows = self._kept.popleft()
            waits = act()
            if waits is not None:
                await waits
            self._count_out(rows)
            done += 1
            if done % TURN_ITEMS == 0:
                await trio.lowlevel.checkpoint()
        self.on, self._kept = False, None

    def drop(self) -> None:
        """The other process has it all, and records from now on: what arrives here is of no use."""
        if self._kept is not None:
            self._kept.clear()
        self._count_out(self._rows)

    def _count_out(self, rows: int) -> None:
        self._rows -= rows
        self._room.set()
        self._room = trio.Event()
