"""The control interface alone, without a service: bound and served in one."""

import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import trio

from ops.control.app import ControlApp
from ops.control.limits import ControlLimits
from ops.control.pace import Pace
from ops.control.peers import Peer, peer_of
from ops.control.server import http_listener, unix_listener


class QuietApp(ControlApp):
    """The least of a service, to be extended."""

    def status(self) -> Mapping[str, object]:
        return {}

    def actors(self) -> Sequence[Mapping[str, object]]:
        return []

    def live(self) -> bool:
        return True

    def ready(self) -> Sequence[str]:
        return []


async def serve_control(
    path: Path,
    app: ControlApp,
    *,
    group: str = "",
    limits: ControlLimits | None = None,
    credentials: Callable[[socket.socket, int | None], Peer] = peer_of,
    pace: Pace | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> NoReturn:
    """`unix_listener` and `serve` in one; `task_status.started()` is called once clients can connect."""
    with unix_listener(path, group=group, limits=limits, credentials=credentials) as listener:
        listener.paces.requests = pace or listener.paces.requests
        task_status.started()
        await listener.serve(app)


async def serve_http(
    host: str,
    port: int,
    app: ControlApp,
    *,
    token: str = "",
    limits: ControlLimits | None = None,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> NoReturn:
    """`http_listener` and `serve` in one; `task_status.started(port)` says which port it is."""
    with http_listener(host, port, token, limits=limits) as listener:
        task_status.started(listener.listening.getsockname()[1])
        await listener.serve(app)
