"""Schemas follow from row classes: what a new stream needs is one class."""

from dataclasses import dataclass
from typing import Annotated, Any

import duckdb
from arro3.core import Array, Table

from actors.model.records import AUDIT, EVENTS, FEEDS, GAP_STATES, INSTRUMENTS, LAGS
from actors.model.schema import DECIMAL, INSTANT, JSON, Stored, schema_of
from actors.model.ticks import REJECTS, TICKS

# Version 5 of the stored schema. A change here needs a step in actors/store/migration.py.
DEFINITIONS = {
    TICKS: '"exchange" VARCHAR, "symbol" VARCHAR, "timestamp" TIMESTAMPTZ, "received_at" TIMESTAMPTZ,'
    ' "price" DECIMAL(38,18), "volume" DECIMAL(38,18), "side" VARCHAR, "trade_id" VARCHAR, "source" VARCHAR,'
    ' "fills" BIGINT',
    REJECTS: '"received_at" TIMESTAMPTZ, "exchange" VARCHAR, "symbol" VARCHAR, "reason" VARCHAR, "detail" VARCHAR,'
    ' "payload" BLOB, "payload_bytes" BIGINT',
    EVENTS: '"at" TIMESTAMPTZ, "actor" VARCHAR, "event" VARCHAR, "reason" VARCHAR, "restarts" BIGINT,'
    ' "retry_in_s" DOUBLE, "detail" JSON',
    AUDIT: '"at" TIMESTAMPTZ, "exchange" VARCHAR, "frames" BIGINT, "received" BIGINT, "stored" BIGINT,'
    ' "duplicates" BIGINT, "rejected" BIGINT, "in_flight" BIGINT, "run_id" VARCHAR',
    GAP_STATES: '"at" TIMESTAMPTZ, "gap_id" VARCHAR, "exchange" VARCHAR, "symbol" VARCHAR, "reason" VARCHAR,'
    ' "opened_at" TIMESTAMPTZ, "closed_at" TIMESTAMPTZ, "from_id" VARCHAR, "to_id" VARCHAR,'
    ' "from_time" TIMESTAMPTZ, "to_time" TIMESTAMPTZ, "missing" BIGINT, "recovered" BIGINT, "status" VARCHAR',
    FEEDS: '"at" TIMESTAMPTZ, "exchange" VARCHAR, "symbol" VARCHAR, "event" VARCHAR, "run_id" VARCHAR,'
    ' "trade_id" VARCHAR, "time" TIMESTAMPTZ, "until" TIMESTAMPTZ, "proof" VARCHAR',
    LAGS: '"at" TIMESTAMPTZ, "exchange" VARCHAR, "samples" BIGINT, "p50_ms" DOUBLE, "p99_ms" DOUBLE,'
    ' "min_ms" DOUBLE, "max_ms" DOUBLE, "negative" BIGINT, "run_id" VARCHAR',
    INSTRUMENTS: '"exchange" VARCHAR, "symbol" VARCHAR, "native_symbol" VARCHAR, "kind" VARCHAR, "base" VARCHAR,'
    ' "quote" VARCHAR, "settle" VARCHAR, "volume_unit" VARCHAR, "contract_size" DECIMAL(38,18),'
    ' "price_step" DECIMAL(38,18), "volume_step" DECIMAL(38,18), "active" BOOLEAN, "seen_at" TIMESTAMPTZ,'
    ' "price_scale" BIGINT, "volume_scale" BIGINT',
}


def test_the_stored_schema_is_that_of_its_version() -> None:
    assert {schema.name: schema.definition for schema in DEFINITIONS} == {
        schema.name: definition for schema, definition in DEFINITIONS.items()
    }


@dataclass(frozen=True, slots=True)
class QuoteRow:
    """A made-up stream."""

    at_ns: Annotated[int, Stored("at", INSTANT)]
    symbol: str
    bid: Annotated[str, Stored(kind=DECIMAL)]
    depth: int | None
    latency: float
    digest: bytes
    open: bool
    detail_json: Annotated[str, Stored("detail", JSON)] = "{}"


def test_a_row_class_is_all_that_a_table_needs() -> None:
    quotes = schema_of("quotes", QuoteRow)
    row = QuoteRow(
        1_700_000_000_123_456_000, "BTC/USDT", "0.000000000000000001", None, 0.5, b"\0", True, '{"a": 1}'
    )
    columns: dict[str, Any] = {
        c.name: Array([getattr(row, c.attribute)], type=c.kind.arrow) for c in quotes.columns
    }
    with duckdb.connect() as con:
        con.execute(f"CREATE TABLE quotes ({quotes.definition})")
        con.register("batch", Table.from_pydict(columns))
        con.execute(f"INSERT INTO quotes ({quotes.names}) {quotes.select('batch')}")
        (stored,) = con.execute(f"SELECT {quotes.read} FROM quotes").fetchall()
    values = dict(zip(quotes.attributes, stored, strict=True))
    assert QuoteRow(**{**values, "bid": f"{values['bid']:f}"}) == row
