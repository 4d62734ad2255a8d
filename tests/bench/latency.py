"""How soon others see what is received: python -m tests.bench.latency [--only NAME]... [--seconds N] [--json]

visible   receipt to the answer of a query in another process, which holds the file open, at 5,000 messages a second
tap       an exchange's send to the line of a subscriber of /v1/tap, at 5,000 messages a second over ten connections
status    an answer of /v1/status under a flood, and at 5,000 messages a second, each on a connection of its own

The service has one core; exchange and reader share the other.
"""

import argparse
import json
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from tests.bench.pauses import hold
from tests.bench.service import Service, quantile, recording

RATE, FEEDS = 5_000.0, 10
WARM_S = 3.0
PAUSE_S = 0.01  # between two looks of a reader
ASK = "SELECT epoch_us(received_at) FROM ticks WHERE received_at > make_timestamptz(?) ORDER BY received_at"


class _Line(msgspec.Struct):
    """What is needed of a line of the tap."""

    volume: str = ""
    received_at: datetime | None = None
    lagged: int = 0


_line = msgspec.json.Decoder(_Line)


def visible(service: Service, seconds: float) -> dict[str, Any]:
    """Each row's age when the first query that returned it had its answer, and how long those queries took."""
    ages: list[float] = []
    took: list[float] = []
    with hold(service.path) as con:
        newest, ends = time.time_ns() // 1000, time.monotonic() + seconds
        while time.monotonic() < ends:
            began = time.perf_counter()
            rows = [us for (us,) in con.execute(ASK, [newest]).fetchall()]
            now_us = time.time_ns() // 1000
            took.append((time.perf_counter() - began) * 1000)
            ages += [(now_us - us) / 1000 for us in rows]
            newest = rows[-1] if rows else newest
            time.sleep(PAUSE_S)
    return {"visible": spread(ages[len(ages) // 10 :]), "visible: the query itself": spread(took)}


def tap(service: Service, seconds: float) -> dict[str, Any]:
    """Each line's age, from the clock that its volume carries."""
    ages: list[float] = []
    inside: list[float] = []
    lagged = 0
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(service.socket))
        client.sendall(b"GET /v1/tap HTTP/1.1\r\nHost: localhost\r\n\r\n")
        starts = time.monotonic() + 1.0
        rest = b""
        while time.monotonic() < starts + seconds:
            data = client.recv(1 << 20)
            now_us, wall_s = time.monotonic_ns() // 1000, time.time()
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                if line.startswith(b"{"):  # no header, and no length of a chunk
                    tick = _line.decode(line)
                    lagged += tick.lagged
                    if tick.received_at is not None and now_us > starts * 1e6:
                        ages.append((now_us - int(tick.volume)) / 1000)
                        inside.append((wall_s - tick.received_at.timestamp()) * 1000)
    return {"tap": {**spread(ages), "lagged": lagged}, "tap: of it after receipt": spread(inside)}


def status(service: Service, seconds: float) -> dict[str, Any]:
    """One question after the other, ten a second."""
    took: list[float] = []
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        began = time.perf_counter()
        service.status()
        took.append((time.perf_counter() - began) * 1000)
        time.sleep(0.1)
    return {"status": spread(took)}


FIGURES: dict[str, tuple[Callable[[Service, float], dict[str, Any]], float, int]] = {
    "visible": (visible, RATE, FEEDS),
    "tap": (tap, RATE, FEEDS),
    "status under a flood": (status, 0.0, 1),
    "status": (status, RATE, FEEDS),
}


def spread(values: list[float]) -> dict[str, float]:
    """How many there were, and the milliseconds."""
    shares = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {"n": len(values)} | {name: round(quantile(values, share), 2) for name, share in shares.items()}


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=FIGURES)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--merge-interval", type=float, default=5.0, help="[store] merge_interval_s")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    found: dict[str, Any] = {}
    for name in asked.only or FIGURES:
        measure, rate, feeds = FIGURES[name]
        store = {"merge_interval_s": asked.merge_interval}
        with (
            tempfile.TemporaryDirectory() as folder,
            recording(Path(folder), rate=rate, feeds=feeds, store=store) as service,
        ):
            time.sleep(WARM_S)
            before, began, used = service.received(), time.monotonic(), service.cpu_s()
            for what, row in measure(service, asked.seconds).items():
                found[what.replace(measure.__name__, name, 1)] = row
            seconds = time.monotonic() - began
            found[f"{name}: messages/s, and CPU"] = {
                "rate": round((service.received() - before) / seconds),
                "cores": round((service.cpu_s() - used) / seconds, 3),
            }
    if asked.json:
        json.dump(found, sys.stdout)
        return
    print("milliseconds")
    for name, row in found.items():
        print(f"{name:<44}" + "".join(f"{what:>8} {value:>9,}" for what, value in row.items()))


if __name__ == "__main__":
    main()
