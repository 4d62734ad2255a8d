"""Fills that share an id, some of them equal in every field, come from the history whole and once."""

import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, cast

import duckdb
import httpx
import pytest
import trio
from msgspec.structs import replace

from actors.backfill.fetcher import Fetcher
from actors.backfill.rate_limiter import RateLimiter
from actors.backfill.rest_client import RestClient
from actors.continuity.continuity import Continuity
from actors.exchanges.contract.feed import MS
from actors.exchanges.contract.history import RateLimit
from actors.model.records import GapStatus
from actors.model.ticks import Block, IdPromise, Reject
from supervisor import Context
from tests.harness.backfill_parts import BackfillParts, MadeUpHistory
from tests.harness.continuity_file import new_file
from tests.harness.continuity_rows import newest
from tests.harness.exchange_values import history_of

BASE_MS = 1_700_000_000_000
PAGE_ROWS = 4
TIME_ROWS_MAX = 3  # fills of one time: fewer than a page has rows
ALIKE = ("00000000-0000-0000-0000-00000000000a", "00000000-0000-0000-0000-00000000000b")


class Fill(NamedTuple):
    ms: int  # after BASE_MS
    id: str
    price: str
    volume: str


def bitmex(request: httpx.Request, fills: Sequence[Fill]) -> Any:
    """Oldest first; both times are inclusive, `start` is how many to pass over."""
    params = request.url.params
    low, high = (_ms(params[name]) for name in ("startTime", "endTime"))
    found = [fill for fill in fills if low <= fill.ms <= high]
    start = int(params.get("start", "0"))
    return [
        {
            "timestamp": f"{datetime.fromtimestamp(BASE_MS // 1000, UTC):%Y-%m-%dT%H:%M:%S}.{fill.ms:03d}Z",
            "symbol": params["symbol"],
            "side": "Buy",
            "size": int(fill.volume),
            "price": int(fill.price),
            "trdMatchID": fill.id,
            "homeNotional": 1,
        }
        for fill in found[start : start + int(params["count"])]
    ]


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000) - BASE_MS


def cryptocom(request: httpx.Request, fills: Sequence[Fill]) -> Any:
    """Newest first; the start is inclusive, the end is not."""
    params = request.url.params
    low, high = (int(params[name]) - BASE_MS * MS for name in ("start_ts", "end_ts"))
    found = [fill for fill in fills if low <= fill.ms * MS < high][::-1][: int(params["count"])]
    data = [
        {
            "d": fill.id,
            "t": BASE_MS + fill.ms,
            "q": fill.volume,
            "p": fill.price,
            "s": "BUY",
            "i": params["instrument_name"],
        }
        for fill in found
    ]
    return {"id": -1, "method": "public/get-trades", "code": 0, "result": {"data": data}}


Answer = Callable[[httpx.Request, Sequence[Fill]], Any]
VENUES = {"bitmex": ("BTC/USD:BTC", bitmex), "cryptocom": ("BTC/USD:USD", cryptocom)}


def made(seed: int) -> list[Fill]:
    """Fills of a few milliseconds; many share their id, and some are equal in every field."""
    chance = random.Random(seed)
    fills = []
    for ms in range(1, 20):
        ids = [f"00000000-0000-0000-0000-{ms:012}", *ALIKE]
        for _ in range(chance.randint(0, TIME_ROWS_MAX)):
            fills.append(Fill(ms, chance.choice(ids), chance.choice("12"), chance.choice("12")))
    return fills


def rows_of(block: Block) -> list[Fill]:
    columns = zip(block.exchange_ns, block.trade_id, block.price, block.volume, strict=True)
    return [Fill(cast(int, at) // MS - BASE_MS, str(one), price, volume) for at, one, price, volume in columns]


class World:
    """An outage of one market, between two trades that were delivered; the file has what was stored."""

    def __init__(self, name: str, fills: Sequence[Fill]) -> None:
        self._symbol, self._answer = VENUES[name]
        self._name, self._fills = name, [Fill(0, "first", "1", "1"), *fills, Fill(20, "last", "1", "1")]
        self._con = new_file()
        self.stored: Counter[Fill] = Counter()
        self.continuity = Continuity("x", {self._symbol: IdPromise.REPEATED})
        self.continuity.connected([self._symbol], BASE_MS * MS, 1)
        self._live(self._fills[0])
        self.continuity.disconnected([self._symbol], (BASE_MS + 1) * MS, session=1)
        self._parts = BackfillParts(self.continuity, self._symbol, name, self._consult)

    def _live(self, fill: Fill) -> None:
        block, at_ns = Block("x"), (BASE_MS + fill.ms) * MS
        block.extend([self._symbol], [at_ns], [at_ns], [fill.price], [fill.volume], ["buy"], [fill.id], ["stream"])
        self.continuity.deduplicator.admit(block, 0, None, 0.0, session=1 + fill.ms)
        self._write(block)

    def back(self, *live: Fill) -> None:
        """The market is delivered again, from the last trade on; `live` came as well, on the new connection."""
        self.continuity.connected([self._symbol], (BASE_MS + 20) * MS, 21)
        for fill in (*live, self._fills[-1]):
            self._live(fill)

    def _write(self, block: Block) -> None:
        self.stored.update(rows_of(block))
        for fill in rows_of(block):
            self._con.execute(
                "INSERT INTO store.ticks VALUES ('x', ?, make_timestamptz(?), now(), ?, ?, 'buy', ?, 'stream', 1)",
                [self._symbol, (BASE_MS + fill.ms) * 1000, fill.price, fill.volume, fill.id],
            )

    async def _consult(self, question: Callable[[duckdb.DuckDBPyConnection], Any]) -> Any:
        await self._flush()
        return question(self._con)

    async def _flush(self) -> None:
        for chunk in await self._parts.sent():
            self._write(chunk.block)
            self._states += chunk.gaps

    def _answered(self, request: httpx.Request) -> httpx.Response:
        body = json.dumps(self._answer(request, self._fills)).encode()
        return httpx.Response(200, stream=httpx.ByteStream(body))

    async def fill(self, page_rows: int = PAGE_ROWS) -> None:
        """Has the backfill fetch the outage."""
        self._states: list[Any] = []
        history = replace(history_of(self._name), page_rows=page_rows)
        free = RateLimiter([RateLimit(name=one.name, units=1e9, window_s=1, burst=1e8) for one in history.limits])
        rest = RestClient(history, free, transport=httpx.MockTransport(self._answered))
        fetcher = Fetcher("x", history, "trade", rest, reject=_no_reject, promises=self.continuity.promises)
        with trio.fail_after(1000):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._parts.worker(cast(MadeUpHistory, fetcher)).run, Context("x:backfill"))
                while self.continuity.unfinished():  # noqa: ASYNC110 - there is no event for it
                    await trio.sleep(0.1)
                nursery.cancel_scope.cancel()
        await self._flush()
        (gap,) = newest(self._states).values()
        assert gap.status is GapStatus.FILLED


def _no_reject(reject: Reject) -> None:
    raise AssertionError(reject)


every_venue = pytest.mark.parametrize("name", VENUES)


@every_venue
@pytest.mark.parametrize("seed", range(4))
async def test_fills_that_share_an_id_are_all_fetched_and_stored_once(
    name: str, seed: int, autojump_clock: trio.testing.MockClock
) -> None:
    """Several pages a round and several rounds: pages and rounds end between fills of one id and one time."""
    fills = made(seed)
    world = World(name, fills)
    world.back()
    await world.fill()
    assert world.stored == Counter([Fill(0, "first", "1", "1"), *fills, Fill(20, "last", "1", "1")])


@every_venue
async def test_fills_of_one_id_in_a_page_are_all_stored(name: str, autojump_clock: trio.testing.MockClock) -> None:
    fills = [Fill(1, ALIKE[0], "1", "1"), Fill(1, ALIKE[0], "1", "2"), *[Fill(2, ALIKE[0], "1", "1")] * 2]
    world = World(name, fills)
    world.back()
    await world.fill(100)
    assert world.stored[fills[2]] == 2 and world.stored.total() == 2 + len(fills)


@every_venue
async def test_a_fill_that_came_live_is_not_stored_again_beside_its_twins(
    name: str, autojump_clock: trio.testing.MockClock
) -> None:
    """The connection is back between two equal fills."""
    fills = [Fill(19, ALIKE[0], "1", "1")] * 3
    world = World(name, fills)
    world.back(fills[0])
    await world.fill()
    assert world.stored[fills[0]] == 3
