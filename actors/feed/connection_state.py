"""The state of one connection that others read: what it delivers, since when, and what the exchange announced."""

import math
from collections.abc import Iterable

import trio

from actors.exchanges.contract.feed import Condition

WATCH_S = 0.25  # how often the markets that had trades are noted
STRAGGLERS_S = 5.0  # trades that come so much later disprove that the exchange makes none
OVERFLOW_S = 60.0  # an exchange that is not read from for a while hangs up within so long


class ConnectionState:
    """Written through its methods only, by its Connection and the Session of that; the rest of the feed reads it.

    All times are trio's clock, inf where there is none. What `ended` does not reset outlives a session.
    """

    def __init__(self) -> None:
        self.given_up: set[str] = set()  # symbols that are meant to end with it: no gap opens for them
        self.connected = False
        self.opened_at = math.inf
        self.reading_since = math.inf  # silence before that is our own; inf while nothing is read
        self._read_since = math.inf  # what reading_since was before reading was blocked
        self.blocked_at = math.inf  # since when it waits for room in the buffer
        self.since: dict[str, float] = {}  # symbols that it delivers now, as far as is known, and from when on
        self.last_trade_at: dict[str, float] = {}  # of each symbol, within WATCH_S
        self.leaving = ""  # the exchange's words when it has announced that it will close
        self.condition = ""  # the exchange's words for its own state; "" for the normal one
        self.halted_at = math.inf  # since when the exchange reports that it makes no trades; inf while it does not
        self.matching_since = -math.inf  # silence before that was the exchange's own
        self.unsubscribed: dict[str, str] = {}  # symbols without a subscription, and the reason that was reported

    # -- a session ----------------------------------------------------------------------------------------

    def opened(self) -> None:
        """A session is connected."""
        self.connected = True
        self.opened_at = self.reading_since = trio.current_time()

    def ended(self) -> None:
        """The session is over: nothing is delivered."""
        self.connected = False
        self.opened_at = self.reading_since = self.blocked_at = math.inf
        self.since, self.last_trade_at, self.leaving = {}, {}, ""

    def give_up(self, symbols: Iterable[str]) -> None:
        """That these are no longer delivered is intended from now on."""
        self.given_up |= set(symbols)

    # -- markets ------------------------------------------------------------------------------------------

    def delivers(self, symbols: Iterable[str]) -> None:
        """These are delivered from now on."""
        self.since.update(dict.fromkeys(symbols, trio.current_time()))

    def lost(self, symbol: str, reason: str) -> tuple[bool, bool]:
        """A market has no subscription. Returns whether that is news, and whether it was delivered until now."""
        news = symbol not in self.unsubscribed
        self.unsubscribed.setdefault(symbol, reason)
        return news, self.since.pop(symbol, None) is not None

    def forget_regained(self) -> None:
        """The loss of a market that is delivered again is news the next time."""
        self.unsubscribed = {symbol: why for symbol, why in self.unsubscribed.items() if symbol not in self.since}

    def traded(self, symbols: Iterable[str], now: float) -> None:
        """These had trades since the last look."""
        symbols = dict.fromkeys(symbols, now)
        self.last_trade_at.update(symbols)
        if symbols and now - self.halted_at > STRAGGLERS_S:
            self._matches()

    def idle_since(self, symbol: str) -> float:
        """When it last had a trade of the symbol, or began to deliver it; inf where silence means nothing."""
        begun = self.since.get(symbol, math.inf)
        if self.halted:
            return math.inf
        return max(begun, self.last_trade_at.get(symbol, begun), self.reading_since, self.matching_since)

    # -- the exchange's announcements ---------------------------------------------------------------------

    @property
    def halted(self) -> bool:
        """Whether the exchange has reported on this connection that no trades are made at present."""
        return self.connected and self.halted_at < math.inf

    def announced(self, condition: Condition) -> None:
        """The exchange reported its own state. That outlives the session: it reports to the next one again."""
        self.condition = condition.message
        if condition.matches:
            self._matches()
        elif self.halted_at == math.inf:
            self.halted_at = trio.current_time()

    def _matches(self) -> None:
        """Trades are made, as the exchange reports or as those that come show."""
        if self.halted_at < math.inf:
            self.halted_at, self.matching_since = math.inf, trio.current_time()

    def will_close(self, reason: str) -> bool:
        """The exchange announced that it will close the connection. Returns whether that is news."""
        news, self.leaving = reason != self.leaving, reason
        return news

    # -- backpressure -------------------------------------------------------------------------------------

    def blocked(self) -> None:
        """Nothing is read from now on, until the buffer has room."""
        self._read_since, self.reading_since = self.reading_since, math.inf
        self.blocked_at = trio.current_time()

    def unblocked(self) -> None:
        """Reading goes on."""
        now = trio.current_time()
        self.reading_since = now if now - self.blocked_at > WATCH_S else self._read_since
        self.blocked_at = math.inf

    @property
    def overflowed(self) -> bool:
        """Whether the exchange may have hung up because the buffer was full and nothing was read."""
        now = trio.current_time()
        lately = self.opened_at < self.reading_since < math.inf and now - self.reading_since < OVERFLOW_S
        return lately or now - self.blocked_at > WATCH_S
