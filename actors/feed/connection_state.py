"""The state of one connection that others read: what it delivers, since when, and the exchange's announcements."""

import math
from collections.abc import Iterable

import trio

from actors.exchanges.contract.feed import Condition

WATCH_S = 0.25  # how often a session is checked that waits for answers, or has problems ...
CALM_S = 1.0  # ... and all others: it notes the markets of which trades were decoded
STRAGGLERS_S = 5.0  # trades this much later disprove that the exchange makes none
OVERFLOW_S = 60.0  # an exchange that was not read from for a while closes within this time


class ConnectionState:
    """Written only through its methods, by its Connection and that one's Session; the rest of the feed reads it.

    All times are trio's clock, inf for none. Fields that `ended` does not reset outlive a session.
    """

    def __init__(self) -> None:
        self.given_up: set[str] = set()  # symbols that end with it on purpose: no gap opens for them
        self.connected = False
        self.opened_at = math.inf
        self.reading_since = math.inf  # earlier silence is our own; inf while nothing is read
        self._read_since = math.inf  # what reading_since was before reading was blocked
        self.blocked_at = math.inf  # since when the buffer has been full
        self.since: dict[str, float] = {}  # symbols that it delivers now, as far as is known, and since when
        self.last_trade_at: dict[str, float] = {}  # of each symbol, up to DECODE_S and CALM_S late
        self.leaving = ""  # the exchange's text when it has announced that it will close
        self.condition = ""  # the exchange's text about its own status; "" for the normal one
        self.halted_at = math.inf  # since when the exchange reports that it makes no trades; inf while it does not
        self.matching_since = -math.inf  # earlier silence was the exchange's own
        self.unsubscribed: dict[str, str] = {}  # symbols without a subscription, and the reason that was reported

    # -- a session ----------------------------------------------------------------------------------------

    def opened(self) -> None:
        """A session has connected."""
        self.connected = True
        self.opened_at = self.reading_since = trio.current_time()

    def ended(self) -> None:
        """The session has ended: nothing is delivered."""
        self.connected = False
        self.opened_at = self.reading_since = self.blocked_at = math.inf
        self.since, self.last_trade_at, self.leaving = {}, {}, ""

    def give_up(self, symbols: Iterable[str]) -> None:
        """Marks symbols whose delivery ends on purpose."""
        symbols = set(symbols)
        self.given_up |= symbols
        for symbol in symbols:
            self.since.pop(symbol, None)

    # -- markets ------------------------------------------------------------------------------------------

    def delivers(self, symbols: Iterable[str]) -> None:
        """These symbols are delivered from now on."""
        self.since.update(dict.fromkeys(symbols, trio.current_time()))

    def lost(self, symbol: str, reason: str) -> tuple[bool, bool]:
        """A market has no subscription. Returns whether that is new, and whether it was delivered before."""
        news = symbol not in self.unsubscribed
        self.unsubscribed.setdefault(symbol, reason)
        return news, self.since.pop(symbol, None) is not None

    def forget_regained(self) -> None:
        """Forgets losses of markets that are delivered again, so that the next loss is reported."""
        if self.unsubscribed:
            self.unsubscribed = {
                symbol: why for symbol, why in self.unsubscribed.items() if symbol not in self.since
            }

    def traded(self, symbols: Iterable[str], now: float) -> None:
        """These symbols had trades since the last check."""
        traded = dict.fromkeys(symbols, now)
        for symbol in self.given_up:
            traded.pop(symbol, None)
        self.last_trade_at.update(traded)
        if traded and now - self.halted_at > STRAGGLERS_S:
            self._matches()

    def idle_since(self, symbol: str) -> float:
        """When the symbol last had a trade, or its delivery began; inf if silence means nothing."""
        begun = self.since.get(symbol, math.inf)
        if self.halted:
            return math.inf
        return max(begun, self.last_trade_at.get(symbol, begun), self.reading_since, self.matching_since)

    # -- the exchange's announcements ---------------------------------------------------------------------

    @property
    def halted(self) -> bool:
        """Whether the exchange has reported on this connection that it makes no trades at present."""
        return self.connected and self.halted_at < math.inf

    def announced(self, condition: Condition) -> None:
        """The exchange reported its status. It outlives the session: the next one receives the report again."""
        self.condition = condition.message
        if condition.matches:
            self._matches()
        elif self.halted_at == math.inf:
            self.halted_at = trio.current_time()

    def _matches(self) -> None:
        """Trades are made, according to the exchange, or because trades arrive."""
        if self.halted_at < math.inf:
            self.halted_at, self.matching_since = math.inf, trio.current_time()

    def will_close(self, reason: str) -> bool:
        """The exchange announced that it will close the connection. Returns whether that is new."""
        news, self.leaving = reason != self.leaving, reason
        return news

    # -- backpressure -------------------------------------------------------------------------------------

    def blocked(self) -> None:
        """Nothing is read from now on, until the buffer has room."""
        self._read_since, self.reading_since = self.reading_since, math.inf
        self.blocked_at = trio.current_time()

    def unblocked(self) -> None:
        """Reading resumes."""
        now = trio.current_time()
        self.reading_since = now if now - self.blocked_at > WATCH_S else self._read_since
        self.blocked_at = math.inf

    @property
    def overflowed(self) -> bool:
        """Whether the exchange may have closed because nothing was read while the buffer was full."""
        now = trio.current_time()
        lately = self.opened_at < self.reading_since < math.inf and now - self.reading_since < OVERFLOW_S
        return lately or now - self.blocked_at > WATCH_S
