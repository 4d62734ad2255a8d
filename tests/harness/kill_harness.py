"""The real service under a numbered flood, killed again and again, with readers at it all the time."""

import base64
import hashlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any

import duckdb

from tests.harness.paths import ROOT
from tests.harness.server_frames import frame
from tests.harness.store_harness import CRASH_POINTS, wait_until

FIRST_ID = 1_000_000
LOCKED = "Could not set lock"
PATIENCE_S = 60.0  # on a busy machine
CLOSE = 8  # the opcode, RFC 6455 (5.2)
# Points that this file's service does not pass; each has its own test where it belongs.
ELSEWHERE = ("archive.", "retention.")
POINTS = [point for point in CRASH_POINTS if not point.startswith(ELSEWHERE)]
# A file is begun only once: first the kill before it has its name, then the one after.
FIRST = ["create.written", "create.named"]
assert {point for point in POINTS if point.startswith("create.")} == set(FIRST)
COMPACTIONS = ["segment.renamed", "compaction.renamed", "compaction.hidden", "compaction.deleted"]
GOODBYE = b"\x88\x02\x03\xe8"  # a close frame with code 1000

# The real command line, with the patience of hours cut to moments, and each acknowledged batch noted on a pipe.
SERVICE = """
import functools, msgspec, os, sys
from actors.pipeline import Parts, Pipeline
from actors.settings import Limits, SinkLimits, StoreLimits
from actors.store.store import Store
from ops.config.config import Config
from ops.service import service
plain = Config.pipeline
HASTY = Limits(sink=SinkLimits(locked_retry_s=0.1), store=StoreLimits(compact_width=4, hide_s=1.0, keep_s=4.0))
Config.pipeline = lambda config: msgspec.structs.replace(plain(config), limits=HASTY)
pipe = int(sys.argv.pop(1))
class NotingStore(Store):
    def write(self, batch):
        super().write(batch)
        ids = [int(i) for block in batch.blocks for i in block.trade_id]
        if ids:
            assert ids == list(range(ids[0], ids[0] + len(ids))) or len(set(ids)) == len(ids)
            os.write(pipe, (" ".join(map(str, spans(ids))) + "\\n").encode())
def spans(ids):
    found = []
    for i in ids:
        if found and found[-1][1] == i - 1:
            found[-1][1] = i
        else:
            found.append([i, i])
    return [f"{a}-{b}" for a, b in found]
service.Pipeline = functools.partial(Pipeline, parts=Parts(store=NotingStore))
from ops.cli import main
main()
"""

READER = """
import json, sys, time, duckdb
path, read_only, hold = sys.argv[1], sys.argv[2] == "ro", sys.argv[3] == "hold"
sql = "SELECT count(*), coalesce(max(trade_id::BIGINT), 0) FROM ticks"
con, wrong, asked, locked, last = None, [], 0, 0, (0, 0)
while True:
    try:
        con = con or duckdb.connect(path, read_only=read_only, config={"threads": 1})
        now = con.execute(sql).fetchone()
        asked += 1
        if now[0] < last[0] or now[1] < last[1]:
            wrong.append(f"counts fell from {last} to {now}")
        last = now
    except duckdb.Error as error:
        if str(error).startswith("IO Error: Could not set lock"):
            locked += 1
        else:
            wrong.append(f"{type(error).__name__}: {error}")
    if con is not None and not hold:
        con.close()
        con = None
    print(json.dumps({"wrong": wrong[:5], "asked": asked, "locked": locked, "last": last}), flush=True)
    time.sleep(0.02 if hold and con is None else 0.8)
"""


class Flood:
    """A loopback Binance that sends trades numbered without end, over all connections together, at `rate` a second.

    `sent` is the last number that may have left. Frames are numbered as they are made: a server that began
    again with each connection would double trades by itself.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._lock = threading.Lock()
        self.sent = FIRST_ID - 1
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        """Ends all connections."""
        self._over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        with suppress(OSError):
            while not self._over.is_set():
                one, _ = self._listener.accept()
                self._threads.append(threading.Thread(target=self._serve, args=(one,), daemon=True))
                self._threads[-1].start()

    def _serve(self, one: socket.socket) -> None:
        with one, suppress(OSError):
            one.settimeout(10)
            request = b""
            while b"\r\n\r\n" not in request:
                request += one.recv(4096)
            key = next(v for k, _, v in _headers(request) if k == b"sec-websocket-key")
            accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
            one.sendall(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
            )
            one.recv(4096)  # the subscription
            one.sendall(frame(b'{"result":null,"id":1}'))
            began, count = time.monotonic(), 0
            while not self._over.is_set():
                due = int((time.monotonic() - began) * self._rate) - count
                if due:
                    one.sendall(b"".join(map(frame, self._trades(due))))
                    count += due
                if select.select([one], [], [], 0.005)[0]:
                    said = one.recv(4096)
                    if not said or said[0] & 0x0F == CLOSE:
                        one.sendall(GOODBYE)
                        return

    def _trades(self, many: int) -> Iterator[bytes]:
        with self._lock:
            first = self.sent + 1
            self.sent += many
        now_ms = int(time.time() * 1000)
        for i in range(first, first + many):
            yield (
                b'{"stream":"btcusdt@trade","data":{"e":"trade","E":%d,"s":"BTCUSDT","t":%d,"p":"60000.01000000",'
                b'"q":"0.00100000","T":%d,"m":true,"M":true}}'
            ) % (now_ms, i, now_ms)


def _headers(request: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    for line in request.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        yield name.strip().lower(), colon, value.strip()


class Victim:
    """The service, again and again. `acknowledged` grows by what each life of it noted on the pipe."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.path = folder, folder / "ticks.duckdb"
        self.acknowledged: list[tuple[int, int]] = []
        self.kills = 0
        self.config = folder / "tickwarden.toml"
        self.config.write_text(
            f'[store]\npath = "{self.path}"\nflush_interval_s = 0.1\nmerge_interval_s = 0.2\n'
            '[log]\nlevel = "warning"\nformat = "json"\n'
            f'[exchanges.binance]\nsymbols = ["BTC/USDT"]\nws_url = "ws://127.0.0.1:{port}"\n'
            'rest_url = "http://127.0.0.1:9"\n'
            "[supervision]\nbackoff_initial_s = 0.1\nbackoff_max_s = 0.2\n"
        )

    @contextmanager
    def life(self, crash_at: str = "") -> Iterator["Life"]:
        """One life; whatever is left of it at the end is killed."""
        one = Life(self, crash_at)
        try:
            yield one
        finally:
            one.kill()

    def truth(self) -> dict[int, int]:
        """Ticks in the file, with how often each is there."""
        with duckdb.connect(str(self.path), read_only=True) as con:
            sql = "SELECT trade_id::BIGINT, count(*) FROM ticks GROUP BY ALL"
            return dict(con.execute(sql).fetchall())

    def verdict(self, sent: int) -> str:
        """What is wrong with the file; nothing, if all is well."""
        there = self.truth()
        lost = [i for first, last in self.acknowledged for i in range(first, last + 1) if i not in there]
        doubled = [i for i, count in there.items() if count != 1]
        unknown = [i for i in there if not FIRST_ID <= i <= sent]
        if lost or doubled or unknown:
            return f"lost {len(lost)} {lost[:5]}, doubled {len(doubled)} {doubled[:5]}, unknown {unknown[:5]}"
        return ""


class Life:
    """One process of the service."""

    def __init__(self, victim: Victim, crash_at: str) -> None:
        self._victim = victim
        self._read, write = os.pipe()
        environment = {**os.environ, "TICKWARDEN_CRASH_AT": crash_at}
        command = [sys.executable, "-c", SERVICE, str(write), "run", "--config", str(victim.config)]
        self.log = (victim.folder / "service.log").open("ab")
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, pass_fds=[write], stderr=self.log, stdout=self.log
        )
        os.close(write)
        self.batches = 0
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def _listen(self) -> None:
        with os.fdopen(self._read, encoding="ascii") as lines:
            for line in lines:
                if not line.endswith("\n"):
                    return  # killed in the middle of it
                for span in line.split():
                    first, _, last = span.partition("-")
                    self._victim.acknowledged.append((int(first), int(last)))
                self.batches += 1

    def wait_for_batches(self, many: int) -> bool:
        """Whether so many were acknowledged before it died."""
        deadline = time.monotonic() + PATIENCE_S
        while self.batches < many and self.process.poll() is None:
            assert time.monotonic() < deadline, "nothing is acknowledged"
            time.sleep(0.005)
        return self.batches >= many

    def wait_for_death(self, seconds: float) -> bool:
        """Whether it died by itself."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        return self.process.returncode == -signal.SIGKILL

    def stop(self) -> int:
        """A clean stop; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(PATIENCE_S)
        self.kill()
        return code

    def kill(self) -> None:
        """SIGKILL, if it still lives; then everything it noted is read."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._listener.join()
        self.log.close()


class Watcher:
    """A process that asks the file in a loop, opening it anew each time or holding it all the while."""

    def __init__(self, path: Path, *, read_only: bool, hold: bool = False) -> None:
        arguments = [str(path), "ro" if read_only else "rw", "hold" if hold else "-"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", READER, *arguments], stdout=subprocess.PIPE, text=True
        )
        self.said: dict[str, Any] = {}
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with suppress(ValueError):  # ended in the middle of a line
                self.said = json.loads(line)

    def __enter__(self) -> "Watcher":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._listener.join()
        assert self._process.stdout is not None
        self._process.stdout.close()


def seed_of_this_run() -> int:
    """TICKWARDEN_SEED, or a new one, printed."""
    seed = int(os.environ.get("TICKWARDEN_SEED", "0")) or int.from_bytes(os.urandom(4), "big")
    print(f"TICKWARDEN_SEED={seed}")
    return seed


def kill_at_random(victim: Victim, random: Random) -> None:
    """One life that ends at some moment: starting, writing, merging, or being read."""
    with victim.life() as life:
        if random.random() < 0.2:
            life.wait_for_death(random.uniform(0, 1.0))
        elif life.wait_for_batches(1):
            life.wait_for_death(random.uniform(0, 0.5))
    victim.kills += 1


def kill_at(victim: Victim, point: str, random: Random) -> bool:
    """One life that ends at that point; whether it got there."""
    with victim.life(f"{point}:{random.randint(1, 3)}") as life:
        if point.startswith("compaction."):
            with Watcher(victim.path, read_only=random.random() < 0.5, hold=True):
                died = life.wait_for_death(PATIENCE_S)
        elif point.startswith("finish."):
            life.wait_for_batches(1)
            life.process.send_signal(signal.SIGTERM)
            died = life.wait_for_death(PATIENCE_S)
        else:
            died = life.wait_for_death(PATIENCE_S)
    victim.kills += 1
    return died


def held_through_kills(folder: Path, flood: Flood, points: Sequence[str]) -> None:
    """Somebody holds the file: merges wait, compactions go on, nothing falls; let go, everything is merged."""
    victim = Victim(folder, flood.port)
    with victim.life() as life:
        assert life.wait_for_batches(2)
        with Watcher(victim.path, read_only=True, hold=True) as watcher:
            wait_until(lambda: bool(watcher.said.get("asked")), PATIENCE_S)
            locked = watcher.said["locked"]  # until it got the file
            life.kill()
            for point in points:
                with victim.life(f"{point}:2") as next_life:
                    assert next_life.wait_for_death(PATIENCE_S), point
            with victim.life() as next_life:
                assert next_life.wait_for_batches(3)
                acknowledged = sum(last - first + 1 for first, last in victim.acknowledged)
                wait_until(lambda: watcher.said["last"][0] >= acknowledged, PATIENCE_S)
            assert watcher.said["wrong"] == [] and watcher.said["locked"] == locked
    with victim.life() as life:
        assert life.wait_for_batches(1)
        assert life.stop() == 0
    assert not Path(f"{victim.path}.tail").exists()
    assert victim.verdict(flood.sent) == ""
