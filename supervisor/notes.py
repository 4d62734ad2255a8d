"""Limits an actor's notes: repeats of one note, and all notes, per minute; the rest is counted.

A note may quote another party, which can send the same text, or a new one, without limit.
"""

from collections.abc import Mapping

import trio

PERIOD_S = 60.0
SAME_MAX = 3  # in a period; a note that came more often in the period before is noted once
NOTES_MAX = 1_000  # in a period; more than thousands of markets that stall at once cause within seconds

_Key = tuple[str, str, str]


class Notes:
    """One actor's notes in the current period. Times are trio's clock."""

    def __init__(self) -> None:
        self._since = float("-inf")
        self._seen: dict[_Key, int] = {}  # how often each came
        self._repeated: Mapping[_Key, int] = {}  # how often each was dropped in the period before
        self._left_out = 0

    def admit(self, event: str, reason: str, detail: Mapping[str, object]) -> dict[str, object] | None:
        """None for a note that is only counted; else what to add to its detail.

        "repeated": how often it was dropped in the period before; "left_out": how many other notes were.
        """
        self._turn(trio.current_time())
        key = (event, reason, repr(sorted(detail.items(), key=lambda item: item[0])) if detail else "")
        count = self._seen.get(key, 0)
        if not count and len(self._seen) >= NOTES_MAX:
            self._left_out += 1
            return None
        self._seen[key] = count + 1
        again = self._repeated.get(key, 0)
        if count >= (1 if again else SAME_MAX):
            return None
        more: dict[str, object] = {"repeated": again} if again else {}
        if self._left_out:
            more["left_out"], self._left_out = self._left_out, 0
        return more

    def _turn(self, now: float) -> None:
        """Begins a new period when the old one is over."""
        if now - self._since < PERIOD_S:
            return
        recent = self._seen if now - self._since < 2 * PERIOD_S else {}
        self._repeated = {
            key: count - (1 if key in self._repeated else SAME_MAX)
            for key, count in recent.items()
            if count > (1 if key in self._repeated else SAME_MAX)
        }
        self._since, self._seen = now, {}
