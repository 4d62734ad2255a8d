"""Opens the TCP connection, with TLS if needed, to the host of a WebSocket URL."""

import functools
import os
import socket
import ssl
import urllib.parse
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Protocol

import trio
from msgspec import Struct

from actors.wire.errors import CannotConnect, NetworkTimeout, WrongCertificate
from actors.wire.observer import ConnectionStep, Observer
from actors.wire.tls import TlsStream
from supervisor import MisconfiguredError


class Target(Struct, frozen=True):
    """A parsed WebSocket URL; `host_header` and `resource` as HTTP needs them."""

    tls: bool
    host: str
    port: int
    host_header: str
    resource: str


def parse_url(url: str) -> Target:
    """Parses a ws:// or wss:// URL; raises ValueError with the reason."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise ValueError(f"{url!r} is not a WebSocket URL; write ws://host:port/path or wss://host:port/path")
    tls = parts.scheme == "wss"
    usual_port = 443 if tls else 80
    port = usual_port if parts.port is None else parts.port
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return Target(
        tls=tls,
        host=parts.hostname,
        port=port,
        host_header=host if port == usual_port else f"{host}:{port}",
        resource=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
    )


def client_context(ca_file: Path | None = None) -> ssl.SSLContext:
    """A TLS context that checks certificate and host name, against the system's CAs or those in `ca_file`.

    All callers share it until the file changes: parsing the system's CAs takes about 45 ms, in which nothing else
    runs. Raises MisconfiguredError if the file cannot be used.
    """
    source = ca_file or ssl.get_default_verify_paths().cafile
    try:
        changed_ns = Path(source).stat().st_mtime_ns if source else 0
        return _context(ca_file, changed_ns)
    except OSError as exc:  # ssl.SSLError is an OSError too
        raise MisconfiguredError(
            f"ca_file {ca_file} cannot be used ({exc}); it must hold PEM certificates"
        ) from exc


@functools.lru_cache(maxsize=8)
def _context(ca_file: Path | None, _changed_ns: int) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file)
    context.options |= ssl.OP_NO_RENEGOTIATION  # see TlsStream
    return context


@contextmanager
def deadline(what: str, limit_s: float) -> Iterator[None]:
    """Raises NetworkTimeout naming `what` if the block takes longer than `limit_s`."""
    with trio.move_on_after(limit_s) as scope:
        yield
    if scope.cancelled_caught:
        raise NetworkTimeout(what, limit_s)


class Dial(Protocol):
    """Opens the stream to a target: `dial` below, or a test's streams in memory."""

    def __call__(
        self,
        target: Target,
        *,
        ssl_context: ssl.SSLContext | None,
        connect_s: float,
        tls_s: float,
        observe: Observer | None = None,
    ) -> AbstractAsyncContextManager[trio.abc.Stream]: ...


@asynccontextmanager
async def dial(
    target: Target,
    *,
    ssl_context: ssl.SSLContext | None,
    connect_s: float,
    tls_s: float,
    observe: Observer | None = None,
) -> AsyncIterator[trio.abc.Stream]:
    """Opens the stream, and aborts it when the block is left: an orderly close is up to the WebSocket.

    Addresses are tried as in RFC 6555 (happy eyeballs). `ssl_context` is one of `client_context`; None means the
    system's CAs. For an observer the name is looked up once more beforehand, so that a failed lookup is reported as
    such. Raises CannotConnect, NetworkTimeout and WrongCertificate.
    """
    where = f"{target.host}:{target.port}"
    try:
        with deadline(f"connecting to {where}", connect_s):
            if observe is not None:
                observe(ConnectionStep.RESOLVED, await _addresses(target))
            tcp = await trio.open_tcp_stream(target.host, target.port)  # sets TCP_NODELAY
    except (OSError, UnicodeError) as exc:  # UnicodeError: no such name can exist
        raise CannotConnect(f"cannot connect to {where}: {_why(exc)}") from exc
    try:
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if observe is not None:
            observe(ConnectionStep.CONNECTED, (str(tcp.socket.getpeername()[0]),))
        if not target.tls:
            yield tcp
            return
        tls = TlsStream(tcp, ssl_context or client_context(), target.host)
        try:
            with deadline(f"the TLS handshake with {where}", tls_s):
                await tls.do_handshake()
        except trio.BrokenResourceError as exc:
            raise _tls_failure(where, exc) from exc
        if observe is not None:
            observe(ConnectionStep.SECURED, ())
        yield tls
    finally:
        with trio.CancelScope(shield=True):  # takes no time: it waits for nothing
            await trio.aclose_forcefully(tcp)


async def _addresses(target: Target) -> tuple[str, ...]:
    """The host's addresses, in the system's order of preference."""
    rows = await trio.socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(row[4][0]) for row in rows))


def _tls_failure(where: str, exc: trio.BrokenResourceError) -> CannotConnect | WrongCertificate:
    cause = exc.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return WrongCertificate(
            f"the certificate of {where} cannot be trusted: {cause.verify_message}; if this server has its "
            "own CA, name that CA's certificate as ca_file"
        )
    return CannotConnect(f"the TLS handshake with {where} failed: {cause or 'the connection broke'}")


def _why(exc: Exception) -> str:
    """The reasons behind trio's summary, which only says that all addresses failed."""
    if isinstance(exc.__cause__, ExceptionGroup):
        return "; ".join(sorted({_why(inner) for inner in exc.__cause__.exceptions}))
    if isinstance(exc, OSError) and exc.errno is not None and exc.strerror:
        return os.strerror(exc.errno) if exc.errno > 0 else exc.strerror  # errors of name resolution are below 0
    return str(exc)
