"""Limits the share of the event loop's time that clients use."""

import math

import trio

WAIT_MAX_S = 1.0  # one slow answer delays those that come after it, but never for long


class Pace:
    """A leaky bucket of loop time, shared by all clients of one listener.

    Work is paid for after it is done, so a lone client is answered at once; those who hammer wait until
    `share` of the passing time has covered what they used. `burst_s` of work goes through unpaced.
    """

    def __init__(self, share: float, burst_s: float) -> None:
        self._share = share
        self._burst_s = burst_s / share
        self._covered_at = -math.inf

    async def spend(self, busy_s: float) -> None:
        """Records `busy_s` of work and waits while the bucket is over its brim."""
        now = trio.current_time()
        # Never further ahead than burst and one wait: a single heavy answer must not close the socket.
        brim = now + self._burst_s + WAIT_MAX_S
        self._covered_at = min(max(self._covered_at, now) + busy_s / self._share, brim)
        wait_s = self._covered_at - now - self._burst_s
        if wait_s > 0:
            await trio.sleep(wait_s)
        else:
            await trio.lowlevel.checkpoint()
