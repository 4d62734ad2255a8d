"""Ticks of several exchanges as a service hands them to its store: chunk by chunk, and batch by batch."""

from collections.abc import Iterable, Sequence
from decimal import Decimal

from actors.model.batch import Batch
from actors.model.records import AuditRow
from actors.model.ticks import Block
from actors.store.store import Store
from ops.client import Tick

BEGAN_US = 1_780_000_000_000_000


def tick(
    exchange: str = "binance",
    symbol: str = "BTC/USDT",
    *,
    at_us: int = 0,
    trade_id: str | None = "1",
    price: str = "60000.1",
    volume: str = "0.5",
    side: str | None = "buy",
) -> Tick:
    """A tick received `at_us` after the beginning."""
    received_us = BEGAN_US + at_us
    made_us = None if side is None else received_us - 1000
    return Tick(exchange, symbol, made_us, received_us, Decimal(price), Decimal(volume), side, trade_id, "stream")


def block(ticks: Sequence[Tick]) -> Block:
    """A chunk of one exchange."""
    made = Block(ticks[0].exchange)
    made.extend(
        [one.symbol for one in ticks],
        [None if one.timestamp_us is None else one.timestamp_us * 1000 for one in ticks],
        [one.received_us * 1000 for one in ticks],
        [f"{one.price:f}" for one in ticks],
        [f"{one.volume:f}" for one in ticks],
        [one.side for one in ticks],
        [one.trade_id for one in ticks],
        [one.source for one in ticks],
    )
    return made


def write(store: Store, chunks: Iterable[Sequence[Tick]], *, at_us: int = 0) -> None:
    """Makes chunks durable as one batch, sealed `at_us` after the beginning."""
    blocks = tuple(block(chunk) for chunk in chunks if chunk)
    audit = AuditRow((BEGAN_US + at_us) * 1000, "binance", 0, 0, 0, 0, 0, 0, "run")
    store.write(Batch(store.next_number(), blocks, audit=(audit,)))
