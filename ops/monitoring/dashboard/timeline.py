"""Coverage and gaps of the last hour, from the file, as the dashboard draws them.

The hour is divided into pieces; each market has a lane of runs of pieces with one code. The worst
of what lies in a piece counts, so that a short gap stays visible.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise

import duckdb
from msgspec import Struct

from actors.model.records import GapReason, GapStatus
from actors.store.coverage_sql import COVERAGE_SELECT

WINDOW_S = 3600
PIECES = 360
LANES_MAX = 60  # markets drawn; those with the worst pieces come first
GAPS_MAX = 30  # gaps listed, the newest first
RATE_WINDOW_S, RATE_STEP_S = 600, 5
_PIECE_US = WINDOW_S * 1_000_000 // PIECES

# A piece's code is its state, and ten times the number of its reason from 1 on (0: none).
NOTHING, VERIFIED, UNVERIFIED, REPAIRED, UNKNOWN, LOST = range(6)
STATES = ("nothing", "verified", "unverified", "repaired", "unknown", "lost")
REASONS = tuple(reason.value for reason in GapReason)

# The rows that matter for the window, read once: the tail of each table is some hundred small files. What ended
# before the window changes nothing in it, so that the view `coverage` is the same over these rows, unless the clock
# of this host was ahead and is set back.
_READ = (
    """CREATE TEMP TABLE window_audit AS SELECT exchange, run_id, "at", frames, received, duplicates, rejected
       FROM audit WHERE "at" >= make_timestamptz($since)""",
    """CREATE TEMP TABLE window_feeds AS SELECT * FROM feeds
       WHERE event <> 'proved' OR until > make_timestamptz($since)""",
    """CREATE TEMP TABLE window_gaps AS SELECT * FROM gaps
       WHERE to_time IS NULL OR to_time >= make_timestamptz($since)""",
)

_COVERED = f"""
WITH audit AS (FROM window_audit), feeds AS (FROM window_feeds), gaps AS (FROM window_gaps)
SELECT exchange, symbol, epoch_us(from_time), epoch_us(to_time), status, proof FROM ({COVERAGE_SELECT})
WHERE epoch_us(to_time) > $since AND epoch_us(from_time) < $until
"""

_GAPS = """
SELECT exchange, symbol, reason, status, epoch_us(coalesce(from_time, opened_at)), epoch_us(to_time), missing,
       recovered, gap_id
FROM window_gaps WHERE epoch_us(coalesce(from_time, opened_at)) < $until
ORDER BY coalesce(from_time, opened_at) DESC, exchange, symbol
"""

_RATES = """
SELECT exchange, run_id, epoch_us("at") // $step AS step, max(received - duplicates - rejected) AS ticks
FROM window_audit WHERE epoch_us("at") >= $since GROUP BY ALL ORDER BY ALL
"""

Market = tuple[str, str]  # exchange and symbol


class Covered(Struct, frozen=True, array_like=True):
    """An interval of the view `coverage`; microseconds UTC."""

    exchange: str
    symbol: str
    since: int
    until: int
    status: str
    proof: str


class Gap(Struct, frozen=True, array_like=True):
    """A gap; microseconds UTC, `until` None while its end is unknown."""

    exchange: str
    symbol: str
    reason: str
    status: str
    since: int
    until: int | None
    missing: int | None
    recovered: int
    gap_id: str


class Lane(Struct, frozen=True):
    """One market: runs of (first piece, one after the last, code), and the share that is proved complete."""

    exchange: str
    symbol: str
    runs: list[tuple[int, int, int]]
    verified: float


class Timeline(Struct, frozen=True):
    """Everything that the dashboard shows of the file; `since` in microseconds UTC. Rates are ticks a second."""

    since: int
    window_s: int
    pieces: int
    states: tuple[str, ...]
    reasons: tuple[str, ...]
    lanes: list[Lane]
    lanes_left_out: int
    gaps: list[Gap]
    gaps_left_out: int
    rates: dict[str, list[tuple[int, float]]]
    read_at: int


def read_timeline(con: duckdb.DuckDBPyConnection, now_us: int, markets: Sequence[Market] = ()) -> Timeline:
    """Queries the file for what is in it and for `markets`, once a connection; raises duckdb.Error."""
    since = (now_us // _PIECE_US + 1) * _PIECE_US - PIECES * _PIECE_US
    window = {"since": since, "until": since + PIECES * _PIECE_US}
    for statement in _READ:
        con.execute(statement, {"since": since})
    covered = [Covered(*row) for row in con.execute(_COVERED, window).fetchall()]
    gaps = [Gap(*row) for row in con.execute(_GAPS, {"until": window["until"]}).fetchall()]
    step = RATE_STEP_S * 1_000_000
    rates = con.execute(_RATES, {"since": now_us - RATE_WINDOW_S * 1_000_000, "step": step}).fetchall()
    lanes = lanes_of(covered, gaps, since, markets)
    return Timeline(
        since=since,
        window_s=WINDOW_S,
        pieces=PIECES,
        states=STATES,
        reasons=REASONS,
        lanes=lanes[:LANES_MAX],
        lanes_left_out=max(0, len(lanes) - LANES_MAX),
        gaps=gaps[:GAPS_MAX],
        gaps_left_out=max(0, len(gaps) - GAPS_MAX),
        rates=_rates(rates),
        read_at=now_us,
    )


def lanes_of(covered: Sequence[Covered], gaps: Sequence[Gap], since: int, markets: Sequence[Market]) -> list[Lane]:
    """A lane for each market that is covered in the window or among `markets`; the worst are at the top."""
    by_market: dict[Market, list[Covered]] = {market: [] for market in markets}
    for interval in covered:
        by_market.setdefault((interval.exchange, interval.symbol), []).append(interval)
    gaps_of: dict[Market, list[Gap]] = defaultdict(list)
    for gap in gaps:
        gaps_of[gap.exchange, gap.symbol].append(gap)
    lanes = {market: _lane(market, own, gaps_of[market], since) for market, own in by_market.items()}
    return sorted(lanes.values(), key=lambda lane: (-_badness(lane), lane.exchange, lane.symbol))


def _badness(lane: Lane) -> int:
    """How many pieces are lost or unknown, the lost ones foremost; a market without any was never recorded."""
    if not lane.runs:
        return 100 * PIECES
    weights = {LOST: 100, UNKNOWN: 1}
    return sum((end - start) * weights.get(code % 10, 0) for start, end, code in lane.runs)


def _lane(market: Market, covered: Sequence[Covered], gaps: Sequence[Gap], since: int) -> Lane:
    pieces = [NOTHING] * PIECES
    verified = total = 0
    until = since + PIECES * _PIECE_US
    for one in covered:
        state = _state(one)
        _paint(pieces, since, one.since, one.until, state)
        length = min(one.until, until) - max(one.since, since)
        total += length
        verified += length if state in (VERIFIED, REPAIRED) else 0
    for gap in gaps:
        found = _gap_state(gap)
        if found is not None:
            code = found + 10 * (1 + REASONS.index(gap.reason))
            _paint(pieces, since, gap.since, until if gap.until is None else gap.until + 1, code)
    # An open gap has no end yet, and nothing is known of the time ahead.
    end = max((min(one.until, until) - since for one in covered), default=0)
    last = min(PIECES, -(-end // _PIECE_US))
    pieces[last:] = [NOTHING] * (PIECES - last)
    return Lane(*market, list(_runs(pieces)), round(verified / total, 6) if total else 0.0)


def _state(covered: Covered) -> int:
    if covered.status == "lost":
        return LOST
    if covered.status == "unknown":
        return UNKNOWN
    if covered.proof == "none":
        return UNVERIFIED
    return REPAIRED if covered.status == "repaired" else VERIFIED


def _gap_state(gap: Gap) -> int | None:
    """None for a gap that turned out to miss nothing."""
    if gap.status == GapStatus.FILLED:
        nothing = gap.missing == 0 or (gap.reason == GapReason.DISAGREEMENT and gap.recovered == 0)
        return None if nothing else REPAIRED
    return LOST if gap.status in (GapStatus.LOST, GapStatus.PARTIAL) else UNKNOWN


def _paint(pieces: list[int], since: int, start: int, end: int, code: int) -> None:
    """Gives the pieces that this range touches the code, where it is worse or has a reason."""
    first = max(0, (start - since) // _PIECE_US)
    last = min(PIECES, -(-(end - since) // _PIECE_US))
    for at in range(first, last):
        if (code % 10, code) > (pieces[at] % 10, pieces[at]):
            pieces[at] = code


def _runs(pieces: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    start = 0
    for code, group in groupby(pieces):
        end = start + sum(1 for _ in group)
        if code != NOTHING:
            yield start, end, code
        start = end


def _rates(rows: Sequence[tuple[str, str, int, int]]) -> dict[str, list[tuple[int, float]]]:
    """Ticks a second of each exchange between two audit rows of one run; times in seconds UTC."""
    found: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for before, after in pairwise(rows):
        steps = after[2] - before[2]
        if before[:2] == after[:2] and steps:
            found[after[0]].append((after[2] * RATE_STEP_S, round((after[3] - before[3]) / steps / RATE_STEP_S, 2)))
    return dict(found)
