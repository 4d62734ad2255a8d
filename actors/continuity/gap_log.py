"""The gap log: the gaps of one exchange; each new state of a gap is an appended row, none is edited."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from actors.model.records import GapReason, GapRow, GapStatus, gap_id

STATE_STEP_NS = 1_000  # the file's resolution: states of one gap need different times
OPEN_MAX_PER_SYMBOL = 32  # unanswered gaps; beyond that the oldest become unknown


class GapLog:
    """The gaps of one exchange that may still change, and the rows to be stored.

    A gap is kept while it is open, and after that while ids of it may still be filled (`missing_ranges`): a gap
    closed as lost becomes partial or filled when a repair recovers its trades.
    """

    def __init__(self, exchange: str) -> None:
        self._exchange = exchange
        self._gaps: dict[str, GapRow] = {}
        self.opened = 0  # in total
        self._outbox: list[GapRow] = []
        self._provisional: set[str] = set()  # opened so and not taken yet
        self.on_news: Callable[[], object] = lambda: None  # called when there is something to be stored

    def __contains__(self, gap: str) -> bool:
        return gap in self._gaps

    def get(self, gap: str) -> GapRow | None:
        """The newest state of a gap."""
        return self._gaps.get(gap)

    def restore(self, rows: Iterable[GapRow]) -> None:
        """Adds the gaps of an earlier run."""
        self._gaps.update((row.gap_id, row) for row in rows)

    def kept(self, symbol: str) -> list[str]:
        """The ids of a market's gaps that are kept here."""
        return [row.gap_id for row in self._gaps.values() if row.symbol == symbol]

    def unfinished(self) -> list[GapRow]:
        """Open gaps, oldest first: the backfill's work."""
        rows = (row for row in self._gaps.values() if row.status is GapStatus.OPEN)
        return sorted((row for row in rows if row.gap_id not in self._provisional), key=lambda row: row.opened_ns)

    def take(self) -> list[GapRow]:
        """Returns and clears the states to be stored, in order."""
        self.opened += len(self._provisional)
        self._provisional.clear()
        rows, self._outbox = self._outbox, []
        return rows

    def open(
        self,
        symbol: str,
        reason: GapReason,
        opened_ns: int,
        *,
        at_ns: int,
        from_id: str | None,
        from_ns: int | None,
        to_id: str | None = None,
        to_ns: int | None = None,
        missing: int | None = None,
        provisional: bool = False,
    ) -> str:
        """Opens a gap and returns its id. A provisional one counts once it is taken: it may be withdrawn before."""
        gap = gap_id(self._exchange, symbol, reason, from_id, opened_ns)
        row = GapRow(
            at_ns,
            gap,
            self._exchange,
            symbol,
            reason,
            opened_ns,
            from_id=from_id,
            to_id=to_id,
            from_ns=from_ns,
            to_ns=to_ns,
            missing=missing,
        )
        self._make_room(symbol, at_ns)
        self._append(row)
        if provisional:
            self._provisional.add(gap)
        else:
            self.opened += 1
        return gap

    def bound(
        self,
        gap: str,
        at_ns: int,
        to_id: str | None,
        to_ns: int | None,
        missing: int | None,
        *,
        say: bool = True,
    ) -> None:
        """Sets a gap's end: the first trade after it arrived. With `say` False the state is not recorded now, but
        with the next one.
        """
        row = self._gaps[gap]
        if say:
            at_ns = self._after(row, at_ns)
            self._append(replace(row, at_ns=at_ns, to_id=to_id, to_ns=to_ns, missing=missing))
        else:
            self._gaps[gap] = replace(row, to_id=to_id, to_ns=to_ns, missing=missing)

    def rebase(self, gap: str, at_ns: int, from_id: str | None, from_ns: int | None) -> None:
        """Moves a gap's start back: the last trade before it never reached the file."""
        row = self._gaps[gap]
        self._append(replace(row, at_ns=self._after(row, at_ns), from_id=from_id, from_ns=from_ns))

    def recovered(self, gap: str, count: int) -> None:
        """Counts stored trades of a gap; recorded with its next state."""
        row = self._gaps[gap]
        self._gaps[gap] = replace(row, recovered=row.recovered + count)

    def close(
        self, gap: str, status: GapStatus, at_ns: int, *, recovered: int | None = None, keep: bool = False
    ) -> None:
        """Appends a final state; `keep` while ids of it may still be filled."""
        row = self._gaps[gap]
        at_ns = self._after(row, at_ns)
        count = row.recovered if recovered is None else recovered
        closed = None if status is GapStatus.OPEN else at_ns
        self._append(replace(row, at_ns=at_ns, status=status, closed_ns=closed, recovered=count))
        if not keep and status is not GapStatus.OPEN:
            del self._gaps[gap]

    def withdraw(self, gap: str, at_ns: int) -> None:
        """Nothing is missing in a gap after all: as if it had not been opened, or else it is filled."""
        if gap in self._provisional:
            self._provisional.remove(gap)
            self._outbox = [row for row in self._outbox if row.gap_id != gap]
            self.drop(gap)
            return
        row = self._gaps.get(gap)
        if row is not None and row.status is not GapStatus.FILLED:
            self._gaps[gap] = replace(row, missing=row.recovered)
            self.close(gap, GapStatus.FILLED, at_ns)
        self.drop(gap)

    def amend(self, row: GapRow, status: GapStatus, at_ns: int, recovered: int, missing: int | None) -> None:
        """Appends a state to a gap that is no longer kept here; `row` is its newest."""
        at_ns = self._after(row, at_ns)
        self._outbox.append(
            replace(row, at_ns=at_ns, status=status, closed_ns=at_ns, recovered=recovered, missing=missing)
        )

    def take_over(self, row: GapRow) -> None:
        """Adds a gap detected elsewhere; keeps it while it is open."""
        self._append(row)
        self.opened += 1
        if row.status is not GapStatus.OPEN:
            del self._gaps[row.gap_id]

    def drop(self, gap: str) -> None:
        """Removes a gap that can no longer change here."""
        self._gaps.pop(gap, None)

    @staticmethod
    def _after(row: GapRow, at_ns: int) -> int:
        return max(at_ns, row.at_ns + STATE_STEP_NS)

    def _append(self, row: GapRow) -> None:
        self._gaps[row.gap_id] = row
        self._outbox.append(row)
        self.on_news()

    def _make_room(self, symbol: str, at_ns: int) -> None:
        """Only gaps without countable ids accumulate here; the others are bounded by their missing ranges."""
        waiting = [
            row for row in self._gaps.values() if row.symbol == symbol and row.bounded and row.missing is None
        ]
        for row in waiting[: max(0, len(waiting) + 1 - OPEN_MAX_PER_SYMBOL)]:
            self.close(row.gap_id, GapStatus.UNKNOWN, at_ns)
