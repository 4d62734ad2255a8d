"""The views of a lake: each trade once, rows of unfinished commits never, and only the files that a query needs."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import deltalake
import pytest
from deltalake import DeltaTable

from actors.model.batch import Batch
from actors.model.records import EventRow
from actors.sink.lake.delta import DeltaLake
from actors.sink.lake.errors import LakeUnavailable
from ops.export.lake.compact_tables import LakeFolder
from ops.export.lake.opening import engine_errors, open_lake
from ops.export.lake.views import lake_query
from ops.export.query import QueryError
from tests.harness.lake_values import DAY, DAY_NS, SECOND_NS, Trade, batch, ship, to_batches, trades


def ask(uri: Path, sql: str, **more: Any) -> list[tuple[Any, ...]]:
    with lake_query(str(uri), {}, sql, **more) as answer:
        return list(answer.rows)


def test_a_trade_that_several_recorders_stored_is_on_the_tape_once(
    small: tuple[Path, dict[str, list[Trade]]],
) -> None:
    folder, stored = small
    found = ask(folder, "SELECT exchange, symbol, trade_id, volume FROM ticks")
    assert Counter(row[0] for row in found) == {"binance": 100, "kraken": 20, "upbit": 4}
    assert sorted(int(row[2]) for row in found if row[0] == "binance") == [*range(1, 101)]
    assert ask(folder, "SELECT count(*) FROM recorded_ticks") == [(sum(map(len, stored.values())),)]


def test_a_panic_of_delta_rs_is_an_error_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    panic = type("PanicException", (BaseException,), {})

    class Panicking(DeltaTable):
        def __init__(self, *_: object, **__: object) -> None:
            raise panic("InvalidDomainCharacter")

    monkeypatch.setattr(deltalake, "DeltaTable", Panicking)
    for call in (lambda: open_lake(str(tmp_path), {}), lambda: LakeFolder(str(tmp_path), {}).table("ticks")):
        with pytest.raises(QueryError, match=r"the lake cannot be .*InvalidDomainCharacter"):
            call()
    with pytest.raises(QueryError, match="InvalidDomainCharacter"), engine_errors():
        raise panic("InvalidDomainCharacter")


def test_what_another_recorder_covers_is_no_gap_of_the_tape(small: tuple[Path, dict[str, list[Trade]]]) -> None:
    folder, _ = small
    assert ask(folder, "SELECT recorder, exchange, from_id, to_id, missing FROM gaps") == [
        ("virginia", "kraken", "10", "21", 10)
    ]
    unknown = ask(folder, "SELECT exchange FROM coverage WHERE status <> 'live'")
    assert unknown == [("kraken",)]


def test_a_query_for_one_exchange_day_and_symbol_reads_only_their_files(tmp_path: Path) -> None:
    """Below the windows of each rule: numbered, identified and composite trades."""
    exchanges, later = ("okx", "bitfinex", "bitmex"), DAY_NS + 86_400 * SECOND_NS
    both = [one for name in exchanges for at in (DAY_NS, later) for one in trades(name, "A/B", [1, 2], start_ns=at)]
    ship(str(tmp_path), "tokyo", "one", [batch(1, both)])
    every = "\n".join(str(row[1]) for row in ask(tmp_path, "EXPLAIN SELECT price FROM ticks"))
    assert all(f"exchange={name}/day={DAY}" in every for name in exchanges)
    for name in exchanges:
        where = f"WHERE exchange = '{name}' AND day = '{DAY}' AND symbol = 'A/B'"
        for view in ("ticks", "recorded_ticks"):
            plan = "\n".join(str(row[1]) for row in ask(tmp_path, f"EXPLAIN SELECT price FROM {view} {where}"))
            files = re.findall(r"exchange=[^ ]*\.parquet", plan)
            assert files and all(file.startswith(f"exchange={name}/day={DAY}/") for file in files), plan
            assert re.search(r"pruning_predicate=.*symbol_min", plan), "files are skipped by their least symbol"
        assert len(ask(tmp_path, f"SELECT price FROM ticks {where}")) == 2


def cut_commit(uri: Path, store: str, one: Batch) -> None:
    """Begins to send the batch, and ends before its ticks."""

    def cut(point: str) -> None:
        if point == "lake.table":
            raise LakeUnavailable(point)

    lake = DeltaLake(str(uri), "tokyo", {}, crash_point=cut)
    with pytest.raises(LakeUnavailable, match=r"lake\.table"):
        lake.commit(to_batches(store, lake.marks(store).committed, one.number, [one]))


def events(number: int) -> tuple[EventRow, ...]:
    return (EventRow(DAY_NS, "writer", str(number)),)


def test_rows_beyond_the_newest_ticks_of_their_store_do_not_count(tmp_path: Path) -> None:
    ship(str(tmp_path), "tokyo", "one", [batch(1, trades("kraken", "BTC/USD", [1]), events=events(1))])
    second = batch(2, trades("kraken", "BTC/USD", [2]), events=events(2))
    cut_commit(tmp_path, "one", second)
    assert ask(tmp_path, "SELECT event FROM raw_events ORDER BY 1") == [("1",), ("2",)]
    for table in ("ticks", "events", "shipments"):
        assert ask(tmp_path, f"SELECT max({'through' if table == 'shipments' else 'batch'}) FROM {table}") == [(1,)]
    ship(str(tmp_path), "tokyo", "one", [second])
    assert ask(tmp_path, "SELECT event FROM events ORDER BY 1") == [("1",), ("2",)]


def test_rows_of_a_store_that_has_never_sent_ticks_do_not_count(tmp_path: Path) -> None:
    ship(str(tmp_path), "tokyo", "one", [batch(1, trades("kraken", "BTC/USD", [1]), events=events(1))])
    cut_commit(tmp_path, "two", batch(1, [], events=events(2)))
    assert ask(tmp_path, "SELECT store FROM raw_events ORDER BY 1") == [("one",), ("two",)]
    assert ask(tmp_path, "SELECT store FROM events") == [("one",)]


def test_a_table_that_does_not_exist_yet_is_empty(tmp_path: Path) -> None:
    ship(str(tmp_path), "tokyo", "one", [batch(1, trades("kraken", "BTC/USD", [1, 2]))])
    names = ("gaps", "coverage", "rejects", "events", "audit", "lags", "instruments", "feeds", "gap_states")
    every = " UNION ALL ".join(f"SELECT '{name}', count(*) FROM {name}" for name in names)
    assert sorted(ask(tmp_path, every)) == [(name, 0) for name in sorted(names)]
    shown = {row[0] for row in ask(tmp_path, "SELECT table_name FROM information_schema.tables")}
    assert {"ticks", "recorded_ticks", "shipments", "gaps", "coverage", "lags"} <= shown


def test_no_lake_and_wrong_sql_are_reported_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(QueryError, match="is no lake: nothing was sent there yet"):
        ask(tmp_path / "none", "SELECT 1")
    ship(str(tmp_path), "tokyo", "one", [batch(1, trades("kraken", "BTC/USD", [1]))])
    for sql, said in (("SELECT nope FROM ticks", "No field named nope"), ("SELEC", "SQL"), ("SELECT 1/0", "zero")):
        with pytest.raises(QueryError, match=said) as raised:
            ask(tmp_path, sql)
        assert "\n" not in str(raised.value)


def test_an_answer_is_computed_while_it_is_read(tmp_path: Path) -> None:
    """The first rows of an answer that could not be held come at once."""
    ship(str(tmp_path), "tokyo", "one", [batch(1, trades("kraken", "BTC/USD", [1]))])
    sql = "SELECT a.value FROM generate_series(1, 1000000) a CROSS JOIN generate_series(1, 1000000) b"
    with lake_query(str(tmp_path), {}, sql) as answer:
        assert next(iter(answer.rows))
