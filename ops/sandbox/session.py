"""One client of a loopback exchange: what it asks is answered, what is traded is sent, faults are played."""

import random
from collections import Counter, deque
from collections.abc import Callable

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection

from ops.sandbox.faults import Faults
from ops.sandbox.garbage import garbage
from ops.sandbox.market import Market
from ops.sandbox.pipe import text_frame
from ops.sandbox.venue import Answer, Talk, Venue

OUTBOX_FRAMES_MAX = 50_000  # a client this far behind is cut off, as exchanges do; some 10 MB
SEND_BYTES = 64 * 1024
CLOSE_S = 2.0  # how long a client may take to answer a close
TOO_MANY = (1008, "Too many requests")


class Session:
    """One connection. `open_market(native)` finds a market and starts it; `struck` counts faults by name.

    The owner runs `run()`, which returns when the connection is over, and calls `leave()` afterwards.
    """

    def __init__(
        self,
        venue: Venue,
        talk: Talk,
        socket: WebSocketConnection,
        stream: trio.abc.Stream,
        *,
        faults: Callable[[], Faults],
        rng: random.Random,
        open_market: Callable[[str], Market],
        audience: Callable[[Market], set["Session"]],
        struck: Counter[str],
    ) -> None:
        self._venue, self._talk, self._socket, self._stream = venue, talk, socket, stream
        self._faults, self._rng, self._struck = faults, rng, struck
        self._open_market, self._audience = open_market, audience
        self._outbox: deque[tuple[float, str]] = deque()
        self._posted = trio.Event()
        self._ending: tuple[int, str] | None = None
        self._over = trio.CancelScope()
        self._held: dict[Market, str] = {}
        self._stalled_until = -1.0
        self._silent = rng.random() < faults()["silence"]
        self._last_sent = self._last_heard = trio.current_time()
        self._heard: deque[float] = deque()

    async def run(self) -> None:
        """Until the client leaves, or is sent away."""
        with self._over:
            async with trio.open_nursery() as nursery:
                if self._venue.opening is not None:
                    self._follow(self._venue.opening(self._talk))
                nursery.start_soon(self._read)
                nursery.start_soon(self._write)
                nursery.start_soon(self._watch)
                nursery.start_soon(self._ping)
                nursery.start_soon(self._strike)
                if self._venue.beat is not None:
                    nursery.start_soon(self._beat)

    def leave(self) -> None:
        """No more trades for this client."""
        for market in self._talk.subscribed.values():
            self._audience(market).discard(self)

    def trade(self, market: Market, frame: str) -> None:
        """A trade frame of a market that this client subscribed, through the faults into the outbox."""
        if self._silent:
            self._struck["silence"] += 1
            return
        if self._hit("gap"):
            return
        if self._venue.wrap is not None:
            frame = self._venue.wrap(self._talk, market, frame)
        if self._hit("garbage"):
            self._post(garbage(frame, self._rng))
        held = self._held.pop(market, None)
        if held is None and self._hit("reorder"):
            self._held[market] = frame
            return
        self._post(frame)
        if held is not None:
            self._post(held)
        if self._hit("duplicate"):
            self._post(frame)

    def _hit(self, name: str) -> bool:
        share = self._faults()[name]
        if not share or self._rng.random() >= share:
            return False
        self._struck[name] += 1
        return True

    def _post(self, text: str) -> None:
        if len(self._outbox) >= OUTBOX_FRAMES_MAX:
            self._over.cancel()  # dropped without a close: it would wait behind what is not read
            return
        self._outbox.append((trio.current_time() + self._faults()["slow"], text))
        self._posted.set()

    def _end(self, close: tuple[int, str]) -> None:
        """Closes once what was posted before has gone."""
        self._ending = self._ending or close
        self._posted.set()

    def _follow(self, answer: Answer) -> None:
        """No await in here: between the acknowledgement and the first trade nothing may come."""
        for frame in answer.frames:
            self._post(frame)
        for native in answer.remove:
            market = self._talk.subscribed.pop(native, None)
            if market is not None:
                self._audience(market).discard(self)
        for native in answer.add:
            market = self._talk.subscribed[native] = self._open_market(native)
            self._audience(market).add(self)
        if not self._silent and self._venue.replay is not None:
            for native in answer.replay:
                for frame in self._venue.replay(self._talk.subscribed[native]):
                    self._post(frame)
        if answer.close is not None:
            self._end(answer.close)

    async def _read(self) -> None:
        limit = self._venue.requests_per_s
        while True:
            try:
                message = await self._socket.get_message()
            except ConnectionClosed:
                self._over.cancel()
                return
            now = self._last_heard = trio.current_time()
            self._heard.append(now)
            while self._heard[0] <= now - 1.0:
                self._heard.popleft()
            if limit is not None and len(self._heard) > limit:
                self._end(TOO_MANY)
                return
            text = message if isinstance(message, str) else message.decode("utf-8", "replace")
            self._follow(self._venue.hear(self._talk, text))

    async def _write(self) -> None:
        while True:
            while self._outbox:
                await trio.sleep_until(max(self._outbox[0][0], self._stalled_until))
                # Many messages at once, past the library: it takes them singly, at some 50 us each.
                await self._stream.send_all(self._due_frames())
                self._last_sent = trio.current_time()
            if self._ending is not None:
                await self._close(*self._ending)
                return
            self._posted = trio.Event()
            await self._posted.wait()

    def _due_frames(self) -> bytes:
        """The messages that are due, at least one, as WebSocket frames of about SEND_BYTES at most."""
        frames: list[bytes] = []
        size, now = 0, trio.current_time()
        while self._outbox and (not frames or (size < SEND_BYTES and self._outbox[0][0] <= now)):
            frames.append(text_frame(self._outbox.popleft()[1]))
            size += len(frames[-1])
        return b"".join(frames)

    async def _close(self, code: int, reason: str) -> None:
        if code == 1006:  # never on the wire: it means that no close came
            await self._stream.aclose()
        else:
            with trio.move_on_after(CLOSE_S):
                await self._socket.aclose(code, reason)
        self._over.cancel()

    async def _beat(self) -> None:
        beat, every_s = self._venue.beat, self._venue.beat_s
        assert beat is not None
        while True:
            await trio.sleep(every_s)
            busy = self._venue.beat_when_idle and trio.current_time() - self._last_sent < every_s
            if not busy and not self._silent:
                for frame in beat(self._talk):
                    self._post(frame)

    async def _ping(self) -> None:
        while True:
            await trio.sleep(self._venue.ping_s)
            with trio.move_on_after(self._venue.pong_s) as waiting:
                await self._socket.ping()
            if waiting.cancelled_caught:
                self._end((1008, "Pong timeout"))
                return

    async def _watch(self) -> None:
        """Closes on a client that subscribes too late or says nothing for too long."""
        venue = self._venue
        if venue.subscribe_within_s is not None:
            await trio.sleep(venue.subscribe_within_s)
            if not self._talk.subscribed:
                self._end((1000, ""))
                return
        while venue.deaf_s is not None:
            latest = max(self._last_heard, self._last_sent) if venue.deaf_counts_pushes else self._last_heard
            if trio.current_time() >= latest + venue.deaf_s:
                self._end(venue.deaf_close)
                return
            await trio.sleep_until(latest + venue.deaf_s)

    async def _strike(self) -> None:
        """The faults that come from time to time."""
        while True:
            await trio.sleep(self._rng.uniform(0.5, 1.5) * self._faults().every_s)
            faults = self._faults()
            if faults["stall"]:
                self._struck["stall"] += 1
                self._stalled_until = trio.current_time() + faults["stall"]
                await trio.sleep(faults["stall"])
            if faults["oversize"]:
                self._struck["oversize"] += 1
                self._post("{" + " " * (int(faults["oversize"]) - 2) + "}")
            if faults["close"]:
                self._struck["close"] += 1
                self._end((int(faults["close"]), "sandbox"))
                return
