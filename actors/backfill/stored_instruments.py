"""Converts instruments to rows of the table `instruments`, and back."""

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import duckdb
from msgspec import Struct
from msgspec.structs import replace

from actors.exchanges.contract.instruments import Instrument
from actors.model.errors import DatabaseLocked
from actors.model.records import INSTRUMENTS, InstrumentRow

DECIMALS_MAX, DIGITS_MAX = 18, 38  # the store's type for decimals
NEWEST = f"""
SELECT {INSTRUMENTS.read} FROM instruments WHERE exchange = $exchange
QUALIFY row_number() OVER (PARTITION BY symbol ORDER BY seen_at DESC, active DESC) = 1
"""


class StoredList(Struct):
    """The markets of an exchange as the file has them; `seen_ns` is when the newest row was read, 0 without any."""

    instruments: Sequence[Instrument] = ()
    seen_ns: int = 0


def read_stored(con: duckdb.DuckDBPyConnection, exchange: str) -> StoredList:
    """The newest row of each market of an exchange, from a connection that sees the views; this function blocks.

    Raises DatabaseLocked for a file of an older version whose upgrade another process prevents.
    """
    try:
        rows = con.execute(NEWEST, {"exchange": exchange}).fetchall()
    except duckdb.CatalogException as error:
        raise DatabaseLocked(f"an older file, without instruments ({error})") from error
    found = [dict(zip(INSTRUMENTS.attributes, row, strict=True)) for row in rows]
    return StoredList([_instrument(values) for values in found], max((one["seen_ns"] for one in found), default=0))


def _instrument(row: Mapping[str, Any]) -> Instrument:
    values = dict(row)
    del values["exchange"], values["seen_ns"]
    values["native"], values["settle"] = values.pop("native_symbol"), values["settle"] or ""
    values.update((name, _digits(values[name])) for name in ("contract_size", "price_step", "volume_step"))
    return Instrument(**values)


def row_of(exchange: str, one: Instrument, seen_ns: int) -> InstrumentRow:
    """The row of one market."""
    return InstrumentRow(
        exchange=exchange,
        symbol=one.symbol,
        native_symbol=one.native,
        kind=one.kind,
        base=one.base,
        quote=one.quote,
        settle=one.settle or None,
        volume_unit=one.volume_unit,
        contract_size=one.contract_size,
        price_step=one.price_step,
        volume_step=one.volume_step,
        active=one.active,
        seen_ns=seen_ns,
        price_scale=one.price_scale,
        volume_scale=one.volume_scale,
    )


def storable(one: Instrument) -> Instrument:
    """The instrument with decimals as read back from the file, so that the two can be compared."""
    return replace(
        one,
        contract_size=_digits(one.contract_size),
        price_step=_digits(one.price_step),
        volume_step=_digits(one.volume_step),
    )


def _digits(value: str | Decimal | None) -> str | None:
    """Digits without redundant zeros; None for values that the store cannot hold."""
    if value is None:
        return None
    try:
        number = Decimal(value)
    except InvalidOperation:
        return None
    if not number.is_finite():
        return None
    if not number:
        return "0"
    if not -DECIMALS_MAX <= number.adjusted() < DIGITS_MAX - DECIMALS_MAX:
        return None
    whole, _, decimals = format(number, "f").partition(".")
    decimals = decimals.rstrip("0")
    return None if len(decimals) > DECIMALS_MAX else f"{whole}.{decimals}" if decimals else whole
