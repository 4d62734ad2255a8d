"""Gemini's ids, and its newer API, which refuses the whole of a request that names an unknown market."""

import json

import msgspec
import pytest

from actors.exchanges.contract.feed import Ack, Refusal
from actors.feed.decoder import Decoder
from actors.feed.subscription import Subscription
from actors.model.ticks import Block, Reason
from tests.harness.exchange_values import dialect_of

GEMINI = dialect_of("gemini")
NATIVES = [f"C{number}USD" for number in range(40)]
UNKNOWN = ("C7USD", "C30USD")


@pytest.mark.parametrize(
    ("tid", "reason"), [("5", Reason.BAD_TYPE), (5.5, Reason.BAD_TYPE), (10**129, Reason.BAD_ID)], ids=repr
)
def test_a_trade_with_a_bad_id_is_one_reject(tid: object, reason: Reason) -> None:
    row = {"type": "trade", "symbol": "BTCUSD", "event_id": 7, "tid": tid, "timestamp": 1_785_982_641_619}
    text = json.dumps({**row, "price": "73.5", "quantity": "2", "side": "sell"})
    outcome = Decoder("gemini", GEMINI, {"BTCUSD": "BTC/USD"}).read([text.encode()], 5, Block("gemini"))
    assert [reject.reason for reject in outcome.rejects] == [reason]


class Venue:
    """Answers as documented; `streams` are those subscribed."""

    def __init__(self) -> None:
        self.streams: set[str] = set()

    def answer(self, text: str) -> str:
        request = json.loads(text)
        bad = [stream for stream in request["params"] if stream.partition("@")[0].upper() in UNKNOWN]
        if bad:
            error = {"code": -1013, "msg": f"Invalid stream name: {bad[0]}"}
            return json.dumps({"id": request["id"], "status": 400, "error": error})
        self.streams.update(request["params"])
        return json.dumps({"id": request["id"], "status": 200})


def run(one: Subscription, venue: Venue, seconds: int) -> None:
    """As a session does, one request a second."""
    for now in range(seconds):
        if (request := one.next(float(now))) is None:
            continue
        control = GEMINI.control(msgspec.json.decode(venue.answer(request.text)))
        if isinstance(control, Ack):
            one.acknowledged(control, now + 0.1)
        else:
            assert isinstance(control, Refusal)
            one.refuse(control, now + 0.1)


def test_on_the_channel_trade_an_unknown_market_leaves_no_other_without_its_subscription() -> None:
    one, venue = Subscription(GEMINI, NATIVES, "trade"), Venue()
    run(one, venue, 120)
    known = {native for native in NATIVES if native not in UNKNOWN}
    assert one.confirmed == known and not one.assumed and not one.pending
    assert venue.streams == {f"{native.lower()}@trade" for native in known}
    assert one.refused == {
        native: f"-1013 Invalid stream name: {native.lower()}@trade" for native in UNKNOWN
    }  # and requested again, now and then


def test_on_the_channel_trade_a_market_waits_for_its_answer_and_on_l2_there_is_none() -> None:
    for channel, pending, assumed in (("trade", NATIVES, []), ("l2", [], NATIVES)):
        one = Subscription(GEMINI, NATIVES, channel)
        assert one.next(0.0) is not None
        assert (list(one.pending), one.assumed) == (pending, set(assumed)), channel
