"""Rows as tables, JSON and CSV: no digit lost, nothing from the wire obeyed."""

import csv
import io
import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ops.terminal.output import decimal_text, plain, write_csv, write_json, write_table

LONG = Decimal("12345678901234567890.123456789012345678")


def written(write: Any, columns: list[str], rows: list[Any]) -> str:
    file = io.StringIO()
    write(columns, rows, file)
    return file.getvalue()


@given(st.decimals(allow_nan=False, allow_infinity=False, places=18))
def test_decimals_keep_every_digit_and_never_have_an_exponent(value: Decimal) -> None:
    text = decimal_text(value)
    assert Decimal(text) == value and "E" not in text.upper() and not ("." in text and text.endswith("0"))


def test_decimals_longer_than_pythons_default_precision_are_not_rounded() -> None:
    assert decimal_text(LONG) == "12345678901234567890.123456789012345678"
    assert decimal_text(Decimal("100.000000000000000000")) == "100"
    assert decimal_text(Decimal("1E-18")) == "0.000000000000000001"


def test_json_has_decimals_and_times_as_text_and_one_object_a_row() -> None:
    at = datetime(2026, 11, 22, 12, 0, 0, 5, tzinfo=timezone(timedelta(hours=2)))
    text = written(write_json, ["p", "at", "n"], [(LONG, at, 2**63), (None, None, None)])
    assert json.loads(text) == [
        {"p": str(LONG), "at": "2026-11-22T10:00:00.000005Z", "n": 2**63},
        {"p": None, "at": None, "n": None},
    ]
    assert len(text.splitlines()) == 4
    assert json.loads(written(write_json, ["a"], [])) == []


def test_json_keeps_columns_of_the_same_name_apart() -> None:
    assert json.loads(written(write_json, ["a", "a", "a_2", "a"], [(1, 2, 3, 4)])) == [
        {"a": 1, "a_2": 2, "a_2_2": 3, "a_3": 4}
    ]


def test_values_of_every_kind_become_json() -> None:
    value = {
        "bytes": b'{"p":\xff}',
        "date": date(2026, 1, 2),
        "naive": datetime(2026, 1, 2),
        "nan": float("nan"),
        "nested": [{Decimal("1.50"): (1, timedelta(seconds=1))}],
    }
    assert json.loads(json.dumps(plain(value), allow_nan=False)) == {
        "bytes": '{"p":\\xff}',
        "date": "2026-01-02",
        "naive": "2026-01-02T00:00:00",
        "nan": "nan",
        "nested": [{"1.5": [1, "0:00:01"]}],
    }


def test_csv_reads_back_whatever_stands_in_the_cells() -> None:
    rows = [('a"b,c\r\n', Decimal("1.10"), None, True), ("'); drop table ticks; --", LONG, 1.5, [1])]
    back = list(csv.reader(io.StringIO(written(write_csv, ["t", "p", "n", "x"], rows), newline="")))
    assert back == [
        ["t", "p", "n", "x"],
        ['a"b,c\r\n', "1.1", "", "true"],
        ["'); drop table ticks; --", str(LONG), "1.5", "[1]"],
    ]


def test_a_table_in_a_pipe_is_plain_whole_and_one_line_a_row() -> None:
    text = written(write_table, ["name", "price"], [("x" * 300, LONG), (None, Decimal("1"))])
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    assert "\x1b" not in text and len(lines) == 4
    assert lines[2].split() == ["x" * 300, str(LONG)]
    assert lines[3].split() == ["NULL", "1"] and lines[3].endswith(" 1")  # numbers stand right


def test_what_came_from_the_wire_neither_steers_the_terminal_nor_counts_as_markup() -> None:
    text = written(write_table, ["a"], [("[red]x[/red] \x1b[31m\r\n\u202e",)])
    assert "[red]x[/red] \\x1b[31m  \\u202e" in text and "\x1b" not in text


def test_times_in_a_table_are_utc() -> None:
    assert "2026-11-22T10:00:00Z" in written(write_table, ["at"], [(datetime(2026, 11, 22, 10, tzinfo=UTC),)])
