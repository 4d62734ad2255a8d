"""A control socket that answers what `top` asks, without a service: a test says what, and lets it go and return."""

import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trio

from ops.control.app import ControlApp, Refused
from tests.harness.cli_process import wait_for
from tests.harness.control_serving import serve_control

NAMES = ("binance", "okx", "kraken", "coinbaseexchange")
PARTS = ("gaps", "backfill", "instruments", "stall_detector", "1")


def ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()


class TopWorld(ControlApp):
    """`given` has the commands so far. `ticks` is what each exchange has received.

    While `stuck` is set it answers nothing; its loop stands still. While `flushing` is set a flush goes on.
    `changes` are laid over what is said of an exchange or an actor of that name.
    """

    capabilities = frozenset({"restart", "pause", "resume", "flush"})

    def __init__(self, names: Sequence[str] = NAMES) -> None:
        self.names, self.run_id, self.pid = names, "one", os.getpid()
        self.given: list[str] = []
        self.ticks = dict.fromkeys(names, 1000)
        self.state, self.reasons = "ok", list[str]()
        self.held_by: int | None = None
        self.changes: dict[str, dict[str, object]] = {}
        self.refuse = ""
        self.stuck, self.flushing = threading.Event(), threading.Event()

    def status(self) -> Mapping[str, object]:
        while self.stuck.is_set():
            time.sleep(0.01)
        held = {"held": self.held_by is not None, "held_by_pid": self.held_by}
        paused = [f"{name} is paused" for name, one in self.changes.items() if one.get("state") == "paused"]
        return {
            "version": "0.1.0",
            "pid": self.pid,
            "run_id": self.run_id,
            "started_at": ago(100),
            "state": "degraded" if paused else self.state,
            "reasons": [*self.reasons, *paused],
            "clock": {"jumps": 0, "last_jump_at": None, "last_jump_s": None},
            "store": {
                "path": "/srv/ticks.duckdb",
                "last_flush_at": ago(0.5),
                "last_merge_at": ago(44),
                "segments": 8,
                "segment_bytes": 123_456,
                "locked_s": 0.0,
                **held,
            },
            "exchanges": {name: self._exchange(name) for name in self.names},
        }

    def _exchange(self, name: str) -> dict[str, object]:
        return {
            "state": "ok",
            "reasons": [],
            "connections": 1,
            "connections_wanted": 1,
            "symbols": ["BTC/USDT", "ETH/USDT"],
            "wildcards": {},
            "left_out": 0,
            "last_tick_at": ago(0.2),
            "received": self.ticks[name],
            "stored": self.ticks[name] - 7,
            "duplicates": 0,
            "rejected": 0,
            "in_flight": 7,
            "gaps_open": 0,
            "lag_ms_p50": 1.9,
            "lag_ms_p99": 6.0,
            "lag_flag": None,
            **self.changes.get(name, {}),
        }

    def actors(self) -> Sequence[Mapping[str, object]]:
        tree: list[tuple[str, str | None]] = [
            ("merger", None),
            ("writer", None),
            ("buffer", None),
            ("exchanges", None),
        ]
        for name in self.names:
            tree += [(name, "exchanges"), *((f"{name}:{part}", name) for part in PARTS)]
        return [self._actor(name, parent) for name, parent in tree]

    def _actor(self, name: str, parent: str | None) -> dict[str, object]:
        box = {"depth": 0, "capacity": 1000, "peak": 5} if name in ("writer", "buffer") else None
        facts: dict[str, object] = {"state": "ok", "reason": None, "restarts": 0, "last_error": None}
        facts |= {"since": ago(70), "next_retry_at": None, "mailbox": box, "handled": 12, "kind": "connection"}
        return {"name": name, "parent": parent, **facts, **self.changes.get(name, {})}

    def live(self) -> bool:
        return True

    def ready(self) -> Sequence[str]:
        return []

    async def restart(self, name: str) -> None:
        self._give(f"restart {name}")

    async def pause(self, name: str) -> None:
        self._give(f"pause {name}")
        self.changes[name] = {"state": "paused"}

    async def resume(self, name: str) -> None:
        self._give(f"resume {name}")
        self.changes.pop(name, None)

    async def flush(self) -> None:
        while self.flushing.is_set():  # noqa: ASYNC110 - a thread without a loop clears it
            await trio.sleep(0.01)
        self._give("flush")

    def _give(self, command: str) -> None:
        if self.refuse:
            raise Refused(self.refuse)
        self.given.append(command)


@contextmanager
def serving(world: TopWorld, socket: Path) -> Iterator[None]:
    """Serves the world in a thread while the block runs."""
    scopes: list[tuple[trio.lowlevel.TrioToken, trio.CancelScope]] = []

    async def serve() -> None:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                await nursery.start(serve_control, socket, world)
                scopes.append((trio.lowlevel.current_trio_token(), scope))

    thread = threading.Thread(target=trio.run, args=(serve,))
    thread.start()
    try:
        wait_for("serving", lambda: scopes)
        yield
    finally:
        token, scope = scopes[0]
        token.run_sync_soon(scope.cancel)
        thread.join()
