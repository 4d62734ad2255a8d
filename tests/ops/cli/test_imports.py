"""What a command does not import: each of these would cost every start time."""

import subprocess
import sys
from pathlib import Path

from tests.harness.cli_process import environment
from tests.harness.paths import ROOT

CONFIG = '[exchanges.kraken]\nsymbols = ["BTC/USD"]\n'
# Prints what is imported once the command named in the arguments is: `run` with its exchanges, or the list of all.
LOOK = """
import sys
from ops.cli.commands import cli, run_command
if sys.argv[1] == "run":
    from ops.config.config import find_config, load_config
    from actors.pipeline import Pipeline
    cli.get_command(None, "run")
    Pipeline(load_config(find_config(None)).pipeline())
else:
    run_command()
print("loaded", *sys.modules)
"""


def loaded(*words: str, folder: Path) -> set[str]:
    """The modules that a command has imported; for `run`, when it is about to record."""
    command = [sys.executable, "-c", LOOK, *words]
    done = subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True, check=True)
    return set(done.stdout.rpartition("loaded ")[2].split())


def exchanges(modules: set[str]) -> set[str]:
    names = {
        name.split(".")[2] for name in modules if name.startswith("actors.exchanges.") and name.endswith(".feed")
    }
    return names - {"contract"}


def test_run_imports_the_configured_exchanges_and_no_library_that_it_may_never_need(tmp_path: Path) -> None:
    (tmp_path / "tickwarden.toml").write_text(CONFIG)
    modules = loaded("run", folder=tmp_path)
    assert "duckdb" in modules and exchanges(modules) == {"kraken"}
    assert not modules & {
        "httpx",
        "prometheus_client",
        "rich.console",
        "rich.traceback",
        "pygments",
        "textual",
        "asyncio",
    }


def test_who_uses_asyncio_after_the_log_gets_the_real_one() -> None:
    script = (
        "import ops.monitoring.logs, asyncio, structlog.stdlib; print(asyncio.run, structlog.stdlib.asyncio.Task)"
    )
    subprocess.run([sys.executable, "-c", script], env=environment(ROOT), capture_output=True, check=True)


def test_the_list_of_commands_imports_none_of_them(tmp_path: Path) -> None:
    modules = loaded("--help", folder=tmp_path)
    assert "click" in modules
    assert not modules & {"trio", "duckdb", "rich", "httpx", "actors", "importlib.metadata", "textual"}


def test_status_imports_no_exchange_but_those_configured_and_no_table_that_only_a_terminal_gets(
    tmp_path: Path,
) -> None:
    (tmp_path / "tickwarden.toml").write_text(CONFIG)
    modules = loaded("status", folder=tmp_path)
    assert "ops.config.config" in modules and exchanges(modules) == {"kraken"}
    assert not modules & {"trio", "duckdb", "httpx", "rich.console", "rich.table", "structlog"}
