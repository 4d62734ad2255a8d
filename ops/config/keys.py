"""Every key of the config file: its check, its default and its help, in one place."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from actors.settings import ExchangeSettings, LakeSettings, StoreSettings, SupervisionSettings
from ops.config.checks import (
    Check,
    Choice,
    Number,
    Text,
    Url,
    Whole,
    file_name,
    folder_name,
    lake_uri,
    listening,
    memory_limit,
    storage_options,
    storage_version,
    words,
)

DAY_S = 86_400.0


class ControlSettings(Struct, frozen=True, kw_only=True):
    """The control socket (0600, or 0660 for `group`) and, where `http` is set, HTTP on that address."""

    socket: Path
    group: str = ""
    http: str = ""
    token: str = ""


class LogSettings(Struct, frozen=True, kw_only=True):
    """`format` "auto" is console on a terminal and JSON lines otherwise."""

    level: str = "info"
    format: str = "auto"


class Key(Struct, frozen=True):
    """One key. `default` is its value in the file; None: `sample` is shown, commented out."""

    check: Check
    help: str
    default: object = None
    sample: object = None


def _keys(settings: type[Any], **keys: Key) -> Mapping[str, Key]:
    """Takes the defaults from the settings class, so that each is written once."""
    defaults = {field.name: field.default for field in msgspec.structs.fields(settings)}
    return {
        name: key
        if key.default is not None or defaults[name] is msgspec.NODEFAULT
        else msgspec.structs.replace(key, default=defaults[name])
        for name, key in keys.items()
    }


STORE = _keys(
    StoreSettings,
    path=Key(file_name, 'the DuckDB file; the newest rows lie beside it in "PATH.tail/"', "ticks.duckdb"),
    flush_interval_s=Key(Number(0.001, 3600), "the longest time that a trade waits in memory"),
    flush_rows_max=Key(Whole(1, 1_000_000), "a flush also starts at this many rows"),
    merge_interval_s=Key(Number(0.01, DAY_S), "how often new rows are merged into the file"),
    storage_version=Key(storage_version, "the oldest DuckDB release that can open the file"),
    memory_limit=Key(memory_limit, "how much memory DuckDB may use"),
    rejects_bytes_per_day=Key(
        Whole(0, 1_000_000_000_000),
        "bytes of rejects stored for each exchange and UTC day; further rejects are only counted",
    ),
    keep_days=Key(
        Whole(0, 36_500),
        "UTC days to keep; older ones are deleted, but for the newest trades of quiet markets; 0 keeps all",
    ),
    archive_dir=Key(folder_name, "deleted days are first written to Parquet files in this folder", ""),
)

CONTROL = _keys(
    ControlSettings,
    socket=Key(
        file_name,
        'the Unix socket, mode 0600; default: store.path with ".sock" appended',
        sample="ticks.duckdb.sock",
    ),
    group=Key(
        Text(r"[^\s:/\x00]{0,64}", 'the name of a group, or ""'),
        "a group that may read through the socket (mode 0660) but not command",
    ),
    http=Key(listening, "serves the dashboard and the read-only routes here; beyond loopback only with a token"),
    token=Key(
        Text(r"|[!-~]{16,128}", '"" or 16 to 128 visible ASCII characters, as `openssl rand -hex 16` prints'),
        "what every request to `http` must carry: as the password of any user, or as a bearer token",
    ),
)

LOG = _keys(
    LogSettings,
    level=Key(Choice(("debug", "info", "warning", "error")), "the least severe entries that are logged"),
    format=Key(Choice(("auto", "console", "json")), "auto: console on a terminal, otherwise json"),
)

LAKE = _keys(
    LakeSettings,
    uri=Key(
        lake_uri,
        "where what is recorded is sent: a folder, or an address on object storage; without it nothing is sent",
        sample="s3://bucket/tape",
    ),
    recorder=Key(
        Text(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", "a name of letters, digits, '_', '-' and '.', at most 64"),
        "the name of this recorder, which no other recorder of the lake has",
        sample="tokyo-1",
    ),
    every_s=Key(Number(1, 3600), "how often it is sent"),
    credentials=Key(
        file_name,
        "a file of lines NAME=value with the secrets of the object store, read whenever they are needed; default:"
        " those of the environment",
        sample="lake.credentials",
    ),
    options=Key(
        storage_options,
        "other options of the object store, as the environment would name them",
        sample={"AWS_REGION": "eu-central-1"},
    ),
)

SUPERVISION = _keys(
    SupervisionSettings,
    backoff_initial_s=Key(
        Number(0.001, 3600), "the first delay before a reconnect or restart; it doubles each time"
    ),
    backoff_max_s=Key(Number(0.001, 3600), "the longest delay"),
    backoff_reset_s=Key(Number(0, DAY_S), "healthy data for this long resets the delay"),
    restarts_max=Key(
        Whole(0, 1000), "more crashes than this (bugs, not transient errors) within restarts_period_s: failed"
    ),
    restarts_period_s=Key(Number(0.1, DAY_S), "the period for restarts_max"),
    probe_interval_s=Key(Number(0.1, DAY_S), "how often a failed exchange is tried again"),
)

EXCHANGE = _keys(
    ExchangeSettings,
    symbols=Key(words, 'unified symbols, as ccxt writes them, and wildcards: "*/USDT", "BTC/*", "*/USDT:USDT"'),
    dialect=Key(
        Text(r"\S{1,64}", "the name of a dialect"),
        "the exchange, where the table has another name",
        sample="binance",
    ),
    ws_url=Key(
        Url(("ws", "wss")),
        "replaces scheme, host and port of every WebSocket endpoint",
        sample="ws://127.0.0.1:9443",
    ),
    rest_url=Key(
        Url(("http", "https")),
        "replaces scheme, host and port of every REST endpoint",
        sample="http://127.0.0.1:9444",
    ),
    silence_s=Key(
        Number(0.1, DAY_S), "reconnects after this long without any frame; default: the exchange's own", sample=30
    ),
    stall_s=Key(
        Number(0.5, DAY_S),
        "a market without trades for this long, and longer than its usual intervals, is checked for a stall",
    ),
    lifetime_s=Key(
        Number(10, 365 * DAY_S),  # old and new connection overlap for some seconds
        "a connection is replaced before it is this old; default: the exchange's own",
        sample=86400,
    ),
    redundancy=Key(
        Whole(1, 3),
        "connections that deliver each market; default: 2 where the exchange's history has only the newest trades"
        " and no ws_url is set, else 1",
        sample=2,
    ),
    channel=Key(
        Text(r"\S{1,64}", "the name of a channel"),
        "one of the exchange's trade channels; default: the first",
        sample="trade",
    ),
    ca_file=Key(file_name, "certificates to trust for this exchange instead of the system's", sample="ca.pem"),
)

# The tables at the top of the file. The exchanges are tables in a table and take the supervision keys too.
SECTIONS: Mapping[str, tuple[type[Any], Mapping[str, Key]]] = {
    "store": (StoreSettings, STORE),
    "control": (ControlSettings, CONTROL),
    "log": (LogSettings, LOG),
    "lake": (LakeSettings, LAKE),
    "supervision": (SupervisionSettings, SUPERVISION),
}
EXCHANGES = "exchanges"

# The symbols recorded without any configuration.
DEFAULT_SYMBOLS: Mapping[str, tuple[str, ...]] = {
    "binance": ("BTC/USDT", "ETH/USDT"),
    "bybit": ("BTC/USDT:USDT", "ETH/USDT:USDT"),
    "coinbaseexchange": ("BTC/USD", "ETH/USD"),
    "kraken": ("BTC/USD", "ETH/USD"),
    "okx": ("BTC/USDT", "ETH/USDT"),
}
