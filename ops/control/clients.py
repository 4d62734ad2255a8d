"""Accepts or refuses the clients of one listener, and serves their requests."""

import select
import socket
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from typing import NoReturn

import structlog
import trio

from ops.control import problem
from ops.control.app import ControlApp
from ops.control.client_slots import Place
from ops.control.dispatch import app_errors_as_problems, dispatch
from ops.control.http import CLIENT_GONE, HttpConnection, Reply, Request, drain
from ops.control.limits import ControlLimits
from ops.control.pace import Paces
from ops.control.peers import Peer
from ops.control.problem import Problem
from ops.control.routes import Stream
from ops.control.web_guard import WebGuard

# The loop time of a connection before its first request, and of a request besides its parsing and its
# handler: measured (2 cores, Python 3.11), rounded up.
CONNECTION_COST_S = 150e-6
REQUEST_COST_S = 100e-6
_ACCEPT_AT_ONCE = 32  # a millisecond of the loop's time
_NOT_YOURS = "this socket is for its owner and root, and for its group to read"
_ACCEPT_RETRY_S = 0.1

_log = structlog.get_logger()


class Clients:
    """Serves the clients of a listening socket, within `limits`.

    `peer_of_socket` returns who connected, `paces` bound their share of the loop, `guard`, if given, checks each
    request.
    """

    def __init__(
        self,
        app: ControlApp,
        limits: ControlLimits,
        peer_of_socket: Callable[[socket.socket], Peer],
        paces: Paces,
        guard: WebGuard | None = None,
    ) -> None:
        self._app = app
        self._limits = limits
        self._peer_of = peer_of_socket
        self._guard = guard
        self._paces = paces
        self._places: set[Place] = set()
        self._lingering = 0

    async def serve(self, listening: socket.socket) -> NoReturn:
        """Runs until cancelled; the caller closes `listening`. Nothing that a client does raises."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._look_after_places)
            while True:
                await trio.lowlevel.wait_readable(listening)
                started, tasks = time.perf_counter(), 0
                try:
                    for _ in range(_ACCEPT_AT_ONCE):
                        connection, _address = listening.accept()
                        tasks += self._admit(connection, nursery)
                except (BlockingIOError, ConnectionAbortedError):
                    pass
                except OSError as error:
                    # Mostly out of descriptors or memory: that is temporary, and must not stop the recording.
                    _log.warning("control_accept_failed", error=str(error))
                    await trio.sleep(_ACCEPT_RETRY_S)
                await self._paces.requests.spend(time.perf_counter() - started + tasks * CONNECTION_COST_S)

    def _admit(self, connection: socket.socket, nursery: trio.Nursery) -> bool:
        """Gives a connection a task (True), or an error and closes it.

        No await, so the counts are never stale. In a flood most connections get no task and cost a tenth: the
        sooner the queue is empty, the sooner regular clients are served.
        """
        connection.setblocking(False)
        if _has_left(connection):
            connection.close()
            return False
        peer = self._peer_of(connection)
        limits = self._limits
        # A TCP listener has no commanders to reserve slots for.
        places = limits.clients_max - (0 if peer.may_command or self._guard else limits.commanders_reserved)
        if peer.may_read and (len(self._places) < places or self._make_room(peer)):
            stream = _stream_of(connection)
            served = HttpConnection(stream, connection.recv, limits, self._paces)
            place = Place(stream, served, may_command=peer.may_command)
            self._places.add(place)
            nursery.start_soon(self._serve_client, stream, served, place, peer)
            return True
        refusal = problem.too_many_clients(places) if peer.may_read else problem.forbidden(_NOT_YOURS)
        with suppress(OSError):
            connection.send(refusal.whole_response())  # the buffer of a new connection is empty
        if self._lingering < limits.lingering_max:
            self._lingering += 1
            nursery.start_soon(self._see_off, _stream_of(connection))
            return True
        connection.close()
        return False

    def _make_room(self, newcomer: Peer) -> bool:
        """Closes the connection that has wasted its slot for longest; none is closed for a client with fewer
        rights.
        """
        wasted = [p for p in self._places if newcomer.may_command or not p.may_command]
        worst = max(wasted, key=Place.wasted_s, default=None)
        if worst is None or worst.wasted_s() < self._limits.wasted_s:
            return False
        worst.scope.cancel()
        self._places.discard(worst)
        return True

    async def _look_after_places(self) -> None:
        while True:
            await trio.sleep(self._limits.look_every_s)
            for place in self._places:
                place.look()

    async def _see_off(self, stream: trio.SocketStream) -> None:
        try:
            async with stream:
                await drain(stream, self._limits)
        finally:
            self._lingering -= 1

    async def _serve_client(
        self, stream: trio.SocketStream, connection: HttpConnection, place: Place, peer: Peer
    ) -> None:
        try:
            with place.scope:
                async with stream:
                    await self._converse(connection, peer)
        except* CLIENT_GONE:
            pass
        except* Exception:  # noqa: BLE001 - logged
            # A bug in here costs this client its connection, never the service its recording.
            _log.exception("control_connection_failed")
        finally:
            self._places.discard(place)

    async def _converse(self, connection: HttpConnection, peer: Peer) -> None:
        try:
            request = await connection.first_request()
            while request is not None:
                await self._answer(connection, request, peer)
                request = await connection.next_request()
        except Problem as trouble:
            await connection.answer_problem(trouble)
            await connection.linger()

    async def _answer(self, connection: HttpConnection, request: Request, peer: Peer) -> None:
        started = time.perf_counter()
        try:
            if self._guard is not None:
                self._guard.check(request)
            answer: Reply | Stream | Problem = await dispatch(self._app, request, peer, self._limits.command_s)
        except Problem as trouble:
            answer = trouble
        # A command waits, a read only computes.
        busy_s = REQUEST_COST_S + (0 if request.method == "POST" else time.perf_counter() - started)
        if isinstance(answer, Reply):
            await connection.answer(answer)
        elif isinstance(answer, Problem):
            await connection.answer_problem(answer)
        else:
            await _stream(connection, request, answer)
        await connection.pay(busy_s)


async def _stream(connection: HttpConnection, request: Request, stream: Stream) -> None:
    async with AsyncExitStack() as stack:
        # Entered before the first byte goes out, so that an unknown name can still be a 404.
        try:
            with app_errors_as_problems(request):
                opened = await stack.enter_async_context(stream.opened)
        except Problem as trouble:
            await connection.answer_problem(trouble)
            return
        await connection.answer_stream(opened, stream.content_type)


def _stream_of(connection: socket.socket) -> trio.SocketStream:
    return trio.SocketStream(trio.socket.from_stdlib_socket(connection))


def _has_left(connection: socket.socket) -> bool:
    """Whether the client has disconnected; one that only closed its own direction still reads."""
    poll = select.poll()
    poll.register(connection, 0)  # hang-ups are always reported
    return bool(poll.poll(0))
