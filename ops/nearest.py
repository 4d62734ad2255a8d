"""The known word that somebody most likely meant: for unknown keys, exchanges and faults."""

import difflib
from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str:
    """The member of `known` (not empty) that looks most like `word`; case does not count."""
    folded = word.casefold()
    # A half-typed word ("flush" for "flush_rows_max") shares little by ratio, so a common start wins ties.
    return max(
        known,
        key=lambda name: (
            difflib.SequenceMatcher(None, folded, name.casefold()).ratio(),
            name.casefold().startswith(folded),
        ),
    )


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A sentence part for error messages: the nearest known word, then all of them where they are few."""
    names = sorted(known)
    text = f"the nearest known one is {nearest(word, names)!r}"
    return text if len(names) > 12 else f"{text} (known: {', '.join(names)})"
