"""Suspects of a reset: live trades with ids that are too low, and with times that are too new for old trades.

The exchange may have started its ids again. RESET_ROWS suspects with different ids are a reset. Where the former
ids go on instead, the suspects are refused. Where nothing follows for HOLD_S, they are stored, a gap records that
what lies before them is unknown, and they remain suspects: nothing else is derived from them.
"""

from actors.continuity.row import HOLD_S, RESET_ROWS, Decided, Row, Verdict
from actors.model.records import decimal

RESET_NS = 1_000_000_000  # times of one market are out of order by less: closer to the last trade it may be a copy
RESET_ROWS_TIMELESS = 5_000  # without times only a flood of rows with low ids shows a reset
SUSPECTS_MAX = 1_000  # held of one market: what a busy one trades within RESET_NS


class Suspects:
    """Those of one market; what is decided of them goes to `decided`.

    `mark` and `last_ns` are the highest id and the newest time that are believed.
    """

    def __init__(self, symbol: str, decided: Decided) -> None:
        self._symbol, self._decided = symbol, decided
        self._rows: dict[int, Row] = {}  # by id, in the order of arrival
        self._since: tuple[int | None, int | None] = (None, None)  # mark and last time when the first came
        self._reported = False  # whether a gap covers what lies before them
        self._timeless = 0

    def trades_go_on(self) -> None:
        """A trade came that is none."""
        self._timeless = 0

    def judge(
        self, row: Row, number: int, lowest: int | None, mark: int | None, last_ns: int | None
    ) -> Verdict | None:
        """Judges a row with an id that is too low; NEW means that ids were started again, None no suspicion.

        `lowest` is the lowest id known, where there is one: the row may be a copy of what lies above it.
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
        """Decides those that have waited long enough, all of them at the `end`.

        Returns those that are to be stored; they remain suspects.
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

    def rows(self) -> list[tuple[int, Row]]:
        """All of them by id, lowest first."""
        return sorted(self._rows.items(), key=lambda entry: entry[0])

    def report(self) -> bool:
        """Whether what lies before them is still to be reported: true once."""
        news, self._reported = not self._reported, True
        return news

    def clear(self) -> None:
        """Forgets them."""
        self._rows, self._reported = {}, False

    def _maybe_copy(self, row: Row) -> bool:
        """Whether a suspect may be a copy of a stored trade after all."""
        number, last_ns = decimal(row.trade_id), self._since[1]
        return number is not None and number >= row.mark and row.at_ns <= (last_ns or 0) + RESET_NS

    def _refuse(self) -> None:
        """The former ids go on."""
        for row in self._rows.values():
            if row.stored:
                continue
            if self._maybe_copy(row):
                self._decided.copies += 1
            else:
                detail = f"the id went back below {self._since[0]}, and trades went on above it"
                self._decided.refuse(self._symbol, row, detail)
        self.clear()
