"""Remembers across sessions for which markets the exchange closed the connection; see Dialect.bad_symbol_closes."""

from collections.abc import Iterable

CLOSES_S = 5.0  # a connection that ends this soon after a request may have ended because of it (hyperliquid: 0.1 s)
# The pauses before a market is requested again. The first is short, because the close may have had another reason;
# the later ones are long, because each retry may make all other markets of the connection reconnect.
PAUSES_S = (10.0, 600.0, 3_600.0, 21_600.0, 86_400.0)
REASON = "the exchange closed the connection when it was requested"


class SetAside:
    """`accepted` are the markets that the exchange has confirmed before: they may be requested together.

    All times are trio's clock.
    """

    def __init__(self) -> None:
        self.accepted: set[str] = set()
        self.due: dict[str, float] = {}  # when each market that is set aside is requested again
        self._times: dict[str, int] = {}

    def accept(self, natives: Iterable[str]) -> None:
        """The exchange confirmed these."""
        for native in natives:
            self.accepted.add(native)
            self.due.pop(native, None)
            self._times.pop(native, None)

    def closed(self, unanswered: list[str], now: float) -> list[str]:
        """The connection ended with these just requested. Returns the market set aside for that, if any.

        If there are several it may have been any of them: from now on each is requested alone.
        """
        self.accepted -= set(unanswered)
        if len(unanswered) == 1:
            (native,) = unanswered
            times = self._times.get(native, 0)
            self._times[native] = times + 1
            self.due[native] = now + PAUSES_S[min(times, len(PAUSES_S) - 1)]
            return unanswered
        return []
