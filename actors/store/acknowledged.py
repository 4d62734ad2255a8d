"""Records acknowledged batches until they are merged, to detect segments lost from the tail.

A segment can be deleted by a person or a cleaner of temporary files, or be lost by the disk, and with it the name
that lists its rows. So each batch gets a note: its rows by table, and the times and ids of its markets. A note is a
line of "acknowledged.jsonl" in the tail. It is not synced: it has to survive the process only. If a power cut
destroys notes, no row is lost, only the report that a row is missing.
"""

import json
import threading
import time
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from pathlib import Path

from msgspec import Struct, field

from actors.model.batch import Batch
from actors.model.records import GapReason, GapRow, GapStatus, gap_id
from actors.store.filesystem import read_text_if_any
from actors.store.tail import Listed, Segment

# Total spans; beyond that the oldest notes are dropped: about 30 MB.
# A compaction joins many notes into one.
SPANS_MAX = 200_000
# Tables whose loss makes the recording look better than it is; for the others an event is enough.
TELLING = ("ticks", "gap_states", "feeds")

Market = tuple[str, str]


class Span(Struct):
    """What a batch holds of one market. Nanoseconds UTC; `low` and `high` are None if ids are not numbers."""

    from_ns: int
    to_ns: int
    trades: int = 0
    low: int | None = None
    high: int | None = None
    named: bool = False  # whether the trades have ids

    def joined(self, other: "Span") -> "Span":
        """Both spans as one."""
        lows = [s.low for s in (self, other) if s.trades]
        highs = [s.high for s in (self, other) if s.trades]
        return Span(
            min(self.from_ns, other.from_ns),
            max(self.to_ns, other.to_ns),
            self.trades + other.trades,
            None if None in lows or not lows else min(low for low in lows if low is not None),
            None if None in highs or not highs else max(high for high in highs if high is not None),
            self.named or other.named,
        )


class Note(Struct):
    """One batch, or several joined by a compaction. `spans` are of ticks, `others` of gaps and feeds."""

    numbers: list[int]
    rows: dict[str, int]
    spans: dict[Market, Span] = field(default_factory=dict)
    others: dict[Market, Span] = field(default_factory=dict)
    some: dict[str, list[int]] = field(
        default_factory=dict
    )  # by table, if only some of the batches have rows of it

    def numbers_of(self, table: str) -> list[int]:
        """The batches that have rows of a table."""
        return self.some.get(table, self.numbers)

    @property
    def weight(self) -> int:
        """Its use of memory, counted in spans."""
        return 1 + len(self.spans) + len(self.others)


class Vanished(Struct, frozen=True):
    """What was lost: rows by table, the batches, and a gap for each market affected."""

    rows: dict[str, int]
    first: int
    last: int
    gaps: tuple[GapRow, ...]


def note_of(batch: Batch, rows: Mapping[str, int], spans: Mapping[Market, Span]) -> Note:
    """The note of a batch whose segments hold these rows by table."""
    others: dict[Market, Span] = {}
    marks = [(g.exchange, g.symbol, g.from_ns or g.opened_ns, g.to_ns or g.at_ns) for g in batch.gaps]
    marks += [(f.exchange, f.symbol, f.at_ns, f.at_ns) for f in batch.feeds]
    for exchange, symbol, since, until in marks:
        _add(others, (exchange, symbol), Span(min(since, until), max(since, until)))
    return Note([batch.number], {t: n for t, n in rows.items() if n}, dict(spans), others)


def _add(spans: dict[Market, Span], market: Market, span: Span) -> None:
    spans[market] = spans[market].joined(span) if market in spans else span


class Acknowledged:
    """The notes. The writing thread calls `add`, the merging thread everything else."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._notes: list[Note] = []
        self._lock = threading.Lock()

    def load(self) -> None:
        """Reads the notes of an earlier run. Raises OSError."""
        text = read_text_if_any(self._path)
        if text is None:
            return
        notes = [note for line in text.splitlines() if (note := _parsed(line)) is not None]
        with self._lock:
            self._notes = sorted(notes, key=lambda note: note.numbers[0])

    def add(self, note: Note) -> None:
        """Adds the note of a batch that has become durable."""
        with self._lock:
            self._notes.append(note)
            weight = sum(note.weight for note in self._notes) if len(self._notes) % 64 == 0 else 0
            while weight > SPANS_MAX:
                weight -= self._notes.pop(0).weight
            try:
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(_line(note))
            except OSError:  # the batch is durable all the same
                pass

    def settle(self, merged_through: int) -> None:
        """Drops the notes of merged batches."""
        with self._lock:
            kept = [note for note in self._notes if note.numbers[-1] > merged_through]
            if len(kept) < len(self._notes):
                self._notes = kept
                self._write()

    def join(self, segments: Iterable[Segment]) -> None:
        """Joins the notes of batches whose ticks are in one segment."""
        with self._lock:
            for segment in segments:
                within = [n for n in self._notes if segment.first <= n.numbers[0] and n.numbers[-1] <= segment.last]
                if len(within) < 2:
                    continue
                at = self._notes.index(within[0])
                self._notes[at : at + len(within)] = [_joined(within)]
            self._write()

    @property
    def newest(self) -> int:
        """The newest batch with a note, 0 if there is none."""
        with self._lock:
            return self._notes[-1].numbers[-1] if self._notes else 0

    def missing(self, listed: Listed, merged_through: int, until: int) -> Vanished | None:
        """The batches with a note that are neither merged nor in a segment; their notes are dropped.

        `until` is the value of `newest` before the segments were listed: later batches are not in the listing.
        """
        reach = {table: _Reach(segments) for table, segments in listed.items()}
        with self._lock:
            gone: list[tuple[Note, set[str]]] = []
            runs: list[list[tuple[Note, set[str]]]] = [[]]
            for note in self._notes:
                tables = {
                    table
                    for table in note.rows
                    if not all(reach[table].holds(n) for n in note.numbers_of(table) if merged_through < n <= until)
                }
                if tables:
                    gone.append((note, tables))
                    runs[-1].append((note, tables))
                elif runs[-1]:
                    runs.append([])
            if not gone:
                return None
            rows: dict[str, int] = {}
            for note, tables in gone:
                for table in tables:
                    rows[table] = rows.get(table, 0) + note.rows.pop(table)
        now_ns = time.time_ns()
        gaps = tuple(gap for run in runs for gap in _gaps(run, now_ns))
        numbers = [number for note, _ in gone for number in note.numbers]
        return Vanished(rows, min(numbers), max(numbers), gaps)

    def _write(self) -> None:
        """Rewrites all notes, under another name first: a kill leaves the old file or the new one."""
        partial = self._path.with_suffix(".tmp")
        try:
            partial.write_text("".join(map(_line, self._notes)), encoding="utf-8")
            partial.replace(self._path)
        except OSError:
            pass


class _Reach:
    """Which batches the segments of one table contain. One without rows may stand for a damaged one."""

    def __init__(self, segments: Iterable[Segment]) -> None:
        self._segments = sorted((s for s in segments if s.rows), key=lambda s: (s.last, s.first))
        self._lasts = [s.last for s in self._segments]

    def holds(self, number: int) -> bool:
        """Whether a segment contains the batch; after a compaction, any segment that ends after it may begin before
        it.
        """
        return any(s.first <= number for s in self._segments[bisect_left(self._lasts, number) :])


def _joined(notes: list[Note]) -> Note:
    joined = Note([], {})
    for note in notes:
        joined.numbers += note.numbers
        for table, count in note.rows.items():
            joined.rows[table] = joined.rows.get(table, 0) + count
            joined.some.setdefault(table, []).extend(note.numbers_of(table))
        for market, span in note.spans.items():
            _add(joined.spans, market, span)
        for market, span in note.others.items():
            _add(joined.others, market, span)
    return joined


def _gaps(run: list[tuple[Note, set[str]]], now_ns: int) -> list[GapRow]:
    """One gap for each market of consecutive notes."""
    spans: dict[Market, Span] = {}
    for note, tables in run:
        for market, span in note.spans.items() if "ticks" in tables else ():
            _add(spans, market, span)
        for market, span in note.others.items() if tables & {"gap_states", "feeds"} else ():
            _add(spans, market, span)
    return [_gap(exchange, symbol, span, now_ns) for (exchange, symbol), span in spans.items()]


def _gap(exchange: str, symbol: str, span: Span, now_ns: int) -> GapRow:
    """A gap, open if a history can be queried for its trades because they had ids, else of unknown content."""
    status = GapStatus.OPEN if span.trades and span.named else GapStatus.UNKNOWN
    from_id = None if span.low is None else str(span.low - 1)
    return GapRow(
        at_ns=now_ns,
        gap_id=gap_id(exchange, symbol, GapReason.VANISHED, from_id or str(span.from_ns), now_ns),
        exchange=exchange,
        symbol=symbol,
        reason=GapReason.VANISHED,
        opened_ns=now_ns,
        from_id=from_id,
        from_ns=span.from_ns,
        to_id=None if span.high is None else str(span.high + 1),
        to_ns=span.to_ns,
        missing=span.trades or None,
        status=status,
        closed_ns=None if status is GapStatus.OPEN else now_ns,
    )


def _line(note: Note) -> str:
    def listed(spans: Mapping[Market, Span]) -> list[list[object]]:
        return [[*m, s.from_ns, s.to_ns, s.trades, s.low, s.high, s.named] for m, s in spans.items()]

    return (
        json.dumps(
            [note.numbers, note.rows, listed(note.spans), listed(note.others), note.some], separators=(",", ":")
        )
        + "\n"
    )


def _parsed(line: str) -> Note | None:
    """The note of a line; None if the line is truncated or not a note."""
    try:
        numbers, rows, spans, others, *some = json.loads(line)
        note = Note([int(n) for n in numbers], {str(t): int(n) for t, n in rows.items()})
        note.some = {str(t): [int(n) for n in found] for t, found in (some[0] if some else {}).items()}
        for into, rest in ((note.spans, spans), (note.others, others)):
            for exchange, symbol, since, until, trades, low, high, named in rest:
                into[exchange, symbol] = Span(int(since), int(until), int(trades), low, high, bool(named))
    except (ValueError, TypeError, AttributeError):
        return None
    return note if note.numbers else None
