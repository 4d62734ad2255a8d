"""Upbit's history is walked day by day against its loopback, which gives one day at a time."""

from urllib.parse import parse_qsl

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from actors.backfill.paging import Progress
from actors.exchanges.contract.history import TradeRange
from actors.exchanges.contract.loopback_market import Fill
from actors.exchanges.contract.loopback_rest import HttpRequest, Tape
from tests.harness.exchange_cases import query_of
from tests.harness.exchange_values import history_of, history_server_of

S_NS = 1_000_000_000
DAY_S = 86_400
NOON_S = 20_000 * DAY_S + DAY_S // 2


def fill(second: int) -> Fill:
    return Fill(str(second * 10_000_000), "7493000.0", "0.5", "buy", second * S_NS, 1, 0, 0, True, True)


def walk(fills: list[Fill], wanted: TradeRange, rows: int) -> tuple[list[str], Progress, int]:
    """The ids that the pages give, oldest page last, as the fetcher asks for them."""
    history, past = history_of("upbit"), history_server_of("upbit")
    query, progress, found, requests = query_of("upbit", wanted, rows=rows), Progress(history, wanted), [], 0
    while True:
        ask = history.request(query)
        reply = past.answer(
            HttpRequest(ask.path, dict(parse_qsl(ask.target.partition("?")[2]))),
            lambda _, native: Tape(native, None, fills),
        )
        assert reply.status == 200
        page, requests = history.page(reply.body.encode(), {}, query), requests + 1
        found += [str(page.trades.trade_id[at]) for at in progress.take(page)]
        if page.cursor is None or progress.arrived:
            return found, progress, requests
        assert requests < 500
        query = replace(query, cursor=page.cursor)


@given(
    gaps=st.lists(st.integers(1, DAY_S // 3), min_size=5, max_size=40),
    rows=st.integers(2, 7),
    ends=st.tuples(st.integers(0, 39), st.integers(0, 39)),
)
def test_every_trade_between_two_times_is_found_across_the_ends_of_days(
    gaps: list[int], rows: int, ends: tuple[int, int]
) -> None:
    seconds = [NOON_S]
    for gap in gaps:
        seconds.append(seconds[-1] - gap)
    fills = [fill(second) for second in reversed(seconds)]
    recent = [one for one in fills if seconds[0] // DAY_S - one.ns // S_NS // DAY_S <= 6]
    first, last = sorted(recent[end % len(recent)].ns for end in ends)
    found, progress, _ = walk(fills, TradeRange(from_ns=first, to_ns=last), rows)
    assert sorted(found) == [one.trade_id for one in fills if first <= one.ns <= last]
    assert progress.high_met


def test_a_stretch_long_ago_is_gone_to_at_once() -> None:
    fills = [fill(NOON_S - 10 * number) for number in range(20_000, -1, -1)]
    to_ns = (NOON_S - 150_000) * S_NS
    found, progress, requests = walk(fills, TradeRange(from_ns=to_ns - 100 * S_NS, to_ns=to_ns), 20)
    assert len(found) == 11 and progress.complete and requests <= 3
