"""`tickwarden lake verify` finds every kind of damage, and names the rows that it concerns."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import deltalake
import pytest

from actors.sink.lake.delta import DeltaLake
from actors.sink.lake.errors import LakeUnavailable
from tests.harness.amounts import variants
from tests.harness.cli_process import tickwarden_here
from tests.harness.lake_values import DAY, MadeUpSource, batch, ship, to_batches, trades


@pytest.fixture
def lake(small: tuple[Path, object], tmp_path: Path) -> Path:
    """A copy of the small lake, to be damaged."""
    return Path(shutil.copytree(small[0], tmp_path / "lake"))


def verified(lake: Path, *words: str) -> tuple[int, list[str]]:
    """The exit code, and what is printed."""
    done = tickwarden_here("lake", "verify", "--uri", str(lake), *words, folder=lake.parent)
    assert done.returncode in (0, 1) and not done.stderr, done.stderr
    return done.returncode, done.stdout.splitlines()


def file_of(lake: Path, table: str, part: str) -> Path:
    uris = deltalake.DeltaTable(str(lake / table)).file_uris()
    return Path(min(uri for uri in uris if part in uri).removeprefix("file://"))


def deleted(lake: Path) -> None:
    file_of(lake, "ticks", "exchange=kraken").unlink()


def removed(lake: Path) -> None:
    """A file that the log has no more: its rows are gone, and nothing else shows it."""
    table = deltalake.DeltaTable(str(lake / "ticks"))
    table.delete("exchange = 'kraken' AND batch = 2")


def added_twice(lake: Path) -> None:
    table = deltalake.DeltaTable(str(lake / "ticks"))
    rows = table.scan(predicate="exchange = 'binance' AND recorder = 'tokyo' AND batch = 3").read_all()
    deltalake.write_deltalake(table, rows, mode="append")


def changed(lake: Path) -> None:
    table = deltalake.DeltaTable(str(lake / "ticks"))
    table.update({"price": "price + 0.000000000000000001"}, predicate="trade_id = '7' AND recorder = 'london'")


def event_lost(lake: Path) -> None:
    deltalake.DeltaTable(str(lake / "events")).delete("recorder = 'tokyo'")


def foreign(lake: Path) -> None:
    table = deltalake.DeltaTable(str(lake / "ticks"))
    table.update({"store": "'another'"}, predicate="trade_id = '5' AND recorder = 'virginia'")


DAMAGES: list[tuple[Callable[[Path], None], list[str]]] = [
    (deleted, [f"ticks kraken {DAY}: cannot be read: "]),
    (removed, [f"ticks kraken {DAY} virginia/store-of-virginia: 7 rows are missing: got 13, expected 20"]),
    (added_twice, [f"ticks binance {DAY} tokyo/store-of-tokyo: 26 rows too many: got 116, expected 90"]),
    (
        changed,
        [f"ticks binance {DAY} london/store-of-london: as many rows as expected (90), but with other values"],
    ),
    (event_lost, [f"events {DAY} tokyo/store-of-tokyo: 1 rows are missing: got 0, expected 1"]),
    (
        foreign,
        [
            f"ticks kraken {DAY} virginia/another: 1 rows too many: got 1, expected 0",
            f"ticks kraken {DAY} virginia/store-of-virginia: 1 rows are missing: got 19, expected 20",
        ],
    ),
]


def test_a_lake_as_it_was_sent_has_no_difference(small: tuple[Path, object]) -> None:
    code, lines = verified(small[0])
    assert (code, lines) == (0, ["223 rows in 13 parts were compared with what was sent: no difference"])
    assert verified(small[0], "--exchange", "kraken", "--day", str(DAY), "--json")[1][:3] == [
        "{",
        '  "parts": 5,',
        '  "rows": 25,',
    ]


@pytest.mark.parametrize(("damage", "expected"), variants(*DAMAGES, kept=4))
def test_damage_is_found_and_named(damage: Callable[[Path], None], expected: list[str], lake: Path) -> None:
    damage(lake)
    code, lines = verified(lake)
    assert code == 1
    assert len(lines) == len(expected) + 1
    assert all(line.startswith(start) for line, start in zip(lines, expected, strict=False)), lines


def test_json_lists_the_differences_too(lake: Path) -> None:
    removed(lake)
    code, lines = verified(lake, "--exchange", "kraken", "--json")
    assert code == 1
    assert json.loads("\n".join(lines))["differences"] == [
        {
            "table": "ticks",
            "exchange": "kraken",
            "day": str(DAY),
            "recorder": "virginia",
            "store": "store-of-virginia",
            "compacted": False,
            "problem": "missing",
            "got": 13,
            "expected": 20,
        }
    ]


def test_a_commit_that_has_not_ended_and_one_that_was_repeated_are_no_difference(tmp_path: Path) -> None:
    folder = tmp_path / "lake"
    ship(str(folder), "tokyo", "one", [batch(1, trades("kraken", "BTC/USD", [1]))])

    def cut(point: str) -> None:
        if point == "lake.table":
            raise LakeUnavailable(point)

    source = MadeUpSource(5, "two", 4)
    all_of_it = source.batches(0, 10**6)
    assert all_of_it is not None
    with pytest.raises(LakeUnavailable):
        DeltaLake(str(folder), "tokyo", {}, crash_point=cut).commit(all_of_it)
    assert verified(folder)[0] == 0
    lake = DeltaLake(str(folder), "tokyo", {})
    lake.commit(all_of_it)
    lake.commit(all_of_it)
    lake.commit(to_batches("one", 1, 2, [batch(2, trades("kraken", "BTC/USD", [2]))]))
    rows = 2 + sum(source.expected().values())
    code, lines = verified(folder)
    assert code == 0 and lines[-1].startswith(f"{rows} rows in "), lines


@pytest.mark.parametrize(
    "words", [("verify",), ("verify", "--exchange", "kraken"), ("status",), ("compact",), ("query", "SELECT 1")]
)
def test_a_lake_without_its_ticks_is_damaged_for_every_command(words: tuple[str, ...], lake: Path) -> None:
    shutil.rmtree(lake / "ticks")
    done = tickwarden_here("lake", *words, "--uri", str(lake), folder=lake.parent)
    assert (done.returncode, done.stdout) == (1, "")
    assert "the table ticks is missing, while shipments lists 204 ticks: restore" in done.stderr
    assert done.stderr.count("\n") == 1


def test_ticks_that_a_compaction_has_read_were_there(tmp_path: Path) -> None:
    """Of one commit, which has no earlier one that shows it."""
    folder = tmp_path / "lake"
    ship(str(folder), "tokyo", "one", [batch(1, trades("kraken", "BTC/USD", [1]))])
    assert tickwarden_here("lake", "compact", "--uri", str(folder), folder=tmp_path).returncode == 0
    shutil.rmtree(folder / "ticks")
    done = tickwarden_here("lake", "verify", "--uri", str(folder), folder=tmp_path)
    assert done.returncode == 1 and "shipments lists 1 ticks" in done.stderr


@pytest.mark.parametrize("point", ["lake.intent", "lake.ticks"])
def test_a_lake_whose_first_commit_has_not_ended_is_not_damaged_but_nothing_was_compared(
    point: str, tmp_path: Path
) -> None:
    def cut(reached: str) -> None:
        if reached == point:
            raise LakeUnavailable(point)

    all_of_it = MadeUpSource(5, "two", 4).batches(0, 10**6)
    assert all_of_it is not None
    for recorder in ("tokyo", "london"):
        with pytest.raises(LakeUnavailable):
            DeltaLake(str(tmp_path / "lake"), recorder, {}, crash_point=cut).commit(all_of_it)
    done = tickwarden_here("lake", "verify", "--uri", "lake", folder=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "nothing was compared: no commit to this lake has ended yet\n"
    assert tickwarden_here("lake", "status", "--uri", "lake", folder=tmp_path).returncode == 0


def test_where_nothing_was_sent_nothing_was_compared(small: tuple[Path, object]) -> None:
    words = ("lake", "verify", "--uri", str(small[0]), "--exchange", "kraken", "--day", "2020-01-01")
    done = tickwarden_here(*words, folder=small[0].parent)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "nothing was compared: no commit that has ended sent rows of kraken of 2020-01-01\n"
    done = tickwarden_here(*words, "--json", folder=small[0].parent)
    assert done.returncode == 1 and json.loads(done.stdout) == {"parts": 0, "rows": 0, "differences": []}


def test_compacted_days_are_compared_with_their_compaction_and_later_rows_with_what_was_sent(lake: Path) -> None:
    done = tickwarden_here("lake", "compact", "--uri", str(lake), folder=lake.parent)
    assert done.returncode == 0, done.stderr
    code, lines = verified(lake)
    assert code == 0 and lines[-1].startswith("143 rows in "), lines  # less the 80 copies of binance
    late = trades("binance", "BTC/USDT", [45, 101])
    ship(str(lake), "tokyo", "store-of-tokyo", [batch(4, late)])
    assert verified(lake)[1][-1].startswith("145 rows in ")
    assert verified(lake)[0] == 0
    table = deltalake.DeltaTable(str(lake / "ticks"))
    table.delete("exchange = 'binance' AND trade_id IN ('7', '101')")
    assert verified(lake, "--exchange", "binance")[1][:-1] == [
        f"ticks binance {DAY} compacted: 1 rows are missing: got 99, expected 100",
        f"ticks binance {DAY} tokyo/store-of-tokyo: 1 rows are missing: got 1, expected 2",
    ]
