"""Opens the control interface: on the Unix socket and, read-only, on loopback TCP if configured."""

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


class Listener:
    """A listening socket of the control interface: clients can connect, and wait until `serve` runs."""

    def __init__(
        self,
        listening: socket.socket,
        limits: ControlLimits,
        peer_of_socket: Callable[[socket.socket], Peer],
        hosts: frozenset[str] | None = None,
    ) -> None:
        self.listening = listening
        self._limits, self._peer_of, self._hosts = limits, peer_of_socket, hosts
        self.paces = Paces(limits)

    async def serve(self, app: ControlApp) -> NoReturn:
        """Answers clients until cancelled; nothing that they do raises."""
        await Clients(app, self._limits, self._peer_of, self.paces, self._hosts).serve(self.listening)


@contextmanager
def unix_listener(
    path: Path,
    *,
    group: str = "",
    limits: ControlLimits | None = None,
    credentials: Callable[[socket.socket, int | None], Peer] = peer_of,
) -> Iterator[Listener]:
    """Listens on the Unix socket `path` while the block is open, then removes it.

    The owner of the process and root have all rights; members of `group`, if set, may read; `credentials` returns
    which of them a client is. Raises ControlError (SocketInUse, SocketPathError) if the socket cannot be created.
    """
    limits = limits or ControlLimits()
    group_id = _group_id(group)
    with control_listener(path, group_id, limits.backlog) as listening:
        yield Listener(listening, limits, lambda sock: credentials(sock, group_id))


@contextmanager
def http_listener(host: str, port: int, *, limits: ControlLimits | None = None) -> Iterator[Listener]:
    """Listens on a loopback address, for the read-only routes, while the block is open; port 0 picks a free one.

    TCP does not identify clients: every local user may read, nobody may send commands. The Host header must name
    loopback, so that a web page whose name is made to resolve to 127.0.0.1 cannot read through the user's browser.
    Raises ControlError, and SocketInUse if another process has the port.
    """
    limits = limits or ControlLimits()
    address = _loopback(host)
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
        hosts = frozenset({"localhost", "127.0.0.1", "[::1]", f"[{address}]" if ":" in address else address})
        yield Listener(listening, limits, lambda _sock: reader, hosts)


def _group_id(group: str) -> int | None:
    if not group:
        return None
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise ControlError(f"[control] group: there is no group {group!r} on this machine") from None


def _loopback(host: str) -> str:
    if host == "localhost":
        return "127.0.0.1"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise ControlError(f'[control] http: {host!r} is not an IP address; write "127.0.0.1:8787"') from None
    if not address.is_loopback:
        raise ControlError(f"[control] http: {host} is not a loopback address; anyone on the network could read")
    return str(address)
