"""Bounds what an actor notes: the same note once a minute, and so many a minute in all; the rest is counted.

What is noted may quote another party, which can repeat itself, or say something new, as often as it likes.
"""

from collections.abc import Mapping

import trio

PERIOD_S = 60.0
NOTES_MAX = 1_000  # in a period; above what thousands of markets that stall at once come to within seconds

_Key = tuple[str, str, str]


class Notes:
    """One actor's notes in the current period. Times are trio's clock."""

    def __init__(self) -> None:
        self._since = float("-inf")
        self._seen: dict[_Key, int] = {}  # how often each came again
        self._before: Mapping[_Key, int] = {}  # the same of the period before
        self._left_out = 0

    def admit(self, event: str, reason: str, detail: Mapping[str, object]) -> dict[str, object] | None:
        """None for a note that is only counted; else what to add to its detail.

        "repeated": how often it came again in the period before; "left_out": how many other notes were dropped.
        """
        now = trio.current_time()
        if now - self._since >= PERIOD_S:
            recent = now - self._since < 2 * PERIOD_S
            self._since, self._before, self._seen = now, self._seen if recent else {}, {}
        key = (event, reason, repr(sorted(detail.items(), key=lambda item: item[0])) if detail else "")
        if key in self._seen:
            self._seen[key] += 1
            return None
        if len(self._seen) >= NOTES_MAX:
            self._left_out += 1
            return None
        self._seen[key] = 0
        more: dict[str, object] = {}
        if again := self._before.get(key, 0):
            more["repeated"] = again
        if self._left_out:
            more["left_out"], self._left_out = self._left_out, 0
        return more
