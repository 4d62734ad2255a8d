"""The store: an immutable Parquet tail that is durable at each flush, merged into one DuckDB file that others read.

- `tables`: the tables, their columns and how Python columns become typed rows.
- `files`: every change of the file system that durability rests on, so that tests can break it.
- `tail`: the tail's names: which segments there are, which count, and what may be merged next.
- `segments`: writing the segments of one batch so that they commit together, and joining older ones.
- `folding`: keeping a long tail quick to query while merges wait.
- `damage`: what cannot be read is set aside.
- `views`: the SQL by which any DuckDB process sees file and tail as one table.
- `duckfile`: the short moments in which the DuckDB file is held: create, merge, check, leave.
- `blocks`: whether the end of a DuckDB file is missing.
- `migration`: bringing a file of an older version up to date.
- `manifest`: what has been merged, kept outside the file, so that a file that lost rows is noticed.
- `retention`, `archive`, `partitions`: letting old days go, by way of Parquet files if wanted.
- `notices`: what the store has to say.
- `claim`: one service for one file.
- `store`: the whole, as the writer actor uses it.
"""
