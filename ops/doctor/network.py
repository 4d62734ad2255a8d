"""The way to an exchange in timed steps: its name, TCP, TLS."""

import os
import socket
import ssl

import trio

from actors.settings import ExchangeSettings
from actors.wire.dial import Target, client_context, deadline
from actors.wire.tls import TlsStream
from ops.doctor.advice import Trouble, on_certificate, on_connect, on_name
from ops.doctor.findings import Chart, State, Step

RESOLVE_S = 10.0
CONNECT_S = 10.0
TLS_S = 10.0
STAGGER_S = 0.25  # between the tries of a name's addresses, as in RFC 8305
ADDRESSES_MAX = 8  # that are tried; answers with more exist


async def reach(chart: Chart, target: Target, settings: ExchangeSettings) -> None:
    """Takes the steps RESOLVE, CONNECT and TLS, and hangs up; raises Stop at the first that fails."""
    with chart.step(Step.RESOLVE) as note:
        addresses = await _resolve(target)
        note.found = ", ".join(addresses)
    with chart.step(Step.CONNECT) as note:
        address, stream = await _connect(addresses, target)
        note.found = f"TCP to port {target.port} of {address}"
    async with stream:
        if not target.tls:
            chart.add(Step.TLS, State.SKIPPED, None, "ws:// uses none")
            return
        with chart.step(Step.TLS) as note:
            await _shake_hands(stream, target, client_context(settings.ca_file))
            trust = settings.ca_file or "the system's CAs"
            note.found = f"the certificate is {target.host}'s, by {trust}"


async def _resolve(target: Target) -> list[str]:
    """The addresses, in the order in which the system wants them tried."""
    try:
        with deadline(f"looking up {target.host}", RESOLVE_S):
            rows = await trio.socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # UnicodeError: no such name can exist
        said = error.strerror if isinstance(error, OSError) else error
        raise Trouble(f"{target.host} cannot be looked up: {said}", on_name(error)) from error
    return list(dict.fromkeys(str(row[4][0]) for row in rows))


async def _connect(addresses: list[str], target: Target) -> tuple[str, trio.SocketStream]:
    """The address that answers first, and the stream to it; all are tried, one a little after the other."""
    won: list[tuple[str, trio.SocketStream]] = []
    errors: dict[str, OSError] = {}

    async def attempt(address: str, wait_s: float) -> None:
        await trio.sleep(wait_s)
        try:
            stream = await trio.open_tcp_stream(address, target.port)
        except OSError as error:
            errors[address] = error
            return
        won.append((address, stream))
        nursery.cancel_scope.cancel()

    with trio.move_on_after(CONNECT_S):
        async with trio.open_nursery() as nursery:
            for index, address in enumerate(addresses[:ADDRESSES_MAX]):
                nursery.start_soon(attempt, address, index * STAGGER_S)
    for _, late in won[1:]:
        await trio.aclose_forcefully(late)
    if won:
        return won[0]
    causes = {address: _cause(error) for address, error in errors.items()}
    said = [f"{_why(cause)} ({address})" for address, cause in causes.items()]
    if len(errors) < len(addresses):
        said.append(f"no answer within {CONNECT_S:g} s")
    raise Trouble(f"port {target.port}: {'; '.join(said)}", on_connect(causes.values(), target.port))


def _cause(error: OSError) -> OSError:
    """What is behind trio's summary, which says only that all addresses failed."""
    group = error.__cause__
    first = group.exceptions[0] if isinstance(group, BaseExceptionGroup) else group
    return first if isinstance(first, OSError) else error


def _why(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)


async def _shake_hands(stream: trio.SocketStream, target: Target, context: ssl.SSLContext) -> None:
    try:
        with deadline("the TLS handshake", TLS_S):
            await TlsStream(stream, context, target.host).do_handshake()
    except trio.BrokenResourceError as error:
        cause = error.__cause__
        if isinstance(cause, ssl.SSLCertVerificationError):
            said = f"the certificate cannot be trusted: {cause.verify_message}"
            raise Trouble(said, on_certificate(cause)) from error
        raise Trouble(
            f"the TLS handshake failed: {cause or 'the connection broke'}",
            f"port {target.port} may not speak TLS there: check host and port, and whether ws:// is meant",
        ) from error
