"""Decides when to report how far contiguous ids have proved one market, so that the rows stay few."""

from actors.continuity.missing_ranges import MissingRanges

# What follows the newest report is not proved in the file, and each report is a row: the first come soon, and the
# pause grows with what has been proved since the ids were followed without interruption.
PAUSE_S_MIN = 10.0
PAUSE_S_MAX = 300.0
PART = 1 / 8


class IdProof:
    """The proof of one market; times of trades are nanoseconds, those of reports seconds on the caller's clock."""

    def __init__(self) -> None:
        self._from_ns: int | None = None  # up to here it is reported
        self._began: float | None = None
        self._due = 0.0

    def begin(self, from_ns: int | None) -> None:
        """The ids are followed from the trade of this time on."""
        self._from_ns, self._began = from_ns, None

    def take(self, last_ns: int | None, ranges: MissingRanges, now: float, *, end: bool) -> tuple[int, int] | None:
        """The range to report now, from a trade to before another, None for none; with `end` it is due at once.

        `last_ns` is the time of the newest trade. Ids that are missing and belong to no gap yet end the range.
        """
        if self._from_ns is None or last_ns is None or last_ns <= self._from_ns or not (end or now >= self._due):
            return None
        until_ns = last_ns
        for missing in ranges:
            if missing.gap_id is None and not missing.quiet:
                until_ns = min(until_ns, self._from_ns if missing.from_ns is None else missing.from_ns)
        if until_ns <= self._from_ns:
            return None
        self._began = now if self._began is None else self._began
        self._due = now + min(PAUSE_S_MAX, max(PAUSE_S_MIN, PART * (now - self._began)))
        self._from_ns, proved = until_ns, (self._from_ns, until_ns)
        return proved
