"""Backfill: fetches missing trades from an exchange's REST history.

The way of one gap, from detection to repair. Each step calls the next one; only the last line of step 1 calls back.

1. A connection ends (feed/connection), a market falls silent (feed/stall_detector), or an id is skipped
   (continuity/sequenced): `Continuity` opens a `GapRow` with status open. The next trade of the market bounds it.
2. The buffer collects the row from feed/gap_reporter where a batch ends: it is in `gaps` no later than the ticks
   that follow it are in `ticks`.
3. worker.BackfillWorker, the actor EXCHANGE:backfill, runs one round a second: it asks its three sources which
   `FetchJob` is due (fetch_job: one kind of job, one retry policy) and fetches each, a few pages at a time.
   - gap_filler.GapFiller: one job for each open gap
   - stall_probe.StallProbes: whether a silent market had trades, or exists at all
   - repairs.Repairs: ranges that an operator has ordered with `tickwarden repair`
4. gap_filler converts the gap to ranges of ids or times; fetcher.Fetcher requests a range page by page, and paging
   tracks its progress. rest_client sends the requests with retries and deadlines, within the limits of
   rate_limiter, shared by all clients of a host. The format of requests and pages is defined by the exchange's
   `History` (exchanges/contract).
5. delivery.Delivery processes each page of rows: Continuity drops copies of stored trades (stored_trades queries
   the file for times beyond the memory), the rest is counted and sent to the buffer through the gap reporter.
6. gap_filler closes the gap: filled, partial, lost or unknown, or open until the next round. That state
   is collected in the same way: no earlier than the rows that fill the gap.

instruments.Instruments, the actor EXCHANGE:instruments, uses the same rate limiter for another job: it reads the
exchange's list of markets, stores what has changed (stored_instruments), and has the recorder select its markets.

The recorder builds all of these and connects them. Limits are in fetch_job.BackfillLimits.
"""
