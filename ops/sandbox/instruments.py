"""The recorded frames that each loopback market starts from."""

import json
from pathlib import Path
from typing import NamedTuple

from actors import exchanges
from actors.exchanges.contract.loopback import Venue
from actors.exchanges.contract.loopback_market import Seed

# One JSON object per line: the market (unified and native name, category), one of its trade frames exactly
# as recorded, and its source under "src", which also marks markets without a recording.
FOLDER = Path(exchanges.__file__).parent


class Listing(NamedTuple):
    """One market listed by a venue."""

    symbol: str
    native: str
    category: str
    seed: Seed


def listings(venue: Venue) -> list[Listing]:
    """Every market of a venue, in the order of its seed file; several frames of one market are one seed."""
    found: dict[tuple[str, str], Listing] = {}
    with (FOLDER / venue.name / "recorded.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            # Numbers stay text: the market continues with their digits.
            seed = venue.seed(json.loads(row["data"], parse_float=str))
            key = (row["category"], row["native"])
            if key in found:
                before = found[key].seed
                seed = Seed(
                    seed.last_id, seed.seq, [*before.prices, *seed.prices], [*before.volumes, *seed.volumes]
                )
            found[key] = Listing(row["symbol"], row["native"], row["category"], seed)
    return list(found.values())
