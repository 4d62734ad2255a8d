"""MEXC's spot trades in protobuf: what is read, skipped and refused."""

from hypothesis import given
from hypothesis import strategies as st

from actors.exchanges.contract.feed import KeepAlive
from actors.exchanges.mexc import protobuf
from actors.exchanges.mexc.loopback import MEXC
from actors.feed.decoder import Decoder, Outcome
from actors.model.ticks import Block, Reason
from tests.harness.capture_files import incoming
from tests.harness.exchange_values import dialect_of

(RECORDED,) = incoming("mexc", "spot_protobuf_reconstructed_2026-06-23.jsonl")
HEAD = b"\x0a\x2espot@public.aggre.deals.v3.api.pb@10ms@BTCUSDT\x1a\x07BTCUSDT"
PRICE, VOLUME, BOUGHT, TIME = b"\x0a\x031.5", b"\x12\x012", b"\x18\x01", b"\x20\x97\x90\x80\x9f\xef\x33"


def sized(key: bytes, data: bytes) -> bytes:
    assert len(data) < 128
    return key + bytes([len(data)]) + data


def wrapper(*deals: bytes, head: bytes = HEAD) -> bytes:
    return head + sized(b"\xd2\x13", b"".join(sized(b"\x0a", deal) for deal in deals))


def read(*messages: bytes) -> tuple[Block, Outcome]:
    block = Block("mexc")
    return block, Decoder("mexc", dialect_of("mexc"), {"BTCUSDT": "BTC/USDT"}).read(list(messages), 5, block)


def test_the_recorded_frame_is_read_whole_beside_its_neighbours() -> None:
    block, outcome = read(RECORDED, b'{"id":0,"code":0,"msg":"PONG"}', RECORDED)
    assert len(block) == 10 and outcome.controls == [KeepAlive()] and not outcome.rejects
    assert set(block.exchange_ns) == {1_782_208_006_167_000_000, 1_782_208_006_168_000_000}


def test_unknown_fields_are_skipped_and_an_id_is_kept() -> None:
    unknown = b"\x30\x81\x01" + b"\x39" + b"8" * 8 + b"\x45" + b"4" * 4 + sized(b"\x4a", b"text") + b"\xd0\x3e\x07"
    block, _ = read(wrapper(unknown + VOLUME + TIME + unknown + PRICE + sized(b"\x2a", b"77") + BOUGHT + unknown))
    assert (block.price, block.volume, block.side, block.trade_id) == (["1.5"], ["2"], ["buy"], ["77"])


def test_what_is_wrong_with_a_trade_is_its_reason() -> None:
    sound = PRICE + VOLUME + BOUGHT + TIME
    bad = {
        VOLUME + BOUGHT + TIME: Reason.MISSING_FIELD,
        PRICE + BOUGHT + TIME: Reason.MISSING_FIELD,
        PRICE + VOLUME + BOUGHT: Reason.MISSING_FIELD,
        PRICE + VOLUME + TIME: Reason.BAD_SIDE,
        PRICE + VOLUME + TIME + b"\x18\x03": Reason.BAD_SIDE,
        sized(b"\x0a", b"-1") + VOLUME + BOUGHT + TIME: Reason.BAD_PRICE,
        sized(b"\x0a", b"1e") + VOLUME + BOUGHT + TIME: Reason.BAD_PRICE,
        PRICE + sized(b"\x12", b"0") + BOUGHT + TIME: Reason.BAD_VOLUME,
        PRICE + VOLUME + BOUGHT + b"\x20\x00": Reason.BAD_TIME,
    }
    for deal, reason in bad.items():
        block, outcome = read(wrapper(sound), wrapper(deal), wrapper(sound))
        assert [reject.reason for reject in outcome.rejects] == [reason], deal
        assert len(block) == 2
    block, outcome = read(wrapper(sound, head=HEAD.replace(b"\x07BTCUSDT", b"\x07NOPUSDT")))
    assert [reject.reason for reject in outcome.rejects] == [Reason.UNKNOWN_SYMBOL]


def test_a_frame_without_trades_is_no_trade_and_another_channel_is_not_known() -> None:
    _, outcome = read(wrapper(), wrapper(head=HEAD.replace(b"deals", b"depth")))
    assert outcome.controls == [KeepAlive()] and [reject.reason for reject in outcome.rejects] != []


@given(st.integers(0, len(RECORDED) - 1), st.binary(max_size=4), st.integers(0, 4))
def test_a_frame_with_any_bytes_exchanged_is_accounted_for(at: int, piece: bytes, length: int) -> None:
    broken = RECORDED[:at] + piece + RECORDED[at + length :]
    block, outcome = read(broken, RECORDED)
    assert len(block) + len(outcome.rejects) + len(outcome.controls) >= 6
    assert len(block) == outcome.ticks >= 5


@given(st.binary(max_size=60), st.booleans())
def test_no_bytes_make_it_raise(data: bytes, wrapped: bool) -> None:
    _, outcome = read(HEAD + data if wrapped else b"\n" + data)
    assert outcome.messages == 1 and outcome.ticks + len(outcome.rejects) + len(outcome.controls) >= 1


def test_what_the_loopback_sends_is_what_was_recorded() -> None:
    assert MEXC.encode is not None
    text = (
        '{"channel":"spot@public.aggre.deals.v3.api.pb@10ms@BTCUSDT","symbol":"BTCUSDT","sendTime":1,'
        '"publicAggreDeals":{"deals":[{"price":"62383.56","quantity":"0.00008235","tradeType":2,'
        '"time":1782208006167}],"eventType":"spot@public.aggre.deals.v3.api.pb@10ms"}}'
    )
    deal = b"\x0a\x0862383.56\x12\x0a0.00008235\x18\x02\x20\x97\x90\x80\x9f\xef\x33"
    assert sized(b"\x0a", deal) in MEXC.encode(text) and sized(b"\x0a", deal) in RECORDED


FIELDS = st.sampled_from(
    [PRICE, VOLUME, BOUGHT, TIME, b"\x18\x02", b"\x2a\x0277", b"\x2a\x0377", b"\x0a\x0215", b"\x12\x00", b"9"]
)
deals = st.lists(FIELDS, max_size=5).map(b"".join) | st.just(PRICE + VOLUME + BOUGHT + TIME)


@given(st.lists(deals, max_size=3), st.binary(max_size=4))
def test_a_frame_written_as_usual_is_read_as_field_by_field(deals: list[bytes], tail: bytes) -> None:
    """The short way gives what the long one gives, or leaves the frame to it."""
    event = b"\x12\x05spot@"
    body = b"".join(sized(b"\x0a", deal) for deal in deals)
    for message in (sized(b"\xd2\x13", body + event), sized(b"\xd2\x13", body + tail), body + event + tail):
        short = protobuf.usual_deals(HEAD + message)
        assert short is None or short == protobuf.any_deals(HEAD + message)
    assert protobuf.usual_deals(RECORDED) == protobuf.any_deals(RECORDED)
    usual = PRICE + VOLUME + BOUGHT + TIME
    assert protobuf.usual_deals(HEAD + sized(b"\xd2\x13", sized(b"\x0a", usual) + event)) is not None


def test_trades_of_a_contract_come_oldest_first_and_once_came_alone() -> None:
    rows = [f'{{"p":77526.50,"v":208,"T":{2 - at},"t":{1788335243261 - at},"i":"{9 - at}"}}' for at in range(2)]
    frames = [
        f'{{"symbol":"BTC_USDT","data":[{",".join(rows)}],"channel":"push.deal","ts":1788335243261}}',
        '{"channel":"push.deal","data":{"M":1,"O":3,"T":2,"p":39766.5,"t":1646999591755,"v":32},"symbol":"BTC_USDT"}',
    ]
    block = Block("mexc")
    reader = Decoder("mexc", dialect_of("mexc"), {"BTC_USDT": "BTC/USDT:USDT"})
    reader.read([frame.encode() for frame in frames], 5, block)
    assert block.trade_id == ["8", "9", None] and block.side == ["buy", "sell", "sell"]
    assert block.price == ["77526.50", "77526.50", "39766.5"] and block.volume == ["208", "208", "32"]
