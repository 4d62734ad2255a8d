"""Makes foreign text safe to store, log and show: valid Unicode, one printable line, of a bounded length."""

from collections.abc import Mapping

NAME_CHARS_MAX = 64  # of an actor
FOREIGN_CHARS_MAX = 300  # a text from another party: longer than any sentence an exchange sends
REASON_CHARS_MAX = 4_000  # a reason of ours may name some hundred markets
DETAIL_CHARS_MAX = 16_384  # a text within an event's detail: the stack of a deep recursion must not make a huge row
_DEPTH_MAX = 8  # of nested details; what is deeper is cut off


def printable(text: str, chars_max: int = FOREIGN_CHARS_MAX) -> str:
    """The text in one line of at most `chars_max` characters.

    White space becomes a blank. Control characters, characters that change the direction of writing or
    are invisible, and lone surrogates (which no UTF-8 can hold) are written out as escapes.
    """
    if len(text) <= chars_max and text.isprintable():
        return text
    kept = text[:chars_max]
    if not kept.isprintable():
        kept = "".join(char if char.isprintable() else _escape(char) for char in kept)
    return kept if len(kept) <= chars_max and len(text) <= chars_max else kept[: chars_max - 1] + "…"


def _escape(char: str) -> str:
    return " " if char.isspace() else char.encode("unicode_escape").decode()


def printable_lines(text: str, chars_max: int = REASON_CHARS_MAX) -> str:
    """The same for text whose line breaks are ours, such as a traceback."""
    if len(text) > chars_max:
        text = text[: chars_max - 1] + "…"
    return "\n".join(printable(line, chars_max) for line in text.split("\n"))[:chars_max]


def printable_detail(value: object, chars_max: int = DETAIL_CHARS_MAX, depth: int = 0) -> object:
    """A value for JSON with all text in it safe; types that JSON does not have become text."""
    if isinstance(value, str):
        return printable_lines(value, chars_max)
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth >= _DEPTH_MAX:
        return "..."
    if isinstance(value, Mapping):
        return {printable(str(key)): printable_detail(inner, chars_max, depth + 1) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [printable_detail(inner, chars_max, depth + 1) for inner in value]
    return printable_lines(str(value), chars_max)
