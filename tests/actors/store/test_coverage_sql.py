"""Any time range of any market is live, repaired, lost or unknown, as the view shows."""

from itertools import pairwise

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from actors.continuity.continuity import Continuity
from actors.model.records import FeedEvent, FeedRow, GapReason, GapRow, GapStatus, Proof
from actors.model.ticks import IdPromise
from tests.harness.amounts import amount
from tests.harness.continuity_file import new_file, put_audit, put_feeds, put_gaps
from tests.harness.continuity_rows import BTC, ETH, SECOND_NS, T0_NS

Interval = tuple[float, float, str]


def s(seconds: float) -> int:
    return T0_NS + round(seconds * SECOND_NS)


def run(con: duckdb.DuckDBPyConnection, run_id: str, since: float, alive: float, stop: float | None = None) -> None:
    rows = [FeedRow(s(since), "x", BTC, FeedEvent.STARTED, run_id)]
    if stop is not None:
        rows.append(FeedRow(s(stop), "x", BTC, FeedEvent.STOPPED, run_id))
    put_feeds(con, rows)
    put_audit(con, run_id, s(alive))


def gap(
    number: int, since: float, until: float | None, status: str, missing: int | None = 5, at: float = 0.0
) -> GapRow:
    return GapRow(
        s(at), f"g{number}", "x", BTC, GapReason.DISCONNECT, s(since), from_id="1", from_ns=s(since),
        to_id=None if until is None else "9", to_ns=None if until is None else s(until), missing=missing,
        status=GapStatus(status),
    )  # fmt: skip


def coverage(con: duckdb.DuckDBPyConnection, symbol: str = BTC) -> list[Interval]:
    rows = con.execute(
        "SELECT epoch_us(from_time), epoch_us(to_time), status FROM coverage WHERE exchange = 'x' AND symbol = ?",
        [symbol],
    ).fetchall()
    return [((a - T0_NS // 1000) / 1e6, (b - T0_NS // 1000) / 1e6, status) for a, b, status in rows]


def test_a_quiet_market_is_complete_as_long_as_the_service_lives() -> None:
    con = new_file()
    run(con, "r1", 0, 100)
    assert coverage(con) == [(0, 100, "live")]
    assert coverage(con, ETH) == []


@pytest.mark.parametrize(
    ("status", "missing", "word"),
    [
        ("filled", 5, "repaired"),
        ("partial", 5, "lost"),
        ("lost", 5, "lost"),
        ("unknown", None, "unknown"),
        ("open", 5, "unknown"),
    ],
)
def test_a_gap_decides_the_status_of_its_range(status: str, missing: int | None, word: str) -> None:
    con = new_file()
    run(con, "r1", 0, 100)
    put_gaps(con, [gap(1, 20, 30, status, missing)])
    assert coverage(con) == [(0, 20, "live"), (20, 30.000001, word), (30.000001, 100, "live")]


def test_a_gap_that_missed_nothing_leaves_no_trace() -> None:
    con = new_file()
    run(con, "r1", 0, 100)
    put_gaps(con, [gap(1, 20, 30, "filled", 0)])
    assert coverage(con) == [(0, 100, "live")]


def test_the_newest_state_of_a_gap_counts() -> None:
    con = new_file()
    run(con, "r1", 0, 100)
    put_gaps(con, [gap(1, 20, 30, "filled", 5, at=9), gap(1, 20, None, "open", None, at=1)])
    assert con.execute("SELECT status FROM gaps").fetchall() == [("filled",)]
    assert [word for _, _, word in coverage(con)] == ["live", "repaired", "live"]


def test_trades_lost_within_one_instant_are_seen() -> None:
    con = new_file()
    run(con, "r1", 0, 100)
    put_gaps(con, [gap(1, 20, 20, "lost")])
    assert (20, 20.000001, "lost") in coverage(con)


def test_a_lasting_outage_is_unknown_up_to_the_end() -> None:
    con = new_file()
    run(con, "r1", 0, 100)
    put_gaps(con, [gap(1, 20, None, "open", None)])
    assert coverage(con) == [(0, 20, "live"), (20, 100, "unknown")]


def test_of_two_gaps_the_worse_counts() -> None:
    con = new_file()
    run(con, "r1", 0, 100)
    put_gaps(con, [gap(1, 10, 60, "filled"), gap(2, 30, 40, "lost")])
    assert [word for _, _, word in coverage(con)] == ["live", "repaired", "lost", "repaired", "live"]


def test_between_two_runs_only_gaps_say_what_is_known() -> None:
    con = new_file()
    run(con, "r1", 0, 50)
    run(con, "r2", 80, 100)
    assert coverage(con) == [(0, 50, "live"), (50, 80, "unknown"), (80, 100, "live")]
    put_gaps(con, [gap(1, 45, 85, "filled")])
    assert coverage(con) == [(0, 45, "live"), (45, 85.000001, "repaired"), (85.000001, 100, "live")]


def test_a_market_that_was_taken_off_ends_there_although_its_run_continues() -> None:
    con = new_file()
    run(con, "r1", 0, 100, stop=30)
    assert coverage(con) == [(0, 30, "live")]


@pytest.mark.parametrize(
    ("began", "jumps", "ends", "covered"),
    [
        (1000, [(5, -1000)], 100, [(5, 100, "live")]),  # ahead at the start
        (1000, [(5, -1000)], 2000, [(5, 2000, "live")]),
        (-1000, [(5, 1000)], 100, [(-1000, -995, "live"), (-995, 5, "unknown"), (5, 100, "live")]),  # behind
        (0, [(990, -10)], 5000, [(0, 5000, "live")]),
        (
            0,
            [(1500, 500), (1100, -500)],
            3000,
            [(0, 1000, "live"), (1000, 1100, "unknown"), (1100, 3000, "live")],
        ),
        (
            0,
            [(500, -500), (1200, 500)],
            3000,
            [(0, 1000, "live"), (1000, 1200, "unknown"), (1200, 3000, "live")],
        ),
        (0, [(5, 1)], 100, [(0, 100, "live")]),  # no more than clocks differ anyway
    ],
)
def test_a_run_is_where_this_hosts_clock_is_after_it_is_set(
    began: int, jumps: list[tuple[int, int]], ends: int, covered: list[Interval]
) -> None:
    con, continuity = new_file(), Continuity("x", {BTC: IdPromise.CONTIGUOUS})
    continuity.connected([BTC], s(began))
    for shows, jumped in jumps:
        put_audit(con, "r1", s(shows - jumped))
        continuity.clock_jumped(jumped, s(shows))
        put_audit(con, "r1", s(shows))
    put_audit(con, "r1", s(ends))
    put_feeds(con, [structs.replace(row, run_id="r1") for row in continuity.take_feeds()])
    assert coverage(con) == covered


def test_a_clock_that_was_ahead_for_a_moment_claims_no_time_that_has_not_come() -> None:
    con = new_file()
    run(con, "r1", 0, 10)
    put_audit(con, "r1", s(1011))
    put_audit(con, "r1", s(12))
    put_audit(con, "r2", s(5))
    assert coverage(con) == [(0, 12, "live")]


def test_runs_that_follow_at_once_are_one_range() -> None:
    con = new_file()
    run(con, "r1", 0, 50, stop=50)
    run(con, "r2", 50, 90)
    assert coverage(con) == [(0, 90, "live")]


def proofs(con: duckdb.DuckDBPyConnection) -> list[tuple[float, float, str, str]]:
    rows = con.execute("SELECT epoch_us(from_time), epoch_us(to_time), status, proof FROM coverage").fetchall()
    return [((a - T0_NS // 1000) / 1e6, (b - T0_NS // 1000) / 1e6, *words) for a, b, *words in rows]


def prove(con: duckdb.DuckDBPyConnection, proof: Proof, since: float, until: float) -> None:
    put_feeds(con, [FeedRow(s(99), "x", BTC, FeedEvent.PROVED, time_ns=s(since), until_ns=s(until), proof=proof)])


def test_what_nothing_proves_is_live_without_a_proof() -> None:
    con = new_file()
    run(con, "r1", 0, 100)
    assert proofs(con) == [(0, 100, "live", "none")]


def test_the_strongest_proof_of_an_instant_counts_and_none_where_a_gap_says_otherwise() -> None:
    con = new_file()
    run(con, "r1", 0, 100)
    prove(con, Proof.HISTORY, 5, 90)
    prove(con, Proof.TWO_FEEDS, 10, 60)
    prove(con, Proof.IDS, 20, 40)
    prove(con, Proof.IDS, 40, 50)
    put_gaps(con, [gap(1, 30, 35, "lost"), gap(2, 95, 97, "filled")])
    assert proofs(con) == [
        (0, 5, "live", "none"),
        (5, 10, "live", "history"),
        (10, 20, "live", "two_feeds"),
        (20, 30, "live", "ids"),
        (30, 35.000001, "lost", "none"),
        (35.000001, 50, "live", "ids"),
        (50, 60, "live", "two_feeds"),
        (60, 90, "live", "history"),
        (90, 95, "live", "none"),
        (95, 97.000001, "repaired", "history"),
        (97.000001, 100, "live", "none"),
    ]


def test_a_proof_from_before_a_gap_was_known_gives_way_to_it_and_covers_nothing_that_was_not_recorded() -> None:
    con = new_file()
    run(con, "r1", 10, 100, stop=50)
    prove(con, Proof.IDS, 0, 70)
    assert proofs(con) == [(10, 50, "live", "ids")]
    put_gaps(con, [gap(1, 20, None, "open", None)])
    assert proofs(con) == [(10, 20, "live", "ids"), (20, 50, "unknown", "none")]


WORDS = ["filled", "lost", "unknown"]
STRONGEST_FIRST = [Proof.IDS, Proof.TWO_FEEDS, Proof.HISTORY]


@settings(max_examples=amount(12, 300))
@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 20), st.sampled_from(WORDS)), max_size=6),
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 15)), min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 20), st.sampled_from(STRONGEST_FIRST)), max_size=5),
)
def test_the_view_agrees_with_the_rows_at_every_instant(
    gaps: list[tuple[int, int, str]], runs: list[tuple[int, int]], proved: list[tuple[int, int, Proof]]
) -> None:
    con = new_file()
    for number, (since, lasts) in enumerate(sorted(runs)):
        run(con, f"r{number}", since, since + lasts)
    put_gaps(con, [gap(n, since, since + lasts, word) for n, (since, lasts, word) in enumerate(gaps)])
    for since, lasts, proof in proved:
        prove(con, proof, since, since + lasts)
    intervals = proofs(con)
    for before, after in pairwise(intervals):
        assert before[1] <= after[0]
        assert before[1] < after[0] or before[2:] != after[2:]
    low, high = min(a for a, _ in runs), max(a + n for a, n in runs)
    for instant in (x + 0.5 for x in range(-1, 62)):
        words = {word for since, lasts, word in gaps if since <= instant < since + lasts}
        expected = "lost" if "lost" in words else "unknown" if "unknown" in words else "repaired" if words else None
        if expected is None and low <= instant < high:
            expected = "live" if any(a <= instant < a + n for a, n in runs) else "unknown"
        shown = {proof for since, lasts, proof in proved if since <= instant < since + lasts}
        best = next((proof.value for proof in STRONGEST_FIRST if proof in shown), "none")
        best = "none" if expected not in ("live", "repaired") else best
        best = "history" if expected == "repaired" and best == "none" else best
        found = [(word, proof) for since, until, word, proof in intervals if since <= instant < until]
        assert found == ([(expected, best)] if expected else [])
