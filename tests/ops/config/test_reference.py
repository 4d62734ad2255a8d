"""The configuration reference is generated from the keys, and its default file means what no file means."""

import re
import tomllib
from pathlib import Path

import pytest

from ops.config.config import load_config
from ops.config.keys import CONTROL, EXCHANGE, LAKE, LOG, SECTIONS, STORE, SUPERVISION
from ops.config.reference import default_toml, reference
from tests.harness.paths import OPS


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_committed_page_is_what_the_code_generates() -> None:
    hint = "run: python -m ops.config.reference > ops/docs/configuration.md"
    assert (OPS / "docs" / "configuration.md").read_text() == reference(), hint


def test_the_page_has_a_row_for_every_key_with_what_is_expected() -> None:
    rows = re.findall(r"^\| (\w+) \| [^|]* \| ([^|]+) \| ([^|]+) \|$", reference(), re.M)
    keys = [name for _, section in SECTIONS.values() for name in section] + list(EXCHANGE)
    assert [name for name, _, _ in rows if name != "key"] == keys


def test_the_default_file_means_the_same_as_no_file(folder: Path) -> None:
    (folder / "c.toml").write_text(default_toml())
    printed, built_in = load_config(folder / "c.toml"), load_config(None)
    assert (printed.store, printed.exchanges, printed.supervision) == (
        built_in.store,
        built_in.exchanges,
        built_in.supervision,
    )
    assert (printed.control, printed.log) == (built_in.control, built_in.log)


def test_the_default_file_shows_every_key_and_its_samples_are_valid(folder: Path) -> None:
    (folder / "ca.pem").touch()
    (folder / "lake.credentials").touch()
    uncommented = re.sub(r"^# (?=\w+ = )", "", default_toml(), flags=re.M)
    document = tomllib.loads(uncommented)
    assert document["store"].keys() == STORE.keys() and document["control"].keys() == CONTROL.keys()
    assert document["log"].keys() == LOG.keys() and document["supervision"].keys() == SUPERVISION.keys()
    assert document["exchanges"]["binance"].keys() == EXCHANGE.keys()
    assert document["lake"].keys() == LAKE.keys()
    (folder / "c.toml").write_text(uncommented)
    assert load_config(folder / "c.toml").exchanges["binance"].silence_s == 30.0
