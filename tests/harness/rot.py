"""A DuckDB file of which one stored bit flips: DuckDB opens it, and fails when it reads that block."""

import time
from pathlib import Path

import duckdb

HEADERS_BYTES = 3 * 4096
BLOCK_BYTES = 262_144
WITHIN_BYTES = 1008  # a block begins with its checksum


def flip_one_bit(path: Path, column: str = "trade_id") -> None:
    """In the first block with this column of the merged ticks. A service may have the file open for moments."""
    until = time.monotonic() + 20
    while True:
        try:
            con = duckdb.connect(path, read_only=True)
            break
        except duckdb.IOException:
            if time.monotonic() > until:
                raise
            time.sleep(0.01)
    with con:
        found = con.execute(
            "SELECT block_id FROM pragma_storage_info('store.ticks') WHERE block_id >= 0 AND column_name = ?",
            [column],
        ).fetchone()
    assert found is not None, "no block is stored yet"
    with path.open("r+b") as file:
        at = HEADERS_BYTES + found[0] * BLOCK_BYTES + WITHIN_BYTES
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))
