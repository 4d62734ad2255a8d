"""`tickwarden query`: every format, files that are written, and the queries to begin with."""

import csv
import io
import json
import shutil
import signal
import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from ops.cli.row_output import FORMATS
from ops.export.examples import EXAMPLES
from tests.harness.cli_process import running, tickwarden, tickwarden_here
from tests.harness.recording_samples import record, settings
from tests.harness.terminal import on_terminal

SQL = "SELECT n, word, p FROM t ORDER BY n"
WORD = "a|b *c* <i>_d_ e_f"
TICKS = """
CREATE TABLE ticks AS SELECT * FROM (VALUES
    ('kraken', 'BTC/USD', '2026-11-22T10:00:01Z', 100.0, 1),
    ('kraken', 'BTC/USD', '2026-11-22T10:00:30Z', 105.5, 2),
    ('kraken', 'BTC/USD', '2026-11-22T10:00:59Z', 101.0, 4), ('bybit', 'BTC/USD', '2026-11-22T10:00:20Z', 100.0, 8),
    ('bybit', 'ETH/USD', '2026-11-22T10:01:20Z', 7.0, 16), ('kraken', 'BTC/USD', '2026-11-22T09:00:00Z', 9.0, 32)
) AS t (exchange, symbol, received_at, price, volume)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("made")
    with duckdb.connect(made / "t.duckdb") as con:
        con.execute("CREATE TABLE t (n INTEGER, word VARCHAR, p DECIMAL(38,18))")
        con.execute("INSERT INTO t VALUES (1, ?, 0.000000000000000001), (2, NULL, 12345678901234567890)", [WORD])
    with duckdb.connect(made / "ticks.duckdb") as con:
        con.execute(TICKS)
        con.execute("ALTER TABLE ticks ALTER received_at TYPE TIMESTAMPTZ")
        con.execute("ALTER TABLE ticks ADD COLUMN timestamp TIMESTAMPTZ; UPDATE ticks SET timestamp = received_at")
        con.execute("ALTER TABLE ticks ADD COLUMN source VARCHAR DEFAULT 'stream'")
        con.execute("ALTER TABLE ticks ADD COLUMN side VARCHAR; ALTER TABLE ticks ADD COLUMN trade_id VARCHAR")
    return made


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A folder with a file of two rows, and one with ticks that are known."""
    return Path(shutil.copytree(made, tmp_path, dirs_exist_ok=True))


def shown(folder: Path, *words: str) -> str:
    done = tickwarden_here("query", *words, folder=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_same_rows_in_every_format(folder: Path) -> None:
    words = [SQL, "--file", "t.duckdb"]
    rows = [(1, WORD, Decimal("1E-18")), (2, None, Decimal("12345678901234567890"))]
    asked = {form: shown(folder, *words, "--format", form) for form in FORMATS if form != "parquet"}
    assert asked["table"] == shown(folder, *words) and "0.000000000000000001" in asked["table"]
    assert asked["csv"] == shown(folder, *words, "--csv") and asked["json"] == shown(folder, *words, "--json")
    assert [
        (int(n), word or None, Decimal(p)) for n, word, p in [*csv.reader(io.StringIO(asked["csv"]))][1:]
    ] == rows
    assert [(row["n"], row["word"], Decimal(row["p"])) for row in json.loads(asked["json"])] == rows
    assert asked["markdown"].splitlines() == [
        "| n | word | p |",
        "| ---: | --- | ---: |",
        r"| 1 | a\|b \*c\* \<i>\_d\_ e_f | 0.000000000000000001 |",
        "| 2 | NULL | 12345678901234567890 |",
    ]
    shown(folder, *words, "--format", "parquet", "--out", "rows")
    assert duckdb.read_parquet(str(folder / "rows")).fetchall() == rows


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_gets_what_the_screen_would_and_its_ending_chooses_the_format(form: str, folder: Path) -> None:
    ending = {"table": "txt", "markdown": "md"}.get(form, form)
    words = [SQL, "--file", "t.duckdb"]
    done = tickwarden_here("query", *words, "--out", f"rows.{ending}", folder=folder)
    assert (done.returncode, done.stdout) == (0, f"wrote rows.{ending}: 2 rows of {form}\n"), done.stderr
    made = folder / f"rows.{ending}"
    if form == "parquet":
        assert duckdb.read_parquet(str(made)).fetchall()[1][0] == 2
    else:
        assert made.read_bytes().decode() == shown(folder, *words, "--format", form)
    before = made.read_bytes()
    refused = tickwarden_here("query", "SELECT 1", "--file", "t.duckdb", "--out", made.name, folder=folder)
    assert refused.returncode == 1 and "--overwrite replaces it" in refused.stderr and made.read_bytes() == before
    shown(folder, "SELECT 1", "--file", "t.duckdb", "--out", made.name, "--overwrite")
    assert made.read_bytes() != before
    assert {path.name for path in folder.iterdir()} == {"t.duckdb", "ticks.duckdb", made.name}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 64, "`--example` for a list"),
        ([SQL, "--example", "trades"], 64, "not both"),
        (["--example", "trade"], 64, "the nearest known one is 'trades'"),
        ([SQL, "--json", "--csv"], 64, "one format at a time, not csv and json"),
        ([SQL, "--format", "parquet"], 64, "name a file, like --out rows.parquet"),
        ([SQL, "--format", "xml"], 64, "'markdown'"),
        ([SQL, "--out", "t.duckdb", "--overwrite"], 1, "the recording itself"),
        ([SQL, "--out", "."], 1, "is a folder; name a file"),
        (["SELEC", "--out", "rows.csv"], 1, "syntax error"),
        (["", "--out", "rows.parquet"], 1, "write one like: FROM ticks"),
        ([SQL, "--out", "/proc/none/rows.csv"], 1, "No such file"),
    ],
)
def test_wrong_use_is_answered_with_what_is_right(words: list[str], code: int, said: str, folder: Path) -> None:
    done = tickwarden_here("query", *words, "--file", "t.duckdb", folder=folder)
    assert done.returncode == code and said in " ".join(done.stderr.split()), done.stderr
    assert {path.name for path in folder.iterdir()} == {"t.duckdb", "ticks.duckdb"}


@pytest.mark.parametrize("out", [[], ["--out", "x.parquet"]])
def test_ctrl_c_ends_a_query_that_would_take_hours(out: list[str], folder: Path) -> None:
    sql = "SELECT count(*) FROM range(10_000_000_000) a, range(1000) b"
    with running("query", sql, *out, folder=folder) as query:
        time.sleep(1.5)  # until it runs; if it does not yet, Ctrl-C ends it as well
        query.send_signal(signal.SIGINT)
        _, complaints = query.communicate(timeout=10.0)
    assert (query.returncode, complaints.strip()) == (130, "")


def test_candles_and_spread_are_computed_over_the_last_minutes_of_the_record(folder: Path) -> None:
    asked = {
        name: json.loads(shown(folder, "--example", name, "--json")) for name in ("candles", "spread", "trades")
    }
    minute = "2026-11-22T10:00:00Z"
    keys = ("exchange", "open", "high", "low", "close", "volume", "trades")
    assert [tuple(row[key] for key in keys) for row in asked["candles"] if row["minute"] == minute] == [
        ("bybit", "100", "100", "100", "100", 8, 1),
        ("kraken", "100", "105.5", "100", "101", 7, 3),
    ]
    (spread,) = asked["spread"]
    assert (spread["minute"], spread["lowest_on"], spread["highest_on"]) == (minute, "bybit", "kraken")
    assert spread["spread_bps"] == 100.0
    assert len(asked["trades"]) == 6 and asked["trades"][0]["symbol"] == "ETH/USD"


@pytest.mark.parametrize("ids", [(9, 10, 11), (11, 10, 9)])
def test_a_candle_ends_with_the_last_trade_of_a_sweep_by_its_number(ids: tuple[int, ...], folder: Path) -> None:
    """The trades of a sweep have the same times: only their ids tell them apart."""
    with duckdb.connect(folder / "ticks.duckdb") as con:
        for exchange in ("okx", "kraken"):
            con.executemany(
                "INSERT INTO ticks (exchange, symbol, received_at, timestamp, price, volume, source, trade_id)"
                " SELECT $1, 'SOL/USD', t, t, $2, 1, 'stream', $2::VARCHAR"
                " FROM (SELECT TIMESTAMPTZ '2026-11-22T10:01:10Z' AS t)",
                [(exchange, number + (exchange == "okx")) for number in ids],
            )
    candles = json.loads(shown(folder, "--example", "candles", "--json"))
    found = [(row["open"], row["close"]) for row in candles if row["symbol"] == "SOL/USD"]
    assert found == [("9", "11"), ("10", "12")]
    spreads = json.loads(shown(folder, "--example", "spread", "--json"))
    assert [(row["lowest"], row["highest"]) for row in spreads if row["symbol"] == "SOL/USD"] == [("11", "12")]


def test_the_list_names_every_example_in_one_line_and_json_has_the_sql(folder: Path) -> None:
    lines = shown(folder, "--example").splitlines()[2:]
    assert [line.split()[0] for line in lines] == list(EXAMPLES)
    assert {row["name"]: row["sql"] for row in json.loads(shown(folder, "--example", "--json"))} == {
        name: one.sql for name, one in EXAMPLES.items()
    }
    code, text = on_terminal("query", "--example", "candles", folder=folder, width=120)
    assert code == 0 and "SELECT time_bucket" in text and "105.5" in text


def test_every_example_answers_about_a_recording(tmp_path: Path) -> None:
    words = ("--seconds", "4", "--dir", "d", "--exchange", "binance", "--exchange", "okx")  # they share two symbols
    assert tickwarden("demo", *words, folder=tmp_path).returncode == 0
    found = {
        name: json.loads(shown(tmp_path, "--example", name, "--json", "--file", "d/ticks.duckdb"))
        for name in EXAMPLES
    }
    assert {name for name, rows in found.items() if not rows} <= {"gaps"}
    assert all(row["recorded_s"] >= row["verified_s"] >= 0 for row in found["coverage"])
    assert sum(row["verified_s"] for row in found["coverage"]) > 0
    newest = datetime.fromisoformat(found["trades"][0]["received_at"])
    assert abs((datetime.now(UTC) - newest).total_seconds()) < 60


def test_an_empty_table_of_gaps_or_coverage_says_what_that_means(tmp_path: Path) -> None:
    record(settings(tmp_path), 3)
    for words, said in (
        (["gaps"], "no gap is known there"),
        (["coverage", "--exchange", "okx"], "nothing was recorded"),
    ):
        done = tickwarden_here(*words, "--file", "ticks.duckdb", folder=tmp_path)
        assert done.returncode == 0 and said in done.stderr and len(done.stdout.splitlines()) == 2
        done = tickwarden_here(*words, "--file", "ticks.duckdb", "--json", folder=tmp_path)
        assert (done.stdout.strip(), done.stderr) == ("[]", "")
