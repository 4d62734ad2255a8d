"""What the pipeline is told: frozen settings with their units and defaults. ops.config builds them from TOML."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from supervisor import Backoff, Intensity


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisionSettings:
    """How failures are met. Delays are seconds; `restarts_max` counts bugs within `restarts_period_s`."""

    backoff_initial_s: float = 1.0
    backoff_max_s: float = 60.0
    backoff_reset_s: float = 60.0
    restarts_max: int = 10
    restarts_period_s: float = 600.0
    probe_interval_s: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """Where and how often ticks become durable. Segments go to "<path>.tail/".

    Of an exchange's rejects `rejects_bytes_per_day` are kept a UTC day; more are counted only. Members of `group`,
    a number, may read all of it. Days older than `keep_days` (0: none is too old) leave the file, by way of
    `archive_dir` if there is one.
    """

    path: Path
    flush_interval_s: float = 1.0
    flush_rows_max: int = 50_000
    merge_interval_s: float = 60.0
    storage_version: str = "v1.2.0"
    memory_limit: str = "512MB"
    rejects_bytes_per_day: int = 100_000_000
    keep_days: int = 0
    archive_dir: Path | None = None
    group: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeSettings:
    """One table under [exchanges]: `name` is the user's, `dialect` a key of actors.exchanges.registry.EXCHANGES.

    `ws_url` and `rest_url` replace scheme, host and port of every endpoint and keep the path.
    `silence_s`, `lifetime_s` and `channel` are None where the dialect's own value counts. `stall_s` is the
    shortest age of a market's newest trade that may be suspicious; `redundancy` how many connections carry it.
    """

    name: str
    dialect: str
    symbols: tuple[str, ...]
    ws_url: str | None = None
    rest_url: str | None = None
    silence_s: float | None = None
    stall_s: float = 10.0
    lifetime_s: float | None = None
    redundancy: int = 1
    channel: str | None = None
    ca_file: Path | None = None
    supervision: SupervisionSettings = field(default_factory=SupervisionSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineSettings:
    """Everything below the command line and the control socket."""

    store: StoreSettings
    exchanges: Mapping[str, ExchangeSettings]
    supervision: SupervisionSettings = field(default_factory=SupervisionSettings)


# Shutdown is nesting, upstream first: a connection says goodbye and hands over what it has read, the buffer
# empties its mailbox, the last batch is written, the tail is merged (and may be left, if time is up).
CONNECTION_STOP_S = 2.0
LAST_CHUNK_S = 1.0
BUFFER_STOP_S = 5.0
WRITER_STOP_S = 10.0
MERGE_STOP_S = 10.0
STOP_S_MAX = CONNECTION_STOP_S + LAST_CHUNK_S + BUFFER_STOP_S + WRITER_STOP_S + MERGE_STOP_S


def backoff_of(settings: SupervisionSettings) -> Backoff:
    """The settings' delays."""
    return Backoff(settings.backoff_initial_s, settings.backoff_max_s, settings.backoff_reset_s)


def intensity_of(settings: SupervisionSettings) -> Intensity:
    """The settings' patience with bugs."""
    return Intensity(settings.restarts_max, settings.restarts_period_s)
