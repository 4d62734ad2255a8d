"""Sequence gaps: the missing ids of one market, and the gaps that report them.

Each missing range belongs to the gap that reports it, or to none while it may only be out of order. A gap is filled
when none of its ids is missing any more. For ranges dropped for lack of room that can no longer be decided.
"""

from dataclasses import replace

from actors.continuity.gap_log import GapLog
from actors.continuity.missing_ranges import MissingRange, MissingRanges
from actors.continuity.row import Row
from actors.continuity.tracker_state import TrackerState
from actors.model.records import GapReason, GapRow, GapStatus, decimal

REORDER_S = 2.0  # ids out of order for no longer than this are late, not missing
RANGES_MAX = 256  # per market; with their gaps about 190 KiB. Beyond that the oldest can no longer be filled
APART_MAX = 8  # ranges due together that are reported one by one; more become one gap with their sum
JUMP_MAX = 10_000_000  # loss does not explain a larger jump: the ids between are unknown, not missing


class SequenceGaps:
    """The sequence gaps of one market. The parameter `outage` is the gap that ends with the next trade; it stays
    open here.
    """

    def __init__(self, symbol: str, log: GapLog) -> None:
        self._symbol, self._log = symbol, log
        self.ranges = MissingRanges()
        self._left: dict[str, int] = {}  # the number of missing ids of each gap, all of them in ranges
        self._cut: set[str] = set()  # gaps of which a range was dropped

    def left(self, gap: str) -> int:
        """The number of missing ids of a gap."""
        return self._left.get(gap, 0)

    def ids(self, gap: str) -> list[tuple[int, int]]:
        """The missing id ranges of a gap, lowest first."""
        return [(missing.first, missing.last) for missing in self.ranges if missing.gap_id == gap]

    def add(self, missing: MissingRange) -> None:
        """Adds a range; its ids count for its gap if it has one."""
        self.ranges.add(missing)
        if missing.gap_id is not None:
            self._left[missing.gap_id] = self.left(missing.gap_id) + missing.count

    def restore(self, state: TrackerState, outage: str | None, now_ns: int) -> None:
        """Restores the ranges and gaps of an earlier run, except its `outage`."""
        for missing in state.missing_ranges:
            if missing.gap_id is not None and missing.gap_id not in self._log:
                missing.gap_id = None
            self.add(missing)
        for row in state.gaps:
            if row.gap_id != outage and row.gap_id in self._log:
                self._resume(row, state.left.get(row.gap_id, 0), state.mark, now_ns)

    def _resume(self, row: GapRow, left: int, mark: int | None, now_ns: int) -> None:
        """Restores a gap of which the file lacks `left` ids; it is filled only if that is 0.

        Gaps for which there is no room, or whose end never reached the file, become unknown.
        """
        gap, kept = row.gap_id, self.left(row.gap_id)
        whole = mark is not None and (decimal(row.to_id) or 0) <= mark
        if whole and row.missing:
            self._log.recovered(gap, max(0, row.missing - left) - row.recovered)
        if kept:
            if kept < left or not whole:
                self._cut.add(gap)
        elif row.status is GapStatus.OPEN and (left or not whole):
            self._log.close(gap, GapStatus.UNKNOWN, now_ns)
        elif not left and whole and row.missing and row.status in (GapStatus.OPEN, GapStatus.PARTIAL):
            self._log.close(gap, GapStatus.FILLED, now_ns)
        elif row.status is not GapStatus.OPEN:
            self._log.drop(gap)

    def fill(self, first: int, last: int, row: Row, outage: str | None) -> None:
        """These ids have arrived: those in missing ranges are recovered."""
        for missing, count in self.ranges.take(first, last, row.trade_id or "", row.at_ns):
            gap = missing.gap_id
            if gap is not None:
                self._left[gap] -= count
                if gap != outage:  # while it is open, recovered ids are counted when it ends
                    self._log.recovered(gap, count)
                    self.close_filled(gap, row.received_ns)

    def close_filled(self, gap: str, at_ns: int) -> None:
        """Closes a gap of which no id is missing any more, as far as is known."""
        if self.left(gap):
            return
        self._left.pop(gap, None)
        status = GapStatus.UNKNOWN if gap in self._cut else GapStatus.FILLED
        self._cut.discard(gap)
        self._log.close(gap, status, at_ns)

    def resolved(self, gap: str, status: GapStatus, now_ns: int, recovered: int) -> None:
        """The backfill has given up on a gap: its missing ids may still be filled, as long as there is room."""
        counted = gap in self._left
        if status is GapStatus.FILLED and (self.left(gap) or gap in self._cut):
            row = self._log.get(gap)  # the history says that it returned everything, but not all of it is stored
            status = GapStatus.PARTIAL if row is not None and row.recovered else GapStatus.LOST
        self._log.close(gap, status, now_ns, recovered=None if counted else recovered, keep=counted)

    def forget_count(self, gap: str) -> None:
        """Drops the count of a gap of which no id is missing."""
        self._left.pop(gap, None)

    def vanished(self, gap: GapRow, mark: int | None) -> None:
        """The stored ids between the ends of `gap` have been lost: they are missing again, as part of it."""
        low, high = decimal(gap.from_id), decimal(gap.to_id)
        if gap.status is not GapStatus.OPEN:
            self._log.take_over(gap)
            return
        if low is None or high is None or high - low - 1 > JUMP_MAX:
            self._log.take_over(replace(gap, status=GapStatus.UNKNOWN, closed_ns=gap.at_ns))
            return
        first, last = low + 1, min(high - 1, mark or 0)
        # Ranges missing before stay with their own gap; unreported ones join this one.
        for missing in list(self.ranges):
            if missing.gap_id is None and first <= missing.first and missing.last <= last:
                self.ranges.remove(missing)
        self._left[gap.gap_id] = 0
        for start, end in self._present(first, last):
            self.add(
                MissingRange(start, end, 0.0, gap.opened_ns, gap.from_ns, gap.to_id or "", gap.to_ns, gap.gap_id)
            )
        self._log.take_over(replace(gap, missing=self.left(gap.gap_id)))
        self.close_filled(gap.gap_id, gap.at_ns)

    def _present(self, first: int, last: int) -> list[tuple[int, int]]:
        """The id ranges from `first` to `last` that lie in no missing range."""
        found = []
        for missing in self.ranges:
            if missing.last >= first and missing.first <= last:
                if missing.first > first:
                    found.append((first, missing.first - 1))
                first = missing.last + 1
        return [*found, *([(first, last)] if first <= last else [])]

    # -- reports ------------------------------------------------------------------------------------------

    def report_late(self, now: float, now_ns: int) -> None:
        """Opens gaps for ids that are out of order for too long."""
        if len(self.ranges):
            self._report([missing for missing in self._unreported() if now - missing.born >= REORDER_S], now_ns)

    def _unreported(self) -> list[MissingRange]:
        return [missing for missing in self.ranges if missing.gap_id is None and not missing.quiet]

    def _report(self, ranges: list[MissingRange], now_ns: int) -> None:
        if len(ranges) <= APART_MAX:
            for missing in ranges:
                self._open(missing, missing.to_id, missing.to_ns, now_ns, missing.count)
        else:
            total = sum(missing.count for missing in ranges)
            gap = self._open(ranges[0], ranges[-1].to_id, ranges[-1].to_ns, now_ns, total)
            for missing in ranges[1:]:
                missing.gap_id = gap

    def report_jump(self, missing: MissingRange, at_ns: int) -> None:
        """Opens and closes a gap for a jump too large to be a loss."""
        self._log.close(self._open(missing, missing.to_id, missing.to_ns, at_ns, None), GapStatus.UNKNOWN, at_ns)

    def _open(
        self, missing: MissingRange, to_id: str | None, to_ns: int | None, now_ns: int, count: int | None
    ) -> str:
        gap = self._log.open(
            self._symbol,
            GapReason.SEQUENCE,
            missing.opened_ns,
            at_ns=now_ns,
            from_id=str(missing.first - 1),
            from_ns=missing.from_ns,
            to_id=to_id,
            to_ns=to_ns,
            missing=count,
        )
        if count is not None:
            missing.gap_id, self._left[gap] = gap, count
        return gap

    # -- room ---------------------------------------------------------------------------------------------

    def limit(self, now_ns: int, outage: str | None) -> None:
        """Enforces the maximum number of ranges; a dropped range is reported first."""
        if len(self.ranges) <= RANGES_MAX:
            return
        self._report(self._unreported(), now_ns)
        while len(self.ranges) > RANGES_MAX:
            self._forget(min(self.ranges, key=self._worth), now_ns, outage)

    def forget_all(self, now_ns: int, outage: str | None) -> None:
        """Drops all ranges after a reset of the ids; unreported ones are reported first."""
        self._report(self._unreported(), now_ns)
        for missing in list(self.ranges):
            self._forget(missing, now_ns, outage)

    def _worth(self, missing: MissingRange) -> tuple[bool, int]:
        row = self._log.get(missing.gap_id) if missing.gap_id else None
        return row is not None and row.status is GapStatus.OPEN, missing.first

    def _forget(self, missing: MissingRange, now_ns: int, outage: str | None) -> None:
        self.ranges.remove(missing)
        gap = missing.gap_id
        if gap is None:
            return
        self._left[gap] -= missing.count
        self._cut.add(gap)
        if not self._left[gap] and gap != outage:
            row = self._log.get(gap)
            if row is not None and row.status is GapStatus.OPEN:
                self.close_filled(gap, now_ns)
            else:
                self._log.drop(gap)
                self._left.pop(gap)
                self._cut.discard(gap)
