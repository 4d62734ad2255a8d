"""Shell completion as a shell asks for it; --version; and NO_COLOR wherever colours are printed."""

import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from actors.exchanges.registry import EXCHANGES
from ops.cli.commands import COMMANDS
from ops.export.examples import EXAMPLES
from tests.harness.amounts import amount, variants
from tests.harness.cli_process import environment, running, sandbox, tickwarden, tickwarden_here, wait_for
from tests.harness.terminal import program_on_terminal, terminal

CONFIG = """
[exchanges.binance]
symbols = ["BTC/USDT", "ETH/USDT", "*/BTC"]
[exchanges.perps]
dialect = "bybit"
symbols = ["BTC/USDT:USDT", "BTC/USD:BTC"]
"""
SHELLS = ("bash", "zsh", "fish")
# The escape that sets a foreground or background colour; bold and dim are none.
COLOUR = r"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])(?:;\d+)*m"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a configuration, and `tickwarden` in bin/ as an installed command."""
    (tmp_path / "tickwarden.toml").write_text(CONFIG)
    program = tmp_path / "bin" / "tickwarden"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nfrom ops.cli import main\nmain()\n")
    program.chmod(0o755)
    return tmp_path


def in_bash(folder: Path, line: str) -> list[str]:
    """What bash would offer behind this line, with the script as it is printed."""
    # The current word as bash parts it, at colons and equals signs too.
    words = [part for part in re.split(r"(\s+|[:=]+)", line) if part.strip()]
    if line[-1].isspace() or line[-1] in ":=":
        words.append("")
    script = (
        'source <(tickwarden completion bash); function compopt { echo "compopt $*"; }; '
        f"COMP_LINE={line!r}; COMP_POINT=${{#COMP_LINE}}; COMP_WORDS=({' '.join(map(repr, words))}); "
        "COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); complete -p tickwarden >&2; "
        '_tickwarden_completion tickwarden; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    path = f"{folder / 'bin'}:/usr/bin:/bin"
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        cwd=folder,
        env=environment(folder, PATH=path),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "complete -o nosort -F _tickwarden_completion tickwarden" in done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    variants(
        ("tickwarden ", [*COMMANDS]),
        ("tickwarden exchanges krak", ["kraken", "krakenfutures"]),
        ("tickwarden doctor ", ["binance", "perps"]),
        ("tickwarden tail --exchange=per", ["perps"]),
        ("tickwarden re", [name for name in COMMANDS if name.startswith("re")]),
        ("tickwarden init --exchange bitm", ["bitmex"]),
        ("tickwarden gaps --symbol BTC/USDT", ["BTC/USDT", "BTC/USDT:USDT"]),
        ("tickwarden gaps --symbol BTC/USDT:", ["USDT"]),  # bash itself keeps what stands before the colon
        ("tickwarden gaps --symbol=BTC/USD:", ["BTC"]),
        ("tickwarden tail --exchange binance --symbol ", ["BTC/USDT", "ETH/USDT"]),
        ("tickwarden query --example ", [*EXAMPLES]),
        ("tickwarden query --format mark", ["markdown"]),
        ("tickwarden query --form", ["--format"]),
        ("tickwarden check-config ", ["compopt", "-o", "default"]),
        ("tickwarden restart ", []),  # no service runs
        kept=4,
    ),
)
def test_bash_completes_commands_options_and_names(line: str, offered: list[str], folder: Path) -> None:
    assert in_bash(folder, line) == offered


# How each shell starts with the script and a key, Ctrl-X, that shows the line as it is then, and clears it.
START = {
    "bash": (
        ["--noprofile", "--rcfile", "rc.bash", "-i"],
        "rc.bash",
        """PS1='READY> '; source <(tickwarden completion bash)
        show() { printf '<<%s>>\\n' "$READLINE_LINE"; READLINE_LINE=; READLINE_POINT=0; }
        bind -x '"\\C-x": show'
        """,
    ),
    "zsh": (
        ["-d", "-i"],
        ".zshrc",
        """PS1='READY> '; autoload -Uz compinit; compinit -u -D; eval "$(tickwarden completion zsh)"
        show() { print -r -- "<<$BUFFER>>"; BUFFER= }
        zle -N show; bindkey '^X' show
        """,
    ),
    "fish": (
        ["--no-config", "-i", "-C", "source rc.fish"],
        "rc.fish",
        """tickwarden completion fish | source
        function fish_prompt; echo 'READY> '; end
        bind \\cx 'echo "<<"(commandline)">>"; commandline ""'
        """,
    ),
}


@pytest.mark.parametrize("shell", variants(*SHELLS))
def test_a_real_shell_puts_completions_in_where_they_belong(shell: str, folder: Path) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    options, name, script = START[shell]
    (folder / name).write_text(script)
    path = f"{folder / 'bin'}:/usr/bin:/bin"
    with program_on_terminal([program, *options], folder, 200, ZDOTDIR=str(folder), PATH=path) as screen:
        screen.until("READY>")
        for number, (typed, completed) in enumerate(
            (
                ("tickwarden comp", "tickwarden completion "),
                ("bin/tickwarden exchanges bitm", "bin/tickwarden exchanges bitmex "),
                ("tickwarden tail --exchange=per", "tickwarden tail --exchange=perps "),
                ("tickwarden gaps --symbol BTC/USDT:", "tickwarden gaps --symbol BTC/USDT:USDT "),
                ("tickwarden gaps --symbol=BTC/USD:", "tickwarden gaps --symbol=BTC/USD:BTC "),
                ("tickwarden run --config=tickw", "tickwarden run --config=tickwarden.toml "),
            )
        ):
            screen.press(f"{typed}\t\x18")
            wait_for(typed, lambda number=number: screen.read(0.1) and screen.text.count(">>") > number)
            assert re.findall("<<(.*?)>>", screen.text)[-1] == completed


def test_descriptions_are_whole_in_fish(folder: Path) -> None:
    fish = shutil.which("fish")
    if fish is None:
        pytest.skip("fish is not installed")
    script = "tickwarden completion fish | source; complete -C 'tickwarden acto'"
    path = f"{folder / 'bin'}:/usr/bin:/bin"
    done = subprocess.run(
        [fish, "--no-config", "-c", script], env=environment(folder, PATH=path), capture_output=True, text=True
    )
    assert done.stdout == f"actors\t{COMMANDS['actors'][2]}\n" and "," in done.stdout


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_of_each_shell_is_printed_and_asks_for_what_it_gets(shell: str, folder: Path) -> None:
    script = tickwarden_here("completion", shell, folder=folder)
    assert script.returncode == 0 and not script.stderr
    assert f"_TICKWARDEN_COMPLETE={shell}_complete" in script.stdout and "tickwarden" in script.stdout
    if where := shutil.which(shell):
        subprocess.run([where, "-n"], input=script.stdout, text=True, check=True)
    line = "tickwarden exchanges "
    asked = {"COMP_WORDS": line, "COMP_CWORD": "" if shell == "fish" else "2", "COMP_LINE": line}
    answer = tickwarden(folder=folder, _TICKWARDEN_COMPLETE=f"{shell}_complete", **asked)
    assert answer.returncode == 0 and not answer.stderr
    assert set(re.findall(r"^(?:plain[,\n])(\w+)", answer.stdout, re.M)) == set(EXCHANGES)


def test_actors_are_those_of_the_running_service(folder: Path) -> None:
    with sandbox(folder, rate=10.0) as config:
        (folder / "tickwarden.toml").write_text(config)
        with running("run", folder=folder):
            wait_for("a connection", lambda: "kraken:1" in tickwarden_here("actors", folder=folder).stdout)
            assert "kraken:1" in in_bash(folder, "tickwarden restart k")
            assert "1" in in_bash(folder, "tickwarden pause kraken:")


def test_a_broken_configuration_completes_nothing_and_prints_nothing(folder: Path) -> None:
    (folder / "tickwarden.toml").write_text("[")
    asked = {"COMP_WORDS": "tickwarden doctor ", "COMP_CWORD": "2"}
    answer = tickwarden(folder=folder, _TICKWARDEN_COMPLETE="zsh_complete", **asked)
    assert (answer.returncode, answer.stdout.strip(), answer.stderr) == (0, "", "")


def test_another_shell_is_wrong_use(tmp_path: Path) -> None:
    done = tickwarden_here("completion", "tcsh", folder=tmp_path)
    assert done.returncode == 64 and "'fish'" in done.stderr


def test_the_version_is_that_of_the_package(tmp_path: Path) -> None:
    done = tickwarden("--version", folder=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"tickwarden, version {version('tickwarden')}\n")


# What draws on a terminal: log, screens, tables, progress; and a code that shows that it does draw.
COLOURED = (
    (("run", "--config", "c.toml", "--for", "1"), r"\x1b\[2m"),
    (("exchanges",), ""),
    (("run", "--for", "1"), ""),
    (("demo", "--seconds", "1", "--exchange", "okx", "--dir", "d"), ""),
    (("query", "SELECT NULL AS n, 'x' AS word", "--file", "d/ticks.duckdb"), r"\x1b\[2m"),
    (("export", "copy.duckdb", "--overwrite", "--file", "d/ticks.duckdb"), COLOUR),
)


def test_no_color_takes_the_colours_away_everywhere(tmp_path: Path) -> None:
    dead = (
        '[exchanges.kraken]\nsymbols = ["BTC/USD"]\nws_url = "ws://127.0.0.1:9"\nrest_url = "http://127.0.0.1:9"\n'
    )
    (tmp_path / "tickwarden.toml").write_text(dead)
    (tmp_path / "c.toml").write_text(
        '[log]\nformat = "console"\nlevel = "debug"\n[store]\npath = "c.duckdb"\n' + dead
    )
    for words, coloured in COLOURED[: amount(2, len(COLOURED))]:
        with terminal(*words, folder=tmp_path, NO_COLOR="1") as screen:
            assert screen.end() in (0, 75), (words, screen.text)
            assert screen.text.strip() and not re.search(COLOUR, screen.raw), words
            assert "c.toml" not in words or "\x1b[" not in screen.raw
        if coloured:  # else nothing would be tested
            with terminal(*words, folder=tmp_path) as screen:
                screen.end()
                assert re.search(coloured, screen.raw), words
