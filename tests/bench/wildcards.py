"""Configures thousands of symbols by wildcards, against loopback exchanges with as many made-up markets.

python -m tests.bench.wildcards [--symbols N] [--seconds N]

Prints how long the service takes until all of them are subscribed and how much memory it then has, and what the
exchanges counted beyond their limits ("rate_limit", "rest_impatient"): nothing, if all is well.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import trio
from msgspec.structs import replace

from actors.exchanges.contract.loopback import Venue
from actors.exchanges.loopbacks import LOOPBACKS
from actors.exchanges.registry import EXCHANGES
from actors.model.symbols import parse_symbol
from ops.control.client import ControlClient, NoService
from ops.sandbox import Sandbox
from ops.sandbox.instruments import Listing, listings
from tests.bench.crowd import crowd
from tests.bench.siege import memory_kib
from tests.harness.cli_process import running

PATIENCE_S = 600.0
BROKEN = ("rate_limit", "rest_impatient")
LISTED = [name for name, venue in LOOPBACKS.items() if venue.listing is not None and EXCHANGES[name].instruments]


def wildcard(symbol: str) -> str:
    """The one that it matches."""
    parts = parse_symbol(symbol)
    return str(replace(parts, base="*"))


async def serve(folder: Path, each: int) -> None:
    """Until stdin is closed; what the exchanges counted is then printed."""

    def crowded(venue: Venue) -> list[Listing]:
        rows = listings(venue)
        return [*rows, *crowd(venue.name, rows, each)]

    with patch("ops.sandbox.exchange.listings", crowded):
        sandbox = Sandbox(LISTED, 20.0)
    async with trio.open_nursery() as nursery:
        await nursery.start(sandbox.serve)
        tables, total = [], 0
        for name in sandbox.exchanges:
            made = [symbol for symbol in sandbox.symbols(name) if symbol.startswith("QA")]
            total += len(made)
            if made:
                texts = ", ".join(f'"{text}"' for text in sorted(set(map(wildcard, made))))
                urls = f'ws_url = "{sandbox.url(name, "ws")}"\nrest_url = "{sandbox.url(name, "http")}"\n'
                tables.append(f"[exchanges.{name}]\n{urls}symbols = [{texts}]\n")
        (folder / "tickwarden.toml").write_text("\n".join(tables))
        print(json.dumps({"markets": total, "exchanges": len(tables)}), flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)
        nursery.cancel_scope.cancel()
    broken = {name: {key: struck[key] for key in BROKEN if struck[key]} for name, struck in sandbox.struck.items()}
    print(json.dumps({name: counts for name, counts in broken.items() if counts}), flush=True)


@contextmanager
def serving(folder: Path, each: int) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.bench.wildcards", "--serve", str(folder), "--each", str(each)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            if process.poll() is None and process.stdin is not None and not process.stdin.closed:
                process.stdin.close()


def standing(service: ControlClient) -> tuple[int, int, int]:
    """Markets that are recorded, connections of which all markets are subscribed, and all connections."""
    try:
        reported: Any = service.get("/v1/status")
        actors: Any = service.get("/v1/actors")
    except NoService:
        return 0, 0, 1
    symbols = sum(len(row["symbols"]) for row in reported["exchanges"].values())
    states = [actor["state"] for actor in actors if actor["kind"] == "connection"]
    return symbols, states.count("ok"), len(states)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=10.0, help="how long to go on once all are there")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--each", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        trio.run(serve, options.serve, options.each)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        able = [name for name in LISTED if list(crowd(name, listings(LOOPBACKS[name]), 1))]
        with serving(folder, -(-options.symbols // len(able))) as server:
            assert server.stdout is not None and server.stdin is not None
            made = json.loads(server.stdout.readline())
            began = time.monotonic()
            with running("run", "--quiet", folder=folder) as process:
                service = ControlClient(folder / "ticks.duckdb.sock")
                ready = False
                while not ready and time.monotonic() - began < PATIENCE_S:
                    time.sleep(0.25)
                    symbols, subscribed, connections = standing(service)
                    ready = symbols >= made["markets"] and subscribed == connections
                took_s = time.monotonic() - began
                time.sleep(options.seconds)
                memory_mb = memory_kib(process.pid) / 1024
            server.stdin.close()
            broken = json.loads(server.stdout.readline())
    figures = {
        **made,
        "recorded": symbols,
        "connections": f"{subscribed}/{connections}",
        "start_s": round(took_s, 1) if ready else None,
        "memory_mb": round(memory_mb),
        "beyond_limits": broken,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
