"""Rate-limits repeated log lines: the first is shown, then how often it was repeated."""

import threading
import time
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass

REPEAT_S = 60.0  # the same trouble is shown at most once in so long ...
KEYS_MAX = 1000  # ... for so many different ones; past that the oldest is forgotten and shown again

Fields = MutableMapping[str, object]
# Shown once; kept for longer they would hold memory, and the frames of an exception all they refer to.
_BULKY = frozenset({"traceback", "exception", "exc_info", "stack"})
_Key = tuple[str, str, str]


@dataclass(slots=True)
class _Repeated:
    until: float
    count: int = 0
    last: Mapping[str, object] | None = None


class Repeats:
    """Used from several threads. A line is the same as another if event, actor and reason are."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[_Key, _Repeated] = {}  # in the order in which their time is up

    def admit(self, fields: Fields) -> bool:
        """Whether a line is to be shown now; if not it is counted."""
        key = (str(fields.get("event", "")), str(fields.get("actor", "")), str(fields.get("reason", "")))
        now = self._clock()
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                # Also when its time is up: `due` is then about to tell of it, and to let the next one pass.
                known.count += 1
                known.last = {name: value for name, value in fields.items() if name not in _BULKY}
                return False
            if len(self._known) < KEYS_MAX or self._forget_one():
                self._known[key] = _Repeated(now + REPEAT_S)
            return True

    def due(self, *, everything: bool = False) -> list[Fields]:
        """The lines that tell how often something came again; to be asked for every few seconds.

        What came again is counted again for as long, so that a trouble that lasts is one line a minute.
        `everything` is for the end.
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
        """Makes room by forgetting something that did not come again; False if all did."""
        key = next((key for key, known in self._known.items() if not known.count), None)
        if key is not None:
            del self._known[key]
        return key is not None


def _summary(known: _Repeated, now: float) -> Fields:
    assert known.last is not None
    return {**known.last, "repeated": known.count, "in_s": round(now - known.until + REPEAT_S, 1)}
