"""Fifty kills -9 under a flood with drops, histories and wrong clocks: lost 0, doubled 0, nothing hidden.

`python -m pytest -s tests/chaos/test_kills_under_flood.py` takes about a quarter of an hour, and keeps the file if
it fails. TICKWARDEN_SEED=N repeats the faults and clocks of a run, TICKWARDEN_KILLS=N makes it longer,
TICKWARDEN_RATE=N is in trades a second of each exchange.
"""

import os
import shutil
import tempfile
from pathlib import Path
from random import Random

from tests.harness.kill_harness import seed_of_this_run
from tests.harness.kills_under_flood import kills_under_flood

KILLS = int(os.environ.get("TICKWARDEN_KILLS", "50"))
RATE_PER_S = float(os.environ.get("TICKWARDEN_RATE", "400"))
SETTLE_S = 600.0


async def test_fifty_kills_under_flood_with_drops_and_wrong_clocks(tmp_path: Path) -> None:
    seed = seed_of_this_run()
    random = Random(seed)
    lives_s = [random.uniform(0.0, 5.0) for _ in range(KILLS)] + [5.0]
    try:
        verdict = await kills_under_flood(tmp_path, seed, lives_s=lives_s, rate_per_s=RATE_PER_S, settle_s=SETTLE_S)
    except BaseExceptionGroup:  # a quarter of an hour's evidence
        kept = tempfile.mkdtemp(prefix="tickwarden-kills-")
        sockets = shutil.ignore_patterns("*.sock")  # they cannot be copied, and the error would hide this one
        shutil.copytree(tmp_path, kept, ignore=sockets, dirs_exist_ok=True)
        print(f"seed {seed}: the file and the log are kept in {kept}")
        raise
    print(f"seed {seed}: {verdict}")
    assert verdict.total.made > KILLS * RATE_PER_S
