"""What one market's continuity starts from after a restart, as read from the file and its tail."""

from dataclasses import dataclass

from actors.gaps import GapRow
from actors.holes import Hole


@dataclass(frozen=True, slots=True)
class Seed:
    """One market. Contiguous ids need `mark`, `lowest` and `holes`, all others `recent`.

    `last_id` and `last_ns` are the newest stored trade, None where there is none. `mark` and `lowest` bound
    the stored ids of the exchange's present count (`lowest` None: unknown, so that nothing is believed to be
    older than the record). `recent` are the newest ids, oldest first, and reach back to trades of `reach_ns`.
    `gaps` are those that may still change, oldest first.
    """

    exchange: str
    symbol: str
    last_id: str | None = None
    last_ns: int | None = None
    mark: int | None = None
    lowest: int | None = None
    holes: tuple[Hole, ...] = ()
    recent: tuple[str, ...] = ()
    reach_ns: int | None = None
    gaps: tuple[GapRow, ...] = ()
