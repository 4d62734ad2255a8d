"""/metrics: Prometheus text built from the pipeline at each scrape.

Nothing is counted twice: the numbers are the pipeline's own, and only what is no state (why actors were restarted)
is counted here, from events. Labels are bounded by the configuration: exchange, actor, and fixed values. Units are
seconds and bytes; names follow https://prometheus.io/docs/practices/naming/ (read 2026-11).

Counters exist from the start, at 0: `increase` does not see the first increment of a series that begins with it. A
time is 0 if it never occurred, any other number NaN while it is unknown. The series of an exchange or an actor end
with it, so that no alert about it remains.
"""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from actors.model.ticks import Reason
from actors.pipeline import Pipeline
from actors.telemetry.ledger import Account
from ops.monitoring import status as report
from ops.monitoring.loop_monitor import Watch
from ops.monitoring.metrics_families import UNKNOWN, counter, gauge, histogram, seconds
from ops.monitoring.metrics_restarts import REASONS, Restarts
from supervisor import State

_EXCHANGE = ("exchange",)
_ACTOR = ("actor",)


class Metrics(Collector):
    """Renders one scrape.

    `restarts` has counted every event of the pipeline; `lines_dropped` is the number of log lines that nobody read,
    see ops.monitoring.logs.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        watch: Watch,
        restarts: Restarts | None = None,
        *,
        lines_dropped: Callable[[], int] = lambda: 0,
    ) -> None:
        self._pipeline, self._watch, self._lines_dropped = pipeline, watch, lines_dropped
        self.restarts = restarts or Restarts()
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)  # CPU, memory, open files: process_*

    def render(self) -> bytes:
        """Renders the text exposition format, version 0.0.4."""
        return generate_latest(self._registry)

    def describe(self) -> list[Metric]:
        """Nothing: the registry would otherwise collect once just to learn the names."""
        return []

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client.registry.Collector."""
        yield from self._service()
        yield from self._exchanges()
        yield from self._actors()
        yield from self._store()
        yield from self._lake()

    def _service(self) -> Iterator[Metric]:
        pipeline = self._pipeline
        running = ((report.running_version(),), 1)
        yield gauge("build_info", "The running version; always 1.", ("version",), [running])
        started = seconds(pipeline.started_ns)
        yield gauge("start_time_seconds", "Unix time at which this run began.", (), [((), started)])
        ready = not report.not_ready(pipeline)
        yield gauge(
            "ready", "1 while ticks become durable and a feed is fresh, as in /v1/ready.", (), [((), ready)]
        )
        loop_lag = [((), self._watch.loop_lag_s)]
        yield histogram("loop_lag_seconds", "Delay of the event loop, measured four times a second.", (), loop_lag)
        jumps = [((), pipeline.clock.jumps)]
        yield counter("clock_jumps", "Detected jumps of the host's clock.", (), jumps)
        dropped = [((), self._lines_dropped())]
        yield counter("log_lines_dropped", "Log lines lost because nobody read them in time.", (), dropped)

    def _exchanges(self) -> Iterator[Metric]:
        pipeline = self._pipeline
        # An account outlives its exchange, which may be added again; its series do not.
        accounts = {name: exchange.account for name, exchange in pipeline.exchanges.items()}

        def each(get: Callable[[Account], float]) -> list[tuple[tuple[str], float]]:
            return [((name,), get(account)) for name, account in accounts.items()]

        for name, text, get in _COUNTERS:
            yield counter(name, text, _EXCHANGE, each(get))
        rejected = [((n, r.value), a.rejected_by[r.value]) for n, a in accounts.items() for r in Reason]
        help_text = "Messages and trades rejected, by reason, counted once their evidence is durable."
        yield counter("ticks_rejected", help_text, ("exchange", "reason"), rejected)
        for name, text, get in _GAUGES:
            yield gauge(name, text, _EXCHANGE, each(get))
        lags = [((name,), account.lag_s) for name, account in accounts.items()]
        help_text = "Receipt minus the exchange's own time of the trade, sampled once per read of a socket."
        yield histogram("exchange_lag_seconds", help_text, _EXCHANGE, lags)
        negative = [((name,), pipeline.clock.lags.negative[name]) for name in accounts]
        help_text = "Samples of the lag below zero: the exchange's time of the trade was later than its receipt."
        yield counter("exchange_lag_negative", help_text, _EXCHANGE, negative)
        exchanges = pipeline.exchanges.items()
        up = [((name,), sum(c.state.connected for c in exchange.connections)) for name, exchange in exchanges]
        yield gauge("exchange_connections", "WebSockets that are open.", _EXCHANGE, up)
        wanted = [((name,), len(exchange.connections)) for name, exchange in exchanges]
        yield gauge("exchange_connections_wanted", "WebSockets that should be open.", _EXCHANGE, wanted)
        symbols = [((name,), len(exchange.settings.symbols)) for name, exchange in exchanges]
        yield gauge("exchange_symbols_wanted", "Symbols and wildcards to record.", _EXCHANGE, symbols)

    def _actors(self) -> Iterator[Metric]:
        health = self._pipeline.tree.snapshot()
        states = [((a.name, state.value), a.state is state) for a in health for state in State]
        yield gauge("actor_state", "1 for the actor's current state.", ("actor", "state"), states)
        restarts = self.restarts.by_actor_and_reason
        help_text = "Restarts, by cause."
        counted = [((a.name, reason), restarts[a.name, reason]) for a in health for reason in REASONS]
        yield counter("actor_restarts", help_text, ("actor", "reason"), counted)
        again: dict[str, int] = dict.fromkeys(self._pipeline.exchanges, 0)
        for (actor, _), count in restarts.items():
            exchange, _, part = actor.rpartition(":")
            if exchange in again and part.isdecimal():  # its connections are numbered, its other actors have names
                again[exchange] += count
        reconnects = [((name,), count) for name, count in again.items()]
        yield counter("exchange_reconnects", "Restarts of connections.", _EXCHANGE, reconnects)
        handled = [((a.name,), a.handled) for a in health]
        yield counter("actor_handled", "Work done by the actor, in its own unit.", _ACTOR, handled)
        boxes = [(a.name, a.mailbox) for a in health if a.mailbox is not None]
        depth = [((name,), box.depth) for name, box in boxes]
        yield gauge("mailbox_depth_rows", "Rows waiting in the actor's mailbox.", _ACTOR, depth)
        capacity = [((name,), box.capacity) for name, box in boxes]
        yield gauge("mailbox_capacity_rows", "Rows at which senders have to wait.", _ACTOR, capacity)
        peak = [((name,), box.peak) for name, box in boxes]
        yield gauge("mailbox_peak_rows", "Maximum of rows waiting in this run.", _ACTOR, peak)

    def _store(self) -> Iterator[Metric]:
        pipeline, watch = self._pipeline, self._watch
        store, merger, ledger = pipeline.store, pipeline.merger, pipeline.ledger
        for name, text, value in (
            (
                "last_flush_timestamp_seconds",
                "Unix time of the last durable batch.",
                seconds(pipeline.writer.last_flush_ns),
            ),
            ("last_merge_timestamp_seconds", "Unix time of the last merge.", seconds(merger.last_merge_ns)),
            (
                "merge_interval_seconds",
                "Time between merges, as configured.",
                pipeline.settings.store.merge_interval_s,
            ),
            (
                "oldest_waiting_seconds",
                "Age of the oldest tick waiting for the writer.",
                pipeline.buffer.oldest_s(),
            ),
            ("store_segments", "Segments in the tail, not yet merged into the file.", store.segment_count),
            ("store_segment_bytes", "Their size.", store.segment_bytes),
            ("store_file_bytes", "Size of the DuckDB file.", _known(watch.file_bytes)),
            ("store_disk_free_bytes", "Free space of the disk for the service.", _known(watch.disk_free_bytes)),
            ("store_held", "1 while another process holds the file and merges wait.", merger.held),
        ):
            yield gauge(name, text, (), [((), value)])
        locked = [((), merger.locked_s)]
        yield counter("store_locked_seconds", "Total time for which merges have locked the file.", (), locked)
        for name, text, source in (
            ("flush_duration_seconds", "Duration of writing a batch, fsync included.", ledger.flush_s),
            ("merge_duration_seconds", "Time for which one merge locked the file.", ledger.merge_s),
            ("tick_durable_seconds", "Time from the receipt of a tick until it was durable.", ledger.durable_s),
        ):
            yield histogram(name, text, (), [((), source)])

    def _lake(self) -> Iterator[Metric]:
        """0 and NaN where there is none."""
        ship = self._pipeline.ship
        behind = None if ship is None else ship.behind()
        mark = ship.mark if ship is not None else None
        for name, text, value in (
            (
                "lake_behind_seconds",
                "Age of the oldest batch that is not in the lake.",
                UNKNOWN if behind is None else behind.seconds,
            ),
            (
                "lake_behind_batches",
                "Batches of this run that are not in the lake.",
                behind.batches if behind else 0,
            ),
            ("lake_behind_ticks", "Their ticks.", behind.ticks if behind else 0),
            ("lake_mark", "Number of the newest batch in the lake.", _known(mark)),
            (
                "lake_last_commit_timestamp_seconds",
                "Unix time of the last commit to the lake.",
                seconds(ship.last_commit_ns if ship else None),
            ),
        ):
            yield gauge(name, text, (), [((), value)])
        for name, text, number in (
            ("lake_commits", "Commits to the lake.", ship.commits if ship else 0),
            ("lake_ticks", "Ticks sent to the lake.", ship.ticks if ship else 0),
            ("lake_failures", "Calls to the lake that failed.", ship.failures if ship else 0),
        ):
            yield counter(name, text, (), [((), number)])


def _known(number: int | None) -> float:
    return UNKNOWN if number is None else number


def _seconds_of_ms(ms: float | None) -> float:
    return UNKNOWN if ms is None else ms / 1000


_COUNTERS: tuple[tuple[str, str, Callable[[Account], float]], ...] = (
    ("exchange_frames", "WebSocket messages received.", lambda a: a.frames),
    ("exchange_received_bytes", "Bytes of WebSocket messages received.", lambda a: a.bytes),
    ("ticks_received", "Trades received, valid or not.", lambda a: a.received),
    ("ticks_stored", "Trades made durable.", lambda a: a.stored),
    ("ticks_duplicate", "Duplicate trades.", lambda a: a.duplicates),
    (
        "rejects_unkept",
        "Rejects that were only counted, because the daily limit was reached.",
        lambda a: a.rejects_unkept,
    ),
    ("gaps", "Gaps opened.", lambda a: a.gaps),
    ("ticks_backfilled", "Trades fetched from the exchange's history.", lambda a: a.backfilled),
)
_GAUGES: tuple[tuple[str, str, Callable[[Account], float]], ...] = (
    ("ticks_in_flight", "Trades received and not yet durable.", lambda a: a.in_flight),
    (
        "exchange_lag_p50_seconds",
        "Median lag over the last reads of five minutes.",
        lambda a: _seconds_of_ms(a.lag_ms(0.50)),
    ),
    (
        "exchange_lag_p99_seconds",
        "99th percentile of the lag over the last reads of five minutes.",
        lambda a: _seconds_of_ms(a.lag_ms(0.99)),
    ),
    ("last_tick_timestamp_seconds", "Unix time of the last trade's receipt.", lambda a: seconds(a.last_tick_ns)),
    ("last_frame_timestamp_seconds", "Unix time of the last message.", lambda a: seconds(a.last_frame_ns)),
)
