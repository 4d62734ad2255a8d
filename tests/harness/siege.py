"""A service under siege, and its rude clients of every kind.

Run as a program, this file is the besieged service: a loop with work at a steady pace beside its control
socket. The clients are in another process; they read its count from shared memory, and its processor time and
memory from the kernel.
"""

import mmap
import os
import random
import signal
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from ops.control.limits import ControlLimits
from ops.control.tap import LineBuffer
from tests.harness.control_serving import QuietApp, serve_control
from tests.harness.paths import ROOT

SIEGE_S = 3.0
WORK_INTERVAL_S = 0.002

STATUS = b"GET /v1/status HTTP/1.1\r\nHost: t\r\n\r\n"
TAP = b"GET /v1/tap HTTP/1.1\r\nHost: t\r\n\r\n"


class BusyService(QuietApp):
    """Counts at a steady pace and offers a tap of what it counts."""

    capabilities = frozenset({"tap"})

    def __init__(self, counter: mmap.mmap) -> None:
        self._counter = counter
        self._taps: set[LineBuffer] = set()

    def status(self) -> Mapping[str, object]:
        return {"exchanges": {f"exchange{n}": {"state": "ok", "received": n} for n in range(20)}}

    @asynccontextmanager
    async def tap(self, exchange: str, symbol: str) -> AsyncIterator[AsyncIterator[bytes]]:
        buffer = LineBuffer()
        self._taps.add(buffer)
        try:
            yield buffer
        finally:
            self._taps.remove(buffer)

    async def work(self) -> None:
        count = 0
        while True:
            count += 1
            struct.pack_into("q", self._counter, 0, count)
            if count % 10 == 0:
                for tap in self._taps:
                    tap.offer(100, lambda n: b'{"price": "1.23456789", "volume": "0.001"}\n' * n)
            await trio.sleep(WORK_INTERVAL_S)


async def serve_busily(path: Path, counter_path: Path) -> None:
    limits = ControlLimits(request_s=0.5, write_s=0.5, idle_s=0.5, linger_s=0.2)
    with counter_path.open("r+b") as file, mmap.mmap(file.fileno(), 8) as counter:
        app = BusyService(counter)
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            async with trio.open_nursery() as nursery:
                await nursery.start(partial(serve_control, path, app, limits=limits))
                nursery.start_soon(app.work)
                async for _ in signals:
                    nursery.cancel_scope.cancel()


@dataclass(frozen=True, slots=True)
class Besieged:
    """The service's process, seen from outside."""

    path: Path
    pid: int
    counter: mmap.mmap

    def count(self) -> int:
        return int(struct.unpack_from("q", self.counter)[0])

    def processor_s(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_kib(self) -> int:
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * (mmap.PAGESIZE // 1024)


async def paces(service: Besieged, during: Callable[[], Awaitable[None]]) -> tuple[float, float]:
    """Counts, and processor seconds, each a second."""
    started, count, processor_s = time.monotonic(), service.count(), service.processor_s()
    await during()
    elapsed_s = time.monotonic() - started
    return (service.count() - count) / elapsed_s, (service.processor_s() - processor_s) / elapsed_s


@contextmanager
def besieged_service(folder: Path) -> Iterator[Besieged]:
    """The service in a process of its own, until the block ends."""
    path, counter_path = folder / "s.sock", folder / "counter"
    counter_path.write_bytes(bytes(8))
    process = subprocess.Popen(
        [sys.executable, "-W", "error", __file__, str(path), str(counter_path)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    with counter_path.open("r+b") as file, mmap.mmap(file.fileno(), 8) as counter:
        try:
            deadline = time.monotonic() + 30
            while struct.unpack_from("q", counter)[0] == 0 and time.monotonic() < deadline:
                time.sleep(0.05)
            yield Besieged(path, process.pid, counter)
            process.terminate()
            assert process.wait(30) == 0
            assert not path.exists()
        finally:
            process.kill()
            process.wait()


@contextmanager
def thrown_out() -> Iterator[None]:
    """What happens to rude clients: a closed connection, or a full queue in front of the door."""
    with suppress(trio.BrokenResourceError, OSError):
        yield


async def never_reads(stream: trio.SocketStream) -> None:
    while True:
        await stream.send_all(STATUS * 100)


async def never_reads_the_tap(stream: trio.SocketStream) -> None:
    await stream.send_all(TAP)
    await trio.sleep(2)


async def never_finishes_its_headers(stream: trio.SocketStream) -> None:
    await stream.send_all(STATUS[:-2])
    for n in range(10_000):
        await stream.send_all(b"X-%d: y\r\n" % n)
        await trio.sleep(0.01)


async def sends_a_gigabyte(stream: trio.SocketStream) -> None:
    await stream.send_all(b"POST /v1/merge HTTP/1.1\r\nHost: t\r\nContent-Length: 1073741824\r\n\r\n")
    for _ in range(1 << 14):
        await stream.send_all(bytes(1 << 16))


async def sends_tiny_chunks(stream: trio.SocketStream) -> None:
    await stream.send_all(b"POST /v1/merge HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n")
    await stream.send_all(b"1\r\n \r\n" * 60_000)


async def sends_garbage(stream: trio.SocketStream) -> None:
    await stream.send_all(random.Random(4).randbytes(100_000))


async def asks_for_a_long_path(stream: trio.SocketStream) -> None:
    await stream.send_all(b"GET /" + b"x" * (1 << 20) + b" HTTP/1.1\r\nHost: t\r\n\r\n")


async def pipelines(stream: trio.SocketStream) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(never_reads, stream)
        async for _ in stream:
            pass
        nursery.cancel_scope.cancel()


async def leaves_in_the_middle_of_a_stream(stream: trio.SocketStream) -> None:
    await stream.send_all(TAP)
    await stream.receive_some(300)


async def asks_without_a_pause(stream: trio.SocketStream) -> None:
    for _ in range(100_000):
        await stream.send_all(STATUS)
        if not await stream.receive_some(65536):
            return


RUDE: Sequence[Callable[[trio.SocketStream], Awaitable[None]]] = [
    never_reads,
    never_reads_the_tap,
    never_finishes_its_headers,
    sends_a_gigabyte,
    sends_tiny_chunks,
    sends_garbage,
    asks_for_a_long_path,
    pipelines,
    leaves_in_the_middle_of_a_stream,
    asks_without_a_pause,
]


async def besiege(path: Path, kinds: Sequence[Callable[[trio.SocketStream], Awaitable[None]]]) -> None:
    """Two of each kind come back as soon as they are thrown out, and at first a thousand come at once."""

    async def come_back(behave: Callable[[trio.SocketStream], Awaitable[None]]) -> None:
        while True:
            with thrown_out():
                async with await trio.open_unix_socket(path) as stream:
                    with suppress(*[BaseExceptionGroup]) if behave is pipelines else thrown_out():
                        await behave(stream)
            await trio.sleep(0.01)

    async def come_once() -> None:
        with thrown_out():
            async with await trio.open_unix_socket(path) as stream:
                await stream.send_all(STATUS)
                await stream.receive_some(65536)

    with trio.move_on_after(SIEGE_S):
        async with trio.open_nursery() as nursery:
            for _ in range(1000):
                nursery.start_soon(come_once)
            for behave in [*kinds, *kinds]:
                nursery.start_soon(come_back, behave)


async def answers_again(path: Path) -> None:
    """Waits until the service answers an honest client."""
    with trio.fail_after(30):
        while True:
            with thrown_out():
                async with await trio.open_unix_socket(path) as stream:
                    await stream.send_all(STATUS)
                    if (await stream.receive_some(65536)).startswith(b"HTTP/1.1 200"):
                        return
            await trio.sleep(0.05)


if __name__ == "__main__":
    trio.run(serve_busily, Path(sys.argv[1]), Path(sys.argv[2]))
