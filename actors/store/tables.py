"""The tables of the DuckDB file, in the order in which a batch's segments are written."""

from actors.model.records import AUDIT, EVENTS, FEEDS, GAP_STATES, INSTRUMENTS, LAGS
from actors.model.schema import Schema
from actors.model.ticks import REJECTS, TICKS

SCHEMA_VERSION = 5

# Ticks come last: the ticks segment of a batch commits it (see segments.write_batch).
TABLES: tuple[Schema, ...] = (REJECTS, EVENTS, AUDIT, GAP_STATES, FEEDS, LAGS, INSTRUMENTS, TICKS)
