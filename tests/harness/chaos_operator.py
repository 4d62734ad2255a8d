"""Sends commands to a pipeline at random moments, each with a timeout."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from actors.model.errors import DatabaseLocked
from supervisor import TransientError, UnknownActorError
from tests.harness.chaos_store import Boom, FakeStore
from tests.harness.chaos_venue import SYMBOLS

if TYPE_CHECKING:
    from tests.harness.chaos_pipeline import Chaos


class Operator:
    """Of one run."""

    def __init__(self, chaos: "Chaos") -> None:
        self._chaos, self._random, self._log = chaos, chaos.random, chaos.log
        self._pipeline = chaos.pipeline
        self._changing = trio.Lock()  # as the service has one

    async def command(self) -> None:
        """One command of an operator who may not have the patience to wait for it."""
        tree, dice = self._pipeline.tree, self._random
        name = dice.choice(["writer", "buffer", "merger", "exchanges", "alpha", "beta", "alpha:1", "beta:1"])
        if self._pipeline.state != "running":
            return
        commands: dict[str, Callable[[], Awaitable[None]]] = {
            f"restart {name}": lambda: tree.restart(name),
            f"pause {name}": lambda: tree.pause(name),
            f"resume {name}": lambda: tree.resume(name),
            "flush": self._flush,
            "merge": self._pipeline.merge,
            "symbols": self._change,
            "exchange": self._swap,
        }
        what = dice.choice(list(commands))
        patience_s = 20.0 if what in ("symbols", "exchange") else dice.choice([0.0, 0.1, 1.0, 20.0])
        self._log.append(f"{trio.current_time():.3f} s: {what} for {patience_s} s")
        with (
            trio.move_on_after(patience_s),
            suppress(UnknownActorError, RuntimeError, DatabaseLocked, Boom, TransientError, *FakeStore.transient),
        ):
            await commands[what]()
            if what.startswith("pause"):
                await trio.sleep(dice.random() * 5)
                await tree.resume(name)

    async def _flush(self) -> None:
        arrived = set(self._chaos.arrived)
        await self._pipeline.flush()
        batches = self._chaos.store.batches
        kept = {identity for batch in batches for block in batch.blocks for identity in block.price}
        if not self._chaos.venue.poisoned and arrived - kept:  # what is refused is kept a little later
            self._chaos.wrong.append(f"flushed, but not there: {arrived - kept}")

    async def _change(self) -> None:
        some = self._random.sample(SYMBOLS, 2)
        async with self._changing:
            await self._pipeline.exchanges["alpha"].change(some[:1], some[1:])

    async def _swap(self) -> None:
        """Removes an exchange, or has it back."""
        async with self._changing:
            if "beta" in self._pipeline.exchanges:
                await self._pipeline.remove_exchange("beta")
            else:
                await self._pipeline.add_exchange(self._pipeline.settings.exchanges["beta"])
