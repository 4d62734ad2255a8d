"""Rate-limits repeated log lines: the first is shown, then how often it was repeated."""

import threading
import time
from collections.abc import Callable, Mapping, MutableMapping

from msgspec import Struct

REPEAT_S = 60.0  # the same problem is shown at most once in this time ...
KEYS_MAX = 1000  # ... for this many different ones; beyond that the oldest is forgotten and shown again

Fields = MutableMapping[str, object]
# Shown once and not kept: an exception's frames would keep all their objects in memory.
_BULKY = frozenset({"traceback", "exception", "exc_info", "stack"})
_Key = tuple[str, str, str]


class _Repeated(Struct):
    until: float
    count: int = 0
    last: Mapping[str, object] | None = None


class Repeats:
    """Used from several threads. Two lines are the same if event, actor and reason are."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[_Key, _Repeated] = {}  # in order of expiry

    def admit(self, fields: Fields) -> bool:
        """Whether a line is to be shown now; otherwise it is counted."""
        key = (str(fields.get("event", "")), str(fields.get("actor", "")), str(fields.get("reason", "")))
        now = self._clock()
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                # Also when it has expired: `due` is then about to report it, and to let the next one pass.
                known.count += 1
                known.last = {name: value for name, value in fields.items() if name not in _BULKY}
                return False
            if len(self._known) < KEYS_MAX or self._forget_one():
                self._known[key] = _Repeated(now + REPEAT_S)
            return True

    def due(self, *, everything: bool = False) -> list[Fields]:
        """The lines that report how often something was repeated; to be called every few seconds.

        A repeated line is counted for the same time again, so that a lasting problem is one line a minute.
        `everything` is for the shutdown.
        """
        now = self._clock()
        lines: list[Fields] = []
        with self._lock:
            for key, known in list(self._known.items()):
                if known.until > now and not everything:
                    break
                del self._known[key]
                if known.count:
                    lines.append(_summary(known, now))
                    self._known[key] = _Repeated(now + REPEAT_S)
        return lines

    def _forget_one(self) -> bool:
        """Makes room by dropping a line that was not repeated; False if all were."""
        key = next((key for key, known in self._known.items() if not known.count), None)
        if key is not None:
            del self._known[key]
        return key is not None


def _summary(known: _Repeated, now: float) -> Fields:
    assert known.last is not None
    return {**known.last, "repeated": known.count, "in_s": round(now - known.until + REPEAT_S, 1)}
