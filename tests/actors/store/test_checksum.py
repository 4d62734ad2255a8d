"""The checksum of rows: additive, and different if any value is."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.model.records import EVENTS
from actors.model.schema import Schema
from actors.model.ticks import REJECTS, TICKS
from actors.store.checksum import checksum_sql, combined, tick_checksums
from tests.harness.amounts import amount

DAY = date(2026, 11, 27)
NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
TICK = (
    "x", "BTC/USDT", NOW, NOW, Decimal("60000.5"), Decimal("0.000000000000000001"), "buy", "4711", "stream", 1, 17,
)  # fmt: skip
EVENT = (NOW, "writer", "started", None, None, 0.5, '{"n": 1}', 17)
REJECT = (NOW, "x", None, "not_json", "why", b"\xff{", 2, 17)
Row = tuple[Any, ...]


@cache
def database() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"threads": 1})


def put(con: duckdb.DuckDBPyConnection, table: Schema, rows: Sequence[Row], *, empty: bool = True) -> None:
    if empty:
        con.execute(f"CREATE OR REPLACE TABLE t ({table.definition}, batch BIGINT, day DATE)")
    con.executemany(
        f"INSERT INTO t VALUES ({', '.join('?' * (len(table.columns) + 2))})", [(*r, DAY) for r in rows]
    )


def checksum(table: Schema, *rows: Row, zone: str = "UTC") -> int:
    con = database()
    put(con, table, rows)
    con.execute(f"SET TimeZone = '{zone}'")
    ((found,),) = con.execute(f"SELECT {checksum_sql(table)} FROM t").fetchall()
    if table is TICKS:
        assert tick_checksums(con, "t") == [("x", DAY, len(rows), found)]
    return int(found)


def changed(value: object) -> list[object]:
    """Values that are almost the same."""
    match value:
        case None:
            return ["", "n"]
        case datetime():
            return [value + timedelta(microseconds=1), None]
        case Decimal():
            return [value + Decimal("0.000000000000000001"), -value, Decimal(10) ** 19]
        case str():
            return [f"{value} ", f"0{value}", value[1:], f"{value}-{'0' * 12}", None]
        case bytes():
            return [value + b"\0", None]
        case float() | int():
            return [value + 1, -value, None]
        case _:
            raise AssertionError(value)


def test_the_checksum_of_a_row_never_changes() -> None:
    """So that no later version computes another one for what is in the lakes already."""
    assert checksum(TICKS, TICK) == 1957883158451988918
    assert checksum(EVENTS, EVENT) == 1673147966077689723
    assert checksum(REJECTS, REJECT) == 231993883697408501


@pytest.mark.parametrize(("table", "row"), [(TICKS, TICK), (EVENTS, EVENT), (REJECTS, REJECT)])
def test_each_changed_value_changes_it(table: Schema, row: Row) -> None:
    con = database()
    put(con, table, [row])
    for place, value in enumerate(row):
        for other in changed(value):
            if table is TICKS and place == 0:
                continue  # rows of another exchange are another group
            with suppress(duckdb.ConversionException):  # a text is not always a number or JSON
                put(con, table, [(*row[:place], other, *row[place + 1 :])], empty=False)
    found = con.execute(f"SELECT {checksum_sql(table)} FROM t GROUP BY rowid").fetchall()
    assert len(set(found)) == len(found) > 2 * len(row)


def test_it_is_a_sum_that_depends_neither_on_order_nor_time_zone() -> None:
    rows = [(*TICK[:7], str(n), *TICK[8:]) for n in range(9)]
    whole = checksum(TICKS, *rows)
    assert whole == checksum(TICKS, *reversed(rows)) == checksum(TICKS, *rows, zone="Asia/Tokyo")
    assert whole == combined([checksum(TICKS, *rows[:4]), checksum(TICKS, *rows[4:])])
    assert whole != checksum(TICKS, *rows, rows[0]) != checksum(TICKS, *rows[1:])
    moved = [(*row[:4], other[4], *row[5:]) for row, other in zip(RANDOM, RANDOM[1:] + RANDOM[:1], strict=True)]
    assert checksum(TICKS, *moved) != checksum(TICKS, *RANDOM)


# Prices at other rows.
RANDOM = [(*TICK[:3], NOW + timedelta(microseconds=n * n * n % 97), Decimal(n), *TICK[5:]) for n in range(20)]

TEXTS = st.one_of(st.none(), st.text(max_size=20), st.sampled_from(["buy", "é" * 6, "é" * 7, "1" * 12, "1" * 13]))
DECIMALS = st.one_of(
    st.decimals(-(10**19), 10**19, places=18), st.sampled_from([Decimal("9" * 20 + "." + "9" * 18), Decimal(0)])
)
TICKS_OF_ANY_KIND = st.tuples(
    st.just("x"), TEXTS, st.one_of(st.none(), st.just(NOW)), st.datetimes(timezones=st.just(UTC)),
    DECIMALS, DECIMALS, TEXTS, TEXTS, TEXTS, st.one_of(st.none(), st.integers(-(2**40), 2**62)),
    st.integers(0, 2**62),
)  # fmt: skip


@settings(max_examples=amount(10, 1000))
@given(rows=st.lists(TICKS_OF_ANY_KIND, min_size=1, max_size=8))
def test_the_fast_way_comes_to_the_same(rows: list[Row]) -> None:
    """`checksum` asserts it."""
    assert checksum(TICKS, *rows) >= 0
