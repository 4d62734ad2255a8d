"""One client of a loopback exchange: answers its requests and sends it trades, with faults."""

import random
from collections import Counter, deque
from collections.abc import Callable, Sequence

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection

from actors.exchanges.contract.loopback import Answer, ClientSession, Venue
from actors.exchanges.contract.loopback_market import Market
from ops.sandbox.fault_injector import FaultInjector
from ops.sandbox.fault_schedule import LOOK_S, next_strike
from ops.sandbox.faults import Faults
from ops.sandbox.outbox import Outbox
from ops.sandbox.shared_stream import SharedStream

CLOSE_S = 2.0  # how long a client may take to answer a close
TOO_MANY = (1008, "Too many requests")
EXPIRED = (1001, "connection is too old")
DROPPED = (1006, "")  # never on the wire: it means that there was no close


class Session:
    """One connection. `open_market(native)` finds a market and starts it; `struck` counts faults by name.

    The owner runs `run()`, which returns when the connection is over, and calls `leave()` afterwards.
    """

    def __init__(
        self,
        venue: Venue,
        client: ClientSession,
        socket: WebSocketConnection,
        stream: SharedStream,
        *,
        faults: Callable[[], Faults],
        rng: random.Random,
        open_market: Callable[[str], Market],
        audience: Callable[[Market], set["Session"]],
        struck: Counter[str],
        outbox_frames_max: int,
    ) -> None:
        self._venue, self._client, self._socket, self._stream = venue, client, socket, stream
        self._faults, self._rng, self._struck = faults, rng, struck
        self._open_market, self._audience = open_market, audience
        self._outbox = Outbox(stream, venue.encode, binary=venue.binary, frames_max=outbox_frames_max)
        self._pings_unanswered = 0
        self._over = trio.CancelScope()
        self._spoiler = FaultInjector(faults, rng, struck)
        self._dead = False
        self._born = self._last_received = trio.current_time()
        self._requests: deque[float] = deque()

    async def run(self) -> None:
        """Runs until the client disconnects, or is disconnected."""
        with self._over:
            async with trio.open_nursery() as nursery:
                if self._venue.on_connect is not None:
                    self._follow(self._venue.on_connect(self._client))
                nursery.start_soon(self._read)
                nursery.start_soon(self._write)
                nursery.start_soon(self._watch)
                nursery.start_soon(self._ping)
                nursery.start_soon(self._strike)
                nursery.start_soon(self._expire)
                if self._venue.heartbeat is not None:
                    nursery.start_soon(self._beat)
                if self._venue.server_ping is not None:
                    nursery.start_soon(self._ping_in_words, self._venue.server_ping)

    def leave(self) -> None:
        """Stops sending trades to this client."""
        for market in self._client.subscribed.values():
            self._audience(market).discard(self)

    def drop(self) -> None:
        """Ends it without a close, discarding queued frames; a dead one stays as it is."""
        if not self._dead:
            self._over.cancel()

    def trade(self, market: Market, frame: str) -> None:
        """Sends a trade frame of a subscribed market, through the faults and the outbox."""
        for text in self._spoiler.frames(market, self._wrapped(market, frame)):
            self._post(text)

    def _wrapped(self, market: Market, frame: str) -> str:
        return frame if self._venue.wrap is None else self._venue.wrap(self._client, market, frame)

    def _post(self, text: str) -> None:
        if not self._dead and not self._outbox.post(text, trio.current_time() + self._faults()["slow"]):
            self._over.cancel()  # without a close: it would wait behind unread data

    def _post_all(self, frames: Sequence[str]) -> None:
        for frame in frames:
            self._post(frame)

    def _end(self, code: int, reason: str) -> None:
        """Closes once everything queued has been sent; a dead connection sends nothing."""
        if not self._dead:
            self._outbox.end(code, reason)

    def _follow(self, answer: Answer) -> None:
        """Executes an Answer. No await in here: nothing may come between acknowledgement and first trade."""
        if answer.pong:
            self._pings_unanswered = 0
        if not self._venue.acknowledges_last:
            self._post_all(answer.frames)
        for native in answer.remove:
            market = self._client.subscribed.pop(native, None)
            if market is not None:
                self._audience(market).discard(self)
        for native in answer.add:
            market = self._client.subscribed[native] = self._open_market(native)
            self._audience(market).add(self)
        if not self._spoiler.silent and self._venue.replay is not None:
            for native in answer.replay:
                market = self._client.subscribed[native]
                for frame in () if self._spoiler.muted(market) else self._venue.replay(market):
                    self._post(self._wrapped(market, frame))
        if self._venue.acknowledges_last:
            self._post_all(answer.frames)
        if answer.close is not None:
            self._end(*answer.close)

    async def _read(self) -> None:
        limit = self._venue.requests_per_s
        while True:
            try:
                message = await self._socket.get_message()
            except ConnectionClosed:
                self._over.cancel()
                return
            now = self._last_received = trio.current_time()
            self._requests.append(now)
            while self._requests[0] <= now - 1.0:
                self._requests.popleft()
            if limit is not None and len(self._requests) > limit:
                self._struck["rate_limit"] += 1
                self._end(*TOO_MANY)
                return
            text = message if isinstance(message, str) else message.decode("utf-8", "replace")
            self._follow(self._venue.on_message(self._client, text))

    async def _write(self) -> None:
        code, reason = await self._outbox.send()
        if code == DROPPED[0]:
            await self._stream.aclose()
        else:
            with trio.move_on_after(CLOSE_S):
                await self._socket.aclose(code, reason)
        self._over.cancel()

    async def _beat(self) -> None:
        heartbeat, every_s = self._venue.heartbeat, self._venue.heartbeat_s
        assert heartbeat is not None
        while True:
            await trio.sleep(every_s)
            busy = self._venue.heartbeat_when_idle and trio.current_time() - self._outbox.last_sent < every_s
            if not busy and not self._spoiler.silent:
                for frame in heartbeat(self._client):
                    self._post(frame)

    async def _ping(self) -> None:
        while True:
            await trio.sleep(self._venue.ping_s)
            with trio.move_on_after(self._venue.pong_s) as waiting:
                await self._socket.ping()
            if waiting.cancelled_caught:
                self._end(1008, "Pong timeout")
                return

    async def _ping_in_words(self, server_ping: Callable[[ClientSession], str]) -> None:
        """Sends pings as messages; closes if too many in a row are unanswered."""
        while self._pings_unanswered < self._venue.server_pings_unanswered:
            self._post(server_ping(self._client))
            self._pings_unanswered += 1
            await trio.sleep(self._venue.server_ping_s)
        self._end(*self._venue.server_ping_close)

    async def _watch(self) -> None:
        """Closes the connection of a client that subscribes too late or is idle for too long."""
        venue = self._venue
        if venue.subscribe_within_s is not None:
            await trio.sleep(venue.subscribe_within_s)
            if not self._client.subscribed:
                self._end(1000, "")
                return
        while venue.idle_timeout_s is not None:
            latest = self._last_received
            if venue.pushes_count_as_activity:
                latest = max(latest, self._outbox.last_sent)
            if trio.current_time() >= latest + venue.idle_timeout_s:
                self._end(*venue.idle_close)
                return
            await trio.sleep_until(latest + venue.idle_timeout_s)

    async def _expire(self) -> None:
        """Ends the connection at the age that a fault sets, if one does."""
        while not (age_s := trio.current_time() - self._born) >= self._faults()["flap"] > 0:
            if age_s >= self._faults()["age"] > 0:
                self._struck["age"] += 1
                self._end(*EXPIRED)
                return
            await trio.sleep(LOOK_S)
        if not self._dead:
            self._struck["flap"] += 1
        self.drop()

    async def _strike(self) -> None:
        """Executes the recurring faults."""
        while not self._dead:
            faults = await next_strike(self._faults, self._rng)
            if faults["stall"]:
                self._struck["stall"] += 1
                self._outbox.stall(trio.current_time() + faults["stall"])
                await trio.sleep(faults["stall"])
            if faults["oversize"]:
                self._struck["oversize"] += 1
                self._post("{" + " " * (int(faults["oversize"]) - 2) + "}")
            # Either ends it, so both occur first equally often.
            for name in self._rng.sample(("close", "half_open"), 2):
                if name == "half_open" and self._spoiler.strikes(name):
                    self._dead = True
                    self._stream.die()
                    return
                if name == "close" and faults[name]:
                    self._struck[name] += 1
                    self._end(int(faults[name]), "sandbox")
                    return
