"""Pages of a history become the wanted trades, each once, and a gap becomes ranges to ask for."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.backfill.fetcher import FetchResult
from actors.backfill.gap_filler import ranges_of, status_of
from actors.backfill.paging import Progress
from actors.exchanges.contract.feed import Trades
from actors.exchanges.contract.history import (
    NEVER_NS,
    History,
    Kind,
    Page,
    RateLimit,
    TradeRange,
)
from actors.model.records import GapReason, GapRow, GapStatus
from tests.harness.exchange_values import history_of


def _history(*, newest_first: bool, dense: bool = True) -> History:
    def nothing(*_: object) -> Any:
        raise NotImplementedError

    return History(
        name="test",
        kind=Kind.BY_ID,
        depth="deep",
        doc="",
        doc_read="",
        base="https://api.example:1/ignored",
        limits=(),
        page_rows=10,
        newest_first=newest_first,
        request=nothing,
        parse=nothing,
        parse_error=nothing,
        dense=dense,
    )


def _page(ids: list[int], at: int = 1, whole_from_ns: int | None = None, skips: bool = False) -> Page:
    texts: list[str | None] = [str(id_) for id_ in ids]
    count = len(ids)
    times: list[int | None] = [id_ * at for id_ in ids]
    trades = Trades(["X"] * count, ["1"] * count, ["1"] * count, [None] * count, texts, times, [False] * count)
    return Page(trades, "c", whole_from_ns=whole_from_ns, skips=skips)


@given(
    st.booleans(),
    st.integers(2, 60),  # something older and newer proves that a time has been passed
    st.integers(0, 39),
    st.integers(2, 9),
    st.integers(0, 1),
    st.booleans(),
)
def test_every_wanted_row_is_taken_once_whatever_the_pages(
    newest_first: bool, first: int, more: int, rows: int, overlap: int, by_time: bool
) -> None:
    last, step = first + more, rows - overlap
    trade_range = TradeRange(from_ns=first, to_ns=last) if by_time else TradeRange(from_id=first, to_id=last)
    progress = Progress(_history(newest_first=newest_first), trade_range)
    ids = list(range(100, 0, -1) if newest_first else range(1, 101))
    got: list[int] = []
    for start in range(0, len(ids), step):
        page = _page(ids[start : start + rows])
        got += [page.ids[at] for at in progress.take(page)]
        if progress.arrived:
            break
    assert sorted(got) == list(range(first, last + 1)) and len(got) == progress.count
    assert progress.complete and progress.missing == (None if by_time else 0)


def test_what_remains_begins_where_the_pages_have_come_to() -> None:
    trade_range = TradeRange(from_id=10, to_id=30, from_ns=10, to_ns=30)
    onwards = Progress(_history(newest_first=False), trade_range)
    onwards.take(_page([10, 11, 12]))
    assert onwards.remaining() == TradeRange(from_id=13, to_id=30, from_ns=12, to_ns=30) and onwards.missing == 18
    back = Progress(_history(newest_first=True), trade_range)
    assert back.remaining() == trade_range
    back.take(_page([32, 31, 30, 29]))
    assert back.remaining() == TradeRange(from_id=10, to_id=28, from_ns=10, to_ns=29)
    back.take(_page([12, 11, 10]))
    assert back.remaining() == trade_range and back.missing == 16 and not back.complete


def test_what_remains_of_a_range_that_the_pages_have_not_come_down_to_keeps_its_end() -> None:
    history = _history(newest_first=True, dense=False)
    progress = Progress(history, TradeRange(from_ns=5, to_ns=20))
    assert progress.take(_page([40, 36])) == []
    assert progress.remaining() == TradeRange(from_ns=5, to_id=35, to_ns=20, ahead=True)
    rest = Progress(history, progress.remaining())
    assert rest.take(_page([32, 28])) == []
    assert rest.remaining() == TradeRange(from_ns=5, to_id=27, to_ns=20, ahead=True)
    rest = Progress(history, rest.remaining())
    assert rest.take(_page([24, 20, 16])) == [2, 1]
    assert rest.remaining() == TradeRange(from_ns=5, to_id=15, to_ns=16)


def test_what_remains_of_a_range_of_times_is_complete_without_the_id_that_it_ends_with() -> None:
    history = _history(newest_first=True, dense=False)
    progress = Progress(history, TradeRange(from_ns=5, to_ns=40))
    progress.take(_page([40, 36]))
    rest = Progress(history, progress.remaining())
    assert rest.take(_page([32, 8, 4])) == [1, 0] and rest.complete


def test_a_time_is_met_only_by_what_lies_past_it() -> None:
    """Several trades may share a time, and a page may have been cut between them."""
    progress = Progress(_history(newest_first=True, dense=False), TradeRange(from_ns=5, to_ns=9))
    progress.take(_page([9, 8, 7, 6, 5]))
    assert not progress.complete
    progress.take(_page([4]))
    assert progress.complete


def test_newest_first_a_page_may_state_that_it_has_all_from_the_beginning_on() -> None:
    progress = Progress(_history(newest_first=True, dense=False), TradeRange(from_ns=5, to_ns=9))
    met = []
    for page in (_page([9, 8], whole_from_ns=6), _page([7, 6], whole_from_ns=5)):
        progress.take(page)
        met.append((progress.arrived, progress.complete))
    assert met == [(False, False), (True, True)]


def test_forwards_pages_that_begin_later_than_the_range_never_complete_it_nor_what_is_left_of_it() -> None:
    history, trade_range = _history(newest_first=False, dense=False), TradeRange(from_ns=5, to_ns=9)
    for whole_from_ns, proved in ((None, True), (5, True), (6, False), (NEVER_NS, False)):
        progress = Progress(history, trade_range)
        progress.take(_page([7, 8], whole_from_ns=whole_from_ns))
        left = progress.remaining()
        assert left == TradeRange(from_id=9, from_ns=8, to_ns=9, cut=not proved)
        progress.take(_page([9, 10]))
        assert progress.complete == proved
        rest = Progress(history, left)
        rest.take(_page([9, 10]))
        assert rest.complete == proved and rest.remaining().cut == (not proved)


def test_pages_that_pass_over_trades_of_one_time_complete_nothing_but_ids() -> None:
    for newest_first, pages in ((True, ([9, 8], [7, 4])), (False, ([4, 8], [9, 10]))):
        history, trade_range = _history(newest_first=newest_first, dense=False), TradeRange(from_ns=5, to_ns=9)
        progress = Progress(history, trade_range)
        progress.take(_page(pages[0], skips=True))
        assert progress.remaining().cut
        progress.take(_page(pages[1]))
        assert progress.low_met and progress.high_met and not progress.complete
    counted = Progress(_history(newest_first=False), TradeRange(from_id=5, to_id=7))
    counted.take(_page([5, 6], skips=True))
    assert not counted.remaining().cut
    counted.take(_page([7, 8]))
    assert counted.complete


def test_the_ends_of_ids_are_met_by_ids_whatever_a_page_states() -> None:
    progress = Progress(_history(newest_first=False), TradeRange(from_id=5, to_id=6, from_ns=5, to_ns=6))
    progress.take(_page([5, 6], whole_from_ns=NEVER_NS))
    assert progress.complete and progress.missing == 0


def test_trades_that_share_an_id_are_wanted_with_each_page_and_counted_once() -> None:
    """Which of several equal ones came before shows only by their number within a page."""
    progress = Progress(_history(newest_first=True, dense=False), TradeRange(from_ns=5, to_ns=9), shared_ids=True)
    assert len(progress.take(_page([9, 8, 8]))) == 3 and progress.count == 3
    assert progress.remaining() == TradeRange(from_ns=5, to_ns=8)  # there may be more of this id
    assert len(progress.take(_page([8, 8, 8, 7]))) == 4 and progress.count == 5
    progress.take(_page([7, 4]))
    assert progress.complete and progress.count == 5


def test_wrong_ranges_and_limits_are_refused_at_once() -> None:
    with pytest.raises(ValueError, match="first id or a first time"):
        TradeRange(to_id=5)
    with pytest.raises(ValueError, match="begins before it ends"):
        TradeRange(from_id=6, to_id=5)
    with pytest.raises(ValueError, match="0 < burst < units"):
        RateLimit(name="x", units=1, window_s=1, burst=1)


def test_a_gap_is_requested_by_its_ids_and_ranges_that_share_a_page_together() -> None:
    gap = GapRow(1, "g", "okx", "BTC/USDT", GapReason.SEQUENCE, 1, from_id="9", from_ns=100, to_id="500", to_ns=200)
    asked = ranges_of(gap, [(10, 12), (20, 20), (105, 110), (111, 480)], history_of("okx"))  # 100 rows a page
    assert [(part.from_id, part.to_id) for part in asked] == [(10, 20), (105, 110), (111, 480)]
    assert {(part.from_ns, part.to_ns) for part in asked} == {(100, 200)}
    clocks = replace(gap, from_ns=201)
    assert ranges_of(clocks, [(10, 12)], history_of("okx")) == [
        TradeRange(from_id=10, to_id=12, from_ns=201, to_ns=201)
    ]


def test_a_gap_without_ids_is_requested_by_its_times_once_it_has_an_end() -> None:
    gap = GapRow(1, "g", "bybit", "BTC/USDT:USDT", GapReason.DISCONNECT, 1, from_id=None, from_ns=100, to_ns=200)
    assert ranges_of(gap, [], history_of("bybit")) == [TradeRange(from_ns=100, to_ns=200)]
    assert ranges_of(replace(gap, from_ns=300), [], history_of("bybit")) == [TradeRange(from_ns=200, to_ns=200)]
    assert ranges_of(replace(gap, to_ns=None), [], history_of("bybit")) == []
    assert ranges_of(replace(gap, from_ns=None), [], history_of("bybit")) == []


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ([(5, True, True), (0, True, True)], GapStatus.FILLED),
        ([(5, True, True), (3, False, False)], GapStatus.OPEN),
        ([(0, False, False), (0, False, True)], GapStatus.OPEN),
        ([(5, True, True), (0, False, True)], GapStatus.PARTIAL),
        ([(0, False, True)], GapStatus.LOST),
    ],
)
def test_a_gap_is_what_its_parts_have_become(parts: list[tuple[int, bool, bool]], status: GapStatus) -> None:
    recovered = [FetchResult(count=count, complete=complete, final=final) for count, complete, final in parts]
    assert status_of(recovered) is status
