"""One loopback exchange: its markets, their subscribers, and the trades made."""

import dataclasses
import random
from collections import Counter, deque
from collections.abc import Callable

from actors.exchanges.contract.loopback import Venue
from actors.exchanges.contract.loopback_market import Fill, Market
from actors.exchanges.contract.loopback_rest import Meter
from ops.sandbox.faults import Faults
from ops.sandbox.instruments import Listing, listings
from ops.sandbox.outage import Outage
from ops.sandbox.session import Session

WARM_UP_NS = 2_000_000_000  # how old the trade is that a market replays to its first subscriber


class Exchange:
    """A venue with its open markets. `truth` holds the newest `keep_truth` trades by unified symbol.

    `sessions` are the open connections; `connects` counts attempts against the venue's limit.
    """

    def __init__(
        self,
        venue: Venue,
        seed: int,
        ids_from: int,
        keep_truth: int,
        now_ns: Callable[[], int],
        faults: Callable[[], Faults],
    ) -> None:
        self.venue, self.faults = venue, faults
        self.listings = {(row.category, row.native): row for row in listings(venue)}
        self.markets: dict[tuple[str, str], Market] = {}
        self.audiences: dict[Market, set[Session]] = {}
        self.truth: dict[str, deque[Fill]] = {}
        self.struck: Counter[str] = Counter()
        self.connections = 0
        self.sessions: set[Session] = set()
        self.connects = Meter(*venue.connects)
        own = random.Random(f"{seed}/{venue.name}/outage")  # noqa: S311 - faults, not secrets
        self.outage = Outage(faults, own, self.struck)
        self.rng = random.Random(f"{seed}/{venue.name}")  # noqa: S311 - trades, not secrets
        self._seed, self._ids_from, self._keep_truth, self._time_ns = seed, ids_from, keep_truth, now_ns

    def now_ns(self) -> int:
        """The exchange's own clock."""
        return self._time_ns() + round(self.faults()["clock"] * 1e9)

    def drop_all(self) -> None:
        """Drops every connection without a close."""
        for session in self.sessions:
            session.drop()

    def market(self, category: str, native: str) -> Market:
        """The market, which trades from its first subscriber on."""
        market = self.markets.get((category, native))
        if market is None:
            market = self._open(self.listings[category, native])
            self.markets[category, native] = market
        return market

    def _open(self, row: Listing) -> Market:
        seed = dataclasses.replace(row.seed, last_id=row.seed.last_id + self._ids_from)
        # A random generator for each market: other markets do not affect it.
        rng = random.Random(f"{self._seed}/{self.venue.name}/{row.category}/{row.native}")  # noqa: S311
        market = Market(row.symbol, row.native, row.category, seed, self.venue.styles[row.category], rng)
        self.audiences[market] = set()
        self.truth[row.symbol] = deque(maxlen=self._keep_truth)
        for _ in range(self.venue.warm_up):
            self.truth[row.symbol].extend(market.trade(self.now_ns() - WARM_UP_NS))
        return market

    def trade(self, market: Market) -> int:
        """One taker's order, sent to every subscriber; returns the number of its trades."""
        fills = market.trade(self.now_ns())
        self.truth[market.symbol].extend(fills)
        for frame in self.venue.trade_frames(market, fills):
            for session in self.audiences[market]:
                session.trade(market, frame)
        return len(fills)
