"""README.md and ops/docs: every command runs, every table matches the code, every link leads somewhere."""

import json
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Timer
from typing import IO

import click
import duckdb
import pytest
from prometheus_client.parser import text_string_to_metric_families

from actors.exchanges.registry import EXCHANGES
from ops.cli.commands import COMMANDS, cli
from ops.control.client import ControlClient
from ops.control.routes import ROUTES
from ops.terminal import exit_codes
from tests.harness.cli_process import (
    COMMAND,
    PATIENCE_S,
    environment,
    running,
    sandbox,
    status,
    tickwarden_here,
    wait_for,
)
from tests.harness.lake_values import small_lake
from tests.harness.paths import OPS, ROOT
from tests.harness.promql import Query, lacking, queries, rules
from tests.harness.store_harness import memory_folder
from tests.harness.terminal import terminal

DOCS = OPS / "docs"
README = ROOT / "README.md"
PAGES = [README, *sorted(DOCS.glob("*.md")), OPS / "systemd" / "README.md"]
README_LINES_MAX = 150
# Their code is run by tests/exchanges/test_add_an_exchange.py and test_recipes.py.
OWN_TESTS = (DOCS / "add-an-exchange.md", DOCS / "recipes.md")

# What needs root, a container engine or a network, and the file that runs or checks the same.
ELSEWHERE = {
    "python3 -m venv": ROOT / ".ci" / "run",
    "sudo ": ROOT / "tests" / "ops" / "systemd" / "test_units.py",
    "/opt/tickwarden/": ROOT / "tests" / "ops" / "systemd" / "test_units.py",
    "docker compose": ROOT / "tests" / "ops" / "systemd" / "test_units.py",
}
# Commands that run until Ctrl-C: the stream and the text that show that they work.
LONG = {
    "run": ("stderr", "recording"),
    "sandbox": ("stderr", "Ctrl-C"),
    "tail": ("stdout", "binance"),
    "events": ("stdout", "ok"),
}
INSTANT = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ")
LAST_INSTANT_AGO = timedelta(seconds=1)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    language: str
    text: str

    def commands(self) -> list[str]:
        lines = self.text.splitlines()
        if self.language == "console":
            return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        return [line.partition("  #")[0].rstrip() for line in lines] if self.language == "sh" else []

    def code(self) -> list[str]:
        """Python statements, of an interactive session one by one."""
        if self.language == "pycon":
            return [line.removeprefix(">>> ") for line in self.text.splitlines() if line.startswith(">>> ")]
        return [self.text] if self.language == "python" else []


def blocks() -> Iterator[Block]:
    for page in PAGES:
        for language, text in re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.M | re.S):
            assert language, f"{page}: a block without a language"
            yield Block(page, language, text)


def commands() -> list[str]:
    """Every command that this test has to run, each once, in the order of the pages."""
    every = [line for block in blocks() for line in block.commands()]
    return [line for line in dict.fromkeys(every) if not line.startswith(tuple(ELSEWHERE))]


def moved_to_now(command: str) -> str:
    """The command with its times moved, so that the last one lies just behind."""
    found = [datetime.fromisoformat(text) for text in INSTANT.findall(command)]
    if not found:
        return command
    shift = datetime.now(UTC) - LAST_INSTANT_AGO - max(found)
    return INSTANT.sub(lambda m: f"{datetime.fromisoformat(m[0]) + shift:%Y-%m-%dT%H:%M:%SZ}", command)


@pytest.fixture(scope="module")
def world() -> Iterator[Path]:
    """A folder in which a service records loopback exchanges, as the pages assume."""
    with memory_folder() as folder, sandbox(folder, rate=20.0) as config:
        (folder / "tickwarden.toml").write_text(config)
        small_lake(str(folder / "lake"))
        with running("run", folder=folder):
            wait_for("recording on all exchanges", lambda: stores_trades(folder))
            yield folder


def stores_trades(folder: Path) -> bool:
    said = status(folder)
    return bool(said) and all(row["stored"] > 0 for row in said["exchanges"].values())


def run_to_its_end(words: list[str], folder: Path) -> str:
    """ "" or what went wrong."""
    done = tickwarden_here(*words, folder=folder)
    return "" if done.returncode == 0 and done.stdout else f"exit code {done.returncode}: {done.stderr}"


def run_on_screen(words: list[str], folder: Path) -> str:
    """The same for a command that needs a terminal, until `q`."""
    with terminal(*words, folder=folder) as screen:
        screen.until("q quit")
        screen.press("q")
        return "" if screen.end() == 0 else screen.text


@contextmanager
def killed_after_patience(process: subprocess.Popen[str]) -> Iterator[None]:
    deadline = Timer(PATIENCE_S, process.kill)
    deadline.start()
    try:
        yield
    finally:
        deadline.cancel()


@contextmanager
def run_on(words: list[str], folder: Path) -> Iterator[str]:
    """The same for a command that runs until Ctrl-C; `> FILE` at its end is done here."""
    stream, expected = LONG[words[0]]
    with ExitStack() as stack:
        output: int | IO[str] = subprocess.PIPE
        if ">" in words:
            *words, _, name = words
            output = stack.enter_context((folder / name).open("w"))
        if words[0] == "run":  # a second service needs a file of its own
            own = stack.enter_context(memory_folder())
            for config in folder.glob("*.toml"):
                shutil.copy(config, own)
            folder = own
        process = subprocess.Popen(
            [*COMMAND, *words],
            cwd=folder,
            env=environment(folder),
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
        )
        lines = process.stderr if stream == "stderr" else process.stdout
        assert lines is not None
        with killed_after_patience(process):
            seen = any(expected in line for line in iter(lines.readline, ""))
        try:
            yield "" if seen else f"{expected!r} never came on {stream}"
        finally:
            process.send_signal(signal.SIGINT)
            with killed_after_patience(process):
                process.communicate()
    assert process.returncode in (0, 130), words


def test_every_command_of_every_page_runs(world: Path) -> None:
    failed = {}
    with ExitStack() as sandboxes:  # they serve the commands behind them
        for command in commands():
            program, *words = shlex.split(moved_to_now(command))
            if program == "tickwarden" and is_long(words):
                with ExitStack() as ended:
                    wrong = (sandboxes if words[0] == "sandbox" else ended).enter_context(run_on(words, world))
            elif program == "tickwarden":
                wrong = (run_on_screen if words[0] == "top" else run_to_its_end)(words, world)
            elif program == "curl" and shutil.which("curl"):
                done = subprocess.run([program, "--fail", *words], cwd=world, capture_output=True, text=True)
                wrong = "" if done.returncode == 0 and done.stdout else done.stderr
            else:
                wrong = "" if program == "curl" else "this test does not know how to run it"
            if wrong:
                failed[command] = wrong
    assert failed == {}


def is_long(words: list[str]) -> bool:
    """Whether the command runs until Ctrl-C."""
    return words[0] in LONG and "--help" not in words and (words[0] != "events" or "--follow" in words)


def test_every_python_example_runs(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world)
    ran = 0
    for block in blocks():
        if block.page in OWN_TESTS:
            continue
        names: dict[str, object] = {}
        mode = "single" if block.language == "pycon" else "exec"
        for statement in block.code():
            source = compile(statement, str(block.page), mode)
            wait_for("a moment between two merges", lambda source=source, names=names: runs(source, names))
            ran += 1
    assert ran > 3


def runs(source: object, names: dict[str, object]) -> bool:
    """Runs a statement; False where the service holds the file at this moment."""
    try:
        exec(source, names)  # type: ignore[arg-type]
    except duckdb.IOException as error:
        if "Could not set lock" not in str(error):
            raise
        return False
    return True


def test_every_configuration_example_is_valid(tmp_path: Path) -> None:
    examples = [block for block in blocks() if block.language == "toml"]
    assert len(examples) >= 2
    for example in examples:
        (tmp_path / "tickwarden.toml").write_text(example.text)
        checked = tickwarden_here("check-config", folder=tmp_path)
        assert checked.returncode == 0, (example.page, checked.stderr)


def test_the_commands_that_are_run_elsewhere_name_files_that_exist() -> None:
    every = [line for block in blocks() for line in block.commands() if line.startswith(tuple(ELSEWHERE))]
    assert len(every) > 5 and all(path.is_file() for path in ELSEWHERE.values())
    for line in every:
        for name in re.findall(r"(?<![\w/])ops/[\w./-]+", line):
            assert (ROOT / name).exists(), line
    marked = re.findall(r"<!-- ci: (\w+) -->\n```sh\n(.*?)```", README.read_text(), re.S)
    assert [name for name, _ in marked] == ["demo", "tests"]
    assert all(command.startswith("python3 -m venv .venv ") for _, command in marked)  # moved out of the tree
    run = ELSEWHERE["python3 -m venv"].read_text()
    assert all(f"ci_command {name}" in run for name, _ in marked)


def test_every_command_of_the_command_line_is_shown_and_run() -> None:
    shown = {command.split()[1] for command in commands() if command.startswith("tickwarden ")}
    assert shown == set(COMMANDS)


def test_commands_within_sentences_exist_with_their_options() -> None:
    context = click.Context(cli)
    seen = 0
    for page in PAGES:
        for text in re.findall(
            r"`tickwarden ([^`]+)`", re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
        ):
            name, *rest = text.split()
            if name.startswith("-"):
                continue
            command = cli.get_command(context, name)
            assert command is not None, (page, text)
            if isinstance(command, click.Group) and rest:
                command = command.get_command(context, rest[0])
                assert command is not None, (page, text)
            known = {option for param in command.params for option in param.opts} | {"--help"}
            assert {word.partition("=")[0] for word in rest if word.startswith("--")} <= known, (page, text)
            seen += 1
    assert seen > 10


def test_every_link_leads_to_a_page_and_a_heading() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
            if target.startswith("http"):
                continue
            name, _, anchor = target.partition("#")
            path = (page.parent / name).resolve() if name else page
            assert path.exists(), (page, target)
            headings = re.findall(r"^#+ (.+)$", path.read_text(), re.M) if anchor else []
            slugs = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert not anchor or anchor in slugs, (page, target)


def test_the_readme_is_short_and_links_every_page() -> None:
    text = README.read_text()
    assert f"{len(EXCHANGES)} crypto exchanges" in text
    assert len(text.splitlines()) <= README_LINES_MAX
    assert {page.name for page in DOCS.glob("*.md")} <= set(re.findall(r"ops/docs/([\w-]+\.md)", text))


def test_the_tables_page_lists_the_columns_that_the_file_has(world: Path) -> None:
    sections = re.split(r"^### `(\w+)`$", (DOCS / "tables.md").read_text(), flags=re.M)[1:]
    for name, text in zip(sections[::2], sections[1::2], strict=True):
        listed = re.findall(r"^\| (\w+) \| ([A-Z]\S.*?) \|", text, re.M)
        described = tickwarden_here("query", f"DESCRIBE {name}", "--json", folder=world)
        assert described.returncode == 0, described.stderr
        rows = json.loads(described.stdout)
        assert listed == [(row["column_name"], row["column_type"]) for row in rows], name
    assert {"ticks", "gaps", "coverage", "rejects", "events", "audit", "lags", "instruments"} < set(sections[::2])


def test_the_control_socket_page_lists_every_route() -> None:
    listed = re.findall(r"^\| (GET|POST) `/([\w/-]*)(?:\?\S*)?` \|", (DOCS / "control-socket.md").read_text(), re.M)
    served = {
        (route.methods[0], "/".join("NAME" if part == "{name}" else part for part in path))
        for path, route in ROUTES.items()
    }
    assert len(listed) == len(set(listed)) and set(listed) == served


def test_the_operations_page_lists_every_exit_code() -> None:
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", (DOCS / "operations.md").read_text(), re.M)}
    assert listed == {value for name, value in vars(exit_codes).items() if name.isupper()}


def test_dashboard_and_alerts_ask_for_series_that_a_running_service_has(world: Path) -> None:
    text = ControlClient(world / "ticks.duckdb.sock").get_text("/metrics")
    series = [
        (sample.name, sample.labels) for one in text_string_to_metric_families(text) for sample in one.samples
    ]
    every = list(queries())
    assert len(every) > 30
    assert [text for query in every for text in lacking(query, series)] == []


@pytest.mark.parametrize(
    ("expr", "shown", "found"),
    [
        ("tickwarden_reddy == 0", (), "no series is called tickwarden_reddy"),
        ('tickwarden_actor_state{state="broken"} == 1', (), "no tickwarden_actor_state has state='broken'"),
        ('increase(tickwarden_actor_state{state=~"failed|bug"}[5m])', (), "state='bug'"),
        ("sum by (market) (tickwarden_actor_state)", (), "has no label market"),
        ("tickwarden_ready", ("actor",), "has no label actor"),
        ("sum by (state) (tickwarden_actor_state)", ("actor",), "only ['state'] is left"),
        ('tickwarden_actor_state{state="failed"} == 1', ("actor",), ""),
    ],
)
def test_what_no_series_has_is_found(expr: str, shown: tuple[str, ...], found: str) -> None:
    series = [("tickwarden_ready", {}), ("tickwarden_actor_state", {"actor": "writer", "state": "failed"})]
    said = list(lacking(Query("here", expr, frozenset(shown)), series))
    assert found in said[0] if found else not said


def test_every_alert_names_its_entry_in_the_runbook_and_every_entry_its_alert() -> None:
    entries = dict(re.findall(r"^## (\w+)\n\n(.*?)(?=^## |\Z)", (DOCS / "runbook.md").read_text(), re.M | re.S))
    assert [*entries] == [rule["alert"] for rule in rules()]
    for rule in rules():
        assert rule["annotations"]["runbook"] == f"ops/docs/runbook.md#{rule['alert'].lower()}"
        assert re.findall(r"^\*\*(\w.+?):\*\* \S", entries[rule["alert"]], re.M) == ["Means", "See it", "Do"]
