"""A loopback Binance that sends prebuilt trades as fast as they are taken: python tests/bench/flood.py TICKS

Prints its port, then serves one connection: the answer to the handshake and to the subscription, TICKS
combined trade frames of contiguous ids, and silence. It does nothing else while it sends, so that it is
never the bottleneck.
"""

import argparse
import base64
import hashlib
import json
import socket
import sys
import time

from tests.harness.server_frames import frame

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
BLOB_TICKS = 10_000
SYMBOL = "BTCUSDT"


def trade(number: int, ms: int) -> bytes:
    """As on /stream, with digits that move as real ones do."""
    price, volume = f"{60_000 + number % 997 * 0.01:.8f}", f"{0.001 + number % 77 * 0.00013:.8f}"
    data = {"e": "trade", "E": ms, "s": SYMBOL, "t": number, "p": price, "q": volume, "T": ms}
    data |= {"m": bool(number & 1), "M": True}
    return frame(json.dumps({"stream": f"{SYMBOL.lower()}@trade", "data": data}, separators=(",", ":")).encode())


def blobs(ticks: int) -> list[bytes]:
    """All frames, joined to large writes."""
    ms = int(time.time() * 1000)
    return [
        b"".join(trade(number, ms) for number in range(start, min(start + BLOB_TICKS, ticks)))
        for start in range(0, ticks, BLOB_TICKS)
    ]


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


def serve(connection: socket.socket, prebuilt: list[bytes]) -> None:
    """One client, from the handshake until it leaves."""
    welcome(connection)
    asked = json.loads(hear(connection))
    connection.sendall(frame(json.dumps({"result": None, "id": asked["id"]}).encode()))
    for blob in prebuilt:
        connection.sendall(blob)
    while connection.recv(4096):
        pass


def main() -> None:
    """Builds, listens, serves one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("ticks", type=int)
    prebuilt = blobs(parser.parse_args().ticks)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        connection, _ = listener.accept()
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                serve(connection, prebuilt)
            except (EOFError, ConnectionError) as error:
                print(f"the client left: {error!r}", file=sys.stderr)


if __name__ == "__main__":
    main()
