"""Accepts the clients of the loopback exchanges: WebSocket clients get a session, REST requests an answer."""

import random

import trio
from trio_websocket import ConnectionClosed, HandshakeError, WebSocketRequest, wrap_server_stream

from actors.exchanges.contract.loopback import ClientSession
from actors.exchanges.contract.loopback_rest import HttpRequest, HttpResponse
from ops.sandbox.exchange import Exchange
from ops.sandbox.rest import serve_rest, wants_websocket
from ops.sandbox.rest_api import RestApi
from ops.sandbox.session import Session
from ops.sandbox.shared_stream import SharedStream

HANDSHAKE_S = 10.0
TOO_MANY = 429


class Listener:
    """Serves one port, whose exchanges are distinguished by URL paths. `seed` determines which connections faults
    affect.
    """

    def __init__(self, seed: int, outbox_frames_max: int) -> None:
        self._exchanges: list[Exchange] = []
        self._rest_apis: list[RestApi] = []
        self._seed, self._outbox_frames_max = seed, outbox_frames_max

    def takes(self, exchange: Exchange, rest_api: RestApi) -> bool:
        """Adds an exchange; returns False without a change if an earlier one has one of its paths."""
        paths = {path for there in self._exchanges for path in there.venue.paths}
        if paths & set(exchange.venue.paths) or any(rest_api.collides(there) for there in self._rest_apis):
            return False
        self._exchanges.append(exchange)
        self._rest_apis.append(rest_api)
        return True

    async def connection(self, socket: trio.SocketStream) -> None:
        """Serves one connection until it ends, and closes it."""
        stream = SharedStream(socket)
        try:
            async with stream, trio.open_nursery() as nursery:
                with trio.fail_after(HANDSHAKE_S):
                    websocket = await wants_websocket(stream)
                    if stream.left():  # e.g. killed: nobody knows any more that it connected
                        return
                    request = await wrap_server_stream(nursery, stream) if websocket else None
                if request is not None:
                    await self._converse(request, stream)
                elif websocket is not None:
                    await serve_rest(stream, self._answer)
                nursery.cancel_scope.cancel()
        except* (ConnectionClosed, HandshakeError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # clients may disconnect at any time
        except* trio.TooSlowError:
            pass

    def _route(self, path: str) -> tuple[Exchange, str] | None:
        """The exchange and category that serve a path: those of the longest matching path."""
        path = path.rstrip("/")
        found: tuple[int, Exchange, str] | None = None
        for exchange in self._exchanges:
            for prefix, category in exchange.venue.paths.items():
                inside = path == prefix or (prefix and path.startswith(prefix + "/"))
                if inside and (found is None or len(prefix) > found[0]):
                    found = (len(prefix), exchange, category)
        return found[1:] if found is not None else None

    async def _answer(self, request: HttpRequest) -> HttpResponse:
        for rest_api in self._rest_apis:
            if rest_api.serves(request.path):
                return await rest_api.answer(request)
        return HttpResponse("no such exchange here\n", 404, {"content-type": "text/plain"})

    async def _converse(self, request: WebSocketRequest, stream: SharedStream) -> None:
        path, _, query = request.path.partition("?")
        routed = self._route(path)
        if routed is None:
            await request.reject(404, body=b"no such exchange here\n")
            return
        exchange, category = routed
        exchange.connections += 1
        if not await self._admitted(exchange, request):
            return
        client = ClientSession(
            path=path,
            query=query,
            category=category,
            connection=exchange.connections,
            known=frozenset(native for kind, native in exchange.listings if kind == category),
            now_ns=exchange.now_ns,
        )
        lots = random.Random(f"{self._seed}/{exchange.venue.name}/{exchange.connections}")  # noqa: S311
        session = Session(
            exchange.venue,
            client,
            await request.accept(),
            stream,
            faults=exchange.faults,
            rng=lots,
            open_market=lambda native: exchange.market(category, native),
            audience=lambda market: exchange.audiences[market],
            struck=exchange.struck,
            outbox_frames_max=self._outbox_frames_max,
        )
        exchange.sessions.add(session)
        try:
            await session.run()
        finally:
            exchange.sessions.discard(session)
            session.leave()

    async def _admitted(self, exchange: Exchange, request: WebSocketRequest) -> bool:
        """Whether a client is accepted; otherwise it has been answered, or dropped by an outage."""
        faults, struck = exchange.faults(), exchange.struck
        if not exchange.connects.allows(1.0, trio.current_time()):
            struck["rate_limit"] += 1
            await request.reject(TOO_MANY, body=b"too many connections\n")
            return False
        await trio.sleep(faults["slow"])
        if exchange.outage.down:
            if not exchange.outage.mute:
                await request.reject(503, body=b"the sandbox exchange is out of order\n")
            return False
        if faults["refuse"]:
            struck["refuse"] += 1
            headers = [(b"Retry-After", b"1")]
            await request.reject(int(faults["refuse"]), extra_headers=headers, body=b"refused by the sandbox\n")
            return False
        return True
