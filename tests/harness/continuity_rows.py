"""Rows for continuity tests: blocks in the order of arrival, and a small exchange of numbered trades."""

from collections.abc import Container, Iterable, Sequence

from actors.continuity.continuity import Continuity
from actors.continuity.recent_ids import RecentIds
from actors.model.records import GapRow, GapStatus
from actors.model.ticks import Block, IdPromise

BTC, ETH = "BTC/USDT", "ETH/USDT"
T0_NS = 1_700_000_000_000_000_000
SECOND_NS = 1_000_000_000


def block_of(
    rows: Iterable[tuple[str, str | None, int | None]], source: str = "stream", *, price: str = "1"
) -> Block:
    """Rows of (symbol, id, time in ns)."""
    block = Block("x")
    for symbol, trade_id, time_ns in rows:
        received_ns = T0_NS if time_ns is None else time_ns + 5_000_000
        block.extend([symbol], [time_ns], [received_ns], [price], ["1"], ["buy"], [trade_id], [source])
    return block


def one(promise: IdPromise = IdPromise.CONTIGUOUS) -> Continuity:
    """A continuity of BTC alone."""
    return Continuity("x", {BTC: promise})


def admit(
    continuity: Continuity,
    ids: Sequence[int | str | None],
    *,
    at: float = 0.0,
    source: str = "stream",
    spans: Sequence[int] | None = None,
    time_s: float | None = None,
    symbol: str = BTC,
    known: Container[str] = frozenset(),
) -> list[str | None]:
    """Admits trades with these ids, made at `time_s` (default `at`); gives the ids of those that leave at once."""
    made_ns = T0_NS + round((at if time_s is None else time_s) * SECOND_NS)
    texts = [None if number is None else str(number) for number in ids]
    block = block_of([(symbol, text, made_ns) for text in texts], source)
    if spans is not None:
        block.fills[:] = spans
    admitted = continuity.deduplicator.admit(block, 0, spans, at, known=known)
    assert 0 <= admitted <= len(ids)
    assert len({len(getattr(block, c)) for c in ("symbol", "exchange_ns", "price", "source", "trade_id")}) == 1
    return list(block.trade_id)


def remembering(trades: Iterable[tuple[str, int]], reach_ns: int | None = None) -> RecentIds:
    """What the file gives of ids without a sequence: the newest trades, as (id, time in ns)."""
    recent = RecentIds()
    for trade_id, time_ns in trades:
        recent.add(hash(trade_id), time_ns)
    recent.reach_ns = reach_ns
    return recent


def tick(continuity: Continuity, at: float) -> tuple[list[str | None], list[str | None], int]:
    """One look at the clock; gives the ids of held trades stored now, those refused, how many copies."""
    continuity.tick(at, T0_NS + round(at * SECOND_NS))
    block, decided = continuity.deduplicator.take_decided(at)
    return list(block.trade_id), [refused.row.trade_id for refused in decided.refused], decided.copies


def newest(rows: Iterable[GapRow]) -> dict[str, GapRow]:
    """The newest state of each gap."""
    found: dict[str, GapRow] = {}
    for row in rows:
        if row.gap_id not in found or row.at_ns > found[row.gap_id].at_ns:
            found[row.gap_id] = row
    return found


def reported(rows: Iterable[GapRow], number: int) -> bool:
    """Whether an id lies inside a gap that is not filled."""
    for row in newest(rows).values():
        low = -1 if row.from_id is None else int(row.from_id)
        high = float("inf") if row.to_id is None else int(row.to_id)
        if low < number < high and row.status is not GapStatus.FILLED:
            return True
    return False
