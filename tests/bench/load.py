"""Loopback exchanges that put a client under load: many connections, each with trades of its own, paced or flooded.

The benchmarks run it as a process, `python -m tests.bench.load SPEC`, and give it one command a line:

- `count`: {"connections", "markets", "sent"}: connections with a subscription, their markets, messages sent to them
- `pace RATE`: from now on so many messages a second in all, one trade each, to the connections in turn
- `build TICKS`: prepares the frames of a flood of at least so many trades a connection; {"ticks"} in all
- `go`: sends them as fast as they are taken; {"began_at"}

It ends with its standard input. Each connection has its own markets, so that the ids it sees are contiguous. The
frames are those of the loopback exchanges. Those of a flood are made once; each further stretch of them is the same
bytes with the leading digits of the ids counted up, so that sending costs next to nothing.
"""

import dataclasses
import gc
import json
import random
import ssl
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any

import trio

from actors.exchanges.binance import loopback_common as binance
from actors.exchanges.contract.loopback import Answer, ClientSession, Venue
from actors.exchanges.contract.loopback_market import Fill, Market
from actors.exchanges.loopbacks import LOOPBACKS
from ops.sandbox.exchange import WARM_UP_NS
from ops.sandbox.instruments import Listing, listings
from tests.bench.crowd import crowd
from tests.harness.exchange_server import Client, serving_tokens
from tests.harness.paths import CERTS
from tests.harness.server_frames import BINARY, TEXT, frame

PACE_S = 0.001
IDLE_S = 0.05
BACKLOG = 2000
LEADING = 7_391_846  # the leading digits of a flood's ids: so many that nothing else in a frame looks like them
STRETCH = 10_000  # ids that share them


def binance_aggregates() -> Venue:
    """Binance, spot, where aggregated trades are asked for in the URL: what cryptofeed collects."""

    def on_connect(session: ClientSession) -> Answer:
        streams = session.query.partition("streams=")[2].split("/")
        return Answer(add=binance.known(session, streams, binance.AGGREGATES))

    return dataclasses.replace(
        LOOPBACKS["binance"],
        on_connect=on_connect,
        trade_frames=binance.aggregate_frames,
        wrap=lambda session, market, text: binance.wrap(session, market, text, binance.AGGREGATES),
    )


AGGREGATES = "binance aggregates"
VENUES = {**LOOPBACKS, AGGREGATES: binance_aggregates()}


@dataclass(frozen=True, slots=True)
class Spec:
    """What is served: these exchanges, over TLS or not, with so many made-up markets each beside their own."""

    exchanges: Sequence[str]
    tls: bool = False
    made_up: int = 0


def fills(market: Market) -> Iterator[Fill]:
    """What happens in a market, from now on."""
    while True:
        yield from market.trade(time.time_ns())


class Connection:
    """One client, to which its own copies of the markets trade."""

    def __init__(self, venue: Venue, rows: Mapping[tuple[str, str], Listing], client: Client) -> None:
        self.sent = 0
        self.markets: list[Market] = []  # that it has subscribed
        self.session: ClientSession | None = None
        self._venue, self._rows, self._client = venue, rows, client
        self._fills: dict[str, Iterator[Fill]] = {}
        self._turns = count()
        self._flood: tuple[bytes, int] = (b"", 0)

    async def run(self, number: int) -> None:
        """From the handshake until the client has gone."""
        await self._client.accept()
        path, _, query = self._client.path.partition("?")
        category = self._venue.paths[self._prefix(path.rstrip("/"))]
        known = frozenset(native for kind, native in self._rows if kind == category)
        self.session = session = ClientSession(path, query, category, number, known, time.time_ns)
        async with trio.open_nursery() as nursery:
            if self._venue.heartbeat is not None:
                nursery.start_soon(self._beat, self._venue.heartbeat)
            if self._venue.on_connect is not None:
                await self._follow(self._venue.on_connect(session))
            while (text := await self._client.ask()) is not None:
                await self._follow(self._venue.on_message(session, text))
            nursery.cancel_scope.cancel()

    def _prefix(self, path: str) -> str:
        """The longest of the exchange's paths that this one is below."""
        return max((prefix for prefix in self._venue.paths if f"{path}/".startswith(f"{prefix}/")), key=len)

    async def _beat(self, heartbeat: Callable[[ClientSession], list[str]]) -> None:
        while self.session is not None:
            await trio.sleep(self._venue.heartbeat_s)
            await self._send(heartbeat(self.session))

    async def _follow(self, answer: Answer) -> None:
        assert self.session is not None
        for native in answer.remove:
            self.session.subscribed.pop(native, None)
        replays = list[str]()
        for native in answer.add:
            market = self._open(native)
            self.session.subscribed[native] = market
            self._fills[native] = fills(market)
            if native in answer.replay and self._venue.replay is not None:
                replays += [self._wrapped(market, text) for text in self._venue.replay(market)]
        self.markets = list(self.session.subscribed.values())
        frames = list(answer.frames)
        await self._send([*replays, *frames] if self._venue.acknowledges_last else [*frames, *replays])
        if answer.close is not None:
            await self._client.close(answer.close[0])

    def _open(self, native: str) -> Market:
        assert self.session is not None
        row = self._rows[self.session.category, native]
        style = dataclasses.replace(self._venue.styles[row.category], merges_fills=False)

        def warmed_up(last_id: int) -> tuple[Market, int]:
            seed = dataclasses.replace(row.seed, last_id=last_id)
            market = Market(row.symbol, native, row.category, seed, style, random.Random(0))
            old_ns = time.time_ns() - WARM_UP_NS
            return market, sum(len(market.trade(old_ns)) for _ in range(self._venue.warm_up))

        first_id = LEADING * STRETCH
        _, old = warmed_up(first_id)
        return warmed_up(first_id - 1 - old)[0]  # the first trade after the old ones has the first id

    def _wrapped(self, market: Market, text: str) -> str:
        assert self.session is not None
        return text if self._venue.wrap is None else self._venue.wrap(self.session, market, text)

    def _frames(self, texts: Sequence[str]) -> bytes:
        encode, opcode = self._venue.encode or str.encode, BINARY if self._venue.binary else TEXT
        return b"".join(frame(encode(text), opcode) for text in texts)

    async def _send(self, texts: Sequence[str]) -> None:
        if texts:
            await self._client.raw(self._frames(texts))

    def _next_trade(self) -> bytes:
        """The frame of the next trade, of each market in turn."""
        market = self.markets[next(self._turns) % len(self.markets)]
        texts = self._venue.trade_frames(market, [next(self._fills[market.native])])
        return self._frames([self._wrapped(market, text) for text in texts])

    async def trade(self) -> None:
        """Sends the next trade."""
        await self._client.raw(self._next_trade())
        self.sent += 1

    def build(self, ticks: int) -> int:
        """Prepares so many trades, or a few more; returns how many."""
        markets = len(self.markets)
        stretch = min(ticks, STRETCH * markets) // markets * markets
        frames = b"".join(self._next_trade() for _ in range(stretch))
        stretches = -(-ticks // stretch)
        if stretches > 1 and (not (found := frames.count(b"%d" % LEADING)) or found % stretch):
            rest = b"".join(self._next_trade() for _ in range(stretch * (stretches - 1)))  # ids that are no numbers
            frames, stretch, stretches = frames + rest, stretch * stretches, 1
        self._flood = frames, stretches
        return stretch * stretches

    async def flood(self) -> None:
        """Sends what is prepared."""
        frames, stretches = self._flood
        self._flood = b"", 0
        for number in range(stretches):
            await self._client.raw(frames.replace(b"%d" % LEADING, b"%d" % (LEADING + number)))


class Load:
    """All connections to all exchanges."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.ports: dict[str, int] = {}
        self.connections: list[Connection] = []
        self.rate_per_s = 0.0
        self._tls: ssl.SSLContext | None = None
        self._numbers = count(1)
        if spec.tls:
            self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self._tls.load_cert_chain(CERTS / "localhost.pem")

    async def serve(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as nursery:
            for name in self.spec.exchanges:
                rows = listings(VENUES[name])
                rows += crowd(name, rows, self.spec.made_up) if self.spec.made_up else []
                by_native = {(row.category, row.native): row for row in rows}
                handle = partial(self._handle, VENUES[name], by_native)
                listeners = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=BACKLOG)
                self.ports[name] = listeners[0].socket.getsockname()[1]
                nursery.start_soon(trio.serve_listeners, handle, listeners)
            nursery.start_soon(self._pace)
            task_status.started()

    async def _handle(
        self, venue: Venue, rows: Mapping[tuple[str, str], Listing], socket: trio.SocketStream
    ) -> None:
        stream: Any = socket
        if self._tls is not None:
            stream = trio.SSLStream(socket, self._tls, server_side=True, https_compatible=True)
        number = next(self._numbers)
        connection = Connection(venue, rows, Client(number, stream))
        self.connections.append(connection)
        try:
            with suppress(*[trio.BrokenResourceError, trio.ClosedResourceError]):
                await connection.run(number)
        finally:
            self.connections.remove(connection)
            await trio.aclose_forcefully(stream)

    def subscribed(self) -> list[Connection]:
        """The connections that have subscribed something."""
        return [connection for connection in self.connections if connection.markets]

    async def _pace(self) -> None:
        owed, last, turn = 0.0, trio.current_time(), 0
        while True:
            await trio.sleep(PACE_S if self.rate_per_s else IDLE_S)
            now = trio.current_time()
            owed, last = owed + (now - last) * self.rate_per_s, now
            connections = self.subscribed() if owed >= 1.0 else []
            while owed >= 1.0 and connections:
                owed, turn = owed - 1.0, turn + 1
                await connections[turn % len(connections)].trade()

    async def obey(self, words: Sequence[str], nursery: trio.Nursery) -> Mapping[str, object]:
        """Executes one command; see the module."""
        connections = self.subscribed()
        match words:
            case ["count"]:
                markets, sent = (
                    sum(len(one.markets) for one in connections),
                    sum(one.sent for one in connections),
                )
                return {"connections": len(connections), "markets": markets, "sent": sent}
            case ["pace", rate]:
                self.rate_per_s = float(rate)
                return {}
            case ["build", ticks]:
                return {"ticks": sum(connection.build(int(ticks)) for connection in connections)}
            case ["go"]:
                for connection in connections:
                    nursery.start_soon(connection.flood)
                return {"began_at": time.time()}
        raise ValueError(f"no command is called {words}")


async def main(spec: Spec) -> None:
    """Serves, and obeys until standard input ends."""
    load = Load(spec)
    async with trio.open_nursery() as nursery:
        await nursery.start(load.serve)
        gc.freeze()
        tokens = {}
        for name in spec.exchanges:
            if VENUES[name].tokens:
                tokens[name] = await nursery.start(_serve_tokens, name)
        print(json.dumps({"ports": load.ports, "rest": tokens}), flush=True)
        while line := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
            print(json.dumps(await load.obey(line.split(), nursery)), flush=True)
        nursery.cancel_scope.cancel()


async def _serve_tokens(name: str, *, task_status: trio.TaskStatus[str]) -> None:
    async with serving_tokens(name) as url:
        task_status.started(url)
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main, Spec(**json.loads(sys.argv[1])))
