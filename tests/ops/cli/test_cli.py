"""The command line, as a new user meets it."""

import json
import re
import shlex
import shutil
import signal
import subprocess
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from ops.cli.commands import COMMANDS, cli
from tests.harness.cli_process import PATIENCE_S, running, sandbox, status, tickwarden, tickwarden_here, wait_for
from tests.harness.exchange_values import FIVE
from tests.harness.store_reader import looking


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_every_command_explains_itself(name: str, tmp_path: Path) -> None:
    from click.testing import CliRunner

    result = CliRunner().invoke(cli, [*([name] if name else []), "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.output
    assert len(result.output.splitlines()) >= 4 and "..." not in result.output.partition("Commands:")[2]


def test_a_wrong_command_is_wrong_use_and_names_the_nearest(tmp_path: Path) -> None:
    result = tickwarden_here("stats", folder=tmp_path)
    assert result.returncode == 64
    assert "status" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_wrong_option_is_wrong_use(tmp_path: Path) -> None:
    assert tickwarden_here("run", "--fro", "3", folder=tmp_path).returncode == 64
    assert tickwarden_here("sandbox", "--fault", "stal", folder=tmp_path).returncode == 64


def test_without_a_service_health_commands_report_it_with_exit_69(tmp_path: Path) -> None:
    for command in (["status"], ["actors"], ["top", "--once"], ["flush"], ["restart", "writer"], ["events"]):
        result = tickwarden_here(*command, folder=tmp_path)
        assert result.returncode == 69, command
        assert "no service is running" in result.stderr
        assert "tickwarden run" in result.stderr


def test_check_config_reports_every_mistake_and_exits_78(tmp_path: Path) -> None:
    (tmp_path / "tickwarden.toml").write_text(
        '[store]\nflush_intervall_s = 1\n[exchanges.binanse]\nsymbols = ["BTC/USDT"]\n'
        '[exchanges.okx]\nsymbols = ["btcusdt"]\n'
    )
    for command in (["check-config"], ["run", "--for", "1"]):
        result = tickwarden_here(*command, folder=tmp_path)
        assert result.returncode == 78
        for expected in ("flush_intervall_s", "flush_interval_s", "binanse", "binance", "btcusdt"):
            assert expected in result.stderr
        assert "Traceback" not in result.stderr


def test_check_config_is_content_with_the_built_in_default(tmp_path: Path) -> None:
    result = tickwarden_here("check-config", folder=tmp_path)
    assert result.returncode == 0
    assert "5 exchanges" in result.stdout


def test_check_config_is_told_of_a_file_as_the_other_commands_are(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text("[store]\npaht = 1\n")
    for words in (["other.toml"], ["--config", "other.toml"]):
        result = tickwarden_here("check-config", *words, folder=tmp_path)
        assert result.returncode == 78 and "paht" in result.stderr
    both = tickwarden_here("check-config", "other.toml", "--config", "other.toml", folder=tmp_path)
    assert both.returncode == 64 and "by PATH or by --config, not both" in both.stderr


def test_a_file_that_is_not_toml_is_called_that(tmp_path: Path) -> None:
    (tmp_path / "tickwarden.toml").write_text("[store\n")
    said = tickwarden_here("check-config", folder=tmp_path).stderr
    assert "tickwarden.toml: not valid TOML (see https://toml.io): Expected ']'" in said and "[store" in said


def test_an_unknown_command_is_one_sentence_with_those_that_are_known(tmp_path: Path) -> None:
    near = tickwarden_here("stat", folder=tmp_path).stderr
    assert "No such command 'stat'; the nearest known one is 'status'" in " ".join(near.split())
    none = " ".join(tickwarden_here("frobnicate", folder=tmp_path).stderr.split())
    assert "No such command 'frobnicate'; one that is known: " in none
    assert set(none.partition("known: ")[2].split(", ")) == set(COMMANDS)


def test_a_mistake_of_the_built_in_default_belongs_to_no_file(tmp_path: Path) -> None:
    (tmp_path / "ticks.duckdb").mkdir()
    result = tickwarden_here("check-config", "--json", folder=tmp_path)
    answer = json.loads(result.stdout)
    assert (result.returncode, answer["path"]) == (78, None)
    assert "ticks.duckdb" in str(answer["mistakes"])


def test_exchanges_lists_all_and_describes_one(tmp_path: Path) -> None:
    everything = json.loads(tickwarden_here("exchanges", "--json", folder=tmp_path).stdout)
    assert {row["name"] for row in everything} >= {"binance", "coinbaseexchange", "kraken", "okx", "bybit"}
    assert all(row["doc"].startswith("https://") and row["history"] for row in everything)
    one = tickwarden_here("exchanges", "kraken", folder=tmp_path)
    assert "contiguous" in one.stdout
    unknown = tickwarden_here("exchanges", "krake", folder=tmp_path)
    assert unknown.returncode == 64
    assert "kraken" in unknown.stderr


def test_query_reports_what_is_wrong_without_a_traceback(tmp_path: Path) -> None:
    missing = tickwarden_here("query", "SELECT 1", "--file", "none.duckdb", folder=tmp_path)
    assert missing.returncode == 1
    assert "none.duckdb" in missing.stderr
    duckdb.connect(str(tmp_path / "a.duckdb")).close()
    wrong = tickwarden_here("query", "SELEC 1", "--file", "a.duckdb", folder=tmp_path)
    assert wrong.returncode == 1
    assert "syntax error" in wrong.stderr
    assert "Traceback" not in wrong.stderr


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The folder in which a demo was run, and what it said."""
    folder = tmp_path_factory.mktemp("demo")
    return folder, tickwarden("demo", "--seconds", "3", "--dir", "my d", folder=folder)


def test_the_demo_records_the_exchanges_of_the_built_in_configuration_and_leaves_a_complete_file(
    demo: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, result = demo
    assert result.returncode == 0, result.stderr
    assert "SELECT exchange, symbol" in result.stdout
    assert sorted(path.name for path in (folder / "my d").iterdir()) == ["ticks.duckdb", "ticks.duckdb.lock"]
    with looking(folder / "my d" / "ticks.duckdb") as con:
        rows = con.execute("SELECT exchange, count(*), min(price) FROM ticks GROUP BY ALL").fetchall()
        audit = con.execute("SELECT received, stored + duplicates + rejected + in_flight FROM audit").fetchall()
    assert {row[0] for row in rows} == set(FIVE)
    assert all(count > 2 and isinstance(low, Decimal) for _, count, low in rows)
    assert audit
    assert all(received == accounted for received, accounted in audit)


def test_the_commands_that_the_demo_prints_can_be_pasted(
    demo: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, result = demo
    printed = re.findall(r"(?:^  |Continue with: )tickwarden (.*)", result.stderr + result.stdout, re.M)
    done = [tickwarden_here(*shlex.split(line), folder=folder) for line in printed]
    assert [one.returncode for one in done] == [69, 0, 0], done  # the service has ended
    assert f"there is no socket {Path('my d/ticks.duckdb.sock')}" in done[0].stderr


def test_a_demo_in_a_folder_that_duckdb_reads_as_a_pattern_is_refused(tmp_path: Path) -> None:
    result = tickwarden("demo", "--dir", "proj [old]", folder=tmp_path)
    assert result.returncode == 78 and not list(tmp_path.iterdir())
    (line,) = result.stderr.splitlines()
    assert line.startswith("proj [old]: store.path: got ") and "a path without [ ]" in line


@pytest.mark.slow
def test_a_second_demo_into_the_same_folder_adds_to_the_file(
    demo: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    shutil.copytree(demo[0] / "my d", tmp_path / "d")
    assert tickwarden("demo", "--seconds", "1", "--dir", "d", folder=tmp_path).returncode == 0
    sql = "SELECT count(DISTINCT run_id) AS runs FROM audit"
    runs = tickwarden_here("query", sql, "--json", "--file", "d/ticks.duckdb", folder=tmp_path)
    assert json.loads(runs.stdout) == [{"runs": 2}]


def test_a_running_service_answers_every_command(tmp_path: Path) -> None:
    with sandbox(tmp_path, rate=50.0) as config:
        (tmp_path / "tickwarden.toml").write_text(config)
        with running("run", folder=tmp_path) as service:
            wait_for(
                "recording on all exchanges",
                lambda: (
                    (said := status(tmp_path))
                    and all(row["stored"] > 0 for row in said["exchanges"].values())
                    and said["state"] == "ok"
                ),
            )
            names = {row["name"] for row in json.loads(tickwarden_here("actors", "--json", folder=tmp_path).stdout)}
            assert {"writer", "buffer", "merger", "exchanges", "binance", "binance:1"} <= names
            for command in (
                ["status"],
                ["actors"],
                ["top", "--once"],
                ["events"],
                ["flush"],
                ["merge"],
                ["restart", "binance:1"],
                ["pause", "okx"],
                ["resume", "okx"],
                ["symbols", "kraken", "--remove", "ETH/USD"],
                ["reload"],
                ["log-level", "debug"],
                ["query", "SELECT exchange, count(*) FROM ticks GROUP BY ALL"],
            ):
                result = tickwarden_here(*command, folder=tmp_path)
                assert result.returncode == 0, (command, result.stderr)
                assert result.stdout.strip(), command
            assert tickwarden_here("restart", "nobody", folder=tmp_path).returncode == 1
            second = tickwarden("run", "--for", "1", folder=tmp_path)
            assert second.returncode == 75
            assert str(service.pid) in second.stderr
            assert "ticks.duckdb.sock" in second.stderr
            with running("tail", "--exchange", "binance", "--json", folder=tmp_path) as tail:
                assert tail.stdout is not None
                tick = json.loads(tail.stdout.readline())
                assert tick["exchange"] == "binance"
                assert isinstance(tick["price"], str)
            (tmp_path / "ticks.duckdb.sock").unlink()  # by somebody who cleans up
            wait_for("a socket again", lambda: status(tmp_path))
            service.send_signal(signal.SIGINT)
            service.communicate(timeout=PATIENCE_S)
            assert service.returncode == 0
    assert not (tmp_path / "ticks.duckdb.tail").exists()
    assert not (tmp_path / "ticks.duckdb.sock").exists()


def test_the_demo_takes_other_exchanges_and_its_queries_are_about_them(tmp_path: Path) -> None:
    result = tickwarden("demo", "--seconds", "1", "--exchange", "htx", "--exchange", "upbit", folder=tmp_path)
    assert result.returncode == 0 and "2 exchanges speak" in result.stderr, result.stderr
    assert "exchange = 'htx' AND symbol = '" in result.stdout
    with looking(tmp_path / "tickwarden-demo" / "ticks.duckdb") as con:
        assert con.execute("SELECT DISTINCT exchange FROM audit ORDER BY 1").fetchall() == [("htx",), ("upbit",)]


def test_the_sandbox_refuses_a_port_behind_which_there_are_too_few(tmp_path: Path) -> None:
    words = ("--exchange", "binance", "--exchange", "htx", "--port", "65535")
    result = tickwarden_here("sandbox", *words, folder=tmp_path)
    assert result.returncode == 64 and "expected at most 65534: 2 ports are needed" in result.stderr


def test_ctrl_c_ends_the_sandbox_without_a_traceback(tmp_path: Path) -> None:
    with running("sandbox", folder=tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline()  # the configuration: it serves
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert "Traceback" not in complaints
