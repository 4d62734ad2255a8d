"""Files of older versions are upgraded in one transaction; newer and foreign ones are left unchanged."""

from collections.abc import Mapping
from pathlib import Path

import duckdb
import pytest
from msgspec.structs import replace

from actors.model.records import FEEDS, FeedEvent, FeedRow, GapReason, GapRow, GapStatus, Proof
from actors.model.schema import Schema
from actors.store.database import FileRefused, SchemaNewer
from actors.store.migration import STEPS, NoWayUp, migrate
from actors.store.tables import SCHEMA_VERSION, TABLES
from actors.store.views import select_sql
from ops.export.export import export
from ops.export.query import run_query
from tests.harness.recording_samples import (
    SECOND_NS,
    START_NS,
    ask,
    batch,
    ids,
    record,
    settings,
    store,
    write,
)

# A version that never was: without the source of a tick, and without any audit.
OLDER: Mapping[int, tuple[str, ...]] = {
    0: (
        "ALTER TABLE store.ticks ADD COLUMN source VARCHAR",
        'CREATE TABLE store.audit ("at" TIMESTAMPTZ, exchange VARCHAR, frames BIGINT, received BIGINT,'
        " stored BIGINT, duplicates BIGINT, rejected BIGINT, in_flight BIGINT, run_id VARCHAR)",
    )
}


FROM_ZERO = {**OLDER, **STEPS}


def without_batches(con: duckdb.DuckDBPyConnection, *tables: str) -> None:
    """Drops the numbers of batches, which no version before 6 has."""
    for table in tables or [table.name for table in TABLES]:
        con.execute(f"ALTER TABLE store.{table} DROP COLUMN batch")


def make_older(path: Path) -> None:
    """Takes a file back to version 0."""
    with duckdb.connect(path) as con:
        for table in TABLES:
            con.execute(f"DROP VIEW main.{table.name}")
        con.execute("ALTER TABLE store.ticks DROP COLUMN source")
        con.execute("DROP TABLE store.audit")
        con.execute("DROP TABLE store.lags; DROP TABLE store.instruments")
        without_batches(con, "ticks", "rejects", "events", "gap_states", "feeds")
        con.execute("ALTER TABLE store.feeds DROP COLUMN until; ALTER TABLE store.feeds DROP COLUMN proof")
        con.execute("UPDATE main.schema_version SET version = 0")


def strip(tail: Path) -> None:
    """Takes the segments of a tail back to version 0, under names that say so."""
    from actors.store.segments import crc_of
    from actors.store.tail import parse_name

    con = duckdb.connect()
    for path in [*(tail / "audit").iterdir(), *(tail / "ticks").iterdir()]:
        if path.parent.name == "audit":
            path.unlink()
            continue
        con.execute(f"CREATE OR REPLACE TABLE t AS SELECT * EXCLUDE (source) FROM read_parquet('{path}')")
        con.execute(f"COPY t TO '{path}' (FORMAT parquet)")
        segment = parse_name(path.name)
        if segment is not None:
            path.rename(path.with_name(path.name.replace(f"{segment.crc:08x}", f"{crc_of(path):08x}")))


def test_there_is_a_step_from_every_version_since_the_first() -> None:
    assert sorted(STEPS) == list(range(1, SCHEMA_VERSION))


def test_the_steps_from_version_1_lead_to_what_a_new_file_has(tmp_path: Path) -> None:
    configured = settings(tmp_path)
    record(configured, 5)
    columns = (
        "FROM duckdb_columns() SELECT table_name, column_name, data_type WHERE schema_name = 'store' ORDER BY ALL"
    )
    new = ask(configured.path, columns)
    with duckdb.connect(configured.path) as con:
        for name in ("lags", "instruments"):
            con.execute(f"DROP VIEW main.{name}; DROP TABLE store.{name}")
        without_batches(con, "ticks", "rejects", "events", "audit", "gap_states", "feeds")
        con.execute("ALTER TABLE store.feeds DROP COLUMN until; ALTER TABLE store.feeds DROP COLUMN proof")
        con.execute("UPDATE main.schema_version SET version = 1")
    with store(configured) as made:
        write(made)
        made.finish(lambda: False)
    assert ask(configured.path, columns) == new
    assert (len(ids(configured.path)), ask(configured.path, "SELECT count(*) FROM lags")) == (11, [(0,)])
    assert ask(configured.path, "SELECT count(*) FROM instruments") == [(0,)]


def test_an_older_file_is_upgraded_with_its_rows_and_that_is_reported(tmp_path: Path) -> None:
    configured = settings(tmp_path)
    record(configured, 5)
    before = ids(configured.path)
    make_older(configured.path)
    with store(configured, migrations=FROM_ZERO) as made:
        (notice,) = made.notices
        assert notice.event == "store_migrated" and notice.detail == {"from": 0, "to": SCHEMA_VERSION}
        assert ids(configured.path) == before
        write(made)
        assert ask(configured.path, "SELECT source, count(*) FROM ticks GROUP BY 1 ORDER BY 1") == [
            ("stream", 6),
            (None, 5),
        ]
        assert ask(configured.path, "SELECT count(*) FROM audit") == [(1,)]
        made.finish(lambda: False)
    assert ask(configured.path, "FROM schema_version") == [(SCHEMA_VERSION,)]
    assert len(ids(configured.path)) == 11
    with store(configured, migrations=FROM_ZERO) as made:
        assert not made.notices


def test_segments_of_an_older_version_are_read_folded_and_merged_with_null_for_what_they_lack(
    tmp_path: Path,
) -> None:
    configured = settings(tmp_path)
    with store(configured) as made:
        write(made)
        made.merge()
        write(made, 20)
    make_older(configured.path)
    strip(made.tail)
    with store(configured, migrations=FROM_ZERO) as made:
        migrated, gone, missing = made.notices
        assert gone.event == "segments_vanished" and gone.detail["rows"] == {"audit": 20}  # stripped away too
        assert migrated.event == "store_migrated"
        assert missing.detail["lost"] == {"audit": 1}  # went with the table that this test has dropped
        nulls = "SELECT count(*), count(source) FROM ticks"
        assert ask(configured.path, nulls) == [(126, 0)]
        write(made)
        assert ask(configured.path, nulls) == [(132, 6)]
        assert made.compact() >= 16
        assert ask(configured.path, nulls) == [(132, 6)]
        while made.merge().backlog:
            pass
        assert ask(configured.path, nulls) == [(132, 6)]
        assert ask(configured.path, "SELECT count(*) FROM audit") == [(1,)]


def test_a_step_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    configured = settings(tmp_path)
    record(configured, 5)
    make_older(configured.path)
    broken = {0: (OLDER[0][0], "ALTER TABLE store.nothing ADD COLUMN x INTEGER")}
    with pytest.raises(FileRefused, match="no step"), store(configured, migrations=broken):
        pass
    assert ask(configured.path, "FROM schema_version") == [(0,)]
    assert ask(configured.path, "SELECT count(*) FROM store.ticks") == [(5,)]
    columns = [name for (name,) in ask(configured.path, "SELECT column_name FROM (DESCRIBE store.ticks)")]
    assert "source" not in columns


def test_a_version_that_nothing_leads_on_from_is_refused_untouched(tmp_path: Path) -> None:
    configured = settings(tmp_path)
    record(configured, 5)
    with duckdb.connect(configured.path) as con:
        con.execute("UPDATE main.schema_version SET version = 0")
    before = configured.path.read_bytes()
    with pytest.raises(FileRefused, match="schema version 0 cannot be upgraded to"), store(configured):
        pass
    assert configured.path.read_bytes() == before


def test_a_newer_version_is_refused_untouched(tmp_path: Path) -> None:
    configured = settings(tmp_path)
    record(configured, 5)
    with duckdb.connect(configured.path) as con:
        con.execute("UPDATE main.schema_version SET version = 99")
    before = configured.path.read_bytes()
    with pytest.raises(SchemaNewer, match="99"), store(configured):
        pass
    assert configured.path.read_bytes() == before


def test_versions_are_taken_one_after_the_other() -> None:
    con = duckdb.connect()
    con.execute("CREATE TABLE schema_version AS SELECT 3 AS version")
    con.execute("CREATE TABLE log (said INTEGER)")
    steps = {n: (f"INSERT INTO log VALUES ({n})",) for n in range(1, 9)}
    migrate(con, 3, 6, steps)
    assert con.execute("FROM log").fetchall() == [(3,), (4,), (5,)]
    assert con.execute("FROM schema_version").fetchall() == [(6,)]
    with pytest.raises(NoWayUp, match="from 9"):
        migrate(con, 6, 11, steps)
    assert len(con.execute("FROM log").fetchall()) == 3


def to_version_4(path: Path, tail: Path) -> None:
    """Takes a file and its tail back to the version before `feeds` held proofs."""
    feeds = FEEDS.names.replace(', "until", "proof"', "")
    with duckdb.connect(path) as con:
        old = select_sql(Schema("feeds", FEEDS.columns[:-2]), tail)
        assert '"proof"' not in old + feeds
        without_batches(con)
        con.execute("ALTER TABLE store.feeds DROP COLUMN until; ALTER TABLE store.feeds DROP COLUMN proof")
        for segment in (tail / "feeds").iterdir():
            con.execute(f"CREATE OR REPLACE TEMP TABLE t AS SELECT {feeds} FROM read_parquet('{segment}')")
            con.execute(f"COPY t TO '{segment}' (FORMAT parquet)")
        con.execute(f"CREATE OR REPLACE VIEW main.feeds AS {old}")
        con.execute("CREATE OR REPLACE VIEW main.coverage AS SELECT exchange, symbol, event AS status FROM feeds")
        con.execute("UPDATE main.schema_version SET version = 4")


@pytest.mark.parametrize("how", ["in place", "exported", "moved with its tail"])
def test_a_reader_of_an_older_file_is_told_of_no_proof_that_the_file_cannot_have(tmp_path: Path, how: str) -> None:
    configured = settings(tmp_path)
    market = ("x", "BTC/USDT")
    gap = GapRow(
        START_NS, "g", *market, GapReason.DISCONNECT, START_NS, from_id="1", from_ns=START_NS + SECOND_NS,
        to_id="9", to_ns=START_NS + 2 * SECOND_NS, missing=7, recovered=7, status=GapStatus.FILLED,
    )  # fmt: skip
    with store(configured) as made:
        write(made)
        made.merge()
        made.write(replace(batch(made.next_number(), exchange="x"), gaps=(gap,)))
    path = configured.path
    with duckdb.connect(path) as con:
        con.execute(
            "INSERT INTO store.feeds BY NAME SELECT 'x' AS exchange, 'BTC/USDT' AS symbol, 'started' AS event,"
            f" 'run' AS run_id, make_timestamptz({(START_NS - 10 * SECOND_NS) // 1000}) AS \"at\""
        )
    to_version_4(path, made.tail)
    if how == "exported":
        export(path, path := tmp_path / "copy.duckdb")
    elif how != "in place":
        (other := tmp_path / "elsewhere").mkdir()
        made.tail.rename(other / made.tail.name)
        path = path.rename(other / path.name)
    found = run_query(path, "SELECT status, proof FROM coverage WHERE exchange = 'x' ORDER BY from_time").rows
    assert found == [("live", "none"), ("repaired", "history")]
    assert run_query(path, "SELECT count(*), count(proof) FROM feeds").rows == [(1, 0)]
    assert run_query(path, "SELECT count(*) FROM ticks").rows == [(12,)]


def test_a_file_of_the_version_before_proofs_goes_on_with_them(tmp_path: Path) -> None:
    configured = settings(tmp_path)
    with store(configured) as made:
        write(made)
        made.merge()
        write(made, 3)
        tail = made.tail
    to_version_4(configured.path, tail)
    proof = FeedRow(START_NS, "x", "BTC/USDT", FeedEvent.PROVED, "run", time_ns=1, until_ns=2_000, proof=Proof.IDS)
    with store(configured) as made:
        assert [notice.event for notice in made.notices] == ["store_migrated"]
        made.write(replace(batch(made.next_number()), feeds=(proof,)))
        assert ask(configured.path, "SELECT proof FROM feeds") == [("ids",)]
        made.finish(lambda: False)
    assert ask(configured.path, "SELECT proof, count(*) FROM feeds GROUP BY ALL") == [("ids", 1)]
    assert ask(configured.path, "SELECT count(*) FROM ticks") == [(30,)]
