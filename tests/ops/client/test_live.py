"""Live ticks come each once and in order, whatever the tap leaves out and wherever a reader stops."""

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.client import NoService, Position, PositionLost, ProblemReply, QueryError, Tick, live, replay
from ops.client.live import RECENT_US, Live
from tests.harness.amounts import amount, variants
from tests.harness.cli_process import sandbox
from tests.harness.live_world import World, world
from tests.harness.service_process import recording
from tests.harness.store_harness import memory_folder
from tests.harness.tick_streams import BEGAN_US, tick

PATIENCE_S = 15.0
LATEST_US = 3_000_000  # how late ticks are here
MARKETS = (("binance", "BTC/USDT"), ("kraken", "BTC/USD"), ("okx", "ETH/USDT"))
_NUMBERS = count(1)


def chunk(market: int = 0, rows: int = 3, *, late_us: int = 0, alike: bool = False) -> list[Tick]:
    """Ticks of one exchange received just now; `alike` in every column, as where trades have no ids."""
    exchange, symbol = MARKETS[market]
    now_us = time.time_ns() // 1000 - BEGAN_US - late_us
    ids = [None if alike else str(next(_NUMBERS)) for _ in range(rows)]
    return [tick(exchange, symbol, at_us=now_us + (0 if alike else at), trade_id=one) for at, one in enumerate(ids)]


async def read(stream: Live, most: int) -> list[Tick]:
    """The next ticks of a stream, which is then left."""
    found: list[Tick] = []
    if not most:
        return found
    with trio.fail_after(PATIENCE_S):
        async with aclosing(aiter(stream)) as ticks:
            async for one in ticks:
                found.append(one)
                if len(found) == most:
                    break
    return found


def prompt(taken: Sequence[Tick]) -> list[Tick]:
    """Those that did not arrive late: nothing that was received after them arrived before them."""
    newest, found = 0, []
    for one in taken:
        if one.received_us >= newest:
            newest = one.received_us
            found.append(one)
    return found


END = {"market": 0, "rows": 1, "late_us": 0, "alike": False, "pause_s": 0.0, "durable": True, "before_s": 0.2}
CHUNK: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict,
    market=st.integers(0, 2),
    rows=st.integers(1, 6),
    late_us=st.sampled_from([0, 0, 0, LATEST_US - 100_000]),
    alike=st.sampled_from([False, False, True]),
    pause_s=st.sampled_from([0, 0, 0.004]),
    durable=st.sampled_from([False, False, True]),
)


@given(
    sessions=st.lists(
        st.tuples(st.lists(CHUNK, min_size=1, max_size=6), st.integers(0, 9)), min_size=1, max_size=3
    ),
    lines_max=st.sampled_from([1, 4, 1000]),
    hold_s=st.sampled_from([0.0, 0.002]),
    old=st.booleans(),
)
@settings(max_examples=amount(4, 80), deadline=None)
def test_whatever_is_left_out_and_wherever_the_reader_stops_each_tick_comes_once_in_order(
    sessions: list[tuple[list[dict[str, Any]], int]], lines_max: int, hold_s: float, old: bool
) -> None:
    """In each session chunks arrive while the reader reads so many ticks; the next one goes on from there."""

    async def check() -> None:
        with memory_folder() as folder:
            async with world(folder, lines_max) as served:
                await follow(served, sessions, hold_s, old=old)

    trio.run(check)


async def follow(
    served: World, sessions: list[tuple[list[dict[str, Any]], int]], hold_s: float, *, old: bool
) -> None:
    first = tick(at_us=0) if old else chunk(rows=1)[0]
    served.take([first])
    served.flush()
    position: Position | None = None
    delivered: list[Tick] = []
    last = ([*sessions[0][0], END], -1)  # its last tick comes when all others have: what is delivered twice shows
    for chunks, most in [*sessions, last]:
        stream = live(served.socket, after=position or first.received_us - LATEST_US, hold_s=hold_s)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(arriving, served, chunks)
            rest = len(served.taken) + sum(how["rows"] for how in chunks) - len(delivered)
            delivered += await read(stream, rest if most < 0 else min(most, rest))
        if stream.position is not None:
            position = Position.decoded(stream.position.encoded())  # as if it was kept in a file meanwhile
        served.store.merge()
    assert Counter(delivered) == Counter(served.taken)
    on_time = Counter(prompt(served.taken))
    ordered = [one.received_us for one in delivered if one in on_time]
    assert ordered == sorted(ordered)


async def arriving(served: World, chunks: list[dict[str, Any]]) -> None:
    """Chunks, once the reader listens, or at once if it does not; all of it is durable in the end."""
    with trio.move_on_after(0.1):
        while not served.watchers:
            served.flush()
            await trio.sleep(0.01)
    for how in chunks:
        await trio.sleep(how.get("before_s", 0.0))
        served.take(chunk(how["market"], how["rows"], late_us=how["late_us"], alike=how["alike"]))
        if how["durable"]:
            served.flush()
        await trio.sleep(how["pause_s"])
    served.flush()


async def test_a_reader_that_has_stopped_for_a_while_misses_nothing_and_gets_nothing_twice(tmp_path: Path) -> None:
    async with world(tmp_path) as served:
        served.take(chunk(0, 5))
        served.flush()
        stream = live(served.socket, after=served.taken[0].received_us)
        first = await read(stream, 3)
        served.take(chunk(1, 4))
        served.flush()
        assert first + await read(stream, 6) == served.taken  # the same stream goes on where it was left
        assert await read(live(served.socket, after=first[-1]), 6) == served.taken[3:]


@pytest.mark.parametrize("stopped_after", variants(2, 4, 7, 1, 3, 5, 6, kept=3))
async def test_a_late_tick_comes_once_wherever_the_reader_stops(stopped_after: int, tmp_path: Path) -> None:
    """Late are two ticks: the file has them behind some that were received after them."""
    async with world(tmp_path) as served:
        now_us = time.time_ns() // 1000 - BEGAN_US
        order = [(0, "a"), (1, "b"), (2, "c"), (-500_000, "late"), (-400_000, "later"), (3, "d"), (4, "end")]
        first, *ticks, end = (tick(at_us=now_us + at, trade_id=name) for at, name in order)
        served.take([first])
        served.flush()
        stream, found = live(served.socket, after=first.received_us - LATEST_US, hold_s=0.0), list[Tick]()
        with trio.fail_after(PATIENCE_S):
            async with aclosing(aiter(stream)) as coming:
                async for one in coming:
                    found.append(one)
                    if len(found) == min(stopped_after, 6):
                        break
                    served.take([ticks[len(found) - 1]])  # the next one is shown by the tap
        for other in ticks[len(found) - 1 :]:
            served.take([other])
        assert found == [first, *ticks][:stopped_after] and stream.position is not None
        served.take([end])
        served.flush()
        resumed = live(served.socket, after=Position.decoded(stream.position.encoded()), hold_s=0.0)
        found += await read(resumed, 7 - len(found))
        assert Counter(found) == Counter([first, *ticks, end]) and found[-1] == end


async def test_only_the_wanted_markets_come_also_from_the_file(tmp_path: Path) -> None:
    for exchanges, symbols in (((), "BTC/*"), ("binance", ()), (("binance", "kraken"), ("BTC/USDT",))):
        folder = tmp_path / f"{len(exchanges)}{len(symbols)}"
        folder.mkdir()
        async with world(folder, lines_max=2) as served:
            served.take(chunk(0, 2))
            served.flush()
            stream = live(served.socket, after=served.taken[0], exchanges=exchanges, symbols=symbols)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(arriving, served, [how(market) for market in (1, 0, 2, 1, 0)])
                wanted = stream._wanted
                found = await read(stream, 1)
            rest = [one for one in served.taken[1:] if wanted.matches(one.exchange, one.symbol)]
            assert found + await read(stream, len(rest) - 1) == rest


def how(market: int) -> dict[str, Any]:
    return {"market": market, "rows": 3, "late_us": 0, "alike": False, "pause_s": 0.0, "durable": False}


async def test_ticks_are_put_in_order_while_they_are_held(tmp_path: Path) -> None:
    async with world(tmp_path) as served:
        now_us = time.time_ns() // 1000 - BEGAN_US
        first, second, third = (tick("okx", at_us=now_us + at, trade_id=str(at)) for at in (0, 10, 20))
        stream = live(served.socket, after=first.received_us - 1, hold_s=1.0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(arriving, served, [])

            async def arrive() -> None:
                await trio.sleep(0.3)  # what the file holds has been read
                for one in (third, first, second):
                    served.take([one])

            nursery.start_soon(arrive)
            assert await read(stream, 3) == [first, second, third]


async def test_a_stream_begins_with_what_is_received_after_it_subscribed(tmp_path: Path) -> None:
    """Of what was received before, the tap has shown a part already: the first tick would hide a hole."""
    async with world(tmp_path) as served, trio.open_nursery() as nursery:
        late = {**how(0), "late_us": 1_000_000}
        nursery.start_soon(arriving, served, [late, {**how(1), "before_s": 0.05}])
        assert await read(live(served.socket), 3) == served.taken[3:]


async def test_what_the_tap_leaves_out_before_the_first_tick_comes_from_the_file(tmp_path: Path) -> None:
    async with world(tmp_path, lines_max=1) as served, trio.open_nursery() as nursery:
        nursery.start_soon(arriving, served, [{**how(0), "rows": 5}, {**how(0), "before_s": 0.3}])
        assert await read(live(served.socket, hold_s=0.2), 8) == served.taken


@pytest.mark.parametrize("old", [True, False])
async def test_nothing_that_was_received_before_the_wanted_time_comes_even_if_it_arrives_later(
    old: bool, tmp_path: Path
) -> None:
    """From the tap as from the file, also where a stream goes on after a part was left out."""
    async with world(tmp_path, lines_max=8) as served, trio.open_nursery() as nursery:
        late = {**how(1), "late_us": 1_000_000, "before_s": 0.1}
        since_us = chunk()[0].received_us - 100_000 * old
        nursery.start_soon(arriving, served, [how(0), late, how(2), {**late, "rows": 9}, how(0)])
        found = await read(live(served.socket, after=since_us, hold_s=0.0), 9)
        assert found == [one for one in served.taken if one.received_us >= since_us]


async def test_what_is_read_from_the_file_is_durable_whatever_the_clock_was_before(tmp_path: Path) -> None:
    """One batch was sealed when the clock was a day ahead; now the newest is old, and ticks wait to be stored."""
    async with world(tmp_path) as served, trio.open_nursery() as nursery:
        served.take(chunk())
        served.flush(time.time_ns() + 86_400_000_000_000)
        served.take(chunk(1))
        served.flush(time.time_ns() - 1)
        began_us, waiting = served.taken[0].received_us, chunk(2)
        served.take(waiting)

        async def store_later() -> None:
            served._flushed_ns = time.time_ns() + 1_000_000_000  # the service has stored, the file is older
            await trio.sleep(0.3)
            served.flush(time.time_ns() + 1_000_000_000)

        nursery.start_soon(store_later)
        assert await read(live(served.socket, after=began_us), 9) == served.taken


async def test_a_stream_goes_on_where_it_was_when_the_clock_had_been_ahead(tmp_path: Path) -> None:
    """It was an hour ahead and is right again: what was recorded since was received before the position."""
    async with world(tmp_path) as served, trio.open_nursery() as nursery:
        served.take(chunk(rows=4, late_us=-3_600_000_000))
        served.flush()
        stream = live(served.socket, after=served.taken[0].received_us, hold_s=0.0)
        found = await read(stream, 4)
        for most in (6, 3):  # the second time the position itself has ticks from before and after
            served.take(chunk(1))
            served.flush()
            if most == 6:
                nursery.start_soon(arriving, served, [how(2)])
            assert stream.position is not None
            stream = live(served.socket, after=Position.decoded(stream.position.encoded()), hold_s=0.0)
            found += await read(stream, most)
        assert Counter(found) == Counter(served.taken)
        with pytest.raises(PositionLost, match="clock"):
            await read(live(served.socket, after=found[0]), 1)


@pytest.mark.parametrize(("interval_s", "comes"), [(30.0, True), (0.0, False), (None, False)])
async def test_it_waits_as_long_as_the_service_takes_to_store(
    interval_s: float | None, comes: bool, tmp_path: Path
) -> None:
    async with world(tmp_path) as served, trio.open_nursery() as nursery:
        served.flush_interval_s = interval_s
        served.take(chunk())

        async def store_later() -> None:
            await trio.sleep(0.5)
            served.flush()

        nursery.start_soon(store_later)
        stream = live(served.socket, after=served.taken[0].received_us, timeout_s=0.1)
        if comes:
            assert await read(stream, 3) == served.taken
        else:
            with pytest.raises(QueryError, match="not durable"):
                await read(stream, 3)


async def test_a_strategy_that_falls_behind_while_it_catches_up_holds_no_backlog_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is read portion by portion until little is missing, and only then beside the subscription."""
    now_ns, ahead_ns = time.time_ns, 0
    monkeypatch.setattr(time, "time_ns", lambda: now_ns() + ahead_ns)
    old_us = RECENT_US + 1_000_000
    async with world(tmp_path) as served:
        served.take(chunk(late_us=old_us))
        served.flush()
        found, subscribed = list[Tick](), list[bool]()
        with trio.fail_after(PATIENCE_S):
            async with aclosing(aiter(live(served.socket, after=served.taken[0].received_us))) as ticks:
                async for one in ticks:
                    found.append(one)
                    subscribed.append(bool(served.watchers))
                    if len(found) == 1:  # with this one the strategy is busy for long
                        ahead_ns = 2000 * RECENT_US
                        served.take(chunk(rows=9, late_us=old_us))
                        served.flush()
                    if len(found) == len(served.taken):
                        break
        assert found == served.taken and not any(subscribed)


async def test_a_service_that_is_not_there_or_ends_is_reported(tmp_path: Path) -> None:
    with pytest.raises(NoService, match="tickwarden run"):
        await read(live(tmp_path / "socket"), 1)
    async with world(tmp_path) as served, trio.open_nursery() as nursery:
        nursery.start_soon(arriving, served, [how(0)])
        stream = live(served.socket)
        await read(stream, 1)
        nursery.cancel_scope.cancel()
    with pytest.raises(NoService):
        await read(stream, 1)


@pytest.mark.parametrize("exchanges", ["nope", ("nope", "nopf"), ("binance", "nope", "okx")])
async def test_an_exchange_that_the_service_does_not_know_is_reported(
    exchanges: str | Sequence[str], tmp_path: Path
) -> None:
    async with world(tmp_path) as served:
        with pytest.raises(ProblemReply, match="no exchange is called 'nope'"):
            await read(live(served.socket, exchanges=exchanges), 1)


async def test_a_position_that_the_file_does_not_hold_is_not_guessed(tmp_path: Path) -> None:
    async with world(tmp_path) as served:
        served.take(chunk())
        served.flush()
        with pytest.raises(PositionLost, match="pass a time"):
            await read(live(served.socket, after=chunk()[0]), 1)


def test_it_runs_under_asyncio_too(tmp_path: Path) -> None:
    with (
        sandbox(tmp_path) as config,
        recording(tmp_path, config) as (service, _),
    ):
        found: list[Tick] = []

        async def collect() -> None:
            async with aclosing(aiter(live(service.folder / "ticks.duckdb.sock"))) as ticks:
                async for one in ticks:
                    found.append(one)
                    if len(found) == 20:
                        break

        anyio.run(collect, backend="asyncio")
        assert len(found) == 20


@pytest.mark.slow
def test_of_a_real_service_a_reader_that_stops_and_lags_gets_what_the_file_holds(tmp_path: Path) -> None:
    """Two seconds of five exchanges; the reader sleeps in between for longer than the tap keeps lines for it."""
    with sandbox(tmp_path, rate=500.0) as config, recording(tmp_path, config) as (service, _):

        async def follow() -> tuple[list[Tick], int]:
            stream, found = live(service.folder / "ticks.duckdb.sock"), list[Tick]()
            for pause_s in (0.7, 0.0, 0.7, 0.0):
                found += await read(stream, 300)
                time.sleep(pause_s)  # blocks the loop
            async with aclosing(aiter(stream)) as ticks:
                async for one in ticks:
                    found.append(one)
                    if len(found) % 500 == 0:
                        time.sleep(0.5)
                    if len(found) >= 4000:
                        return found, one.received_us
            raise AssertionError

        found, _ = trio.run(follow)
    stored = list(replay(tmp_path / "ticks.duckdb", found[0].received_us))
    assert len(found) == len(set(found)) == 4000
    newest = max(one.received_us for one in found)
    missing = [one for one in stored if one.received_us < newest and one not in set(found)]
    assert {one.received_us for one in missing} <= {found[0].received_us}
