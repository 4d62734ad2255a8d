"""Messages of every exchange as connections get them: those of its loopback, and those that were recorded."""

import functools
import gzip
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import trio

from actors.exchanges.contract.feed import Market
from actors.feed.decoder import Decoder
from actors.model.symbols import SymbolError
from actors.model.ticks import Block
from ops.sandbox import Sandbox
from tests.harness.capture_files import expected, incoming, recordings
from tests.harness.exchange_cases import cases_of, market_of
from tests.harness.exchange_values import dialect_of
from tests.harness.loopback_client import RATE_PER_S, LoopbackClient, listed_markets

ORDERS = 4  # of each market of the loopback
RECORDED_MAX = 120  # messages of a recording that are looked at
NOW_NS = 1_800_000_000_000_000_000


@dataclass(frozen=True, slots=True)
class Received:
    """The messages of one connection that carries `markets`, in order.

    `trades` are those that hold sound trades, `others` the answers, to which later ones may refer, and heartbeats.
    """

    exchange: str
    markets: Sequence[Market]
    messages: Sequence[bytes]
    trades: Sequence[bytes] = ()
    others: Sequence[bytes] = ()

    def decoder(self, *read: bytes) -> Decoder:
        """That of a new connection, which has read these."""
        by_native = {market.native: market for market in self.markets}
        symbols = {native: market.symbol for native, market in by_native.items()}
        dialect = dialect_of(self.exchange)
        decoder = Decoder(self.exchange, dialect, symbols, dialect.decoder_for(by_native))
        for message in read:
            decoder.read([message], NOW_NS, Block(self.exchange))
        return decoder


def received(exchange: str, markets: Iterable[Market], messages: Sequence[bytes]) -> Received:
    """Messages, and which of them hold trades."""
    found = Received(exchange, tuple(markets), tuple(messages))
    decoder, block = found.decoder(), Block(exchange)
    ticks = [decoder.read([message], NOW_NS, block).ticks for message in messages]
    trades = tuple(message for message, count in zip(messages, ticks, strict=True) if count)
    others = tuple(message for message, count in zip(messages, ticks, strict=True) if not count)
    return replace(found, trades=trades, others=others)


@functools.cache
def from_loopback(exchange: str) -> tuple[Received, ...]:
    """What each endpoint of the loopback sends to who subscribes all its markets."""
    return trio.run(_from_loopback, exchange)


async def _from_loopback(exchange: str) -> tuple[Received, ...]:
    sandbox, found = Sandbox([exchange], RATE_PER_S), list[Received]()
    async with trio.open_nursery() as nursery:
        await nursery.start(sandbox.serve)
        by_endpoint: dict[str, list[Market]] = {}
        for market in await listed_markets(sandbox, exchange):
            by_endpoint.setdefault(market.endpoint, []).append(market)
        for markets in by_endpoint.values():
            sandbox.exchanges[exchange].connects.units = len(by_endpoint)
            async with LoopbackClient.connected(exchange, sandbox, *markets) as client:
                await client.subscribed()
                for market in markets:
                    await client.received(client.trade(market.symbol, ORDERS))
            found.append(received(exchange, markets, client.messages))
        nursery.cancel_scope.cancel()
    return tuple(found)


@functools.cache
def from_recordings(exchange: str) -> tuple[Received, ...]:
    """What was recorded of the real exchange."""
    found = []
    for name in recordings(exchange):
        markets = {}
        for row in expected(exchange, cases_of(exchange).markets_of.get(name, name)):
            try:
                markets[row["symbol"]] = market_of(exchange, row["symbol"])
            except SymbolError:  # a recorded option of an exchange whose options are not recorded
                continue
        found.append(received(exchange, markets.values(), incoming(exchange, name)[:RECORDED_MAX]))
    return tuple(found)


def everything(exchange: str) -> tuple[Received, ...]:
    """All there is of an exchange."""
    return (*from_loopback(exchange), *from_recordings(exchange))


def plain(exchange: str, message: bytes) -> bytes:
    """What is in a message, decompressed where the exchange compresses."""
    return gzip.decompress(message) if dialect_of(exchange).compression == "gzip" else message


def packed(exchange: str, content: bytes) -> bytes:
    """The message that holds this, compressed where the exchange compresses."""
    return gzip.compress(content, 1) if dialect_of(exchange).compression == "gzip" else content
