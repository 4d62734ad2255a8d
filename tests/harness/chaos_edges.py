"""The edges of the pipeline in a chaos run: what is put in place of the world, and how small all is made."""

import dataclasses
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest
import trio

from actors.continuity.deduplicator import Deduplicator
from actors.continuity.row import Decided
from actors.exchanges.contract.feed import Trades
from actors.model.chunk import Chunk
from actors.model.ticks import Block
from actors.pipeline import Parts
from actors.recorder import ExchangeAccess
from actors.settings import (
    ExchangeSettings,
    Limits,
    PipelineSettings,
    SinkLimits,
    StoreSettings,
    SupervisionSettings,
)
from actors.store.store import Store
from supervisor import ChildSpec, Mailbox, Supervisor
from tests.harness.chaos_store import Boom, FakeStore, NoClaim
from tests.harness.chaos_venue import CHAOS, SYMBOLS

if TYPE_CHECKING:
    from tests.harness.chaos_pipeline import Chaos


def parts(chaos: "Chaos") -> Parts:
    """What the pipeline is joined from instead of the world."""
    dice = chaos.random

    class HauntedSupervisor(Supervisor):
        async def start(self, spec: ChildSpec) -> None:
            await super().start(dataclasses.replace(spec, run=chaos.haunted(spec.name, spec.run)))

    class DoorMailbox(Mailbox[Any]):
        async def put(self, item: Any) -> None:
            await chaos.door("put")
            await super().put(item)
            if isinstance(item, Chunk):
                chaos.arrived.update(item.block.price)

        @asynccontextmanager
        async def receive_many(self, items_max: int) -> AsyncGenerator[list[Any], None]:
            await chaos.door("receive")
            async with super().receive_many(items_max) as items:
                yield items

    def brittle_trades(frames: Sequence[bytes]) -> Trades:
        if chaos.crashes_reader(frames):
            raise Boom("poison")
        return CHAOS.feed.trades(frames)

    brittle = msgspec.structs.replace(CHAOS, feed=msgspec.structs.replace(CHAOS.feed, trades=brittle_trades))
    return Parts(
        store=lambda settings, **_: cast(Store, FakeStore(settings, dice)),
        lock=cast(Any, NoClaim),
        supervisor=partial(HauntedSupervisor, random=dice),
        mailbox=DoorMailbox,
        access=ExchangeAccess(exchanges={"chaos": brittle}, connect=chaos.connect),
    )


def install(chaos: "Chaos", patch: pytest.MonkeyPatch) -> None:
    """Puts clock and threads in place, and watches what no part reports."""

    admit, take_decided = Deduplicator.admit, Deduplicator.take_decided

    def noting_put_back(deduplicator: Deduplicator, block: Block, start: int, *more: Any, **known: Any) -> int:
        came = block.price[start:]
        admitted = admit(deduplicator, block, start, *more, **known)
        unread = iter(came)
        chaos.held.update(price for price in block.price[start:] if price not in unread)  # at the block's end
        return admitted

    def noting_decided(deduplicator: Deduplicator, now: float, *, end: bool = False) -> tuple[Block, Decided]:
        block, decided = take_decided(deduplicator, now, end=end)
        chaos.held.update(block.price)
        return block, decided

    patch.setattr(Deduplicator, "admit", noting_put_back)
    patch.setattr(Deduplicator, "take_decided", noting_decided)
    patch.setattr("time.time_ns", chaos.wall)
    patch.setattr(trio.to_thread, "run_sync", chaos.in_place)


def settings(dice: Random, *, frail: bool) -> PipelineSettings:
    """Two exchanges of up to three connections."""
    policy = SupervisionSettings(
        backoff_initial_s=0.1,
        backoff_max_s=1.0,
        backoff_reset_s=5.0,
        restarts_max=2 if frail else 200,
        restarts_period_s=600.0,
        probe_interval_s=2.0,
    )
    store = StoreSettings(
        path=Path("ticks.duckdb"),
        flush_interval_s=dice.choice([0.2, 1.0]),
        flush_rows_max=dice.choice([1, 20, 1000]),
        merge_interval_s=dice.choice([0.5, 3.0]),
    )
    exchanges = {
        name: ExchangeSettings(
            name=name, dialect="chaos", symbols=SYMBOLS[:count], ws_url=f"ws://{name}:1", supervision=policy
        )
        for name, count in {"alpha": dice.randint(1, 5), "beta": 2}.items()
    }
    limits = SinkLimits(
        intake_rows_max=dice.choice([1, 5, 50, 1000]),
        sealed_rows_max=dice.choice([1, 20, 1000]),
        chunks_at_once=dice.choice([1, 4, 256]),
    )
    return PipelineSettings(
        store=store,
        exchanges=exchanges,
        supervision=policy,
        limits=Limits(sink=limits, chunk_rows=dice.choice([1, 10, 500])),
    )
