"""Requests, confirmations and refusals on one connection, and when markets are requested again."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.exchanges.contract.feed import Ack, Refusal
from actors.exchanges.registry import EXCHANGES
from actors.feed.subscription import AGAIN, DOUBT_S, STANDS_S, Subscription
from tests.harness.exchange_values import dialect_of

ABC = ("A-X", "B-X", "C-X")
LEAST_S, MOST_S = 5.0, 600.0  # the pauses that are promised
ROUNDED = 1e-6  # times are sums of tenths
BUSY = "Too many requests"


def subscription(exchange: str = "okx", natives: tuple[str, ...] = ABC) -> Subscription:
    dialect = dialect_of(exchange)
    return Subscription(dialect, natives, dialect.channels[0])


def asked(one: Subscription, now: float = 0.0) -> list[tuple[str, ...]]:
    """Takes out all that is to be sent at a moment."""
    return [request.natives for request in iter(lambda: one.next(now), None)]


def next_asked(one: Subscription, now: float) -> tuple[float, tuple[str, ...]]:
    """When something is sent next, to a tenth of a second, and for what."""
    for step in range(20_000):
        if request := one.next(at := now + step / 10):
            return at, request.natives
    raise AssertionError("nothing was asked for in half an hour")


def test_everything_is_requested_once_and_waits_for_its_answer() -> None:
    one = subscription()
    assert asked(one) == [ABC] and asked(one, dialect_of("okx").ack_s) == []
    assert (list(one.pending), one.refused, one.confirmed) == (list(ABC), {}, set())


def test_an_answer_confirms_the_markets_it_names() -> None:
    one = subscription()
    asked(one)
    one.acknowledged(Ack(("B-X",)), 0)
    assert (list(one.pending), one.confirmed) == (["A-X", "C-X"], {"B-X"})


@pytest.mark.parametrize("ack", [Ack(request_id="1"), Ack(), Ack(request_id="of another recording")])
def test_an_answer_without_a_market_is_for_the_request_it_echoes_or_the_oldest(ack: Ack) -> None:
    one = subscription("bybit", tuple(f"S{n}" for n in range(15)))
    first, second = asked(one)
    one.acknowledged(ack, 0)
    assert one.confirmed == set(first) and set(one.pending) == set(second)
    one.acknowledged(Ack(), 0)
    assert not one.pending
    one.acknowledged(Ack(), 0)  # one too many harms nothing


def test_a_late_answer_to_a_market_confirmed_by_data_affects_no_other() -> None:
    one = subscription("bybit", tuple(f"S{n}" for n in range(15)))
    first, second = asked(one)
    one.delivered(first, 0)
    one.acknowledged(Ack(request_id="1"), 0)
    assert tuple(one.pending) == second
    one.refuse(Refusal("no such topic", request_id="1"), 0)
    assert tuple(one.pending) == second and not one.refused


def test_data_is_an_answer_too() -> None:
    one = subscription()
    asked(one)
    one.delivered(["A-X"], 0)
    one.delivered(["A-X", "C-X"], 0)
    assert (list(one.pending), one.confirmed) == (["B-X"], {"A-X", "C-X"})


def test_a_refused_request_for_several_is_repeated_market_by_market() -> None:
    one = subscription("bybit")
    asked(one)
    assert one.refuse(Refusal("no such topic", request_id="1"), 0) == []
    again = list(iter(lambda: one.next(0), None))
    assert [request.natives for request in again] == [("A-X",), ("B-X",), ("C-X",)] and not one.refused
    assert len({request.request_id for request in again} | {"1"}) == 4
    one.acknowledged(Ack(request_id=again[0].request_id), 0)
    assert one.refuse(Refusal("no such topic", request_id=again[1].request_id), 0) == ["B-X"]
    one.acknowledged(Ack(request_id=again[2].request_id), 0)
    assert (one.confirmed, one.refused, list(one.pending)) == ({"A-X", "C-X"}, {"B-X": "no such topic"}, [])
    assert asked(one) == []


def test_markets_requested_with_one_refused_by_name_are_requested_again_unless_answered() -> None:
    one = subscription("coinbaseexchange")
    asked(one)
    assert one.refuse(Refusal("B-X is not a valid product", ("B-X",)), 0) == ["B-X"]
    assert one.refused == {"B-X": "B-X is not a valid product"}
    one.delivered(["A-X"], 0)
    assert asked(one, DOUBT_S - 0.1) == [] and asked(one, DOUBT_S) == [("C-X",)]


def test_a_market_that_delivers_was_not_refused_after_all() -> None:
    one = subscription()
    asked(one)
    one.acknowledged(Ack(ABC), 0)
    one.refuse(Refusal("no", ("A-X",)), 0)
    assert one.refused and "A-X" not in one.confirmed
    one.delivered(["A-X"], 0)
    assert not one.refused and "A-X" in one.confirmed and asked(one, 1000) == []


def test_a_refusal_of_markets_never_requested_requests_nothing() -> None:
    one = subscription()
    asked(one)
    assert one.refuse(Refusal("recorded elsewhere", ("X-Y", "Y-Z")), 0) == []
    assert not one.refused and list(one.pending) == list(ABC)


def test_a_refusal_when_all_requests_are_answered_changes_nothing() -> None:
    one = subscription()
    asked(one)
    one.acknowledged(Ack(ABC), 0)
    for transient in (False, True):
        assert one.refuse(Refusal(BUSY, transient=transient), 0) == []
    assert (one.refused, one.confirmed, one.held) == ({}, set(ABC), {})


# -- asked again, for ever ---------------------------------------------------------------------------------


@pytest.mark.parametrize("exchange", sorted(EXCHANGES))
def test_a_refused_market_is_requested_again_after_longer_and_longer_pauses(exchange: str) -> None:
    one = subscription(exchange, ("A-X", "B-X"))
    now, pauses = 0.0, []
    asked(one)
    one.acknowledged(Ack(("B-X",)), now)
    for _ in range(10):
        one.refuse(Refusal("unknown", ("A-X",)), now)
        at, natives = next_asked(one, now)
        assert natives == (("A-X", "B-X") if dialect_of(exchange).request_replaces else ("A-X",))
        pauses.append(at - now)
        now = at
    assert pauses[0] >= LEAST_S and max(pauses) <= MOST_S + ROUNDED and pauses[-1] >= MOST_S / 2
    # Each is drawn from the upper half of its limit, and the last limit is less than twice the one before.
    assert all(later >= 0.93 * before for before, later in itertools.pairwise(pauses))
    one.acknowledged(Ack(("A-X",)), now)
    assert one.confirmed == {"A-X", "B-X"} and not one.refused


def test_a_market_without_an_answer_is_requested_again_and_again() -> None:
    one, ack_s = subscription("bybit", ("A", "B")), dialect_of("bybit").ack_s
    asked(one)
    one.delivered(["B"], 0)
    first, natives = next_asked(one, 0)
    assert natives == ("A",) and list(one.unanswered) == ["A"]
    assert ack_s + LEAST_S <= first <= ack_s + 2 * LEAST_S + 0.2
    second, natives = next_asked(one, first)
    assert natives == ("A",) and second - first > ack_s + LEAST_S
    one.acknowledged(Ack(request_id="3"), second)
    assert one.confirmed == {"A", "B"} and not one.unanswered and not one.pending


def test_a_late_answer_is_welcome() -> None:
    one = subscription("bybit", ("A",))
    asked(one)
    assert asked(one, dialect_of("bybit").ack_s + 1) == [] and list(one.unanswered) == ["A"]
    one.acknowledged(Ack(request_id="1"), 12)
    assert one.confirmed == {"A"} and asked(one, 1000) == []


@pytest.mark.parametrize("named", [(), ("S3",)])
def test_a_request_refused_for_its_rate_is_repeated_unchanged_and_nothing_before_it(named: tuple[str, ...]) -> None:
    one = subscription("bybit", tuple(f"S{n}" for n in range(25)))
    first = one.next(0)
    assert first is not None
    held = one.refuse(Refusal(BUSY, named, "" if named else "1", transient=True), 0)
    assert held == list(named or first.natives) and set(one.held.values()) == {BUSY} and not one.refused
    assert asked(one, LEAST_S - 0.1) == [], "the others wait too"
    if named:
        one.acknowledged(Ack(tuple(native for native in first.natives if native not in held)), 0)
    requests = asked(one, 2 * LEAST_S)
    assert sorted(map(len, requests)) == sorted([10, 5, len(held)]) and tuple(held) in requests
    assert {native for natives in requests for native in natives} == {*one.pending}


def test_a_bare_refusal_about_rate_may_mean_any_request_that_has_no_answer() -> None:
    one = subscription("kraken", tuple(f"C{n:03}/USD" for n in range(101)))
    first, second = asked(one)
    one.acknowledged(Ack(first), 0)
    assert one.refuse(Refusal("Exceeded msg rate", transient=True), 0) == list(second)
    for _ in range(100):
        assert one.refuse(Refusal("Exceeded msg rate", transient=True), 1) == []  # of one pause
    at, natives = next_asked(one, 1)
    assert natives == second and LEAST_S <= at <= 2 * LEAST_S + 0.1
    assert one.refuse(Refusal("Exceeded msg rate", transient=True), at) == list(second)
    later, natives = next_asked(one, at)
    assert natives == second and 2 * LEAST_S <= later - at <= 4 * LEAST_S + 0.1


def test_what_is_requested_again_goes_one_request_at_a_time() -> None:
    one = subscription("coinbaseexchange", tuple(f"C{n}-X" for n in range(20)))
    asked(one)
    for native in list(one.pending):
        one.refuse(Refusal(f"{native} is not a valid product", (native,)), 0)
    assert len(one.refused) == 20
    now = 2 * LEAST_S
    for _ in range(20):
        (natives,) = asked(one, now)
        assert asked(one, now + dialect_of("coinbaseexchange").ack_s - 0.1) == []
        one.refuse(Refusal(f"{natives[0]} is not a valid product", natives), now)
    assert asked(one, now) == []


def test_from_an_exchange_that_answers_market_by_market_all_refused_ones_are_requested_at_once() -> None:
    one = subscription("okx", tuple(f"C{n}-X" for n in range(300)))
    asked(one)
    for native in list(one.pending):
        one.refuse(Refusal(f"60018 {native}", (native,)), 0)
    hour = [now for now in range(1, 3600) for _ in asked(one, now)]
    assert 15 <= len(hour) <= 60


def test_a_repeated_refusal_does_not_lengthen_the_pause() -> None:
    one = subscription("kraken")
    asked(one)
    for _ in range(50):
        one.refuse(Refusal("unknown", ("A-X",)), 0)
    assert next_asked(one, 0)[0] <= 2 * LEAST_S + 0.1


@pytest.mark.parametrize("named", [("A-X",), ()])
def test_what_the_exchange_ended_is_requested_at_once_and_more_rarely_if_it_ends_it_again(
    named: tuple[str, ...],
) -> None:
    one, meant = subscription("okx", ABC), named or ABC
    asked(one)
    one.acknowledged(Ack(ABC), 0)
    assert one.unsubscribed(named, 100, "ended") == list(meant)
    assert dict.fromkeys(meant, "ended") == one.held and one.confirmed == set(ABC) - set(meant)
    assert asked(one, 100) == [meant]
    assert one.unsubscribed(named, 100, "ended") == [], "it stands no more"
    pauses, now = [], 100.0
    for _ in range(3):
        one.acknowledged(Ack(meant), now)
        one.unsubscribed(named, now, "ended")
        one.delivered(meant, now)  # under way when it was ended: shows nothing
        assert not set(meant) & one.confirmed
        at, natives = next_asked(one, now)
        pauses.append(at - now)
        now = at
        assert natives == meant
    assert LEAST_S <= pauses[0] <= pauses[1] <= pauses[2]
    one.acknowledged(Ack(meant), now)
    one.unsubscribed(named, now + STANDS_S, "ended")
    assert asked(one, now + STANDS_S) == [meant], "that it stood for long makes it a first time"


def test_trades_of_ended_subscriptions_do_not_replace_their_requests() -> None:
    """With one market per request the second waits for its turn. Its late trades do not show that it has had it."""
    one = subscription("bitstamp")
    asked(one)
    one.acknowledged(Ack(ABC), 0)
    one.unsubscribed((), 10, "ended")
    first = one.next(10)
    one.delivered(ABC, 10.1)
    assert first is not None and one.confirmed == set() and list(one.pending) == list(ABC)
    assert [*first.natives, *(native for natives in asked(one, 10.2) for native in natives)] == list(ABC)


@pytest.mark.parametrize(
    "answer",
    [Ack(("A-X",)), Refusal("already subscribed", ("A-X",)), Refusal(BUSY, ("A-X",), transient=True), None],
)
def test_trades_prove_an_ended_market_again_once_a_request_since_then_is_answered_or_late(
    answer: Ack | Refusal | None,
) -> None:
    one, now = subscription(), 10.0
    asked(one)
    one.acknowledged(Ack(ABC), 0)
    one.unsubscribed(("A-X",), now, "ended")
    one.acknowledged(Ack(("A-X",)), now)  # late: it was sent before the subscription ended
    assert asked(one, now) == [("A-X",)]
    one.delivered(["A-X"], now)
    assert one.confirmed == {"B-X", "C-X"}
    if isinstance(answer, Ack):
        one.acknowledged(answer, now)
    elif isinstance(answer, Refusal):
        one.refuse(answer, now)
    else:
        now += dialect_of("okx").ack_s + 0.1
        assert asked(one, now) == []
    one.delivered(["A-X"], now)
    assert one.confirmed == set(ABC) and asked(one, now + 2 * MOST_S) == []


def test_where_no_request_is_answered_the_trades_after_it_prove_a_market() -> None:
    one = subscription("gemini")
    asked(one)
    one.delivered(ABC, 0)
    one.unsubscribed(("A-X",), 10, "ended")
    one.delivered(["A-X"], 10)
    assert one.confirmed == {"B-X", "C-X"} and asked(one, 10) == [("A-X",)]
    one.delivered(["A-X"], 11)
    assert one.confirmed == set(ABC)


@pytest.mark.parametrize("late", ["trade", "acknowledgement", "acknowledgement by id", "trade while held"])
def test_what_was_removed_is_requested_when_it_is_added_again_whatever_arrives_late(late: str) -> None:
    """Trades and answers of the former subscription are still on their way."""
    one, now = subscription(), 1.0
    assert asked(one) == [ABC]
    if "trade" in late:
        one.acknowledged(Ack(ABC), 0)
    if late == "trade while held":
        one.add(["D-X"], now)
        assert asked(one, now) == [("D-X",)]
        one.refuse(Refusal(BUSY, ("D-X",), transient=True), now)
    one.remove(["A-X"], now)
    one.add(["A-X"], now)
    if late == "acknowledgement":
        one.acknowledged(Ack(ABC), now)
    elif late == "acknowledgement by id":
        one.acknowledged(Ack(request_id="1"), now)
    else:
        one.delivered(ABC, now)
    assert list(one.pending) == [*(["D-X"] if "held" in late else []), "A-X"] and "A-X" not in one.confirmed
    end, *again = iter(lambda: one.next(now + 2 * LEAST_S), None)
    assert ("unsubscribe" in end.text, end.natives) == (True, ())
    assert ("A-X",) in [request.natives for request in again]
    one.delivered(["A-X"], now)
    assert "A-X" not in one.confirmed, "not even now: there is no answer"
    one.acknowledged(Ack(("A-X",)), now)
    assert "A-X" in one.confirmed


def test_what_a_full_list_no_longer_has_was_ended() -> None:
    one = subscription("coinbaseexchange")
    asked(one)
    assert one.acknowledged(Ack(("A-X", "B-X"), whole=True), 0) == set()
    assert one.acknowledged(Ack(ABC, whole=True), 0) == set() and one.confirmed == set(ABC)
    assert one.acknowledged(Ack(("A-X",), whole=True), 1) == {"B-X", "C-X"}
    assert one.acknowledged(Ack((), whole=True), 1) == {"A-X"}


def test_when_the_exchange_is_back_nothing_waits_for_its_pause_to_end() -> None:
    one, now = subscription("kraken", ("A/X", "B/X")), 0.0
    asked(one)
    for _ in range(6):
        one.refuse(Refusal("EService:Market in maintenance", ("A/X",)), now)
        one.refuse(Refusal("EService:Busy", ("B/X",), transient=True), now)
        now, _natives = next_asked(one, now)
    one.refuse(Refusal("EService:Market in maintenance", ("A/X",)), now)
    one.refuse(Refusal("EService:Busy", ("B/X",), transient=True), now)
    assert asked(one, now + 60) == []
    one.hurry(now + 60)
    assert [set(natives) for natives in asked(one, now + 60)] == [{"A/X", "B/X"}]


def test_what_was_requested_just_before_the_exchange_is_back_is_requested_again_at_once() -> None:
    one = subscription("kraken", ("A/X", "B/X"))
    assert [set(natives) for natives in asked(one, 299)] == [{"A/X", "B/X"}]
    one.hurry(300)
    assert [set(natives) for natives in asked(one, 300)] == [{"A/X", "B/X"}]
    one.acknowledged(Ack(("A/X",)), 301)
    one.acknowledged(Ack(("B/X",)), 301)
    assert one.confirmed == {"A/X", "B/X"} and asked(one, 400) == []


def test_the_pauses_are_those_of_the_projects_backoff() -> None:
    assert (AGAIN.initial_s / 2, AGAIN.max_s) == (LEAST_S, MOST_S)


names = st.lists(st.sampled_from([*ABC, "X-Y"]), max_size=3).map(tuple)
ids = st.sampled_from(["", "1", "2", "3", "4", "x"])
answers = st.one_of(
    st.builds(Ack, names, ids, st.booleans()),
    st.builds(Refusal, st.just("no"), names, ids, st.booleans()),
    st.sampled_from(["data", "ended", "time"]),
)


@given(exchange=st.sampled_from(sorted(EXCHANGES)), steps=st.lists(st.tuples(answers, names), max_size=30))
def test_whatever_is_answered_every_market_has_one_standing_and_is_requested_until_it_is_confirmed(
    exchange: str, steps: list[tuple[object, tuple[str, ...]]]
) -> None:
    one, now = subscription(exchange), 0.0
    sent = begun = len(asked(one))
    for answer, data in steps:
        if isinstance(answer, Ack):
            one.acknowledged(answer, now)
        elif isinstance(answer, Refusal):
            one.refuse(answer, now)
        elif answer == "data":
            one.delivered(data, now)
        elif answer == "ended":
            one.unsubscribed(data, now, "ended")
        else:
            now += 3
        sent += len(asked(one, now))
        standing = [*one.pending, *one.refused, *one.confirmed, *one.assumed]
        assert sorted(standing) == sorted(ABC)
        assert one.held.keys() | one.unanswered.keys() <= one.pending.keys()
    assert sent <= begun + 3 * len(steps)
    wanted = {*one.pending, *one.refused}
    for _ in range(1_000):  # half an hour, in which nothing is answered: all that is wanted is asked for
        now += 2
        for natives in asked(one, now):
            wanted -= set(natives)
    assert not wanted


@pytest.mark.parametrize("exchange", sorted(EXCHANGES))
def test_requests_keep_within_the_exchanges_limits(exchange: str) -> None:
    dialect = dialect_of(exchange)
    limits = dialect.limits
    natives = tuple(f"COIN{n}-USDT" for n in range(limits.symbols_per_connection))
    one = subscription(exchange, natives)
    requests = []
    while request := one.next(0):
        requests.append(request)
        if dialect.bad_symbol_closes:  # each waits for the answer to the one before
            one.acknowledged(Ack(request.natives), 0)
    assert [native for request in requests for native in request.natives] == list(natives)
    for request in requests:
        assert len(request.natives) <= limits.symbols_per_request
        assert len(request.text.encode()) <= limits.request_bytes
        assert json.loads(request.text)
