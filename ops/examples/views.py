"""What the notebook shows, as rows: candles, the spread between exchanges, and coverage."""

from pathlib import Path
from typing import Any

from ops.export.query import run_query

# The trades of one sweep have the same times: among these the order is that of their ids.
_ORDER = "(received_at, timestamp, TRY_CAST(trade_id AS BIGINT))"
_CANDLES = f"""
SELECT time_bucket(to_seconds($3::INTEGER), received_at) AS moment, arg_min(price, {_ORDER}) AS open,
       max(price) AS high, min(price) AS low, arg_max(price, {_ORDER}) AS close, sum(volume) AS volume
FROM ticks WHERE exchange = $1 AND symbol = $2 AND received_at >= now() - to_minutes($4::INTEGER)
GROUP BY moment ORDER BY moment
"""
_SPREAD = f"""
WITH lasts AS (
  SELECT time_bucket(to_seconds($2::INTEGER), received_at) AS moment, exchange, arg_max(price, {_ORDER}) AS price
  FROM ticks WHERE symbol = $1 AND source = 'stream' AND received_at >= now() - to_minutes($3::INTEGER)
  GROUP BY ALL)
SELECT moment, count(*) AS exchanges, arg_min(exchange, price) AS low, arg_max(exchange, price) AS high,
       10000 * (max(price)::DOUBLE / min(price)::DOUBLE - 1) AS bps
FROM lasts GROUP BY moment HAVING count(*) > 1 ORDER BY moment
"""
_COVERAGE = """
SELECT exchange, symbol, status, proof, from_time, to_time FROM coverage
WHERE to_time >= now() - to_minutes($1::INTEGER) ORDER BY exchange, symbol, from_time
"""
_MARKETS = (
    "SELECT exchange, symbol, count(*) AS trades FROM ticks GROUP BY ALL ORDER BY trades DESC, exchange, symbol"
)
Rows = list[dict[str, Any]]


def markets(file: Path) -> Rows:
    """The recorded markets, the busiest first."""
    return _rows(file, _MARKETS)


def candles(file: Path, exchange: str, symbol: str, *, seconds: int = 10, minutes: int = 15) -> Rows:
    """Open, high, low, close and volume of a market, for each so many seconds of the last minutes."""
    return _rows(file, _CANDLES, exchange, symbol, seconds, minutes)


def spread(file: Path, symbol: str, *, seconds: int = 10, minutes: int = 15) -> Rows:
    """How far the last prices of a market differ between exchanges, in hundredths of a percent."""
    return _rows(file, _SPREAD, symbol, seconds, minutes)


def coverage(file: Path, *, minutes: int = 15) -> Rows:
    """Which stretches of which market are recorded, and what shows that nothing is missing."""
    return _rows(file, _COVERAGE, minutes)


def _rows(file: Path, sql: str, *values: object) -> Rows:
    """Numbers as charts take them."""
    result = run_query(file, sql, values=values)
    plain = ([float(value) if hasattr(value, "quantize") else value for value in row] for row in result.rows)
    return [dict(zip(result.columns, row, strict=True)) for row in plain]
