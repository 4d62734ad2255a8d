"""Holds rows whose ids are implausibly high, until the next rows confirm or deny them.

A single id from the wire is not trusted. Nothing is derived from a waiting row: the mark stays, no missing range is
created, no outage ends. Other rows decide:
- RESET_ROWS rows close to each other confirm each other: ids were lost. One more is needed if any is further than
  NEAR_IDS from the one before, though close compared with the size of the jump. A row that arrived before lower
  ones is none of them, unless it continues them: its id may be invalid;
- DENY_ROWS rows that continue below it deny it: its id is invalid, and it is rejected;
- a sequence that reaches it from the mark confirms it, unless it is another trade with the same id: it was early;
- rows above it that confirm each other pass it: it was early, unless it was denied; but nothing confirms its id, so
  another trade that has it is stored, too.

If nothing arrives for HOLD_S it is stored, so that a single valid trade is not lost, and keeps waiting.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from msgspec import Struct

from actors.continuity.row import RESET_ROWS, Row
from actors.model.records import decimal

NEAR_IDS = 16  # a lost or late frame skips this many ids at most: no confirmation needed
DENY_ROWS = 3
WAITING_MAX = 64  # per market; three close together are accepted at once
ASIDE_MAX = 64  # denied but stored rows per market, recognized by their ids
ASIDE_IDS = 100_000  # from this distance below one of them each row is checked one by one


class Held(Struct):
    """A waiting row, the `nth` of its market; it stands for the ids `first` to `number`."""

    row: Row
    first: int
    number: int
    nth: int

    def denied(self, mark: int) -> bool:
        """Whether trades continued below it, or arrived with an id that it claims."""
        return mark - self.row.mark >= DENY_ROWS or mark >= self.first

    def follows(self, mark: int) -> bool:
        """Whether no id lies between."""
        return self.first == mark + 1


class Waiting:
    """The waiting rows of one market, lowest first."""

    rows_max = WAITING_MAX

    def __init__(self) -> None:
        self._held: list[Held] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Held]:
        return iter(self._held)

    def add(self, row: Row) -> None:
        """Adds a row; `row.mark` is the mark at that moment."""
        number = decimal(row.trade_id)
        assert number is not None, "only rows with numeric ids wait"
        self._count += 1
        self._held.append(Held(row, number - row.span + 1, number, self._count))
        self._held.sort(key=lambda held: held.number)

    def remove(self, held: Held) -> None:
        """Removes a row."""
        self._held.remove(held)

    def find(self, number: int) -> Held | None:
        """The row with this id."""
        return next((held for held in self._held if held.number == number), None)

    def oldest(self, arrived: Row) -> Held:
        """The row that has waited longest before this one, preferably one that is not stored."""
        before = [held for held in self._held if held.row is not arrived]
        return min(before, key=lambda held: (held.row.stored, held.row.now))

    def confirmed(self, mark: int) -> list[Held]:
        """The lowest rows that confirm each other; [] if too few do.

        Denied rows that they continue are included: two connections may deliver with a delay between them.
        """
        rows = [held for held in self._held if not held.denied(mark)]
        for at, start in enumerate(rows):
            reach, run, far, latest = max(NEAR_IDS, start.first - 1 - mark), [start], False, start.nth
            for held in rows[at + 1 :]:
                apart = max(1, held.first - run[-1].number)
                if apart > reach:
                    break
                if held.follows(run[-1].number) or held.nth > latest:
                    run.append(held)
                    far, latest = far or apart > NEAR_IDS, max(latest, held.nth)
            if len(run) >= RESET_ROWS + far:
                for held in reversed(self._held):
                    if mark < held.number and run[0].follows(held.number):
                        run.insert(0, held)
                return run
        return []


class Aside:
    """Rows of one market that were stored and then denied: a row with such an id may be the same trade."""

    def __init__(self) -> None:
        self._held: list[Held] = []

    def add(self, held: Held) -> Held | None:
        """Adds a row; beyond the maximum the oldest is dropped, and returned."""
        self._held.append(held)
        return self._held.pop(0) if len(self._held) > ASIDE_MAX else None

    def holds(self, row: Row, number: int) -> bool:
        """Whether the row is stored."""
        return any(held.first <= number <= held.number and row.one_trade(held.row) for held in self._held)

    def claims(self, number: int) -> bool:
        """Whether the id, if it is stored, may be that of one of these."""
        return any(held.number == number for held in self._held)

    def drop(self, number: int) -> None:
        """Another trade that has the id of one of these is stored."""
        self._held = [held for held in self._held if held.number != number]

    def near(self, mark: int) -> bool:
        """Whether the ids may soon reach one of these."""
        return any(mark < held.number and held.first - mark <= ASIDE_IDS for held in self._held)


class Top(NamedTuple):
    """One of the stored rows with a market's highest ids. `made_ns`: nanoseconds UTC."""

    id: int
    fills: int
    made_ns: int
    live: int

    def row(self) -> Row:
        """The row to compare with a row of the same id."""
        return Row(str(self.id), self.fills, self.made_ns, self.made_ns, float("-inf"), "stream", ("", "", None))


def believed(tops: list[Top], denied_ns: int | None) -> tuple[list[Top], list[Top]]:
    """Applies the rules above to stored rows: returns those from the highest accepted one down, and those above it
    that keep waiting.

    `tops` is in descending order. A row is denied, and in neither list, if DENY_ROWS or more live ones arrived
    later; the last of these was made at `denied_ns`.
    """
    aside: list[Top] = []
    while not _confirmed(tops):
        top, *tops = tops
        if denied_ns is None or denied_ns <= top.made_ns:
            aside.append(top)
    return tops, aside


def _confirmed(tops: list[Top]) -> bool:
    leaps = [high.id - high.fills - low.id for high, low in pairwise(tops)]
    far = [at for at, leap in enumerate(leaps) if leap > NEAR_IDS]
    if not far or far[0] >= RESET_ROWS - 1 or not any(top.live for top in tops[far[0] + 1 :]):
        return True  # the rows below may be older history only
    return any(max(leaps[:at]) <= leaps[at] for at in range(RESET_ROWS - 1, len(leaps)) if leaps[at] > NEAR_IDS)
