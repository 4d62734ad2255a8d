"""What exchanges need that none of the first five does, each shown on a made-up exchange with the real recorder."""

import gzip
import itertools
import json
import struct
import tracemalloc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import httpx
import msgspec
import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock

from actors.backfill.rate_limiter import RateLimiter
from actors.backfill.rest_client import Answer, RestClient
from actors.exchanges.contract import feed as x
from actors.exchanges.contract.feed_helpers import Row, columns, decode_frames, text_inside
from actors.exchanges.contract.instruments import Instrument, InstrumentList, InstrumentPage
from actors.exchanges.contract.rest import Busy, Garbled, RateLimit, RestRequest
from actors.feed.decoder import INFLATED_AT_ONCE, ODD_AT_ONCE, Decoder
from actors.feed.keep_alive import REPLIES_MAX
from actors.feed.set_aside import PAUSES_S, REASON, SetAside
from actors.feed.subscription import Subscription
from actors.model.records import GapReason
from actors.model.schema import DECIMAL, Stored, schema_of
from actors.model.ticks import TICKS, Block, IdPromise, Reason
from supervisor import State
from tests.harness.exchange_server import Client
from tests.harness.made_up_exchange import LIMITS, NS, control, dialect, recorded, trade, trades
from tests.harness.server_frames import BINARY, PING, frame

ONE_EACH = replace(LIMITS, symbols_per_request=1)


def wanted(text: str) -> list[str]:
    """The markets that a request names."""
    return list(json.loads(text)["want"])


async def taking(client: Client) -> None:
    """Acknowledges all it is asked for."""
    await client.accept()
    while (text := await client.ask()) is not None:
        if "want" in text:
            await client.send(*(json.dumps({"ok": native}) for native in wanted(text)))


# -- messages of the exchange that want an answer ----------------------------------------------------------


async def test_a_ping_of_the_exchange_is_answered_with_its_own_number_at_once(autojump_clock: MockClock) -> None:
    answered_at: list[tuple[str, float]] = []

    async def script(client: Client) -> None:
        await client.accept()
        await client.ask()
        for number in (7, 8):
            await client.send(json.dumps({"ping": number}))
            answered_at.append((await client.ask() or "", trio.current_time()))
            await trio.sleep(3)
        await client.gone()

    async with recorded(script):
        await trio.sleep(10)
    assert answered_at == [('{"pong": 7}', 0.0), ('{"pong": 8}', 3.0)]


async def test_a_flood_of_pings_is_answered_within_bounds_and_trades_go_on(autojump_clock: MockClock) -> None:
    async def script(client: Client) -> None:
        await client.accept()
        await client.ask()
        await client.send(*(json.dumps({"ping": number}) for number in range(5_000)), trade())
        await client.gone()

    async with recorded(script) as recorder:
        await trio.sleep(1)
        (client,) = recorder.server.clients
        answers = [text for text in client.asked if "pong" in text]
        assert answers[-1] == '{"pong": 4999}' and len(answers) <= 5_000 // ODD_AT_ONCE * (REPLIES_MAX + 1)
        assert recorder.rows == [("AAA/USD", "1", "stream")]


async def test_an_answer_of_absurd_length_is_not_sent(autojump_clock: MockClock) -> None:
    decoder = Decoder("x", dialect(), {"AAA-USD": "AAA/USD"})
    outcome = decoder.read([json.dumps({"ping": "9" * 5_000}).encode()], NS, Block("x"))
    assert [reject.reason for reject in outcome.rejects] == [Reason.UNKNOWN_MESSAGE] and not outcome.controls


# -- compressed and binary messages ------------------------------------------------------------------------


def bomb(size: int) -> bytes:
    return gzip.compress(b" " * size)


async def test_compressed_messages_are_read_and_bad_ones_cost_only_themselves(autojump_clock: MockClock) -> None:
    bad = (bomb(50 << 20), b"\x1f\x8b no gzip", gzip.compress(trade(number=9).encode())[:-4], b"", b"{}")

    async def script(client: Client) -> None:
        await client.accept()
        await client.ask()
        good = [gzip.compress(text.encode()) for text in ('{"ok":"AAA-USD"}', trade(number=1), trade(number=2))]
        messages = [good[0], good[1], *bad, gzip.compress(b"what?"), good[2]]
        await client.raw(b"".join(frame(message, BINARY) for message in messages))
        await client.gone()

    async with recorded(script, compression="gzip") as recorder:
        await trio.sleep(1)
        assert [number for _, number, _ in recorder.rows] == ["1", "2"]
        reasons = [reject.reason for reject in recorder.rejects]
        assert sorted(reasons) == sorted([Reason.OVERSIZE, *[Reason.NOT_GZIP] * 4, Reason.NOT_JSON])
        assert recorder.health.state is State.OK and recorder.account.balanced
        assert len(recorder.server.clients) == 1


def test_a_bomb_is_refused_in_bounded_memory_and_many_end_a_read_early() -> None:
    decoder = Decoder("x", dialect(compression="gzip"), {"AAA-USD": "AAA/USD"})
    message = bomb(50 << 20)
    tracemalloc.start()
    try:
        outcome = decoder.read([message] * 3, NS, Block("x"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [reject.reason for reject in outcome.rejects] == [Reason.OVERSIZE] * 3
    assert peak < 4 * LIMITS.message_bytes
    at_once = INFLATED_AT_ONCE // LIMITS.message_bytes
    assert decoder.read([message] * 100, NS, Block("x")).messages == at_once


def test_a_read_of_many_compressed_messages_is_taken_in_portions_without_loss() -> None:
    decoder, block = Decoder("x", dialect(compression="gzip"), {"AAA-USD": "AAA/USD"}), Block("x")
    junk = gzip.compress(b"what?")
    messages = [gzip.compress(trade(number=n).encode()) if n % 2 else junk for n in range(3 * ODD_AT_ONCE)]
    rejects, left = 0, messages
    while left:
        outcome = decoder.read(left, NS, block)
        assert 0 < outcome.messages <= ODD_AT_ONCE
        rejects, left = rejects + len(outcome.rejects), left[outcome.messages :]
    assert block.trade_id == [str(n) for n in range(1, len(messages), 2)]
    assert rejects == len(messages) // 2


async def test_binary_messages_that_are_no_text_reach_the_decoder_as_they_are(autojump_clock: MockClock) -> None:
    def packed(number: int) -> bytes:
        return b"\xff" + struct.pack(">I", number)

    def read(frames: Sequence[bytes]) -> x.Trades:
        numbers = [struct.unpack(">xI", message)[0] for message in frames if message[:1] == b"\xff"]
        if len(numbers) != len(frames):
            raise ValueError("not a trade")
        return columns([Row("AAA-USD", "1.5", "2", "buy", str(number), None) for number in numbers])

    def about(message: object) -> x.Control | None:
        return x.KeepAlive() if message == b"\xfe" else control(message)

    async def script(client: Client) -> None:
        await client.accept()
        await client.ask()
        for message in (packed(1), b"\xfe", packed(0xFFFFFFFF), b"\xfd\xfd"):
            await client.raw(frame(message, BINARY))
        await client.gone()

    async with recorded(script, trades=read, control=about) as recorder:
        await trio.sleep(1)
        assert [number for _, number, _ in recorder.rows] == ["1", str(0xFFFFFFFF)]
        assert [(reject.reason, reject.payload) for reject in recorder.rejects] == [(Reason.NOT_UTF8, b"\xfd\xfd")]


# -- state of a connection ---------------------------------------------------------------------------------


class Channels:
    """Frames are [channel, id] and {"channel": n, "ok": native} says which market a channel is."""

    def __init__(self, markets: Mapping[str, x.Market]) -> None:
        self.markets, self.natives = markets, dict[int, str]()

    def trades(self, frames: Sequence[bytes]) -> x.Trades:
        rows = [json.loads(message) for message in frames]
        if not all(isinstance(row, list) for row in rows):
            raise ValueError("not a trade")
        return columns([Row(self.natives[row[0]], "1.5", "2", None, str(row[1]), None) for row in rows])

    def control(self, message: object) -> x.Control | None:
        match message:
            case {"channel": int(channel), "ok": str(native)}:
                assert native in self.markets
                self.natives[channel] = native
                return x.Ack((native,))
        return x.MalformedTrade() if isinstance(message, list) else None


async def test_what_earlier_frames_defined_holds_for_their_connection_and_no_other(
    autojump_clock: MockClock,
) -> None:
    async def script(client: Client) -> None:
        await client.accept()
        names = ("AAA-USD", "BBB-USD")[:: 1 if client.number == 1 else -1]
        await client.ask()
        await client.send(*(json.dumps({"channel": n, "ok": native}) for n, native in enumerate(names)))
        await client.send(*(json.dumps([channel, 10 * client.number + channel]) for channel in (0, 1, 2)))
        if client.number == 1:
            await trio.sleep(1)
            await client.close()
        await client.gone()

    async with recorded(script, "AAA/USD", "BBB/USD", decoder=Channels) as recorder:
        await trio.sleep(10)
        assert [row[:2] for row in recorder.rows] == [
            *(("AAA/USD", "10"), ("BBB/USD", "11")),
            *(("BBB/USD", "20"), ("AAA/USD", "21")),
        ]
        assert [reject.payload for reject in recorder.rejects] == [b"[2, 12]", b"[2, 22]"]


def test_frames_that_are_lists_are_decoded_at_once_and_broken_ones_never_make_a_sound_one() -> None:
    decoder = msgspec.json.Decoder(list[object])
    assert decode_frames(decoder, [b"[1,[2]]", b"[]", b"[3]"]) == [[1, [2]], [], [3]]
    for broken in (
        [b"[1,[2]", b"[3]]"],
        [b"[1", b"2]"],
        [b"[1],", b"[2]"],
        [b"[1][2]", b"[3]"],
        [b"[1]", b"", b"[2]"],
    ):
        with pytest.raises(ValueError, match=r"JSON|values|empty"):
            decode_frames(decoder, broken)


def test_one_bad_trade_in_a_frame_that_is_a_list_costs_only_itself() -> None:
    def read(frames: Sequence[bytes]) -> x.Trades:
        rows = [row for message in frames for row in json.loads(message)[1]]
        return columns([Row("AAA-USD", row[1], "2", None, str(row[0]), None, snapshot=True) for row in rows])

    spoken = dialect(trades=read, control=lambda _message: x.MalformedTrade(), list_key="1")
    decoder, block = Decoder("x", spoken, {"AAA-USD": "AAA/USD"}), Block("x")
    outcome = decoder.read([b'[17,[[1,"1.5"],[2,"-3"],[3,"2.5"]]]'], NS, block)
    assert (block.trade_id, block.source) == (["1", "3"], ["snapshot"] * 2)
    assert [reject.payload for reject in outcome.rejects] == [b'[17,[[2,"-3"]]]']


# -- subscribing -------------------------------------------------------------------------------------------


def test_a_request_that_replaces_all_others_names_every_market_each_time() -> None:
    one = Subscription(dialect(request_replaces=True), ("A", "B", "C"), "trades")
    first = one.next(0)
    assert first is not None and first.natives == ("A", "B", "C")
    one.acknowledged(x.Ack(request_id=first.request_id), 0)
    one.unsubscribed(["B"], 100, "gone")
    again = one.next(100)
    assert again is not None and again.natives == ("A", "B", "C")
    one.refuse(x.Refusal("no such market", ("B",)), 101)
    assert one.confirmed == {"A", "C"} and "B" in one.refused
    one.unsubscribed(["C"], 102, "gone")
    without = one.next(102)
    assert without is not None and without.natives == ("A", "C")  # what was refused would spoil it


def test_requests_that_replace_each_other_find_the_bad_market_one_after_the_other() -> None:
    names = ("A", "BAD", "C", "D")
    one, now = Subscription(dialect(request_replaces=True), names, "trades"), 0.0
    for _ in range(500):
        now += 0.5
        if request := one.next(now):
            assert one.next(now) is None
            if "BAD" in request.natives:
                one.refuse(x.Refusal("no such market", request_id=request.request_id), now)
            else:
                one.acknowledged(x.Ack(request_id=request.request_id), now)
    assert one.confirmed == {"A", "C", "D"} and list(one.refused) == ["BAD"] and not one.pending


async def test_markets_that_an_answer_leaves_out_are_refused_the_others_recorded(autojump_clock: MockClock) -> None:
    """Some exchanges name those that exist and say nothing of the others."""

    def naming(message: object) -> x.Control | None:
        request_id = text_inside(message, "have") and text_inside(message, "id")
        natives = tuple(text_inside(message, "have").split())
        return x.Ack(natives, request_id, only=True) if request_id else control(message)

    async def script(client: Client) -> None:
        await client.accept()
        while (text := await client.ask()) is not None:
            have = [native for native in wanted(text) if native == "AAA-USD"]
            await client.send(json.dumps({"id": json.loads(text)["id"], "have": " ".join(have) or " "}))
            if have:
                await client.send(trade())

    async with recorded(script, "AAA/USD", "BBB/USD", "CCC/USD", control=naming, answers_each=True) as recorder:
        await trio.sleep(3)
        (connection,) = recorder.exchange.connections
        assert list(connection.state.since) == ["AAA/USD"] and recorder.rows == [("AAA/USD", "1", "stream")]
        refused = [event.detail for event in recorder.events if event.event == "refused"]
        assert [detail["symbol"] for detail in refused] == ["BBB/USD", "CCC/USD"]


async def test_where_nothing_is_ever_acknowledged_a_quiet_market_is_no_failure(autojump_clock: MockClock) -> None:
    async def script(client: Client) -> None:
        await client.accept()
        await client.ask()
        await trio.sleep(100)
        await client.send(trade("BBB-USD"))
        await client.gone()

    async with recorded(script, "AAA/USD", "BBB/USD", acknowledges=False) as recorder:
        await trio.sleep(50)
        (connection,) = recorder.exchange.connections
        assert recorder.health.state is State.OK and not recorder.health.reason
        assert not connection.state.since  # nothing is known to be recorded yet
        await trio.sleep(100)
        assert recorder.health.state is State.OK and not recorder.health.reason
        assert list(connection.state.since) == ["BBB/USD"] and recorder.rows == [("BBB/USD", "1", "stream")]
        assert len(recorder.server.clients) == 1 and len(recorder.server.clients[0].asked) == 1


async def test_nothing_is_asked_for_before_the_welcome(autojump_clock: MockClock) -> None:
    async def script(client: Client) -> None:
        await client.accept()
        with trio.move_on_after(5):
            await client.ask()
            raise AssertionError("asked before the welcome")
        await client.send('{"welcome":1}')
        await client.send(json.dumps({"ok": wanted(await client.ask() or "")[0]}))
        await client.gone()

    async with recorded(script, waits_for_welcome=True) as recorder:
        await trio.sleep(20)
        assert recorder.health.state is State.OK and len(recorder.server.clients) == 1


async def test_a_connection_without_its_welcome_is_given_up(autojump_clock: MockClock) -> None:
    async def script(client: Client) -> None:
        await client.accept()
        await client.gone()

    async with recorded(script, waits_for_welcome=True, ack_s=10.0) as recorder:
        await trio.sleep(13)
        assert len(recorder.server.clients) == 2 and not recorder.server.clients[0].asked
        assert "no welcome within 10 s" in recorder.errors()[0]


# -- a token before connecting -----------------------------------------------------------------------------


def token_of(body: bytes) -> x.Token:
    told = json.loads(body)
    if "busy" in told:
        raise Busy("later", retry_after_s=told["busy"])
    return x.Token(url=told["url"], ping_interval_s=told["ping_s"])


TOKEN = x.TokenRequest(
    request=RestRequest(path="/token", base="https://made.up", body=b""),
    limit=RateLimit(name="requests", units=10.0, window_s=1.0, burst=5.0),
    parse=token_of,
)


async def test_each_connection_goes_where_the_answer_to_its_token_request_leads(autojump_clock: MockClock) -> None:
    asked: list[httpx.Request] = []

    def rest(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        told = {"url": f"ws://elsewhere.made.up/socket?token=t{len(asked)}", "ping_s": 4}
        return httpx.Response(200, stream=httpx.ByteStream(json.dumps(told).encode()))

    async def script(client: Client) -> None:
        await client.accept()
        if client.number == 1:
            await client.ask()
            await client.close()
        while (text := await client.ask()) is not None:
            if "want" in text:
                await client.send('{"ok":"AAA-USD"}')

    ping = x.Ping(interval_s=1_000.0, text=str)
    async with recorded(script, rest=rest, token=TOKEN, ping=ping) as recorder:
        await trio.sleep(20)
        first, second = recorder.server.clients
        assert (first.path, second.path) == ("/socket?token=t1", "/socket?token=t2")
        assert second.asked[1:4] == ["1", "2", "3"] and second.asked_at[2] - second.asked_at[1] == pytest.approx(4)
    assert [(request.method, str(request.url)) for request in asked] == [("POST", "https://made.up/token")] * 2


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (500, b"oops", "HTTP 500"),
        (200, b"<html>", "holds no token"),
        (200, b'{"url":"http://x","ping_s":1}', "no WebSocket"),
        (200, b'{"busy":3}', "later"),
    ],
)
async def test_without_a_token_the_exchange_is_asked_again_with_patience(
    status: int, body: bytes, message: str, autojump_clock: MockClock
) -> None:
    answers = [(status, body)] * 2 + [(200, b'{"url":"ws://made.up/x","ping_s":null}')] * 9

    def rest(_request: httpx.Request) -> httpx.Response:
        code, content = answers.pop(0)
        return httpx.Response(code, stream=httpx.ByteStream(content))

    async with recorded(taking, rest=rest, token=TOKEN) as recorder:
        await trio.sleep(60)
        assert recorder.health.state is State.OK and len(recorder.server.clients) == 1
        errors = recorder.errors()
        assert len(errors) == 2 and all(message in error for error in errors)


# -- pings of this side ------------------------------------------------------------------------------------


async def test_a_ping_may_be_one_of_the_protocol(autojump_clock: MockClock) -> None:
    pings: list[float] = []

    async def raw(client: Client) -> None:
        """Reads frames past the protocol: a masked ping begins with 0x89."""
        await client.accept()
        while data := await client.stream.receive_some():
            if data[0] == 0x80 | PING:
                pings.append(trio.current_time())
                mask, payload = data[2:6], data[6:]
                plain = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
                await client.raw(frame(plain, 10))
            else:
                await client.send('{"ok":"AAA-USD"}')

    async with recorded(raw, ping=x.Ping(interval_s=20.0)) as recorder:
        await trio.sleep(70)
        assert recorder.health.state is State.OK
    assert pings == pytest.approx([20, 40, 60])


async def test_a_protocol_ping_without_answer_ends_nothing_before_the_silence_does(
    autojump_clock: MockClock,
) -> None:
    async def deaf(client: Client) -> None:
        await client.accept()
        await client.send('{"ok":"AAA-USD"}')
        while await client.stream.receive_some():
            pass

    async with recorded(deaf, ping=x.Ping(interval_s=20.0), silence_s=50.0) as recorder:
        await trio.sleep(49)
        assert len(recorder.server.clients) == 1
        await trio.sleep(5)
        assert "nothing came from x for 50 s" in recorder.errors()[0]


async def test_a_ping_when_idle_is_sent_only_after_silence(autojump_clock: MockClock) -> None:
    async def script(client: Client) -> None:
        await client.accept()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.gone)
            for number in range(12):  # a trade every 5 s for a minute
                await client.send(trade(number=number))
                await trio.sleep(5)
            await trio.sleep(60)
            nursery.cancel_scope.cancel()

    async with recorded(
        script, ping=x.Ping(interval_s=10.0, text=lambda n: f"ping {n}", when_idle=True)
    ) as recorder:
        await trio.sleep(100)
        (client,) = recorder.server.clients
        pings = [(text, at) for text, at in zip(client.asked, client.asked_at, strict=True) if "ping" in text]
    assert pings[0][1] == pytest.approx(65)
    assert [text for text, _ in pings] == [f"ping {n}" for n in range(1, len(pings) + 1)] and len(pings) >= 3


# -- an unknown market that ends the connection ------------------------------------------------------------


async def test_a_market_at_which_the_exchange_closes_is_set_aside_and_the_others_go_on(
    autojump_clock: MockClock,
) -> None:
    bad_at: list[float] = []

    async def script(client: Client) -> None:
        await client.accept()
        taken = 0
        while (text := await client.ask()) is not None:
            (native,) = wanted(text)
            if native == "BAD-USD":
                bad_at.append(trio.current_time())
                await trio.sleep(0.1)
                await trio.aclose_forcefully(client.stream)
                return
            await trio.sleep(0.2)
            taken += 1
            await client.send(json.dumps({"ok": native}), trade(native, 100 * client.number + taken))

    symbols = ("AAA/USD", "BAD/USD", "BBB/USD", "CCC/USD")
    async with recorded(script, *symbols, bad_symbol_closes=True, limits=ONE_EACH) as recorder:
        await trio.sleep(9)
        (connection,) = recorder.exchange.connections
        assert set(connection.state.since) == {"AAA/USD", "BBB/USD", "CCC/USD"}
        assert recorder.health.state is State.DEGRADED and f"BAD/USD refused: {REASON}" in recorder.health.reason
        assert [event.detail.get("symbol") for event in recorder.events if event.event == "refused"] == ["BAD/USD"]
        await trio.sleep(PAUSES_S[0] + PAUSES_S[1])
        assert set(connection.state.since) == {"AAA/USD", "BBB/USD", "CCC/USD"}
    pauses = [later - earlier for earlier, later in itertools.pairwise(bad_at)]
    assert pauses == [pytest.approx(pause, abs=2) for pause in PAUSES_S[: len(pauses)]] and len(pauses) == 2


async def test_markets_that_were_taken_before_are_asked_for_without_waiting(autojump_clock: MockClock) -> None:
    at: dict[int, list[float]] = {}

    async def script(client: Client) -> None:
        await client.accept()
        while (text := await client.ask()) is not None:
            at.setdefault(client.number, []).append(trio.current_time())
            client_, native = client, wanted(text)[0]
            await trio.sleep(1 if client.number == 1 else 0)
            await client_.send(json.dumps({"ok": native}))
            if client.number == 1 and len(at[1]) == 3:
                await trio.sleep(10)
                await client.close()

    async with recorded(script, "AAA/USD", "BBB/USD", "CCC/USD", bad_symbol_closes=True, limits=ONE_EACH):
        await trio.sleep(20)
    first, second = at[1], at[2]
    assert first[2] - first[0] >= 2 and second[2] - second[0] < 0.1


def test_where_several_may_be_the_bad_one_none_is_set_aside_until_each_was_asked_alone() -> None:
    spoken = dialect(bad_symbol_closes=True, limits=ONE_EACH)
    set_aside = SetAside()
    set_aside.accept(("A", "B"))
    one = Subscription(spoken, ("A", "B"), "trades", set_aside)
    assert [request.natives for request in (one.next(0), one.next(0)) if request] == [("A",), ("B",)]
    assert one.closed(1) == []
    two = Subscription(spoken, ("A", "B"), "trades", set_aside)
    request = two.next(10)
    assert request is not None and request.natives == ("A",) and two.next(10) is None
    assert two.closed(11) == ["A"]


# -- rows that are sent again without a mark ---------------------------------------------------------------


def test_old_rows_after_a_request_are_a_snapshot_until_the_first_that_is_not_old() -> None:
    spoken = dialect(replays_unmarked=3)
    names = {"A": "A/X", "B": "B/X"}
    decoder, block = Decoder("x", spoken, names), Block("x")
    decoder.requested(names, NS)

    def sources(*rows: tuple[str, int]) -> list[str]:
        before = len(block)
        decoder.read([trade(native, n, NS + age).encode() for n, (native, age) in enumerate(rows)], NS, block)
        return block.source[before:]

    assert sources(("A", -9), ("A", -8), ("A", 0), ("A", -1)) == ["snapshot", "snapshot", "stream", "stream"]
    assert sources(*[("B", -9)] * 5) == ["snapshot"] * 3 + ["stream"] * 2  # no endless replay by a slow clock
    decoder.requested(("A",), NS + 100)
    assert sources(("A", 50), ("B", 50), ("A", 101)) == ["snapshot", "stream", "stream"]


@pytest.mark.parametrize("set_back", [False, True])
def test_what_comes_long_after_the_first_old_row_is_live_even_if_this_hosts_clock_is_ahead(set_back: bool) -> None:
    hour_ns, second_ns = 3_600 * 10**9, 10**9
    decoder, block = Decoder("x", dialect(replays_unmarked=100), {"A": "A/X", "B": "B/X"}), Block("x")
    decoder.requested(["A", "B"], NS + hour_ns)
    for native, at_s in (("A", 0), ("A", 10), ("A", 11), ("B", 12), ("A", 13)):
        made_ns = NS + at_s * second_ns
        decoder.read([trade(native, at_s, made_ns).encode()], made_ns + hour_ns, block)
        hour_ns = 0 if set_back and native == "A" and at_s >= 10 else hour_ns
    assert block.source == ["snapshot", "snapshot", "stream", "snapshot", "stream"]


# -- REST --------------------------------------------------------------------------------------------------


async def test_rest_is_asked_by_post_and_at_a_host_of_the_requests_own(autojump_clock: MockClock) -> None:
    asked: list[tuple[str, str, bytes]] = []

    def rest(request: httpx.Request) -> httpx.Response:
        asked.append((request.method, str(request.url), request.content))
        return httpx.Response(200, stream=httpx.ByteStream(b"{}"))

    def body(answer: Answer) -> bytes:
        return answer.body

    requests = [
        RestRequest(path="/info", body=b'{"type":"trades"}'),
        RestRequest(path="/info", query=(("a", "b c"),), base="https://swaps.made.up"),
    ]
    for url in (None, "https://stand.in:8443"):
        limiter = RateLimiter((TOKEN.limit,))
        async with RestClient(TOKEN, limiter, rest_url=url, transport=httpx.MockTransport(rest)) as client:
            for ask in requests:
                assert await client.get(ask, body) == b"{}"
    assert asked == [
        ("POST", "https://made.up/info", b'{"type":"trades"}'),
        ("GET", "https://swaps.made.up/info?a=b+c", b""),
        ("POST", "https://stand.in:8443/info", b'{"type":"trades"}'),
        ("GET", "https://stand.in:8443/info?a=b+c", b""),
    ]


def test_a_list_of_instruments_leads_from_page_to_page_and_garbage_is_the_exchanges_fault() -> None:
    def parse(body: bytes, ask: RestRequest) -> InstrumentPage:
        told = json.loads(body)
        following = replace(ask, query=(("after", told["next"]),)) if told["next"] else None
        found = [
            Instrument(symbol=f"{n}/USD", native=f"{n}USD", kind="spot", base=n, quote="USD") for n in told["names"]
        ]
        return InstrumentPage(tuple(found), following)

    listed = InstrumentList(
        name="madeup",
        doc="https://made.up/docs",
        doc_read="2026-11-26",
        base="https://made.up",
        requests=(RestRequest(path="/markets"),),
        parse=parse,
    )
    page = listed.page(b'{"names":["AAA"],"next":"5"}', listed.requests[0])
    assert page.instruments[0].symbol == "AAA/USD" and page.next_request is not None
    assert page.next_request.url(listed.base) == "https://made.up/markets?after=5"
    assert listed.page(b'{"names":[],"next":null}', page.next_request).next_request is None
    for garbage in (b"<html>", b"{}", b'{"names":3,"next":""}'[:-1]):
        with pytest.raises(Garbled, match="makes no sense"):
            listed.page(garbage, listed.requests[0])


# -- other kinds of rows -----------------------------------------------------------------------------------


def test_a_stream_beside_trades_is_one_more_entry_with_its_channels_and_its_schema() -> None:
    @dataclass
    class Quote:
        symbol: str
        bid: Annotated[str, Stored(kind=DECIMAL)]

    quotes = x.Stream(channels=("bbo",), schema=schema_of("quotes", Quote))
    streams = dialect(streams={"quotes": quotes}).all_streams
    assert {name: stream.channels for name, stream in streams.items()} == {
        "trades": ("trades",),
        "quotes": ("bbo",),
    }
    assert streams["trades"].schema is TICKS and streams["quotes"].schema.name == "quotes"
    assert list(dialect().all_streams) == ["trades"]


# -- the contract itself -----------------------------------------------------------------------------------


def test_a_dialect_that_contradicts_itself_is_no_dialect() -> None:
    for wrong in (
        {"decoder": Channels, "trades": trades, "control": control},
        {"request_replaces": True, "limits": ONE_EACH},
        {"bad_symbol_closes": True},
        {"bad_symbol_closes": True, "limits": ONE_EACH, "acknowledges": False},
    ):
        with pytest.raises(ValueError, match=r"https://made\.up/docs"):
            dialect(**wrong)


# -- fills off the book ------------------------------------------------------------------------------------


def off_book_trades(frames: Sequence[bytes]) -> x.Trades:
    """Every third id is of a fill that never met the order book."""
    plain = trades(frames)
    assert plain.trade_id is not None
    plain.off_book = [int(one or 0) % 3 == 0 for one in plain.trade_id]
    return plain


async def test_a_fill_off_the_book_is_rejected_with_that_reason_and_its_id_is_not_missing(
    autojump_clock: MockClock,
) -> None:
    async def script(client: Client) -> None:
        await client.accept()
        await client.ask()
        await client.send('{"ok":"AAA-USD"}', *(trade(number=number, ns=NS + number) for number in range(1, 8)))
        await client.gone()

    ids = {"spot": IdPromise.CONTIGUOUS}
    async with recorded(script, trades=off_book_trades, ids=ids) as recorder:
        await trio.sleep(5)
        assert [row[1] for row in recorder.rows] == ["1", "2", "4", "5", "7"]
        assert [json.loads(reject.payload)["trade_id"] for reject in recorder.rejects] == ["3", "6"]
        assert {(reject.reason, reject.symbol) for reject in recorder.rejects} == {(Reason.OFF_BOOK, "AAA/USD")}
        gaps = [gap for chunk in recorder.chunks for gap in chunk.gaps]
        assert not [gap for gap in gaps if gap.reason is GapReason.SEQUENCE]
        account = recorder.account
        assert (account.received, account.rejected, account.in_flight) == (7, 2, 5) and account.balanced


# -- what comes before the first request -------------------------------------------------------------------


async def test_opening_messages_are_sent_once_a_connection_after_the_pause_that_the_exchange_wants(
    autojump_clock: MockClock,
) -> None:
    asked_at: list[tuple[str, float]] = []

    async def script(client: Client) -> None:
        await client.accept()
        while (text := await client.ask()) is not None:
            asked_at.append((text, trio.current_time()))
            if "want" in text:
                await client.send('{"ok":"AAA-USD"}')

    async with recorded(script, opening=('{"heartbeat":true}',), settle_s=1.5) as recorder:
        await trio.sleep(30)
        assert recorder.health.state is State.OK
    assert [text for text, _ in asked_at] == ['{"heartbeat":true}', '{"id": "1", "want": ["AAA-USD"]}']
    assert [at for _, at in asked_at] == pytest.approx([1.5, 1.51])


def test_a_row_of_the_list_gives_a_market_its_native_and_its_unit() -> None:
    row = Instrument(symbol="AAA/USD", native="@107", kind="spot", base="AAA", quote="USD", volume_unit="contracts")
    market = dialect().market_listed(row, "trades")
    assert (market.symbol, market.native, market.volume_unit, market.instrument) == (
        *("AAA/USD", "@107", "contracts"),
        row,
    )


# -- numbers beside the ids --------------------------------------------------------------------------------


class Counting:
    """Reads trades whose ids have no order, with a counter beside them."""

    def __init__(self) -> None:
        self._next: int | None = None

    def trades(self, frames: Sequence[bytes]) -> x.Trades:
        made = trades(frames)
        counts = [json.loads(frame)["count"] for frame in frames]
        before = [self._next, *(count + 1 for count in counts[:-1])]
        made.breaks = [want not in (None, count) for want, count in zip(before, counts, strict=True)]
        self._next = counts[-1] + 1
        return made

    def control(self, message: object) -> x.Control | None:
        return control(message)


def counted(count: int) -> str:
    return json.dumps({**json.loads(trade(number=1_000 - count, ns=NS + count * 1_000_000)), "count": count})


@pytest.mark.parametrize("promise", [IdPromise.OPAQUE, IdPromise.NONE, IdPromise.INCREASING])
async def test_a_hole_in_the_numbers_beside_the_ids_is_a_gap_between_the_trades_around_it(
    autojump_clock: MockClock, promise: IdPromise
) -> None:
    async def script(client: Client) -> None:
        await client.accept()
        await client.ask()
        await client.send('{"ok":"AAA-USD"}', *map(counted, (1, 2, 5, 6)))
        await client.gone()

    async with recorded(script, decoder=lambda _markets: Counting(), ids={"spot": promise}) as recorder:
        await trio.sleep(5)
        assert [row[2] for row in recorder.rows] == ["stream"] * 4
        gaps = {gap.gap_id: gap for chunk in recorder.chunks for gap in chunk.gaps}
        (gap,) = (gap for gap in gaps.values() if gap.reason is GapReason.SEQUENCE)
        assert (gap.from_ns, gap.to_ns) == (NS + 2_000_000, NS + 5_000_000)
