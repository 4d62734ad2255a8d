"""From gaps to what is asked of the exchange, and from its answers to what the gaps become."""

from collections.abc import Sequence

from actors.backfill.fetcher import Recovered
from actors.exchanges.contract.history import History, TradeRange
from actors.model.records import GapRow, GapStatus


def stretches(gap: GapRow, missing_ids: Sequence[tuple[int, int]], history: History) -> list[TradeRange]:
    """What to ask for, lowest first: ranges of ids (both ends missing) where they are known, else the times.

    Ranges that one page reaches over are asked for together; what lies between them comes as copies, which
    continuity drops. [] for a gap whose end is not known yet, or that has neither ids nor times.
    """
    if not missing_ids:
        if gap.from_ns is None or gap.to_ns is None:
            return []
        return [TradeRange(from_ns=min(gap.from_ns, gap.to_ns), to_ns=gap.to_ns)]
    joined = [missing_ids[0]]
    for first, last in missing_ids[1:]:
        if last - joined[-1][0] < history.page_rows:
            joined[-1] = (joined[-1][0], last)
        else:
            joined.append((first, last))
    # Times of different clocks may be out of order by a little; they only say where to look.
    to_ns = gap.to_ns if gap.from_ns is None or gap.to_ns is None else max(gap.from_ns, gap.to_ns)
    return [TradeRange(from_id=first, to_id=last, from_ns=gap.from_ns, to_ns=to_ns) for first, last in joined]


def status_of(parts: Sequence[Recovered]) -> GapStatus:
    """What a gap is after all its stretches were asked for: open while asking again may bring more."""
    if all(part.complete for part in parts):
        return GapStatus.FILLED
    if not all(part.complete or part.final for part in parts):
        return GapStatus.OPEN
    return GapStatus.PARTIAL if any(part.count for part in parts) else GapStatus.LOST
