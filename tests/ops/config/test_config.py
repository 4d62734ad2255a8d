"""The configuration: what is read, from where, and that every mistake is reported with what is expected."""

import json
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from actors.exchanges import registry
from actors.exchanges.registry import EXCHANGES
from actors.model.batch import Batch
from actors.model.ticks import Block
from actors.pipeline import TREE, Pipeline
from actors.settings import ExchangeSettings, LakeSettings, PipelineSettings, StoreSettings, SupervisionSettings
from actors.sink.lake.credentials import configured_options
from actors.store.store import Store
from ops.cli.commands import COMMANDS
from ops.config.checks import Wrong
from ops.config.config import Config, ConfigErrors, find_config, load_config
from ops.config.keys import CONTROL, EXCHANGE, LAKE, LOG, SECTIONS, STORE, SUPERVISION, Key
from ops.config.paths import host_mistakes
from ops.config.reader import shown
from ops.terminal.suggestions import did_you_mean, nearest
from supervisor import ChildSpec
from tests.harness.amounts import variants

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


async def test_no_exchange_may_have_the_name_of_an_actor_of_the_service(folder: Path) -> None:
    lake = LakeSettings(uri=str(folder / "lake"), recorder="a")
    pipeline = Pipeline(PipelineSettings(store=StoreSettings(path=folder / "t.duckdb"), exchanges={}, lake=lake))
    async with trio.open_nursery() as nursery:
        await nursery.start(pipeline.run)
        names = {TREE, *(actor.name for actor in pipeline.tree.snapshot())}
        pipeline.stop()
    assert {"writer", "exchanges", "ship"} <= names
    for name in sorted(names):
        wrong = mistakes(folder, f'[exchanges.{name}]\ndialect = "binance"\nsymbols = ["BTC/USDT"]\n')
        assert f" {name}," in f"{wrong[f'exchanges.{name}']},"


def test_every_setting_has_a_key_and_every_key_a_setting_with_its_default() -> None:
    assert set(STORE) | {"group"} == set(StoreSettings.__struct_fields__)  # the group is that of [control]
    assert set(LAKE) == set(LakeSettings.__struct_fields__)
    assert set(SUPERVISION) == set(SupervisionSettings.__struct_fields__)
    assert set(EXCHANGE) | {"name", "supervision"} == set(ExchangeSettings.__struct_fields__)
    tables: list[tuple[type[Any], Mapping[str, Key]]] = [*SECTIONS.values(), (ExchangeSettings, EXCHANGE)]
    for settings, keys in tables:
        for field in msgspec.structs.fields(settings):
            name = field.name
            if name in keys and field.default is not msgspec.NODEFAULT:
                nothing = "" if name == "archive_dir" else None  # TOML has no word for nothing
                assert keys[name].default == (nothing if field.default is None else field.default), name


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


def test_every_mistake_is_reported_at_once(folder: Path) -> None:
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
    assert "got true, expected a whole number from 1 to" in found["store.flush_rows_max"]
    assert "'binance'" in found["exchanges.binanse"] and "dialect =" in found["exchanges.binanse"]
    assert "each market once" in found["exchanges.kraken.symbols[3]"]


@pytest.mark.parametrize(
    ("text", "key", "said"),
    [
        (
            'flush_interval_s = "fast"',
            "store.flush_interval_s",
            'got "fast", expected a number of seconds',
        ),
        ("flush_interval_s = nan", "store.flush_interval_s", "got nan"),
        ("flush_interval_s = true", "store.flush_interval_s", "got true"),
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
def test_a_wrong_store_value_is_reported_with_what_is_expected(
    folder: Path, text: str, key: str, said: str
) -> None:
    found = mistakes(folder, f"[store]\n{text}\n{ONE}")
    assert list(found) == [key] and said in found[key]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('[store]\npath = "s3://bucket/t.duckdb"', "store.path"),
        ('[store]\npath = "HTTP://b/x.duckdb"', "store.path"),
        ('[store]\npath = "file:///t.duckdb"', "store.path"),
        ('[store]\narchive_dir = "s3://bucket/archive/"', "store.archive_dir"),
        ('[control]\nsocket = "unix://run/t.sock"', "control.socket"),
    ],
)
def test_an_address_where_a_file_of_this_machine_is_meant_is_refused(folder: Path, text: str, key: str) -> None:
    found = mistakes(folder, f"{text}\n{ONE}")
    assert list(found) == [key] and 'a path of this machine, like "/srv/ticks", without ' in found[key]


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
        "[::1]x:8787",
        "[localhost]:8787",
        "[fe80::1%lo]:8787",
        "[127.0.0.1]:8787",
        "127.0.0.1:+87",
        "127.0.0.1:\\uff18\\uff17",
    ],
)
def test_http_is_refused_on_anything_but_loopback_without_a_token(folder: Path, http: str) -> None:
    assert "127.0.0.1:8787" in mistakes(folder, f'[control]\nhttp = "{http}"\n{ONE}')["control.http"]


@pytest.mark.parametrize("http", ["0.0.0.0:8787", "192.0.2.1:80", "[::]:8787"])
def test_http_is_served_to_others_with_a_token(folder: Path, http: str) -> None:
    section = f'[control]\nhttp = "{http}"\n'
    assert load(folder, f'{section}token = "{"s" * 16}"\n{ONE}').control.http == http
    assert "control.token" in mistakes(folder, f'{section}token = ""\n{ONE}')["control.http"]
    for poor in ("short", "with a blank within", "ü" * 20):
        assert "16 to 128" in mistakes(folder, f'{section}token = "{poor}"\n{ONE}')["control.token"]


@pytest.mark.parametrize("http", ["", "127.0.0.1:8787", "localhost:1", "[::1]:8787", "127.9.9.9:1"])
def test_http_on_loopback_or_off_is_taken(folder: Path, http: str) -> None:
    assert load(folder, f'[control]\nhttp = "{http}"\n{ONE}').control.http == http


@pytest.mark.parametrize(
    ("http", "same"),
    [("LOCALHOST:1", "localhost:1"), ("[0:0::0001]:8787", "[::1]:8787"), ("127.0.0.1:0080", "127.0.0.1:80")],
)
def test_http_has_one_spelling_whatever_is_written(folder: Path, http: str, same: str) -> None:
    assert load(folder, f'[control]\nhttp = "{http}"\n{ONE}').control.http == same


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
        "ws://[::1]x:9",
        "ws://[v1.x]:9",
        "ws://[127.0.0.1]:9",
        "ws://x[::1]:9",
        "ws://0x7f.1:9",
        "ws://127.0x1",
        "ws://1.2.3.4.5",
        "ws://1.2.3.4.",
        "ws://127.1.:9",
        "ws://a.7",
        "ws://\\uff11\\uff12\\uff17.0.0.1:9",
        "ws://h:\\uff18",
        "ws://\\u2460.com:9",
        "ws://\\u00df.de",
        "ws://h\\u0000",
        "",
    ],
)
def test_a_ws_url_that_is_not_scheme_host_and_port_is_refused(folder: Path, url: str) -> None:
    found = mistakes(folder, f'{ONE}ws_url = "{url}"')
    assert "ws:// or wss://" in found["exchanges.binance.ws_url"]


def test_a_host_of_other_letters_is_refused_with_its_ascii_form(folder: Path) -> None:
    found = mistakes(folder, f'{ONE}ws_url = "ws://bücher.example:9"')["exchanges.binance.ws_url"]
    assert "a host in ASCII, like xn--bcher-kva.example" in found


@pytest.mark.parametrize(
    "url", ["ws://[::1]:9", "ws://[2001:DB8::1]", "ws://1.2.3.4", "ws://7.example", "ws://h_1:9"]
)
def test_a_ws_url_with_an_address_or_a_name_is_taken(folder: Path, url: str) -> None:
    assert load(folder, f'{ONE}ws_url = "{url}"').exchanges["binance"].ws_url == url


@pytest.mark.parametrize(
    "name", ["writer", "clock", "tickwarden", "a b", "x:1", "", "é", "a" * 55, "x\\u200b", "..", "a/b", "-x"]
)
def test_an_exchange_cannot_take_a_name_that_other_actors_or_urls_need(folder: Path, name: str) -> None:
    found = mistakes(folder, f'[exchanges."{name}"]\ndialect = "binance"\nsymbols = ["BTC/USDT"]')
    assert "a name of letters" in "".join(found.values())


@pytest.mark.parametrize(
    ("text", "key", "said"),
    [
        ("", "exchanges", "[exchanges.binance]"),
        ("exchanges = 5", "exchanges", "a table"),
        ("[exchanges]\nbinance = 5", "exchanges.binance", "a table"),
        ("[exchanges.binance]", "exchanges.binance.symbols", "got nothing"),
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
        (f'[control]\nsocket = "ticks.duckdb"\n{ONE}', "control.socket", "apart from"),
        ("store = 1\n" + ONE, "store", "a table: [store]"),
    ],
)
def test_mistakes_between_keys_name_the_key_and_the_relation(folder: Path, text: str, key: str, said: str) -> None:
    found = mistakes(folder, text)
    assert list(found) == [key] and said in found[key]


def test_a_socket_path_that_the_system_cannot_bind_is_refused(folder: Path) -> None:
    found = mistakes(folder, f'[control]\nsocket = "{"s" * 107}"\n{ONE}')
    assert "at most 107 bytes" in found["control.socket"]


def test_an_exchanges_name_may_be_so_long_that_its_actors_still_have_names(folder: Path) -> None:
    name = "a" * 49
    config = load(folder, f'[exchanges.{name}]\ndialect = "binance"\nsymbols = ["BTC/USDT"]')
    for actor in (f"{name}:stall_detector", f"{name}:instruments", f"{name}:12345678"):

        async def run(_: object) -> None: ...

        ChildSpec(actor, run)  # raises ValueError for a name that is too long
    assert list(config.exchanges) == [name]


@pytest.mark.parametrize("odd", ["*", "?", "[", "]", "\\"])
@pytest.mark.parametrize("inside", ["file", "folder"])
def test_a_path_that_duckdb_reads_as_a_pattern_is_refused_wherever_the_character_stands(
    folder: Path, odd: str, inside: str
) -> None:
    base = folder / f"x{odd}y" if inside == "folder" else folder
    base.mkdir(exist_ok=True)
    name = f"t{odd}.duckdb" if inside == "file" else "t.duckdb"
    found = mistakes(base, f"[store]\npath = '{name}'\n{ONE}")
    assert list(found) == ["store.path"] and "pattern" in found["store.path"]


@pytest.mark.parametrize("name", ["store.duckdb", "Store.DuckDB", "sub/.STORE"])
def test_a_name_that_duckdb_confuses_with_the_schema_is_refused_with_another_one(folder: Path, name: str) -> None:
    (found,) = mistakes(folder, f'[store]\npath = "{name}"\n{ONE}').items()
    assert found[0] == "store.path"
    assert "confuse it with the schema store" in found[1] and '"ticks.duckdb"' in found[1]
    assert load(folder, f'[store]\npath = "store/ticks.duckdb"\n{ONE}').store.path.name == "ticks.duckdb"


def test_a_link_is_judged_by_where_it_leads_because_the_store_works_there(folder: Path) -> None:
    (folder / "odd [1]").mkdir()
    (folder / "fine").symlink_to(folder / "odd [1]")
    assert "pattern" in mistakes(folder, f'[store]\npath = "fine/t.duckdb"\n{ONE}')["store.path"]
    (folder / "plain").mkdir()
    (folder / "link [1]").symlink_to(folder / "plain")
    assert load(folder, f'[store]\npath = "link [1]/t.duckdb"\n{ONE}').store.path.name == "t.duckdb"
    (folder / "a").symlink_to("b")
    (folder / "b").symlink_to("a")
    assert "store.path" in mistakes(folder, f'[store]\npath = "a/t.duckdb"\n{ONE}')


@pytest.mark.parametrize("quote", variants("'", "ünï", "$(x)", '"', ";", "#", "%", "{a}", "=", ",", "  ", kept=3))
def test_a_path_with_signs_that_duckdb_takes_as_they_are_holds_a_store(folder: Path, quote: str) -> None:
    (folder / f"d{quote}").mkdir()
    config = load(folder / f"d{quote}", ONE)
    store = Store(config.store)
    store.start()
    store.close()
    assert config.store.path.is_file()


@pytest.mark.parametrize(
    ("place", "said"),
    [
        *(
            ("t.duckdb" + ending, "apart from")
            for ending in ("", ".lock", ".wal", ".tail", ".tail/s", ".new", ".tmp/s")
        ),
        ("x/../t.duckdb.lock", "apart from"),
        ("./t.duckdb/s", "apart from"),
        ("archive/s", "archive"),
        ("s" * 120, "107 bytes"),
    ],
)
def test_the_socket_takes_no_place_that_the_store_uses(folder: Path, place: str, said: str) -> None:
    text = f'[store]\npath = "t.duckdb"\narchive_dir = "archive"\n[control]\nsocket = "{place}"\n{ONE}'
    if said == "archive":
        assert load(folder, text).control.socket == folder / place  # parquet files and a socket do not meet
    else:
        assert said in mistakes(folder, text)["control.socket"]


@pytest.mark.parametrize(
    "archive", ["t.duckdb", "t.duckdb.tail", "t.duckdb.tail/old", "t.duckdb.sock", "a[1]", "a\\b"]
)
def test_the_archive_is_a_folder_of_its_own(folder: Path, archive: str) -> None:
    found = mistakes(folder, f"[store]\npath = 't.duckdb'\narchive_dir = '{archive}'\n{ONE}")
    assert list(found) == ["store.archive_dir"]


@pytest.mark.parametrize(
    ("lake", "met"),
    [
        ("tape", "tape/archive/ticks"),
        ("tape/archive", "tape/archive/ticks"),
        ("tape/archive/ticks", "tape/archive/ticks"),
        ("file:///{folder}/tape", "tape/archive/ticks"),
        ("link", "tape/archive/ticks"),
        ("tape/archive/ticks/lake", "tape/archive/ticks"),
        ("own/store/t.duckdb.tail", "own/store/t.duckdb.tail"),
        ("own", "own/store/t.duckdb"),
    ],
)
def test_a_lake_has_nothing_of_ours_below_it_and_is_below_nothing_of_ours(
    folder: Path, lake: str, met: str
) -> None:
    (folder / "tape").mkdir()
    (folder / "link").symlink_to(folder / "tape")
    places = '[store]\npath = "own/store/t.duckdb"\narchive_dir = "tape/archive/ticks"\n'
    places += '[control]\nsocket = "own/control/s"\n'
    text = f'{places}[lake]\nuri = "{lake.format(folder=folder)}"\nrecorder = "r"\n{ONE}'
    found = mistakes(folder, text)
    assert list(found) == ["lake.uri"] and found["lake.uri"].endswith(f"apart from {folder / met}")
    for other in ("tape/lake", "own/store", "own/control"):  # in the last two these are beside the lake's folders
        assert load(folder, f'{places}[lake]\nuri = "{other}"\nrecorder = "r"\n{ONE}').lake is not None


@pytest.mark.parametrize("path", ["n" * 230, "d" * 256 + "/t.duckdb", "/".join(["d" * 200] * 20) + "/t"])
def test_a_path_longer_than_file_systems_take_is_refused(folder: Path, path: str) -> None:
    text = f'[store]\npath = "{path}"\n[control]\nsocket = "s"\n{ONE}'
    assert "store.path" in mistakes(folder, text)


@pytest.mark.parametrize(
    "limit", ["1MB", "16MB", "31.9MB", "30MiB", "0.5GB", "64", "64KB", "\u0661GB", "1e3MB", "-1GB", "80%"]
)
def test_a_memory_limit_with_which_merges_fail_is_refused(folder: Path, limit: str) -> None:
    assert "store.memory_limit" in mistakes(folder, f'[store]\nmemory_limit = "{limit}"\n{ONE}')


def test_the_least_memory_limit_is_enough_to_flush_and_merge(folder: Path) -> None:
    settings = load(folder, f'[store]\nmemory_limit = "32MB"\n{ONE}').store
    store = Store(settings)
    store.start()
    rows = 50_000
    for _ in range(2):
        block = Block("binance")
        texts = [str(number) for number in range(rows)]
        block.extend(
            ["BTC/USDT"] * rows, [1] * rows, [1] * rows, texts, texts, ["buy"] * rows, texts, ["stream"] * rows
        )
        store.write(Batch(store.next_number(), (block,)))
    while store.merge().backlog:
        pass
    store.close()
    assert store.segment_count == 0 or settings.path.stat().st_size > 1_000_000


@pytest.mark.parametrize(
    "number", ["1" + "0" * 400, "-1" + "0" * 400, "0x" + "f" * 50_000, "9" * 5_000, "1e999", "-inf"]
)
def test_a_number_of_any_size_is_a_mistake_and_no_crash(folder: Path, number: str) -> None:
    for key in ("flush_interval_s", "flush_rows_max"):
        mistakes(folder, f"[store]\n{key} = {number}\n{ONE}")


@pytest.mark.parametrize(
    "host",
    ["999.1.1.1", "1.2.3", "a..b", "-a.de", "a b", "ws\\\\x", "é" * 70 + ".de", "a" * 64 + ".de", "[1::2::3]"],
)
def test_a_host_that_cannot_be_is_refused(folder: Path, host: str) -> None:
    assert "exchanges.binance.ws_url" in mistakes(folder, f'{ONE}ws_url = "ws://{host}:1"')


def test_a_scheme_in_capitals_and_a_lone_colon_are_made_plain(folder: Path) -> None:
    config = load(folder, f'{ONE}ws_url = "WSS://Example.com:"\nrest_url = "HTTP://[::1]:9/"')
    exchange = config.exchanges["binance"]
    assert (exchange.ws_url, exchange.rest_url) == ("wss://Example.com", "http://[::1]:9")


@pytest.mark.parametrize(
    ("text", "key", "said"),
    [
        ('[store]\npath = "file/t.duckdb"', "store.path", "is not one"),
        ('[store]\npath = "fifo"', "store.path", "a pipe"),
        ('[store]\npath = "/proc/t.duckdb"\n[control]\nsocket = "s"', "store.path", "may write"),
        ('[control]\nsocket = "/proc/s"', "control.socket", "may write"),
        ('[store]\npath = "c.toml"', "store.path", "not a DuckDB file"),
        ('[store]\npath = "dangling"', "store.path", ""),
        ('[store]\npath = "dir/t.duckdb"', "store.path", "beside it"),
        ('[store]\narchive_dir = "file/a"', "store.archive_dir", "is not one"),
        ('[control]\nsocket = "missing/s"', "control.socket", "does not"),
        ('[control]\nsocket = "file"', "control.socket", "not a socket"),
        ('[control]\nsocket = "file/s"', "control.socket", ""),
        ('[control]\nhttp = "IN_USE"', "control.http", "in use"),
        (f'{ONE}ca_file = "file"', "exchanges.binance.ca_file", "PEM"),
    ],
)
def test_check_config_looks_at_this_host(folder: Path, text: str, key: str, said: str) -> None:
    (folder / "file").write_text("x")
    os.mkfifo(folder / "fifo")
    (folder / "dangling").symlink_to(folder / "file" / "x")
    (folder / "dir").mkdir()
    (folder / "dir" / "t.duckdb.tail").write_text("")
    with socket.create_server(("127.0.0.1", 0)) as running:
        text = text.replace("IN_USE", f"127.0.0.1:{running.getsockname()[1]}")
        found = {m.key: str(m) for m in host_mistakes(load(folder, text if ONE in text else f"{text}\n{ONE}"))}
    assert list(found) == [key]
    assert said in found[key]


def test_a_host_without_a_recording_yet_and_one_with_a_recording_are_fine(folder: Path) -> None:
    text = f'[store]\npath = "new/deep/t.duckdb"\n{ONE}'
    assert not list(host_mistakes(load(folder, text)))
    store = Store(load(folder, text).store)
    store.start()
    assert not list(host_mistakes(load(folder, text)))
    store.close()
    other = text.replace("[store]", '[store]\nstorage_version = "v1.4.2"')
    (mistake,) = host_mistakes(load(folder, other))
    assert mistake.key == "store.storage_version" and '"v1.2.0"' in str(mistake)


@pytest.mark.parametrize(("version", "named"), [("v1.2.0", "v1.2.0"), ("v1.2.2", "v1.2.0"), ("latest", "latest")])
def test_a_storage_version_is_named_as_files_name_it(folder: Path, version: str, named: str) -> None:
    assert load(folder, f'[store]\nstorage_version = "{version}"\n{ONE}').store.storage_version == named


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_this_user_may_not_write_is_named(folder: Path) -> None:
    (folder / "ro").mkdir(mode=0o500)
    found = list(host_mistakes(load(folder, f'[store]\npath = "ro/t.duckdb"\n{ONE}')))
    assert "may write" in str(found[0])


@pytest.mark.parametrize(
    ("word", "known", "near"),
    [
        ("gdax", EXCHANGES, None),
        ("version", COMMANDS, None),
        ("stop", COMMANDS, None),
        ("ftx", EXCHANGES, None),
        ("xyz", STORE, None),
        ("binanse", EXCHANGES, "binance"),
        ("Kraken", EXCHANGES, "kraken"),
        ("coinbaseexchang", EXCHANGES, "coinbaseexchange"),
        ("stats", COMMANDS, "status"),
        ("config", COMMANDS, "check-config"),
        ("flush_interval", STORE, "flush_interval_s"),
        ("version", STORE, "storage_version"),
        ("memory", STORE, "memory_limit"),
    ],
)
def test_only_a_word_that_is_like_it_is_called_the_nearest(
    word: str, known: Mapping[str, object], near: str
) -> None:
    assert nearest(word, known) == near
    said = did_you_mean(word, known)
    assert (repr(near) in said) if near else ("nearest" not in said)


def test_broken_toml_is_reported_with_its_line(folder: Path) -> None:
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
def test_a_file_that_is_no_toml_text_is_reported(folder: Path, data: bytes, said: str) -> None:
    assert said in mistakes(folder, data)[""]


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(folder: Path) -> None:
    config = load(folder, b"\xef\xbb\xbf" + ONE.replace("\n", "\r\n").encode())
    assert config.exchanges["binance"].symbols == ("BTC/USDT",)


def test_a_file_that_cannot_be_read_is_reported(folder: Path) -> None:
    for path in (folder / "missing.toml", folder / "c.toml" / "below.toml"):
        with pytest.raises(ConfigErrors, match=r"nothing readable \(") as caught:
            load_config(path)
        assert str(path) in str(caught.value)


def test_the_config_is_searched_in_the_documented_order(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_relative_xdg_folder_is_ignored_as_specified(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.mark.parametrize(
    "text", ["*/USDT", "BTC/*", "*/*", "*/USDT:USDT", "BTC/USD:*", "BTC/USD:BTC-*", "*/USD:*-*"]
)
def test_a_wildcard_stands_for_a_whole_code(folder: Path, text: str) -> None:
    config = load(folder, f'[exchanges.okx]\nsymbols = ["BTC/USDT", "{text}"]')
    assert config.exchanges["okx"].symbols == ("BTC/USDT", text)


@pytest.mark.parametrize(
    ("exchange", "symbols", "said"),
    [
        ("okx", ["*"], "stands for a whole code"),
        ("okx", ["BTC*/USDT"], "stands for a whole code"),
        ("okx", ["BTC/USDT-*"], "stands for a whole code"),
        ("okx", ["BTC/USD:BTC-26*"], "stands for a whole code"),
        ("okx", ["*/USDT", "*/USDT"], "each market once"),
        ("okx", ["*/US T"], "U+0020"),
        ("upbit", ["*/USDT:USDT"], "matches swap markets; upbit records spot markets only"),
    ],
)
def test_a_wildcard_that_can_match_nothing_is_a_mistake(
    folder: Path, exchange: str, symbols: list[str], said: str
) -> None:
    found = mistakes(folder, f"[exchanges.{exchange}]\nsymbols = {json.dumps(symbols)}")
    ((place, message),) = found.items()
    assert place == f"exchanges.{exchange}.symbols[{len(symbols) - 1}]" and said in message


def test_wildcards_need_a_list_that_can_be_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = '[exchanges.okx]\nsymbols = ["*/USDT"]\nws_url = "ws://127.0.0.1:1"'
    assert list(mistakes(folder, plain)) == ["exchanges.okx.rest_url"]
    assert load(folder, plain + '\nrest_url = "http://127.0.0.1:1"')
    without = {**EXCHANGES, "okx": replace(EXCHANGES["okx"], instruments=None)}
    monkeypatch.setattr(registry, "EXCHANGES", without)
    found = mistakes(folder, '[exchanges.okx]\nsymbols = ["*/USDT"]')
    assert "no list of okx's markets is read" in found["exchanges.okx.symbols[0]"]


def test_a_lake_is_a_folder_beside_the_file_or_an_address_on_object_storage(folder: Path) -> None:
    (folder / "keys").write_text("AWS_ACCESS_KEY_ID=a\nexport AWS_SECRET_ACCESS_KEY='b c'\n# no\n\n[default]\n")
    (folder / "keys").chmod(0o600)
    for name in ("./s3:/b", "./az/b", "s3"):
        lake = load(folder, f'[lake]\nuri = "{name}"\nrecorder = "r"\n{ONE}').lake
        assert lake is not None and lake.uri == str(folder / name)
    lake = load(folder, f'[lake]\nuri = "tape/"\nrecorder = "tokyo-1"\n{ONE}').lake
    assert lake == LakeSettings(uri=str(folder / "tape"), recorder="tokyo-1")
    assert lake.every_s == 10.0 and configured_options(lake) == {}
    text = '[lake]\nuri = "s3://bucket/tape/"\nrecorder = "a.b"\nevery_s = 1\ncredentials = "keys"\n'
    config = load(folder, f'{text}[lake.options]\nAWS_REGION = "x"\nAWS_ALLOW_HTTP = true\n{ONE}')
    assert config.lake is not None and config.pipeline().lake == config.lake
    assert (config.lake.uri, config.lake.every_s) == ("s3://bucket/tape", 1.0)
    assert configured_options(config.lake) == {
        "AWS_REGION": "x",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b c",
    }
    assert list(host_mistakes(config)) == []
    assert load(folder, ONE).lake is None and load(folder, f"[lake]\nevery_s = 3\n{ONE}").lake is None


@pytest.mark.parametrize(
    ("text", "key", "hint"),
    [
        ('uri = "tape"', "lake.recorder", 'a name for this recorder like "tokyo-1"'),
        ('recorder = "r"', "lake.uri", "got nothing, expected a folder, or an address"),
        ('uri = "tape"\nrecorder = "a/b"', "lake.recorder", "letters, digits"),
        ('uri = "tape"\nrecorder = ""', "lake.recorder", "letters, digits"),
        ('uri = "s4://b"\nrecorder = "r"', "lake.uri", "one of s3://, s3a://"),
        ('uri = "hdfs://b"\nrecorder = "r"', "lake.uri", "s3://, s3a://, gs://"),
        ('uri = "s3://"\nrecorder = "r"', "lake.uri", "an address like"),
        ('uri = "file://host/share"\nrecorder = "r"', "lake.uri", 'like "file:///srv/tape"'),
        ('uri = "file://tape"\nrecorder = "r"', "lake.uri", 'like "file:///srv/tape"'),
        ('uri = "file://"\nrecorder = "r"', "lake.uri", 'like "file:///srv/tape"'),
        ('uri = "file:/srv/tape"\nrecorder = "r"', "lake.uri", 'like "file:///srv/tape"'),
        ('uri = "s3:/b/tape"\nrecorder = "r"', "lake.uri", 'an address like "s3://bucket/tape"; a folder'),
        ('uri = "GS:b/tape"\nrecorder = "r"', "lake.uri", 'like "gs://bucket/tape"'),
        ('uri = "S3//b/tape"\nrecorder = "r"', "lake.uri", 'like "s3://bucket/tape"; a folder of this name'),
        ('uri = "az/b"\nrecorder = "r"', "lake.uri", 'a folder of this name is written "./az/b"'),
        ('uri = "s4:/b"\nrecorder = "r"', "lake.uri", 'like "s3://bucket/tape"; a folder of this name'),
        ('uri = "s3://me:word@b/tape"\nrecorder = "r"', "lake.uri", "the file of lake.credentials"),
        ('uri = "s3://b/tape?key=x"\nrecorder = "r"', "lake.uri", "the file of lake.credentials"),
        ('uri = 3\nrecorder = "r"', "lake.uri", "a folder, or an address"),
        ('uri = "ticks.duckdb.tail/lake"\nrecorder = "r"', "lake.uri", "a path of its own, apart from"),
        ('uri = "ta%20pe"\nrecorder = "r"', "lake.uri", "a path without % anywhere in it"),
        ('uri = "a [new]/tape"\nrecorder = "r"', "lake.uri", "a path without [ ] anywhere in it"),
        ("uri = 'file:///a\\b'\nrecorder = 'r'", "lake.uri", "a path without \\ anywhere in it"),
        ('uri = "tape"\nrecorder = "r"\nevery_s = 0.5', "lake.every_s", "a number of seconds from 1 to 3600"),
        ('uri = "tape"\nrecorder = "r"\ncredentials = "gone"', "lake.credentials", "a file that is there"),
        ('uri = "tape"\nrecorder = "r"\noptions = "x"', "lake.options", "a table like"),
        ('uri = "tape"\nrecorder = "r"\n[lake.options]\n"A B" = "x"', "lake.options", "names of options"),
        ('uri = "tape"\nrecorder = "r"\n[lake.options]\nA = 1.5', "lake.options", "text as the value of A"),
        (f'uri = "tape"\nrecorder = "r"\n[lake.options]\nA = 0x{"f" * 5000}', "lake.options", "as the value of A"),
        ('uri = "tape"\nrecorder = "r"\nrecoder = "s"', "lake.recoder", "nearest known one is 'recorder'"),
    ],
)
def test_a_mistake_in_the_lake_says_what_to_do(folder: Path, text: str, key: str, hint: str) -> None:
    found = mistakes(folder, f"[lake]\n{text}\n{ONE}")
    assert list(found) == [key] and hint in found[key]


@pytest.mark.parametrize(
    "name", ["AWS_SECRET_ACCESS_KEY", "AZURE_STORAGE_ACCOUNT_KEY", "aws_session_token", "sas_key"]
)
def test_a_secret_in_the_configuration_is_refused_and_not_shown(folder: Path, name: str) -> None:
    text = f'[lake]\nuri = "s3://b/t"\nrecorder = "r"\n[lake.options]\n{name} = "abc123"\n{ONE}'
    found = mistakes(folder, text)
    assert name in found["lake.options"] and "lake.credentials" in found["lake.options"]
    assert "abc123" not in str(found)


def test_a_lake_without_its_package_says_how_to_install_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install tickwarden[lake]" in mistakes(folder, f'[lake]\nuri = "t"\nrecorder = "r"\n{ONE}')["lake"]
    assert load(folder, ONE).lake is None


@pytest.mark.parametrize(
    ("content", "mode", "hint"),
    [
        (b"", 0o600, "at least one line NAME=value"),
        (b"A=1\nsecret words\n", 0o600, "line 2 is none"),
        (b"\xff\xfe", 0o600, "UTF-8"),
        (b"A=" + b"x" * 70_000, 0o600, "at most 65,536 bytes"),
        (b"A=secret\n", 0o640, "run: chmod 600"),
        (b"A=secret\n", 0o604, "run: chmod 600"),
    ],
)
def test_check_config_reads_the_credentials_and_never_shows_them(
    folder: Path, content: bytes, mode: int, hint: str
) -> None:
    (folder / "keys").write_bytes(content)
    (folder / "keys").chmod(mode)
    config = load(folder, f'[lake]\nuri = "s3://b/t"\nrecorder = "r"\ncredentials = "keys"\n{ONE}')
    (found,) = host_mistakes(config)
    assert found.key == "lake.credentials" and hint in found.right and "secret" not in str(found)


def test_check_config_finds_a_lake_folder_that_cannot_be_written(folder: Path) -> None:
    (folder / "file").touch()
    (found,) = host_mistakes(load(folder, f'[lake]\nuri = "file/tape"\nrecorder = "r"\n{ONE}'))
    assert found.key == "lake.uri" and "a path through folders" in found.right


def test_a_folder_and_a_file_that_may_not_be_read_are_no_configuration(folder: Path) -> None:
    with pytest.raises(ConfigErrors, match=r"got a folder, expected a TOML file, like .*tickwarden\.toml"):
        load_config(folder)
    hidden = folder / "hidden.toml"
    hidden.write_text(ONE)
    hidden.chmod(0)
    before = os.geteuid()
    if before == 0:  # who may read everything
        folder.chmod(0o755)
        os.seteuid(65534)
    try:
        with pytest.raises(ConfigErrors, match=r"cannot be read, expected one that this user \(\d+\) may read"):
            load_config(hidden)
    finally:
        os.seteuid(before)
