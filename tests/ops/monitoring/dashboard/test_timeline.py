"""The coverage of the last hour as the dashboard draws it: the view's, in pieces in which the worst counts."""

from itertools import pairwise

import duckdb
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.model.records import FeedEvent, FeedRow, GapReason, GapRow, GapStatus, Proof
from ops.monitoring.dashboard import timeline
from ops.monitoring.dashboard.timeline import GAPS_MAX, LANES_MAX, PIECES, WINDOW_S, Lane, Timeline, read_timeline
from tests.harness.amounts import amount
from tests.harness.continuity_file import new_file, put_feeds, put_gaps
from tests.harness.continuity_rows import BTC, ETH, SECOND_NS, T0_NS

PIECE_S = WINDOW_S // PIECES
NOW_US = T0_NS // 1000 // (PIECE_S * 1_000_000) * PIECE_S * 1_000_000 + 7200 * 1_000_000  # two hours of seconds
SINCE_NS = (NOW_US + PIECE_S * 1_000_000) * 1000 - WINDOW_S * SECOND_NS


def s(seconds: float) -> int:
    """Nanoseconds; 0 is where the window begins."""
    return SINCE_NS + round(seconds * SECOND_NS)


def new_recording() -> duckdb.DuckDBPyConnection:
    con = new_file()
    con.execute("ALTER TABLE audit ADD COLUMN received BIGINT")
    con.execute("ALTER TABLE audit ADD COLUMN duplicates BIGINT")
    con.execute("ALTER TABLE audit ADD COLUMN rejected BIGINT")
    return con


def audit(con: duckdb.DuckDBPyConnection, run_id: str, at: float, received: int = 0, duplicates: int = 0) -> None:
    con.execute(
        "INSERT INTO audit SELECT make_timestamptz(?), 'x', ?, count(*), ?, ?, 0 FROM audit",
        [s(at) // 1000, run_id, received, duplicates],
    )


def run(con: duckdb.DuckDBPyConnection, run_id: str, since: float, alive: float, symbol: str = BTC) -> None:
    put_feeds(con, [FeedRow(s(since), "x", symbol, FeedEvent.STARTED, run_id)])
    audit(con, run_id, alive)


def prove(con: duckdb.DuckDBPyConnection, proof: Proof, since: float, until: float) -> None:
    put_feeds(
        con, [FeedRow(s(until), "x", BTC, FeedEvent.PROVED, time_ns=s(since), until_ns=s(until), proof=proof)]
    )


def gap(
    number: int,
    since: float,
    until: float | None,
    status: GapStatus,
    *,
    reason: GapReason = GapReason.DISCONNECT,
    missing: int | None = 5,
) -> GapRow:
    return GapRow(
        s(since), f"g{number}", "x", BTC, reason, s(since), from_id="1", from_ns=s(since),
        to_id=None if until is None else "9", to_ns=None if until is None else s(until), missing=missing,
        status=status,
    )  # fmt: skip


def read(con: duckdb.DuckDBPyConnection, *markets: tuple[str, str]) -> Timeline:
    return read_timeline(con, NOW_US, markets)


def words(lane: Lane) -> list[tuple[int, int, str]]:
    """The runs with state and reason in words."""
    reasons = ("", *(f" {reason}" for reason in timeline.REASONS))
    return [(start, end, timeline.STATES[code % 10] + reasons[code // 10]) for start, end, code in lane.runs]


def test_a_lane_shows_what_is_proved_and_what_is_not_and_each_gap_with_its_reason() -> None:
    con = new_recording()
    run(con, "r1", -100, WINDOW_S - PIECE_S)
    prove(con, Proof.IDS, -50, 2000)
    put_gaps(con, [gap(1, 1000, 1100, GapStatus.FILLED), gap(2, 1500, 1500.5, GapStatus.LOST)])
    put_gaps(con, [gap(3, 3000, None, GapStatus.OPEN, reason=GapReason.STALL)])
    put_gaps(con, [gap(4, 500, 600, GapStatus.FILLED, missing=0)])
    (lane,) = read(con).lanes
    assert words(lane) == [
        (0, 100, "verified"),
        (100, 111, "repaired disconnect"),
        (111, 150, "verified"),
        (150, 151, "lost disconnect"),
        (151, 200, "verified"),
        (200, 300, "unverified"),
        (300, 359, "unknown stall"),
    ]
    assert abs(lane.verified - 1999.5 / 3590) < 0.0001


def test_of_what_lies_in_one_piece_the_worst_counts() -> None:
    con = new_recording()
    run(con, "r1", 0, 100)
    prove(con, Proof.TWO_FEEDS, 0, 100)
    put_gaps(con, [gap(1, 31, 32, GapStatus.FILLED), gap(2, 33, 33, GapStatus.PARTIAL, reason=GapReason.SEQUENCE)])
    put_gaps(con, [gap(3, 35, 36, GapStatus.UNKNOWN, missing=None)])
    (lane,) = read(con).lanes
    assert words(lane) == [(0, 3, "verified"), (3, 4, "lost sequence"), (4, 10, "verified")]


def test_a_market_without_any_record_has_an_empty_lane_at_the_top() -> None:
    con = new_recording()
    run(con, "r1", 0, 3000)
    put_gaps(con, [gap(1, 100, 2900, GapStatus.LOST)])
    found = read(con, ("x", BTC), ("y", ETH))
    assert [(lane.exchange, lane.symbol, bool(lane.runs), lane.verified) for lane in found.lanes] == [
        ("y", ETH, False, 0.0),
        ("x", BTC, True, 0.0),
    ]


def test_what_is_drawn_and_listed_is_bounded() -> None:
    con = new_recording()
    put_feeds(con, [FeedRow(s(0), "x", f"M{n}/USD", FeedEvent.STARTED, "r1") for n in range(LANES_MAX + 3)])
    run(con, "r1", 0, 100)
    put_gaps(con, [gap(n, n, n + 0.5, GapStatus.LOST) for n in range(GAPS_MAX + 4)])
    found = read(con)
    assert (len(found.lanes), found.lanes_left_out) == (LANES_MAX, 4)
    assert (found.lanes[0].symbol, len(found.gaps), found.gaps_left_out) == (BTC, GAPS_MAX, 4)
    assert [one.gap_id for one in found.gaps[:2]] == [f"g{GAPS_MAX + 3}", f"g{GAPS_MAX + 2}"]  # the newest first


def test_the_rates_are_what_came_between_two_audit_rows_of_one_run() -> None:
    con = new_recording()
    last = WINDOW_S - 300
    for at, received, duplicates in ((0, 100, 0), (5, 160, 10), (10, 160, 10), (20, 260, 10)):
        audit(con, "r1", last + at, received, duplicates)
    audit(con, "r2", last + 30, 40)
    audit(con, "r2", last + 35, 90)
    first = s(last) // SECOND_NS
    assert read(con).rates == {"x": [(first + 5, 10.0), (first + 10, 0.0), (first + 20, 10.0), (first + 35, 10.0)]}


STATUSES = [GapStatus.FILLED, GapStatus.LOST, GapStatus.UNKNOWN, GapStatus.OPEN]
INSTANTS = st.integers(-3000, 3500)


@settings(max_examples=amount(5, 300))
@given(
    st.lists(st.tuples(INSTANTS, st.integers(0, 2000) | st.none(), st.sampled_from(STATUSES)), max_size=5),
    st.lists(INSTANTS, min_size=2, max_size=8, unique=True),
    st.lists(st.tuples(INSTANTS, st.integers(1, 2000), st.sampled_from(list(Proof)[:3])), max_size=4),
)
def test_what_ended_before_the_window_can_be_left_out_of_the_view(
    gaps: list[tuple[int, int | None, GapStatus]], turns: list[int], proved: list[tuple[int, int, Proof]]
) -> None:
    con = new_recording()
    for number, (since, alive) in enumerate(pairwise(sorted(turns))):
        audit(con, f"r{number}", since)
        run(con, f"r{number}", since, since + (alive - since) * (0.5 if number % 2 else 1))
    for since, length, proof in proved:
        prove(con, proof, since, since + length)
    put_gaps(
        con,
        [gap(n, at, None if lasts is None else at + lasts, status) for n, (at, lasts, status) in enumerate(gaps)],
    )
    window = {"since": s(0) // 1000, "until": s(WINDOW_S) // 1000}
    whole = con.execute(
        "SELECT exchange, symbol, greatest(epoch_us(from_time), $since), epoch_us(to_time), status, proof"
        " FROM coverage WHERE epoch_us(to_time) > $since AND epoch_us(from_time) < $until",
        window,
    ).fetchall()
    for statement in timeline._READ:
        con.execute(statement, {"since": window["since"]})
    cut = con.execute(timeline._COVERED, window).fetchall()
    assert [(*row[:2], max(row[2], window["since"]), *row[3:]) for row in cut] == whole
