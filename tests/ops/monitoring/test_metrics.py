"""/metrics is what Prometheus reads and promtool has nothing to say about, and its numbers are the pipeline's."""

import math
import re
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from actors.model.batch import Batch
from actors.model.ticks import Block, Reason, Reject
from actors.pipeline import Pipeline
from actors.settings import ExchangeSettings, LakeSettings, PipelineSettings, StoreSettings
from actors.telemetry.histogram import Histogram
from actors.telemetry.ledger import Ledger
from ops.cli.status import lake_words
from ops.monitoring.loop_monitor import LOOP_EVERY_S, Watch, report_blocked, sizes
from ops.monitoring.metrics import Metrics
from ops.monitoring.metrics_families import histogram
from ops.monitoring.metrics_restarts import REASONS, Restarts
from ops.monitoring.status import lake as lake_of
from ops.monitoring.status import status
from ops.sandbox import Sandbox
from supervisor import Event, State
from supervisor.watchdog import Blocked

PATIENCE_S = 15.0
WANTED = """
    exchange_frames exchange_received_bytes ticks_received ticks_stored ticks_duplicate
    ticks_rejected gaps ticks_backfilled exchange_reconnects actor_restarts actor_state
    mailbox_depth_rows mailbox_capacity_rows last_tick_timestamp_seconds
    last_flush_timestamp_seconds store_segments store_segment_bytes store_file_bytes
    store_disk_free_bytes store_locked_seconds flush_duration_seconds merge_duration_seconds
    exchange_symbols_wanted
    clock_jumps exchange_lag_negative exchange_lag_seconds tick_durable_seconds loop_lag_seconds
"""
LABELS = {"exchange", "reason", "actor", "state", "version", "le"}


def pipeline_at(folder: Path, exchanges: int = 0, ws_url: str | None = None) -> Pipeline:
    named = {
        f"venue{number}": ExchangeSettings(
            name=f"venue{number}", dialect="binance", symbols=("BTC/USDT", "ETH/USDT"), ws_url=ws_url
        )
        for number in range(exchanges)
    }
    return Pipeline(PipelineSettings(store=StoreSettings(path=folder / "t.duckdb"), exchanges=named))


def metrics_of(pipeline: Pipeline) -> Metrics:
    return Metrics(pipeline, Watch(pipeline.store.path), lines_dropped=lambda: 7)


def families(text: bytes) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(text.decode())}


def value(text: bytes, sample: str, **labels: str) -> float:
    samples = [one for family in families(text).values() for one in family.samples]
    (found,) = [one.value for one in samples if (one.name, one.labels) == (sample, labels)]
    return found


@asynccontextmanager
async def recording(folder: Path) -> AsyncIterator[tuple[Pipeline, Metrics]]:
    """A pipeline that records one loopback exchange, and has something durable."""
    exchange = Sandbox(("binance",), 200.0)
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(exchange.serve)
            pipeline = pipeline_at(folder, 1, f"ws://{exchange.host}:{exchange.port}")
            metrics = metrics_of(pipeline)
            pipeline.listeners.append(metrics.restarts.on_event)
            await nursery.start(pipeline.run)
            account = pipeline.ledger.accounts["venue0"]
            while not account.stored:  # noqa: ASYNC110 - real sockets and files, nothing to wait on
                await trio.sleep(0.02)
            yield pipeline, metrics
            pipeline.stop()
            await pipeline.ended.wait()
            nursery.cancel_scope.cancel()


# -- promtool's rules, see prometheus/client_golang, promlint/validations -----------------------------

NOT_BASE_UNITS = "minutes|hours|days|weeks|bits|inches|yards|miles|pounds|ounces|calories|fahrenheit"
PREFIXED = (
    "(pico|nano|micro|milli|centi|deci|kilo|kibi|mega|mebi|giga|gibi|tera|tebi|peta)(seconds|bytes|meters|grams)"
)
ABBREVIATED = "s|ms|us|ns|sec|b|kb|mb|gb|tb|pb|m|h|d"


def complaints(text: bytes) -> Iterable[str]:
    """What promtool would say, as far as its rules reach text that the parser accepts."""
    names = [line.split()[2] for line in text.decode().splitlines() if line.startswith("# TYPE")]
    yield from (f"{name} is there twice" for name in set(names) if names.count(name) > 1)
    for family in text_string_to_metric_families(text.decode()):
        full = family.name + ("_total" if family.type == "counter" else "")
        if not family.documentation.strip():
            yield f"{full} has no help"
        if family.type != "counter" and full.endswith("_total"):
            yield f"{full} is no counter"
        if family.type == "counter" and full not in names:
            yield f"the counter {family.name} lacks _total"
        if family.type == "gauge" and re.search("_(count|sum|bucket)$", full):
            yield f"{full} ends like a part of a histogram"
        if family.type not in ("gauge", "counter", "histogram"):
            yield f"{full} is {family.type}"
        words = full.split("_")
        if any(re.fullmatch(f"{NOT_BASE_UNITS}|{PREFIXED}|{ABBREVIATED}", word) for word in words):
            yield f"{full} has a unit that is no base unit, or abbreviated"
        if re.search(f"_({family.type})(_|$)", full) or not re.fullmatch("[a-z][a-z0-9_]*", full):
            yield f"{full} names its type, or is no snake_case"
        for sample in family.samples:
            if "le" in sample.labels and family.type != "histogram":
                yield f"{full} uses the label le"


async def test_promtool_accepts_the_metrics_of_a_running_service(tmp_path: Path) -> None:
    async with recording(tmp_path) as (_, metrics):
        text = metrics.render()
    assert list(complaints(text)) == []
    assert all(not line or line.startswith("#") or " " in line for line in text.decode().split("\n"))
    assert text.endswith(b"\n")
    promtool = shutil.which("promtool")
    if promtool:
        checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True)
        assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


@pytest.mark.parametrize(
    "text",
    [
        "# HELP x_seconds ok\n# TYPE x_seconds counter\nx_seconds 1\n",
        "# TYPE x_bytes gauge\nx_bytes 1\n",
        "# HELP x_ms y\n# TYPE x_ms gauge\nx_ms 1\n",
        "# HELP x_milliseconds y\n# TYPE x_milliseconds gauge\nx_milliseconds 1\n",
        "# HELP x_total y\n# TYPE x_total gauge\nx_total 1\n",
        "# HELP x_count y\n# TYPE x_count gauge\nx_count 1\n",
        "# HELP x_gauge y\n# TYPE x_gauge gauge\nx_gauge 1\n",
        '# HELP x y\n# TYPE x gauge\nx{le="1"} 1\n',
    ],
)
def test_the_check_of_those_rules_can_complain(text: str) -> None:
    assert list(complaints(text.encode()))


# -- what is shown ----------------------------------------------------------------------------------


async def test_the_numbers_are_the_pipelines_own_and_keep_its_books(tmp_path: Path) -> None:
    async with recording(tmp_path) as (pipeline, metrics):
        account = pipeline.ledger.accounts["venue0"]
        text = metrics.render()  # nothing else can run between these lines
        for sample, number in (
            ("tickwarden_exchange_frames_total", account.frames),
            ("tickwarden_exchange_received_bytes_total", account.bytes),
            ("tickwarden_ticks_received_total", account.received),
            ("tickwarden_ticks_stored_total", account.stored),
            ("tickwarden_ticks_in_flight", account.in_flight),
            ("tickwarden_exchange_symbols_wanted", 2),
        ):
            assert value(text, sample, exchange="venue0") == number
        assert account.received == account.stored + account.in_flight > 0
        assert value(text, "tickwarden_ready") == 1
        assert value(text, "tickwarden_actor_state", actor="venue0:1", state="ok") == 1
        assert value(text, "tickwarden_actor_state", actor="venue0:1", state="failed") == 0
        assert value(text, "tickwarden_mailbox_capacity_rows", actor="writer") == 200_000
        assert value(text, "tickwarden_exchange_lag_seconds_count", exchange="venue0") > 0
        assert value(text, "tickwarden_tick_durable_seconds_count") == account.stored
        assert 0 < value(text, "tickwarden_tick_durable_seconds_sum") / account.stored < PATIENCE_S
        assert value(text, "tickwarden_log_lines_dropped_total") == 7
        assert value(text, "tickwarden_merge_interval_seconds") == pipeline.settings.store.merge_interval_s
        for name in ("last_tick", "last_frame"):
            assert abs(time.time() - value(text, f"tickwarden_{name}_timestamp_seconds", exchange="venue0")) < 10
        assert abs(time.time() - value(text, "tickwarden_last_flush_timestamp_seconds")) < 10


async def test_every_number_that_was_requested_is_there_with_bounded_labels(tmp_path: Path) -> None:
    pipeline = pipeline_at(tmp_path, 2)
    found = families(metrics_of(pipeline).render())
    wanted = WANTED.split()
    assert {f"tickwarden_{name}" for name in wanted} <= set(found)
    labels = {label for family in found.values() for sample in family.samples for label in sample.labels}
    assert labels <= LABELS
    assert not any("BTC" in text for family in found.values() for s in family.samples for text in s.labels.values())


async def test_a_lake_says_how_far_it_is_behind_and_without_one_its_series_are_there(tmp_path: Path) -> None:
    text = metrics_of(pipeline_at(tmp_path)).render()
    assert math.isnan(value(text, "tickwarden_lake_behind_seconds"))
    assert value(text, "tickwarden_lake_commits_total") == value(text, "tickwarden_lake_behind_ticks") == 0
    lake = LakeSettings(uri=str(tmp_path / "lake"), recorder="r")
    pipeline = Pipeline(PipelineSettings(store=StoreSettings(path=tmp_path / "t.duckdb"), exchanges={}, lake=lake))
    assert pipeline.ship is not None
    pipeline.ship.stored(Batch(number=4, blocks=(block_of(3, 0),)))
    pipeline.ship.mark = 3
    text = metrics_of(pipeline).render()
    assert value(text, "tickwarden_lake_behind_batches") == 1 and value(text, "tickwarden_lake_behind_ticks") == 3
    assert 0 <= value(text, "tickwarden_lake_behind_seconds") < PATIENCE_S
    assert value(text, "tickwarden_lake_mark") == 3
    shown = status(pipeline)["lake"]
    assert isinstance(shown, dict) and (shown["uri"], shown["recorder"], shown["mark"]) == (lake.uri, "r", 3)
    assert lake_words(shown).startswith("nothing sent yet, ")
    pipeline.ship.mark = None
    assert lake_words(lake_of(pipeline.ship)) == "not reached yet"


def block_of(count: int, received_ns: int) -> Block:
    block = Block("venue0")
    text, times = ["1"] * count, [received_ns] * count
    block.extend(text, times, times, text, text, text, text, text)
    return block


def reject_of(reason: Reason) -> Reject:
    return Reject(0, "venue0", None, reason, "why", b"", 0)


async def test_rejects_are_counted_by_reason_and_a_crashed_batch_by_its_ticks(tmp_path: Path) -> None:
    pipeline = pipeline_at(tmp_path, 1)
    ledger = pipeline.ledger
    ledger.account("venue0").read(4, 0, 3, 2, block_of(3, 0))
    ledger.refused([block_of(3, 0)], sealed=False)
    rejects = (reject_of(Reason.BAD_PRICE), reject_of(Reason.BAD_PRICE), reject_of(Reason.CRASHED))
    ledger.stored(Batch(number=1, rejects=rejects))
    text = metrics_of(pipeline).render()
    assert value(text, "tickwarden_ticks_rejected_total", exchange="venue0", reason="bad_price") == 2
    assert value(text, "tickwarden_ticks_rejected_total", exchange="venue0", reason="crashed") == 3
    assert ledger.account("venue0").rejected == 5


def test_time_to_durable_counts_each_tick_with_the_age_of_its_blocks_oldest() -> None:
    ledger = Ledger("run")
    ledger.stored(Batch(number=1, blocks=(block_of(10, time.time_ns() - 2_000_000_000), Block("venue0"))))
    durable = ledger.durable_s
    assert sum(durable.counts) == 10 and 20 <= durable.total < 20 + 10 * PATIENCE_S


def test_a_scrape_of_a_large_service_takes_the_loop_a_moment_only(tmp_path: Path) -> None:
    metrics = metrics_of(pipeline_at(tmp_path, 60))
    metrics.render()
    times = []
    for _ in range(5):
        began = time.process_time()
        metrics.render()
        times.append(time.process_time() - began)
    assert min(times) < 0.1, times


# -- from the start to the end ------------------------------------------------------------------------


def series(text: bytes) -> set[tuple[str, tuple[tuple[str, str], ...]]]:
    return {(s.name, tuple(sorted(s.labels.items()))) for f in families(text).values() for s in f.samples}


async def test_an_exchange_that_never_connected_has_every_series_of_one_that_delivers(tmp_path: Path) -> None:
    async with recording(tmp_path) as (pipeline, metrics):
        never = ExchangeSettings(
            name="venue1", dialect="binance", symbols=("BTC/USDT", "ETH/USDT"), ws_url="ws://127.0.0.1:9"
        )
        await pipeline.add_exchange(never)
        first = metrics.render()
        found = series(first)
        of = {
            name: {
                (sample, tuple((key, text.replace(name, "x")) for key, text in labels))
                for sample, labels in found
                if any(text.partition(":")[0] == name for _, text in labels)
            }
            for name in ("venue0", "venue1")
        }
        assert of["venue0"] == of["venue1"] and len(of["venue1"]) > 50
        assert value(first, "tickwarden_last_frame_timestamp_seconds", exchange="venue1") == 0
        for reason in REASONS:
            assert value(first, "tickwarden_actor_restarts_total", actor="venue1:1", reason=reason) == 0
        for reason in Reason:
            assert value(first, "tickwarden_ticks_rejected_total", exchange="venue1", reason=reason.value) == 0

        await pipeline.remove_exchange("venue1")
        assert not [s for s in series(metrics.render()) if "venue1" in str(s)]
        assert {s for s in found if "venue1" not in str(s)} == series(metrics.render())


async def test_no_series_is_born_while_the_service_records(tmp_path: Path) -> None:
    """`increase` and `rate` see nothing of a counter's first step if there was no 0 before it."""
    async with recording(tmp_path) as (pipeline, metrics):
        before = series(metrics.render())
        ledger = pipeline.ledger
        for reason in Reason:
            ledger.account("venue0").rejected_by[reason.value] += 1
        for actor, verdict in (
            ("writer", "bug"),
            ("buffer", "stuck"),
            ("venue0:1", "transient"),
            ("merger", "new"),
        ):
            metrics.restarts.on_event(event_of(actor, "backoff", 0, verdict=verdict))
            metrics.restarts.on_event(event_of(actor, "starting", 1))
        pipeline.clock.jumps += 1
        await pipeline.merge()
        assert series(metrics.render()) == before


# -- restarts ---------------------------------------------------------------------------------------


def event_of(actor: str, event: str, restarts: int, reason: str = "", **detail: object) -> Event:
    return Event(at_ns=0, actor=actor, event=event, reason=reason, restarts=restarts, detail=detail)


def test_a_restart_is_put_down_to_what_led_to_it_probes_included() -> None:
    restarts = Restarts()
    for event in (
        event_of("x:1", "starting", 0),
        event_of("x:1", "backoff", 0, verdict="transient", error="Silent"),
        event_of("x:1", "starting", 1),
        event_of("x:1", "stuck", 1),
        event_of("x:1", "backoff", 1, verdict="bug", error="Stuck: handled nothing"),
        event_of("x:1", "starting", 2),
        event_of("x:1", "failed", 2, verdict="misconfigured", error="certificate"),
        event_of("x:1", "failed", 3, verdict="misconfigured", error="certificate"),  # a probe, which has no event
        event_of("x:1", "stopping", 3, "restarted by an operator"),
        event_of("x:1", "starting", 4),
        event_of("x:1", "stopping", 4, "restarted with y"),
        event_of("x:1", "starting", 5),
        event_of("x:1", "paused", 5, "paused by an operator"),
        event_of("x:1", "starting", 6),
    ):
        restarts.on_event(event)
    expected = {"transient": 1, "stuck": 1, "misconfigured": 1, "operator": 2, "other": 1}
    assert restarts.by_actor_and_reason == {("x:1", reason): count for reason, count in expected.items()}
    assert set(expected) <= set(REASONS)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(("a", "b:1")),
            st.sampled_from([state.value for state in State] + ["stuck", "leaving"]),
            st.integers(0, 5),
            st.sampled_from((None, "transient", "bug", "novel")),
        )
    )
)
def test_restart_counters_never_fall_and_know_only_fixed_reasons(
    steps: list[tuple[str, str, int, str | None]],
) -> None:
    restarts, before = Restarts(), 0
    for actor, event, count, verdict in steps:
        restarts.on_event(event_of(actor, event, count, **({"verdict": verdict} if verdict else {})))
        total = sum(restarts.by_actor_and_reason.values())
        assert total >= before
        before = total
    assert {reason for _, reason in restarts.by_actor_and_reason} <= set(REASONS)


async def test_reconnects_are_counted_by_exchange_and_survive_the_removal_of_a_connection(tmp_path: Path) -> None:
    metrics = metrics_of(pipeline_at(tmp_path, 2))
    for actor, restarts in (("venue0:1", 2), ("venue0:2", 3), ("venue1", 4), ("venue1:1", 1), ("gone:1", 9)):
        metrics.restarts.on_event(event_of(actor, "starting", restarts))
    for actor, restarts in (("venue0:gaps", 5), ("venue0:backfill", 5), ("venue1:stall_detector", 5)):
        metrics.restarts.on_event(event_of(actor, "starting", restarts))
    metrics.restarts.on_event(event_of("venue0:2", "stopped", 3))
    metrics.restarts.on_event(event_of("venue0:2", "starting", 1))  # another actor of that name, restarted once
    text = metrics.render()
    assert value(text, "tickwarden_exchange_reconnects_total", exchange="venue0") == 6
    assert value(text, "tickwarden_exchange_reconnects_total", exchange="venue1") == 1


# -- histograms, loop, disk -------------------------------------------------------------------------


@given(st.lists(st.tuples(st.floats(-1, 100), st.integers(1, 5)), max_size=50))
def test_buckets_are_cumulative_and_agree_with_count_and_sum(seen: list[tuple[float, int]]) -> None:
    source = Histogram((0.1, 1.0, 10.0))
    for number, times in seen:
        source.observe(number, times)
    found = histogram("x_seconds", "Help.", (), [((), source)]).samples
    counts = [s.value for s in found if s.name.endswith("_bucket")]
    for sample in found:
        if sample.name.endswith("_bucket"):
            below = sum(n for number, n in seen if max(number, 0.0) <= float(sample.labels["le"]))
            assert sample.value == below
    assert counts == sorted(counts)
    (count,) = (s.value for s in found if s.name.endswith("_count"))
    assert count == counts[-1] == sum(times for _, times in seen)
    assert source.total == pytest.approx(sum(max(number, 0.0) * times for number, times in seen))


async def test_a_loop_that_stands_still_for_a_moment_is_seen(tmp_path: Path) -> None:
    watch = Watch(tmp_path / "t.duckdb")
    async with trio.open_nursery() as nursery:
        await nursery.start(watch.run)
        await trio.sleep(LOOP_EVERY_S / 2)
        time.sleep(LOOP_EVERY_S + 0.3)
        await trio.sleep(LOOP_EVERY_S)
        nursery.cancel_scope.cancel()
    assert watch.loop_lag_s.total > 0.25


async def test_file_and_disk_are_measured_and_unknown_when_they_cannot_be(
    tmp_path: Path,
) -> None:
    pipeline = pipeline_at(tmp_path)
    watch = Watch(pipeline.store.path)
    for name in ("file", "disk_free"):
        assert math.isnan(value(Metrics(pipeline, watch).render(), f"tickwarden_store_{name}_bytes"))
    pipeline.store.path.write_bytes(b"x" * 1234)
    watch.file_bytes, watch.disk_free_bytes = sizes(watch.path)
    text = Metrics(pipeline, watch).render()
    assert value(text, "tickwarden_store_file_bytes") == 1234
    assert value(text, "tickwarden_store_disk_free_bytes") > 0
    assert sizes(tmp_path / "no" / "such") == (None, None)


def test_a_loop_that_is_held_up_is_reported_with_its_stack(capsys: pytest.CaptureFixture[str]) -> None:
    report_blocked(Blocked(6.5, "in decode"))
    said = capsys.readouterr().out
    assert "6.5 s" in said and "in decode" in said
