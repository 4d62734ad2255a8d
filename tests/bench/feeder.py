"""A loopback Binance that never runs dry: python -m tests.bench.feeder [--rate N] [--port N]

Prints its port, then sends trades of contiguous ids over every connection that subscribes: `--rate` messages a
second in all, evenly spaced, or as fast as they are taken (0). The exchange's time of each is now. Where they are
paced the volume is the microseconds of the machine's monotonic clock, so that its receiver knows its age.
"""

import argparse
import base64
import hashlib
import json
import socket
import sys
import threading
import time

from tests.harness.server_frames import frame

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
BLOCK = 10_000  # trades of one write of a flood
BLANK_TIME, BLANK_BLOCK = 1_111_111_111_111, 22_222


def take(connection: socket.socket, size: int) -> bytes:
    """Exactly so many bytes."""
    data = connection.recv(size, socket.MSG_WAITALL)
    if len(data) < size:
        raise EOFError
    return data


def hear(connection: socket.socket) -> bytes:
    """One masked frame of the client, unmasked."""
    size = take(connection, 2)[1] & 127
    if size == 126:
        size = int.from_bytes(take(connection, 2), "big")
    mask = take(connection, 4)
    return bytes(byte ^ mask[place % 4] for place, byte in enumerate(take(connection, size)))


def welcome(connection: socket.socket) -> None:
    """Answers the handshake."""
    request = b""
    while b"\r\n\r\n" not in request:
        request += connection.recv(4096)
    headers = dict(line.split(b": ", 1) for line in request.split(b"\r\n")[1:] if b": " in line)
    key = next(value for name, value in headers.items() if name.lower() == b"sec-websocket-key")
    accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
    answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    connection.sendall(answer + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")


def trade(native: str, number: int, ms: int, volume: str) -> bytes:
    """As on /stream."""
    data = {"e": "trade", "E": ms, "s": native, "t": number, "p": f"{60_000 + number % 997 * 0.01:.8f}"}
    data |= {"q": volume, "T": ms, "m": bool(number & 1), "M": True}
    message = {"stream": f"{native.lower()}@trade", "data": data}
    return frame(json.dumps(message, separators=(",", ":")).encode())


def flood(connection: socket.socket, native: str) -> None:
    """As fast as it is taken: ten thousand trades at a time, built once, with another number and time each time."""
    template = b"".join(
        trade(native, BLANK_BLOCK * BLOCK + i, BLANK_TIME, f"{0.001 + i % 77 * 0.00013:.8f}") for i in range(BLOCK)
    )
    number = 30_000  # as many digits as the blank
    while True:
        blob = template.replace(b'"t":%d' % BLANK_BLOCK, b'"t":%d' % number)
        connection.sendall(blob.replace(b"%d" % BLANK_TIME, b"%d" % (time.time() * 1000)))
        number += 1


class Pace:
    """Sends single trades over all connections in turn."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._feeds: list[tuple[socket.socket, str]] = []

    def add(self, connection: socket.socket, natives: list[str]) -> None:
        """One more connection; it carries its first market only."""
        self._feeds.append((connection, natives[0]))

    def run(self) -> None:
        """For ever; what is due after a delay is sent at once."""
        while not self._feeds:
            time.sleep(0.01)
        numbers: dict[socket.socket, int] = {}
        sent, began = 0, time.monotonic()
        while True:
            due = int((time.monotonic() - began) * self._rate)
            while sent < due:
                connection, native = self._feeds[sent % len(self._feeds)]
                number = numbers.get(connection, 300_000_000)
                numbers[connection] = number + 1
                now_us = time.monotonic_ns() // 1000
                try:
                    connection.sendall(trade(native, number, int(time.time() * 1000), str(now_us)))
                except OSError:
                    self._feeds.remove((connection, native))
                    if not self._feeds:
                        return
                sent += 1
            time.sleep(max(0.0, began + (sent + 1) / self._rate - time.monotonic()))


def serve(connection: socket.socket, pace: Pace | None) -> None:
    """One client, from the handshake on."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        welcome(connection)
        asked = json.loads(hear(connection))
        connection.sendall(frame(json.dumps({"result": None, "id": asked["id"]}).encode()))
        natives = [stream.partition("@")[0].upper() for stream in asked["params"]]
        if pace is None:
            flood(connection, natives[0])
            return
        pace.add(connection, natives)
        while connection.recv(4096):
            pass
    except (EOFError, OSError) as error:
        print(f"the client left: {error!r}", file=sys.stderr)


def main() -> None:
    """Listens, and serves each client."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=5_000.0)
    parser.add_argument("--port", type=int, default=0)
    asked = parser.parse_args()
    pace = Pace(asked.rate) if asked.rate else None
    if pace is not None:
        threading.Thread(target=pace.run, daemon=True).start()
    with socket.create_server(("127.0.0.1", asked.port)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve, args=(connection, pace), daemon=True).start()


if __name__ == "__main__":
    main()
