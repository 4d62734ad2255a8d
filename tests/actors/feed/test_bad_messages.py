"""A bad field, trade or message is rejected alone, whatever is wrong with it, between valid neighbours."""

import copy
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from actors.exchanges.okx.feed import COUNT_MAX
from actors.feed.decoder import Decoder
from actors.model.ticks import REJECT_PAYLOAD_BYTES_MAX, Block, Reason
from tests.harness.bad_messages import (
    LISTS,
    OTHER_TYPES,
    SPOILABLE,
    case,
    changes,
    dump,
    good,
    keys,
    list_key,
    reader,
    trade_in,
)
from tests.harness.exchange_values import dialect_of
from tests.harness.sampling import sample


def check_between_good_ones(exchange: str, bad: bytes, reason: Reason) -> None:
    for messages in ([good(exchange), bad, good(exchange)], [bad, good(exchange), good(exchange)]):
        block = Block(exchange)
        outcome = reader(exchange).read(messages, 5, block)
        assert [reject.reason for reject in outcome.rejects] == [reason], outcome.rejects[0].detail
        assert (outcome.ticks, len(block), outcome.controls) == (2, 2, [])
        (reject,) = outcome.rejects
        assert (reject.received_ns, reject.exchange, reject.payload_bytes) == (5, exchange, len(bad))
        assert reject.payload == bad[:REJECT_PAYLOAD_BYTES_MAX] and reject.detail and len(reject.detail) <= 300


@pytest.mark.parametrize("exchange", SPOILABLE)
def test_one_broken_field_is_one_reject_with_its_reason_and_both_neighbours_are_stored(exchange: str) -> None:
    for field, value, reason in changes(exchange):
        frame = json.loads(good(exchange))
        trade_in(exchange, frame)[keys(exchange)[field]] = value
        check_between_good_ones(exchange, dump(frame), reason)


@pytest.mark.parametrize("exchange", SPOILABLE)
def test_one_missing_field_is_one_reject_that_names_it(exchange: str) -> None:
    for field in keys(exchange).values():
        frame = json.loads(good(exchange))
        del trade_in(exchange, frame)[field]
        if field in case(exchange).optional:
            outcome = reader(exchange).read([dump(frame)], 5, Block(exchange))
            assert (outcome.ticks, outcome.rejects) == (1, [])
            continue
        check_between_good_ones(exchange, dump(frame), Reason.MISSING_FIELD)
        outcome = reader(exchange).read([dump(frame)], 5, Block(exchange))
        assert f"`{field}`" in outcome.rejects[0].detail


@pytest.mark.parametrize("exchange", LISTS)
def test_one_bad_trade_among_good_ones_of_its_frame_costs_only_itself(exchange: str) -> None:
    for field, value, reason in changes(exchange):
        if reason is Reason.NOT_JSON:
            continue  # then the frame is none
        frame = json.loads(good(exchange))
        bad = copy.deepcopy(frame[list_key(exchange)][0])
        bad[keys(exchange)[field]] = value
        frame[list_key(exchange)] = [frame[list_key(exchange)][0], bad, frame[list_key(exchange)][0]]
        block = Block(exchange)
        outcome = reader(exchange).read([dump(frame)], 5, block)
        assert [reject.reason for reject in outcome.rejects] == [reason]
        assert (outcome.ticks, len(block), outcome.controls) == (2, 2, [])
        assert json.loads(dump({**frame, list_key(exchange): [bad]}), parse_int=str) == json.loads(
            outcome.rejects[0].payload, parse_int=str
        )


@pytest.mark.parametrize("exchange", SPOILABLE)
def test_a_broken_message_is_one_reject_with_its_reason_and_both_neighbours_are_stored(exchange: str) -> None:
    frame = good(exchange)
    unread = b'{"unread":"\xff",' + frame[1:]
    nested = b'{"unread":' + b"[" * 100_000 + b"]" * 100_000 + b"," + frame[1:]
    for bad in (unread, b"\xff", frame.replace(b"BTC", b"BT\xc3"), frame[:-3] + b"\xed\xa0\x80" + frame[-3:]):
        if bad != frame:
            check_between_good_ones(exchange, bad, Reason.NOT_UTF8)
    for bad in (
        b"",
        b" ",
        b"{",
        frame[:-1],
        frame + frame,
        frame + b"\n" + frame,
        b"\xef\xbb\xbf" + frame,
        nested,
        b"hi",
    ):
        check_between_good_ones(exchange, bad, Reason.NOT_JSON)
    for bad in (b"{}", b"[]", b"5", b"null", b'"x"', b'{"hello":"world"}', b'{"x":1e400}', b"[" + frame + b"]"):
        check_between_good_ones(exchange, bad, Reason.UNKNOWN_MESSAGE)
    check_between_good_ones(exchange, b'{"x":' + b"9" * 5000 + b"}", Reason.UNKNOWN_MESSAGE)
    check_between_good_ones(exchange, b'{"x":"' + b"a" * 200_000 + b'"}', Reason.UNKNOWN_MESSAGE)


@pytest.mark.parametrize("exchange", LISTS)
def test_a_trade_frame_without_a_list_of_trades_is_one_reject(exchange: str) -> None:
    for value in (*OTHER_TYPES[2:], "x", None, 5):
        check_between_good_ones(
            exchange, dump({**json.loads(good(exchange)), list_key(exchange): value}), Reason.BAD_TYPE
        )
    frame = json.loads(good(exchange))
    del frame[list_key(exchange)]
    check_between_good_ones(exchange, dump(frame), Reason.MISSING_FIELD)


@pytest.mark.parametrize("exchange", SPOILABLE)
def test_white_space_and_key_order_change_nothing(exchange: str) -> None:
    frame = json.loads(good(exchange))
    tidy, turned = Block(exchange), Block(exchange)
    reader(exchange).read([good(exchange)] * 3, 5, tidy)
    pretty = json.dumps(frame, indent=2, sort_keys=True).encode() + b"\n"
    outcome = reader(exchange).read([b" " + good(exchange), pretty, json.dumps(frame).encode()], 5, turned)
    assert (outcome.ticks, outcome.rejects) == (3, [])
    assert (tidy.price, tidy.trade_id, tidy.exchange_ns) == (turned.price, turned.trade_id, turned.exchange_ns)


def test_two_halves_of_a_frame_never_make_a_trade_whatever_stands_beside_them() -> None:
    frame = good("binance")
    cut = frame.index(b',"p"') + 1
    in_text = [frame[:cut] + b'"x":"}', b'{",' + frame[cut:]]  # as one value would be, were the break no break
    for halves in ([frame[:cut], frame[cut:]], [frame[:cut], b'"x":{},' + frame[cut:]], in_text):
        for third in (frame + frame, frame + b" " + frame):  # two values in one: the count alone would be right
            outcome = reader("binance").read([*halves, third], 5, block := Block("binance"))
            assert (outcome.ticks, len(block), len(outcome.rejects)) == (0, 0, 3)


vocabulary = st.sampled_from(
    ["data", "arg", "channel", "trade", "trades", "topic", "publicTrade.X", "type", "e", "s"]
)
junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | vocabulary,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(vocabulary | st.text(), inner, max_size=4),
)


@pytest.mark.parametrize("exchange", sample(SPOILABLE, 3, "rubbish"))
@given(messages=st.lists(st.binary(max_size=40) | junk.map(lambda value: json.dumps(value).encode()), max_size=6))
def test_no_garbage_is_a_tick_and_none_is_lost(exchange: str, messages: list[bytes]) -> None:
    block = Block(exchange)
    outcome = reader(exchange).read([*messages, good(exchange)], 5, block)
    assert outcome.ticks == len(block) == 1
    assert len(outcome.rejects) + len(outcome.controls) >= len(messages)


@pytest.mark.parametrize("exchange", sample(SPOILABLE, 4, "bytes"))
@given(place=st.integers(0, 10_000), piece=st.binary(max_size=3), length=st.integers(0, 3))
@example(place=0, piece=b"", length=0)
def test_a_frame_with_any_bytes_exchanged_is_one_tick_one_reject_or_known(
    exchange: str, place: int, piece: bytes, length: int
) -> None:
    frame = good(exchange)
    place %= len(frame)
    block = Block(exchange)
    outcome = reader(exchange).read([frame[:place] + piece + frame[place + length :], frame], 5, block)
    assert outcome.ticks == len(block)
    assert outcome.ticks - 1 + len(outcome.rejects) + len(outcome.controls) == 1


@pytest.mark.parametrize("exchange", sample(LISTS, 3, "elements"))
@given(elements=st.lists(st.none() | junk, min_size=1, max_size=8))
def test_every_element_of_a_trade_list_is_one_tick_or_one_reject(exchange: str, elements: list[object]) -> None:
    frame = json.loads(good(exchange))
    trades = [frame[list_key(exchange)][0] if element is None else element for element in elements]
    block = Block(exchange)
    outcome = reader(exchange).read([json.dumps({**frame, list_key(exchange): trades}).encode()], 5, block)
    assert outcome.ticks == len(block) == sum(element is None for element in elements)
    assert len(outcome.rejects) == len(elements) - outcome.ticks


@pytest.mark.parametrize(
    ("count", "reason"),
    [
        ("20000000", Reason.BAD_COUNT),
        (str(COUNT_MAX + 1), Reason.BAD_COUNT),
        ("0", Reason.BAD_TYPE),
        ("9" * 5_000, Reason.BAD_TYPE),
    ],
)
def test_an_okx_row_that_claims_more_trades_than_one_order_makes_costs_only_itself(
    count: str, reason: Reason
) -> None:
    frame = json.loads(good("okx"))
    sound, bad = frame["data"][0], {**frame["data"][0], "count": count}
    frame["data"] = [sound, bad, {**sound, "count": str(COUNT_MAX)}]
    block = Block("okx")
    outcome = Decoder("okx", dialect_of("okx"), {sound["instId"]: "THE/MARKET"}).read(
        [json.dumps(frame).encode()], 1_790_000_000_000_000_000, block
    )
    assert block.fills == [int(sound.get("count", "1")), COUNT_MAX]
    assert [(reject.reason, json.loads(reject.payload)["data"]) for reject in outcome.rejects] == [(reason, [bad])]
