"""The store: an immutable Parquet tail that is durable at each flush, folded into one DuckDB file that others read.

- `tables`: the tables, their columns and how Python columns become typed rows.
- `files`: every change of the file system that durability rests on, so that tests can break it.
- `segments`: names of segments, which of them count, and writing one batch.
- `views`: the SQL by which any DuckDB process sees file and tail as one table.
- `duckfile`: the short moments in which the DuckDB file is held: create, merge, check, leave.
- `manifest`: what has been merged, kept outside the file, so that a file that lost rows is noticed.
- `claim`: one service for one file.
- `store`: the whole, as the writer actor uses it.
"""
