"""What is known of one connection beyond its lives: what it is for, what it delivers, and what it has caught."""

import math

import trio

from actors.continuity.continuity import Continuity
from actors.exchanges.contract.feed import Condition, Dialect
from actors.feed.accumulator import Accumulator
from actors.feed.sharding import ConnectionSpec
from actors.settings import ExchangeSettings

WATCH_S = 0.25  # how often it is noted what was heard
STRAGGLERS_S = 5.0  # trades that come so much later disprove that the exchange makes none
OVERFLOW_S = 60.0  # an exchange that is not read from for a while hangs up within so long


class ConnectionState:
    """Base of Connection; a Session writes to it. All times are trio's clock; inf where there is none."""

    def __init__(
        self,
        plan: ConnectionSpec,
        settings: ExchangeSettings,
        dialect: Dialect,
        catch: Accumulator,
        continuity: Continuity,
    ) -> None:
        self.plan, self.settings, self.dialect = plan, settings, dialect
        self.catch, self.continuity = catch, continuity
        self.symbols = {market.native: market.symbol for market in plan.markets}
        self.given_up: set[str] = set()  # symbols that are meant to end with it: no gap opens for them
        self.connected = False
        self.opened_at = math.inf
        self.reading_since = math.inf  # silence before that is our own; inf while nothing is read
        self.blocked_at = math.inf  # since when it waits for room in the buffer
        self.since: dict[str, float] = {}  # symbols that it delivers now, as far as is known, and from when on
        self.heard: dict[str, float] = {}  # when the last trade of each came, within WATCH_S
        self.leaving = ""  # the exchange's words when it has said that it will close
        self.condition = ""  # the exchange's words for its own state; "" for the normal one
        self.halted_at = math.inf  # since when it says that it makes no trades; inf while it does not say so
        self.matching_since = -math.inf  # silence before that was the exchange's own
        self.told: dict[str, str] = {}  # markets that have no subscription, and the reason that was an event

    def opened(self) -> None:
        """A life of it has begun."""
        self.connected = True
        self.opened_at = self.reading_since = trio.current_time()

    def ended(self) -> None:
        """That life is over: nothing is delivered."""
        self.connected = False
        self.opened_at = self.reading_since = self.blocked_at = math.inf
        self.since, self.heard, self.leaving = {}, {}, ""

    def idle_since(self, symbol: str) -> float:
        """When it last had a trade of the symbol, or began to deliver it; inf where silence means nothing."""
        begun = self.since.get(symbol, math.inf)
        if self.halted:
            return math.inf
        return max(begun, self.heard.get(symbol, begun), self.reading_since, self.matching_since)

    @property
    def halted(self) -> bool:
        """Whether the exchange has said on it that no trades are made at present."""
        return self.connected and self.halted_at < math.inf

    def says(self, condition: Condition) -> None:
        """The exchange has told of its state. That outlives the connection: the next one is told again."""
        self.condition = condition.words
        if condition.matches:
            self.matches()
        elif self.halted_at == math.inf:
            self.halted_at = trio.current_time()

    def matches(self) -> None:
        """Trades are made, by the exchange's words or by those that come."""
        if self.halted_at < math.inf:
            self.halted_at, self.matching_since = math.inf, trio.current_time()

    @property
    def overflowed(self) -> bool:
        """Whether the exchange may have hung up because the buffer was full and nothing was read."""
        now = trio.current_time()
        lately = self.opened_at < self.reading_since < math.inf and now - self.reading_since < OVERFLOW_S
        return lately or now - self.blocked_at > WATCH_S
