"""The tables of the DuckDB file, in the order in which a batch's segments are written.

In the schema `store` each of them has one more column, BATCH: the number of the batch that a row came with. It is
NULL where an older version (schema 5) merged the row. The views do not show it.
"""

from actors.model.records import AUDIT, EVENTS, FEEDS, GAP_STATES, INSTRUMENTS, LAGS
from actors.model.schema import Schema
from actors.model.ticks import REJECTS, TICKS

SCHEMA_VERSION = 6

BATCH = "batch"

# Ticks come last: the ticks segment of a batch commits it (see segments.write_batch).
TABLES: tuple[Schema, ...] = (REJECTS, EVENTS, AUDIT, GAP_STATES, FEEDS, LAGS, INSTRUMENTS, TICKS)
