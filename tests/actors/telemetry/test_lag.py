"""Lags: exact percentiles per minute, episodes reported once, and whose clock is wrong."""

import time
from functools import partial
from itertools import count, pairwise
from pathlib import Path
from random import Random
from typing import Any

import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from actors.model.records import LagRow
from actors.model.ticks import Block
from actors.pipeline import Parts
from actors.telemetry.host_clock import DEFAULT_LIMITS, Clock, ClockLimits
from actors.telemetry.lag import (
    AHEAD_MS,
    HOST_MS,
    LATE_MS,
    RECENT_MINUTES,
    SAMPLES_JUDGED_MIN,
    Flag,
    Lags,
    host_ahead_ms,
    negative_share,
)
from actors.telemetry.ledger import LAG_SAMPLES, Ledger
from ops.cli.status import exchange_rows
from ops.monitoring import status as report
from ops.monitoring.loop_monitor import Watch
from ops.monitoring.metrics import Metrics
from tests.harness.exchange_server import (
    Client,
    Server,
    pipeline_of,
    query,
    recording,
    serving,
    table,
    trade,
    until,
)
from tests.harness.supervisor_fakes import Ear

MINUTE_S = DEFAULT_LIMITS.row_s

NS = 1_795_000_000_000_000_000
MS = 1_000_000


def read(ledger: Ledger, lag_ms: float, exchange: str = "x") -> None:
    """One read of the socket whose last trade came so late."""
    block = Block(exchange)
    block.extend(["A/B"], [NS - round(lag_ms * MS)], [NS], ["1"], ["2"], ["buy"], ["7"], ["stream"])
    ledger.account(exchange).read(1, NS, 1, 0, block)


def minute(p50_ms: float, *, exchange: str = "x", samples: int = 100, negative: int = 0) -> LagRow:
    return LagRow(NS, exchange, samples, p50_ms, p50_ms, p50_ms, p50_ms, negative, "run")


@given(st.lists(st.lists(st.integers(-5_000, 5_000), max_size=40), min_size=1, max_size=10))
def test_a_minute_covers_every_read_however_they_arrive(seconds: list[list[int]]) -> None:
    ledger = Ledger("run")
    lags = Lags(ledger.accounts, "run")
    for second in seconds:
        for lag_ms in second:
            read(ledger, lag_ms)
        assert lags.collect() == len(second)
    everything = sorted(lag for second in seconds for lag in second)
    rows = list(lags.rows(NS))
    if not everything:
        assert rows == []
        return
    reads = len(everything)
    (row,) = rows
    assert (row.at_ns, row.exchange, row.run_id, row.samples) == (NS, "x", "run", reads)
    assert (row.min_ms, row.max_ms) == (everything[0], everything[-1])
    assert (row.p50_ms, row.p99_ms) == (everything[int(0.5 * reads)], everything[int(0.99 * reads)])
    assert row.negative == lags.negative["x"] == sum(lag < 0 for lag in everything)
    assert list(lags.rows(NS)) == []


def test_of_a_second_with_too_many_reads_the_last_are_the_sample() -> None:
    ledger = Ledger("run")
    lags = Lags(ledger.accounts, "run")
    for lag_ms in range(LAG_SAMPLES + 100):
        read(ledger, lag_ms)
    assert lags.collect() == LAG_SAMPLES and lags.collect() == 0
    (row,) = lags.rows(NS)
    assert (row.samples, row.min_ms) == (LAG_SAMPLES, 100)


def test_the_share_of_negative_lags_is_of_the_last_reads() -> None:
    ledger = Ledger("run")
    assert negative_share(ledger.account("x")) is None
    for lag_ms in (-3, 5, 5, 5):
        read(ledger, lag_ms)
    assert negative_share(ledger.account("x")) == 0.25


def test_the_last_reads_are_those_of_the_last_minutes_also_in_a_quiet_market() -> None:
    ledger = Ledger("run")
    lags, account = Lags(ledger.accounts, "run"), ledger.account("x")

    def minutes(number: int, *lags_ms: float) -> None:
        for _ in range(number):
            for lag_ms in lags_ms:
                read(ledger, lag_ms)
            lags.collect()
            list(lags.rows(NS))

    minutes(1, *[6000.0] * LAG_SAMPLES)
    minutes(RECENT_MINUTES - 1, 5, -5)
    assert (account.lag_ms(0.5), account.lag_ms(0.99)) == (6000, 6000)
    minutes(1, 5, -5)
    assert (account.lag_ms(0.5), account.lag_ms(0.99), negative_share(account)) == (5, 5, 0.5)
    read(ledger, 7)  # not collected yet
    minutes(RECENT_MINUTES)
    assert account.lag_ms(0.5) == 7
    minutes(1)
    assert account.lag_ms(0.5) is None and negative_share(account) is None
    minutes(1, *[8.0] * 2 * LAG_SAMPLES)
    minutes(RECENT_MINUTES, 9)
    assert account.lag_ms(0.5) == 9 and account.lag_ms(0.0) == 9


# -- what is odd -------------------------------------------------------------------------------------------


def flag_events(lags: Lags, *rows: LagRow) -> list[tuple[str, str]]:
    return [(turn.event, turn.reason) for turn in lags.judge(rows)]


def test_an_exchange_whose_clock_is_ahead_is_reported_once_an_episode() -> None:
    lags = Lags({}, "run")
    assert flag_events(lags, minute(3)) == []
    assert flag_events(lags, minute(-1200, exchange="okx")) == [
        ("clock_ahead", "okx stamps trades 1.2 s ahead of this host's clock; check NTP")
    ]
    assert (lags.flags, list(lags.reasons)) == ({"okx": Flag.AHEAD}, ["okx"])
    for p50_ms in (-1300, -AHEAD_MS - 1, -AHEAD_MS + 1):
        assert flag_events(lags, minute(p50_ms, exchange="okx"), minute(3)) == []
    ((event, _),) = flag_events(lags, minute(-10, exchange="okx"))
    assert event == "lag_normal" and not lags.flags and not lags.reasons
    assert flag_events(lags, minute(-AHEAD_MS + 1, exchange="okx")) == []


def test_trades_nearly_all_from_the_future_are_reported_however_little_they_lead() -> None:
    lags = Lags({}, "run")
    assert flag_events(lags, minute(-2, negative=80)) == []
    assert flag_events(lags, minute(-2, negative=95)) == [
        ("clock_ahead", "x stamps trades 2 ms ahead of this host's clock; check NTP")
    ]


def test_a_feed_far_behind_is_reported_and_can_turn_into_one_ahead() -> None:
    lags = Lags({}, "run")
    ((event, reason),) = flag_events(lags, minute(LATE_MS + 1))
    assert event == "feed_late" and "5.0 s after their own time: the feed lags or a clock is wrong" in reason
    assert flag_events(lags, minute(LATE_MS - 1)) == []
    assert [event for event, _ in flag_events(lags, minute(-100))] == ["clock_ahead"]
    assert lags.flags == {"x": Flag.AHEAD}


def test_of_a_few_trades_nothing_is_concluded_in_either_direction() -> None:
    lags = Lags({}, "run")
    few = SAMPLES_JUDGED_MIN - 1
    assert flag_events(lags, minute(-9000, samples=few, negative=few)) == []
    flag_events(lags, minute(-9000))
    assert flag_events(lags, minute(3, samples=few)) == [] and lags.flags == {"x": Flag.AHEAD}


@given(st.lists(st.floats(-1e5, 1e5), max_size=12))
def test_episodes_begin_and_end_in_turn(medians: list[float]) -> None:
    lags = Lags({}, "run")
    flagged = [event for p50_ms in medians for event, _ in flag_events(lags, minute(p50_ms))]
    assert all(a != b for a, b in pairwise(flagged))
    assert (flagged[-1] if flagged else "lag_normal") != "lag_normal" or not lags.flags


def test_where_all_exchanges_agree_it_is_this_hosts_clock() -> None:
    off = HOST_MS + 100
    assert host_ahead_ms([minute(-off), minute(-off - 20), minute(-off - 40)]) == -off - 20
    assert host_ahead_ms([minute(off), minute(off)]) == off
    assert host_ahead_ms([minute(-off)]) is None
    assert host_ahead_ms([minute(-off), minute(5)]) is None
    assert host_ahead_ms([minute(-off), minute(off)]) is None
    assert host_ahead_ms([minute(-off), minute(-off, samples=1)]) is None
    assert host_ahead_ms([]) is None


# -- the actor ---------------------------------------------------------------------------------------------


async def test_each_minute_is_a_row_and_the_hosts_clock_is_reported_before_the_exchanges(
    autojump_clock: MockClock,
) -> None:
    ledger, rows, ear, dice = Ledger("run"), list[LagRow](), Ear(), Random(1)
    made = Clock(Lags(ledger.accounts, "run"), rows.append, read=lambda: None)

    async def trading(exchange: str) -> None:
        while True:
            await trio.sleep(dice.random())
            wrong_ms = 700 if MINUTE_S < trio.current_time() < 3 * MINUTE_S else 0
            read(ledger, dice.uniform(1, 20) - wrong_ms, exchange)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.run, ear)
        nursery.start_soon(trading, "a")
        nursery.start_soon(trading, "b")
        await trio.sleep(3 * MINUTE_S + 10)
        assert (
            "according to all exchanges this host's clock is" in ear.reason and " behind; check NTP" in ear.reason
        )
        await trio.sleep(MINUTE_S)
        assert ear.reason == ""
        ear.request_stop()
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert [event for event, _, _ in ear.notes] == ["host_clock_off", *["clock_ahead"] * 2, *["lag_normal"] * 2]
    minutes = [sorted(row.exchange for row in rows[at : at + 2]) for at in range(0, len(rows), 2)]
    assert minutes == [["a", "b"]] * 5  # the last is what there was of the fifth
    assert all(80 < row.samples < 160 for row in rows[:8]) and all(row.samples < 40 for row in rows[8:])
    reads = sum(account.frames for account in ledger.accounts.values())
    assert sum(row.samples for row in rows) == reads - made.lags.collect()  # those after the last look


async def test_lags_are_rows_of_the_file_and_a_flag_in_status_and_metrics(tmp_path: Path) -> None:
    hasty = Parts(clock=partial(Clock, limits=ClockLimits(look_s=0.02, row_s=0.4)))

    async def trading(client: Client) -> None:
        for number in count():
            await client.send(trade("bybit", "BTCUSDT", number, time.time_ns() + 30_000 * MS))
            await trio.sleep(0.005)

    async def script(client: Client) -> None:
        await client.accept()
        await client.gone_while(trading, client)

    async with serving(server := Server(script)):
        pipeline = pipeline_of(tmp_path, table("bybit", "bybit", ["BTC/USDT"], server.url), parts=hasty)
        async with recording(pipeline):
            await until(lambda: pipeline.clock.lags.flags)
            said: Any = report.status(pipeline)
            mine = said["exchanges"]["bybit"]
            assert (mine["lag_negative"], mine["lag_flag"]) == (1.0, "ahead")
            assert "bybit stamps trades" in mine["reasons"][-1]
            names, (row,) = exchange_rows(said)
            assert str(row[list(names).index("lag p50")]).endswith("ms ahead")
            text = Metrics(pipeline, Watch(pipeline.store.path)).render().decode()
            (negative,) = [line.split()[-1] for line in text.splitlines() if "lag_negative_total{" in line]
            (median,) = [line.split()[-1] for line in text.splitlines() if "lag_p50_seconds{" in line]
            assert float(negative) >= SAMPLES_JUDGED_MIN and -31 < float(median) < -20
    rows = query(tmp_path, "SELECT exchange, samples, negative, p50_ms, p50_ms <= p99_ms, run_id FROM lags")
    assert rows and all(row[0] == "bybit" and row[1] == row[2] > 0 and row[4] for row in rows)
    assert {row[5] for row in rows} == {pipeline.run_id} and all(-31_000 < row[3] < -20_000 for row in rows)
    said_in_file = query(tmp_path, "SELECT event, reason FROM events WHERE actor = 'clock' AND event LIKE 'clock%'")
    assert len(said_in_file) == 1 and said_in_file[0][1].startswith("bybit stamps trades")
