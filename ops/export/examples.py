"""Queries to begin with: `tickwarden query --example NAME` runs one, and its SQL can be changed from there."""

from typing import NamedTuple


class Example(NamedTuple):
    """`shows` is one line for people."""

    shows: str
    sql: str


# Ranges end at the newest row, so that they also show something where the service has stopped.
# The trades of one sweep have the same times: among these, and only there, the order is that of their ids.
EXAMPLES = {
    "trades": Example(
        "the 20 trades that were received last",
        """SELECT received_at, exchange, symbol, side, price, volume, trade_id
FROM ticks
ORDER BY received_at DESC
LIMIT 20""",
    ),
    "candles": Example(
        "one-minute candles of each market, the last 10 minutes",
        """WITH timed AS (
    SELECT *, coalesce(timestamp, received_at) AS at_time, TRY_CAST(trade_id AS BIGINT) AS id FROM ticks
)
SELECT time_bucket(INTERVAL '1 minute', at_time) AS minute, exchange, symbol,
       arg_min(price, (at_time, received_at, id)) AS open, max(price) AS high, min(price) AS low,
       arg_max(price, (at_time, received_at, id)) AS close, sum(volume) AS volume, count(*) AS trades
FROM timed
WHERE at_time >= (SELECT max(received_at) FROM ticks) - INTERVAL '10 minutes'
GROUP BY ALL
ORDER BY minute, exchange, symbol""",
    ),
    "spread": Example(
        "how far apart the exchanges' last prices of a symbol are in each of the last 10 minutes",
        """WITH last AS (
    SELECT time_bucket(INTERVAL '1 minute', received_at) AS minute, symbol, exchange,
           arg_max(price, (received_at, timestamp, TRY_CAST(trade_id AS BIGINT))) AS price
    FROM ticks
    WHERE source = 'stream' AND received_at >= (SELECT max(received_at) FROM ticks) - INTERVAL '10 minutes'
    GROUP BY ALL
)
SELECT minute, symbol, arg_min(exchange, price) AS lowest_on, min(price) AS lowest,
       arg_max(exchange, price) AS highest_on, max(price) AS highest,
       round(10000 * (max(price) / min(price) - 1)::DOUBLE, 2) AS spread_bps
FROM last
GROUP BY minute, symbol
HAVING count(*) > 1
ORDER BY minute, symbol""",
    ),
    "gaps": Example(
        "the 20 newest gaps that were not filled",
        """SELECT exchange, symbol, reason, status, from_time, to_time, missing, recovered
FROM gaps
WHERE status <> 'filled'
ORDER BY from_time DESC
LIMIT 20""",
    ),
    "coverage": Example(
        "how long each market was recorded, and how much of that is verified, lost or unknown",
        """SELECT exchange, symbol, min(from_time) AS since, max(to_time) AS until,
       round(sum(epoch(to_time - from_time)), 1) AS recorded_s,
       round(coalesce(sum(epoch(to_time - from_time)) FILTER (proof <> 'none'), 0), 1) AS verified_s,
       round(coalesce(sum(epoch(to_time - from_time)) FILTER (status = 'lost'), 0), 1) AS lost_s,
       round(coalesce(sum(epoch(to_time - from_time)) FILTER (status = 'unknown'), 0), 1) AS unknown_s
FROM coverage
GROUP BY ALL
ORDER BY exchange, symbol""",
    ),
    "lag": Example(
        "milliseconds from a trade to its receipt, each exchange's newest minute",
        """SELECT exchange, "at" AS minute_ended, samples, p50_ms, p99_ms, min_ms, max_ms, negative
FROM lags
QUALIFY row_number() OVER (PARTITION BY exchange ORDER BY "at" DESC) = 1
ORDER BY exchange""",
    ),
}
