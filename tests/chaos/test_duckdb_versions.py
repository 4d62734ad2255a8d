"""Every DuckDB since 1.2 reads the views of a running recording, each row once, whatever is done to its tail.

Installs the versions from the package index into folders of their own; takes about two minutes.
"""

import os
import subprocess
import sys
import time
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest

from actors.model.errors import DatabaseLocked
from tests.harness.recording_samples import store
from tests.harness.store_harness import batch, settings

VERSIONS = ("1.2.2", "1.3.2", "1.4.0", "1.4.1", "1.4.5", "1.5.0", "1.5.6", "2.0.0", "2.0.1")

READ = """
import sys, time, duckdb
path, copy = sys.argv[1:]
print(duckdb.__version__, flush=True)
answers = 0
until = time.monotonic() + 6
while time.monotonic() < until:
    try:
        con = duckdb.connect(path, read_only=True)
    except duckdb.IOException as error:
        if not str(error).startswith("IO Error: Could not set lock"):
            raise
        time.sleep(0.005)
        continue
    for _ in range(3):
        count, distinct, first, last = con.execute(
            "SELECT count(*), count(DISTINCT trade_id), min(trade_id::BIGINT), max(trade_id::BIGINT) FROM ticks"
        ).fetchone()
        assert count == distinct == (last - first + 1 if count else 0), (count, distinct, first, last)
        for view in ("gaps", "coverage", "audit", "events"):
            con.execute(f"SELECT count(*) FROM {view}").fetchone()
        answers += 1
    con.close()
assert answers > 5, answers
con = duckdb.connect(copy, read_only=True)
for where in ("", "WHERE symbol = 'none'", "WHERE timestamp > now()", "WHERE price < 0"):
    try:
        con.execute(f"SELECT count(*) FROM ticks {where}").fetchall()
    except duckdb.Error as error:
        # Nobody waits for the copy's readers: a segment may go while they come to it.
        assert "tickwarden export" in str(error) or "No such file" in str(error), error
    else:
        raise AssertionError(f"an old copy gives an answer: {where}")
"""


@pytest.mark.parametrize("version", VERSIONS)
def test_this_duckdb_reads_each_row_once_and_refuses_an_old_copy(version: str, tmp_path: Path) -> None:
    place = tmp_path / "duckdb"
    install = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps"]
    if subprocess.run([*install, "--target", str(place), f"duckdb=={version}"]).returncode:
        pytest.skip(f"duckdb {version} cannot be installed here")
    told, copy = settings(tmp_path), tmp_path / "copy.duckdb"
    numbers = count()
    with store(told) as made:

        def write(times: int) -> None:
            for _ in range(times):
                made.write(batch(made.next_number(), [next(numbers)]))

        write(1)
        copy.write_bytes(told.path.read_bytes())
        made.merge()
        made.merge()
        environment = {**os.environ, "PYTHONPATH": str(place)}
        command = [sys.executable, "-c", READ, str(told.path), str(copy)]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True) as reader:
            while reader.poll() is None:
                write(20)
                made.compact()
                with suppress(DatabaseLocked):  # the reader has it open just now
                    made.merge()
                time.sleep(0.1)
            out, err = reader.communicate()
        assert reader.returncode == 0, err[-2000:]
        assert out.strip() == version
