"""Rows with ids far above the highest believed: they wait for the next rows, which confirm or deny them.

Ids from the wire are not believed alone. Nothing is derived from a row that waits: the mark stays, no
missing range is made, no outage ends. Other rows decide:
- RESET_ROWS rows that stand close together, compared with how far they leap, confirm each other: a loss;
- rows that go on below it, DENY_ROWS and more, deny it: its id is bad, and it is refused;
- a row that follows the mark up to it confirms it, if it is not another trade with the same id: it was early.
Where nothing comes for HOLD_S it is stored, so that a single sound trade is not lost, and goes on waiting.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import NamedTuple

from actors.continuity.row import RESET_ROWS, Row
from actors.model.records import decimal

NEAR_IDS = 16  # so many ids are passed over when a frame is lost or comes late: nothing to wait for
DENY_ROWS = 3
WAITING_MAX = 64  # of one market; three that stand together are taken at once
ASIDE_MAX = 64  # denied rows of one market that are stored all the same, and known again by their ids
ASIDE_IDS = 100_000  # that far below one of them each row is looked at one by one


@dataclass(slots=True)
class Held:
    """A row that waits; it stands for the ids `first` to `number`."""

    row: Row
    first: int
    number: int

    def denied(self, mark: int) -> bool:
        """Whether trades went on below it, or came with an id that it claims to stand for."""
        return mark - self.row.mark >= DENY_ROWS or mark >= self.first

    def follows(self, mark: int) -> bool:
        """Whether nothing lies between."""
        return self.first == mark + 1


class Waiting:
    """Those of one market, lowest first."""

    rows_max = WAITING_MAX

    def __init__(self) -> None:
        self._held: list[Held] = []

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Held]:
        return iter(self._held)

    def add(self, row: Row) -> None:
        """`row.mark` is the mark above which it waits."""
        number = decimal(row.trade_id)
        assert number is not None, "other rows are not compared"
        self._held.append(Held(row, number - row.span + 1, number))
        self._held.sort(key=lambda held: held.number)

    def remove(self, held: Held) -> None:
        """It waits no more."""
        self._held.remove(held)

    def find(self, number: int) -> Held | None:
        """The one with this id."""
        return next((held for held in self._held if held.number == number), None)

    def oldest(self) -> Held:
        """The one that has waited longest, of those that are not stored if there are any."""
        return min(self._held, key=lambda held: (held.row.stored, held.row.now))

    def confirmed(self, mark: int) -> list[Held]:
        """The lowest rows that stand together; [] where too few do.

        Those that were denied and stand right there are of them: two connections may deliver apart from each other.
        """
        rows = [held for held in self._held if not held.denied(mark)]
        for at, start in enumerate(rows):
            reach, run = max(NEAR_IDS, start.first - 1 - mark), [start]
            for held in rows[at + 1 :]:
                if held.number - run[-1].number > reach:
                    break
                run.append(held)
            if len(run) >= RESET_ROWS:
                low, high = max(mark + 1, start.number - NEAR_IDS), run[-1].number
                return [held for held in self._held if low <= held.number <= high]
        return []

    def take_denied(self, mark: int) -> list[Held]:
        """Takes out those that are stored and denied."""
        denied = [held for held in self._held if held.row.stored and held.denied(mark)]
        self._held = [held for held in self._held if held not in denied]
        return denied


class Aside:
    """Rows of one market that were stored and then denied: what comes with such an id may be that very trade."""

    def __init__(self) -> None:
        self._held: list[Held] = []

    def add(self, held: Held) -> None:
        """The oldest makes room where there are too many."""
        self._held = [*self._held[-ASIDE_MAX + 1 :], held]

    def holds(self, row: Row, number: int) -> bool:
        """Whether the row is stored: by its id and its time, and by its amounts where both are single trades."""
        return any(held.first <= number <= held.number and _one_trade(row, held.row) for held in self._held)

    def near(self, mark: int) -> bool:
        """Whether the ids may soon come to one of these."""
        return any(mark < held.number and held.first - mark <= ASIDE_IDS for held in self._held)


def _one_trade(row: Row, stored: Row) -> bool:
    if not row.same(stored):
        return False
    if row.span > 1 or stored.span > 1 or not stored.content[0]:
        return True
    amounts = zip(row.content[:2], stored.content[:2], strict=True)
    return all(Decimal(mine) == Decimal(other) for mine, other in amounts)


class Top(NamedTuple):
    """One of the stored rows with the highest ids of a market, as the file has it. `made_ns`: nanoseconds UTC."""

    id: int
    fills: int
    made_ns: int
    live: int

    def row(self) -> Row:
        """What is compared with a row of the same id."""
        return Row(str(self.id), self.fills, self.made_ns, self.made_ns, float("-inf"), "stream", ("", "", None))


def believed(tops: list[Top], denied_ns: int | None) -> tuple[list[Top], list[Top]]:
    """Judges what a run has stored by the rules above: those from the highest that is believed down, and those
    above it that go on waiting. `tops` has the highest first. A row is denied, and left out of both, if as many
    live ones as DENY_ROWS came later: the last of these was made at `denied_ns`.
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
        return True  # what lies below may be older history only
    return any(max(leaps[:at]) <= leaps[at] for at in range(RESET_ROWS - 1, len(leaps)) if leaps[at] > NEAR_IDS)
