"""Checks of columns: exact digits, and the reason where a value cannot be stored."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.model.ticks import Reason
from actors.model.validation import YEAR_2200_NS, FieldError, amounts, check_ids, check_times


@pytest.mark.parametrize(
    "text",
    [
        "1",
        "61837.63000000",
        "0.00000001",
        "0.000000000000000001",
        "99999999999999999999.999999999999999999",
        "007.50",
    ],
)
def test_plain_digits_stay_as_the_wire_wrote_them(text: str) -> None:
    assert amounts([text], [text]) == ([text], [text])


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("1.5E-7", "0.00000015"),
        ("1.16539E8", "116539000"),
        ("3e-18", "0.000000000000000003"),
        ("1.5000000000000000000", "1.5"),
        ("2.0000000000000000000000", "2"),
        ("000000000000000000000000012.5", "12.5"),
    ],
)
def test_amounts_that_have_plain_digits_are_converted_exactly(text: str, plain: str) -> None:
    (price,), (volume,) = amounts([text], [text])
    assert price == volume
    assert Decimal(price) == Decimal(plain)
    assert "e" not in price.lower() and len(price.partition(".")[2]) <= 18


WORDS = """0 0.00000000 0e5 -1 -0.5 NaN Infinity -Infinity 1e400 1e-400 1e999999999 1e-999999999
1e99999999999999999999 0.0000000000000000001 1.0000000000000000001 123456789012345678901 1e20 3e-19 abc 1_000
1,5 0x10 +1 .5 1. 1e 1..2 --1"""
HUGE = ["9" * 100_000, "0." + "0" * 100_000 + "1"]
BAD = [*WORDS.split(), "", " ", " 1", "1 ", "1\n", "1\n2", "\n", "\uff11\uff12", "1\x00", *HUGE]


@pytest.mark.parametrize("text", BAD)
def test_an_amount_that_decimal_38_18_cannot_hold_exactly_is_refused_with_its_reason(text: str) -> None:
    with pytest.raises(FieldError) as price_error:
        amounts(["1", text, "2"], ["1", "1", "1"])
    with pytest.raises(FieldError) as volume_error:
        amounts(["1", "1", "1"], ["1", text, "2"])
    assert price_error.value.reason is Reason.BAD_PRICE
    assert volume_error.value.reason is Reason.BAD_VOLUME
    assert len(str(price_error.value)) < 300


@given(
    st.lists(
        st.tuples(st.sampled_from([*BAD, "1", "2.5", "1.5E-7"]), st.sampled_from(["1", "2.5", ""])),
        max_size=4,
    )
)
def test_columns_pass_exactly_when_each_of_their_values_does_alone(rows: list[tuple[str, str]]) -> None:
    def passes(prices: list[str], volumes: list[str]) -> bool:
        try:
            amounts(prices, volumes)
        except FieldError:
            return False
        return True

    together = passes([price for price, _ in rows], [volume for _, volume in rows])
    assert together == all(passes([price], [volume]) for price, volume in rows)


@given(st.decimals(min_value="1e-18", max_value="99999999999999999999", places=18), st.sampled_from(["f", "E"]))
def test_no_amount_changes_its_value_whatever_its_notation(value: Decimal, notation: str) -> None:
    text = format(value, notation)
    assert [Decimal(price) for price in amounts([text], ["1"])[0]] == [value]


@pytest.mark.parametrize("time", [0, -1, YEAR_2200_NS, 10**30, -(10**30)])
def test_a_time_outside_1970_to_2200_is_refused(time: int) -> None:
    check_times([1, None, YEAR_2200_NS - 1])
    for times in ([1, time], [time, None], [None, 1, time]):
        with pytest.raises(FieldError) as error:
            check_times(times)
        assert error.value.reason is Reason.BAD_TIME


@pytest.mark.parametrize("id_", ["", "x" * 129])
def test_an_empty_or_endless_id_is_refused(id_: str) -> None:
    check_ids(["1", None, "x" * 128])
    with pytest.raises(FieldError) as error:
        check_ids(["1", id_])
    assert error.value.reason is Reason.BAD_ID


def test_columns_of_nothing_are_sound() -> None:
    assert amounts([], []) == ([], [])
    check_times([None])
    check_ids([None])
