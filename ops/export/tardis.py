"""Exports ticks in the layout of Tardis' `trades` datasets, which backtesters import.

One gzip-compressed CSV file for each exchange, day and native symbol, ordered and divided by the time of receipt.
Layout: https://docs.tardis.dev/downloadable-csv-files (read 2026-11-27). File names are those that Tardis' own
client gives, exchange names those of https://github.com/tardis-dev/tardis-node/blob/master/src/consts.ts.
"""

import gzip
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import duckdb

from actors.model.symbols import SymbolError, parse_symbol
from actors.store.connecting import Limits
from actors.store.sql import digits
from ops.export.export import MEMORY_LIMIT, THREADS, Exported, Progress, TimeRange, interrupts
from ops.export.query import LOCK_TIMEOUT_S
from ops.export.source import Source, opened
from ops.export.target import ExportError, check, make_durable, place_files, workshop
from ops.export.write_errors import export_errors, naming

HEADER = b"exchange,symbol,timestamp,local_timestamp,id,side,price,amount\n"
ROWS_AT_ONCE = 20_000
GZIP_LEVEL = 6
_DAY = timedelta(days=1)

# Tardis' names of our exchanges, by kind of market. An exchange that is not here keeps its name, and so does the
# second of two with one name there: Coinbase's two feeds have the same trades, and one file would have each twice.
# BingX is not there; spot and perpetual have the same native names, and need different ones of the exchange.
NAMES: Mapping[str, Mapping[str, str]] = {
    "binance": {"spot": "binance"},
    "binanceusdm": {"swap": "binance-futures", "future": "binance-futures"},
    "binancecoinm": {"swap": "binance-delivery", "future": "binance-delivery"},
    "bingx": {"spot": "bingx", "swap": "bingx-swap"},
    "bitget": {"spot": "bitget", "swap": "bitget-futures", "future": "bitget-futures"},
    "bitfinex": {"spot": "bitfinex", "swap": "bitfinex-derivatives"},
    "bybit": {"spot": "bybit-spot", "swap": "bybit", "future": "bybit"},
    "coinbase": {"spot": "coinbase"},
    "coinbaseexchange": {"spot": "coinbase"},
    "cryptocom": {"spot": "crypto-com", "swap": "crypto-com-derivatives", "future": "crypto-com-derivatives"},
    "gate": {"spot": "gate-io", "swap": "gate-io-futures", "future": "gate-io-futures"},
    "htx": {"spot": "huobi", "future": "huobi-dm", "inverse": "huobi-dm-swap", "swap": "huobi-dm-linear-swap"},
    "krakenfutures": {"swap": "cryptofacilities", "future": "cryptofacilities"},
    "okx": {"spot": "okex", "swap": "okex-swap", "future": "okex-futures", "option": "okex-options"},
}
EVERYTHING = TimeRange()


def export_tardis(
    source: Path,
    target: Path,
    *,
    time_range: TimeRange = EVERYTHING,
    overwrite: bool = False,
    timeout_s: float = LOCK_TIMEOUT_S,
    progress: Progress = lambda _done, _all: None,
) -> Exported:
    """Writes the ticks received within the range into files of the folder `target`: all of them, or none.

    Raises as `export` does.
    """
    began = time.monotonic()
    target = target.absolute()
    check(source.absolute(), target, as_folder=True, overwrite=overwrite)
    with workshop(target) as work, interrupts(), export_errors(target, work):
        made, spill = work / "made", work / "spill"
        made.mkdir()
        with opened(source, Limits(MEMORY_LIMIT, spill, THREADS), timeout_s=timeout_s) as src:
            rows = _write(src, made, time_range, progress)
        size = make_durable(made)
        place_files(made, target, overwrite=overwrite)
    return Exported(target, "tardis", {"ticks": rows}, size, time.monotonic() - began)


def file_name(exchange: str, day: str, symbol: str) -> str:
    """The name that Tardis' client gives to a file."""
    return f"{exchange}_trades_{day}_{symbol.upper().replace('/', '-').replace(':', '-')}.csv.gz"


@cache
def exchange_name(exchange: str, symbol: str) -> str:
    """Tardis' name of the exchange that trades this market."""
    try:
        parsed = parse_symbol(symbol)
    except SymbolError:
        return exchange
    names = NAMES.get(exchange, {})
    kind = "inverse" if parsed.kind == "swap" and parsed.inverse and "inverse" in names else parsed.kind
    return names.get(kind, exchange)


def _write(src: Source, made: Path, time_range: TimeRange, progress: Progress) -> int:
    natives = _natives(src)
    condition = _within(time_range)
    days = src.con.execute(
        f"SELECT epoch_us(received_at) // 86400000000 AS day, count(*) FROM {src.arrivals} WHERE {condition}"
        " GROUP BY day ORDER BY day"
    ).fetchall()
    done, total = 0, sum(count for _, count in days)
    for number, _ in days:
        day = datetime(1970, 1, 1, tzinfo=UTC) + number * _DAY
        for (exchange, symbol), rows in groupby(_rows_of(src.con, src, condition, day), itemgetter(0, 1)):
            tardis, native = exchange_name(exchange, symbol), natives.get((exchange, symbol), symbol).upper()
            path = made / file_name(tardis, f"{day:%Y-%m-%d}", native)
            if path.exists():
                tardis = exchange
                path = made / file_name(tardis, f"{day:%Y-%m-%d}", native)
            if path.exists():
                raise ExportError(
                    f"{exchange} has two markets of the name {native}: both would be {path.name};"
                    " export them to Parquet instead"
                )
            head = f"{tardis},{_quoted(native)},".encode()
            with naming(path), gzip.open(path, "wb", GZIP_LEVEL) as file:
                file.write(HEADER)
                for _, _, line in rows:
                    file.write(head + line.encode() + b"\n")
                    done += 1
                    if done % ROWS_AT_ONCE == 0:
                        progress(done, total)
    progress(done, total)
    return done


def _rows_of(
    con: duckdb.DuckDBPyConnection, src: Source, condition: str, day: datetime
) -> Iterator[tuple[str, str, str]]:
    """Exchange, symbol and the rest of the line, of each tick received on that day: by market, then in order."""
    since = int(day.timestamp()) * 1_000_000
    local = "epoch_us(received_at)"
    quoted = "CASE WHEN regexp_matches(trade_id, '[,\"]') THEN '\"' || replace(trade_id, '\"', '\"\"') || '\"'"
    line = (
        f"concat_ws(',', coalesce(epoch_us(timestamp), {local}), {local}, coalesce({quoted} ELSE trade_id END, ''),"
        f" coalesce(side, 'unknown'), {digits('price')}, {digits('volume')})"
    )
    found = con.execute(
        f"SELECT exchange, symbol, {line} FROM {src.arrivals} WHERE {condition}"
        f" AND received_at >= make_timestamptz({since}::BIGINT)"
        f" AND received_at < make_timestamptz({since + 86_400_000_000}::BIGINT)"
        " ORDER BY exchange, symbol, received_at, part, place"
    )
    while rows := found.fetchmany(ROWS_AT_ONCE):
        yield from rows


def _natives(src: Source) -> dict[tuple[str, str], str]:
    """The exchange's own name of each market, as it was listed last."""
    if "instruments" not in src.tables:
        return {}
    rows = src.con.execute(
        f"SELECT exchange, symbol, arg_max(native_symbol, seen_at) FROM {src.tables['instruments']} GROUP BY ALL"
    ).fetchall()
    return {(exchange, symbol): native for exchange, symbol, native in rows}


def _within(time_range: TimeRange) -> str:
    parts = ["true"]
    if time_range.since_us is not None:
        parts.append(f"received_at >= make_timestamptz({time_range.since_us:d}::BIGINT)")
    if time_range.until_us is not None:
        parts.append(f"received_at < make_timestamptz({time_range.until_us:d}::BIGINT)")
    return " AND ".join(parts)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if any(char in text for char in ',"') else text
