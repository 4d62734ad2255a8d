"""The settings of the pipeline: frozen values with their units and defaults. ops.config builds them from TOML."""

from collections.abc import Mapping
from pathlib import Path
from random import Random

from msgspec import Struct, field

from supervisor import Backoff, Intensity

# Spreads retries and load. One for all, because each takes 2.5 kB and a connection would have four.
JITTER = Random()  # noqa: S311 - keeps no secret


class SupervisionSettings(Struct, frozen=True, kw_only=True):
    """How failures are handled. Delays are seconds; `restarts_max` counts bugs within `restarts_period_s`."""

    backoff_initial_s: float = 1.0
    backoff_max_s: float = 60.0
    backoff_reset_s: float = 60.0
    restarts_max: int = 10
    restarts_period_s: float = 600.0
    probe_interval_s: float = 300.0


class StoreSettings(Struct, frozen=True, kw_only=True):
    """Where and how often ticks become durable. Segments go to "<path>.tail/".

    Up to `rejects_bytes_per_day` of an exchange's rejects are kept per UTC day; more are only counted. Members of
    `group`, a number, may read everything. Days older than `keep_days` (0: none is too old) are deleted from the
    file, after being written to `archive_dir` if it is set.
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


class LakeSettings(Struct, frozen=True, kw_only=True):
    """Where what is recorded is sent, and how often; see actors.sink.lake.

    `uri` is a folder, or an address on object storage, which `options` describe. `credentials` is a file with the
    secret ones; it is read whenever the lake is opened.
    """

    uri: str
    recorder: str
    every_s: float = 10.0
    credentials: Path | None = None
    options: Mapping[str, str] = field(default_factory=dict)


class ExchangeSettings(Struct, frozen=True, kw_only=True):
    """One table under [exchanges]: `name` is the user's, `dialect` a key of actors.exchanges.registry.EXCHANGES.

    `ws_url` and `rest_url` replace scheme, host and port of every endpoint and keep the path. `silence_s`,
    `lifetime_s` and `channel` are None to use the dialect's own values (see FeedSettings). `stall_s` is the
    shortest age of a market's newest trade that counts as suspicious; `redundancy` is the number of connections
    that carry it, None for the default (see actors.recorder.feed_settings).
    """

    name: str
    dialect: str
    symbols: tuple[str, ...]
    ws_url: str | None = None
    rest_url: str | None = None
    silence_s: float | None = None
    stall_s: float = 10.0
    lifetime_s: float | None = None
    redundancy: int | None = None
    channel: str | None = None
    ca_file: Path | None = None
    supervision: SupervisionSettings = field(default_factory=SupervisionSettings)

    @property
    def has_rest(self) -> bool:
        """Whether REST is used at all.

        A configured ws_url may lead anywhere; its trades must not be repaired with those of the real exchange, nor
        its markets taken from the real list. So REST is used only if rest_url is configured too.
        """
        return self.ws_url is None or self.rest_url is not None


class FeedSettings(Struct, frozen=True, kw_only=True):
    """The configuration of one exchange's connections, with every default resolved.

    `lifetime_s` is None if the exchange closes no connection because of its age.
    """

    name: str
    channel: str
    silence_s: float
    lifetime_s: float | None
    ws_url: str | None
    rest_url: str | None
    redundancy: int
    ca_file: Path | None
    supervision: SupervisionSettings


# Deadlines of the shutdown, upstream first: a connection closes and sends what it has read, the buffer empties its
# mailbox, the last batch is written, what the lake lacks is sent if it answers, the tail is merged (or left, if the
# time is up).
CONNECTION_STOP_S = 2.0
LAST_CHUNK_S = 1.0
BUFFER_STOP_S = 5.0
WRITER_STOP_S = 10.0
SHIP_STOP_S = 4.0
MERGE_STOP_S = 10.0
STOP_S_MAX = CONNECTION_STOP_S + LAST_CHUNK_S + BUFFER_STOP_S + WRITER_STOP_S + SHIP_STOP_S + MERGE_STOP_S


# A connection's chunk goes to the buffer when it has so many ticks, or rejects that weigh as much.
CHUNK_ROWS = 500
WRITE_RETRY, MERGE_RETRY = Backoff(0.2, 0.5), Backoff(0.2, 5.0)


class SinkLimits(Struct, frozen=True, kw_only=True):
    """Limits of buffer, writer and merger; a row takes about 500 bytes of memory.

    When the queues of the buffer and of the writer are both full, the exchanges stop reading their sockets. A write
    is retried soon, so that recording resumes within a second after space is free again; a merge can wait, and each
    attempt reads and writes more. While the database is locked, `locked_tries` attempts with `pause_s` between them
    are made, then there is one long wait.
    """

    intake_rows_max: int = 100_000
    sealed_rows_max: int = 200_000
    chunks_at_once: int = 256
    write_retry: Backoff = WRITE_RETRY
    merge_retry: Backoff = MERGE_RETRY
    locked_retry_s: float = 5.0
    locked_tries: int = 10
    pause_s: float = 0.1  # between the parts of a long merge, so that readers get in
    # the pause between pieces, as a multiple of how long the last one locked the database
    retention_rest: float = 20.0


class StoreLimits(Struct, frozen=True, kw_only=True):
    """Limits of the store.

    While the database is locked for hours, a flush a second would leave 86,400 segments a day, and each costs a
    query about 0.1 ms: joining `compact_width` of a level as soon as there are so many keeps it at a few dozen.

    A query lists the tail when it starts and opens the files as it goes, each perhaps much later. So segments
    replaced by a compaction are kept for those who have listed them: unchanged at first, for a query that lists
    twice (see store.views); after `hide_s` behind a symbolic link, which can be opened but is no longer listed, and
    so costs new queries next to nothing; after `keep_s` they are deleted, if no process has any file of the tail
    open, and after `keep_max_s` in any case.
    """

    # Merged at once. A row costs 1.1 us of CPU, so this locks the database for 0.25 s, two to three times that on a
    # full core. Parts smaller than a row group of DuckDB cost more in all: 1.9 us a row in parts of 100,000.
    merge_rows_max: int = 200_000
    compact_width: int = 16
    compact_rows_max: int = 8_000_000  # rows of a segment (200 MB); joining larger ones would take too long
    hide_s: float = 10.0
    keep_s: float = 1200.0
    keep_max_s: float = 86_400.0
    # For a larger batch only times and counts are noted: 50,000 rows take 5 ms without ids and 8 ms with them, and
    # writing them takes 34 ms. So many rows in one flush are a flood, which no history can return.
    noted_ids_rows_max: int = 10_000
    # About 0.1 s to delete and 3 s to archive; a single minute with more rows is one piece.
    retention_rows_max: int = 1_000_000

    def __post_init__(self) -> None:
        assert self.hide_s <= self.keep_s <= self.keep_max_s


class Limits(Struct, frozen=True, kw_only=True):
    """Limits that no configuration changes; tests pass smaller ones."""

    sink: SinkLimits = field(default_factory=SinkLimits)
    store: StoreLimits = field(default_factory=StoreLimits)
    chunk_rows: int = CHUNK_ROWS
    buffer_stop_s: float = BUFFER_STOP_S
    writer_stop_s: float = WRITER_STOP_S
    merge_stop_s: float = MERGE_STOP_S


DEFAULT_LIMITS = Limits()


class PipelineSettings(Struct, frozen=True, kw_only=True):
    """All settings of the pipeline."""

    store: StoreSettings
    exchanges: Mapping[str, ExchangeSettings]
    supervision: SupervisionSettings = field(default_factory=SupervisionSettings)
    lake: LakeSettings | None = None
    limits: Limits = DEFAULT_LIMITS


def backoff_of(settings: SupervisionSettings) -> Backoff:
    """The backoff of these settings."""
    return Backoff(settings.backoff_initial_s, settings.backoff_max_s, settings.backoff_reset_s)


def intensity_of(settings: SupervisionSettings) -> Intensity:
    """The restart intensity of these settings."""
    return Intensity(settings.restarts_max, settings.restarts_period_s)
