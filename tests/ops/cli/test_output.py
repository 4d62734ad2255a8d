"""What the commands print: into pipes that close, in other encodings, on terminals of any width."""

import io
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import click
import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from actors.exchanges.registry import EXCHANGES
from ops.cli.commands import COMMANDS, cli
from ops.cli.common import Number
from ops.cli.exchanges import COLUMNS
from ops.cli.live import event_line
from tests.harness.amounts import variants
from tests.harness.cli_process import (
    COMMAND,
    PATIENCE_S,
    environment,
    running,
    sandbox,
    status,
    tickwarden,
    tickwarden_here,
    wait_for,
)
from tests.harness.exchange_values import FIVE
from tests.harness.terminal import drawn_here, on_terminal, terminal


def every_option() -> Iterator[tuple[str, click.Option]]:
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        yield from ((name, option) for option in command.params if isinstance(option, click.Option))


def test_every_number_that_an_option_takes_is_finite() -> None:
    floats = [
        (name, option) for name, option in every_option() if isinstance(option.type, click.types.FloatParamType)
    ]
    assert {option.name for _, option in floats} >= {
        "for_s",
        "interval_s",
        "seconds",
        "timeout_s",
        "wait_s",
        "rate",
    }
    for name, option in floats:
        assert isinstance(option.type, Number), f"{name} {option.opts}"
        assert option.type.max is not None
        for text in ("nan", "-nan", "inf", "-inf", "1e999", "1e300", "NaN", "infinity"):
            with pytest.raises(click.BadParameter):
                option.type.convert(text, option, None)


@pytest.mark.parametrize(
    "words",
    [
        ("run", "--for", "nan"),
        ("top", "--interval", "inf"),
        ("demo", "--seconds", "1e999"),
        ("query", "SELECT 1", "--timeout", "nan"),
        ("sandbox", "--rate", "nan"),
        ("sandbox", "--fault", "stall=nan"),
        ("doctor", "--wait", "inf"),
        ("export", "x/", "--timeout", "-1"),
        ("events", "--since", "nan"),
        ("exchanges", "gdax"),
    ],
)
def test_a_number_that_is_none_is_wrong_use(words: tuple[str, ...], tmp_path: Path) -> None:
    result = tickwarden_here(*words, folder=tmp_path)
    assert result.returncode == 64 and "Traceback" not in result.stderr
    assert "nearest" not in result.stderr and not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", variants("--json", "", "--csv"))
def test_a_reader_that_has_had_enough_is_no_failure(form: str, tmp_path: Path) -> None:
    duckdb.connect(str(tmp_path / "a.duckdb")).close()
    words = ["query", "FROM range(20000)", "--file", "a.duckdb", *([form] if form else [])]
    with running(*words, folder=tmp_path) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(PATIENCE_S) == 0
        assert not process.stderr.read()


def test_a_reader_that_reads_nothing_and_a_closed_stdout_are_no_failure(tmp_path: Path) -> None:
    for redirection in ("| true", ">&-"):
        line = f"{{ {' '.join(map(repr, COMMAND))} exchanges --json; echo $? >&2; }} {redirection}"
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=tmp_path,
            env=environment(tmp_path),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr.split() == ["0"], redirection


def test_output_that_cannot_be_written_is_a_failure_with_words(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, "exchanges"],
            cwd=tmp_path,
            env=environment(tmp_path),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1 and "No space left" in done.stderr
    assert "Traceback" not in done.stderr and "[Errno" not in done.stderr


@pytest.mark.parametrize("encoding", variants("ascii", "latin-1", "koi8-r"))
def test_what_cannot_be_encoded_is_replaced_in_text_and_escaped_in_json(encoding: str, tmp_path: Path) -> None:
    duckdb.connect(str(tmp_path / "a.duckdb")).close()
    shown = {}
    for form in ("--csv", "--json", "--timeout=1"):
        out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        words = ["query", "SELECT '币/USDT' AS name", "--file", "a.duckdb", form]
        assert tickwarden_here(*words, folder=tmp_path, out=out).returncode == 0
        shown[form] = out.buffer.getvalue().decode(encoding)
    assert "?/USDT" in shown["--timeout=1"] and "?/USDT" in shown["--csv"]
    assert json.loads(shown["--json"]) == [{"name": "币/USDT"}]


def test_an_error_message_is_printed_on_every_terminal(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('[exchanges.binance]\nsymbols = ["币安人生USDT", "🚀"]\n')
    result = tickwarden("check-config", "c.toml", folder=tmp_path, PYTHONIOENCODING="ascii")
    assert result.returncode == 78 and "Traceback" not in result.stderr and "symbols[1]" in result.stderr


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """A service that records all loopback exchanges."""
    folder = tmp_path_factory.mktemp("service")
    with sandbox(folder, rate=20.0) as config:
        (folder / "tickwarden.toml").write_text(config)
        with running("run", folder=folder) as process:
            wait_for(
                "recording",
                lambda: (said := status(folder)) and all(row["stored"] > 0 for row in said["exchanges"].values()),
            )
            tickwarden_here("merge", folder=folder)
            yield folder, process


Service = tuple[Path, subprocess.Popen[str]]


@pytest.mark.parametrize("width", variants(80, 200, 60, kept=2))
def test_every_table_fits_its_terminal(service: Service, width: int) -> None:
    for words in (["status"], ["actors"], ["gaps"], ["coverage"], ["top", "--once"], ["events"], ["exchanges"]):
        code, text = drawn_here(*words, folder=service[0], width=width)
        lines = text.splitlines()
        assert code == 0 and lines, words
        # The path of the file is a word that stays whole.
        assert all(cell_len(line) <= width or str(service[0]) in line for line in lines), (words, lines)
    code, text = drawn_here("query", "FROM ticks LIMIT 3", folder=service[0], width=width)
    assert code == 0 and max(map(cell_len, text.splitlines())) <= width
    # How wide the columns are depends on the rows, so the hint itself may be broken into lines.
    assert ("--json prints all" in " ".join(text.split())) == (width < 200)


@pytest.mark.parametrize(
    ("width", "left_out"),
    [(80, ("requests/s", "per connection", "as of", "old trades on subscribe", "time")), (200, ()), (None, ())],
)
def test_the_table_of_exchanges_has_a_line_for_each_with_what_one_chooses_by(
    width: int | None, left_out: tuple[str, ...], tmp_path: Path
) -> None:
    if width is None:
        text = tickwarden_here("exchanges", folder=tmp_path).stdout
    else:
        code, text = drawn_here("exchanges", folder=tmp_path, width=width)
        assert code == 0
    head, _, *lines = text.splitlines()
    assert all((column in head) == (column not in left_out) for column in COLUMNS)
    for name, exchange in EXCHANGES.items():
        (line,) = [line for line in lines if line.split()[:1] == [name]]
        assert " ".join(exchange.feed.ids) in line
        assert {"documentation": " docs "}.get(exchange.proven, exchange.proven) in line
        assert (f" {exchange.feed.resolution} " in line and exchange.feed.doc_read in line) == (not left_out)
    assert bool(left_out) == ("not shown at this width" in text)


def test_json_has_every_fact_of_every_exchange(tmp_path: Path) -> None:
    facts = {row["name"]: row for row in json.loads(tickwarden_here("exchanges", "--json", folder=tmp_path).stdout)}
    assert list(facts) == list(EXCHANGES)
    for name, exchange in EXCHANGES.items():
        feed, row = exchange.feed, facts[name]
        assert row["trade_ids"] == {kind: promise.value for kind, promise in feed.ids.items()}
        assert (row["time_resolution"], row["old_trades_on_subscribe"]) == (feed.resolution, feed.replay_note)
        assert (row["proven_by"], row["doc"], row["doc_read"]) == (exchange.proven, feed.doc, feed.doc_read)
        limits = (row["symbols_per_connection"], row["symbols_per_request"], row["requests_per_s"])
        wanted = (feed.limits.symbols_per_connection, feed.limits.symbols_per_request, feed.limits.requests_per_s)
        assert limits == wanted and row["notes"] == list(feed.notes)


@given(
    actor=st.sampled_from(["writer", "coinbaseexchange:backfill", "a" * 54 + ":backfill"]),
    reason=st.one_of(st.none(), st.text("ab 币", max_size=200)),
    retry_in_s=st.one_of(st.none(), st.floats(0, 600)),
    width=st.integers(50, 120),
)
def test_an_event_fits_its_line(actor: str, reason: str | None, retry_in_s: float | None, width: int) -> None:
    event = {"at": "2026-01-01T00:00:00Z", "actor": actor, "event": "backoff", "reason": reason}
    line = event_line(width)({**event, "retry_in_s": retry_in_s})
    assert cell_len(line) <= width and "backoff" in line and actor[:10] in line


def test_live_ticks_fit_a_terminal_and_keep_their_digits(service: Service) -> None:
    for width in (60, 80):
        with terminal("tail", "--exchange", "coinbaseexchange", folder=service[0], width=width) as screen:
            wait_for("ticks", lambda: screen.read(0.2) and screen.text.count("\n") > 3)
            lines = screen.text.splitlines()[:3]
        assert all(len(line) <= width for line in lines)
        assert all(float(line.split()[-2]) > 0 and float(line.split()[-1]) > 0 for line in lines)


def test_events_are_one_document_or_one_object_a_line_and_begin_at_the_requested_time(service: Service) -> None:
    folder, _ = service
    every = json.loads(tickwarden_here("events", "--json", folder=folder).stdout)
    assert len(every) > 10 and {"at", "actor", "event"} <= every[0].keys()
    since = every[5]["at"]
    late = json.loads(tickwarden_here("events", "--json", "--since", since, folder=folder).stdout)
    assert [event["number"] for event in late] == [e["number"] for e in every if e["at"] >= since]
    assert json.loads(tickwarden_here("events", "--json", "--since", "1d", folder=folder).stdout) == every
    none = tickwarden_here("events", "--json", "--since", "0s", folder=folder)
    assert (json.loads(none.stdout), none.stderr) == ([], "")
    none = tickwarden_here("events", "--since", "0s", folder=folder)
    assert none.stdout == "" and "nothing happened since then; without --since all is shown" in none.stderr
    with running("events", "--json", "--follow", folder=folder) as process:
        assert process.stdout is not None
        assert [json.loads(process.stdout.readline()) for _ in every] == every
        process.stdout.close()
        assert tickwarden_here("restart", "kraken:1", folder=folder).returncode == 0
        assert process.wait(PATIENCE_S) == 0  # its reader has gone


def test_a_service_that_stands_still_is_reported_within_seconds_by_every_command(service: Service) -> None:
    folder, process = service
    with ExitStack() as stack:
        follow = (["tail"], ["events", "--follow"])
        following = [stack.enter_context(running(*words, folder=folder)) for words in follow]
        for follower in following:
            assert follower.stdout is not None
            assert follower.stdout.readline()
        try:
            os.kill(process.pid, signal.SIGSTOP)
            began = time.monotonic()
            said = [tickwarden_here("status", folder=folder)]
            took_s = time.monotonic() - began
            for one in following:
                complaint = one.communicate(timeout=PATIENCE_S)[1]
                said.append(subprocess.CompletedProcess(one.args, one.returncode or 0, "", complaint))
            said.append(tickwarden_here("flush", folder=folder))
        finally:
            os.kill(process.pid, signal.SIGCONT)
    assert took_s < 5
    for one_said in said:
        assert one_said.returncode == 69, one_said
        assert "does not answer" in one_said.stderr and "Traceback" not in one_said.stderr


def test_run_on_a_terminal_prints_a_few_lines_and_a_summary(tmp_path: Path) -> None:
    with sandbox(tmp_path, rate=50.0) as config:
        dead = '[exchanges.dead]\ndialect = "kraken"\nsymbols = ["BTC/USD"]\nws_url = "ws://127.0.0.1:9"\n'
        (tmp_path / "tickwarden.toml").write_text(config + dead)
        with terminal("run", folder=tmp_path, NO_COLOR="1") as screen:
            screen.until("kraken: connected, 3 markets")
            screen.until("Connection refused")
            screen.press("\x03")
            assert screen.end() == 0
            lines = screen.text.splitlines()
    assert re.match(rf"recording \d\d markets of {len(FIVE) + 1} exchanges", lines[0])
    assert "ticks.duckdb" in lines[1] + lines[2] and "Ctrl-C" in screen.text
    assert len(lines) < 30 and "[Errno" not in screen.text and "\x1b[3" not in screen.raw
    assert any(line.split()[:2] == ["exchange", "stored"] for line in lines)
    rows = {line.split()[0]: line.split()[1:] for line in lines if len(line.split()) == 5}
    stored = {name: row[0] for name, row in rows.items() if name in ("kraken", "okx", "dead")}
    with duckdb.connect(str(tmp_path / "ticks.duckdb"), read_only=True) as con:
        assert stored == dict(
            con.execute(
                "SELECT e, count(exchange)::VARCHAR FROM (VALUES ('kraken'), ('okx'), ('dead')) AS v(e)"
                " LEFT JOIN ticks ON exchange = e GROUP BY e"
            ).fetchall()
        )


def test_the_summary_of_run_names_only_options_that_run_has(tmp_path: Path) -> None:
    dead = (
        '[exchanges.kraken]\nsymbols = ["BTC/USD"]\nws_url = "ws://127.0.0.1:9"\nrest_url = "http://127.0.0.1:9"\n'
    )
    (tmp_path / "tickwarden.toml").write_text(dead)
    code, text = on_terminal("run", "--for", "1", folder=tmp_path, width=40)
    said = " ".join(text.split())
    assert code == 0 and "duplicates; a wider terminal shows them" in said and "--json" not in said


@pytest.mark.parametrize("words", [("--quiet",), pytest.param((), marks=pytest.mark.slow)])
def test_quiet_and_a_log_format_take_the_screen_away(words: tuple[str, ...], tmp_path: Path) -> None:
    log = "" if words else '[log]\nformat = "json"\n'
    dead = (
        '[exchanges.kraken]\nsymbols = ["BTC/USD"]\nws_url = "ws://127.0.0.1:9"\nrest_url = "http://127.0.0.1:9"\n'
    )
    (tmp_path / "tickwarden.toml").write_text(log + dead)
    code, text = on_terminal("run", "--for", "1", *words, folder=tmp_path)
    assert code == 0 and "recording 1 market" not in text
    if words:
        assert all("warning" in line for line in text.splitlines())
    else:
        assert all(json.loads(line)["event"] for line in text.splitlines())
