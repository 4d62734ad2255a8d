"""`tickwarden top`: what it shows at both sizes, its keys, and a service that goes away and comes back."""

import asyncio
import os
import re
import signal
import termios
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from textual.pilot import Pilot

from ops.cli.status import headline
from ops.cli.top.history import BARS, POINTS_MAX, History
from ops.cli.top.poller import Poller
from ops.cli.top.sample import Sample
from ops.cli.top.screen import TopScreen
from ops.cli.top.tables import Choice, actor_table, exchange_table
from ops.control.client import ControlClient
from tests.harness.amounts import variants
from tests.harness.cli_process import PATIENCE_S, tickwarden_here, wait_for
from tests.harness.service_process import Sandbox, recording, sandbox
from tests.harness.terminal import Terminal, terminal
from tests.harness.top_world import NAMES, TopWorld, ago, serving

__all__ = ["sandbox"]  # a fixture
SMALL, LARGE = (80, 24), (200, 60)
COLOUR = re.compile(r"\x1b\[[0-9;]*?(?:3[0-7]|4[0-7]|9[0-7]|10[0-7]|[34]8;[25])[0-9;]*m")


class Screen:
    """What the pilot sees of `top`, which runs in this process against a world."""

    def __init__(self, app: TopScreen, pilot: Pilot[int]) -> None:
        self.app, self.pilot = app, pilot

    @property
    def lines(self) -> list[str]:
        strips = self.app.screen._compositor.render_strips()
        return [strip.text.rstrip() for strip in strips]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def grey(self, word: str) -> bool:
        """Whether this word is drawn so, wherever it stands."""
        strips = self.app.screen._compositor.render_strips()
        found = [segment for strip in strips for segment in strip if word in segment.text]
        return bool(found) and all(segment.style is not None and segment.style.dim for segment in found)

    async def until(self, *words: str | re.Pattern[str]) -> None:
        """Until all of these are on the screen."""
        deadline = time.monotonic() + PATIENCE_S
        while missing := [
            one for one in words if not re.search(one if isinstance(one, re.Pattern) else re.escape(one), self.text)
        ]:
            assert time.monotonic() < deadline, f"{missing} did not come in\n{self.text}"
            await self.pilot.pause(0.05)

    async def until_grey(self, word: str, grey: bool) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while self.grey(word) != grey:
            assert time.monotonic() < deadline
            await self.pilot.pause(0.05)


def watch(
    world: TopWorld,
    socket: Path,
    look: Callable[[Screen], Awaitable[None]],
    size: tuple[int, int] = SMALL,
    interval_s: float = 0.3,
) -> None:
    """Runs `top` with the world served on the socket, and `look` at it."""

    async def run() -> None:
        service = ControlClient(socket)
        app = TopScreen(service, await asyncio.to_thread(Sample.of, service), interval_s)
        async with app.run_test(size=size) as pilot:
            screen = Screen(app, pilot)
            await screen.until(world.names[-1])
            await look(screen)

    with serving(world, socket):
        asyncio.run(run())


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_everything_is_there_and_nothing_is_cut(size: tuple[int, int], tmp_path: Path) -> None:
    world = TopWorld()
    world.held_by = 4_194_304

    async def look(screen: Screen) -> None:
        columns = (
            "state",
            "ticks/s",
            "trend",
            "age",
            "lag p50",
            "lag p99",
            "gaps",
            "waiting",
            "restarts",
            "retry in",
        )
        rows = [rf"^{name} +ok .* \d+\.\ds +1\.9ms +6\.0ms +0 +7\b" for name in NAMES]
        await screen.until(
            "all well: 4 exchanges at 0 ticks/s, no gap open",
            "mailboxes: writer 0%, buffer 0%; /srv/ticks.duckdb",
            re.compile(r"8 segments \(0\.1 MB\); flushed \d\.\ds ago; merged 4\d\.\ds ago; held by pid 4194304"),
            *columns,
            *(re.compile(row, re.MULTILINE) for row in rows),
            "├ binance:gaps",
            "binance: ok; connections 1/1; 2 markets: BTC/USDT, ETH/USDT",
            "/ filter s sort r restart p pause u resume f flush ? help q quit",
        )
        assert "q quit" in screen.lines[-1]
        assert len(screen.lines) == size[1] and max(map(len, screen.lines)) <= size[0]
        assert "…" not in screen.text and "(+" not in screen.text

    watch(world, tmp_path / "s", look, size)


def test_the_first_line_names_what_is_wrong_and_the_selected_row_all_about_it(tmp_path: Path) -> None:
    world = TopWorld()
    world.state, world.reasons = "degraded", ["okx:1 is backoff: no route", "kraken is degraded: silent"]
    world.changes["okx:1"] = {
        "state": "backoff",
        "last_error": "no route",
        "restarts": 3,
        "next_retry_at": ago(-60.5),
    }

    async def look(screen: Screen) -> None:
        await screen.until("degraded, 2 reasons: okx:1 is backoff: no route")
        assert screen.lines[0].startswith("degraded")
        await screen.pilot.press("tab")
        screen.app._actors.move_cursor(row=[row.key for row in screen.app._actors.table.rows].index("okx:1"))
        await screen.until(re.compile(r"okx:1: no route; backoff for \d"))
        await screen.pilot.press("s")
        await screen.until("actors: sorted by state")
        await screen.until(re.compile(r"^okx:1 +backoff +3 +\d+s +no route", re.MULTILINE))

    watch(world, tmp_path / "s", look)


def test_what_is_paused_is_not_called_well(tmp_path: Path) -> None:
    world = TopWorld()
    world.changes["kraken"] = {"state": "paused"}

    async def look(screen: Screen) -> None:
        await screen.until("degraded: kraken is paused")
        assert "all well" not in screen.text

    watch(world, tmp_path / "s", look)


def test_restart_and_pause_are_done_to_the_selected_row_after_a_question(tmp_path: Path) -> None:
    world = TopWorld()

    async def look(screen: Screen) -> None:
        await screen.pilot.press("down", "r")
        await screen.until("Restart okx?")
        await screen.pilot.press("n")
        await screen.pilot.press("r", "y")
        await screen.until("restart okx: done")
        await screen.pilot.press("p")
        await screen.until("Pause okx?")
        await screen.pilot.press("y")
        await screen.until("pause okx: done")
        await screen.until("degraded: okx is paused")
        await screen.pilot.press("u")
        await screen.until("resume okx: done")
        await screen.pilot.press("f")
        await screen.until("flush: done")
        await screen.pilot.press("tab", "end", "ctrl+end", "r", "y")
        await screen.until("restart coinbaseexchange:1: done")
        assert world.given == ["restart okx", "pause okx", "resume okx", "flush", "restart coinbaseexchange:1"]
        world.refuse = "nothing was done: the service is starting"
        await screen.pilot.press("f")
        await screen.until("flush: nothing was done: the service is starting")

    watch(world, tmp_path / "s", look)


def test_the_cursor_stays_on_its_row_when_rows_change_places(tmp_path: Path) -> None:
    world = TopWorld()

    async def look(screen: Screen) -> None:
        await screen.pilot.press("s", "down")  # by state; all are ok
        await screen.until("sorted by state")
        world.changes["coinbaseexchange"] = {"state": "failed"}
        await screen.until("failed")
        await screen.pilot.press("r", "y")
        await screen.until("restart okx: done")

    watch(world, tmp_path / "s", look)


def test_a_filter_keeps_what_has_the_text_and_what_is_above_it(tmp_path: Path) -> None:
    async def look(screen: Screen) -> None:
        await screen.pilot.press("slash", *"okx:b", "enter")
        await screen.until(re.compile(r"^exchanges +ok.*\n└ okx +ok.*\n  └ okx:backfill +ok", re.MULTILINE))
        await screen.until("no row has this text")  # the cursor is among the exchanges
        assert "okx:gaps" not in screen.text and "binance" not in screen.text
        await screen.pilot.press("escape")
        await screen.until("binance:gaps")

    watch(TopWorld(), tmp_path / "s", look)


def test_help_lists_the_keys_and_any_key_closes_it(tmp_path: Path) -> None:
    async def look(screen: Screen) -> None:
        await screen.pilot.press("question_mark")
        await screen.until("Any key closes this.", *(f" {key}   " for key in "/srpufq"))
        await screen.pilot.press("q")
        await screen.until("all well")
        assert screen.app._exit is False
        await screen.pilot.press("question_mark", "ctrl+c")
        assert screen.app._exit is True

    watch(TopWorld(), tmp_path / "s", look)


def test_a_service_that_is_gone_leaves_its_last_values_and_one_that_is_back_is_shown(tmp_path: Path) -> None:
    world, socket = TopWorld(), tmp_path / "s"

    async def look(screen: Screen) -> None:
        with serving(world, socket):
            await screen.until("the service is back: pid")
            await screen.until("all well")
            await screen.until_grey("kraken ", False)
        await screen.until("the service is gone since")
        await screen.until("no service is running")
        await screen.until_grey("kraken ", True)
        await screen.pilot.press("f")
        await screen.until("flush: no service is running")

    async def run() -> None:
        service = ControlClient(socket)
        with serving(world, socket):
            first = await asyncio.to_thread(Sample.of, service)
        app = TopScreen(service, first, 0.1)
        async with app.run_test(size=SMALL) as pilot:
            screen = Screen(app, pilot)
            await screen.until("the service is gone since")
            await look(screen)

    asyncio.run(run())


def test_one_command_at_a_time_and_a_process_that_takes_over_are_reported(tmp_path: Path) -> None:
    world = TopWorld()

    async def look(screen: Screen) -> None:
        world.flushing.set()
        await screen.pilot.press("f", "f")
        await screen.until("flush: not done, because flush still goes on")
        world.flushing.clear()
        await screen.until("flush: done")
        world.pid += 1
        await screen.until(f"pid {world.pid} has taken over from pid {world.pid - 1}")
        assert world.given == ["flush"]

    watch(world, tmp_path / "s", look)


class Slow(ControlClient):
    """Answers nothing until it is released; counts how many ask at once."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.stuck, self.asking, self.most = False, 0, 0

    def get(self, route: str) -> object:
        self.asking += 1
        self.most = max(self.most, self.asking)
        try:
            while self.stuck:
                time.sleep(0.01)
            return super().get(route)
        finally:
            self.asking -= 1


def test_questions_do_not_pile_up_behind_a_slow_answer(tmp_path: Path) -> None:
    socket = tmp_path / "s"

    async def run() -> None:
        service = Slow(socket)
        app = TopScreen(service, await asyncio.to_thread(Sample.of, service), 0.01)
        async with app.run_test(size=SMALL) as pilot:
            screen = Screen(app, pilot)
            await screen.until("all well")
            service.stuck = True
            await screen.until("no answer since")
            assert service.most == 1
            service.stuck = False
            await screen.until("all well")

    with serving(TopWorld(), socket):
        asyncio.run(run())


def test_a_slow_screen_is_not_shown_more_than_it_has_drawn(tmp_path: Path) -> None:
    seen: list[object] = []
    poller = Poller(ControlClient(tmp_path / "s"), 0.0, seen.append)
    with serving(TopWorld(), tmp_path / "s"):
        poller.start()
        for number in (1, 2):
            wait_for("a look", lambda: seen)
            time.sleep(0.05)
            assert len(seen) == 1, number
            seen.clear()
            poller.shown()
        poller.stop()


def samples(world: TopWorld, *ticks: int, step_s: float = 1.0) -> list[Sample]:
    """Looks at a world whose first exchange has received so much at each."""
    found = []
    for number, received in enumerate(ticks):
        world.ticks[world.names[0]] = received
        found.append(Sample(world.status(), world.actors(), number * step_s, datetime.now(UTC)))
    return found


def test_the_rate_is_that_of_the_last_seconds_and_a_new_run_begins_at_none() -> None:
    world, history = TopWorld(), History()
    for sample in samples(world, *range(0, 1000, 10), *range(1000, 1600, 100)):
        history.add(sample)
    assert history.rate("binance") == 100.0 and history.rate("okx") == 0.0
    assert history.sparkline("binance", 10)[-1] == BARS[-1] and history.sparkline("okx", 4) == BARS[0] * 4
    assert history.sparkline("binance", 10)[0] == BARS[1]
    world.run_id = "two"
    history.add(samples(world, 5)[0])
    assert history.rate("binance") is None and history.sparkline("binance", 4) == "    "


def test_the_history_is_bounded_and_forgets_exchanges_that_are_gone() -> None:
    world, history = TopWorld(), History()
    for sample in samples(world, *range(POINTS_MAX * 2), step_s=60.0):
        history.add(sample)
    assert history.rate("binance") == 1 / 60
    assert {len(points) for points in history._points.values()} == {POINTS_MAX}
    world.names = NAMES[1:]
    history.add(samples(world, 1)[0])
    assert history._points.keys() == set(NAMES[1:])


@pytest.mark.parametrize("width", [59, 79, 100, 130, 199])
def test_the_tables_fit_their_width(width: int) -> None:
    history, world = History(), TopWorld()
    sample = samples(world, 1)[0]
    history.add(sample)
    for table in (exchange_table(sample, history, Choice(), width), actor_table(sample, Choice(), width)):
        assert sum(column.width + 1 for column in table.columns) - 1 <= width
    assert [column.title for column in table.columns][:4] == ["actor", "state", "restarts", "retry in"]


def test_the_tree_shows_whose_an_actor_is() -> None:
    world = TopWorld(("okx", "kraken"))
    rows = actor_table(samples(world, 1)[0], Choice(), 79).rows
    names = [row.cells["actor"] for row in rows]
    assert names[3:6] == ["exchanges", "├ okx", "│ ├ okx:gaps"]
    assert names[9:12] == ["│ └ okx:1", "└ kraken", "  ├ kraken:gaps"] and names[-1] == "  └ kraken:1"


@pytest.mark.parametrize(("term", "why"), variants(("dumb", "TERM is 'dumb'"), ("", "TERM is ''")))
def test_a_terminal_without_a_cursor_is_refused_with_advice(term: str, why: str, tmp_path: Path) -> None:
    with terminal("top", folder=tmp_path, TERM=term) as screen:
        assert screen.end() == 64
    said = " ".join(screen.text.split())
    assert why in said and "`tickwarden top --once` prints one picture" in said and "\x1b" not in screen.raw


def test_a_pipe_is_refused_with_advice(tmp_path: Path) -> None:
    done = tickwarden_here("top", folder=tmp_path)
    said = " ".join(done.stderr.split())
    assert done.returncode == 64 and "put is not a terminal; `tickwarden top --once` prints one picture" in said


@pytest.mark.parametrize("width", [None, 80])
def test_a_problem_is_told_without_the_class_of_its_error(width: int | None) -> None:
    world = TopWorld()
    world.state, world.reasons = "degraded", ["ship is failed: LakeMisconfigured: s3://b/t: no such bucket"]
    said = " ".join(headline(world.status(), width))
    assert "ship is failed: s3://b/t: no such bucket" in said and "LakeMisconfigured" not in said


def restored(screen: Terminal, before: object) -> bool:
    """Whether the terminal is as it was: its own screen, its cursor, and how it treats keys."""
    ends = all(screen.raw.rindex(off) > screen.raw.rindex(on) for on, off in MODES)
    return ends and termios.tcgetattr(screen.side) == before


# What a full screen switches on, and what switches it off again: its own screen, no cursor, pasting in brackets.
MODES = [("\x1b[?1049h", "\x1b[?1049l"), ("\x1b[?25l", "\x1b[?25h"), ("\x1b[?2004h", "\x1b[?2004l")]


@pytest.mark.parametrize("way", variants("q", "\x03", signal.SIGINT, signal.SIGTERM, kept=2))
def test_it_ends_at_once_and_leaves_the_terminal_as_it_was(way: str | int, tmp_path: Path) -> None:
    """Although the service does not answer any more."""
    world = TopWorld()
    with serving(world, tmp_path / "s"), terminal("top", "--socket", "s", folder=tmp_path, NO_COLOR="1") as screen:
        before = termios.tcgetattr(screen.side)
        screen.until("all well")
        world.stuck.set()
        try:
            screen.press(way) if isinstance(way, str) else screen.send(way)
            assert screen.end() == 0
        finally:
            world.stuck.clear()
        assert restored(screen, before) and not COLOUR.search(screen.raw)


@pytest.mark.slow
def test_it_outlives_the_service_and_shows_the_next_one(sandbox: Sandbox, tmp_path: Path) -> None:
    config = sandbox.tables("binance", "bybit")
    with recording(tmp_path, config) as (service, process), terminal("top", folder=tmp_path) as screen:
        screen.until("all well")
        os.kill(service.pid, signal.SIGKILL)
        process.wait()
        screen.until("the service is gone since")
        with recording(tmp_path, config) as (again, _):
            screen.until(f"the service is back: pid {again.pid}")
            screen.press("f")
            screen.until("flush: done")
            screen.press("q")
            assert screen.end() == 0
