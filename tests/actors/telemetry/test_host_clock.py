"""The host's clock: a jump is reported with its size and direction; load, sleep and slewing do not count as one."""

import itertools
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import assume, given
from hypothesis import strategies as st
from trio.testing import MockClock

from actors.pipeline import Parts
from actors.telemetry.host_clock import (
    ALARM_S,
    JUMP_S,
    SLEW,
    Clock,
    ClockLimits,
    ClockWatch,
    Jump,
    Reading,
    Sleep,
    read_clocks,
)
from actors.telemetry.lag import Lags
from ops.cli.status import headline
from ops.monitoring import status as report
from tests.harness.exchange_server import (
    Client,
    Server,
    actor,
    pipeline_of,
    query,
    recording,
    serving,
    table,
    until,
)
from tests.harness.supervisor_fakes import Ear

NS = 1_795_000_000_000_000_000
STEPS = st.lists(
    st.tuples(
        st.floats(0.5, 600),  # seconds until the next look: a loop may stand, a process be stopped
        st.floats(-0.0005, 0.0005),  # slewed meanwhile
        st.one_of(st.just(0.0), st.floats(0.2, 1e6)),  # slept meanwhile
    ),
    min_size=1,
    max_size=20,
)


class Host:
    """A machine whose clocks can be set; `boot` says whether it counts its sleep."""

    def __init__(self, *, boot: bool = True) -> None:
        self.wall_ns, self.mono_s, self.boot_s = NS, 17.0, 17.0
        self.counts_sleep = boot

    def passes(self, awake_s: float, *, slew: float = 0.0, slept_s: float = 0.0, set_s: float = 0.0) -> Reading:
        self.mono_s += awake_s
        self.boot_s += awake_s + slept_s
        self.wall_ns += round((awake_s * (1 + slew) + slept_s + set_s) * 1e9)
        return Reading(self.wall_ns, self.mono_s, self.boot_s if self.counts_sleep else None)


def look(watch: ClockWatch, at: Reading) -> Jump | Sleep | None:
    return watch.look(at.wall_ns, at.mono_s, at.boot_s)


@given(STEPS)
def test_load_slewing_and_sleep_are_never_treated_as_a_jump(steps: list[tuple[float, float, float]]) -> None:
    host, watch = Host(), ClockWatch()
    assert look(watch, host.passes(0.0)) is None
    for awake_s, slew, slept_s in steps:
        found = look(watch, host.passes(awake_s, slew=slew, slept_s=slept_s))
        assert not isinstance(found, Jump)
        assert (found is None) == (slept_s == 0.0)
        assert found is None or found.slept_s == pytest.approx(slept_s, abs=1e-3)


@given(STEPS, st.floats(-1e9, 1e9))
def test_a_jump_is_reported_once_with_its_size_whatever_else_happened(
    steps: list[tuple[float, float, float]], set_s: float
) -> None:
    host, watch = Host(), ClockWatch()
    for awake_s, slew, slept_s in steps:
        assert not isinstance(look(watch, host.passes(awake_s, slew=slew, slept_s=slept_s)), Jump)
    awake_s, slew, slept_s = steps[-1]
    assume(abs(set_s) > JUMP_S + 2 * SLEW * (awake_s + slept_s))
    found = look(watch, host.passes(awake_s, slew=slew, slept_s=slept_s, set_s=set_s))
    assert isinstance(found, Jump)
    assert found.jump_s == pytest.approx(set_s, abs=1.0 + SLEW * awake_s) and found.sure
    assert ("forward" if set_s > 0 else "back") in found.reason
    assert look(watch, host.passes(1.0)) is None


def test_where_sleep_cannot_be_detected_the_message_leaves_it_open() -> None:
    host, watch = Host(boot=False), ClockWatch()
    look(watch, host.passes(0.0))
    asleep = look(watch, host.passes(1.0, slept_s=3600.0))
    assert isinstance(asleep, Jump) and asleep.reason.endswith("or the machine slept")
    back = look(watch, host.passes(1.0, set_s=-0.25))
    assert isinstance(back, Jump) and back.reason == "this host's clock jumped 250 ms back"


async def test_the_real_clocks_of_this_machine_go_together() -> None:
    watch = ClockWatch()
    for _ in range(100):
        reading = read_clocks()
        assert reading is None or look(watch, reading) is None


async def test_clocks_that_were_not_read_at_one_moment_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count()
    monkeypatch.setattr(time, "monotonic", lambda: float(next(ticks)))
    assert read_clocks() is None


# -- the actor ---------------------------------------------------------------------------------------------


async def test_health_speaks_of_a_jump_for_some_minutes_and_of_a_sleep_not_at_all(
    autojump_clock: MockClock,
) -> None:
    host, ear, happens = Host(), Ear(), dict[str, float]()

    def read() -> Reading:
        reading = host.passes(1.0, **happens)
        happens.clear()
        return reading

    made = Clock(Lags({}, "run"), lambda row: None, read=read)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.run, ear)
        await trio.sleep(100)
        happens["slept_s"] = 5.0
        await trio.sleep(2)
        assert (ear.notes, ear.reason) == ([("host_slept", "this machine slept for 5.0 s", {"slept_s": 5.0})], "")
        happens["set_s"] = 7200.0
        await trio.sleep(2)
        forward = "this host's clock jumped 7200.0 s forward"
        assert (ear.notes[1:], ear.reason) == ([("clock_jumped", forward, {"jump_s": 7200.0})], forward)
        await trio.sleep(ALARM_S - 5)
        assert ear.reason == forward
        await trio.sleep(10)
        assert (ear.reason, made.jumps, len(ear.notes)) == ("", 1, 2)
        ear.request_stop()


async def test_a_jump_is_in_events_status_and_health_and_recording_continues(tmp_path: Path) -> None:
    leap_ns = looks = 0

    def leaping() -> Reading | None:
        nonlocal looks
        reading = read_clocks()
        looks += reading is not None
        return reading and Reading(reading.wall_ns + leap_ns, reading.mono_s, reading.boot_s)

    hasty = Parts(clock=partial(Clock, read=leaping, limits=ClockLimits(look_s=0.02)))
    async with serving(server := Server(Client.gone)):
        pipeline = pipeline_of(tmp_path, table("okx", "okx", ["BTC/USDT"], server.url), parts=hasty)
        async with recording(pipeline):
            await until(lambda: looks > 1)
            assert actor(pipeline, "clock")["state"] == "ok" and pipeline.clock.jumps == 0
            assert "jumps" not in "".join(headline(report.status(pipeline)))
            leap_ns = -90_000_000_000
            await until(lambda: actor(pipeline, "clock")["state"] == "degraded")
            assert actor(pipeline, "clock")["reason"] == "this host's clock jumped 90.0 s back"
            said: Any = report.status(pipeline)
            assert said["clock"]["jumps"] == 1 and said["clock"]["last_jump_s"] == pytest.approx(-90, abs=0.1)
            assert any("jumps of this host's clock: 1" in line for line in headline(said))
    rows = query(tmp_path, "SELECT reason, (detail->>'jump_s')::DOUBLE FROM events WHERE event = 'clock_jumped'")
    assert rows == [("this host's clock jumped 90.0 s back", pytest.approx(-90, abs=0.1))]
