"""A DuckDB in memory with what continuity and coverage read: ticks, states of gaps, feeds, audit.

All are databases of one instance: to make an instance takes three times as long as all else.
"""

import weakref
from collections.abc import Iterable
from functools import cache
from itertools import count

import duckdb

from actors.model.records import FeedRow, GapRow
from actors.store.coverage_sql import COVERAGE_SELECT, GAPS_SELECT

TICKS = """CREATE TABLE store.ticks (exchange VARCHAR, symbol VARCHAR, timestamp TIMESTAMPTZ,
  received_at TIMESTAMPTZ, price DECIMAL(38,18), volume DECIMAL(38,18), side VARCHAR, trade_id VARCHAR,
  source VARCHAR, fills INTEGER)"""
GAPS = """CREATE TABLE gap_states ("at" TIMESTAMPTZ, gap_id VARCHAR, exchange VARCHAR, symbol VARCHAR,
  reason VARCHAR, opened_at TIMESTAMPTZ, from_id VARCHAR, from_time TIMESTAMPTZ, to_id VARCHAR,
  to_time TIMESTAMPTZ, missing BIGINT, recovered BIGINT, status VARCHAR, closed_at TIMESTAMPTZ)"""
FEEDS = """CREATE TABLE feeds ("at" TIMESTAMPTZ, exchange VARCHAR, symbol VARCHAR, event VARCHAR, run_id VARCHAR,
  trade_id VARCHAR, time TIMESTAMPTZ, until TIMESTAMPTZ, proof VARCHAR)"""
AUDIT = """CREATE TABLE audit ("at" TIMESTAMPTZ, exchange VARCHAR, run_id VARCHAR, frames BIGINT)"""
_NUMBERS = count()


@cache
def _instance() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"threads": 1})


def _forget(name: str) -> None:
    with _instance().cursor() as con:
        con.execute(f"DETACH {name}")


def new_file() -> duckdb.DuckDBPyConnection:
    """The tables, and the two views. The database is gone with the connection."""
    con, name = _instance().cursor(), f"file{next(_NUMBERS)}"
    con.execute(f"ATTACH ':memory:' AS {name}")
    con.execute(f"USE {name}")
    weakref.finalize(con, _forget, name).atexit = False
    for statement in ("CREATE SCHEMA store", TICKS, "CREATE VIEW ticks AS FROM store.ticks", GAPS, FEEDS, AUDIT):
        con.execute(statement)
    con.execute(f"CREATE VIEW gaps AS {GAPS_SELECT}")
    con.execute(f"CREATE VIEW coverage AS {COVERAGE_SELECT}")
    con.execute("SET TimeZone = 'UTC'")
    return con


def _at(value: int | None) -> str:
    return "NULL" if value is None else f"make_timestamptz({value // 1000})"


def _text(value: str | None) -> str:
    return "NULL" if value is None else "'" + value.replace("'", "''") + "'"


def put_tick(
    con: duckdb.DuckDBPyConnection,
    trade_id: str | None,
    time_ns: int,
    *,
    exchange: str = "x",
    symbol: str = "BTC/USDT",
    received_ns: int | None = None,
    source: str = "stream",
    fills: int = 1,
) -> None:
    """One trade, received when it was made unless said otherwise."""
    con.execute(
        f"INSERT INTO store.ticks VALUES ('{exchange}', {_text(symbol)}, {_at(time_ns)},"
        f" {_at(time_ns if received_ns is None else received_ns)}, 1, 1, 'buy', {_text(trade_id)},"
        f" '{source}', {fills})"
    )


def put_ticks(con: duckdb.DuckDBPyConnection, rows: Iterable[tuple[str, int, int, str, int]]) -> None:
    """Trades in the order of storing: id, its time, when it was received, source, and how many it stands for."""
    ids, made, received, sources, fills = map(list, zip(*rows, strict=True))
    con.execute(
        "INSERT INTO store.ticks SELECT 'x', 'BTC/USDT', make_timestamptz(made // 1000),"
        " make_timestamptz(received // 1000), 1, 1, 'buy', trade_id, source, fills FROM (SELECT"
        " unnest($1::VARCHAR[]) AS trade_id, unnest($2::BIGINT[]) AS made, unnest($3::BIGINT[]) AS received,"
        " unnest($4::VARCHAR[]) AS source, unnest($5::INTEGER[]) AS fills)",
        [ids, made, received, sources, fills],
    )


def put_gaps(con: duckdb.DuckDBPyConnection, rows: Iterable[GapRow]) -> None:
    """States of gaps."""
    for r in rows:
        con.execute(
            f"INSERT INTO gap_states VALUES"
            f" ({_at(r.at_ns)}, '{r.gap_id}', '{r.exchange}', '{r.symbol}', '{r.reason}',"
            f" {_at(r.opened_ns)}, {_text(r.from_id)}, {_at(r.from_ns)}, {_text(r.to_id)}, {_at(r.to_ns)},"
            f" {'NULL' if r.missing is None else r.missing}, {r.recovered}, '{r.status}', {_at(r.closed_ns)})"
        )


def put_feeds(con: duckdb.DuckDBPyConnection, rows: Iterable[FeedRow]) -> None:
    """What was recorded when."""
    for r in rows:
        con.execute(
            f"INSERT INTO feeds VALUES ({_at(r.at_ns)}, '{r.exchange}', '{r.symbol}', '{r.event}', '{r.run_id}',"
            f" {_text(r.trade_id)}, {_at(r.time_ns)}, {_at(r.until_ns)}, {_text(r.proof)})"
        )


def put_audit(con: duckdb.DuckDBPyConnection, run_id: str, at_ns: int, exchange: str = "x") -> None:
    """A sign of life of a run, later than all before, whatever its time."""
    con.execute(f"INSERT INTO audit SELECT {_at(at_ns)}, '{exchange}', '{run_id}', count(*) FROM audit")
