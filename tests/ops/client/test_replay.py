"""Stored ticks come back each once, exact, and in the order in which they were received, whatever holds them."""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from random import Random

import anyio
import duckdb
import pytest
import trio
import trio.testing

from ops.client import QueryError, Tick, replay
from ops.client.replay import Replay
from ops.client.tick import TickFilter
from ops.client.windows import COLUMNS, recording, windows
from ops.export.export import export
from tests.harness.recording_samples import ask, settings, store
from tests.harness.tick_streams import BEGAN_US, tick, write

MARKETS = [
    *(("binance", "BTC/USDT"), ("binance", "ETH/USDT"), ("binance", "BTC/USDT:USDT")),
    *(("kraken", "BTC/USD"), ("deribit", "BTC/USD:BTC"), ("deribit", "BTC/USD:BTC-261225")),
]


def chunks(count: int = 60, rows: int = 20) -> list[list[Tick]]:
    """Chunks of several exchanges in the order in which they are stored, whose times overlap."""
    random, made, number = Random(7), [], 0
    for at in range(count):
        exchange = random.choice([name for name, _ in MARKETS])
        times = sorted(at * 1000 + random.randrange(3000) // 500 * 500 for _ in range(rows))
        chunk = []
        for at_us in times:
            number += 1
            symbol = random.choice([symbol for name, symbol in MARKETS if name == exchange])
            side = random.choice(["buy", "sell", None])
            price = f"{60000 + number / 7:.{number % 9}f}"
            chunk.append(tick(exchange, symbol, at_us=at_us, trade_id=str(number), price=price, side=side))
        made.append(chunk)
    return made


def in_order(stored: list[list[Tick]]) -> list[Tick]:
    """By receipt; ticks of the same moment as they were stored."""
    return sorted((one for chunk in stored for one in chunk), key=lambda one: one.received_us)


@contextmanager
def recorded(folder: Path, stored: list[list[Tick]]) -> Iterator[Path]:
    """A file that a service writes: some rows are merged, some compacted in the tail, some just flushed."""
    chosen = settings(folder)
    with store(chosen) as made:
        for at, chunk in enumerate(stored):
            write(made, [chunk])
            if at == len(stored) // 3:
                made.merge()
            if at == 2 * len(stored) // 3:
                made.compact()
        yield chosen.path


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with recorded(tmp_path_factory.mktemp("recorded"), chunks()) as path:
        yield path


def test_ticks_of_all_exchanges_come_in_the_order_of_receipt_then_of_arrival(file: Path) -> None:
    assert list(replay(file)) == in_order(chunks())


def test_a_standalone_copy_and_a_file_after_a_clean_stop_replay_the_same(file: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.duckdb"
    export(file, copy)
    assert list(replay(copy)) == in_order(chunks())
    chosen = settings(tmp_path)
    with store(chosen) as made:
        write(made, chunks())
        made.finish(lambda: False)
    assert list(replay(chosen.path)) == in_order(chunks())


@pytest.mark.parametrize("window_rows", [1, 13, 100_000])
def test_windows_of_any_size_lose_and_repeat_nothing(window_rows: int, file: Path) -> None:
    until_us = BEGAN_US + 10_000
    cut = Replay(file, None, until_us, TickFilter(), None, 5.0, window_rows)
    expected = [one for one in in_order(chunks()) if one.received_us < until_us]
    assert list(cut) == expected
    assert sum(batch.num_rows for batch in cut.batches()) == len(expected)


@pytest.mark.parametrize("sparse", [0, 6])
def test_no_window_is_larger_than_twice_what_is_wanted_also_after_a_quiet_time(sparse: int, tmp_path: Path) -> None:
    """After days of nothing, or of a tick a day, a window as wide as that would be read whole into memory."""
    days_us = 86_400_000_000
    quiet = [tick(at_us=day * days_us, trade_id=str(day)) for day in range(1 + sparse)]
    flood = [tick(at_us=30 * days_us + at, trade_id=f"f{at}") for at in range(2000)]
    with recorded(tmp_path, [quiet, flood]) as path, recording(path, 5.0) as src:
        sizes = []
        for window in windows(src, "true", None, None, 100):
            sizes.append(sum(batch.num_rows for batch in window.read(COLUMNS)))
    assert sum(sizes) == len(quiet) + len(flood) and max(sizes) <= 200 and len(sizes) < 100


def test_batches_have_the_columns_and_types_of_the_table(file: Path) -> None:
    batches = list(replay(file).batches())
    columns = [row[:2] for row in ask(file, "DESCRIBE ticks")][:-1]  # without `fills`
    con = duckdb.connect()
    rows = []
    for batch in batches:
        con.register("batch", batch)
        described = con.execute("DESCRIBE batch").fetchall()
        assert [row[:2] for row in described] == columns
        rows += con.execute("SELECT exchange, symbol, epoch_us(received_at), price, trade_id FROM batch").fetchall()
        con.unregister("batch")
    expected = [(t.exchange, t.symbol, t.received_us, t.price, t.trade_id) for t in in_order(chunks())]
    assert rows == expected


def test_a_time_range_is_of_the_receipt_and_without_its_end(file: Path) -> None:
    since, until = BEGAN_US + 10_000, BEGAN_US + 30_500
    wanted = [one for one in in_order(chunks()) if since <= one.received_us < until]
    assert 0 < len(wanted) < len(in_order(chunks()))
    assert list(replay(file, since, until)) == wanted
    times = [one.received_at for one in wanted]
    assert list(replay(file, times[0], times[-1])) == [one for one in wanted if one.received_at < times[-1]]
    assert list(replay(file, "2020-01-01", "2020-01-02T00:00:00Z")) == []


@pytest.mark.parametrize(
    ("exchanges", "symbols", "markets"),
    [
        ("kraken", (), {("kraken", "BTC/USD")}),
        (("kraken", "binance"), "BTC/*", {("kraken", "BTC/USD"), ("binance", "BTC/USDT")}),
        ((), "*/USDT", {("binance", "BTC/USDT"), ("binance", "ETH/USDT")}),
        ((), ("*/USDT:USDT", "BTC/USD:BTC-*"), {MARKETS[2], MARKETS[5]}),
        ("deribit", "BTC/USD:BTC", {MARKETS[4]}),
        ("nobody", (), set()),
    ],
)
def test_exchanges_and_symbols_with_wildcards_as_in_the_configuration(
    exchanges: str, symbols: str, markets: set[tuple[str, str]], file: Path
) -> None:
    wanted = [one for one in in_order(chunks()) if (one.exchange, one.symbol) in markets]
    assert list(replay(file, exchanges=exchanges, symbols=symbols)) == wanted
    match = TickFilter(*((one,) if isinstance(one, str) else one for one in (exchanges, symbols)))
    assert {market for market in MARKETS if match.matches(*market)} == markets


def test_every_digit_and_every_null_comes_back(tmp_path: Path) -> None:
    odd = [
        tick(price="0.000000000000000001", volume="12345678901234567890.123456789012345678", trade_id=None),
        tick(at_us=1, price="100", volume="1000000", side=None, trade_id='a "b" c'),
    ]
    with recorded(tmp_path, [odd]) as path:
        found = list(replay(path))
    assert found == odd and found[1].timestamp_us is None
    assert [f"{one.price:f}" for one in found] == ["0.000000000000000001", "100"]
    assert found[0].volume == Decimal("12345678901234567890.123456789012345678")


def test_a_tick_that_arrives_while_the_file_is_replayed_changes_nothing(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    with store(chosen) as made:
        write(made, chunks())
        ticks = iter(replay(chosen.path))
        first = next(ticks)
        write(made, [[tick(at_us=5, trade_id="later")]])
        made.compact()
        assert [first, *ticks] == in_order(chunks())
        assert len(list(replay(chosen.path))) == len(in_order(chunks())) + 1


async def test_speed_keeps_the_intervals_of_the_recording_and_other_tasks_run(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    slow = [tick(at_us=at * 10_000_000, trade_id=str(at)) for at in range(4)]
    with recorded(tmp_path, [slow]) as path:
        for speed, last_s in ((1.0, 30.0), (10.0, 3.0)):
            began, times = trio.current_time(), []
            async for _ in replay(path, speed=speed):
                times.append(trio.current_time() - began)
            assert times == pytest.approx([last_s * at / 3 for at in range(4)], abs=0.1)


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_it_is_iterated_under_trio_and_asyncio(backend: str, file: Path) -> None:
    async def collect() -> list[Tick]:
        return [one async for one in replay(file, exchanges="kraken")]

    assert anyio.run(collect, backend=backend) == list(replay(file, exchanges="kraken"))


def test_what_is_wrong_is_said_before_the_first_tick(file: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no wildcard"):
        replay(file, symbols="*USDT")
    with pytest.raises(ValueError, match="not a time"):
        replay(file, "yesterday")
    with pytest.raises(ValueError, match="above 0"):
        replay(file, speed=0)
    with pytest.raises(ValueError, match="no time zone"):
        replay(file, in_order(chunks())[0].received_at.replace(tzinfo=None))
    with pytest.raises(QueryError, match="no such file"):
        next(iter(replay(tmp_path / "nothing.duckdb")))
