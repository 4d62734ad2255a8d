"""What was asked, confirmed and refused on one connection, whatever words the exchange answers with."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.dialect import Ack, Refusal, Request
from actors.dialects import DIALECTS
from actors.subscription import Subscription

ABC = ("A-X", "B-X", "C-X")


def subscription(exchange: str = "okx", natives: tuple[str, ...] = ABC) -> Subscription:
    dialect = DIALECTS[exchange]
    return Subscription(dialect, natives, dialect.channels[0])


def asked(requests: list[Request]) -> list[tuple[str, ...]]:
    return [request.natives for request in requests]


def test_everything_is_asked_for_once_and_waits_for_its_answer() -> None:
    one = subscription()
    assert asked(one.requests()) == [ABC]
    assert (list(one.pending), one.refused, one.confirmed) == (list(ABC), {}, set())


def test_an_answer_confirms_the_markets_it_names() -> None:
    one = subscription()
    one.requests()
    one.acknowledged(Ack(("B-X",)))
    assert (list(one.pending), one.confirmed) == (["A-X", "C-X"], {"B-X"})


@pytest.mark.parametrize("ack", [Ack(request_id="1"), Ack(), Ack(request_id="of another recording")])
def test_an_answer_that_names_nobody_is_for_the_request_it_echoes_or_the_oldest(ack: Ack) -> None:
    one = subscription("bybit", tuple(f"S{n}" for n in range(15)))
    first, second = one.requests()
    one.acknowledged(ack)
    assert one.confirmed == set(first.natives) and set(one.pending) == set(second.natives)
    one.acknowledged(Ack())
    assert not one.pending
    one.acknowledged(Ack())  # one too many harms nothing


def test_a_late_answer_to_what_data_has_settled_is_for_nobody_else() -> None:
    one = subscription("bybit", ("A", "B"))
    one.requests(["A"])
    one.requests(["B"])
    one.delivered(["A"])
    one.acknowledged(Ack(request_id="1"))
    assert list(one.pending) == ["B"]
    one.refuse(Refusal("no such topic", request_id="2"))
    assert one.refused == {"B": "no such topic"}


def test_data_is_an_answer_too() -> None:
    one = subscription()
    one.requests()
    one.delivered(["A-X"])
    one.delivered(["A-X", "C-X"])
    assert (list(one.pending), one.confirmed) == (["B-X"], {"A-X", "C-X"})


def test_a_refused_request_for_several_is_asked_again_market_by_market() -> None:
    one = subscription("bybit")
    one.requests()
    again = one.refuse(Refusal("no such topic", request_id="1"))
    assert asked(again) == [("A-X",), ("B-X",), ("C-X",)] and not one.refused
    assert len({request.request_id for request in again} | {"1"}) == 4
    one.acknowledged(Ack(request_id=again[0].request_id))
    assert one.refuse(Refusal("no such topic", request_id=again[1].request_id)) == []
    one.acknowledged(Ack(request_id=again[2].request_id))
    assert (one.confirmed, one.refused, list(one.pending)) == ({"A-X", "C-X"}, {"B-X": "no such topic"}, [])
    assert one.again() == []


def test_what_stood_beside_a_market_refused_by_name_is_asked_again_unless_it_was_answered() -> None:
    one = subscription("coinbaseexchange")
    one.requests()
    assert one.refuse(Refusal("B-X is not a valid product", ("B-X",))) == []
    assert one.refused == {"B-X": "B-X is not a valid product"}
    one.delivered(["A-X"])
    assert asked(one.again()) == [("C-X",)]
    assert one.again() == []  # once


def test_a_market_that_is_refused_alone_leaves_nobody_in_doubt() -> None:
    one = subscription("kraken", ("A/X",))
    one.requests()
    one.refuse(Refusal("no", ("A/X",)))
    assert one.again() == [] and one.refused == {"A/X": "no"}


def test_a_market_that_delivers_was_not_refused_after_all() -> None:
    one = subscription()
    one.requests()
    one.acknowledged(Ack(ABC))
    one.refuse(Refusal("already subscribed", ("A-X",)))
    assert one.refused and "A-X" not in one.confirmed
    one.delivered(["A-X"])
    assert not one.refused and "A-X" in one.confirmed


def test_a_refusal_of_markets_never_asked_for_asks_for_nothing() -> None:
    one = subscription()
    one.requests()
    assert one.refuse(Refusal("recorded elsewhere", ("X-Y", "Y-Z"))) == []
    assert not one.refused and list(one.pending) == list(ABC)


def test_words_of_refusal_that_mean_nobody_when_all_is_answered_change_nothing() -> None:
    one = subscription()
    one.requests()
    one.acknowledged(Ack(ABC))
    assert one.refuse(Refusal("Too many requests")) == []
    assert (one.refused, one.confirmed) == ({}, set(ABC))


names = st.lists(st.sampled_from([*ABC, "X-Y"]), max_size=3).map(tuple)
ids = st.sampled_from(["", "1", "2", "3", "4", "x"])
answers = st.one_of(
    st.builds(Ack, names, ids), st.builds(Refusal, st.just("no"), names, ids), st.just("data"), st.just("again")
)


@given(exchange=st.sampled_from(sorted(DIALECTS)), steps=st.lists(st.tuples(answers, names), max_size=30))
def test_whatever_is_answered_every_market_has_one_standing_and_requests_stay_few(
    exchange: str, steps: list[tuple[object, tuple[str, ...]]]
) -> None:
    one = subscription(exchange)
    sent = len(one.requests())
    for answer, data in steps:
        if isinstance(answer, Ack):
            one.acknowledged(answer)
        elif isinstance(answer, Refusal):
            sent += len(one.refuse(answer))
        elif answer == "data":
            one.delivered(data)
        else:
            sent += len(one.again())
        standing = [*one.pending, *one.refused, *(native for native in one.confirmed if native in ABC)]
        assert sorted(standing) == sorted(ABC)
    assert sent <= 1 + 3 * len(steps)


@pytest.mark.parametrize("exchange", sorted(DIALECTS))
def test_requests_keep_within_the_exchanges_limits(exchange: str) -> None:
    limits = DIALECTS[exchange].limits
    natives = tuple(f"COIN{n}-USDT" for n in range(limits.symbols_per_connection))
    requests = subscription(exchange, natives).requests()
    assert [native for request in requests for native in request.natives] == list(natives)
    for request in requests:
        assert len(request.natives) <= limits.symbols_per_request
        assert len(request.text.encode()) <= limits.request_bytes
        assert json.loads(request.text)
