"""`tickwarden init`: what it writes from options and by asking is a configuration that works."""

import io
import shlex
import time
import tomllib
from pathlib import Path

import pytest
from msgspec.structs import replace

from actors.exchanges.registry import EXCHANGES
from actors.model.batch import Batch
from actors.settings import StoreSettings
from actors.store.store import Store
from ops.config.config import load_config
from ops.config.keys import DEFAULT_SYMBOLS, EXCHANGE, SECTIONS
from tests.harness.buffering import LISTED
from tests.harness.cli_process import tickwarden_here
from tests.harness.terminal import terminal


def written(folder: Path, name: str = "tickwarden.toml") -> dict[str, list[str]]:
    """The symbols in a file that check-config is content with, and nothing else lies beside it."""
    checked = tickwarden_here("check-config", name, folder=folder)
    assert checked.returncode == 0, checked.stderr
    assert not list(folder.glob("*partial*"))
    return {key: value["symbols"] for key, value in tomllib.loads((folder / name).read_text())["exchanges"].items()}


def lists(path: Path) -> None:
    """A recording in which kraken lists two markets."""
    spot = replace(LISTED, exchange="kraken", kind="spot", settle=None, volume_unit="base", price_scale=None)
    store = Store(StoreSettings(path=path))
    store.start()
    rows = [
        replace(spot, symbol=f"{base}/USD", native_symbol=f"{base}/USD", base=base, quote="USD")
        for base in ("BTC", "DOGE")
    ]
    store.write(Batch(store.next_number(), instruments=tuple(rows)))
    store.close()


def test_options_are_written_without_asking_and_the_file_says_what_it_holds(tmp_path: Path) -> None:
    words = ("--exchange", "binance", "--exchange", "kraken=BTC/USD, */EUR", "--symbol", "SOL/USDT")
    done = tickwarden_here("init", *words, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"wrote tickwarden.toml: 3 symbols on 2 exchanges, into {tmp_path / 'ticks.duckdb'}",
        "record with: tickwarden run",
    ]
    assert written(tmp_path) == {"binance": ["SOL/USDT"], "kraken": ["BTC/USD", "*/EUR"]}
    text = (tmp_path / "tickwarden.toml").read_text()
    keys = [key for _, section in SECTIONS.values() for key in section.items()]
    for name, key in [*keys, *EXCHANGE.items()]:
        assert f"{name} = " in text and key.help in text.replace("\n# ", " "), name
    assert EXCHANGES["kraken"].feed.markets_note in text


def test_one_symbol_is_not_called_several(tmp_path: Path) -> None:
    done = tickwarden_here("init", "--exchange", "okx=BTC/USDT", folder=tmp_path)
    assert "1 symbol on 1 exchange, into" in done.stdout
    assert "fine; 1 symbol on 1 exchange, into" in tickwarden_here("check-config", folder=tmp_path).stdout


def test_every_exchange_can_be_written_with_what_is_recorded_by_default(tmp_path: Path) -> None:
    words = [word for name in EXCHANGES for word in ("--exchange", name)]
    assert tickwarden_here("init", *words, folder=tmp_path).returncode == 0
    bases = {name: [symbol.split("/")[0] for symbol in symbols] for name, symbols in written(tmp_path).items()}
    assert bases == {name: ["BTC", "ETH"] if name in DEFAULT_SYMBOLS else ["BTC"] for name in EXCHANGES}
    shown = " ".join(tickwarden_here("init", "--help", folder=tmp_path).stdout.split())
    assert f"Without any: BTC and ETH on {', '.join(DEFAULT_SYMBOLS)}; BTC on all others" in shown


def test_every_key_that_is_not_set_stands_there_with_its_default(tmp_path: Path) -> None:
    assert tickwarden_here("init", "--exchange", "okx", folder=tmp_path).returncode == 0
    text = (tmp_path / "tickwarden.toml").read_text()
    lines = [line.removeprefix("# ") for line in text.splitlines()]
    every = [key for _, keys in SECTIONS.values() for key in keys.items()] + [*EXCHANGE.items()]
    known = {name for name, key in every if key.default is not None or name == "symbols"}
    (tmp_path / "all.toml").write_text(
        "\n".join(line for line in lines if line.startswith("[") or line.partition(" = ")[0] in known)
    )
    both = [load_config(tmp_path / name) for name in ("tickwarden.toml", "all.toml")]
    assert both[0].store == both[1].store and both[0].exchanges == both[1].exchanges
    assert both[0].supervision == both[1].supervision and both[0].log == both[1].log


@pytest.mark.parametrize("path", ["tickwarden.toml", "etc/my own.toml"])
def test_the_recording_is_where_the_options_say_and_an_existing_file_stays(path: str, tmp_path: Path) -> None:
    words = ("init", path, "--exchange", "okx")
    done = tickwarden_here(*words, "--file", 'da"ta/t.duckdb', folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert load_config(tmp_path / path).store.path == tmp_path / 'da"ta' / "t.duckdb"
    run = shlex.split(done.stdout.splitlines()[-1].removeprefix("record with: "))
    assert run == ["tickwarden", "run", *([] if path == "tickwarden.toml" else ["--config", path])]
    before = (tmp_path / path).read_text()
    refused = tickwarden_here(*words, folder=tmp_path)
    assert refused.returncode == 1 and "exists; --overwrite replaces it" in refused.stderr
    assert (tmp_path / path).read_text() == before
    assert tickwarden_here(*words, "--overwrite", folder=tmp_path).returncode == 0
    assert load_config(tmp_path / path).store.path == (tmp_path / path).with_name("ticks.duckdb")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 64, "no terminal to ask on: name what to record, like --exchange binance"),
        (["--symbol", "BTC/USDT"], 64, "of which exchange?"),
        (["--exchange", "binanse"], 64, "the nearest known one is 'binance'"),
        (["--exchange", "okx", "--exchange", "okx"], 64, "is named twice; give all its symbols at once"),
        (["--exchange", "okx", "--file", "s3://b/t.duckdb"], 64, "expected a path of this machine"),
        (["--exchange", "okx", "--file", "x/"], 64, "expected the name of a file, not of a folder"),
        (["--exchange", "okx", "--symbol", "BTC-USDT-SWAP"], 78, "BTC/USDT:USDT"),
        (["--exchange", "kraken=XBTUSD"], 78, "BTC/USD"),
        (["--exchange", "okx=BTC/USDT,"], 78, "exchanges.okx.symbols[1]"),
        (["--exchange", "okx", "--file", "a*b.duckdb"], 78, "DuckDB reads as part of a pattern"),
        (["--exchange", "okx", "--file", "tickwarden.toml"], 1, "give one of them another name"),
        (["--exchange", "okx", "--file", "./x/../tickwarden.toml"], 1, "give one of them another name"),
        (["--exchange", "okx", "--file", "tickwarden.toml/t.duckdb"], 1, "give one of them another name"),
        ([".", "--exchange", "okx"], 64, "is a folder; name a file in it"),
    ],
)
def test_wrong_options_are_answered_with_what_is_right_and_nothing_is_written(
    words: list[str], code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    done = tickwarden_here("init", *words, folder=tmp_path)
    assert done.returncode == code and said in " ".join(done.stderr.split()), done.stderr
    assert not list(tmp_path.iterdir())


def test_a_symbol_that_the_stored_list_does_not_have_is_a_warning_with_what_it_has(tmp_path: Path) -> None:
    lists(tmp_path / "ticks.duckdb")
    done = tickwarden_here("init", "--exchange", "kraken=BTC/USD,DOGGE/USD,*/EUR", folder=tmp_path)
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        "warning: DOGGE/USD: kraken does not list it; it lists DOGE/USD",
        "warning: */EUR matches no market that kraken lists",
    ]
    assert written(tmp_path) == {"kraken": ["BTC/USD", "DOGGE/USD", "*/EUR"]}


def test_on_a_terminal_it_asks_again_until_the_answer_can_be_right(tmp_path: Path) -> None:
    lists(tmp_path / "old.duckdb")
    (tmp_path / "notes.txt").write_text("a shopping list")
    with terminal("init", folder=tmp_path, width=120) as screen:
        for question, answer in (
            ("[ticks.duckdb]: ", "folder/"),
            ("not of a folder\nThe DuckDB file to record into [ticks.duckdb]: ", "notes.txt"),
            ("which is not a DuckDB file", "tickwarden.toml"),
            ("expected another file than the configuration", "tickwarden.toml/t.duckdb"),
            ("expected another file than the configuration", "notes.txt/t.duckdb"),
            ("expected a path through folders", "old.duckdb"),
            ("kraken okx]: ", "?"),
            ("spot BTC/USD; XBT is BTC and XDG is DOGE\n", "krakn"),
            ("the nearest known one is 'kraken'", "kraken, okx"),
            ("2 markets in the list", "?doge"),
            ("  DOGE/USD\n", "XBTUSD"),
            ("expected a symbol of this exchange", "DOGGE/USD"),
            ("it lists DOGE/USD\nKeep them all the same? [y/N]: ", "n"),
            ("Symbols of kraken [BTC/USD ETH/USD]: DOGGE/USD", "DOGE/USD BTC/USD"),
            ("Symbols of okx [BTC/USDT ETH/USDT]: ", ""),
        ):
            screen.until(question)
            screen.press(f"{answer}\n")
        assert screen.end() == 0
    assert "wrote tickwarden.toml: 4 symbols on 2 exchanges" in screen.text
    assert written(tmp_path) == {"kraken": ["DOGE/USD", "BTC/USD"], "okx": ["BTC/USDT", "ETH/USDT"]}
    assert load_config(tmp_path / "tickwarden.toml").store.path == tmp_path / "old.duckdb"


@pytest.mark.parametrize("key", ["\x03", "\x04"])
def test_ctrl_c_and_the_end_of_input_leave_nothing(key: str, tmp_path: Path) -> None:
    with terminal("init", folder=tmp_path) as screen:
        screen.until("[ticks.duckdb]: ")
        screen.press("\n")
        screen.until("kraken okx]: ")
        time.sleep(0.5)  # Python sees no signal that comes just before it begins to read the line
        screen.press(key)
        assert screen.end() == 130
    assert not list(tmp_path.iterdir()) and "Traceback" not in screen.text


def test_it_refuses_before_it_asks_where_a_configuration_stands(tmp_path: Path) -> None:
    (tmp_path / "tickwarden.toml").write_text("mine")
    with terminal("init", folder=tmp_path) as screen:
        assert screen.end() == 1
    assert "--overwrite replaces it" in " ".join(screen.text.split()) and "[ticks.duckdb]" not in screen.text
    assert (tmp_path / "tickwarden.toml").read_text() == "mine"


def test_a_file_of_the_options_that_cannot_be_is_refused_before_it_asks(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("a shopping list")
    with terminal("init", "--file", "notes.txt", folder=tmp_path) as screen:
        assert screen.end() == 78
    assert "not a DuckDB file" in " ".join(screen.text.split()) and "Exchanges" not in screen.text
