"""The DuckDB sink: an immutable Parquet tail, durable at each flush, and one DuckDB file into which it is merged.

From the top:

- `store`: the whole, as writer and merger use it through actors.sink.sink.
- `retention`, `archive`, `partitions`: delete old days, with `archive_dir` after writing them to Parquet files.
- `quarantine`: moves what cannot be read, or is not ours, out of the way.
- `compaction`: keeps a long tail quick to query while merges wait.
- `segments`: writes the segments of one batch so that they commit together, and joins older ones.
- `database`: the short moments in which the DuckDB file is locked: create, merge, check, leave.
- `manifest`: what has been merged, kept outside the file, so that a file that lost rows is noticed.
- `acknowledged`: what the writer has acknowledged and no merge has taken over, so that lost segments are noticed.
- `views`, `coverage_sql`, `adjacent_tail`: the SQL by which any DuckDB process sees file and tail as one table.
- `tail`: the names of the tail: which segments there are, which count, and what may be merged next.
- `identity`: which file a tail belongs to.
- `batch_filter`: takes rows that cannot be stored out of a batch.
- `migration`: brings a file of an older version up to date.
- `lock`: one service for one file.
- `notices`: what is reported to the operator.
- `disk_full`, `truncation`, `duckdb_messages`: what errors of DuckDB and of the disk mean.
- `connecting`: opens databases, each with its limits.
- `filesystem`: every change of the file system that durability rests on, so that tests can break it.
- `sql`: literals, and reading segments. `tables`: the tables, whose schemas are in actors.model.
"""
