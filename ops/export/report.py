"""Gathers what a recording says about itself, from the DuckDB file alone; bounded, however large the file is."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from ops.export import report_sql as sql
from ops.export.query import LOCK_TIMEOUT_S, QueryError
from ops.export.source import one_batch

MARKETS_MAX = 200  # listed; the totals count all
ROWS_MAX = 100  # of the lists of gaps, runs and restarts
WORSE = ("verified", "repaired", "unverified", "unknown", "lost")  # as the timeline counts
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Row = dict[str, Any]


def report(
    path: Path, since_us: int | None = None, until_us: int | None = None, *, timeout_s: float = LOCK_TIMEOUT_S
) -> Row:
    """The report as one JSON object, of one moment, and of the part of the range in which something was recorded.

    Raises DatabaseLocked and QueryError.
    """
    with one_batch(path, timeout_s=timeout_s) as con:
        first, last = con.execute(sql.BOUNDS).fetchone() or (None, None)
        if first is not None and last is not None:
            # Where nothing was recorded, the range would only make the buckets longer.
            first = first if since_us is None else max(first, since_us)
            last = last if until_us is None else min(last, until_us)
        if first is None or last is None or first >= last:
            raise QueryError(f"{path}: nothing was recorded in this range; `tickwarden coverage` shows what was")
        return _gather(con, path.name, first, last)


def _gather(con: duckdb.DuckDBPyConnection, name: str, since: int, until: int) -> Row:
    length = until - since
    width = max(1_000_000, -(-length // sql.BUCKETS_MAX))
    step = max(1, -(-length // sql.POINTS))
    step = -(-step // width) * width if step > width else width  # a point is made of whole buckets
    values = {"since": since, "until": until, "width": width, "step": step, "rows": ROWS_MAX}

    def ask(text: str, **more: Any) -> list[tuple[Any, ...]]:
        wanted = {key: value for key, value in {**values, **more}.items() if f"${key}" in text}
        return con.execute(text, wanted).fetchall()

    ask(sql.COVERED)
    ask(sql.buckets(since, until))
    ask(sql.JUDGED)
    ask(sql.stored_ids(since, until))
    markets = [_market(row) for row in _named(con, sql.MARKETS, values)]
    shown = _worst(markets)
    timeline: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for exchange, symbol, piece, worse in ask(sql.TIMELINE):
        timeline.setdefault((exchange, symbol), []).append((piece, worse))
    for market in shown:
        market["timeline"] = _runs(timeline.get((market["exchange"], market["symbol"]), []))
    return {
        "file": name,
        "from": _time(since),
        "to": _time(until),
        "step_s": step / 1e6,
        "totals": _totals(markets),
        "markets": shown,
        "markets_left_out": len(markets) - len(shown),
        "ticks_per_minute": _series(ask(sql.PER_MINUTE)),
        "prices": [_prices(symbol, ask(sql.PRICES, symbol=symbol)) for symbol, _, _ in ask(sql.PAIRS)],
        "lags": _lags(ask(sql.lags(since, until))),
        "gaps": [
            dict(
                zip(("exchange", "reason", "status", "gaps", "missing", "recovered", "uncounted"), row, strict=True)
            )
            for row in ask(sql.GAPS_BY_REASON)
        ],
        "open_and_lost": [
            {
                "exchange": exchange,
                "symbol": symbol,
                "reason": reason,
                "status": status,
                "from": _time(start),
                "to": _time(end),
                "missing": missing,
                "recovered": recovered,
            }
            for exchange, symbol, reason, status, start, end, missing, recovered in ask(sql.GAPS_WORST)
        ],
        "runs": [{"run": run, "from": _time(start), "to": _time(end)} for run, start, end in ask(sql.RUNS)],
        "restarts": [
            {"actor": actor, "failures": failures, "replaced": replaced, "last_reason": reason}
            for actor, failures, replaced, reason in ask(sql.RESTARTS)
        ],
    }


def _named(con: duckdb.DuckDBPyConnection, text: str, values: Mapping[str, Any]) -> list[Row]:
    cursor = con.execute(text, {key: value for key, value in values.items() if f"${key}" in text})
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _market(row: Row) -> Row:
    """Times in seconds, and the verdict.

    Loss per million is known where ids count the trades, and where all of the recorded time is verified or its loss
    is counted; else it is None, never 0.
    """
    times = {key.removesuffix("_us"): row.pop(key) / 1e6 for key in list(row) if key.endswith("_us")}
    stored = row["received"] + row["repaired"]
    counted = row["expected"] is not None
    proved = not row["uncounted_gaps"] and not row["unverifiable"] and times["total"] > 0
    verified = times["verified"] + times["repaired"]
    row["seconds"] = times
    row["verified_share"] = verified / times["total"] if times["total"] else 0.0
    whole = row["expected"] if counted else stored + row["lost"]
    row["loss_per_million"] = row["lost"] * 1e6 / whole if whole and (counted or proved) else None
    if row["lost"] or times["lost"]:
        row["verdict"] = "lost"
    elif row["open_gaps"] or row["uncounted_gaps"] or (times["unknown"] and not counted):
        row["verdict"] = "unknown"
    else:
        row["verdict"] = "verified" if stored and proved else "clean"
    return row


def _worst(markets: Sequence[Row]) -> list[Row]:
    """The markets to list: all, or those with the most loss and the most that is not verified."""
    order = sorted(
        markets, key=lambda m: (-m["lost"], -m["unverifiable"], -m["received"], m["exchange"], m["symbol"])
    )
    return sorted(order[:MARKETS_MAX], key=lambda m: (m["exchange"], m["symbol"]))


def _totals(markets: Sequence[Row]) -> Row:
    counted = [market for market in markets if market["expected"] is not None]
    expected, lost = (sum(market[key] for market in counted) for key in ("expected", "lost"))
    totals = {key: sum(m[key] for m in markets) for key in ("received", "repaired", "lost", "unverifiable", "gaps")}
    verdicts = {
        verdict: sum(m["verdict"] == verdict for m in markets)
        for verdict in ("verified", "clean", "unknown", "lost")
    }
    return {
        "markets": len(markets),
        "verdicts": verdicts,
        "markets_with_ids": len(counted),
        "expected": expected,
        **totals,
        "loss_per_million": lost * 1e6 / expected if expected else None,
    }


def _runs(pieces: Sequence[tuple[int, int]]) -> list[Row]:
    """Pieces of time that follow each other in the same state, joined: from piece to before piece."""
    joined: list[Row] = []
    for piece, worse in pieces:
        if joined and joined[-1]["to"] == piece and joined[-1]["state"] == WORSE[worse]:
            joined[-1]["to"] = piece + 1
        else:
            joined.append({"from": piece, "to": piece + 1, "state": WORSE[worse]})
    return joined


def _series(rows: Sequence[tuple[Any, ...]]) -> dict[str, list[list[float]]]:
    series: dict[str, list[list[float]]] = {}
    for name, point, value in rows:
        series.setdefault(name, []).append([point, round(value, 6)])
    return series


def _prices(symbol: str, rows: Sequence[tuple[Any, ...]]) -> Row:
    """Last prices, and how far they are apart where at least two exchanges traded, in hundredths of a percent."""
    series, at = _series(rows), dict[int, list[float]]()
    for points in series.values():
        for point, price in points:
            at.setdefault(int(point), []).append(price)
    spread = [
        [point, round(20_000 * (max(prices) - min(prices)) / (max(prices) + min(prices)), 4)]
        for point, prices in sorted(at.items())
        if len(prices) > 1 and max(prices) > 0
    ]
    return {"symbol": symbol, "last": series, "spread_bps": spread}


def _lags(rows: Sequence[tuple[Any, ...]]) -> dict[str, Row]:
    """Bins as [upper end in ms, rows], and quantiles as the upper end of the bin that holds them."""
    found: dict[str, dict[int, int]] = {}
    for exchange, bin_, count in rows:
        found.setdefault(exchange, {})[int(bin_)] = count
    done: dict[str, Row] = {}
    for exchange, bins in found.items():
        total = sum(bins.values())
        done[exchange] = {
            "samples": total,
            "negative": bins.get(-1, 0),
            **{f"p{round(100 * part)}_ms": _quantile(bins, part * total) for part in (0.5, 0.9, 0.99)},
            "bins": [[_upper_ms(bin_), count] for bin_, count in sorted(bins.items()) if bin_ >= 0],
        }
    return done


def _upper_ms(bin_: int) -> float:
    return float(f"{0.1 * 2 ** ((bin_ + 1) / sql.LAG_BINS_PER_DOUBLING):.3g}")


def _quantile(bins: Mapping[int, int], rank: float) -> float:
    seen = 0
    for bin_, count in sorted(bins.items()):
        seen += count
        if seen >= rank:
            return 0.0 if bin_ < 0 else _upper_ms(bin_)
    return 0.0


def _time(at_us: int | None) -> str | None:
    if at_us is None:
        return None
    try:
        return (_EPOCH + timedelta(microseconds=at_us)).isoformat().replace("+00:00", "Z")
    except OverflowError:
        return None
