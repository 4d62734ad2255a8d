"""Spaces the connections of one exchange, and waits while the exchange wants none from this address."""

import math

import trio

from actors.wire.errors import TOO_MANY, HandshakeRefused, KeptAway
from supervisor.restart_policy import RETRY_AFTER_S_MAX


class ConnectPace:
    """One per exchange: what one connection learns from a refused handshake applies to all."""

    def __init__(self, connects_per_s: float) -> None:
        self._pause_s = 1 / connects_per_s
        self._turn = trio.Lock()  # in order of arrival; who is cancelled while it waits has used up no turn
        self._next_at = 0.0
        self._away_until, self._away_reason = -math.inf, ""

    async def wait(self) -> None:
        """Returns when the next connection may be opened; raises KeptAway while the exchange wants none."""
        async with self._turn:
            await trio.sleep_until(self._next_at)
            now = trio.current_time()
            self._next_at = now + self._pause_s
        if now < self._away_until:
            raise KeptAway(self._away_until - now, self._away_reason)

    def refused(self, refusal: HandshakeRefused) -> None:
        """A handshake was refused: if it names a time, no connection is opened before."""
        if refusal.status in TOO_MANY and refusal.retry_after_s is not None:
            until = trio.current_time() + min(refusal.retry_after_s, RETRY_AFTER_S_MAX)
            self._away_until, self._away_reason = max(self._away_until, until), str(refusal)
