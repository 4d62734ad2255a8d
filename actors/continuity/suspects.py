"""Detects a reset of the ids: live trades whose ids are too low, but whose times are too new for old trades.

The exchange may have restarted its numbering. RESET_ROWS suspects with different ids prove a reset. If the former
ids continue instead, the suspects are rejected. If nothing follows for HOLD_S, they are stored, a gap records that
the range before them is unknown, and they remain suspects: nothing else is derived from them.
"""

from actors.continuity.row import HOLD_S, RESET_ROWS, Decided, Row, Verdict
from actors.model.records import decimal

# times of one market are out of order by less: a row closer to the last trade may be a copy
RESET_NS = 1_000_000_000
RESET_ROWS_TIMELESS = 5_000  # without times only many rows with low ids prove a reset
SUSPECTS_MAX = 1_000  # held per market: the trades of a busy one within RESET_NS


class Suspects:
    """The suspects of one market; decisions about them are added to `decided`.

    `mark` and `last_ns` are the highest accepted id and the newest accepted time.
    """

    def __init__(self, symbol: str, decided: Decided) -> None:
        self._symbol, self._decided = symbol, decided
        self._rows: dict[int, Row] = {}  # by id, in order of arrival
        self._since: tuple[int | None, int | None] = (None, None)  # mark and last time when the first arrived
        self._reported = False  # whether a gap covers the range before them
        self._timeless = 0

    def trades_go_on(self) -> None:
        """A trade with a regular id arrived."""
        self._timeless = 0

    def judge(
        self, row: Row, number: int, lowest: int | None, mark: int | None, last_ns: int | None
    ) -> Verdict | None:
        """Judges a row with an id that is too low; NEW means a reset, None no suspicion.

        `lowest` is the lowest known id, if there is one: the row may be a copy of a trade above it.
        """
        if row.source == "backfill":
            return None
        if row.time_ns is None:
            self._timeless += 1
            if self._timeless < RESET_ROWS_TIMELESS:
                return None
            self._rows = {number: row}
            return Verdict.NEW
        if last_ns is None or row.time_ns <= last_ns:
            return None
        if self._since != (mark, last_ns):
            self._refuse()
            self._since = (mark, last_ns)
        twin = self._rows.get(number)
        if twin is not None:
            if row.same(twin):
                return Verdict.COPY
            self._decided.refuse(self._symbol, twin, "another trade with this id came")
        row.mark = -1 if lowest is None else lowest
        self._rows[number] = row
        if len(self._rows) >= RESET_ROWS and not all(map(self._maybe_copy, self._rows.values())):
            return Verdict.NEW
        if len(self._rows) > SUSPECTS_MAX:
            self._refuse()
        return Verdict.HELD

    def take_waited(self, now: float, mark: int | None, last_ns: int | None, *, end: bool) -> list[Row]:
        """Decides about suspects that have waited long enough, with `end` about all.

        Returns those to be stored; they remain suspects.
        """
        if not self._rows:
            return []
        if self._since != (mark, last_ns):
            self._refuse()
            return []
        waited = []
        for number, row in list(self._rows.items()):
            if row.stored or not (end or now - row.now >= HOLD_S):
                continue
            if self._maybe_copy(row):
                del self._rows[number]
                self._decided.copies += 1
            else:
                waited.append(row)
        return waited

    def resolve(self, row: Row, number: int) -> bool:
        """Drops the suspect that is the same trade as a row with a missing id; returns whether it is stored."""
        suspect = self._rows.get(number)
        if suspect is None or not row.one_trade(suspect) or row.at_ns <= (self._since[1] or 0):
            return False
        del self._rows[number]
        if not suspect.stored:
            self._decided.copies += 1
        return suspect.stored

    def rows(self) -> list[tuple[int, Row]]:
        """All suspects by id, lowest first."""
        return sorted(self._rows.items(), key=lambda entry: entry[0])

    def report(self) -> bool:
        """Whether the range before them is still to be reported; true once."""
        news, self._reported = not self._reported, True
        return news

    def clear(self) -> None:
        """Drops all suspects."""
        self._rows, self._reported = {}, False

    def _maybe_copy(self, row: Row) -> bool:
        """Whether a suspect may be a copy of a stored trade after all."""
        number, last_ns = decimal(row.trade_id), self._since[1]
        return number is not None and number >= row.mark and row.at_ns <= (last_ns or 0) + RESET_NS

    def _refuse(self) -> None:
        """Rejects the suspects: the former ids continue."""
        for row in self._rows.values():
            if row.stored:
                continue
            if self._maybe_copy(row):
                self._decided.copies += 1
            else:
                detail = f"the id went back below {self._since[0]}, and trades continued above it"
                self._decided.refuse(self._symbol, row, detail)
        self.clear()
