"""Compares the rows of a lake with what was sent: their number and a checksum, per table, exchange, day and store.

What was sent is in `shipments`. A compacted day of `ticks` has fewer rows than that, and is compared with what its
compaction wrote, in `compactions`; rows that a store added to it later are again compared with what it sent. Each
part is read alone, so a part that cannot be read hides no other.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

from actors.model.ticks import TICKS
from actors.sink.lake.tables import SHIPMENTS
from actors.sink.lake.tables import TABLES as LAKE_TABLES
from actors.store.checksum import checksum_sql, combined
from actors.store.sql import sql_text
from actors.store.tables import TABLES
from ops.export.lake.engine import LakeEngine, counted, raw
from ops.export.lake.opening import Compaction, LakeTables, Store, compactions, engine_errors
from ops.export.query import QueryError

COMPACTED = Store("", "")  # stands for all stores whose rows a compaction has joined
_SCHEMAS = {schema.name: schema for schema in TABLES}


class Part(NamedTuple):
    """A UTC day of an exchange ("" in a table without exchanges) in one table."""

    day: date
    table: str
    exchange: str


class Amount(NamedTuple):
    """Rows and their checksum."""

    rows: int = 0
    checksum: int = 0


Amounts = dict[Store, Amount]


@dataclass(frozen=True, slots=True)
class Difference:
    """`problem` is missing, too many, altered, or why the part cannot be read; `store` is None for all of them."""

    part: Part
    store: Store | None
    problem: str
    got: int = 0
    expected: int = 0

    def plain(self) -> dict[str, object]:
        """Its values for JSON."""
        kept = None if self.store in (None, COMPACTED) else self.store
        return {
            "table": self.part.table,
            "exchange": self.part.exchange or None,
            "day": self.part.day.isoformat(),
            "recorder": kept and kept.recorder,
            "store": kept and kept.store,
            "compacted": self.store is COMPACTED,
            "problem": self.problem,
            "got": self.got,
            "expected": self.expected,
        }

    def __str__(self) -> str:
        where = " ".join(filter(None, (self.part.table, self.part.exchange, self.part.day.isoformat())))
        if self.store is not None:
            where += " compacted" if self.store is COMPACTED else f" {self.store.transaction}"
        both = f"got {self.got:,}, expected {self.expected:,}"
        texts = {
            "missing": f"{self.expected - self.got:,} rows are missing: {both}",
            "too many": f"{self.got - self.expected:,} rows too many: {both}",
            "altered": f"as many rows as expected ({self.got:,}), but with other values",
        }
        return f"{where}: {texts.get(self.problem, self.problem)}"


@dataclass(slots=True)
class Verified:
    """How much was compared so far, and what differs."""

    parts: int = 0
    rows: int = 0
    differences: list[Difference] = field(default_factory=list)


def verify(engine: LakeEngine, *, exchange: str | None = None, day: date | None = None) -> Iterator[Verified]:
    """Compares part by part, of one exchange or day or of all; yields the same value after each part.

    Raises QueryError if what was sent cannot be read.
    """
    found, compacted = Verified(), compactions(engine.lake)
    expected = _sent(engine, compacted)
    for one in compacted.values():
        expected.setdefault(Part(one.day, TICKS.name, one.exchange), {})[COMPACTED] = Amount(one.rows, one.checksum)
    for part in sorted(expected.keys() | _stored(engine.lake)):
        if exchange not in (None, part.exchange) or day not in (None, part.day):
            continue
        found.parts += 1
        try:
            with engine_errors(engine.lake.hides):
                got = _got(engine, part, compacted.get((part.exchange, part.day)))
        except QueryError as error:
            found.differences.append(Difference(part, None, f"cannot be read: {error}"))
        else:
            found.rows += sum(one.rows for one in got.values())
            found.differences += _compared(part, got, expected.get(part, {}))
        yield found


def _stored(lake: LakeTables) -> set[Part]:
    """All parts that have files."""
    return {
        Part(date.fromisoformat(one["day"]), name, one.get("exchange") or "")
        for name, table in lake.tables.items()
        if name in _SCHEMAS
        for one in table.partitions()
    }


def _sent(engine: LakeEngine, compacted: Mapping[tuple[str, date], Compaction]) -> dict[Part, Amounts]:
    """What was sent, less the ticks that a compaction has read."""
    sent: dict[Part, Amounts] = {}
    for name, exchange, day, recorder, store, above, rows, checksum in engine.rows(
        f"SELECT table_name, exchange, day, recorder, store, above, rows, checksum"
        f" FROM ({counted(engine.lake, SHIPMENTS.name)}) AS t"
    ):
        part, who, last = Part(day, name, exchange), Store(recorder, store), compacted.get((exchange, day))
        of_part = sent.setdefault(part, {})
        if name == TICKS.name and last is not None and above < last.through.get(who.transaction, 0):
            continue
        before = of_part.get(who, Amount())
        of_part[who] = Amount(before.rows + rows, combined((before.checksum, int(checksum))))
    return sent


def _got(engine: LakeEngine, part: Part, compaction: Compaction | None) -> Amounts:
    """What a part has, by store; what a compaction has written counts as one."""
    where = f"day = {sql_text(part.day.isoformat())}"
    if "exchange" in LAKE_TABLES[part.table].partitions:
        where += f" AND exchange = {sql_text(part.exchange)}"
    source = raw(part.table) if part.table == TICKS.name else f"({counted(engine.lake, part.table)}) AS t"
    through = compaction.through if compaction and part.table == TICKS.name else {}
    listed = ", ".join(f"({sql_text(one)}, {last:d})" for one, last in through.items()) or "(NULL, NULL)"
    found = engine.reading(f"SELECT * FROM {source} WHERE {where}").execute(
        f"SELECT recorder, store, joined, count(*), {checksum_sql(_SCHEMAS[part.table])} FROM ("
        f" SELECT t.*, coalesce(t.batch <= last, false) AS joined FROM incoming AS t"
        f" LEFT JOIN (VALUES {listed}) AS l(who, last) ON l.who = t.recorder || '/' || t.store) GROUP BY ALL"
    )
    got: Amounts = {}
    for recorder, store, joined, count, checksum in found.fetchall():
        who = COMPACTED if joined else Store(recorder, store)
        before = got.get(who, Amount())
        got[who] = Amount(before.rows + count, combined((before.checksum, checksum)))
    return got


def _compared(part: Part, got: Amounts, expected: Amounts) -> list[Difference]:
    differences = []
    for store in sorted(got.keys() | expected.keys()):
        ours, theirs = got.get(store, Amount()), expected.get(store, Amount())
        if ours != theirs:
            few = "missing" if ours.rows < theirs.rows else "too many" if ours.rows > theirs.rows else "altered"
            differences.append(Difference(part, store, few, ours.rows, theirs.rows))
    return differences
