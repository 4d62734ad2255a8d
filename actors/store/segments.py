"""Writes segments: the rows of one batch, so that they commit together. Joins older segments."""

import os
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import duckdb

from actors.model.batch import Batch
from actors.model.schema import Schema
from actors.model.ticks import TICKS
from actors.store.acknowledged import Market, Note, Span, note_of
from actors.store.connecting import MEMORY, Limits, connect
from actors.store.filesystem import Files
from actors.store.sql import EMPTY_NAME, numbered, sql_text
from actors.store.tables import TABLES
from actors.store.tail import Segment, Tail, parse_name

_FORMAT = "FORMAT parquet, COMPRESSION zstd, USE_TMP_FILE false"  # partial names are ours
# Files that the next merge replaces: 15% larger, written in 14% less time. Ids and amounts get no dictionary that
# would be given up after a fifth of the rows.
_FLUSHED_FORMAT = f"{_FORMAT}, COMPRESSION_LEVEL 1, DICTIONARY_SIZE_LIMIT 1000"
# A query reads the footer of every segment, and its cost grows with the row groups: with DuckDB's default of
# 122,880 rows a day at 5,000 a second costs each query 90 ms, with these 27 ms. Joining then takes 140 MB more.
_JOINED_FORMAT = f"{_FORMAT}, ROW_GROUP_SIZE 491520"
# DuckDB keeps 3 KB of each file that an in-memory database has written; after so many it is replaced, in 20 ms.
COPIES_MAX = 500
_CHUNK_BYTES = 1 << 20
_TIMES = (
    "coalesce(min(timestamp), min(received_at)), coalesce(max(timestamp), max(received_at)), sum(fills)::BIGINT"
)
# The ids of a trade of several fills count down from its own.
_IDS = "count(trade_id) > 0, min(id - fills + 1), max(id), count(id) = count(*)"
_WITH_ID = "(SELECT *, TRY_CAST(trade_id AS BIGINT) AS id FROM batch)"


def crc_of(path: Path) -> int:
    """The CRC-32 of a file; about a gigabyte a second. Only regular files have one; others are not waited for."""
    crc = 0
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0) as file:
        while chunk := file.read(_CHUNK_BYTES):
            crc = zlib.crc32(chunk, crc)
    return crc


def _exchange(batch: Batch) -> str | None:
    """The only exchange of the ticks, as SQL; None if there are several, or none."""
    names = {block.exchange for block in batch.blocks if len(block)}
    return sql_text(names.pop()) if len(names) == 1 else None


def _constants(table: Schema, batch: Batch) -> dict[str, str]:
    """See Schema.select. In the file an ENUM is text too, but DuckDB does not look each row up to write it."""
    name = _exchange(batch) if table is TICKS else None
    return {"exchange": f"{name}::ENUM({name})"} if name else {}


class SegmentWriter:
    """Writes batches as segments through an in-memory DuckDB; for one thread at a time; close() ends it.

    `label` distinguishes the unfinished files of several writers; for a batch of more than `noted_ids_rows_max`
    ticks only times and counts are noted, no ids.
    """

    def __init__(self, tail: Tail, files: Files, limits: Limits, label: str, noted_ids_rows_max: int = 0) -> None:
        self._noted_ids_rows_max = noted_ids_rows_max
        self._tail, self._files, self._label = tail, files, label
        self._limits = limits
        self._con: duckdb.DuckDBPyConnection | None = None
        self._copies = 0  # files that it has written
        self._trying: int | None = None
        self._spans: dict[Market, Span] = {}
        self.written: Note | None = None  # spans of the last batch

    def _database(self) -> duckdb.DuckDBPyConnection:
        if self._con is None:
            self._con, self._copies = connect(MEMORY, self._limits), 0
        return self._con

    def close(self) -> None:
        """Frees the in-memory database; the next use creates a new one."""
        if self._con is not None:
            self._con.close()
        self._con = None

    def prepare(self, *, replace: bool = False) -> None:
        """Creates every table's folder and its empty segment, also if somebody has deleted them.

        With `replace` existing ones are written again: an older version may have written them, with fewer columns.
        """
        self._tail.keep_mark()
        for table in TABLES:
            folder = self._tail.folder(table)
            for own in (folder, self._tail.replaced(table), self._tail.uncommitted(table)):
                self._files.make_folder(own)
            if replace or EMPTY_NAME not in self._files.names(folder):
                partial, _ = self._produce(table, Batch(0))
                self._files.rename(partial, folder / EMPTY_NAME)
                self._files.sync_folder(folder)

    def write_batch(self, batch: Batch) -> int:
        """Makes the batch durable, all tables or none, and returns its bytes on disk.

        The ticks segment, empty or not, is renamed last, after all others are durable under their names: it is the
        commit. Other tables' segments above the newest ticks segment do not count. After any error it may be called
        again with the same batch: every file is written again, because after a failed fsync the old one cannot be
        trusted.
        """
        again = self._trying == batch.number
        self._trying = batch.number
        if again:
            self._files.make_folder(self._tail.partial)
            self.prepare()
        wanted = [table for table in TABLES if table is TICKS or batch.rows_of(table)]
        made = {table: self._produce(table, batch) for table in wanted}
        size = sum(partial.stat().st_size for partial, _ in made.values())
        self._files.crash_point("segment.synced")
        for table, (partial, segment) in made.items():
            if table is TICKS:
                self._files.crash_point("segment.uncommitted")
            self._name(table, partial, segment, again=again)
        self._trying = None
        rows = {table.name: segment.rows for table, (_, segment) in made.items()}
        self.written = note_of(batch, rows, self._spans)
        self._files.crash_point("segment.committed")
        return size

    def _name(self, table: Schema, partial: Path, segment: Segment, *, again: bool) -> None:
        """Renames a finished file into place, where an earlier attempt may have left the same batch."""
        folder = self._tail.folder(table)
        if again:
            for name in self._files.names(folder):
                old = parse_name(name)
                if old and (old.level, old.first, old.last) == (segment.level, segment.first, segment.last):
                    self._files.rename(folder / name, folder / segment.name)
        self._files.rename(partial, folder / segment.name)
        self._files.crash_point("segment.renamed")
        self._files.sync_folder(folder)

    def write_empty(self, table: Schema, number: int) -> None:
        """Writes a segment without rows, in place of one whose rows are lost or never counted."""
        partial, segment = self._produce(table, Batch(number))
        self._name(table, partial, segment, again=True)

    def _produce(self, table: Schema, batch: Batch) -> tuple[Path, Segment]:
        path = self._tail.partial / f"{self._label}-{table.name}-{batch.number:016}"
        if self._copies >= COPIES_MAX:
            self.close()
        self._database().register("batch", batch.arrow(table))
        try:
            rows, crc = self._copy(table.select("batch", _constants(table, batch)), path)
            if table is TICKS:
                self._spans = self._spans_of_batch(batch) if rows else {}
        finally:
            with suppress(duckdb.Error):
                self._database().unregister("batch")
        self._files.crash_point("segment.written")
        return path, Segment(batch.number, batch.number, 0, rows, crc)

    def _spans_of_batch(self, batch: Batch) -> dict[Market, Span]:
        """What the registered batch holds of each market."""
        only = _exchange(batch)  # grouping by one column is faster
        exchange, keys = (only, "symbol") if only else ("exchange", "exchange, symbol")
        if batch.ticks > self._noted_ids_rows_max:
            question = f"SELECT {exchange}, symbol, {_TIMES}, false, NULL, NULL, false FROM batch GROUP BY {keys}"
        else:
            question = f"SELECT {exchange}, symbol, {_TIMES}, {_IDS} FROM {_WITH_ID} GROUP BY {keys}"
        return {
            (name, symbol): Span(since, until, trades, low if numbers else None, high if numbers else None, named)
            for name, symbol, since, until, trades, named, low, high, numbers in self._database()
            .execute(question)
            .fetchall()
        }

    def _copy(self, select: str, path: Path, how: str = _FLUSHED_FORMAT) -> tuple[int, int]:
        """Writes a query's rows to a durable file; returns their number and the file's CRC."""
        made: list[int] = []

        def write(path: Path) -> None:
            row = self._database().execute(f"COPY ({select}) TO {sql_text(path)} ({how})").fetchone()
            made.extend((int(row[0]) if row else 0, crc_of(path)))

        self._files.remove(path)
        self._copies += 1
        try:
            self._files.produce(path, write)
        except (duckdb.FatalException, duckdb.InternalException):
            with suppress(duckdb.Error):  # after a fatal error a database answers no query
                self.close()
            raise
        return made[0], made[1]

    def join(self, table: Schema, sources: Sequence[Segment]) -> Segment:
        """Joins segments of one level into one of the next; the sources stay until no query can need them."""
        partial = self._tail.partial / f"{self._label}-{table.name}-join"
        names = [self._tail.path(table, source) for source in sources]
        rows, crc = self._copy(numbered(table.names, names), partial, _JOINED_FORMAT)
        if rows != sum(source.rows for source in sources):
            self._files.remove(partial)
            raise RuntimeError(f"joining {len(sources)} segments of {table.name} returned {rows} rows: {sources}")
        self._files.crash_point("compaction.written")
        target = Segment(sources[0].first, sources[-1].last, sources[0].level + 1, rows, crc)
        self._files.rename(partial, self._tail.path(table, target))
        self._files.crash_point("compaction.renamed")
        self._files.sync_folder(self._tail.folder(table))
        return target
