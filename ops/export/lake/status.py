"""What a lake holds: its recorders with their marks and delays, its tables, its coverage, and days to compact."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple

from actors.model.ticks import TICKS
from actors.sink.lake.tables import SHIPMENTS
from actors.store.sql import sql_text
from ops.export.lake.compact import Days
from ops.export.lake.compact_ticks import is_compacted, parts_of
from ops.export.lake.engine import LakeEngine, counted, raw
from ops.export.lake.opening import LakeTables, Store, compactions
from ops.export.lake.union import COVERAGE_UNION
from ops.export.lake.views import load_union

_SENT = f"""
SELECT recorder, store, sum(CASE WHEN table_name = '{TICKS.name}' THEN rows ELSE 0 END), sum(rows), max("at"),
       max(CASE WHEN table_name = '{TICKS.name}' THEN day END)
FROM ({{}}) AS t GROUP BY recorder, store
"""


class Recorder(NamedTuple):
    """One store of one recorder.

    `mark` is its newest committed batch; `intended`, if higher, that of a commit that was begun. `sent_at` is the
    time of the newest commit, `newest_at` the receipt of the newest tick in the lake.
    """

    recorder: str
    store: str
    mark: int
    intended: int
    ticks: int
    rows: int
    sent_at: datetime | None
    newest_at: datetime | None


class TableSize(NamedTuple):
    """The files of a table, by its log."""

    table: str
    rows: int
    files: int
    bytes: int


class Covered(NamedTuple):
    """Seconds of an exchange's markets, from the first record of each to its end; `verified_s` has a proof."""

    exchange: str
    markets: int
    recorded_s: float
    verified_s: float
    lost_s: float
    unknown_s: float


@dataclass(frozen=True, slots=True)
class LakeStatus:
    """All of it, as of one moment; `to_compact` are closed days of exchanges with rows that no compaction read."""

    uri: str
    recorders: list[Recorder]
    tables: list[TableSize]
    coverage: list[Covered]
    to_compact: list[tuple[str, date]]


def lake_status(engine: LakeEngine, now: datetime) -> LakeStatus:
    """The status of a lake. Raises QueryError."""
    lake = engine.lake
    return LakeStatus(lake.uri, _recorders(engine), _sizes(lake), _coverage(engine), _to_compact(lake, now))


def _recorders(engine: LakeEngine) -> list[Recorder]:
    lake = engine.lake
    sent = {
        Store(recorder, store): rest
        for recorder, store, *rest in engine.rows(_SENT.format(counted(lake, SHIPMENTS.name)))
    }
    newest = _newest(engine, {rest[-1] for rest in sent.values() if rest[-1] is not None})
    shipments = lake.tables.get(SHIPMENTS.name)
    found = []
    for one, mark in lake.marks.items():
        ticks, rows, at, _ = sent.get(one, (0, 0, None, None))
        intended = (shipments.transaction_version(one.transaction) if shipments else None) or 0
        numbers = (mark, max(mark, intended), int(ticks), int(rows))
        found.append(Recorder(one.recorder, one.store, *numbers, at, newest.get(one)))
    return found


def _newest(engine: LakeEngine, days: set[date]) -> dict[Store, datetime]:
    """The receipt of the newest tick of each store, on these days."""
    if not days:
        return {}
    listed = ", ".join(sql_text(day.isoformat()) for day in sorted(days))
    sql = f"SELECT recorder, store, max(received_at) FROM {raw(TICKS.name)} WHERE day IN ({listed}) GROUP BY 1, 2"
    return {Store(recorder, store): at for recorder, store, at in engine.rows(sql)}


def _sizes(lake: LakeTables) -> list[TableSize]:
    sizes = []
    for name, table in lake.tables.items():
        actions = table.get_add_actions(flatten=True)
        rows, size = (sum(actions.column(one).to_pylist()) for one in ("num_records", "size_bytes"))
        sizes.append(TableSize(name, rows, actions.num_rows, size))
    return sizes


def _coverage(engine: LakeEngine) -> list[Covered]:
    load_union(engine)
    found = engine.con.execute(
        f"""SELECT exchange, count(DISTINCT symbol), sum(s),
                   coalesce(sum(s) FILTER (proof <> 'none'), 0), coalesce(sum(s) FILTER (status = 'lost'), 0),
                   coalesce(sum(s) FILTER (status = 'unknown'), 0)
            FROM (SELECT *, epoch(to_time - from_time) AS s FROM ({COVERAGE_UNION}))
            GROUP BY exchange ORDER BY exchange"""
    )
    return [Covered(*row) for row in found.fetchall()]


def _to_compact(lake: LakeTables, now: datetime) -> list[tuple[str, date]]:
    """Closed days of exchanges with another number of rows than their newest compaction wrote."""
    ticks = lake.tables.get(TICKS.name)
    if ticks is None:
        return []
    lasts = compactions(lake)
    closed = Days(now=now).select(parts_of(ticks))
    return sorted((part.exchange or "", part.day) for part in closed if not is_compacted(part, lasts))
