"""The helpers that exchanges share: exact times and digits."""

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.exchanges.contract.feed_helpers import (
    digits,
    digits_column,
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
    assert rfc3339_column_ns(TIMES) == [rfc3339_ns(text) for text in TIMES]
    assert rfc3339_column_ns([*TIMES, "2024-05-27T12:33:10Z"])[-1] == 1716813190000000000
    assert seconds_column_ns([]) == rfc3339_column_ns([]) == []
    for wrong in ("", "1.", "-1", "1e9", "1\n2", "2021-04-17T16:43:37.0897231234Z", "2021-13-17T16:43:37.1Z"):
        with pytest.raises(FieldError):
            seconds_column_ns([SECONDS[0], wrong])
        with pytest.raises(FieldError):
            rfc3339_column_ns([TIMES[0], wrong])


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
    for wrong in (b"null", b"[1]", b"true"):
        with pytest.raises(FieldError):
            digits_column([msgspec.Raw(last), msgspec.Raw(wrong)], "x")
