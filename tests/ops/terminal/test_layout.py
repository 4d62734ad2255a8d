"""Tables within a width: nothing is wider, no cell is cut to nothing, and what is left out is named."""

import io
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from ops.terminal.layout import Fit, reason_for_people, shortened, wrapped
from ops.terminal.output import laid_out

AT = datetime(2020, 6, 1, 12, 30, 15, 123456, tzinfo=UTC)


def drawn(columns: list[str], rows: list[tuple[object, ...]], width: int, fit: Fit) -> tuple[list[str], list[str]]:
    file = io.StringIO()
    table, left_out = laid_out(columns, rows, width, fit)
    Console(file=file, width=width, highlight=False, markup=False).print(table)
    return [line.rstrip() for line in file.getvalue().splitlines()], left_out


values = st.one_of(
    st.none(),
    st.integers(0, 10**7),
    st.decimals(0, 10**6, places=8),
    st.just(AT),
    st.sampled_from(["ok", "binance", "BTC/USDT:USDT", "币安人生/USDT"]),
    st.text("ab cd币", max_size=90),
)


@given(
    width=st.integers(40, 120),
    data=st.integers(1, 9).flatmap(lambda n: st.lists(st.tuples(*[values] * n), min_size=1, max_size=4)),
    drop=st.lists(st.integers(0, 8), unique=True),
    shorten=st.lists(st.integers(0, 8), unique=True),
)
def test_a_table_stays_within_its_width_and_names_what_it_leaves_out(
    width: int, data: list[tuple[object, ...]], drop: list[int], shorten: list[int]
) -> None:
    columns = [f"c{i}" for i in range(len(data[0]))]
    named = dict(enumerate(columns))
    fit = Fit(tuple(named[i] for i in drop if i in named), tuple(named[i] for i in shorten if i in named))
    lines, left_out = drawn(columns, data, width, fit)
    assert max(map(cell_len, lines)) <= width
    shown = lines[0].split()
    assert sorted([*shown, *left_out]) == sorted(columns)
    assert shown and len(lines) == 2 + len(data)


def test_numbers_keep_all_their_digits_and_times_lose_their_fractions_before_a_column_goes() -> None:
    row = ("coinbaseexchange", AT, Decimal("0.000000012345678901"), 12_345_678)
    lines, left_out = drawn(["exchange", "at", "price", "count"], [row], 80, Fit())
    assert "2020-06-01T12:30:15.123456Z" in lines[2] and not left_out
    lines, left_out = drawn(["exchange", "at", "price", "count"], [row], 70, Fit())
    assert "2020-06-01 12:30:15" in lines[2] and "0.000000012345678901" in lines[2] and not left_out
    recent = datetime.now(UTC).replace(microsecond=1)
    lines, left_out = drawn(["exchange", "at", "price", "count"], [(row[0], recent, *row[2:])], 65, Fit())
    assert f" {recent:%m-%d %H:%M:%S} " in lines[2] and not left_out


def test_the_least_important_columns_go_first_and_those_without_content_before_them() -> None:
    columns, row = ["name", "state", "duplicates", "rejected", "stored"], ("binance", "ok", 7, 0, 123)
    fit = Fit(drop=("duplicates", "rejected", "state"))
    assert drawn(columns, [row], 45, fit)[1] == []
    assert drawn(columns, [row], 40, fit)[1] == ["rejected"]
    assert drawn(columns, [row], 25, fit)[1] == ["duplicates", "rejected"]


@given(st.text(st.characters(codec="utf-8", exclude_categories=["C", "M"]), max_size=300), st.integers(24, 120))
@example("a" * 13 + "币" * 6, 24)  # fewer characters than cells
def test_what_is_shortened_fits_and_reports_how_much_is_left_out(text: str, width: int) -> None:
    short = shortened(text, width)
    assert cell_len(short) <= width
    if short != text:
        start, _, count = short.rpartition("… (+")
        assert text.startswith(start) and len(text) - len(start) >= int(count.removesuffix(")")) > 0


def test_a_reason_is_cut_between_words() -> None:
    reason = "cannot connect to 127.0.0.1:9: Connection refused"
    assert shortened(reason, 40) == "cannot connect to 127.0.0.1:9:… (+18)"
    assert wrapped("a word /a/very/long/path/that/is/not/broken x", 12) == [
        "a word",
        "/a/very/long/path/that/is/not/broken",
        "x",
    ]


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("okx:1 is backoff: CannotConnect: refused", "okx:1 is backoff: refused"),
        ("BTC/USD: no such pair", "BTC/USD: no such pair"),
        ("Kraken: maintenance", "Kraken: maintenance"),
        ("OSError: disk full | ValueError: x", "disk full | x"),
    ],
)
def test_a_reason_for_people_has_no_class_names(reason: str, shown: str) -> None:
    assert reason_for_people(reason) == shown


def test_a_day_ago_is_written_without_its_year_only_within_the_year() -> None:
    old = AT - timedelta(days=400)
    lines, _ = drawn(["x" * 20, "at"], [("y", old)], 41, Fit())
    assert f"{old:%Y-%m-%d %H:%M:%S}" in lines[2]
