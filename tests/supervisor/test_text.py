"""Promises of foreign text: one printable line of bounded length, in events, health and errors."""

from hypothesis import given
from hypothesis import strategies as st

from supervisor import Event, TransientError, describe
from supervisor.errors import LINE_CHARS_MAX
from supervisor.text import REASON_CHARS_MAX, printable, printable_detail, printable_lines

EVIL = "\x1b]0;OWNED\x07\x1b[2J\x9b31m\nfake:1  ok\u2028\u202e\u2066\u200b\x00\x7f\ud800\udc00"
anything = st.text(st.characters(categories=None) | st.sampled_from(EVIL))


@given(anything, st.integers(2, 50))
def test_any_text_becomes_one_printable_line_of_utf8_within_its_length(text: str, chars_max: int) -> None:
    line = printable(text, chars_max)
    assert line.isprintable()
    assert len(line) <= chars_max
    line.encode()


@given(st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=300))
def test_text_that_is_safe_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


def test_unprintable_characters_are_escaped_and_a_cut_is_marked() -> None:
    assert printable("a\nb\tc") == "a b c"
    assert printable("\x1b[2J\x9b\u202e\ud800") == r"\x1b[2J\x9b\u202e\ud800"
    assert printable("x" * 400, 10) == "x" * 9 + "…"
    assert printable_lines("our\nlines\x1b\nstay") == "our\nlines\\x1b\nstay"


def test_an_event_and_an_error_are_safe_with_any_quoted_text() -> None:
    event = Event(
        at_ns=0, actor="a", event="refused", reason=EVIL * 500, detail={EVIL: [EVIL, {"x": EVIL}], "n": 1}
    )
    assert event.reason.isprintable()
    assert len(event.reason) <= REASON_CHARS_MAX
    assert all(line.isprintable() for line in str(event.detail).split("\\n"))
    assert event.detail["n"] == 1
    line = describe(ExceptionGroup("", [TransientError(EVIL * 100), ValueError(EVIL)]))
    assert line.isprintable()
    assert len(line) <= LINE_CHARS_MAX


def test_a_detail_nested_without_limit_is_cut() -> None:
    nested: list[object] = []
    nested.append(nested)
    assert "..." in str(printable_detail(nested))
