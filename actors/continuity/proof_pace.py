"""Decides when to report how far one market is proved, so that the rows stay few.

What follows the newest report is not proved in the file, and each report is a row: the first come soon, and the
pause grows with the time since the proof began without interruption.
"""

PAUSE_S_MIN = 10.0
PAUSE_S_MAX = 300.0
PART = 1 / 8


class ProofPace:
    """One proof of one market; times of trades are nanoseconds, those of reports seconds on the caller's clock."""

    def __init__(self) -> None:
        self.from_ns: int | None = None  # up to here it is reported; None while nothing is proved
        self._began: float | None = None
        self._due = 0.0

    def begin(self, from_ns: int | None) -> None:
        """The proof begins again at the trade of this time, or (None) ends."""
        self.from_ns, self._began = from_ns, None

    def due(self, now: float) -> bool:
        """Whether a report is due, if there is anything to report."""
        return self.from_ns is not None and now >= self._due

    def take(self, until_ns: int, now: float) -> tuple[int, int] | None:
        """Reports what is proved up to before a trade of this time: its range, None if there is nothing new."""
        if self.from_ns is None or until_ns <= self.from_ns:
            return None
        self._began = now if self._began is None else self._began
        self._due = now + min(PAUSE_S_MAX, max(PAUSE_S_MIN, PART * (now - self._began)))
        self.from_ns, proved = until_ns, (self.from_ns, until_ns)
        return proved
