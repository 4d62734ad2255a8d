"""`tickwarden lake`: its formats, files and exit codes, and where it finds a lake."""

import json
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from ops.cli.commands import cli
from ops.cli.lake import COMMANDS
from ops.export.lake.examples import LAKE_EXAMPLES
from ops.terminal.exit_codes import INTERRUPTED
from tests.harness.amounts import variants
from tests.harness.cli_process import COMMAND, environment, tickwarden_here, wait_for
from tests.harness.lake_values import DAY_NS, Trade, batch, ship, small_lake, trades

TAPE = "SELECT trade_id, price, received_at, side FROM ticks WHERE exchange = 'kraken' ORDER BY received_at LIMIT 2"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a lake, and a configuration that names it."""
    made = tmp_path_factory.mktemp("cli")
    small_lake(str(made / "lake"))
    (made / "tickwarden.toml").write_text(
        '[lake]\nuri = "lake"\nrecorder = "tokyo"\n[exchanges.kraken]\nsymbols = ["BTC/USD"]\n'
    )
    return made


def shown(folder: Path, *words: str) -> str:
    done = tickwarden_here("lake", "query", *words, folder=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_same_rows_in_every_format_with_every_digit_and_in_utc(folder: Path) -> None:
    rows = json.loads(shown(folder, TAPE, "--json"))
    assert rows[0] == {
        "trade_id": "1",
        "price": "60001.25",
        "received_at": "2026-11-02T00:00:01.050000Z",
        "side": "buy",
    }
    lines = shown(folder, TAPE, "--csv").splitlines()
    assert lines == [
        "trade_id,price,received_at,side",
        "1,60001.25,2026-11-02T00:00:01.050000Z,buy",
        "2,60002.25,2026-11-02T00:00:02.050000Z,buy",
    ]
    assert shown(folder, TAPE).splitlines()[2].split() == lines[1].split(",")
    assert "| 1 | 60001.25 |" in shown(folder, TAPE, "--format", "markdown")


@pytest.mark.parametrize("name", ["rows.parquet", "rows.csv"])
def test_rows_go_to_a_file_and_replace_none(name: str, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / name
    said = shown(folder, "SELECT * FROM ticks", "--out", str(out))
    assert said == f"wrote {out}: 124 rows of {out.suffix[1:]}\n"
    con = duckdb.connect()
    assert con.execute(f"SELECT count(*), count(DISTINCT exchange) FROM '{out}'").fetchall() == [(124, 3)]
    if out.suffix == ".parquet":
        prices = con.execute(f"SELECT price FROM '{out}' WHERE trade_id = '1' LIMIT 1").fetchall()
        assert prices == [(Decimal("60001.250000000000000000"),)]
    again = tickwarden_here("lake", "query", "SELECT 1", "--out", str(out), folder=folder)
    assert again.returncode == 1 and "--overwrite replaces it" in again.stderr


@pytest.mark.parametrize("name", LAKE_EXAMPLES)
def test_every_example_runs(name: str, folder: Path) -> None:
    assert name in shown(folder, "--example")
    found = json.loads(shown(folder, "--example", name, "--json"))
    assert found, "an example shows something on any lake"


@pytest.mark.parametrize("ids", [(9, 10, 11), (11, 10, 9)])
def test_a_candle_ends_with_the_last_trade_of_a_sweep_by_its_number(ids: tuple[int, ...], tmp_path: Path) -> None:
    """The trades of a sweep have the same times: only their ids tell them apart."""
    sweep = [Trade("kraken", "BTC/USD", str(number), DAY_NS, price=str(number)) for number in ids]
    ship(str(tmp_path / "lake"), "tokyo", "one", [batch(1, sweep)])
    (candle,) = json.loads(shown(tmp_path, "--example", "candles", "--json", "--uri", "lake"))
    assert (candle["open"], candle["close"]) == ("9", "11")


def test_wrong_use_and_unusable_lakes_have_their_exit_codes(folder: Path, tmp_path: Path) -> None:
    for words, code, said in (
        ((), 64, "SELECT * FROM ticks LIMIT 5"),
        (("SELECT 1", "--example", "trades"), 64, "not both"),
        (("--example", "trade"), 64, "'trades'"),
        (("SELECT 1", "--format", "parquet"), 64, "name a file"),
        (("SELECT nope FROM ticks",), 1, "nope"),
        (("SELECT 1", "--uri", str(tmp_path)), 1, "--uri names another one"),
        (("SELECT 1", "--config", "none.toml"), 78, "none.toml"),
    ):
        done = tickwarden_here("lake", "query", *words, folder=folder)
        assert done.returncode == code and said in " ".join(done.stderr.split()), (words, done.stderr)
        assert "Traceback" not in done.stderr
    for memory in (("lots",), ("12",), ("1MB",), ("lots", "--dry-run")):
        done = tickwarden_here("lake", "compact", "--memory", *memory, folder=folder)
        assert done.returncode == 64 and f"got {memory[0]}, expected" in done.stderr, (memory, done.stderr)
    wrong = tickwarden_here("lake", "statsu", folder=folder)
    assert wrong.returncode == 64 and "status" in wrong.stderr


def test_the_dialect_of_a_name_comes_from_the_configuration(tmp_path: Path) -> None:
    for recorder, late in (("a", 0), ("b", 1)):
        found = trades("my-okx", "BTC/USDT", [1], start_ns=1_780_000_000_000_000_000 + late * 1000)
        ship(str(tmp_path / "lake"), recorder, "one", [batch(1, found)])
    count = ("SELECT count(*) AS n FROM ticks", "--json", "--uri", "lake")
    assert json.loads(shown(tmp_path, *count)) == [{"n": 2}]
    (tmp_path / "tickwarden.toml").write_text('[exchanges.my-okx]\ndialect = "okx"\nsymbols = ["BTC/USDT"]\n')
    assert json.loads(shown(tmp_path, *count)) == [{"n": 1}]


def test_commands_of_the_lake_are_listed_and_completed(folder: Path) -> None:
    done = tickwarden_here("lake", "--help", folder=folder)
    assert [*COMMANDS] == ["status", "query", "verify", "compact"]
    assert all(f"\n  {name} " in done.stdout for name in COMMANDS)
    assert cli.get_command(None, "lake") is not None  # type: ignore[arg-type]
    asked = subprocess.run(
        [sys.executable, "-c", "from ops.cli import main; main()"],
        env=environment(folder, _TICKWARDEN_COMPLETE="zsh_complete", COMP_WORDS="tickwarden lake ", COMP_CWORD="2"),
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert asked.stdout.splitlines()[1::3] == [*COMMANDS]  # lines of three: type, value, help


WITHOUT = """
import sys
sys.modules["deltalake"] = None
from ops.cli.commands import main
main()
"""


def test_without_the_package_it_says_how_to_install_it(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, "lake", "query", "SELECT 1", "--uri", "lake"],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and "pip install 'tickwarden[lake]'" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


# Takes hours, most of them in the engine, before there is a row.
ENDLESS = "SELECT count(*) FROM generate_series(1, 10000000) AS a CROSS JOIN generate_series(1, 10000000) AS b"


# `lake status` and `lake verify`, of a lake so large that they take as long.
LARGE = f"""
from ops.cli import lake_status, lake_verify
lake_status.lake_status = lake_verify.verify = lambda engine, *_, **__: engine.rows("{ENDLESS}")
from ops.cli.commands import main
main()
"""


@pytest.mark.parametrize(
    "command",
    variants(
        [*COMMAND, "lake", "query", ENDLESS, "--out", "rows.parquet"],
        [sys.executable, "-c", LARGE, "lake", "verify"],
        [sys.executable, "-c", LARGE, "lake", "status"],
        [*COMMAND, "lake", "query", ENDLESS],
    ),
)
def test_ctrl_c_ends_a_command_while_the_engine_computes_and_leaves_nothing(
    command: list[str], folder: Path, tmp_path: Path
) -> None:
    chosen = environment(tmp_path, TMPDIR=str(tmp_path))
    command = [*command, "--uri", str(folder / "lake")]
    process = subprocess.Popen(command, cwd=tmp_path, env=chosen, stderr=subprocess.PIPE, text=True)
    try:
        wait_for("the query", lambda: list(tmp_path.glob("tickwarden-lake.partial-*")))
        time.sleep(1.0)  # now it computes, or will soon
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == INTERRUPTED
    finally:
        process.kill()
        _, errors = process.communicate()
    assert errors == "" and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "sql", ["DROP TABLE ticks", " -- all\n delete from ticks", "/* x */CREATE TABLE t AS SELECT 1"]
)
def test_a_statement_that_would_change_the_lake_is_refused_by_its_name(sql: str, folder: Path) -> None:
    done = tickwarden_here("lake", "query", sql, folder=folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert "a lake is only read" in done.stderr and "SELECT * FROM ticks" in done.stderr
    assert shown(folder, "SELECT 'DROP TABLE' AS word", "--csv").splitlines() == ["word", "DROP TABLE"]


@pytest.mark.parametrize("before", ["", " -- all\n", "EXPLAIN ANALYZE "])
def test_a_query_cannot_write_a_file_by_itself(before: str, folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "copied.csv"
    sql = f"{before}COPY (SELECT symbol FROM ticks) TO '{target}' STORED AS CSV"
    done = tickwarden_here("lake", "query", sql, folder=folder)
    assert (done.returncode, done.stdout) == (1, "") and not target.exists()
    assert "COPY writes; --out FILE" in done.stderr
