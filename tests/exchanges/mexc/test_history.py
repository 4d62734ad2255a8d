"""MEXC's history has no ids, its stream has: a trade that both deliver is stored once."""

import json
import time
from collections.abc import Sequence
from typing import Any

import pytest
from msgspec import Struct

from tests.harness.refetch import MS, Refetch

HEAD = b"\x0a\x2espot@public.aggre.deals.v3.api.pb@10ms@BTCUSDT\x1a\x07BTCUSDT"
FIRST_MS = time.time_ns() // MS - 60_000  # before now, as no trade is made in the future


class Deal(Struct, frozen=True):
    """A trade of one price and volume."""

    ms: int
    trade_id: str


# Seconds 3 to 5 are missed; in second 2 two equal trades are made.
TAPE = [Deal(FIRST_MS + 1000 * at, str(700 + at)) for at in (0, 1, 2, 3, 4, 5, 6, 7, 8)]
TAPE.insert(3, Deal(TAPE[2].ms, "799"))
BEFORE, MISSED, AFTER = TAPE[:4], TAPE[4:7], TAPE[7:]


def sized(key: bytes, data: bytes) -> bytes:
    return key + bytes([len(data)]) + data


def varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def spot_frame(deal: Deal, *, named: bool) -> bytes:
    fields = sized(b"\x0a", b"77526.1") + sized(b"\x12", b"0.01") + b"\x18\x01\x20" + varint(deal.ms)
    if named:
        fields += sized(b"\x2a", deal.trade_id.encode())
    return HEAD + sized(b"\xd2\x13", sized(b"\x0a", fields))


def swap_row(deal: Deal, *, named: bool) -> dict[str, Any]:
    row = {"p": 77526.1, "v": 208, "T": 1, "O": 3, "M": 2, "t": deal.ms}
    return {**row, "i": deal.trade_id} if named else row


def swap_frame(deal: Deal) -> bytes:
    row = swap_row(deal, named=True)
    return json.dumps({"symbol": "BTC_USDT", "data": [row], "channel": "push.deal", "ts": deal.ms}).encode()


def spot_answer(tape: Sequence[Deal]) -> Any:
    row = {"id": None, "price": "77526.10", "qty": "0.01", "isBuyerMaker": False, "isBestMatch": True}
    return [{**row, "time": deal.ms} for deal in reversed(tape)]


def swap_answer(tape: Sequence[Deal], *, named: bool) -> Any:
    return {"success": True, "code": 0, "data": [swap_row(deal, named=named) for deal in reversed(tape)]}


async def stored_of(world: Refetch, frames: Sequence[bytes]) -> None:
    """All but the missed trades live on two connections, then the range around these from the history."""
    for session, part in ((1, BEFORE), (2, AFTER)):
        for deal in part:
            world.live(frames[TAPE.index(deal)], deal.ms * MS, session=session)
    result = await world.fetch(BEFORE[-1].ms * MS, AFTER[0].ms * MS)
    assert result.complete


def times_of(world: Refetch) -> list[int]:
    return sorted(made_ns // MS for _, made_ns, _ in world.stored.elements())


@pytest.mark.parametrize("named", [True, False], ids=["with ids", "without ids"])
async def test_a_spot_trade_that_is_fetched_beside_a_live_one_is_stored_once(named: bool) -> None:
    world = Refetch("mexc", "BTC/USDT", "deals", lambda _request: spot_answer(TAPE))
    await stored_of(world, [spot_frame(deal, named=named) for deal in TAPE])
    assert times_of(world) == sorted(deal.ms for deal in TAPE)
    ids = {trade_id for trade_id, _, source in world.stored if source == "stream"}
    assert ids == ({deal.trade_id for deal in (*BEFORE, *AFTER)} if named else {None})
    assert {ms for _, ms, source in world.stored if source == "backfill"} == {deal.ms * MS for deal in MISSED}


@pytest.mark.parametrize("named", [True, False], ids=["with ids", "as documented"])
async def test_a_contract_s_trade_is_stored_once_whether_the_history_has_ids_or_not(named: bool) -> None:
    world = Refetch("mexc", "BTC/USDT:USDT", "deals", lambda _request: swap_answer(TAPE, named=named))
    await stored_of(world, [swap_frame(deal) for deal in TAPE])
    assert times_of(world) == sorted(deal.ms for deal in TAPE)
    fetched = {trade_id for trade_id, _, source in world.stored if source == "backfill"}
    assert fetched == ({deal.trade_id for deal in MISSED} if named else {None})
