"""Suggests the nearest known name for keys, exchanges, commands and faults that do not exist."""

import difflib
import re
from collections.abc import Iterable

ALIKE_MIN = 0.7  # SequenceMatcher's ratio for one wrong letter in a word of four
# Misspellings seldom change the first letter: if they do, all the rest must be the same ("inance").
ALIKE_MIN_OTHER_START = 0.9
PART_CHARS_MIN = 3  # a shorter word is the start of too many others


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The member of `known` that `word` resembles, begins or is a part of; None if there is none."""
    near = [(score, name) for name in known if (score := _likeness(word.casefold(), name.casefold()))]
    return max(near, key=lambda one: one[0])[1] if near else None


def _likeness(word: str, name: str) -> float:
    """0 for words with little in common."""
    ratio = difflib.SequenceMatcher(None, word, name).ratio()
    if word and ratio >= (ALIKE_MIN if word[0] == name[:1] else ALIKE_MIN_OTHER_START):
        return ratio
    # Part of a word ("flush" for "flush_rows_max", "version" for "storage_version") has a low ratio.
    whole_parts = re.fullmatch(rf"(.+[_-])?{re.escape(word)}([_-].+)?", name) is not None
    if len(word) >= PART_CHARS_MIN and (name.startswith(word) or whole_parts):
        return ratio
    return 0.0


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A part of an error message: the nearest known name, and all of them if they are few."""
    names = sorted(known)
    near = nearest(word, names)
    if near is None:
        return f"one that is known: {', '.join(names)}"
    text = f"the nearest known one is {near!r}"
    return text if len(names) > 12 else f"{text} (known: {', '.join(names)})"


def expected_instead(word: str, known: Iterable[str]) -> str:
    """What is expected instead of the unknown `word`, as an object of "expected"."""
    names = sorted(known)
    return ("a known one; " if nearest(word, names) else "") + did_you_mean(word, names)
