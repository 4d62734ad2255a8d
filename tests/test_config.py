"""The configuration: what is read, from where, and that every mistake is told with what would be right."""

import os
import tomllib
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.settings import ExchangeSettings, StoreSettings, SupervisionSettings
from ops.config import Config, ConfigErrors, find_config, load_config
from ops.config_checks import Wrong
from ops.config_default import default_toml
from ops.config_keys import CONTROL, EXCHANGE, LOG, STORE, SUPERVISION
from ops.config_reader import shown

ONE = '[exchanges.binance]\nsymbols = ["BTC/USDT"]\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, home and environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("TICKWARDEN_CONFIG", raising=False)
    return tmp_path


def load(folder: Path, text: str | bytes) -> Config:
    path = folder / "c.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_config(path)


def mistakes(folder: Path, text: str | bytes) -> dict[str, str]:
    with pytest.raises(ConfigErrors) as caught:
        load(folder, text)
    assert all(mistake.right for mistake in caught.value.mistakes)
    assert len(str(caught.value).splitlines()) == len(caught.value.mistakes)
    return {mistake.key: str(mistake) for mistake in caught.value.mistakes}


def test_no_file_means_bitcoin_and_ether_on_five_exchanges_in_the_working_folder(folder: Path) -> None:
    config = load_config(None)
    assert config.source is None
    assert config.store == StoreSettings(path=folder / "ticks.duckdb")
    assert config.control.socket == folder / "ticks.duckdb.sock"
    assert {name: exchange.symbols for name, exchange in config.exchanges.items()} == {
        "binance": ("BTC/USDT", "ETH/USDT"),
        "coinbaseexchange": ("BTC/USD", "ETH/USD"),
        "kraken": ("BTC/USD", "ETH/USD"),
        "okx": ("BTC/USDT", "ETH/USDT"),
        "bybit": ("BTC/USDT:USDT", "ETH/USDT:USDT"),
    }
    pipeline = config.pipeline()
    assert (pipeline.store, pipeline.exchanges) == (config.store, config.exchanges)


def test_the_printed_default_means_the_same_as_no_file(folder: Path) -> None:
    printed, built_in = load(folder, default_toml()), load_config(None)
    assert (printed.store, printed.exchanges, printed.supervision) == (
        built_in.store,
        built_in.exchanges,
        built_in.supervision,
    )
    assert (printed.control, printed.log) == (built_in.control, built_in.log)


def test_the_printed_default_shows_every_key_and_its_samples_are_sound(folder: Path) -> None:
    (folder / "ca.pem").touch()
    uncommented = default_toml().replace("\n# ", "\n").replace("# Tickwarden", "# ", 1)
    document = tomllib.loads(uncommented)
    assert document["store"].keys() == STORE.keys() and document["control"].keys() == CONTROL.keys()
    assert document["log"].keys() == LOG.keys() and document["supervision"].keys() == SUPERVISION.keys()
    assert document["exchanges"]["binance"].keys() == EXCHANGE.keys()
    assert load(folder, uncommented).exchanges["binance"].silence_s == 30.0


def test_every_setting_has_a_key_and_every_key_a_setting_with_its_default() -> None:
    assert set(STORE) == set(StoreSettings.__dataclass_fields__)
    assert set(SUPERVISION) == set(SupervisionSettings.__dataclass_fields__)
    assert set(EXCHANGE) | {"name", "supervision"} == set(ExchangeSettings.__dataclass_fields__)
    assert SUPERVISION["restarts_max"].default == SupervisionSettings().restarts_max


def test_everything_can_be_set_and_relative_names_start_at_the_config_files_folder(folder: Path) -> None:
    deep = folder / "etc"
    deep.mkdir()
    (deep / "ca.pem").touch()
    config = load(
        deep,
        """
        [store]
        path = "data/t.duckdb"
        flush_interval_s = 2
        flush_rows_max = 10
        merge_interval_s = 5.5
        storage_version = "latest"
        memory_limit = "1.5 GiB"
        [control]
        http = "[::1]:8787"
        [log]
        level = "debug"
        format = "json"
        [supervision]
        backoff_max_s = 30
        restarts_max = 3
        [exchanges.mine]
        dialect = "binance"
        symbols = ["ETH/USDT"]
        ws_url = "ws://127.0.0.1:9443/"
        rest_url = "http://localhost:1"
        silence_s = 5
        channel = "trade"
        ca_file = "ca.pem"
        restarts_max = 9
        """,
    )
    assert config.source == deep / "c.toml"
    assert config.store.path == deep / "data/t.duckdb"
    assert config.control.socket == deep / "data/t.duckdb.sock"
    assert isinstance(config.store.flush_interval_s, float) and config.store.memory_limit == "1.5 GiB"
    assert config.exchanges["mine"] == ExchangeSettings(
        name="mine",
        dialect="binance",
        symbols=("ETH/USDT",),
        ws_url="ws://127.0.0.1:9443",
        rest_url="http://localhost:1",
        silence_s=5.0,
        channel="trade",
        ca_file=deep / "ca.pem",
        supervision=SupervisionSettings(backoff_max_s=30.0, restarts_max=9),
    )
    assert config.log.level == "debug" and config.control.http == "[::1]:8787"


def test_every_mistake_is_told_at_once(folder: Path) -> None:
    found = mistakes(
        folder,
        """
        [store]
        flush_interval = 1
        flush_rows_max = true
        [stores]
        [log]
        level = "verbose"
        [supervision]
        restarts_max = -1
        [exchanges.binanse]
        symbols = ["BTC/USDT"]
        [exchanges.kraken]
        symbols = ["BTC/USD", "BTCUSD", 5, "BTC/USD", "BTC/USD:BTC"]
        chanel = "trade"
        """,
    )
    assert list(found) == [
        "stores",
        "store.flush_interval",
        "store.flush_rows_max",
        "log.level",
        "supervision.restarts_max",
        "exchanges.binanse",
        "exchanges.kraken.chanel",
        "exchanges.kraken.symbols[1]",
        "exchanges.kraken.symbols[2]",
        "exchanges.kraken.symbols[3]",
        "exchanges.kraken.symbols[4]",
    ]
    assert "nearest known one is 'flush_interval_s'" in found["store.flush_interval"]
    assert "'store'" in found["stores"]
    assert "found true; right would be a whole number from 1 to" in found["store.flush_rows_max"]
    assert "'binance'" in found["exchanges.binanse"] and "dialect =" in found["exchanges.binanse"]
    assert "each market once" in found["exchanges.kraken.symbols[3]"]


@pytest.mark.parametrize(
    ("text", "key", "said"),
    [
        (
            'flush_interval_s = "fast"',
            "store.flush_interval_s",
            'found "fast"; right would be a number of seconds',
        ),
        ("flush_interval_s = nan", "store.flush_interval_s", "found nan"),
        ("flush_interval_s = true", "store.flush_interval_s", "found true"),
        ("merge_interval_s = 0", "store.merge_interval_s", "from 0.01"),
        ("flush_rows_max = 1.5", "store.flush_rows_max", "a whole number"),
        ('memory_limit = "lots"', "store.memory_limit", '"512MB"'),
        ('storage_version = "1.2"', "store.storage_version", '"v1.2.0"'),
        ('path = ""', "store.path", "the name of a file"),
        ('path = "data/"', "store.path", "not of a folder"),
        ('path = "."', "store.path", "a folder"),
        ("socket = 1979-05-27", "store.socket", "belongs under [control]"),
    ],
)
def test_a_wrong_store_value_is_told_with_what_would_be_right(folder: Path, text: str, key: str, said: str) -> None:
    found = mistakes(folder, f"[store]\n{text}\n{ONE}")
    assert list(found) == [key] and said in found[key]


@pytest.mark.parametrize(
    "http",
    [
        "0.0.0.0:8787",
        "example.com:80",
        "127.0.0.1",
        "127.0.0.1:0",
        "127.0.0.1:99999",
        "::1",
        "http://[::1]:1",
    ],
)
def test_http_is_refused_on_anything_but_loopback(folder: Path, http: str) -> None:
    assert "127.0.0.1:8787" in mistakes(folder, f'[control]\nhttp = "{http}"\n{ONE}')["control.http"]


@pytest.mark.parametrize("http", ["", "127.0.0.1:8787", "localhost:1", "[::1]:8787", "127.9.9.9:1"])
def test_http_on_loopback_or_off_is_taken(folder: Path, http: str) -> None:
    assert load(folder, f'[control]\nhttp = "{http}"\n{ONE}').control.http == http


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1",
        "127.0.0.1:9443",
        "ws://",
        "ws://:9443",
        "ws://h:port",
        "ws://h:0",
        "ws://h:99999",
        "ws://h/ws",
        "ws://h?x",
        "ws://user@h",
        "ws://h h",
        "ws://[::1",
        "ws://h\\u0000",
        "",
    ],
)
def test_a_ws_url_that_is_not_scheme_host_and_port_is_refused(folder: Path, url: str) -> None:
    found = mistakes(folder, f'{ONE}ws_url = "{url}"')
    assert "ws:// or wss://" in found["exchanges.binance.ws_url"]


@pytest.mark.parametrize("name", ["writer", "clock", "a b", "x:1", "", "é"])
def test_an_exchange_cannot_take_a_name_that_other_actors_or_urls_need(folder: Path, name: str) -> None:
    found = mistakes(folder, f'[exchanges."{name}"]\ndialect = "binance"\nsymbols = ["BTC/USDT"]')
    assert "a name of letters" in "".join(found.values())


@pytest.mark.parametrize(
    ("text", "key", "said"),
    [
        ("", "exchanges", "[exchanges.binance]"),
        ("exchanges = 5", "exchanges", "a table"),
        ("[exchanges]\nbinance = 5", "exchanges.binance", "a table"),
        ("[exchanges.binance]", "exchanges.binance.symbols", "found nothing"),
        ("[exchanges.binance]\nsymbols = []", "exchanges.binance.symbols", "a list"),
        ('[exchanges.binance]\nsymbols = "BTC/USDT"', "exchanges.binance.symbols", "a list"),
        (f'{ONE}channel = "trades"', "exchanges.binance.channel", "'trade'"),
        (f'{ONE}ca_file = "none.pem"', "exchanges.binance.ca_file", "a file that is there"),
        (f"{ONE}backoff_initial_s = 61", "exchanges.binance.backoff_initial_s", "at most backoff_max_s (60)"),
        (
            f"[supervision]\nbackoff_max_s = 0.5\n{ONE}",
            "supervision.backoff_max_s",
            "backoff_initial_s (1) at most",
        ),
        (f'[control]\ngroup = "no-such-group-here"\n{ONE}', "control.group", "a group of this system"),
        (f'[control]\nsocket = "ticks.duckdb"\n{ONE}', "control.socket", "another file"),
        ("store = 1\n" + ONE, "store", "a table: [store]"),
    ],
)
def test_mistakes_between_keys_name_the_key_and_the_relation(folder: Path, text: str, key: str, said: str) -> None:
    found = mistakes(folder, text)
    assert list(found) == [key] and said in found[key]


def test_a_socket_path_that_the_system_cannot_bind_is_refused(folder: Path) -> None:
    found = mistakes(folder, f'[control]\nsocket = "{"s" * 107}"\n{ONE}')
    assert "at most 107 bytes" in found["control.socket"]


def test_broken_toml_is_told_with_its_line(folder: Path) -> None:
    said = mistakes(folder, '[store]\npath = "x"\nflush_rows_max = = 5\n')[""]
    assert "line 3" in said and "flush_rows_max = = 5" in said


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\xff\xfe[\x00s\x00", "UTF-16"),
        (b"[store]\npath = '\xe9'\n", "not UTF-8 (line 2)"),
        (b"#" * (1 << 20) + b"\n", "more than 1,048,576 bytes"),
        (b"a = " + b"[" * 100_000, "brackets nested too deep"),
    ],
)
def test_a_file_that_is_no_toml_text_is_told(folder: Path, data: bytes, said: str) -> None:
    assert said in mistakes(folder, data)[""]


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(folder: Path) -> None:
    config = load(folder, b"\xef\xbb\xbf" + ONE.replace("\n", "\r\n").encode())
    assert config.exchanges["binance"].symbols == ("BTC/USDT",)


def test_a_file_that_cannot_be_read_is_told(folder: Path) -> None:
    for path in (folder / "missing.toml", folder):
        with pytest.raises(ConfigErrors, match=r"nothing readable \(") as caught:
            load_config(path)
        assert str(path) in str(caught.value)


def test_the_config_is_looked_for_in_the_documented_order(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_config(None) is None
    home = folder / "home/.config/tickwarden"
    xdg = folder / "xdg/tickwarden"
    for place in (home, xdg):
        place.mkdir(parents=True)
        (place / "config.toml").touch()
    assert find_config(None) == home / "config.toml"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "xdg"))
    assert find_config(None) == xdg / "config.toml"
    Path("tickwarden.toml").touch()
    assert find_config(None) == Path("tickwarden.toml")
    monkeypatch.setenv("TICKWARDEN_CONFIG", "named.toml")
    assert find_config(None) == Path("named.toml")  # missing: an error when read, not another file
    assert find_config(Path("given.toml")) == Path("given.toml")


def test_a_relative_xdg_folder_is_ignored_as_its_specification_says(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "xdg")
    (folder / "xdg/tickwarden").mkdir(parents=True)
    (folder / "xdg/tickwarden/config.toml").touch()
    assert find_config(None) is None


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(value=_values)
def test_no_value_makes_a_check_fail_in_another_way_than_saying_what_is_right(value: object) -> None:
    for key in (*STORE.values(), *CONTROL.values(), *LOG.values(), *SUPERVISION.values(), *EXCHANGE.values()):
        with suppress(Wrong):  # any other exception fails the test
            key.check(value)
    assert len(shown(value)) <= 80 and "\n" not in shown(value)


def test_the_home_folder_may_stand_as_a_tilde(folder: Path) -> None:
    assert load(folder, f'[store]\npath = "~/t.duckdb"\n{ONE}').store.path == Path(os.environ["HOME"]) / "t.duckdb"
