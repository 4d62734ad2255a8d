"""Applies the faults to the frames of one connection: drops, duplicates, swaps or corrupts them."""

import random
from collections import Counter
from collections.abc import Callable

from actors.exchanges.contract.loopback_market import Market
from ops.sandbox.faults import Faults
from ops.sandbox.malformed import garbage


class FaultInjector:
    """The faults of one connection. `silent`: it sends neither trades nor heartbeats. `struck` counts faults by
    name.
    """

    def __init__(self, faults: Callable[[], Faults], rng: random.Random, struck: Counter[str]) -> None:
        self._faults, self._rng, self._struck = faults, rng, struck
        self.silent = rng.random() < faults()["silence"]
        self._held: dict[Market, str] = {}
        self._lots: dict[Market, float] = {}
        self._mute: set[Market] = set()

    def muted(self, market: Market) -> bool:
        """Whether a market never trades here: decided once, and permanent if so."""
        lot = self._lots.setdefault(market, self._rng.random())
        if market not in self._mute and lot < self._faults()["mute"]:
            self._mute.add(market)
        return market in self._mute

    def frames(self, market: Market, frame: str) -> list[str]:
        """What is sent instead of this trade frame."""
        for name, on in (("silence", self.silent), ("mute", self.muted(market))):
            if on:
                self._struck[name] += 1
                return []
        if self.strikes("gap"):
            return []
        found = [garbage(frame, self._rng)] if self.strikes("garbage") else []
        held = self._held.pop(market, None)
        if held is None and self.strikes("reorder"):
            self._held[market] = frame
            return found
        found.append(frame)
        if held is not None:
            found.append(held)
        if self.strikes("duplicate"):
            found.append(frame)
        return found

    def strikes(self, name: str) -> bool:
        """Whether a fault with a probability occurs now; counted if so."""
        share = self._faults()[name]
        if not share or self._rng.random() >= share:
            return False
        self._struck[name] += 1
        return True
