"""Finds the new trades among those just read, market by market, in order or not.

Rows with implausible ids or times are removed from the block and held. Once decided, accepted ones are appended to
a later block, or returned by `take_decided`.
"""

from collections.abc import Callable, Collection, Container, Mapping, Sequence
from itertools import count
from operator import length_hint

from msgspec.structs import replace

from actors.continuity.clock_lead import Lead
from actors.continuity.composite import CompositeTracker
from actors.continuity.gap_log import GapLog
from actors.continuity.row import HISTORY_SLACK_NS, Decided, Refused, Row, Verdict
from actors.continuity.sequenced import SPAN_SURE, SequencedTracker
from actors.continuity.suspects import RESET_NS
from actors.continuity.tracker import Shared, Tracker
from actors.continuity.tracker_state import Snapshot
from actors.continuity.twins import COMPOSITE
from actors.continuity.unsequenced import UnsequencedTracker
from actors.continuity.unstorable import UnstorableTrades
from actors.model.records import GapReason
from actors.model.ticks import AFTER_BREAK, OFF_BOOK, OFF_BOOK_AFTER_BREAK, Block, IdPromise, Reason

MANY_ROWS = 16  # are tried in order at once
FEW_MARKETS = 4  # the last row of each is looked for


class Known:
    """Ids that were looked up in the file; true even if none was found."""

    def __init__(self, ids: Container[str]) -> None:
        self._ids = ids

    def __contains__(self, trade_id: object) -> bool:
        return trade_id in self._ids


class Deduplicator:
    """The deduplicator of one exchange, shared by its connections and its backfill. No method waits.

    `trackers` holds one tracker per market; `promises` what the ids of each market promise. `now` is any monotonic
    clock, in seconds. Callers that pass rows with the source OFF_BOOK set `has_off_book`: their ids count as seen,
    the rows are rejected.
    """

    def __init__(self, exchange: str, promises: Mapping[str, IdPromise]) -> None:
        self.shared = Shared(exchange, GapLog(exchange))
        self.trackers: dict[str, Tracker] = {}
        self._quick: dict[str, Callable[[str | None, int | None], bool]] = {}  # of trackers that have it
        self.lead = Lead()
        self._unstorable = UnstorableTrades()
        self.promises: dict[str, IdPromise] = {}
        self._reads = self._session = 0
        self._latest_ns = self._noted_ns = 0  # the time of the last trade read, and when `highs` was updated
        self._returned: dict[int, int] = {}  # the sessions of rows put back, by their places in the block
        self.has_off_book = False
        for symbol, promise in promises.items():
            self.add(symbol, promise)

    def add(self, symbol: str, promise: IdPromise) -> None:
        """Adds a market; keeps its state if it is already known."""
        if symbol in self.trackers:
            return
        self.promises[symbol] = promise
        if promise is IdPromise.CONTIGUOUS:
            self.trackers[symbol] = SequencedTracker(symbol, self.shared)
        elif promise in COMPOSITE:
            self.trackers[symbol] = CompositeTracker(symbol, self.shared, promise)
        else:
            tracker = UnsequencedTracker(symbol, self.shared, sorts=promise is IdPromise.INCREASING)
            self.trackers[symbol], self._quick[symbol] = tracker, tracker.quick
        self.shared.live[symbol] = self.trackers[symbol]

    def forget(self, recorded: Collection[str]) -> None:
        """Forgets everything but what delivers the recorded markets, and since when."""
        before, book = dict(self.trackers), self.shared.book
        for tracker in list(self.shared.ending.values()):
            tracker.report_end()
        self.shared = Shared(self.shared.exchange, GapLog(self.shared.exchange), feeds=self.shared.feeds)
        self.shared.book.opened, self.shared.book.on_news = book.opened, book.on_news
        promises = {symbol: promise for symbol, promise in self.promises.items() if symbol in recorded}
        for kept in (self.trackers, self.promises, self._quick):
            kept.clear()
        for symbol, promise in promises.items():
            self.add(symbol, promise)
            self.trackers[symbol].take_delivery(before[symbol])

    def admit(
        self,
        block: Block,
        start: int,
        spans: Sequence[int] | None,
        now: float,
        *,
        known: Container[str] = (),
        session: int = 0,
        sessions: dict[int, int] | None = None,
        numbers: list[int] | None = None,
    ) -> int:
        """Removes, in place, the rows from `start` on that are duplicates, implausible and held, or off the book.

        Returns the number of duplicates, without the rows held or rejected.

        `spans` holds for each of these rows how many ids it stands for, its own and those before; None: one each.
        `known` (see Known, and StoredTwins) are trades looked up in the file, for rows older than the memory
        reaches. `session` numbers the session that has read the rows, 0 for none; `sessions` those of single rows
        that others have read, by their places. `numbers` are the rows' ids as integers, if they are known.

        If it crashes, by a bug of ours, the rows are to be dropped, and their markets have gaps.
        """
        self._session, self._returned = session, sessions or {}
        self._reads += 1
        try:
            return self._admit(block, start, spans, now, known, numbers)
        except Exception:
            self._lose(block, start)
            raise

    def _admit(
        self,
        block: Block,
        start: int,
        spans: Sequence[int] | None,
        now: float,
        known: Container[str],
        numbers: list[int] | None,
    ) -> int:
        if start < len(block) and self._leads(block, start):
            self._doubt(block, start, spans, now, known)
            spans, numbers = None if spans is None else block.fills[start:], None
        at, end = start, len(block)
        out: list[int] = []
        held = 0
        if numbers is not None and spans is None and self._all_in_order(block, start, numbers):
            at = end
        while True:
            at = self._in_order(block, at, None if spans is None else spans[at - start :])
            if at >= end:
                break
            while at < end:
                if block.symbol[at] in self._quick and (at := self._certainly_new(block, at)) == end:
                    break
                verdict = self._admit_odd(block, at, 1 if spans is None else spans[at - start], now, known)
                new = verdict is Verdict.NEW
                if not new:
                    out.append(at)
                    held += verdict is Verdict.HELD
                at += 1
                if new and at < end and self._follows(block, at, spans):
                    break
        if out:
            block.remove(start, out)
        if self.shared.decided.freed:
            self._put_back(block)
        if self.has_off_book:
            self._refuse_off_book(block, start)
        return len(out) - held

    def take_decided(self, now: float, *, end: bool = False) -> tuple[Block, Decided]:
        """Returns the rows decided since the last call: accepted ones as a block, and the others."""
        block = Block(self.shared.exchange)
        self._returned = {}
        for symbol, row in self.lead.decide(now, self.shared.decided, end=end):
            self._return(block, symbol, row)
        if len(block):
            self.shared.decided.copies += self.admit(block, 0, block.fills[:], now, sessions=self._returned)
        self._put_back(block)
        if self.has_off_book:
            self._refuse_off_book(block, 0)
        return block, self.shared.decided.take()

    def _put_back(self, block: Block) -> None:
        for symbol, row in self.shared.decided.freed:
            _append(block, symbol, row)
        self.shared.decided.freed.clear()

    def _refuse_off_book(self, block: Block, start: int) -> None:
        """Removes the fills that never met the order book, now that their ids count as seen."""
        rows = [at for at in range(start, len(block)) if block.source[at] in (OFF_BOOK, OFF_BOOK_AFTER_BREAK)]
        for at in rows:
            row = self._row(block, at, block.fills[at], 0.0, ())
            detail = "a fill that never met the order book"
            self.shared.decided.refused.append(Refused(block.symbol[at], row, Reason.OFF_BOOK, detail))
        if rows:
            block.remove(start, rows)

    def _leads(self, block: Block, start: int) -> bool:
        """Whether a row's time is implausibly far in the future."""
        times = block.exchange_ns[start:] if start else block.exchange_ns
        try:
            newest = max(times)  # type: ignore[type-var]  # None raises
        except TypeError:
            newest = max((time for time in times if time is not None), default=None)
        if newest is None:
            return False
        received_ns = block.received_ns[-1]
        self._follow(block.exchange_ns[-1], block.source[-1], received_ns)
        if newest - received_ns > self.lead.limit_ns:
            return True
        if block.source[-1] == "stream":
            self.lead.saw(newest - received_ns, received_ns, len(times))
        return False

    def _follow(self, latest_ns: int | None, source: str, received_ns: int) -> None:
        """Notes the newest times so far if the exchange's clock seems to have been set back, as it also does when
        old trades are sent again.
        """
        if latest_ns is None or source == "backfill":
            return
        if latest_ns < self._latest_ns - RESET_NS and abs(received_ns - self._noted_ns) > RESET_NS:
            self._noted_ns, highs = received_ns, self.shared.highs
            for symbol, last_ns in self.shared.lasts.items():
                highs[symbol] = max(last_ns or 0, highs.get(symbol, 0))
        self._latest_ns = latest_ns

    def _doubt(
        self, block: Block, start: int, spans: Sequence[int] | None, now: float, known: Container[str]
    ) -> None:
        """Holds the rows stamped too far in the future; puts them back once enough of them agree."""
        out, back = [], []
        for at in range(start, len(block)):
            time_ns = block.exchange_ns[at]
            lead_ns = 0 if time_ns is None else time_ns - block.received_ns[at]
            if time_ns is not None and lead_ns > self.lead.limit_ns:
                out.append(at)
                row = self._row(block, at, 1 if spans is None else spans[at - start], now, known)
                back += self.lead.doubt(block.symbol[at], row)
            elif time_ns is not None and block.source[at] == "stream":
                self.lead.saw(lead_ns, block.received_ns[at], 1)
        block.remove(start, out)
        for symbol, row in back:
            self._return(block, symbol, row)

    def _return(self, block: Block, symbol: str, row: Row) -> None:
        """Puts back a row that was held for its time, to be admitted as its own session's."""
        self._returned[len(block)] = row.session
        _append(block, symbol, row)

    def composite(self, symbol: str) -> bool:
        """Whether trades of the market are identified by all that is known of them, see StoredTwins."""
        return isinstance(self.trackers.get(symbol), CompositeTracker)

    def snapshot(self, symbol: str) -> Snapshot:
        """The market's memory now, for `admit_again`."""
        tracker = self.trackers[symbol]
        return replace(tracker.snapshot(), gaps=frozenset(self.shared.book.kept(symbol)))

    def remembered(self, block: Block) -> set[str]:
        """The ids of these rows that make `admit_again` treat them as copies: on their way, or stored."""
        rows = zip(block.symbol, block.trade_id, block.exchange_ns, strict=True)
        return {
            one
            for symbol, one, time_ns in rows
            if one and self.trackers[symbol].remembers(one, time_ns, HISTORY_SLACK_NS)
        }

    def remembered_twins(self, block: Block) -> set[int]:
        """What StoredTwins calls `remembered`, of these rows of a composite market."""
        tracker = self.trackers[block.symbol[0]]
        assert isinstance(tracker, CompositeTracker)
        return tracker.remembered(self._row(block, at, 1, 0.0, ()) for at in range(len(block)))

    def admit_again(
        self,
        block: Block,
        snapshot: Snapshot,
        stored: Container[str],
        now: float,
        *,
        gone: Container[str] = (),
    ) -> int:
        """Removes copies from rows of one market older than the memory reaches; returns how many.

        `stored` are the ids in the file, looked up after everything admitted before the snapshot had become
        durable; `gone` those that were stored once and are no longer in the file.
        """
        self._reads += 1
        self._session, self._returned = 0, {}
        try:
            return self._admit_again(block, snapshot, stored, now, gone)
        except Exception:
            self._lose(block, 0)
            raise

    def _admit_again(
        self, block: Block, snapshot: Snapshot, stored: Container[str], now: float, gone: Container[str]
    ) -> int:
        if len(block) and self._leads(block, 0):
            self._doubt(block, 0, None, now, ())
        out, held = [], 0
        for at, trade_id in enumerate(block.trade_id):
            if trade_id in gone:
                continue
            row = self._row(block, at, 1, now, Known(stored))
            verdict = Verdict.COPY
            if trade_id not in stored:
                verdict = self.trackers[block.symbol[at]].readmit(row, snapshot)
            if verdict is not Verdict.NEW:
                out.append(at)
                held += verdict is Verdict.HELD
        if out:
            block.remove(0, out)
        self._put_back(block)
        self._refuse_off_book(block, 0)
        return len(out) - held

    def _lose(self, block: Block, start: int) -> None:
        """Reports the rows from `start` on as lost: admitting them crashed, and some may count as stored."""
        rows = block.part(start)
        for gap in self._unstorable.gaps([rows], max(rows.received_ns, default=0)):
            self.trackers[gap.symbol].vanished(gap)

    def _in_order(self, block: Block, at: int, spans: Sequence[int] | None) -> int:
        """Processes rows that follow their predecessors; returns the index of the first that does not.

        Nearly all rows are handled here, so it is optimized: conversions and pairs run in C, and all state but the
        marks is updated once, at the end.
        """
        marks = self.shared.marks
        if at >= len(block) or marks[block.symbol[at]] is None:
            return at
        symbols, ids = (block.symbol[at:], block.trade_id[at:]) if at else (block.symbol, block.trade_id)
        if spans is None and len(ids) > 1 and symbols.count(symbols[0]) == len(ids):
            first = marks[symbols[0]]
            if ids == list(map(str, range(first, first + len(ids)))):  # a burst of one market, all in order
                marks[symbols[0]] = first + len(ids)
                self.shared.lasts[symbols[0]] = block.exchange_ns[-1]
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
            elif max(spans) > SPAN_SURE:
                return at
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
        self.shared.lasts.update(zip(symbols[:done], block.exchange_ns[at : at + done], strict=True))
        return at + done

    def _all_in_order(self, block: Block, start: int, numbers: list[int]) -> bool:
        """Processes the rows from `start` on if all follow their predecessors; otherwise returns False, having done
        nothing.
        """
        if len(numbers) < MANY_ROWS:
            return False
        marks, lasts = self.shared.marks, self.shared.lasts
        symbols, times = block.symbol[start:], block.exchange_ns
        counters = {}
        for symbol in set(symbols):
            if symbol not in marks:
                return False
            counters[symbol] = count(marks[symbol])
        if list(map(next, map(counters.__getitem__, symbols))) != numbers:
            return False
        for symbol, counter in counters.items():
            marks[symbol] = next(counter)
        if len(counters) <= FEW_MARKETS:
            symbols.reverse()
            lasts.update((symbol, times[-1 - symbols.index(symbol)]) for symbol in counters)
        else:
            lasts.update(zip(symbols, times[start:], strict=True))
        return True

    def _certainly_new(self, block: Block, at: int) -> int:
        """Processes live rows that need no closer look; returns the index of the first that does."""
        symbols, ids, times, sources = block.symbol, block.trade_id, block.exchange_ns, block.source
        find = self._quick.get
        for row in range(at, len(symbols)):
            quick = find(symbols[row])
            if quick is None or sources[row] != "stream" or not quick(ids[row], times[row]):
                return row
        return len(symbols)

    def _follows(self, block: Block, at: int, spans: Sequence[int] | None) -> bool:
        """Whether to try in-order processing again: if many rows in a row are odd, each try would copy the rest of
        the block.
        """
        expected = self.shared.marks[block.symbol[at]]
        return expected is not None and (spans is not None or block.trade_id[at] == str(expected))

    def _admit_odd(self, block: Block, at: int, span: int, now: float, known: Container[str]) -> Verdict:
        symbol = block.symbol[at]
        tracker = self.trackers.get(symbol)
        if tracker is None:
            self.add(symbol, IdPromise.OPAQUE)
            tracker = self.trackers[symbol]
        source = block.source[at]
        if source in (AFTER_BREAK, OFF_BOOK_AFTER_BREAK):
            block.source[at] = "stream" if source == AFTER_BREAK else OFF_BOOK
            tracker.broke(self._returned.get(at, self._session))
            # received by another connection
            known_here = tracker.knows(self._row(block, at, span, now, known))
            if tracker.outage is None and not known_here:
                tracker.interrupted(GapReason.SEQUENCE, block.received_ns[at])
        if tracker.blind and not tracker.passes(self._row(block, at, span, now, known)):
            return Verdict.COPY
        row = self._row(block, at, span, now, known)
        if tracker.unsettled:
            tracker.delivered(row)
        verdict = tracker.admit(row)
        if row.span != span:
            block.fills[at] = row.span  # the ids that it claims beyond are stored already
        return verdict

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
            session=self._returned.get(at, self._session),
        )


def _append(block: Block, symbol: str, row: Row) -> None:
    price, volume, side = row.content
    block.extend(
        [symbol],
        [row.time_ns],
        [row.received_ns],
        [price],
        [volume],
        [side],
        [row.trade_id],
        [row.source],
        [row.span],
    )
