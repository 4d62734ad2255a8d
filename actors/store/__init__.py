"""The DuckDB sink: an immutable Parquet tail, durable at each flush, and one DuckDB file into which it is merged.

Entry point
  store            the sink as writer and merger use it, see actors.sink.sink

The tail
  segments         writes one batch's segments so that they commit together; joins older ones
  tail             the names of segments: which count, which may be merged next
  compaction       joins small segments while merges wait, so that queries stay fast
  batch_filter     removes rows that cannot be stored from a batch
  acknowledged     records acknowledged batches, to detect lost segments
  quarantine       moves damaged and foreign files aside

The DuckDB file
  database         opens it for short moments: create, check, merge, leave
  lock             one service per file
  identity         which file a tail belongs to
  manifest         what has been merged, to detect a file that lost rows
  migration        upgrades a file of an older version
  truncation       detects a file whose end is missing

Deleting old days
  retention        deletes days older than keep_days
  archive          writes them to Parquet files first
  partitions       the folder layout of these files and of exports

For a lake
  shipping         reads committed batches again
  checksum         an additive checksum of rows

SQL and views
  tables           the tables, whose schemas are in actors.model
  views            show merged rows and tail as one table in any DuckDB process
  coverage_sql     the view `coverage`
  adjacent_tail    reads a file that was moved or copied together with its tail
  sql              literals, and reading segments

Helpers
  connecting       opens databases, each with its limits
  filesystem       every file operation that durability depends on
  disk_full, duckdb_messages    the meaning of errors of the disk and of DuckDB
  notices          the messages for the operator
"""
