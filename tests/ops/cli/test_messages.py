"""Every error message of the command line and the configuration, with its advice: none is left without."""

import ast
import re
import shlex
import socket
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from tests.harness.cli_process import tickwarden_here
from tests.harness.paths import OPS

# Where people are answered. What raises one of these shows its text to them.
PLACES = (
    "cli",
    "cli/top",
    "config",
    "export",
    "export/lake",
    "terminal",
    "control/client.py",
    "control/listener.py",
    "service/api.py",
    "service/hand_over.py",
    "service/service.py",
    "service/take_over.py",
    "sandbox/faults.py",
)
ANSWERS = {
    *("UsageError", "BadParameter", "ClickException", "ExportError", "QueryError", "DatabaseLocked", "NoService"),
    *("FaultError", "ValueError", "SocketInUse", "SocketPathError", "Refused", "UnknownName"),
    *("CannotTakeOver", "TakeOverFailed"),
}
EXPECTED = {"Wrong": 0, "Mistake": 2, "wrong": 2, "fail": 1}  # which argument is printed behind "expected"
GAP = "…"  # a value in a message

# Each answer, with the part of it that tells what to do; a gap at its end is filled with what is known or right.
ADVICE = {
    "--file: got …, expected …": "expected …",
    "a trade of … has nothing that tells it from its copy, so that a frame sent twice is stored twice: leave out"
    " --fault duplicate, or these exchanges": "leave out --fault duplicate",
    "--json is for the result of --prove; a sandbox prints a configuration": "a sandbox prints a configuration",
    "--symbol … of which exchange? Add one, like --exchange binance": "Add one, like --exchange binance",
    "Parquet is not for a screen: name a file, like --out rows.parquet": "name a file, like --out rows.parquet",
    "This is not as it should be: …": "…",
    "[exchanges.…] is not configured; …": "; …",
    "`tickwarden run --config FILE`; Ctrl-C ends this": "Ctrl-C ends this",
    "a running service answers on …; stop it first, or set [control] socket to another "
    "path": "stop it first, or set [control] socket",
    "a time range begins before it ends, and before now; this one begins at "
    "…": "begins before it ends, and before now",
    "a time range begins before it ends; --from … is not before --to …": "begins before it ends",
    "another service has just started on …; `tickwarden status` shows it": "`tickwarden status` shows it",
    "cannot take over: …": "…",
    "cannot connect to …: …; is [control] socket the running "
    "service's?": "is [control] socket the running service's?",
    "either SQL or --example, not both; the SQL of the examples: --example --json": "either SQL or --example",
    "got port …, expected at most …: … ports are needed": "expected at most …",
    "got …, expected …=… with a number": "expected …=… with a number",
    "got …=…, expected …=…": "expected …=…",
    "lake.credentials: expected a file that can be read (…)": "expected a file that can be read",
    "lake.credentials: expected …": "expected …",
    "more trades wait than there is memory for; process … goes on; try again when it is quieter": "try again",
    "a lake is read with the package deltalake: pip install 'tickwarden[lake]'": "pip install 'tickwarden[lake]'",
    "no SQL: write a query like '…', or `--example` for a list of queries to begin with": "write a query like '…",
    "no lake is configured: set [lake] uri and recorder, or name one with --uri": "or name one with --uri",
    "the lake cannot be read: …": "…",
    "the lake cannot be used: …": "…",
    "… is not closed: the newest day that is, is …": "the newest day that is, is …",
    "… … cannot be read: …; nothing was changed, try again later": "try again later",
    "… …: rows were added during each of … attempts; nothing was changed, try again later": "try again later",
    "… is no lake: nothing was sent there yet; --uri names another one": "--uri names another one",
    "…: the table ticks is missing, while shipments lists … ticks: restore the folder ticks with its _delta_log "
    "from a copy": "restore the folder ticks",
    "nothing was compared: …": "…",
    "no exchange is called …; …": "; …",
    "a lake is only read, and COPY writes; --out FILE writes what a query returns": "--out FILE writes",
    "the table … of … cannot be read: …": "…",
    "… …: …; nothing was changed, --temporary names another folder": "--temporary names another folder",
    "a lake is only read, and … changes it; write a query like: SELECT * FROM ticks": "write a query like: SELECT",
    "no exchange … is …; …": "; …",
    "no list of … that was read yet has …; `tickwarden status` shows more soon": "`tickwarden status` shows more",
    "not recorded: …": "…",
    "nothing was recorded there; `tickwarden coverage` shows what was": "`tickwarden coverage` shows",
    "nothing happened since then; without --since all is shown": "without --since all is shown",
    "no fault is called …; …": "; …",
    "no market …… is …; …": "; …",
    "no service is running: nobody answers on …; start one with `tickwarden "
    "run`": "start one with `tickwarden run`",
    "no service is running: there is no socket …; start one with `tickwarden "
    "run`": "start one with `tickwarden run`",
    "no socket can be created at …: …; set [control] socket to another "
    "path": "set [control] socket to another path",
    "nothing to change: give --add SYMBOL or --remove SYMBOL": "give --add SYMBOL or --remove SYMBOL",
    "nothing was changed: …": "…",
    "nothing was done: another process is taking over; try again": "try again",
    "nothing was done: the configuration is being changed; try again": "try again",
    "nothing was done: the service is starting…; try again": "try again",
    "nothing was done: the service is stopping, or another process is taking over; try again": "try again",
    "one format at a time, not …": "one format at a time",
    "process … goes on, and does not answer: …": "…",
    "process … keeps the store: …": "…",
    "repair … continues; `tickwarden events` reports its outcome": "`tickwarden events` reports its outcome",
    "serving on …; put the above into a file and run": "put the above into a file and run",
    "the control socket … cannot be reached: …; set [control] socket to another "
    "path": "set [control] socket to another path",
    "the control socket's path … is too long: got … bytes, a Unix socket allows …; set "
    '[control] socket to a shorter one, such as "/run/tickwarden.sock"': "set [control] socket to a shorter one",
    "the old socket … cannot be removed: …; remove it yourself": "remove it yourself",
    "the output could not be written: …; write it to another place": "write it to another place",
    "the query is empty; write one like: SELECT count(*) FROM ticks": "write one like: SELECT count(*) FROM ticks",
    "the query returns no rows to write; write one like: FROM ticks": "write one like: FROM ticks",
    "the running service is of an earlier version, which cannot be taken over; stop it, then start "
    "this one": "stop it, then start this one",
    "the running service is …; try again in a moment": "try again in a moment",
    "the service at … closed the connection (…); it may have stopped: try again": "try again",
    "the service at … does not answer: it accepts no more connections; look at its log": "look at its log",
    "the service at … does not answer: it is blocked, or this machine is overloaded; look at "
    "its log": "look at its log",
    "the service on … records into …, not into …; a take-over keeps the file: set store.path to it, "
    "or start this one without --take-over": "set store.path to it",
    "the service that records into … answers on …; set [control] socket to that": "set [control] socket to that",
    "the system refused what this command needs: ……": "what this command needs: ……",
    "…; its log ends: …": "its log ends: …",
    "there is no example …; …": "; …",
    "there is no exchange …; …": "; …",
    "there is no terminal to ask on: name what to record, like --exchange "
    "binance": "name what to record, like --exchange binance",
    "warning: …": "…",
    "within … s this process did not deliver what process … delivers: ……; process … goes on; `tickwarden "
    "doctor` tests each step to an exchange": "`tickwarden doctor` tests each step",
    "you may not connect to …: only its owner, root and its group may": "only its owner, root and its group may",
    "… belongs to another database file, and DuckDB would read it as part of the copy: move it "
    "away, or give the copy another name": "move it away, or give the copy another name",
    "… belongs to another user; set [control] socket to another path": "set [control] socket to another path",
    "… cannot be a socket: its path is too long, at most … bytes are allowed": "at most … bytes are allowed",
    "… cannot be given to group …: the service's user is not a member; set [control] group to "
    "one of its groups": "set [control] group to one of its groups",
    "… does not record ……; nothing was changed": "nothing was changed",
    "… exists and is not a socket; move it away or set [control] socket to another "
    "path": "set [control] socket to another path",
    "… cannot be written: …; name a path where you may write": "name a path where you may write",
    "… cannot be written: …; free some space, or name a path on another disk": "name a path on another disk",
    "name one configuration, by PATH or by --config, not both": "name one configuration",
    "… exists; --overwrite replaces it": "--overwrite replaces it",
    "… has files already; --overwrite replaces them": "--overwrite replaces them",
    "… has no time zone; write …Z for UTC, or an offset like …+02:00": "write …Z for UTC",
    "… has two markets of the name …: both would be …; export them to Parquet "
    "instead": "export them to Parquet instead",
    "… holds no ticks: it is not a file of Tickwarden's; --file names another one": "--file names another one",
    "… is a file; name a folder, or leave out the slash for a DuckDB file": "name a folder, or leave out the slash",
    "… is a folder; name a file": "name a file",
    "… is …; --file names the DuckDB file of a recording": "--file names the DuckDB file of a recording",
    "… is a folder; name a file in it, like …": "name a file in it",
    "… is named twice; give all its symbols at once, like …=A/B,C/D": "give all its symbols at once",
    "… is not a time; write one like 2026-06-01T12:30:00Z, or a day like "
    "2026-06-01": "write one like 2026-06-01T12:30:00Z",
    "… is, or contains, the DuckDB file by its own words; give one of them another name": "another name",
    "… is the recording itself; give the copy another name": "give the copy another name",
    "… trades came, … of them were missing; …": "; …",
    "… was created meanwhile; --overwrite replaces it": "--overwrite replaces it",
    "…: a DuckDB copy is a file; name one, like …": "name one, like …",
    "…: for Parquet name a folder, like …/": "name a folder, like …/",
    "…: no such file; it appears with the first merge, or --file names another one": "--file names another one",
    "…: nothing was recorded in this range; `tickwarden coverage` shows what "
    "was": "`tickwarden coverage` shows what was",
    "…: … rows were written instead of …; nothing was kept: export again": "export again",
    "top draws on a terminal, and …; `tickwarden top --once` prints one picture": "`tickwarden top --once` prints",
    "…; the tail stays, and the service tries again": "the service tries again",
    "…; what was recorded can be queried all the same": "can be queried all the same",
    "……; try again later": "try again later",
    "…, or how long ago, like 15min, 2h or 3d": "like 15min, 2h or 3d",
    "…; `tickwarden instruments …` lists its markets": "lists its markets",
}
# What stands behind "expected" in a mistake of the configuration; texts that only choose among these are not here.
RIGHT = {
    "a TOML file, like …",
    "one that this user (…) may read",
    "a file that … can read (…)",
    'a folder of this machine, like "file:///srv/tape"',
    'a folder, or an address like "s3://bucket/tape"',
    'a path of this machine, like "/srv/ticks", without …',
    "… with a host in ASCII…",
    "a folder, or one of …",
    'an address like "…"; a folder of this name is written "./…"',
    'a name for this recorder like "tokyo-1", which no other recorder of the lake has',
    'a table like { AWS_REGION = "eu-central-1" }',
    "an address without …",
    "it to be installed: pip install tickwarden[lake]",
    "names of options, of letters, digits and '_', like AWS_REGION",
    "options without …: secrets belong in the environment, or in the file of lake.credentials",
    "text as the value of …",
    "…; a password or key belongs in the environment, or in the file of lake.credentials",
    '"" or an address of this machine with a port, like "127.0.0.1:8787"',
    "not valid TOML (see https://toml.io): …",
    '[exchanges.binance] with symbols = ["BTC/USDT"], and so on',
    "a DuckDB file, or a name that is free",
    'another name, like "ticks.duckdb": …',
    'a DuckDB version like "v1.2.0", or "latest"',
    "a TOML file",
    "a TOML file in UTF-8",
    "a TOML file; `tickwarden init PATH` writes one",
    "a file that is there",
    "a file that … may read and write",
    "a file that … may write, or nothing there",
    "a folder that … may write, or nothing there",
    "a group of this system",
    'a loopback address like "127.0.0.1:8787", or a control.token that others must know',
    "a group that … is a member of",
    'a list like ["BTC/USDT", "ETH/USDT"]',
    "a number of … from … to …",
    "a path in a folder that exists; … does not",
    "a path of its own, apart from …",
    "a path that can be reached (…)",
    "a path that leads somewhere (…)",
    "a path without an unknown home folder (…)",
    "a path without …",
    "a shorter one",
    'a size like "512MB" or "2GiB"',
    "a table: […]",
    "a whole number from … to …",
    "an address and port that can be opened (…)",
    "an address: with a ws_url the list that wildcards need is read only from a rest_url",
    "another file than the configuration",
    "another path",
    'at least "…MB": merges fail with less',
    "at most …",
    "at most … bytes, the system's limit; set control.socket to a shorter one",
    "backoff_initial_s (…) at most backoff_max_s (…)",
    "each market once: … is listed already",
    "names of at most … bytes",
    "one of ……",
    'text like "BTC/USDT"',
    "the name of a file",
    "the name of a file, as text",
    "the name of a file, not of a folder",
    'the name of a folder, or ""',
    "the same text saved as UTF-8",
    "… of this exchange: …",
    "… with a host and optionally a port, like …",
    "…, nothing after it: the path stays the exchange's own",
    "…, with which … was created, or another store.path",
}
# Commands that are answered so, each with the start of its answer.
MET = [
    ("--json is for the result of --prove", "sandbox --json"),
    ("--file: got …, expected …", "init --exchange okx --file x/ --overwrite"),
    ("--symbol … of which exchange? Add one, like --exchange binance", "init --symbol BTC/USDT"),
    ("Parquet is not for a screen: name a file, like --out rows.parquet", "query x --format parquet"),
    ("[exchanges.…] is not configured", "doctor okx"),
    (
        "a time range begins before it ends; --from",
        "repair --exchange kraken --symbol BTC/USD --from 2026-06-02 --to 2026-06-01",
    ),
    ("either SQL or --example, not both", "query x --example lag"),
    ("got …, expected …=… with a number", "sandbox --fault stall=x"),
    (
        "no SQL: write a query like '…', or `--example` for a list of queries to begin with",
        "query",
    ),
    ("no fault is called …", "sandbox --fault stal"),
    ("nothing to change: give --add SYMBOL or --remove SYMBOL", "symbols kraken"),
    ("one format at a time, not …", "query x --csv --json"),
    ("the query is empty", "query '' --file empty.duckdb"),
    ("the query returns no rows to write", "query '' --file empty.duckdb --out r.parquet"),
    ("there is no example …", "query --example candle"),
    ("there is no exchange …", "exchanges krakn"),
    (
        "… belongs to another database file",
        "export log.duckdb --file empty.duckdb",
    ),
    ("no service is running: there is no socket …", "flush"),
    ("cannot connect to …", "status --socket tickwarden.toml/t.sock"),
    ("no service is running: nobody answers on …", "status --socket dead.sock"),
    ("… exists; --overwrite", "report --out text.duckdb --file empty.duckdb"),
    ("top draws on a terminal", "top"),
    ("name one configuration", "check-config tickwarden.toml --config tickwarden.toml"),
    ("… has no time zone", "gaps --from 2026-06-01T12:30:00"),
    ("… holds no ticks: it is not a file of Tickwarden's", "export c.duckdb --file empty.duckdb"),
    ("no lake is configured", "lake query 'SELECT 1'"),
    ("… is no lake", "lake query 'SELECT 1' --uri made"),
    ("… is a file", "export text.duckdb/ --file empty.duckdb"),
    ("… is a folder; name a file", "query 'SELECT 1' --out made --file empty.duckdb"),
    ("… is a folder; name a file in it, like …", "init made --exchange okx"),
    ("… is named twice", "init --exchange okx --exchange okx --overwrite"),
    ("… is not a time", "events --since yesterday"),
    ("… is the recording itself", "export empty.duckdb --file empty.duckdb --overwrite"),
    ("…: a DuckDB copy is a file", "export made/ --format duckdb"),
    ("…: for Parquet name a folder, like …/", "export x.parquet"),
    ("…: no such file", "coverage --file none.duckdb"),
]


def _said(node: ast.expr, local: dict[str, ast.expr]) -> str:
    """The text of an expression, with a gap for each value in it."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(GAP if isinstance(part, ast.FormattedValue) else _said(part, local) for part in parts)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _said(left, local) + _said(right, local)
        case ast.Name(id=name) if name in local:
            return _said(local[name], {key: value for key, value in local.items() if key != name})
        case _:
            return GAP


def _texts(path: Path) -> Iterator[tuple[str, str]]:
    """(kind, text) of each message in a file; what only passes on another's message has no text of its own."""
    for function in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        local = {
            target.id: node.value
            for node in ast.walk(function)
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        if function.name == "unreachable":  # its callers raise what it returns
            returned = [node.value for node in ast.walk(function) if isinstance(node, ast.Return) and node.value]
            yield from (("answer", _said(value, local)) for value in returned)
        for node in ast.walk(function):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            to_stderr = name == "echo" and any(word.arg == "err" for word in node.keywords)
            if name in EXPECTED and len(node.args) > EXPECTED[name]:
                yield "expected", _said(node.args[EXPECTED[name]], local)
            elif (name in ANSWERS or to_stderr) and node.args:
                yield "answer", "".join(_said(arg, local) for arg in node.args)


def texts(kind: str) -> set[str]:
    files = [
        file
        for place in PLACES
        for file in ([OPS / place] if place.endswith(".py") else (OPS / place).glob("*.py"))
    ]
    found = {text for file in files for which, text in _texts(file) if which == kind}
    return {text for text in found if re.search(r"[a-z]{2}", text)}


def test_every_answer_is_listed_with_its_advice() -> None:
    assert texts("answer") == ADVICE.keys(), "list the message with its advice, or take the old one out"
    wrong = {text: advice for text, advice in ADVICE.items() if not advice or advice not in text}
    assert wrong == {}


def test_everything_that_a_configuration_may_be_told_to_be_is_listed() -> None:
    assert texts("expected") == RIGHT, "a mistake reads: got X, expected THIS"


def _pattern(text: str) -> str:
    return ".*?".join(map(re.escape, text.split(GAP)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files of all kinds that a command may be pointed at."""
    duckdb.connect(tmp_path / "empty.duckdb").close()
    (tmp_path / "text.duckdb").write_text("no database")
    (tmp_path / "made").mkdir()
    (tmp_path / "log.duckdb.wal").touch()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "dead.sock"))
    (tmp_path / "tickwarden.toml").write_text('[exchanges.kraken]\nsymbols = ["BTC/USD"]\n')
    return tmp_path


@pytest.mark.parametrize(("start", "line"), MET)
def test_people_meet_these_with_their_advice(start: str, line: str, folder: Path) -> None:
    text = start if start in ADVICE else next(one for one in ADVICE if one.startswith(start))
    done = tickwarden_here(*shlex.split(line), folder=folder)
    assert done.returncode in (1, 64, 69), done.stderr
    shown = " ".join(done.stderr.split())
    assert re.search(_pattern(text), shown) and ADVICE[text].split(GAP)[0] in shown, shown
    assert "Traceback" not in shown
