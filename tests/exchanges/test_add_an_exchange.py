"""ops/docs/add-an-exchange.md, followed word for word in a copy of the tree, adds an exchange that works."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.harness.paths import OPS, ROOT
from tests.harness.sampling import SAMPLE

PAGE = OPS / "docs" / "add-an-exchange.md"
FILE = re.compile(r"^`(\S+)`:\n\n```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FOLDERS = ("actors/exchanges/madeup/", "tests/exchanges/madeup/")
CONTRACT = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests" / "exchanges").glob("test_*.py"))
TESTS = (
    "tests/exchanges/madeup",
    *CONTRACT,
    "tests/actors/feed/test_bad_messages.py",
    "tests/actors/backfill/test_odd_answers.py",
)
REGISTRIES = {"actors/exchanges/registry.py", "actors/exchanges/loopbacks.py"}


def files_of_the_page() -> dict[str, tuple[str, str]]:
    """Language and content of each file by its path."""
    return {path: (language, content) for path, language, content in FILE.findall(PAGE.read_text("utf-8"))}


def with_lines_added(text: str, change: str) -> str:
    """The text with each "+" line of the change behind the line that stands before it there."""
    lines, before = text.splitlines(), ""
    for line in change.splitlines():
        if line.startswith("+"):
            lines.insert(lines.index(before) + 1, line[1:])
        before = line[1:]
    return "\n".join(lines) + "\n"


def follow(page: dict[str, tuple[str, str]], tree: Path) -> None:
    """Does in the tree what the page says."""
    for path, (language, content) in page.items():
        file = tree / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(
            with_lines_added(file.read_text("utf-8"), content) if language == "diff" else content, "utf-8"
        )


def copied(tree: Path) -> None:
    """The code and what the contract tests need, without the recordings of the other exchanges."""
    shutil.copy(ROOT / "pyproject.toml", tree)
    ignored = shutil.ignore_patterns("captures", "expected.jsonl")
    for folder in ("supervisor", "actors", "ops", "tests"):
        shutil.copytree(ROOT / folder, tree / folder, ignore=ignored)


def test_the_page_touches_nothing_that_is_shared_but_the_two_registries() -> None:
    page = files_of_the_page()
    shared = {path for path in page if not path.startswith(FOLDERS)}
    assert shared == REGISTRIES == {path for path, (language, _) in page.items() if language == "diff"}
    assert {path.removeprefix(FOLDERS[0]) for path in page if path.startswith(FOLDERS[0])} == {
        "__init__.py",
        "feed.py",
        "history.py",
        "instruments.py",
        "loopback.py",
        "recorded.jsonl",
    }
    added = [page[path][1].count("\n+") for path in sorted(REGISTRIES)]
    assert added == [2, 1]  # an import and a line for the loopback, a line for what is recorded


def test_an_exchange_added_as_the_page_says_keeps_every_promise_and_is_recorded(tmp_path: Path) -> None:
    copied(tmp_path)
    follow(files_of_the_page(), tmp_path)
    command = [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", "-rA", *TESTS]
    done = subprocess.run(
        [*command, "-k", "madeup or registries"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path), SAMPLE: "madeup"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    passed = set(re.findall(r"^PASSED \S+::(\w+)", done.stdout, re.MULTILINE))
    assert passed >= {
        "test_an_exchange_is_one_folder_with_a_loopback_and_cases_under_its_own_name",
        "test_the_registries_and_the_folders_name_the_same_exchanges",
        "test_the_service_records_the_loopback_trade_by_trade",
        "test_every_trade_of_a_recording_is_stored_once_and_nothing_else",
        "test_an_answer_is_read_as_recorded_or_documented",
        "test_recorded_lists_are_read_field_by_field",
        "test_one_bad_trade_among_good_ones_of_its_frame_costs_only_itself",
    }
    style = [shutil.which("ruff", path=Path(sys.executable).parent) or "ruff", "check", "--quiet", *FOLDERS]
    checked = subprocess.run(style, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
