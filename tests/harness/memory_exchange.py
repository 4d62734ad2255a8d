"""An exchange in memory that keeps the whole truth, and one exchange of the service that records it."""

import json
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from itertools import groupby
from typing import Any
from urllib.parse import parse_qs

import httpx
import msgspec
import pytest
import trio
import trio.testing

from actors.backfill.instruments import DEFAULT_INSTRUMENT_LIMITS, InstrumentLimits
from actors.backfill.rate_limiter import RateLimiters
from actors.backfill.stored_instruments import StoredList, read_stored
from actors.backfill.stored_trades import Consult
from actors.exchanges.contract.instruments import Instrument
from actors.feed.connection import Connection
from actors.feed.connection_pool import DEFAULT_POOL_LIMITS, PoolLimits
from actors.feed.gap_reporter import Past
from actors.feed.peer_activity import PeerActivity
from actors.feed.stall_detector import DEFAULT_STALL_LIMITS, StallLimits
from actors.model.chunk import Source
from actors.model.errors import DatabaseLocked
from actors.model.records import GapRow, InstrumentRow
from actors.recorder import DEFAULT_ACCESS, ExchangeAccess, ExchangeRecorder, SharedServices
from actors.settings import ExchangeSettings, SupervisionSettings
from actors.telemetry.ledger import Account
from supervisor import Backoff, Event, Supervisor
from tests.harness.chunk_consumer import ChunkConsumer
from tests.harness.continuity_file import new_file, put_audit, put_feeds, put_gaps
from tests.harness.exchange_server import Client, Server, connect_in_memory, trade
from tests.harness.exchange_values import changed_feed

EPOCH_NS = 1_790_000_000_000_000_000
POLICY = SupervisionSettings(backoff_initial_s=1.0, backoff_max_s=60.0, backoff_reset_s=60.0)
PAST = (999, EPOCH_NS - 60 * 10**9)  # each market has traded before anybody recorded it
BEGUN_S = 1.0  # by then two connections have subscribed
BTC, ETH = "BTC-USDT", "ETH-USDT"
LIST_DAY_S = 60.0  # a shorter day, as the clock jumps from second to second
LIST_LIMITS = InstrumentLimits(
    every_s=LIST_DAY_S, jitter=0.0, wanting_s=20.0, retry=Backoff(5.0, 20.0), lost_min=2, doubt_s=30.0
)


class Venue:
    """Answers as okx does. What it withholds can be changed at any time; `truth` is every trade made, by its clock,
    which is `ahead_s` ahead of the host's.

    `deaf` are connections (the first is 1) that never subscribe anybody, `mute` (connection, market) pairs that
    bring no trade; connection 0 is all of them. `hung` are connections that bring nothing at all and are not
    closed; what they should have brought comes if they `resume`. `prompt`: a trade comes with the acknowledgement.
    `silent`: nothing is acknowledged.
    """

    def __init__(self, ahead_s: float = 0.0) -> None:
        self._ahead_ns = int(ahead_s * 1e9)
        self.server = Server(self.talk)
        self.truth: dict[str, list[tuple[int, int]]] = {}
        self.deaf: set[int] = set()
        self.mute: set[tuple[int, str]] = set()
        self.hung: set[int] = set()
        self.prompt = self.silent = False
        self._held: dict[int, list[str]] = {}
        self.refuses = False
        self.answers = True  # over REST
        self.past: tuple[tuple[int, int], ...] = ((PAST[0], PAST[1] + self._ahead_ns),)
        self.asked = 0  # over REST
        self.unlisted: set[str] = set()  # markets that REST does not know
        self.listed = {BTC: "live", ETH: "live"}  # natives of spot, and their states
        self.swaps: dict[str, str] = {}
        self.lists = True  # answers when it is asked for the list
        self.list_s = 0.0  # how long that takes
        self.list_asked = 0
        self.broken: set[str] = set()  # kinds of markets whose part of the list cannot be read
        self.damaged = set[str]()  # markets whose row of the list is invalid
        self.failures = 0  # of REST's answers the next so many are an internal error
        self.spoil: Callable[[str], str] = str  # what becomes of the frames with trades
        self._open: dict[Client, set[str]] = {}

    @property
    def open(self) -> list[int]:
        """The connections that there are now."""
        return [client.number for client in self._open]

    async def talk(self, client: Client) -> None:
        """One connection."""
        if self.refuses:
            await client.stream.receive_some()
            await client.raw(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")
            return
        await client.accept()
        self._open[client] = set()
        try:
            while (text := await client.ask()) is not None:
                if text == "ping":
                    await self._send(client, "pong")
                elif client.number not in self.deaf and 0 not in self.deaf:
                    request = json.loads(text)
                    if request["op"] == "unsubscribe":
                        for arg in request["args"]:
                            answer = json.dumps({"event": "unsubscribe", "arg": arg, "connId": "a4d3ae55"})
                            await client.send(*[answer] * (not self.silent))
                            self._open[client].discard(arg["instId"])
                        continue
                    for arg in request["args"]:
                        answer = json.dumps({"event": "subscribe", "arg": arg, "connId": "a4d3ae55"})
                        first = [await self._first(arg["instId"])] if self.prompt else []
                        await client.send(*[answer] * (not self.silent), *first)
                        self._open[client].add(arg["instId"])
        finally:
            del self._open[client]

    async def _first(self, native: str) -> str:
        """A trade that goes with the acknowledgement."""
        await self.trade(native)
        return self.spoil(trade("okx", native, *self.truth[native][-1]).decode())

    async def trade(self, native: str = BTC, count: int = 1, times: int = 1) -> None:
        """Makes trades and sends each, `times` times, to all who have subscribed."""
        made = self.truth.setdefault(native, [])
        for _ in range(count):
            made.append((1000 + len(made), time.time_ns() // 1_000_000 * 1_000_000 + self._ahead_ns))
            frame = self.spoil(trade("okx", native, *made[-1]).decode())
            for client, natives in list(self._open.items()):
                withheld = {(0, native), (client.number, native)} & self.mute
                if native in natives and not withheld:
                    await self._send(client, *[frame] * times)

    async def _send(self, client: Client, *texts: str) -> None:
        if client.number in self.hung:
            self._held.setdefault(client.number, []).extend(texts)
        else:
            await client.send(*texts)

    async def resume(self, number: int) -> None:
        """A connection that hung brings everything at once, and goes on."""
        self.hung.discard(number)
        client = next((client for client in self._open if client.number == number), None)
        if client is not None:
            await client.send(*self._held.pop(number, []))

    async def go_on(self, native: str, every_s: float, seconds: float) -> None:
        """A trade every so often for so long."""
        for _ in range(round(seconds / every_s)):
            await self.trade(native)
            await trio.sleep(every_s)

    async def say(self, number: int, text: str) -> None:
        """A message of its own to one connection."""
        await next(client for client in self._open if client.number == number).send(text)

    async def say_ended(self, number: int, *natives: str) -> None:
        """Tells a connection that it has ended these subscriptions; their trades come until `unsubscribe`."""
        args = [{"channel": "trades", "instId": native} for native in natives]
        for arg in args:
            await self.say(number, json.dumps({"event": "unsubscribe", "arg": arg, "connId": "a4d3ae55"}))

    def unsubscribe(self, number: int, *natives: str) -> None:
        """Sends a connection no more trades of these."""
        client = next(client for client in self._open if client.number == number)
        self._open[client].difference_update(natives)

    async def end(self, number: int) -> None:
        """Drops a connection without a close."""
        await trio.aclose_forcefully(next(client for client in self._open if client.number == number).stream)

    def ids(self, native: str = BTC) -> list[str]:
        """Of all trades ever made."""
        return [str(number) for number, _ in self.truth.get(native, ())]

    async def rest(self, request: httpx.Request) -> httpx.Response:
        """The list of markets, or /api/v5/market/history-trades: newest first, older than an id or a time."""
        if request.url.path.endswith("/instruments"):
            return await self._list(request.url.params["instType"])
        self.asked += 1
        if not self.answers:
            return httpx.Response(503, stream=httpx.ByteStream(b""))
        if self.failures:
            self.failures -= 1
            return _json({"code": "50026", "msg": "System error", "data": []})
        query = {key: values[0] for key, values in parse_qs(request.url.query.decode()).items()}
        if query["instId"] in self.unlisted:
            return _json({"code": "51001", "msg": "Instrument ID does not exist", "data": []})
        place = 1 if query.get("type") == "2" else 0  # by time or by id
        below = int(query["after"]) * (1_000_000 if place else 1)
        rows = [row for row in (*self.past, *self.truth.get(query["instId"], ())) if row[place] < below][::-1]
        data = [
            {"tradeId": str(number), "px": "1.5", "sz": "2.5", "side": "buy", "ts": str(ns // 1_000_000)}
            for number, ns in rows[: int(query["limit"])]
        ]
        return _json({"code": "0", "msg": "", "data": data})

    async def _list(self, kind: str) -> httpx.Response:
        self.list_asked += 1
        await trio.sleep(self.list_s)
        if not self.lists or kind in self.broken:
            return httpx.Response(503, stream=httpx.ByteStream(b""))
        listed = {"SPOT": self.listed, "SWAP": self.swaps}.get(kind, {})
        rows = [
            {"instType": kind, "state": state, "tickSz": "0.1", "lotSz": "0.00000001"}
            | ({"settleCcy": "USDT", "ctVal": "0.01", "ctMult": "1"} if kind == "SWAP" else {})
            | ({"lotSz": None, "lever": " " * 120} if native in self.damaged else {})
            | {"instId": native}
            for native, state in listed.items()
        ]
        return _json({"code": "0", "data": rows})


def _json(answer: object) -> httpx.Response:
    return httpx.Response(200, stream=httpx.ByteStream(json.dumps(answer).encode()))


class ListFile:
    """What the DuckDB file has of the list of markets; `held` while another process has it open."""

    def __init__(self, *stored: Instrument) -> None:
        self.stored, self.held, self.seen_ns = list(stored), False, 0
        self.rows: list[InstrumentRow] = []

    async def consult(self, question: object) -> Any:
        """The only question is the list."""
        if self.held:
            raise DatabaseLocked
        return StoredList(self.stored, self.seen_ns)

    def record(self, rows: Sequence[InstrumentRow]) -> None:
        """In place of the buffer."""
        self.rows += rows

    @property
    def newest(self) -> dict[str, tuple[str, bool]]:
        """By symbol the native name, and whether it is active."""
        return {row.symbol: (row.native_symbol, row.active) for row in self.rows}


class Recorder:
    """One exchange of the service under a supervisor, with all that came of it."""

    def __init__(
        self,
        symbols: tuple[str, ...],
        consumer: ChunkConsumer,
        services: SharedServices,
        supervisor: type[Supervisor] = Supervisor,
        **settings: Any,
    ) -> None:
        self.account = Account()
        self.intake, self.chunks, self.consume = consumer.intake, consumer.chunks, consumer.run
        self.batch_ends = consumer.batch_ends
        self.events: list[Event] = []
        self.tree = supervisor("tree", on_event=self.events.append)
        own = ExchangeSettings(name="x", dialect="okx", symbols=symbols, **{"supervision": POLICY, **settings})
        self.exchange = ExchangeRecorder(own, self.account, self.intake, services)

    def ids(self, symbol: str = "BTC/USDT") -> list[str | None]:
        """Of all rows that went to the store, in order."""
        rows = (zip(p.block.symbol, p.block.trade_id, strict=True) for p in self.chunks)
        return [number for pairs in rows for name, number in pairs if name == symbol]

    def gaps(self) -> list[GapRow]:
        """The newest state of each gap."""
        return list({gap.gap_id: gap for chunk in self.chunks for gap in chunk.gaps}.values())

    def reported(self, *words: str) -> list[Event]:
        """The events of these names."""
        return [event for event in self.events if event.event in words]

    @property
    def names(self) -> list[str]:
        """The connections that there are."""
        return [connection.spec.name for connection in self.exchange.connections]

    def connection(self, name: str) -> Connection:
        """One of them."""
        return next(one for one in self.exchange.connections if one.spec.name == name)

    def check(self, restarts: Iterable[str] = ()) -> None:
        """What holds at every moment: counts agree, the tree runs the pool's connections, no other actor failed."""
        account = self.account
        assert account.balanced
        rows = self.tree.snapshot()
        running = {row.name for row in rows if row.kind == "connection"}
        assert running == set(self.names)
        failed = {event.actor for event in self.events if event.event in ("backoff", "failed", "stuck")}
        assert failed <= set(restarts), [event for event in self.events if event.actor in failed]


async def seen(true: Callable[[], object]) -> None:
    """Waits, on a clock that jumps, until it is so."""
    with trio.fail_after(1000):
        while not true():  # noqa: ASYNC110 - there is no event for it
            await trio.sleep(0.05)


def shared_services(
    peers: PeerActivity | None = None,
    *,
    stalls: StallLimits = DEFAULT_STALL_LIMITS,
    pool: PoolLimits = DEFAULT_POOL_LIMITS,
    access: ExchangeAccess = DEFAULT_ACCESS,
    consult: Consult | None = None,
    expect: Callable[[Source], None] = lambda _: None,
    record: Callable[[Sequence[InstrumentRow]], None] = lambda _: None,
    past: Past | None = None,
    instruments: InstrumentLimits = DEFAULT_INSTRUMENT_LIMITS,
) -> SharedServices:
    """Those of a pipeline whose file is held; nothing is stored unless `past` is given. `record` gets changes of
    the list of markets.
    """
    return SharedServices(
        limiters=RateLimiters(),
        peers=peers or PeerActivity(),
        consult=consult or _held,
        flush=_nothing,
        expect=expect,
        past=past or _no_past,
        stored_until_ns=lambda: EPOCH_NS,
        record=record,
        stalls=stalls,
        pool=pool,
        access=access,
        instruments=instruments,
    )


async def _no_past(*_: object) -> Any:
    """Nothing is stored of any market."""
    return []


async def _held(question: object) -> Any:
    """Another process has the file."""
    raise DatabaseLocked


async def _nothing(*_: object) -> None:
    """Nothing to flush."""


@asynccontextmanager
async def recorded(
    venue: Venue,
    *symbols: str,
    peers: PeerActivity | None = None,
    stalls: StallLimits = DEFAULT_STALL_LIMITS,
    pool: PoolLimits = DEFAULT_POOL_LIMITS,
    rows: int = 100_000,
    consuming: bool = True,
    history: bool = True,
    changes: Mapping[str, Any] | None = None,
    listed: bool = False,
    file: ListFile | None = None,
    past: Past | None = None,
    supervisor: type[Supervisor] = Supervisor,
    **settings: Any,
) -> AsyncIterator[Recorder]:
    """Records the venue's markets while the block runs; wall time goes with trio's clock.

    `past`: see GapReporter. Without `history` the exchange is one whose REST may not be asked; with `listed` its
    list of markets is read and compared with `file`. `changes` are to its dialect.
    """
    settings["ws_url"] = "ws://127.0.0.1"  # without TLS
    if history:
        settings["rest_url"] = "http://127.0.0.1"
    async with trio.open_nursery() as nursery:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(time, "time_ns", lambda: EPOCH_NS + int(trio.current_time() * 1e9))
            exchanges = dict(changed_feed("okx", **(changes or {})))
            if not listed:
                exchanges["okx"] = msgspec.structs.replace(exchanges["okx"], instruments=None)
            consumer = ChunkConsumer(rows)
            services = shared_services(
                peers,
                expect=consumer.expect,
                stalls=stalls,
                pool=pool,
                access=ExchangeAccess(
                    exchanges=exchanges,
                    connect=connect_in_memory(nursery, venue.server.handle),
                    transport=httpx.MockTransport(venue.rest),
                ),
                consult=file.consult if file else None,
                record=file.record if file else lambda _: None,
                past=past,
                instruments=LIST_LIMITS,
            )
            recorder = Recorder(symbols or ("BTC/USDT",), consumer, services, supervisor, **settings)
            if consuming:
                nursery.start_soon(recorder.consume)
            with suppress(DatabaseLocked):
                recorder.exchange.recall(await services.consult(partial(read_stored, exchange="okx")))
            promises = recorder.exchange.promises
            states = await services.past("x", promises, {})
            recorder.exchange.begin(promises, states, time.time_ns())
            async with recorder.tree:
                await recorder.exchange.start(recorder.tree)
                await trio.sleep(BEGUN_S)
                yield recorder
                recorder.exchange.retire()
            recorder.chunks += recorder.exchange.rests()
        nursery.cancel_scope.cancel()


def coverage(recorder: Recorder, symbol: str = "BTC/USDT") -> list[str]:
    """The verdicts on a market, in order of time and whatever proves them, from what was recorded of it."""
    con = new_file()
    put_gaps(con, [gap for chunk in recorder.chunks for gap in chunk.gaps])
    put_feeds(con, [msgspec.structs.replace(feed, run_id="r") for chunk in recorder.chunks for feed in chunk.feeds])
    put_audit(con, "r", time.time_ns())
    rows = con.execute("SELECT status FROM coverage WHERE symbol = ? ORDER BY from_time", [symbol]).fetchall()
    return [status for status, _ in groupby(status for (status,) in rows)]


def requests(venue: Venue) -> list[tuple[int, str, list[str]]]:
    """What was asked for: connection, op, natives."""
    texts = [(c.number, json.loads(text)) for c in venue.server.clients for text in c.asked if text != "ping"]
    return [(number, one["op"], [arg["instId"] for arg in one["args"]]) for number, one in texts]


def carried(recorder: Recorder) -> dict[str, list[str]]:
    """By connection, the symbols that it delivers, as far as is known."""
    return {one.spec.name: sorted(one.state.since) for one in recorder.exchange.connections}
