"""Fits tables and text to a terminal's width; columns that do not fit are left out and named."""

import re
import textwrap
from collections.abc import Callable, Sequence

from msgspec import Struct
from rich.cells import cell_len, chop_cells

COUNTED_WIDTH_MIN = 24  # in less room the count would replace the text
GAP = 2  # between two columns
NAME_WIDTH_MIN = 6  # the minimum for other columns, if nothing else helps


# "CannotConnect: ", not the "USD: " of "BTC/USD: no such pair".
_CLASS = re.compile(r"(?<![\w/:.-])(?:[A-Z]+[a-z]+(?:[A-Z][a-z]+)+|[A-Z]+Error): (?=\S)")


class Fit(Struct, frozen=True):
    """How to narrow a table: the columns to leave out, the least important first, and those to shorten.

    Columns of `drop` without content ("", "0", "NULL" in all rows) go before the others.
    """

    drop: tuple[str, ...] = ()
    shorten: tuple[str, ...] = ()
    text_width_min: int = 20  # a shortened text keeps at least this much; the columns of `drop` go first


class Fitted(Struct, frozen=True):
    """What is shown: indices of the remaining columns, their widths, and the names of those left out.

    `whole` if everything is shown and no cell shortened.
    """

    kept: list[int]
    widths: list[int]
    left_out: list[str]
    whole: bool


def width_of(text: str) -> int:
    """The number of cells a text takes: one for most characters, two for Chinese ones, none for marks."""
    return len(text) if text.isascii() else cell_len(text)


def shortened(text: str, width: int) -> str:
    """`text` within `width` cells; if a long one is cut, "(+N)" gives the number of characters removed."""
    if width_of(text) <= width:
        return text
    if width < COUNTED_WIDTH_MIN:
        return _cut(text, width)
    for kept in range(min(len(text) - 1, width), 0, -1):
        if kept > width // 2 and text[kept].isalnum() and text[kept - 1].isalnum():
            continue  # within a word
        short = f"{text[:kept].rstrip()}… (+{len(text) - kept})"
        if width_of(short) <= width:
            return short
    return _cut(text, width)


def wrapped(text: str, width: int, indent: str = "") -> list[str]:
    """Lines of at most `width`, broken between words; a longer word (a path) stays whole."""
    return textwrap.wrap(
        text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, drop_whitespace=True
    ) or [""]


def reason_for_people(text: str) -> str:
    """A reason without the name of the error's class, which is for logs and JSON."""
    return _CLASS.sub("", text)


def fitted(
    columns: Sequence[str], cells: Sequence[Sequence[str]], is_text: Sequence[bool], width: int, fit: Fit
) -> Fitted:
    """Which columns fit into `width`, and how wide they are; at least the first one stays."""
    natural = [max(map(width_of, (name, *(row[i] for row in cells)))) for i, name in enumerate(columns)]
    may_shorten = [name in fit.shorten and text for name, text in zip(columns, is_text, strict=True)]
    kept = list(range(len(columns)))

    def least(index: int) -> int:
        floor = max(fit.text_width_min, width_of(columns[index]))
        return min(natural[index], floor) if may_shorten[index] else natural[index]

    def too_wide(size: Callable[[int], int]) -> bool:
        return sum(map(size, kept)) + GAP * (len(kept) - 1) > width

    empty = [name for name in fit.drop if all(row[columns.index(name)] in ("", "0", "NULL", "-") for row in cells)]
    order = [*empty, *(name for name in fit.drop if name not in empty)]
    for name in order:
        if too_wide(least):
            kept.remove(columns.index(name))
    if too_wide(least):  # names too are shortened before more columns go
        may_shorten = [shorten or text for shorten, text in zip(may_shorten, is_text, strict=True)]
    while len(kept) > 1 and too_wide(least):
        kept.pop()
    widths = [natural[index] for index in kept]
    whole = len(kept) == len(columns) and not too_wide(lambda index: natural[index])
    while sum(widths) + GAP * (len(kept) - 1) > width:  # the widest text is shortened first
        widest = max(range(len(kept)), key=lambda i: (widths[i] - NAME_WIDTH_MIN) * may_shorten[kept[i]])
        if not may_shorten[kept[widest]] or widths[widest] <= NAME_WIDTH_MIN:
            break
        widths[widest] -= 1
    return Fitted(kept, widths, [name for i, name in enumerate(columns) if i not in kept], whole)


def _cut(text: str, width: int) -> str:
    """The start of a text, up to the end of a word if one ends in its second half."""
    start = chop_cells(text, max(1, width - 1))[0]
    words, space, _ = start.rpartition(" ")
    return f"{words if space and len(words) >= len(start) // 2 else start}…"
