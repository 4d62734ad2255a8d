"""What only a start or a merge uses of DuckDB's library does not stay in resident memory."""

import re
from pathlib import Path

import pytest

from tests.harness.recording_samples import settings, store
from tests.harness.tick_streams import tick, write

SMAPS = Path("/proc/self/smaps")


def resident_kb() -> int:
    """Of the library's code."""
    return sum(
        int(size) for size in re.findall(r"r-xp .*/_duckdb\S*\.so\n(?:\w+:.*\n)*?Rss: +(\d+) kB", SMAPS.read_text())
    )


@pytest.mark.skipif(not SMAPS.exists(), reason="only Linux reports the pages of a mapping")
def test_a_merge_leaves_no_page_of_the_library_that_it_alone_has_used(tmp_path: Path) -> None:
    with store(settings(tmp_path)) as recording:
        write(recording, [[tick()]])
        before = resident_kb()
        recording.merge()
        merged = resident_kb()
        rows = recording.consult(lambda con: con.execute("SELECT count(*) FROM ticks").fetchone())
    assert before > 10_000 and merged < 1000 and rows == (1,)
