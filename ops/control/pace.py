"""Limits the share of the event loop's time that clients use."""

import math

import trio

from ops.control.limits import ControlLimits

WAIT_MAX_S = 1.0  # the maximum delay that one slow answer causes for others


class Pace:
    """A leaky bucket of loop time, shared by all clients of one listener.

    Work is charged after it is done, so a single client is answered at once; heavy users wait until `share` of the
    elapsed time has covered their use. `burst_s` of work is free.
    """

    def __init__(self, share: float, burst_s: float) -> None:
        self._share = share
        self._burst_s = burst_s / share
        self._covered_at = -math.inf

    async def spend(self, busy_s: float) -> None:
        """Charges `busy_s` of work, and waits while the bucket is full.

        Otherwise it does not yield: its callers have just waited for their client, and under a flood each turn of
        the loop takes milliseconds.
        """
        now = trio.current_time()
        # Bounded by the burst and one wait: a single heavy answer must not block the socket.
        brim = now + self._burst_s + WAIT_MAX_S
        self._covered_at = min(max(self._covered_at, now) + busy_s / self._share, brim)
        wait_s = self._covered_at - now - self._burst_s
        if wait_s > 0:
            await trio.sleep(wait_s)


class Paces:
    """The two buckets of one listener: lines of the tap, and everything else."""

    def __init__(self, limits: ControlLimits) -> None:
        self.requests = Pace(limits.loop_share, limits.loop_burst_s)
        self.tap = Pace(limits.tap_share, limits.loop_burst_s)
