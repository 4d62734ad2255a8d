"""Queries on a lake to begin with: `tickwarden lake query --example NAME` runs one. The SQL is DataFusion's."""

from ops.export.examples import Example

# A filter on exchange, day and symbol reads only the files of these; without one on day all days are read.
LAKE_EXAMPLES = {
    "trades": Example(
        "the 20 trades of the newest day that were received last",
        """SELECT received_at, exchange, symbol, side, price, volume, trade_id, recorder
FROM ticks
WHERE day = (SELECT max(day) FROM shipments)
ORDER BY received_at DESC
LIMIT 20""",
    ),
    "candles": Example(
        "one-minute candles of each market, the last 10 minutes",
        """WITH timed AS (
    SELECT *, coalesce("timestamp", received_at) AS at_time, TRY_CAST(trade_id AS BIGINT) AS id FROM ticks
    WHERE day >= (SELECT max(day) FROM shipments) - INTERVAL '1 day'
)
SELECT date_trunc('minute', at_time) AS minute, exchange, symbol,
       first_value(price ORDER BY at_time, received_at, id) AS open, max(price) AS high, min(price) AS low,
       last_value(price ORDER BY at_time, received_at, id) AS close, sum(volume) AS volume, count(*) AS trades
FROM timed
WHERE at_time >= (SELECT max(received_at) FROM timed) - INTERVAL '10 minutes'
GROUP BY 1, 2, 3
ORDER BY 1, 2, 3""",
    ),
    "recorders": Example(
        "what each recorder stored of each exchange on each day, and how many of these rows are the tape's",
        """SELECT r.day, r.exchange, r.recorder, r.ticks AS stored, coalesce(t.ticks, 0) AS on_the_tape
FROM (SELECT day, exchange, recorder, count(*) AS ticks FROM recorded_ticks GROUP BY 1, 2, 3) AS r
LEFT JOIN (SELECT day, exchange, recorder, count(*) AS ticks FROM ticks GROUP BY 1, 2, 3) AS t
    ON r.day = t.day AND r.exchange = t.exchange AND r.recorder = t.recorder
ORDER BY 1, 2, 3""",
    ),
    "gaps": Example(
        "the 20 newest gaps of the tape that were not filled",
        """SELECT exchange, symbol, recorder, reason, status, from_time, to_time, missing
FROM gaps
WHERE status <> 'filled'
ORDER BY from_time DESC
LIMIT 20""",
    ),
    "coverage": Example(
        "how long each market was recorded, and how much of that is verified, lost or unknown",
        """SELECT exchange, symbol, min(from_time) AS since, max(to_time) AS until,
       round(sum(s), 1) AS recorded_s,
       round(sum(CASE WHEN proof <> 'none' THEN s ELSE 0 END), 1) AS verified_s,
       round(sum(CASE WHEN status = 'lost' THEN s ELSE 0 END), 1) AS lost_s,
       round(sum(CASE WHEN status = 'unknown' THEN s ELSE 0 END), 1) AS unknown_s
FROM (
    SELECT *, (CAST(to_time AS BIGINT) - CAST(from_time AS BIGINT)) / 1e6 AS s FROM coverage
)
GROUP BY 1, 2
ORDER BY 1, 2""",
    ),
    "shipments": Example(
        "what each recorder sent, and when it last did",
        """SELECT recorder, store, max(through) AS through, sum(rows) AS rows, max("at") AS last_sent
FROM shipments
GROUP BY 1, 2
ORDER BY 1, 2""",
    ),
}
