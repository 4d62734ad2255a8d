"""Continuity of one exchange: what of the trades just read is new, and what is missing between them."""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import length_hint

from actors.coverage import FeedRow
from actors.dialect import IdPromise
from actors.gaps import GapBook, GapReason, GapRow, GapStatus
from actors.loose import Loose
from actors.seed import Seed
from actors.sequence import Sequence as SequenceTrack
from actors.ticks import Block
from actors.track import Row, Shared, Snapshot, Track


@dataclass(frozen=True, slots=True)
class Admitted:
    """What became of the rows asked about: so many were copies and are no longer in the block."""

    duplicates: int = 0


_NONE_REFUSED = Admitted()


class Continuity:
    """One per exchange, shared by its connections and its backfill; one event loop, nothing here waits.

    `promises` says of each symbol what its ids promise. `now` is any clock that only rises, in seconds;
    `now_ns` nanoseconds UTC. Rows for `gap_states` and `feeds` collect here until they are taken.
    """

    def __init__(self, exchange: str, promises: Mapping[str, IdPromise]) -> None:
        self._shared = Shared(exchange, GapBook(exchange))
        self._book = self._shared.book
        self._tracks: dict[str, Track] = {}
        self._reads = 0
        for symbol, promise in promises.items():
            self.add(symbol, promise)

    def add(self, symbol: str, promise: IdPromise) -> None:
        """Another market, or (with its state kept) one that is known."""
        if symbol in self._tracks:
            return
        if promise is IdPromise.CONTIGUOUS:
            self._tracks[symbol] = SequenceTrack(symbol, self._shared)
        else:
            self._tracks[symbol] = Loose(symbol, self._shared, sorts=promise is IdPromise.INCREASING)

    def restore(self, seeds: Iterable[Seed], now_ns: int) -> None:
        """Before anything is admitted: what the file knows. Opens a downtime gap for each market with trades."""
        for seed in seeds:
            if seed.symbol in self._tracks:
                self._tracks[seed.symbol].restore(seed, now_ns)

    # -- trades -------------------------------------------------------------------------------------

    def admit(
        self,
        block: Block,
        start: int,
        spans: Sequence[int] | None,
        now: float,
        *,
        known: Container[str] = (),
    ) -> Admitted:
        """Takes the rows from `start` on that are already stored or on their way out of the block, in place.

        `spans` says of each of these rows how many ids it stands for, its own and those before; None: one.
        `known` (see Known) are ids that were looked up, for answers about a time beyond what memory holds.
        """
        self._reads += 1
        at, end = start, len(block)
        copies: list[int] = []
        while True:
            at = self._in_order(block, at, None if spans is None else spans[at - start :])
            if at >= end:
                break
            while at < end:
                new = self._admit_odd(block, at, 1 if spans is None else spans[at - start], now, known)
                if not new:
                    copies.append(at)
                at += 1
                if new and at < end and self._follows(block, at, spans):
                    break
        if not copies:
            return _NONE_REFUSED
        block.remove(start, copies)
        return Admitted(len(copies))

    def snapshot(self, symbol: str) -> Snapshot:
        """What is in memory of a market now, for `admit_again`."""
        track = self._tracks[symbol]
        return replace(track.snapshot(), gaps=frozenset(self._book.kept(symbol)))

    def remembered(self, block: Block) -> set[str]:
        """The ids of these rows that alone make `admit_again` take them for copies: on their way, or stored."""
        rows = zip(block.symbol, block.trade_id, strict=True)
        return {trade_id for symbol, trade_id in rows if trade_id and self._tracks[symbol].remembers(trade_id)}

    def admit_again(
        self,
        block: Block,
        snapshot: Snapshot,
        stored: Container[str],
        now: float,
        *,
        gone: Container[str] = (),
    ) -> int:
        """Takes copies out of rows of one market's old times, beyond what memory knows; returns how many.

        `stored` are the ids that the file holds, looked up after everything that was admitted before the
        snapshot had become durable; `gone` those that were once stored and are not in the file any more.
        """
        self._reads += 1
        copies = []
        for at, trade_id in enumerate(block.trade_id):
            if trade_id in gone:
                continue
            row = self._row(block, at, 1, now, Known(stored))
            if trade_id in stored or not self._tracks[block.symbol[at]].readmit(row, snapshot):
                copies.append(at)
        if copies:
            block.remove(0, copies)
        return len(copies)

    def _in_order(self, block: Block, at: int, spans: Sequence[int] | None) -> int:
        """Goes through rows that follow their predecessors; gives the index of the first that does not.

        This is where nearly all rows stay, so it is written for speed: conversions and pairs are made in C,
        and what is kept beside the marks is set once, at the end.
        """
        marks = self._shared.marks
        if at >= len(block) or marks[block.symbol[at]] is None:
            return at
        symbols, ids = (block.symbol[at:], block.trade_id[at:]) if at else (block.symbol, block.trade_id)
        if spans is None and len(ids) > 1 and symbols.count(symbols[0]) == len(ids):
            first = marks[symbols[0]]
            if ids == list(map(str, range(first, first + len(ids)))):  # a burst of one market, all in order
                marks[symbols[0]] = first + len(ids)
                self._shared.lasts[symbols[0]] = block.exchange_ns[-1]
                return len(block)
        rest = iter(ids)
        stopped = 1
        try:
            numbers = map(int, rest)  # type: ignore[arg-type]  # None ends it, as does a text that is no number
            if spans is None:
                for symbol, number in zip(symbols, numbers, strict=True):
                    if marks[symbol] != number:
                        break
                    marks[symbol] = number + 1
                else:
                    stopped = 0
            else:
                for symbol, number, span in zip(symbols, numbers, spans, strict=True):
                    if marks[symbol] != number - span + 1:
                        break
                    marks[symbol] = number + 1
                else:
                    stopped = 0
        except (TypeError, ValueError):
            pass
        done = len(ids) - length_hint(rest) - stopped
        self._shared.lasts.update(zip(symbols[:done], block.exchange_ns[at : at + done], strict=True))
        return at + done

    def _follows(self, block: Block, at: int, spans: Sequence[int] | None) -> bool:
        """Whether to go on in order: where row after row is odd, each try would copy what is left of the block."""
        expected = self._shared.marks[block.symbol[at]]
        return expected is not None and (spans is not None or block.trade_id[at] == str(expected))

    def _admit_odd(self, block: Block, at: int, span: int, now: float, known: Container[str]) -> bool:
        symbol = block.symbol[at]
        track = self._tracks.get(symbol)
        if track is None:
            self.add(symbol, IdPromise.OPAQUE)
            track = self._tracks[symbol]
        if block.source[at] == "stream" and track.quick(block.trade_id[at], block.exchange_ns[at]):
            return True
        return track.admit(self._row(block, at, span, now, known))

    def _row(self, block: Block, at: int, span: int, now: float, known: Container[str]) -> Row:
        return Row(
            block.trade_id[at],
            span,
            block.exchange_ns[at],
            block.received_ns[at],
            now,
            block.source[at],
            (block.price[at], block.volume[at], block.side[at]),
            self._reads,
            known,
        )

    # -- connections --------------------------------------------------------------------------------

    def connected(self, symbols: Iterable[str], now_ns: int) -> None:
        """A connection delivers these now (acknowledged, or data came). Once a connection and symbol."""
        for symbol in symbols:
            track = self._tracks.get(symbol)
            if track is not None:
                track.carriers += 1
                track.carried_ns = now_ns
                track.started(now_ns)

    def disconnected(self, symbols: Iterable[str], now_ns: int, reason: GapReason = GapReason.DISCONNECT) -> None:
        """A connection that was `connected` for these delivers them no more; the last one opens a gap."""
        for symbol in symbols:
            track = self._tracks.get(symbol)
            if track is None:
                continue
            track.carriers = max(0, track.carriers - 1)
            if not track.carriers and track.outage is None:
                track.interrupted(reason, now_ns)

    def suspect(self, symbol: str, now_ns: int, reason: GapReason, since_ns: int | None = None) -> None:
        """Trades may have been missed although nobody hung up (a stall, an overflow).

        From the last trade on; `since_ns` is our time from which on nothing came, for where there was none.
        """
        track = self._tracks.get(symbol)
        if track is not None and track.outage is None:  # one outage is one gap
            track.interrupted(reason, now_ns, since_ns)

    def dropped(self, symbols: Iterable[str], now_ns: int) -> None:
        """Nobody wants these any more: what they do from now on is no outage."""
        for symbol in symbols:
            track = self._tracks.get(symbol)
            if track is not None:
                track.carriers = 0
                track.stopped(now_ns)

    def wanted_again(self, symbols: Iterable[str], now_ns: int) -> None:
        """These were dropped and are recorded again; what came in between is missing."""
        for symbol in symbols:
            track = self._tracks.get(symbol)
            if track is not None and track.outage is None and self._shared.lasts.get(symbol) is not None:
                track.interrupted(GapReason.DOWNTIME, now_ns)

    def counts(self, symbol: str) -> bool:
        """Whether ids tell for good which trades of the market are stored."""
        return isinstance(self._tracks.get(symbol), SequenceTrack)

    def newest(self, symbol: str) -> tuple[str | None, int | None]:
        """Id and time of the newest stored trade, where there is one."""
        track = self._tracks.get(symbol)
        return (None, None) if track is None else (track.last_id, self._shared.lasts.get(symbol))

    # -- gaps ---------------------------------------------------------------------------------------

    def tick(self, now: float, now_ns: int) -> None:
        """About once a second, and at the end: what was out of order for too long becomes a gap."""
        for track in self._tracks.values():
            track.tick(now, now_ns)

    def resolved(self, gap: str, recovered: int, status: GapStatus, now_ns: int) -> None:
        """A backfill is through with a gap. One that its ids have shown to be filled already stays so."""
        row = self._book.get(gap)
        if row is not None and status is not GapStatus.OPEN:
            self._tracks[row.symbol].resolved(gap, status, now_ns, recovered)

    def settled_ns(self, gap: GapRow) -> int | None:
        """From when on the market of an outage is delivered again although no trade has ended it yet."""
        track = self._tracks.get(gap.symbol)
        if track is None or track.outage != gap.gap_id or not track.carriers or track.carried_ns < gap.opened_ns:
            return None
        return track.carried_ns

    def ended(self, gap: str, until_ns: int, recovered: int, now_ns: int) -> None:
        """An outage that no trade has ended missed only what was recovered, up to this time of the exchange."""
        row = self._book.get(gap)
        if row is not None:
            self._tracks[row.symbol].ended(gap, until_ns, recovered, now_ns)

    def mended(self, gap: GapRow, snapshot: Snapshot, found: int, now_ns: int, *, whole: bool) -> GapStatus | None:
        """A repair has brought `found` trades of a gap, and all of it with `whole`. Returns what it is now.

        `gap` is its state in the file before; None where nothing has changed.
        """
        row = self._book.get(gap.gap_id)
        if gap.gap_id in snapshot.gaps:  # its ids are counted one by one
            if row is None:
                return GapStatus.FILLED if found else None
            if whole and row.status is GapStatus.OPEN and row.bounded and not self.missing_ids(gap.gap_id):
                self.resolved(gap.gap_id, found, GapStatus.FILLED, now_ns)
                return GapStatus.FILLED
            if found and row.status is not GapStatus.OPEN:
                self._book.close(gap.gap_id, GapStatus.PARTIAL, now_ns, keep=True)
                return GapStatus.PARTIAL
            return row.status if found else None  # open: what is left of it is still asked for
        recovered = gap.recovered + found
        whole = whole and (gap.missing is None or recovered >= gap.missing)  # else the history lacks ids too
        if not (found or whole):
            return None
        status = GapStatus.FILLED if whole else GapStatus.PARTIAL
        missing = recovered if whole and gap.missing is None else gap.missing
        self._book.amend(gap, status, now_ns, recovered, missing)
        return status

    def unfinished(self) -> list[GapRow]:
        """The open gaps, oldest first; those that are not `bounded` end with the next trade."""
        return self._book.unfinished()

    def take_gaps(self) -> list[GapRow]:
        """States of gaps since the last call; to be stored behind the ticks that were admitted so far."""
        return self._book.take()

    def take_feeds(self) -> list[FeedRow]:
        """Rows for `feeds` since the last call."""
        rows, self._shared.feeds = self._shared.feeds, []
        return rows

    def missing_ids(self, gap: str) -> list[tuple[int, int]]:
        """The stretches of ids of a gap that are still missing, lowest first; [] where ids cannot say."""
        row = self._book.get(gap)
        track = self._tracks.get(row.symbol) if row is not None else None
        if not isinstance(track, SequenceTrack):
            return []
        return [(hole.first, hole.last) for hole in track.holes if hole.gap_id == gap]


class Known:
    """Ids that were looked up in the file: true even where none was found."""

    def __init__(self, ids: Container[str]) -> None:
        self._ids = ids

    def __contains__(self, trade_id: object) -> bool:
        return trade_id in self._ids
