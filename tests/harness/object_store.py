"""An S3 server for tests: moto in a process of its own, behind a proxy that makes requests fail as networks do.

    with object_store() as store:
        DeltaLake(store.uri("tape"), "tokyo", store.options)
        store.fail("503", "PUT", "_delta_log", times=2)

The proxy forwards conditional puts one at a time: moto compares and stores in two steps, and two threads of it
would both win. It runs in threads of this process, so what keeps the interpreter's lock while it waits for an
answer, as a scan of delta-rs does, has to read with `direct`.
"""

import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

BUCKET = "lake"
ACCESS_KEY, SECRET_KEY, SESSION_TOKEN = (
    "AKIAHIDDENACCESSKEY0",
    "hidden/secret+key/of/the/test",
    "hidden-session-token",
)
STARTED_S_MAX = 60.0
HELD_S = 30.0  # how long a request without an answer is held; clients give up earlier
_ERRORS = {
    "500": (500, "InternalError", "We encountered an internal error. Please try again."),
    "503": (503, "SlowDown", "Please reduce your request rate."),
    "expired": (400, "ExpiredToken", "The provided token has expired."),
    "denied": (403, "AccessDenied", f"User {ACCESS_KEY} is not authorized."),
    "badkey": (403, "InvalidAccessKeyId", f"The key {ACCESS_KEY} does not exist."),
}
KINDS = (*_ERRORS, "refused", "cut", "hang", "stall", "slow", "lost")


@dataclass(slots=True)
class Fault:
    """Requests of this method whose path contains `part` fail: the next `times`, after `skip` have passed.

    "500", "503", "expired", "denied", "badkey": an answer with that error. "refused": the connection is closed
    unanswered. "cut": the answer ends in the middle. "hang": no answer. "stall": the answer's body stops in the
    middle. "slow": half a second later. "lost": the server does it, but its answer is lost.
    """

    kind: str
    method: str
    part: str
    times: int
    skip: int = 0
    hits: int = 0


@dataclass(slots=True)
class ObjectStore:
    """A running server; `requests` are the method and path of each request."""

    port: int
    backend: int
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    puts: threading.Lock = field(default_factory=threading.Lock)

    def uri(self, folder: str) -> str:
        """The address of a lake in the bucket."""
        return f"s3://{BUCKET}/{folder}"

    @property
    def options(self) -> dict[str, str]:
        """What a client needs, with short time limits."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_REGION": "us-east-1",
            "ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_SESSION_TOKEN": SESSION_TOKEN,
            "timeout": "1s",
            "retry_timeout": "3s",
            "backoff_config.init_backoff": "10ms",
            "backoff_config.max_backoff": "50ms",
        }

    @property
    def direct(self) -> dict[str, str]:
        """What a client needs that goes round the proxy."""
        return {**self.options, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.backend}"}

    def fail(self, kind: str, method: str, part: str, times: int = 1, skip: int = 0) -> Fault:
        """From now on, requests fail; see Fault."""
        assert kind in KINDS
        fault = Fault(kind, method, part, times, skip)
        with self.lock:
            self.faults.append(fault)
        return fault

    def heal(self) -> None:
        """No further request fails."""
        with self.lock:
            self.faults.clear()

    def fault_of(self, method: str, path: str) -> str | None:
        """The fault of this request, counted."""
        with self.lock:
            self.requests.append(f"{method} {path}")
            for fault in self.faults:
                if fault.method == method and fault.part in path:
                    fault.skip -= 1
                    if fault.skip < 0 and fault.hits < fault.times:
                        fault.hits += 1
                        return fault.kind
        return None


def _handler(store: ObjectStore) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # head and body are two writes: the second would wait 40 ms

        def _do(self) -> None:
            with suppress(OSError, HTTPException):
                self._serve()
                return
            self.close_connection = True

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _do  # noqa: N815

        def _serve(self) -> None:
            kind = store.fault_of(self.command, self.path)
            body = self._body()
            if kind == "refused":
                self.close_connection = True
            elif kind == "hang":
                store.released.wait(HELD_S)
                self.close_connection = True
            elif kind in _ERRORS:
                status, code, message = _ERRORS[kind]
                text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
                self._answer(status, [("Content-Type", "application/xml")], text.encode())
            else:
                if kind == "slow":
                    store.released.wait(0.5)
                status, headers, answer = self._forward(body)
                if kind == "lost":
                    self.close_connection = True
                else:
                    self._answer(status, headers, answer, kind)

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
            if self.command == "PUT" and "If-None-Match" in self.headers:
                with store.puts:
                    return self._sent(body)
            return self._sent(body)

        def _sent(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
            hop = ("transfer-encoding", "connection", "content-length")
            headers = {name: value for name, value in self.headers.items() if name.lower() not in hop}
            connection = HTTPConnection("127.0.0.1", store.backend, timeout=HELD_S)
            try:
                connection.request(self.command, self.path, body, {**headers, "Content-Length": str(len(body))})
                response: HTTPResponse = connection.getresponse()
                return response.status, response.getheaders(), response.read()
            finally:
                connection.close()

        def _answer(
            self, status: int, headers: list[tuple[str, str]], answer: bytes, kind: str | None = None
        ) -> None:
            self.send_response_only(status)
            for name, value in headers:
                if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                    self.send_header(name, value)
            length = next((v for n, v in headers if n.lower() == "content-length"), str(len(answer)))
            self.send_header("Content-Length", length if self.command == "HEAD" else str(len(answer)))
            self.end_headers()
            if kind in ("cut", "stall"):
                self.wfile.write(answer[: len(answer) // 2])
                self.wfile.flush()
                if kind == "stall":
                    store.released.wait(HELD_S)
                self.close_connection = True
            elif self.command != "HEAD":
                self.wfile.write(answer)

        def log_message(self, *_arguments: Any) -> None:
            pass

    return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_arguments: Any) -> None:  # a client that gave up
        pass


@contextmanager
def object_store() -> Iterator[ObjectStore]:
    """Starts the server and an empty bucket; ends both."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        backend = probe.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(backend)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ) as moto:
        try:
            _make_bucket(backend, moto)
            store = ObjectStore(0, backend)
            with _Server(("127.0.0.1", 0), _handler(store)) as server:
                store.port = server.server_address[1]
                thread = threading.Thread(target=server.serve_forever, daemon=True)
                thread.start()
                try:
                    yield store
                finally:
                    store.released.set()
                    server.shutdown()
                    thread.join()
        finally:
            moto.kill()


def _make_bucket(port: int, moto: "subprocess.Popen[bytes]") -> None:
    signed = {"Authorization": f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20260101/us-east-1/s3/aws4_request"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/{BUCKET}", method="PUT", headers=signed)
    deadline = time.monotonic() + STARTED_S_MAX
    while True:
        try:
            with urllib.request.urlopen(request, timeout=5):
                return
        except OSError:
            if time.monotonic() > deadline or moto.poll() is not None:
                raise
            time.sleep(0.05)
