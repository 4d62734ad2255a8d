"""What people use instead, each reduced to what it needs to collect trades of Binance into DuckDB.

PYTHON tests/bench/peers.py PEER URL FILE [--connections N] [--ticks N] [--ca FILE]

PYTHON has the packages of peers.txt and need not have Tickwarden. With --ticks it prints when that many have been
stored, {"done_at"}; without, it goes on until SIGTERM and then prints {"messages"}.

- aiohttp: a script as tutorials have it: json.loads, a dataclass a trade, a DataFrame into DuckDB each second
- picows: the same by the fastest client there is, with typed decoding, without the dataclass
- limit: tuned by hand for floods: picows, uvloop, typed decoding, exact decimals from columns, nothing supervised
- cryptofeed: its Binance feed, and a callback that inserts a DataFrame for every 20,000 trades
- ccxt: ccxt.pro's watch_trades_for_symbols; what it gives is counted, not stored
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import ssl
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

BATCH = 20_000
FLUSH_S = 1.0
LOOK_S = 0.02
ORPHAN_S = 600  # it ends by itself if the benchmark was killed
DOUBLES = "exchange VARCHAR, symbol VARCHAR, price DOUBLE, volume DOUBLE, ts DOUBLE, side VARCHAR"
DECIMALS = (
    "exchange VARCHAR, symbol VARCHAR, trade_id BIGINT, price DECIMAL(38,18), volume DECIMAL(38,18),"
    " side VARCHAR, ts TIMESTAMPTZ, received_at TIMESTAMPTZ"
)


@dataclass(frozen=True)
class Task:
    """What a peer is asked to do; `ticks` 0 is without end."""

    url: str
    file: str
    connections: int
    ticks: int
    ca: str

    def tls(self) -> ssl.SSLContext | None:
        return ssl.create_default_context(cafile=self.ca) if self.url.startswith("wss:") else None


def database(file: str, columns: str) -> Any:
    import duckdb
    import pandas  # noqa: F401 - loaded before the clock starts

    con = duckdb.connect(file)
    con.execute("SET threads = 1")
    con.execute(f"CREATE TABLE ticks ({columns})")
    return con


def insert(con: Any, rows: list[Any]) -> None:
    import pandas

    frame = pandas.DataFrame(rows, columns=["exchange", "symbol", "price", "volume", "ts", "side"])
    assert len(frame) == len(rows)
    con.execute("INSERT INTO ticks SELECT * FROM frame")


def finish(**figures: object) -> None:
    """Tells the benchmark and waits to be ended by it."""
    print(json.dumps(figures), flush=True)
    if "done_at" in figures:
        signal.pause()
    os._exit(0)


class DataFrameSink:
    """Takes over `rows` every second; `as_rows` makes tuples of what the collector keeps."""

    def __init__(self, task: Task, as_rows: Callable[[list[Any]], list[Any]] = list) -> None:
        self.rows: list[Any] = []
        self._task, self._as_rows, self._stored = task, as_rows, 0
        self._con = database(task.file, DOUBLES)

    def flush(self) -> None:
        rows = self.rows.copy()
        self.rows.clear()
        if rows:
            insert(self._con, self._as_rows(rows))
            self._stored += len(rows)

    async def run(self) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._end)
        flushed = time.monotonic()
        while True:
            await asyncio.sleep(LOOK_S if self._task.ticks else FLUSH_S)
            full = 0 < self._task.ticks <= self._stored + len(self.rows)
            if full or time.monotonic() - flushed >= FLUSH_S:
                self.flush()
                flushed = time.monotonic()
            if full:
                finish(done_at=time.time())

    def _end(self) -> None:
        self.flush()
        finish(messages=self._stored)


@dataclass
class Trade:
    exchange: str
    symbol: str
    price: float
    volume: float
    timestamp: float
    side: str


async def run_aiohttp(task: Task) -> None:
    import aiohttp

    def as_rows(trades: list[Any]) -> list[Any]:
        return [(one.exchange, one.symbol, one.price, one.volume, one.timestamp, one.side) for one in trades]

    sink, tls = DataFrameSink(task, as_rows), task.tls()

    async def collect() -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(task.url, heartbeat=20, ssl=True if tls is None else tls) as socket,
        ):
            async for message in socket:
                if message.type == aiohttp.WSMsgType.TEXT:
                    parsed = json.loads(message.data)
                    if "data" in parsed:
                        data = parsed["data"]
                        price, volume, side = float(data["p"]), float(data["q"]), "sell" if data["m"] else "buy"
                        sink.rows.append(Trade("binance", data["s"], price, volume, data["T"] / 1000, side))

    await asyncio.gather(sink.run(), *(collect() for _ in range(task.connections)))


async def run_picows(task: Task) -> None:
    import msgspec
    import picows

    class Data(msgspec.Struct, gc=False):
        s: str
        p: str
        q: str
        T: int
        m: bool

    class Message(msgspec.Struct, gc=False):
        data: Data

    sink, decode = DataFrameSink(task), msgspec.json.Decoder(Message).decode

    class Listener(picows.WSListener):  # type: ignore[misc]
        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            if frame.msg_type == picows.WSMsgType.TEXT:
                data = decode(frame.get_payload_as_memoryview()).data
                side = "sell" if data.m else "buy"
                sink.rows.append(("binance", data.s, float(data.p), float(data.q), data.T / 1000, side))

    tls = task.tls()
    kept = [await picows.ws_connect(Listener, task.url, ssl_context=tls) for _ in range(task.connections)]
    await sink.run()
    del kept


async def run_limit(task: Task) -> None:
    import msgspec
    import numpy
    import picows

    class Data(msgspec.Struct, gc=False):
        s: str
        t: int
        p: str
        q: str
        T: int
        m: bool

    class Message(msgspec.Struct, gc=False):
        data: Data

    decode, con = msgspec.json.Decoder(Message).decode, database(task.file, DECIMALS)
    symbols, ids, prices, volumes, makers, times, arrivals = columns = tuple(list[Any]() for _ in range(7))
    left = task.ticks

    def flush() -> None:
        nonlocal left
        left -= len(symbols)
        chunk = {"s": numpy.array(symbols, object), "p": numpy.array(prices, object)}
        chunk |= {"q": numpy.array(volumes, object), "i": numpy.array(ids), "m": numpy.array(makers)}
        chunk |= {"t": numpy.array(times), "r": numpy.array(arrivals)}
        con.execute(
            "INSERT INTO ticks SELECT 'binance', s, i, p::DECIMAL(38,18), q::DECIMAL(38,18), if(m, 'sell', 'buy'),"
            " make_timestamptz(t * 1000), make_timestamptz(r // 1000) FROM chunk"
        )
        for column in columns:
            column.clear()
        if left <= 0:
            asyncio.get_running_loop().call_soon(lambda: finish(done_at=time.time()))

    class Listener(picows.WSListener):  # type: ignore[misc]
        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            if frame.msg_type == picows.WSMsgType.TEXT:
                data = decode(frame.get_payload_as_memoryview()).data
                symbols.append(data.s)
                ids.append(data.t)
                prices.append(data.p)
                volumes.append(data.q)
                makers.append(data.m)
                times.append(data.T)
                arrivals.append(time.time_ns())
                if len(ids) >= BATCH or len(ids) == left:
                    flush()

    transport, _ = await picows.ws_connect(Listener, task.url, ssl_context=task.tls())
    await transport.wait_disconnected()


def run_cryptofeed(task: Task) -> None:
    import uvloop
    from cryptofeed import FeedHandler, connection
    from cryptofeed.connection import WebsocketEndpoint
    from cryptofeed.defines import TRADES
    from cryptofeed.exchanges.binance import Binance
    from cryptofeed.symbols import Symbols

    pairs = {"BTC-USDT": "BTCUSDT", "ETH-USDT": "ETHUSDT"}
    Symbols.set("BINANCE", pairs, {"instrument_type": dict.fromkeys(pairs, "spot")})
    Binance.websocket_endpoints = [WebsocketEndpoint("wss://" + task.url.partition("://")[2].partition("/")[0])]
    as_it_was = connection.WSAsyncConn.__init__

    def plain(self: Any, address: str, *words: Any, **more: Any) -> None:
        as_it_was(self, address, *words, **more)
        self.address = address.replace("wss://", "ws://")  # it accepts nothing else before

    if task.url.startswith("ws:"):
        connection.WSAsyncConn.__init__ = plain
    con, rows, stored = database(task.file, DOUBLES), list[Any](), 0

    async def on_trade(trade: Any, _received: float) -> None:
        nonlocal stored
        price, volume = float(trade.price), float(trade.amount)
        rows.append((trade.exchange, trade.symbol, price, volume, trade.timestamp, trade.side))
        if len(rows) >= BATCH or len(rows) == task.ticks - stored:
            insert(con, rows)
            stored += len(rows)
            rows.clear()
            if stored >= task.ticks:
                finish(done_at=time.time())

    asyncio.set_event_loop(uvloop.new_event_loop())
    handler = FeedHandler(config={"log": {"disabled": True}, "uvloop": False})
    handler.add_feed(Binance(symbols=list(pairs), channels=[TRADES], callbacks={TRADES: on_trade}))
    handler.run()


async def run_ccxt(task: Task) -> None:
    import ccxt.pro

    options = {"defaultType": "spot", "tradesLimit": task.ticks}  # of more, it forgets some before it gives them
    exchange = ccxt.pro.binance({"newUpdates": True, "options": options})
    bases = ("BTC", "ETH")
    exchange.set_markets(
        [
            {"id": f"{base}USDT", "lowercaseId": f"{base.lower()}usdt", "symbol": f"{base}/USDT"}
            | {"base": base, "quote": "USDT", "baseId": base, "quoteId": "USDT", "type": "spot", "spot": True}
            | dict.fromkeys(("swap", "future", "option", "contract"), False)
            | dict.fromkeys(("linear", "inverse", "settle"))
            | {"active": True, "precision": {"price": 0.01, "amount": 1e-5}, "limits": {}, "info": {}}
            for base in bases
        ]
    )
    urls = exchange.urls["api"]["ws"]
    urls.update({key: task.url for key, value in urls.items() if isinstance(value, str)})
    seen = 0
    while seen < task.ticks:
        seen += len(await exchange.watch_trades_for_symbols([f"{base}/USDT" for base in bases]))
    finish(done_at=time.time())


ASYNCHRONOUS: dict[str, Callable[[Task], Coroutine[Any, Any, None]]] = {
    "aiohttp": run_aiohttp,
    "picows": run_picows,
    "ccxt": run_ccxt,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer")
    parser.add_argument("url")
    parser.add_argument("file")
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--ticks", type=int, default=0)
    parser.add_argument("--ca", default="")
    options = parser.parse_args()
    signal.alarm(ORPHAN_S)
    task = Task(options.url, options.file, options.connections, options.ticks, options.ca)
    with contextlib.suppress(KeyboardInterrupt):
        if options.peer == "cryptofeed":
            run_cryptofeed(task)
        elif options.peer == "limit":
            import uvloop

            uvloop.run(run_limit(task))
        else:
            asyncio.run(ASYNCHRONOUS[options.peer](task))
    sys.exit(1)


if __name__ == "__main__":
    main()
