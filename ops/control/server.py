"""Opens the control interface: on the Unix socket and, read-only, on TCP if configured."""

import errno
import grp
import ipaddress
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from ops.control.app import ControlApp
from ops.control.clients import Clients
from ops.control.limits import ControlLimits
from ops.control.listener import ControlError, SocketInUse, control_listener
from ops.control.pace import Paces
from ops.control.peers import Peer, peer_of
from ops.control.web_guard import WebGuard


class Listener:
    """A listening socket of the control interface: clients can connect, and wait until `serve` runs."""

    def __init__(
        self,
        listening: socket.socket,
        limits: ControlLimits,
        peer_of_socket: Callable[[socket.socket], Peer],
        guard: WebGuard | None = None,
    ) -> None:
        self.listening = listening
        self._limits, self._peer_of, self._guard = limits, peer_of_socket, guard
        self.paces = Paces(limits)

    async def serve(self, app: ControlApp) -> NoReturn:
        """Answers clients until cancelled; nothing that they do raises."""
        await Clients(app, self._limits, self._peer_of, self.paces, self._guard).serve(self.listening)


@contextmanager
def unix_listener(
    path: Path,
    *,
    group: str = "",
    replaces: bool = False,
    limits: ControlLimits | None = None,
    credentials: Callable[[socket.socket, int | None], Peer] = peer_of,
) -> Iterator[Listener]:
    """Listens on the Unix socket `path` while the block is open, then removes it.

    The owner of the process and root have all rights; members of `group`, if set, may read; `credentials` returns
    which of them a client is. `replaces`: see control_listener. Raises ControlError (SocketInUse, SocketPathError)
    if the socket cannot be created.
    """
    limits = limits or ControlLimits()
    group_id = _group_id(group)
    with control_listener(path, group_id, limits.backlog, replaces=replaces) as listening:
        yield Listener(listening, limits, lambda sock: credentials(sock, group_id))


@contextmanager
def http_listener(
    host: str,
    port: int,
    token: str = "",
    *,
    limits: ControlLimits | None = None,
) -> Iterator[Listener]:
    """Listens on an address, for the read-only routes, while the block is open; port 0 picks a free one.

    TCP does not identify clients: those that reach the address and have `token`, if one is set, may read; none may
    send commands. An address that others can reach needs a token. WebGuard checks each request.
    Raises ControlError, and SocketInUse if another process has the port.
    """
    limits = limits or ControlLimits()
    address = _address(host, token)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        listening = socket.create_server((address, port), family=family, backlog=limits.backlog)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise SocketInUse(
                f"[control] http: another process listens on {host}:{port}; stop it, or set another port"
            ) from error
        raise ControlError(f"[control] http cannot listen on {host}:{port}: {error.strerror}") from error
    with listening:
        listening.setblocking(False)
        reader = Peer(may_read=True, may_command=False)
        yield Listener(listening, limits, lambda _sock: reader, WebGuard(address, token))


def _group_id(group: str) -> int | None:
    if not group:
        return None
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise ControlError(f"[control] group: there is no group {group!r} on this machine") from None


def _address(host: str, token: str) -> str:
    if host == "localhost":
        return "127.0.0.1"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise ControlError(f'[control] http: {host!r} is not an IP address; write "127.0.0.1:8787"') from None
    if not (address.is_loopback or token):
        raise ControlError(
            f"[control] http: {host} is no loopback address; anyone on the network could read: set [control] token"
        )
    return str(address)
