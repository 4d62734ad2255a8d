"""Kraken Futures numbers the trades of each product: the numbers show what is missing, the ids do not."""

import json
from functools import partial
from pathlib import Path

import pytest

from actors.exchanges.contract.feed import FeedDecoder
from actors.feed.decoder import Decoder
from actors.model.ticks import AFTER_BREAK, OFF_BOOK, Block
from tests.harness.exchange_cases import market_of
from tests.harness.exchange_server import (
    Client,
    Server,
    pipeline_of,
    query,
    recording,
    serving,
    settled,
    table,
    until,
)
from tests.harness.exchange_values import dialect_of

NOW_NS = 1_790_000_000_123_000_000


def row(number: int, product: str = "PI_XBTUSD", kind: str = "fill") -> dict[str, object]:
    trade = {"feed": "trade", "product_id": product, "uid": f"u{number}", "side": "sell", "type": kind}
    return {**trade, "seq": number, "time": 1790000000000 + number, "qty": 386.0, "price": 39054.5}


def frame(*numbers: int, product: str = "PI_XBTUSD", kind: str = "fill") -> bytes:
    """One trade, or the snapshot of several, newest first."""
    rows = [row(number, product, kind) for number in numbers]
    snapshot = {"feed": "trade_snapshot", "product_id": product, "trades": rows[::-1]}
    return json.dumps(rows[0] if len(rows) == 1 else snapshot).encode()


def connection(*symbols: str) -> FeedDecoder:
    markets = [market_of("krakenfutures", symbol) for symbol in symbols or ("BTC/USD:BTC",)]
    return dialect_of("krakenfutures").decoder_for({market.native: market for market in markets})


def test_a_trade_behind_a_hole_in_the_numbers_is_marked_also_when_its_frame_is_read_again() -> None:
    feed = connection()
    first = feed.trades([frame(5, 6, 7), frame(8)])
    assert first.trade_id == ["u5", "u6", "u7", "u8"] and first.snapshot == [True, True, True, False]
    assert first.breaks is None
    behind = [frame(9), frame(12), frame(13)]
    assert feed.trades(behind).breaks == [False, True, False]
    assert [feed.trades([one]).breaks for one in behind] == [None, [True], None]
    assert connection().trades([frame(99)]).breaks is None  # each connection has counts of its own


def test_each_product_has_its_own_numbers_whatever_the_case_of_its_name() -> None:
    feed = connection("BTC/USD:BTC", "AAPLx/USD:USD")
    trades = feed.trades([frame(5), frame(70, product="PF_AAPLXUSD"), frame(6), frame(71, product="pf_aaplxusd")])
    assert trades.native == ["PI_XBTUSD", "PF_AAPLxUSD", "PI_XBTUSD", "PF_AAPLxUSD"] and trades.breaks is None


def test_a_block_trade_is_off_the_book_and_a_liquidation_is_not() -> None:
    market, block = market_of("krakenfutures", "BTC/USD:BTC"), Block("krakenfutures")
    decoder = Decoder("krakenfutures", dialect_of("krakenfutures"), {market.native: market.symbol}, connection())
    kinds = ("fill", "block", "liquidation", "termination")
    outcome = decoder.read([frame(5 + at, kind=kind) for at, kind in enumerate(kinds)], NOW_NS, block)
    assert not outcome.rejects and block.source == ["stream", OFF_BOOK, "stream", "stream"]
    assert block.price[0] == "39054.5" and block.volume[0] == "386.0"


async def test_a_hole_in_the_numbers_is_a_gap_and_a_replay_is_none(tmp_path: Path) -> None:
    async def script(client: Client) -> None:
        await client.accept()
        await client.send(frame(5, 6, 7), frame(8), frame(5, 6, 7, 8), frame(9), frame(12), frame(13))
        await client.gone()

    server = Server(script)
    async with serving(server):
        tables = table("krakenfutures", "krakenfutures", ["BTC/USD:BTC"], server.url)
        async with recording(pipeline_of(tmp_path, tables)) as pipeline:
            account = pipeline.ledger.account("krakenfutures")
            await until(partial(settled, account, 11))
    ids = query(tmp_path, "SELECT trade_id FROM ticks ORDER BY timestamp")
    assert [trade_id for (trade_id,) in ids] == ["u5", "u6", "u7", "u8", "u9", "u12", "u13"]
    assert account.duplicates == 4
    gaps = query(tmp_path, "SELECT from_id, to_id, missing FROM gaps WHERE reason = 'sequence'")
    assert gaps == [("u9", "u12", None)]


@pytest.mark.parametrize(
    ("behind", "to_id"),
    [
        (frame(12, kind="block"), "u12"),
        (frame(12).replace(b"39054.5", b"0.0"), "u13"),
        (frame(12).replace(b"39054.5", b'"x"'), "u13"),
        (frame(12).replace(b'"sell"', b'"hold"'), "u13"),
    ],
)
async def test_a_hole_is_a_gap_also_if_the_row_behind_it_is_not_stored(
    tmp_path: Path, behind: bytes, to_id: str
) -> None:
    async def script(client: Client) -> None:
        await client.accept()
        await client.send(frame(5, 6, 7), frame(8), behind, frame(13), frame(14))
        await client.gone()

    server = Server(script)
    async with serving(server):
        tables = table("krakenfutures", "krakenfutures", ["BTC/USD:BTC"], server.url)
        async with recording(pipeline_of(tmp_path, tables)) as pipeline:
            await until(partial(settled, pipeline.ledger.account("krakenfutures"), 7))
    ids = query(tmp_path, "SELECT trade_id FROM ticks ORDER BY timestamp")
    assert [trade_id for (trade_id,) in ids] == ["u5", "u6", "u7", "u8", "u13", "u14"]
    gaps = query(tmp_path, "SELECT from_id, to_id, missing FROM gaps WHERE reason = 'sequence'")
    assert gaps == [("u8", to_id, None)]


def test_a_hole_before_a_snapshot_is_marked_too() -> None:
    market, block = market_of("krakenfutures", "BTC/USD:BTC"), Block("krakenfutures")
    decoder = Decoder("krakenfutures", dialect_of("krakenfutures"), {market.native: market.symbol}, connection())
    decoder.read([frame(5), frame(8, 9), frame(10)], NOW_NS, block)
    assert block.source == ["stream", AFTER_BREAK, "snapshot", "stream"]
