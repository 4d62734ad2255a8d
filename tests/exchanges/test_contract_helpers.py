"""The helpers that exchanges share: exact times and digits, and holes in numbers that count."""

from decimal import Decimal

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from actors.exchanges.contract.feed_helpers import (
    Counts,
    digits,
    digits_column,
    id_texts,
    ms_texts_ns,
    rfc3339_column_ns,
    rfc3339_ns,
    seconds_column_ns,
    seconds_ns,
)
from actors.model.validation import FieldError


@given(st.decimals(min_value=0, max_value=10**11, places=9))
def test_seconds_in_decimals_become_nanoseconds_exactly(seconds: Decimal) -> None:
    assert seconds_ns(f"{seconds:f}") == int(seconds * 1_000_000_000)


@pytest.mark.parametrize("text", ["", "x", "-1", "1e9", "1.", "1.2.3", " 1", "\uff11"])
def test_a_time_that_is_no_number_of_seconds_is_refused(text: str) -> None:
    with pytest.raises(FieldError):
        seconds_ns(text)


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("2021-04-17T16:43:37.089723Z", 1618677817089723000),
        ("2024-05-27T12:33:10Z", 1716813190000000000),
        ("1970-01-01T00:00:00.000000001Z", 1),
        ("2024-02-29T23:59:59.9Z", 1709251199900000000),
    ],
)
def test_times_in_words_are_exact_to_the_nanosecond(text: str, nanoseconds: int) -> None:
    assert rfc3339_ns(text) == nanoseconds


SECONDS = ["1788335142.5668371", "0.1", "5", "1788335142.00000000001234567891", "999999999999.999999999"]
TIMES = ["2021-04-17T16:43:37.089723Z", "2026-09-23T03:31:27.0873222Z", "1970-01-01T00:00:00.000000001Z"]


def test_a_column_of_times_is_read_as_each_by_itself() -> None:
    assert seconds_column_ns(SECONDS) == [seconds_ns(text) for text in SECONDS]
    assert rfc3339_column_ns(TIMES[:1]) == [rfc3339_ns(TIMES[0])]
    assert rfc3339_column_ns(TIMES) == [rfc3339_ns(text) for text in TIMES]
    assert rfc3339_column_ns([*TIMES, "2024-05-27T12:33:10Z"])[-1] == 1716813190000000000
    assert rfc3339_column_ns(TIMES, 5) == [rfc3339_ns(text) - 5 for text in TIMES]
    assert seconds_column_ns([]) == rfc3339_column_ns([]) == []
    misplaced = (
        "2021-04-17T16:43:3.71Z",
        "2021-04-17T6:43:037.1Z",
        "2021-4-17T16:043:37.1Z",
        "2021-04-17T16:43:37.Z",
    )
    for wrong in misplaced:
        with pytest.raises(FieldError):
            rfc3339_column_ns([TIMES[0], wrong])
    for wrong in ("", "1.", "-1", "1e9", "1\n2", "2021-04-17T16:43:37.0897231234Z", "2021-13-17T16:43:37.1Z"):
        with pytest.raises(FieldError):
            seconds_column_ns([SECONDS[0], wrong])
        with pytest.raises(FieldError):
            rfc3339_column_ns([TIMES[0], wrong])


def test_a_column_of_equally_long_times_is_read_as_each_by_itself() -> None:
    for decimals in range(1, 10):
        times = [f"2021-04-17T16:43:{second:02}.{'987654321'[:decimals]}Z" for second in (59, 0, 7)]
        assert rfc3339_column_ns(times) == [rfc3339_ns(text) for text in times]
    sound = "2021-04-17T16:43:37.089723Z"
    for wrong in (
        "2021-04-17T16:43:37.08_723Z",
        "2021-04-17T16:43:37.+89723Z",
        "2021-04-17T16:43:37.089723z",
        "2021-04-17T16:43:37,089723Z",
        "2021-04-17 16:43:37.089723Z",
        "2021-13-17T16:43:37.089723Z",
        "2021-04-17T16:43:37.0897\u0662Z",
    ):
        with pytest.raises(FieldError):
            rfc3339_column_ns([sound, wrong])
        with pytest.raises(FieldError):
            rfc3339_column_ns([TIMES[-1], wrong])
    mixed = [*TIMES, "2021-04-17T16:43:37.1Z", sound]
    assert rfc3339_column_ns(mixed, 9) == [rfc3339_ns(text) - 9 for text in mixed]
    for broken in ([sound, f"{sound}\n{sound}", ""], [sound, sound[:10], sound[10:]]):
        with pytest.raises(FieldError):
            rfc3339_column_ns(broken)


def test_a_column_of_milliseconds_becomes_nanoseconds() -> None:
    assert ms_texts_ns(["1788335012854", "1"]) == [1788335012854000000, 1000000]
    assert ms_texts_ns([]) == []
    for wrong in ("", "x", "-1", "1e3", "1.5", "1\n2", "1,2", "0178833501285", "1" * 19, "\uff11"):
        with pytest.raises(FieldError):
            ms_texts_ns(["1788335012854", wrong])


def test_a_number_keeps_its_digits_and_nothing_else_is_one() -> None:
    assert (
        digits(msgspec.Raw(b"0.00123440"), "price") == digits(msgspec.Raw(b'"0.00123440"'), "price") == "0.00123440"
    )
    with pytest.raises(FieldError):
        digits(msgspec.Raw(b"null"), "price")


@pytest.mark.parametrize("last", [b"2.50", b'"2.50"'])
def test_a_column_of_numbers_keeps_their_digits(last: bytes) -> None:
    assert digits_column([msgspec.Raw(b"1e-5"), msgspec.Raw(b"-0"), msgspec.Raw(last)], "x") == [
        "1e-5",
        "-0",
        "2.50",
    ]
    assert digits_column([], "x") == []
    for wrong in (b"null", b"[1]", b"true", b"[1,\n2]", b'{"a":\n"b"}'):
        with pytest.raises(FieldError):
            digits_column([msgspec.Raw(last), msgspec.Raw(wrong)], "x")
    broken = [msgspec.Raw(b'"1"\n"2"'), msgspec.Raw(last)]
    assert digits_column(broken, "x") == ['1"\n"2', "2.50"]


@given(st.lists(st.integers(), max_size=10))
@example([1, 2, 3, 10**30, 2**64, -(2**63), 0])
def test_integer_ids_are_written_as_the_wire_wrote_them(ids: list[int]) -> None:
    assert id_texts(ids) == [str(number) for number in ids]


def rows_behind_holes(rows: list[tuple[str, int]], *, together: bool) -> list[tuple[str, int]]:
    """By the numbers from first to last: between a market's row and the one before, some number is missing."""
    found = []
    for at, (native, number) in enumerate(rows):
        before = [there for there, row in enumerate(rows[:at]) if row[0] == native]
        start = before[-1] if before else 0 if together else at
        counted = [n for name, n in rows[start : at + 1] if together or name == native]
        if counted[-1] - counted[0] >= len(counted):
            found.append((native, number))
    return found


@given(st.lists(st.tuples(st.sampled_from("ABC"), st.integers(1, 3)), max_size=12), st.booleans(), st.data())
@example([("A", 1), ("A", 3), ("B", 2), ("A", 2)], False, None)
@example([("A", 1), ("A", 3), ("B", 2), ("A", 2)], True, None)
def test_rows_behind_holes_are_found_also_when_their_batch_is_read_again(
    steps: list[tuple[str, int]], together: bool, data: st.DataObject | None
) -> None:
    rows: list[tuple[str, int]] = []
    last: dict[str, int] = {}
    for native, step in steps:
        counted = "" if together else native
        last[counted] = last.get(counted, 4) + step
        rows.append((native, last[counted]))
    expected = rows_behind_holes(rows, together=together)

    counts, start = Counts(together=together), 0
    found: list[tuple[str, int]] = []
    while start < len(rows):
        end = data.draw(st.integers(start + 1, len(rows))) if data else len(rows)
        batch = rows[start:end]
        for again in (batch, *([row] for row in batch), batch):  # the batch is rejected, so each is read alone
            breaks = counts.breaks([row[0] for row in again], [row[1] for row in again])
            marked = [row for row, is_break in zip(again, breaks or [False] * len(again), strict=True) if is_break]
            assert marked == [row for row in again if row in expected] and (breaks is None) == (not marked)
            found += marked
        start = end
    assert set(found) == set(expected)


def test_what_has_no_number_counts_nothing_and_a_row_may_stand_for_several() -> None:
    counts = Counts()
    assert counts.breaks("AAAA", [-1, 5, -1, 6]) is None
    assert counts.breaks("AAA", [9, 12, 15], [7, 10, 14]) == [False, False, True]
    assert counts.breaks("AAA", [3, 4, 16]) is None  # sent again
