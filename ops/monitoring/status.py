"""Builds /v1/status, /v1/actors and /v1/ready from the pipeline."""

import os
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache, lru_cache
from importlib.metadata import version

import trio

from actors.backfill.repairs import RepairJob
from actors.pipeline import Pipeline
from actors.recorder import ExchangeRecorder
from actors.sink.lake.ship import Ship
from actors.telemetry.lag import Lags, negative_share
from ops.monitoring.redact import redact_text
from supervisor import ActorHealth, State

# A feed is fresh if it received anything, even a heartbeat, within this time; all venues send one within 20 s.
FRESH_S = 30.0
# How much older than flush_interval_s the oldest waiting tick may be while the service is ready.
FLUSH_SLACK_S = 5.0

# The most urgent state comes first.
_WORST = (
    State.FAILED,
    State.BACKOFF,
    State.DEGRADED,
    State.STARTING,
    State.STOPPING,
    State.PAUSED,
    State.OK,
    State.STOPPED,
)
_RESTING = (State.FAILED, State.BACKOFF, State.PAUSED, State.STOPPING, State.STOPPED)


def instant(ns: int | None) -> str | None:
    """Nanoseconds UTC as RFC 3339 with microseconds."""
    if ns is None:
        return None
    second, rest_ns = divmod(ns, 1_000_000_000)
    return f"{_second(second)}.{rest_ns // 1000:06}Z"


@lru_cache(64)  # neighbouring trades share it, and formatting it takes 8 us
def _second(second: int) -> str:
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}"


def worst(states: Iterable[State]) -> State:
    """The most urgent state; STOPPED for none."""
    found = set(states)
    return next((state for state in _WORST if state in found), State.STOPPED)


@cache  # reading the files of the installation takes 0.6 ms
def running_version() -> str:
    """The version of the program."""
    return version("tickwarden")


def status(pipeline: Pipeline) -> dict[str, object]:
    """The object of /v1/status."""
    health = pipeline.tree.snapshot()
    state, reasons = _overall(pipeline, health)
    clock = pipeline.clock
    return {
        "version": running_version(),
        "pid": os.getpid(),
        "run_id": pipeline.run_id,
        "started_at": instant(pipeline.started_ns),
        "state": state,
        "reasons": reasons,
        "store": {
            "path": str(pipeline.store.path),
            "last_flush_at": instant(pipeline.writer.last_flush_ns),
            "last_merge_at": instant(pipeline.merger.last_merge_ns),
            "flush_interval_s": pipeline.settings.store.flush_interval_s,
            "in_flight": sum(pipeline.ledger.unstored().values()),  # also of exchanges that have been removed
            "segments": pipeline.store.segment_count,
            "segment_bytes": pipeline.store.segment_bytes,
            "held": pipeline.merger.held,
            "held_by_pid": pipeline.merger.held_by_pid,
            "locked_s": round(pipeline.merger.locked_s, 3),
            "alarms": pipeline.merger.alarms,
        },
        "lake": None if pipeline.ship is None else lake(pipeline.ship),
        "clock": {
            "jumps": clock.jumps,
            "last_jump_at": instant(clock.last_ns),
            "last_jump_s": None if clock.last is None else round(clock.last.jump_s, 6),
        },
        "exchanges": {
            name: _exchange(exchange, health, clock.lags) for name, exchange in pipeline.exchanges.items()
        },
    }


def lake(ship: Ship) -> dict[str, object]:
    """The lake, and how far it is behind the file; see `Behind`. `mark` is None until it is known."""
    behind = ship.behind()
    return {
        "uri": redact_text(ship.settings.uri),
        "recorder": ship.settings.recorder,
        "mark": ship.mark,
        "batches_behind": behind.batches,
        "ticks_behind": behind.ticks,
        "seconds_behind": round(behind.seconds, 3),
        "commits": ship.commits,
        "ticks": ship.ticks,
        "failures": ship.failures,
        "last_commit_at": instant(ship.last_commit_ns),
        "trouble": ship.trouble,
    }


def feeds(pipeline: Pipeline) -> dict[str, dict[str, str | None]]:
    """The object of /v1/feeds: the markets delivered now, with the time at which each last had a trade."""
    offset_s = time.time() - trio.current_time()
    found: dict[str, dict[str, str | None]] = {}
    for name, exchange in pipeline.exchanges.items():
        markets = found[name] = {}
        for state in (connection.state for connection in exchange.connections):
            for symbol in state.since:
                at = state.last_trade_at.get(symbol)
                last = None if at is None else instant(int((at + offset_s) * 1e9))
                markets[symbol] = max(filter(None, (last, markets.get(symbol))), default=None)
    return found


def _overall(pipeline: Pipeline, health: list[ActorHealth]) -> tuple[str, list[str]]:
    reasons = [
        f"{actor.name} is {actor.state.value}{': ' + actor.reason if actor.reason else ''}"
        for actor in health
        if actor.state in (State.FAILED, State.BACKOFF, State.DEGRADED)
    ]
    paused = [
        f"{actor.name} is paused; `tickwarden resume {actor.name}` continues it"
        for actor in health
        if actor.state is State.PAUSED
    ]
    if pipeline.handing_over.locked():
        return "stopping", ["another process is taking over", *reasons]
    if pipeline.state != "running":
        return pipeline.state, [pipeline.trouble, *reasons] if pipeline.trouble else reasons
    vital = [actor.state for actor in health if actor.name in ("writer", "buffer")]
    if State.FAILED in vital:
        return "failed", reasons
    if reasons or paused:
        return "degraded", [*reasons, *paused]
    feeds = [actor for actor in health if actor.kind == "connection"]
    if feeds and all(actor.state is State.STARTING for actor in feeds):
        return "starting", ["no exchange has confirmed a subscription yet"]
    return "ok", []


def exchange_state(pipeline: Pipeline, name: str) -> str:
    """An exchange's state, as in /v1/status."""
    return worst(actor.state for actor in _deciding(name, pipeline.tree.snapshot())).value


def _deciding(name: str, health: list[ActorHealth]) -> list[ActorHealth]:
    """The actors whose worst state is the exchange's: its parts while it runs, else its own actor.

    The parts of an exchange that does not run have all stopped, and only because it has.
    """
    resting = [actor for actor in health if actor.name == name and actor.state in _RESTING]
    return resting or [actor for actor in health if actor.parent == name]


def _exchange(exchange: ExchangeRecorder, health: list[ActorHealth], lags: Lags) -> dict[str, object]:
    account, name = exchange.account, exchange.settings.name
    deciding = _deciding(name, health)
    reasons = [actor.reason for actor in deciding if actor.reason and actor.state is not State.OK]
    reasons += [lags.reasons[name]] if name in lags.reasons else []
    return {
        "state": worst(actor.state for actor in deciding).value,
        "reasons": list(dict.fromkeys(reasons)),
        "connections": sum(connection.state.connected for connection in exchange.connections),
        "connections_wanted": len(exchange.connections),
        "symbols": [market.symbol for market in exchange.markets],
        "wildcards": exchange.selection.matched,
        "left_out": exchange.selection.left_out,
        "last_tick_at": instant(account.last_tick_ns),
        "frames": account.frames,
        "received": account.received,
        "stored": account.stored,
        "duplicates": account.duplicates,
        "rejected": account.rejected,
        "rejects_unkept": account.rejects_unkept,
        "in_flight": account.in_flight,
        "gaps_open": len(exchange.continuity.unfinished()),
        "lag_ms_p50": account.lag_ms(0.50),
        "lag_ms_p99": account.lag_ms(0.99),
        "lag_negative": negative_share(account),
        "lag_flag": lags.flags.get(name),
    }


def actors(pipeline: Pipeline) -> list[dict[str, object]]:
    """The list of /v1/actors."""
    return [
        {
            "name": actor.name,
            "parent": actor.parent,
            "kind": actor.kind,
            "state": actor.state.value,
            "reason": actor.reason or None,
            "since": instant(actor.since_ns),
            "restarts": actor.restarts,
            "last_error": actor.last_error,
            "next_retry_at": instant(actor.next_retry_at_ns),
            "mailbox": None
            if actor.mailbox is None
            else {
                "depth": actor.mailbox.depth,
                "capacity": actor.mailbox.capacity,
                "peak": actor.mailbox.peak,
            },
            "handled": actor.handled,
        }
        for actor in pipeline.tree.snapshot()
    ]


def not_ready(pipeline: Pipeline) -> list[str]:
    """Why the service does not record as it should; empty if it does."""
    reasons = []
    if pipeline.state != "running":
        reasons.append(f"the service is {pipeline.state}{f': {pipeline.trouble}' if pipeline.trouble else ''}")
    if pipeline.writer.trouble:
        reasons.append(pipeline.writer.trouble)
    late_s = pipeline.buffer.oldest_s() - pipeline.settings.store.flush_interval_s
    if late_s > FLUSH_SLACK_S:
        reasons.append(f"ticks have waited {late_s:.0f} s longer than flush_interval_s for the writer")
    if not any(exchange.fresh(FRESH_S) for exchange in pipeline.exchanges.values()):
        reasons.append(f"nothing was received from any exchange in the last {FRESH_S:g} s")
    return reasons


def repair(exchange: str, job: RepairJob) -> dict[str, object]:
    """One repair: "running" until "complete" or "incomplete"."""
    state = "running" if job.complete is None else "complete" if job.complete else "incomplete"
    return {
        "repair": job.number,
        "exchange": exchange,
        "symbol": job.symbol,
        "from": instant(job.from_ns),
        "to": instant(job.to_ns),
        "state": state,
        "reason": job.reason or None,
        "came": job.came,
        "stored": job.stored,
        "gaps": job.gaps,
    }
