"""Opens the control interface: on the Unix socket, and read-only on loopback TCP if asked to."""

import grp
import ipaddress
import socket
from pathlib import Path
from typing import NoReturn

import trio

from ops.control.app import ControlApp
from ops.control.clients import Clients
from ops.control.limits import ControlLimits
from ops.control.listener import ControlError, control_listener
from ops.control.peers import Peer, peer_of


async def serve_control(
    path: Path,
    app: ControlApp,
    *,
    group: str = "",
    limits: ControlLimits | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> NoReturn:
    """Answers clients on the Unix socket `path` until cancelled, then removes it.

    The owner of the process and root may do everything; members of `group`, if one is named, may read.
    `task_status.started()` is called once clients can connect. Raises ControlError (SocketInUse,
    SocketPathError) if the socket cannot be made; what clients do never raises.
    """
    limits = limits or ControlLimits()
    group_id = _group_id(group)
    with control_listener(path, group_id, limits.backlog) as listening:
        task_status.started()
        await Clients(app, limits, lambda sock: peer_of(sock, group_id)).serve(listening)


async def serve_http(
    host: str,
    port: int,
    app: ControlApp,
    *,
    limits: ControlLimits | None = None,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> NoReturn:
    """Answers the read-only routes on a loopback address until cancelled; port 0 picks a free one.

    TCP does not say who connects: every local user may read, nobody may command. The Host header must
    name loopback, so that a web page whose name is made to resolve to 127.0.0.1 cannot read through the
    user's browser. `task_status.started(port)` tells the port. Raises ControlError.
    """
    limits = limits or ControlLimits()
    address = _loopback(host)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        listening = socket.create_server((address, port), family=family, backlog=limits.backlog)
    except OSError as error:
        raise ControlError(f"[control] http cannot listen on {host}:{port}: {error.strerror}") from error
    with listening:
        listening.setblocking(False)
        reader = Peer(may_read=True, may_command=False)
        hosts = frozenset({"localhost", "127.0.0.1", "[::1]", f"[{address}]" if ":" in address else address})
        task_status.started(listening.getsockname()[1])
        await Clients(app, limits, lambda _sock: reader, hosts).serve(listening)


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
        raise ControlError(f'[control] http: {host!r} is no IP address; write "127.0.0.1:8787"') from None
    if not address.is_loopback:
        raise ControlError(
            f"[control] http: {host} is not loopback; anyone on the network could read, so it is refused"
        )
    return str(address)
