"""A bounded memory of the newest keys, packed: what it holds at least is a number, and so is what it costs."""

from array import array
from bisect import bisect_left

YOUNG_MAX = 150  # in a set, which is quick to add to and dear to keep; 153 would quadruple its table
GENERATION_KEYS = 1_024  # in sorted arrays, 8 bytes a key; more than any replay or one answer of any history
SLOTS_PER_KEY = 16  # of the sieve: of the new keys, about one in eight has to be looked up


class Recent:
    """Remembers at least the newest `keys` keys of 64 bits; GENERATION_KEYS of them cost at most 44 KiB.

    Keys are hashes of ids: the chance that a new one equals one of at most 2,500 remembered ones is about
    1 in 10^16 a trade.
    """

    __slots__ = ("_keys", "_mask", "_newer", "_older", "_sieve", "_young", "turns")

    def __init__(self, keys: int = GENERATION_KEYS) -> None:
        self._keys, self._mask = keys, keys * SLOTS_PER_KEY - 1
        assert not keys & (keys - 1), "a power of two, for the mask"
        self._young: set[int] = set()
        self._newer: array[int] = array("q")
        self._older: array[int] = array("q")
        self._sieve = bytearray(self._mask + 1)
        self.turns = 0  # how often a generation was closed: after the second, keys begin to be forgotten

    def may_hold(self, key: int) -> bool:
        """False is certain, and quick."""
        return self._sieve[key & self._mask] != 0

    def __contains__(self, key: int) -> bool:
        if not self._sieve[key & self._mask]:
            return False
        if key in self._young:
            return True
        for generation in (self._newer, self._older):
            at = bisect_left(generation, key)
            if at < len(generation) and generation[at] == key:
                return True
        return False

    def add(self, key: int) -> None:
        """Adds a key that is not in it."""
        self._sieve[key & self._mask] = 1
        self._young.add(key)
        if len(self._young) >= YOUNG_MAX:
            self._newer = array("q", sorted((*self._newer, *self._young)))
            self._young = set()
            if len(self._newer) >= self._keys:
                self._turn()

    def _turn(self) -> None:
        self._older, self._newer = self._newer, array("q")
        self.turns += 1
        self._sieve = bytearray(self._mask + 1)
        for key in self._older:
            self._sieve[key & self._mask] = 1

    def __len__(self) -> int:
        return len(self._young) + len(self._newer) + len(self._older)
