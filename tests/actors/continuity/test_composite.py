"""Trades without ids, or with ids that several share: each is stored once, however often it is delivered."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import duckdb
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from actors.backfill.stored_trades import StoredTrades
from actors.continuity.continuity import Continuity
from actors.continuity.restore import read_states
from actors.continuity.twins import StoredTwins, twin_of
from actors.model.records import GapReason, GapStatus
from actors.model.ticks import Block, IdPromise
from tests.harness.continuity_file import new_file, put_tick
from tests.harness.continuity_rows import BTC, SECOND_NS, T0_NS, newest, one
from tests.harness.memory_exchange import Venue, recorded, seen

Trade = tuple[int, str | None, str]  # time in ms, id, price

PROMISES = [IdPromise.NONE, IdPromise.REPEATED]
every_promise = pytest.mark.parametrize("promise", PROMISES)


def read(trades: Iterable[Trade], source: str = "backfill") -> Block:
    block = Block("x")
    for ms, trade_id, price in trades:
        made_ns = T0_NS + ms * 1_000_000
        block.extend([BTC], [made_ns], [made_ns], [price], ["1"], ["buy"], [trade_id], [source])
    return block


def taken(
    continuity: Continuity,
    trades: Sequence[Trade],
    *,
    session: int = 1,
    source: str = "stream",
    known: StoredTwins | None = None,
) -> list[Trade]:
    """Those of one read that are stored."""
    block = read(trades, source)
    before = len(block)
    copies = continuity.deduplicator.admit(block, 0, None, 0.0, known=known or (), session=session)
    assert copies == before - len(block)
    rows = zip(block.exchange_ns, block.trade_id, block.price, strict=True)
    return [((made_ns or 0) // 1_000_000 - T0_NS // 1_000_000, one_id, price) for made_ns, one_id, price in rows]


@every_promise
@pytest.mark.parametrize("count", [1, 3])
def test_a_trade_held_for_its_time_counts_for_the_connection_that_delivered_it(
    promise: IdPromise, count: int
) -> None:
    """Three trades prove that our clock was set back; a single one before any other is believed after a while."""
    continuity, stored = one(promise), list[int | None]()

    def read(at_s: int, behind_s: int, session: int) -> None:
        block = Block("x")
        made_ns, trade_id = T0_NS + at_s * SECOND_NS, None if promise is IdPromise.NONE else "a"
        received_ns = made_ns - behind_s * SECOND_NS
        block.extend([BTC], [made_ns], [received_ns], ["1"], ["1"], ["buy"], [trade_id], ["stream"])
        continuity.deduplicator.admit(block, 0, None, float(at_s), session=session)
        stored.extend(block.exchange_ns)

    behind = range(20, 20 + count)
    for at_s in (*(range(10, 13) if count > 1 else ()), *behind):
        for session in (1, 2):
            read(at_s, 10 if at_s in behind else 0, session)
    block, decided = continuity.deduplicator.take_decided(30.0)
    stored += block.exchange_ns
    expected = [T0_NS + at_s * SECOND_NS for at_s in (*(range(10, 13) if count > 1 else ()), *behind)]
    assert (sorted(filter(None, stored)), decided.refused) == (expected, [])


def made(ms: int, count: int = 1, *, promise: IdPromise, price: str = "1") -> list[Trade]:
    return [(ms, None if promise is IdPromise.NONE else "a", price)] * count


@every_promise
def test_of_two_connections_each_twin_counts_once(promise: IdPromise) -> None:
    continuity = one(promise)
    assert len(taken(continuity, made(1, 3, promise=promise), session=1)) == 3
    assert taken(continuity, made(1, 2, promise=promise), session=2) == []
    assert taken(continuity, made(1, 2, promise=promise), session=2) == made(1, promise=promise)
    assert taken(continuity, made(1, promise=promise), session=1) == []
    assert taken(continuity, made(1, promise=promise), session=1) == made(1, promise=promise)


def test_fills_that_share_an_id_are_reported_apart_by_the_rest() -> None:
    continuity = one(IdPromise.REPEATED)
    fills: list[Trade] = [(1, "a", "1"), (1, "a", "2"), (2, "a", "1"), (1, "b", "1"), (1, None, "1")]
    assert taken(continuity, fills, session=1) == fills
    assert taken(continuity, fills[::-1], session=2) == []
    assert taken(continuity, [(1, "a", "1.00"), (1, "a", "01")], session=2) == [(1, "a", "1.00"), (1, "a", "01")]


@every_promise
def test_a_flood_of_one_moment_is_counted_whole(promise: IdPromise) -> None:
    """Many prices of one order, and then each once more: none is dropped, as they are all of one session."""
    continuity = one(promise)
    flood = [trade for n in range(3_000) for trade in made(1, promise=promise, price=str(n))]
    assert len(taken(continuity, flood)) == len(taken(continuity, flood)) == len(flood)
    assert taken(continuity, flood, session=2) == []


TRADES = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(["a", "b"]), st.sampled_from(["1", "2"])), max_size=12
).map(sorted)


@given(trades=TRADES, named=st.booleans(), data=st.data())
def test_whatever_the_interleaving_of_sessions_all_is_stored_once(
    trades: list[Trade], named: bool, data: st.DataObject
) -> None:
    """Each session delivers all trades in its own portions; one starts with a replay of what there was."""
    if not named:
        trades = [(ms, None, price) for ms, _, price in trades]
    continuity = one(IdPromise.REPEATED if named else IdPromise.NONE)
    sessions = range(1, data.draw(st.integers(1, 3)) + 1)
    at = dict.fromkeys(sessions, 0)
    stored: Counter[Trade] = Counter()
    furthest = 0
    if data.draw(st.booleans()):  # another connection comes late, and has sent again what it missed
        first = data.draw(st.integers(0, len(trades)))
        stored.update(taken(continuity, trades[:first], session=1))
        at[1] = first
        for session in sessions[1:]:
            stored.update(taken(continuity, trades[:first], session=session, source="snapshot"))
            at[session] = first
    while left := [session for session in sessions if at[session] < len(trades)]:
        session = data.draw(st.sampled_from(left))
        until = data.draw(st.integers(at[session] + 1, len(trades)))
        stored.update(taken(continuity, trades[at[session] : until], session=session))
        at[session] = until
        furthest = max(furthest, until)
        assert stored == Counter(trades[: max(at.values())])
    assert stored == Counter(trades)
    # The history brings them again, a page at a time.
    assert taken(continuity, trades, session=0, source="backfill") == []


@given(trades=TRADES, named=st.booleans(), cut=st.integers(0, 12))
def test_what_the_file_has_is_not_stored_again_after_a_restart(trades: list[Trade], named: bool, cut: int) -> None:
    if not named:
        trades = [(ms, None, price) for ms, _, price in trades]
    promise = IdPromise.REPEATED if named else IdPromise.NONE
    with new_file() as con:
        for ms, trade_id, price in trades[:cut]:
            us = T0_NS // 1000 + ms * 1000
            con.execute(
                "INSERT INTO store.ticks VALUES"
                " ('x', ?, make_timestamptz(?), make_timestamptz(?), ?, 1, 'buy', ?, 'stream', 1)",
                [BTC, us, us, price, trade_id],
            )
        (state,) = read_states(con, {"x": {BTC: promise}})["x"]
    continuity = one(promise)
    continuity.restore([state], T0_NS)
    assert Counter(taken(continuity, trades, source="snapshot")) == Counter(trades) - Counter(trades[:cut])


@every_promise
def test_the_file_decides_about_trades_that_are_older_than_the_memory(promise: IdPromise) -> None:
    continuity = one(promise)
    (trade,) = made(1, promise=promise)
    made_ns = T0_NS + 1_000_000
    stored = StoredTwins([twin_of(trade[1], made_ns, "1.000000000000000000", "1.0", "buy")] * 2)
    page = made(1, 3, promise=promise)
    assert taken(continuity, page, session=0, source="backfill", known=stored) == [trade]


@every_promise
def test_a_repair_stores_what_was_deleted_from_the_file(promise: IdPromise) -> None:
    continuity = one(promise)
    rows = made(1, 2, promise=promise)
    assert taken(continuity, rows) == rows
    assert taken(continuity, rows, session=0, source="backfill", known=StoredTwins(())) == []
    remembered = continuity.deduplicator.remembered_twins(read(rows))
    late = made(3, 1, promise=promise)
    assert taken(continuity, late) == late  # while the file is read
    stored = StoredTwins((), remembered)
    assert taken(continuity, [*rows, *late], session=0, source="backfill", known=stored) == rows


@every_promise
def test_a_replay_that_reaches_back_to_the_last_trade_shows_that_nothing_is_missing(promise: IdPromise) -> None:
    continuity = one(promise)
    continuity.connected([BTC], T0_NS)
    taken(continuity, made(1, promise=promise))
    continuity.disconnected([BTC], T0_NS + SECOND_NS)
    assert continuity.unfinished()
    replay = [*made(1, promise=promise), *made(500, promise=promise)]
    assert taken(continuity, replay, session=2, source="snapshot") == made(500, promise=promise)
    (gap,) = newest(continuity.take_gaps()).values()
    assert (gap.reason, gap.status) == (GapReason.DISCONNECT, GapStatus.FILLED)


NAMED, NAMELESS = [(1, "a", "1"), (1, "b", "1"), (2, "c", "2")], [(1, None, "1"), (1, None, "1"), (2, None, "2")]


@pytest.mark.parametrize(("first", "then"), [(NAMED, NAMELESS), (NAMELESS, NAMED)])
def test_where_ids_promise_nothing_a_trade_is_the_same_with_and_without_one(
    first: Sequence[Trade], then: Sequence[Trade]
) -> None:
    continuity = one(IdPromise.NONE)
    assert taken(continuity, first, session=1) == first  # each keeps its id
    for session, source in ((2, "stream"), (0, "backfill"), (3, "snapshot")):
        assert taken(continuity, then, session=session, source=source) == []
    more = [*then, then[0]]
    assert taken(continuity, more, session=0, source="backfill") == [then[0]]
    assert taken(one(IdPromise.REPEATED), [*first, *then], session=1) == [*first, *then]


@pytest.mark.parametrize(("stored", "then"), [(NAMED, NAMELESS), (NAMELESS, NAMED)])
async def test_where_ids_promise_nothing_the_file_s_trades_are_known_with_and_without_one(
    stored: Sequence[Trade], then: Sequence[Trade]
) -> None:
    with new_file() as con:
        for ms, trade_id, price in stored:
            put_tick(con, trade_id, T0_NS + ms * 1_000_000)
            con.execute(
                "UPDATE store.ticks SET price = ? WHERE timestamp = make_timestamptz(?)",
                [price, T0_NS // 1000 + ms * 1000],
            )
        (state,) = read_states(con, {"x": {BTC: IdPromise.NONE}})["x"]

        async def consult(question: Callable[[duckdb.DuckDBPyConnection], Any]) -> Any:
            await trio.lowlevel.checkpoint()
            return question(con)

        known = await StoredTrades("x", consult).twins(BTC, read(then), IdPromise.NONE)
    restarted = one(IdPromise.NONE)
    restarted.restore([state], T0_NS)
    assert taken(restarted, then, session=0, source="snapshot") == []
    assert taken(one(IdPromise.NONE), then, session=0, source="backfill", known=known) == []


async def test_two_connections_of_one_market_store_each_fill_once(autojump_clock: MockClock) -> None:
    """Also after one of them has reconnected."""
    venue = Venue()
    changes = {"ids": {"spot": IdPromise.REPEATED}}
    async with recorded(venue, redundancy=2, changes=changes) as recorder:
        venue.truth["BTC-USDT"] = []
        await venue.trade(times=2)  # two fills with one id and all else alike
        await venue.trade()
        await seen(lambda: recorder.account.received >= 6)
        assert (recorder.account.stored + recorder.account.in_flight, recorder.account.duplicates) == (3, 3)
        await venue.end(1)
        await seen(lambda: len(venue.open) == 2)
        await trio.sleep(5.0)
        await venue.trade(times=3)
        await seen(lambda: recorder.account.received >= 12)
        assert (recorder.account.stored + recorder.account.in_flight, recorder.account.duplicates) == (6, 6)
