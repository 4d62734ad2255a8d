"""The lines of the live tap: which ticks, as which JSON, and how many."""

import json
from typing import Any

import trio

from actors.model.columns import PACK_ROWS_MIN
from actors.model.ticks import Block
from ops.control.limits import ControlLimits
from ops.service.tap_watcher import TapWatcher

NS = 1_790_000_000_123_456_789
LINES_MAX = ControlLimits().tap_lines_max


def block(exchange: str, *symbols: str, time_ns: int | None = NS) -> Block:
    made = Block(exchange)
    count = len(symbols)
    ids = [str(number) for number in range(count)]
    sides: list[str | None] = ["buy"] * count
    prices, volumes, sources = ["1.20"] * count, ["3"] * count, ["stream"] * count
    made.extend(list(symbols), [time_ns] * count, [NS] * count, prices, volumes, sides, ids, sources)
    return made


async def shown(watcher: TapWatcher, *blocks: Block) -> list[dict[str, Any]]:
    """The lines after the watcher was shown the blocks."""
    watcher.show(blocks)
    watcher.lines.close()
    data = b"".join([chunk async for chunk in watcher.lines])
    assert data.endswith(b"\n") or not data
    return [json.loads(line) for line in data.splitlines()]


def nobody() -> None:
    pass


async def test_a_line_has_the_columns_of_the_table_and_every_digit() -> None:
    (line,) = await shown(TapWatcher("", "", nobody), block("kraken", "BTC/USD"))
    assert line == {
        "exchange": "kraken",
        "symbol": "BTC/USD",
        "timestamp": "2026-09-21T14:13:20.123456Z",
        "received_at": "2026-09-21T14:13:20.123456Z",
        "price": "1.20",
        "volume": "3",
        "side": "buy",
        "trade_id": "0",
        "source": "stream",
    }
    (line,) = await shown(TapWatcher("", "", nobody), block("kraken", "BTC/USD", time_ns=None))
    assert line["timestamp"] is None


async def test_the_lines_of_several_blocks_keep_their_order() -> None:
    lines = await shown(TapWatcher("", "", nobody), block("a", "X", "Y"), block("b", "X"))
    assert [(line["exchange"], line["symbol"]) for line in lines] == [("a", "X"), ("a", "Y"), ("b", "X")]


async def test_only_the_wanted_exchange_and_symbol_are_shown() -> None:
    blocks = [block("a", "X", "Y", "X"), block("b", "X")]
    assert [line["trade_id"] for line in await shown(TapWatcher("a", "X", nobody), *blocks)] == ["0", "2"]
    assert [line["exchange"] for line in await shown(TapWatcher("b", "", nobody), *blocks)] == ["b"]
    assert await shown(TapWatcher("", "Z", nobody), *blocks) == []


async def test_what_there_is_no_room_for_is_counted_and_not_looked_at() -> None:
    watcher = TapWatcher("", "", nobody)
    watcher.show([block("a", *["X"] * (LINES_MAX - 1)), block("a", *["X"] * 3)])
    packed = block("a", *["X"] * PACK_ROWS_MIN)
    packed.pack()
    *lines, last = await shown(watcher, packed)
    assert len(lines) == LINES_MAX and lines[-1]["trade_id"] == "0"
    assert last == {"lagged": 2 + PACK_ROWS_MIN}
    assert packed.arrays is not None


async def test_a_reader_that_has_taken_all_asks_for_more() -> None:
    asked = trio.Event()
    watcher = TapWatcher("", "", asked.set)
    waiting = [watcher.waiting]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watcher.lines.__anext__)
        await asked.wait()
        waiting.append(watcher.waiting)
        watcher.show([block("a", "X")])
    assert [*waiting, watcher.waiting] == [False, True, False]
