"""The state that a tracker starts from after a restart, as read from the file and its tail."""

from collections.abc import Mapping

from msgspec import Struct, field

from actors.continuity.missing_ranges import MissingRange
from actors.continuity.recent_ids import RecentIds
from actors.continuity.row import Row
from actors.model.records import GapRow


class Before(Struct, frozen=True):
    """Where this run began to record a market: the state wanted is the one stored before."""

    trade_id: int | None = None  # if ids are numbers
    time_ns: int | None = None
    row_id: str | None = None


class TrackerState(Struct, frozen=True):
    """The state of one market. Contiguous ids need `mark`, `lowest`, `missing_ranges` and `left`, all others
    `recent`.

    `last_id` and `last_ns` describe the newest stored trade, None if there is none. `mark` and `lowest` bound the
    stored ids of the exchange's current numbering (`lowest` None: unknown, so that no id counts as older than the
    recording). `gaps` are those that may still change, oldest first; `left` holds for each of them how many of its
    ids up to `mark` the file lacks, of which `missing_ranges` may hold only some. `recent` holds the newest trades,
    and is handed over for good; rising ids have reached `highest`, and those below `floor` are older than `recent`
    reaches. `aside` are stored rows far above the mark that no other row confirms, highest first. `recorded_ns` is
    when the last recording began, by our clock, None if there was none. Those of the `gaps` that are `rebased`
    begin earlier than the file has it.
    """

    exchange: str
    symbol: str
    last_id: str | None = None
    last_ns: int | None = None
    mark: int | None = None
    lowest: int | None = None
    missing_ranges: tuple[MissingRange, ...] = ()
    left: Mapping[str, int] = field(default_factory=dict)
    recent: RecentIds | None = None
    highest: int = -1
    floor: int = -1
    gaps: tuple[GapRow, ...] = ()
    aside: tuple[Row, ...] = ()
    recorded_ns: int | None = None
    rebased: frozenset[str] = frozenset()


class Snapshot(Struct, frozen=True):
    """The memory of one market at one moment: ids above `mark` and in `missing_ranges` were not stored."""

    mark: int | None = None
    missing_ranges: tuple[tuple[int, int], ...] = ()
    gaps: frozenset[str] = frozenset()  # the gaps whose states are kept in memory
