"""Remembers across sessions at which markets the exchange closed the connection; see Dialect.bad_symbol_closes."""

from collections.abc import Iterable

CLOSES_S = 5.0  # a connection that ends so soon after a request may have ended because of it (hyperliquid: 0.1 s)
# A market is asked for again after these. The first pause is short, as the end may have had another reason; the
# later ones are long, as each try may cost all other markets of the connection a reconnect.
PAUSES_S = (10.0, 600.0, 3_600.0, 21_600.0, 86_400.0)
REASON = "the exchange closed the connection when it was asked for"


class SetAside:
    """`accepted` are the markets that the exchange has confirmed before: they need not be asked for one by one.

    All times are trio's clock.
    """

    def __init__(self) -> None:
        self.accepted: set[str] = set()
        self.due: dict[str, float] = {}  # when each market that is set aside is asked for again
        self._times: dict[str, int] = {}

    def accept(self, natives: Iterable[str]) -> None:
        """The exchange confirmed these."""
        for native in natives:
            self.accepted.add(native)
            self.due.pop(native, None)
            self._times.pop(native, None)

    def closed(self, unanswered: list[str], now: float) -> list[str]:
        """The connection ended with these just asked for. Returns the one that is set aside for that, if any.

        Where there are several it may have been any: from now on each is asked for by itself.
        """
        self.accepted -= set(unanswered)
        if len(unanswered) == 1:
            (native,) = unanswered
            times = self._times.get(native, 0)
            self._times[native] = times + 1
            self.due[native] = now + PAUSES_S[min(times, len(PAUSES_S) - 1)]
            return unanswered
        return []
