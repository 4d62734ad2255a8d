"""The report counts what is in the file, calls nothing complete that nothing verifies, and loads nothing."""

import json
from collections.abc import Iterable
from functools import cache
from html.parser import HTMLParser
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.store.tables import TABLES
from actors.store.views import extra_view_sql
from ops.export import report_sql
from ops.export.query import QueryError
from ops.export.report import MARKETS_MAX, ROWS_MAX, report
from ops.export.report_html import VERDICTS, page
from ops.export.report_sql import BUCKETS_MAX, POINTS
from tests.harness.amounts import amount
from tests.harness.cli_process import tickwarden_here
from tests.harness.recording_samples import settings as store_settings
from tests.harness.recording_samples import store, write

T0_US = 1_780_272_000_000_000  # 2026-06-01T00:00:00Z
SECOND_US = 1_000_000
HOSTILE = "</td><script>alert('x')</script><img src=http://evil.example/a onerror=alert(1)>\"'&"


@cache
def _empty() -> bytes:
    """A file with the tables and views, and no row."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "ticks.duckdb"
        with duckdb.connect(path) as con:
            for table in TABLES:
                con.execute(f"CREATE TABLE {table.name} ({table.definition})")
            for statement in extra_view_sql():
                con.execute(statement)
            con.execute("CREATE TABLE schema_version AS SELECT 5 AS version")
        return path.read_bytes()


def _quoted(name: str) -> str:
    return f'"{name}"'


def _column(name: str) -> str:
    """A column out of a list of its values."""
    return f"unnest(?) AS {_quoted(name)}"


def _value(name: str) -> str:
    """A value of a column as it is stored."""
    return (
        f"make_timestamptz(({T0_US} + {SECOND_US} * {_quoted(name)})::BIGINT)" if name in TIMES else _quoted(name)
    )


class File:
    """A recording as an exported copy holds it: plain tables and the views on them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._put: list[tuple[str, dict[str, Any]]] = []
        path.write_bytes(_empty())

    @property
    def path(self) -> Path:
        """The file, with all that was put into it."""
        if self._put:
            with duckdb.connect(self._path) as con:
                for (table, *names), rows in groupby(self._put, key=lambda put: (put[0], *put[1])):
                    kept = [row for _, row in rows]
                    listed, columns = (", ".join(map(sql, names)) for sql in (_quoted, _column))
                    values = ", ".join(map(_value, names))
                    con.execute(
                        f"INSERT INTO {table} ({listed}) SELECT {values} FROM (SELECT {columns})",
                        [[row[name] for row in kept] for name in names],
                    )
            self._put.clear()
        return self._path

    def put(self, table: str, rows: Iterable[dict[str, Any]]) -> None:
        """Rows by column; times in seconds since the start of the recording."""
        self._put += ((table, row) for row in rows)

    def record(
        self,
        exchange: str,
        symbol: str,
        lasts: float,
        *,
        proof: str | None = None,
        since: float = 0,
        run: str = "r",
    ) -> None:
        """A market that was recorded for so many seconds, and what proves it."""
        market = {"exchange": exchange, "symbol": symbol, "run_id": run}
        self.put("feeds", [{"at": since, "event": "started", **market}])
        self.put("audit", [{"at": since + lasts, "exchange": exchange, "run_id": run, "frames": 0}])
        if proof:
            self.prove(exchange, symbol, since, since + lasts, proof)

    def prove(self, exchange: str, symbol: str, since: float, until: float, proof: str) -> None:
        """A part of a market's time, and what proves it."""
        row = {"at": until, "event": "proved", "time": since, "until": until, "proof": proof}
        self.put("feeds", [{**row, "exchange": exchange, "symbol": symbol, "run_id": "r"}])

    def trade(
        self,
        exchange: str,
        symbol: str,
        ids: Iterable[int],
        *,
        source: str = "stream",
        fills: int = 1,
        price: float = 1.0,
    ) -> None:
        """A trade a second, named after it, received a tenth of a second later."""
        self.put(
            "ticks",
            (
                {
                    "exchange": exchange, "symbol": symbol, "timestamp": number, "received_at": number + 0.1,
                    "price": price, "volume": 1, "side": "buy", "trade_id": str(number), "source": source,
                    "fills": fills,
                }
                for number in ids
            ),
        )  # fmt: skip


PROOFS = ("history", "two_feeds")
STATUSES = ("lost", "unknown", "open", "filled")
TIMES = {"at", "time", "until", "timestamp", "received_at", "opened_at", "closed_at", "from_time", "to_time"}


def gap(exchange: str, symbol: str, since: float, until: float | None, status: str, **more: Any) -> dict[str, Any]:
    return {
        "at": since, "gap_id": f"{exchange}{symbol}{since}", "exchange": exchange, "symbol": symbol,
        "reason": "disconnect", "opened_at": since, "from_time": since, "to_time": until, "recovered": 0,
        "status": status, **more,
    }  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path / "ticks.duckdb")


def only(file: File, **how: Any) -> dict[str, Any]:
    (market,) = report(file.path, **how)["markets"]
    assert isinstance(market, dict)
    return market


def test_where_ids_count_the_trades_the_loss_is_read_off_the_ids_in_the_file(file: File) -> None:
    file.record("x", "BTC/USD", 1000, proof="ids")
    file.trade("x", "BTC/USD", [n for n in range(1, 1001) if not 100 <= n < 110])
    file.trade("x", "BTC/USD", [104, 105, 106], source="backfill")
    file.put("gap_states", [gap("x", "BTC/USD", 99, 110, "partial", missing=10, recovered=3)])
    market = only(file)
    found = {key: market[key] for key in ("expected", "received", "repaired", "lost")}
    assert found == {"expected": 1000, "received": 990, "repaired": 3, "lost": 7}
    assert (market["loss_per_million"], market["verdict"]) == (7000.0, "lost")
    assert report(file.path)["totals"]["loss_per_million"] == 7000.0


def test_a_hole_that_no_gap_lists_is_found_all_the_same(file: File) -> None:
    file.record("x", "BTC/USD", 100, proof="ids")
    file.trade("x", "BTC/USD", [n for n in range(1, 101) if n != 50])
    assert (only(file)["lost"], only(file)["verdict"]) == (1, "lost")


@pytest.mark.parametrize(("lost", "verdict"), [([], "verified"), ([35], "lost")])
def test_a_kill_leaves_time_unknown_and_ids_show_whether_a_trade_is_missing(
    file: File, lost: list[int], verdict: str
) -> None:
    file.record("x", "BTC/USD", 30.5, proof="ids")
    file.record("x", "BTC/USD", 60, proof="ids", since=40.5, run="s")
    file.trade("x", "BTC/USD", [n for n in range(1, 101) if n not in lost])
    market = only(file)
    assert market["seconds"]["unknown"] > 0
    assert market["verdict"] == verdict


def test_a_row_that_stands_for_several_trades_counts_as_so_many(file: File) -> None:
    file.record("x", "BTC/USD", 40, proof="ids")
    file.trade("x", "BTC/USD", range(4, 41, 4), fills=4)
    market = only(file)
    assert (market["expected"], market["received"], market["lost"]) == (40, 40, 0)


@pytest.mark.parametrize("ids", [(9, 10, 11), (11, 10, 9)])
def test_the_last_price_of_a_sweep_is_that_of_its_last_trade_by_its_number(
    ids: tuple[int, ...], file: File
) -> None:
    for exchange in ("binance", "okx"):
        file.record(exchange, "BTC/USDT", 100)
    row = {"symbol": "BTC/USDT", "timestamp": 50, "received_at": 50.1, "volume": 1, "source": "stream"}
    file.put("ticks", ({**row, "exchange": "okx", "price": n, "trade_id": str(n)} for n in ids))
    file.put("ticks", [{**row, "exchange": "binance", "price": 33, "trade_id": "1"}])
    (prices,) = report(file.path)["prices"]
    assert [spread for _, spread in prices["spread_bps"]] == [10_000]


def test_trades_off_the_book_are_no_loss(file: File) -> None:
    file.record("x", "BTC/USD", 10, proof="ids")
    file.trade("x", "BTC/USD", [1, 2, 4, 5])
    file.put("rejects", [{"received_at": 3, "exchange": "x", "symbol": "BTC/USD", "reason": "off_book"}])
    assert only(file)["lost"] == 0


def test_what_nothing_proves_is_clean_and_never_verified_and_its_loss_is_not_zero(file: File) -> None:
    file.record("x", "BTC/USD", 100)
    file.trade("x", "BTC/USD", range(1, 100))
    market = only(file)
    assert (market["verdict"], market["loss_per_million"], market["expected"]) == ("clean", None, None)
    assert (market["unverifiable"], market["verified_share"]) == (99, 0.0)
    text = page(report(file.path))
    assert VERDICTS["clean"] in text and "cannot be verified" in text and "100 %" not in text


def test_the_history_can_verify_a_part_and_the_rest_stays_unverifiable(file: File) -> None:
    file.record("x", "BTC/USD", 100)
    file.prove("x", "BTC/USD", 0, 60, "history")
    file.trade("x", "BTC/USD", range(1, 100))
    market = only(file)
    assert (market["verdict"], market["unverifiable"]) == ("clean", 40)
    assert market["verified_share"] == pytest.approx(0.6)
    assert only(file, until_us=T0_US + 50 * SECOND_US)["verdict"] == "verified"


def test_what_may_be_missing_is_named_before_what_is_clean(file: File) -> None:
    file.record("x", "BTC/USD", 100, proof="two_feeds")
    file.trade("x", "BTC/USD", range(1, 100))
    assert only(file)["verdict"] == "verified"
    file.put("gap_states", [gap("x", "BTC/USD", 20, 30, "unknown")])
    market = only(file)
    assert (market["verdict"], market["loss_per_million"], market["uncounted_gaps"]) == ("unknown", None, 1)


def test_a_range_is_counted_alone(file: File) -> None:
    file.record("x", "BTC/USD", 100, proof="ids")
    file.trade("x", "BTC/USD", [n for n in range(1, 101) if n not in (20, 70)])
    found = only(file, since_us=T0_US + 50 * SECOND_US, until_us=T0_US + 80 * SECOND_US)
    assert (found["expected"], found["received"], found["lost"]) == (30, 29, 1)
    with pytest.raises(QueryError, match="nothing was recorded"):
        report(file.path, since_us=T0_US, until_us=T0_US - 1)


def test_a_range_beyond_the_recording_is_that_of_the_recording(file: File) -> None:
    file.record("x", "BTC/USD", 100)
    file.prove("x", "BTC/USD", 0, 60, "history")
    file.trade("x", "BTC/USD", range(1, 100))
    whole, decade_us = report(file.path), 10 * 365 * 86_400 * SECOND_US
    assert report(file.path, since_us=T0_US - decade_us) == whole
    assert report(file.path, until_us=T0_US + decade_us) == whole
    for outside in ({"until_us": T0_US}, {"since_us": T0_US + decade_us}):
        with pytest.raises(QueryError, match="nothing was recorded"):
            report(file.path, **outside)


@settings(max_examples=amount(5, 150), deadline=None)
@given(
    st.sets(st.integers(2, 99), max_size=6),
    st.lists(st.tuples(st.integers(0, 99), st.integers(0, 60), st.sampled_from(PROOFS)), max_size=3),
    st.lists(st.tuples(st.integers(0, 99), st.integers(1, 40), st.sampled_from(STATUSES)), max_size=3),
    st.booleans(),
)
def test_verified_means_that_every_trade_is_there_or_lies_in_a_verified_part(
    tmp_path_factory: pytest.TempPathFactory,
    lost: set[int],
    proofs: list[tuple[int, int, str]],
    gaps: list[tuple[int, int, str]],
    counted: bool,
) -> None:
    file = File(tmp_path_factory.getbasetemp() / "verified.duckdb")
    file.record("x", "BTC/USD", 100, proof="ids" if counted else None)
    file.trade("x", "BTC/USD", [n for n in range(1, 101) if n not in lost])
    for since, lasts, proof in proofs:
        file.prove("x", "BTC/USD", since, since + lasts, proof)
    rows = (gap("x", "BTC/USD", since, since + lasts, status) for since, lasts, status in gaps)
    file.put("gap_states", ({**row, "gap_id": str(number)} for number, row in enumerate(rows)))
    market = only(file)
    bad = [one for one in gaps if one[2] != "filled"]
    parts = [(since, lasts) for since, lasts, word in (*proofs, *gaps) if word in (*PROOFS, "filled")]
    proved = {at for since, lasts in parts for at in range(since, since + lasts)}
    if counted:
        assert (market["lost"], market["received"]) == (len(lost), 100 - len(lost))
        assert (market["verdict"] == "verified") == (not lost and not bad)
    else:
        assert market["expected"] is None
        assert market["unverifiable"] >= len(set(range(1, 100)) - lost - proved)
        if market["verdict"] == "verified":
            assert not bad and set(range(1, 100)) - lost <= proved


_HTML = "html head meta title style body h1 h2 h3 p time dl div dt dd table thead tbody tr th td ul li figure"
ALLOWED = {*_HTML.split(), "figcaption", "span", "svg", "rect", "polyline"}


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_nothing_that_an_exchange_sent_becomes_markup_and_nothing_is_loaded(tmp_path: Path) -> None:
    hostile = [HOSTILE, HOSTILE.upper(), "]]><svg onload=alert(2)>", "'); drop table ticks; --", "\x00\u202e<!--"]
    file = File(tmp_path / "a'<b>&.duckdb")
    for name in ("one" + HOSTILE, "two" + HOSTILE):
        for symbol in hostile:
            file.record(name, symbol, 60, proof="history")
            file.trade(name, symbol, range(1, 50), price=3.5)
            file.put("gap_states", [gap(name, symbol, 10, 20, HOSTILE, reason=HOSTILE, missing=3)])
    file.put("events", [{"at": 5, "actor": HOSTILE, "event": "backoff", "reason": HOSTILE}])
    file.put("audit", [{"at": 30, "exchange": HOSTILE, "run_id": HOSTILE, "frames": 0}])
    text = page(report(file.path))
    parser = _Tags()
    parser.feed(text)
    assert {tag for tag, _ in parser.tags} <= ALLOWED
    for tag, attributes in parser.tags:
        assert not {"src", "href", "srcset", "action", "data"} & attributes.keys(), (tag, attributes)
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
    assert "url(" not in text and "@import" not in text
    (policy,) = [a["content"] for tag, a in parser.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None and policy.startswith("default-src 'none'") and "script-src" not in policy
    assert HOSTILE in parser.text  # shown, as text


def test_the_output_is_bounded_however_many_markets_and_days_there_are(file: File) -> None:
    with duckdb.connect(file.path) as con:
        con.execute(
            "INSERT INTO ticks BY NAME SELECT 'x' AS exchange, 'S' || m AS symbol, 'stream' AS source,"
            " TIMESTAMPTZ '2025-01-01' + INTERVAL (d) DAY AS timestamp, timestamp AS received_at, 1 AS price,"
            " 1 AS fills, d::VARCHAR AS trade_id FROM range(500) t(m), range(400) u(d)"
        )
        con.execute(
            "INSERT INTO gap_states BY NAME SELECT g::VARCHAR AS gap_id, now() AS \"at\", 'x' AS exchange,"
            " 'S' || g % 500 AS symbol, 'sequence' AS reason, 'lost' AS status, 1 AS missing, 0 AS recovered,"
            " TIMESTAMPTZ '2025-02-01' AS from_time, TIMESTAMPTZ '2025-02-02' AS to_time FROM range(5000) t(g)"
        )
    found = report(file.path)
    assert len(found["markets"]) == MARKETS_MAX and found["markets_left_out"] == 500 - MARKETS_MAX
    assert found["totals"]["received"] == 500 * 400 and found["totals"]["lost"] == 5000
    assert len(found["open_and_lost"]) == ROWS_MAX
    assert all(len(points) <= POINTS + 1 for points in found["ticks_per_minute"].values())
    assert found["step_s"] * 1e6 >= 400 * 86_400 * SECOND_US // BUCKETS_MAX
    assert len(page(found)) < 400_000


def test_the_command_reports_on_a_file_with_a_tail_and_says_the_same_in_both_forms(tmp_path: Path) -> None:
    configured = store_settings(tmp_path)
    with store(configured) as made:
        write(made, 2)
        made.merge()
        write(made, 2)  # these are in the tail alone
        first = tickwarden_here("report", "--file", str(configured.path), "--out", "a.html", folder=tmp_path)
        assert (first.returncode, first.stderr) == (0, "")
        again = tickwarden_here("report", "--file", str(configured.path), "--out", "a.html", folder=tmp_path)
        assert again.returncode == 1 and "--overwrite" in again.stderr
        words = ("report", "--file", str(configured.path), "--json", "--out", "a.html", "--overwrite")
        both = tickwarden_here(*words, folder=tmp_path)
    found = json.loads(both.stdout)
    assert found["totals"]["received"] == 24
    assert (tmp_path / "a.html").read_text("utf-8") == page(found)
    assert not [path for path in tmp_path.iterdir() if "partial" in path.name]


def test_a_report_is_of_one_moment_whatever_is_written_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured = store_settings(tmp_path)
    with store(configured) as made:
        write(made, 2)
        before = report(configured.path)
        lags = report_sql.lags

        def meanwhile(since_us: int, until_us: int) -> str:
            write(made)
            return lags(since_us, until_us)

        monkeypatch.setattr(report_sql, "lags", meanwhile)
        assert report(configured.path) == before
        assert report(configured.path)["totals"]["received"] == 18


@pytest.mark.parametrize("column", ["fills", "proof"])
def test_a_file_of_an_older_version_is_reported_without_the_columns_that_it_lacks(file: File, column: str) -> None:
    file.record("x", "BTC/USD", 100)
    file.trade("x", "BTC/USD", range(1, 100))
    before = report(file.path)
    table = "ticks" if column == "fills" else "feeds"
    with duckdb.connect(file.path) as con:
        for view in ("coverage", "gaps"):
            con.execute(f"DROP VIEW {view}")
        con.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    assert report(file.path) == before


def test_the_command_explains_what_it_cannot_do(tmp_path: Path) -> None:
    missing = tickwarden_here("report", "--file", "none.duckdb", folder=tmp_path)
    assert missing.returncode == 1 and "no such file" in missing.stderr and not (tmp_path / "report.html").exists()
    with duckdb.connect(tmp_path / "other.duckdb") as con:
        con.execute("CREATE TABLE t AS SELECT 1 AS a")
    other = tickwarden_here("report", "--file", "other.duckdb", folder=tmp_path)
    assert other.returncode == 1 and "Traceback" not in other.stderr
