"""Another process that has a DuckDB file open."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HOLD = """
import sys, time, duckdb
until = time.monotonic() + 20
while True:  # a service has it open for moments
    try:
        connection = duckdb.connect(sys.argv[1], read_only=len(sys.argv) > 2)
        break
    except duckdb.IOException:
        if time.monotonic() > until:
            raise
        time.sleep(0.01)
print("held", flush=True)
sys.stdin.readline()
connection.close()
"""


@contextmanager
def held(path: Path, *, read_only: bool = False) -> Iterator[subprocess.Popen[str]]:
    """Another process has the file open, for writing or reading, until it is told to let go."""
    words = [sys.executable, "-c", HOLD, str(path), *(["read_only"] if read_only else [])]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.stdin.close()
