"""The loopback exchanges: real sockets, the real protocols, and faults that can be seen."""

import json
import tomllib
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
import trio
from trio_websocket import (
    ConnectionClosed,
    WebSocketConnection,
    wrap_client_stream,
)

from actors.decoding import Reader
from actors.dialect import Ack, Refusal
from actors.dialects import DIALECTS
from actors.symbols import parse_symbol
from actors.ticks import Block
from ops.sandbox import FAULTS, VENUES, FaultError, Faults, Fill, Sandbox, faults_help, parse_faults
from ops.sandbox.garbage import garbage
from ops.sandbox.listing import FOLDER, listings
from ops.sandbox.market import Market, Seed, Style

PATIENCE_S = 10.0  # for real sockets on a busy machine; nothing waits so long when all is well
FAST = 2000.0  # trades a second: quick tests
NOW_NS = 1_790_000_000_123_456_789

# What each exchange is asked for one market, word for word as its documentation has it.
ASK = {
    "binance": ("/ws", '{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":1}'),
    "coinbaseexchange": ("/", '{"type":"subscribe","product_ids":["BTC-USD"],"channels":["matches"]}'),
    "kraken": ("/v2", '{"method":"subscribe","params":{"channel":"trade","symbol":["BTC/USD"]},"req_id":1}'),
    "okx": ("/ws/v5/public", '{"op":"subscribe","args":[{"channel":"trades","instId":"BTC-USDT"}]}'),
    "bybit": ("/v5/public/linear", '{"req_id":"1","op":"subscribe","args":["publicTrade.BTCUSDT"]}'),
}


@asynccontextmanager
async def serving(sandbox: Sandbox) -> AsyncIterator[Sandbox]:
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(sandbox.serve)
            yield sandbox
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def client(sandbox: Sandbox, path: str, *asks: str) -> AsyncIterator[WebSocketConnection]:
    """A client on a stream of our own, which closes however the connection ends."""
    stream = await trio.open_tcp_stream("127.0.0.1", sandbox.port)
    async with stream, trio.open_nursery() as nursery:
        socket = await wrap_client_stream(nursery, stream, "127.0.0.1", path)
        for ask in asks:
            await socket.send_message(ask)
        yield socket
        nursery.cancel_scope.cancel()


async def text(socket: WebSocketConnection) -> str:
    message = await socket.get_message()
    assert isinstance(message, str)
    return message


async def hear(socket: WebSocketConnection, count: int) -> list[Any]:
    return [json.loads(await text(socket), parse_float=str) for _ in range(count)]


async def heard_from(exchange: str, sandbox: Sandbox, count: int) -> list[str]:
    async with serving(sandbox), client(sandbox, *ASK[exchange]) as socket:
        return [await text(socket) for _ in range(count)]


async def refusal(sandbox: Sandbox, path: str) -> int:
    """The HTTP status of a handshake; asked by hand, as the client library leaves refused sockets open."""
    key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
    head = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{key}\r\n\r\n"
    async with await trio.open_tcp_stream("127.0.0.1", sandbox.port) as stream:
        await stream.send_all(head.encode())
        return int((await stream.receive_some()).split()[1])


def binance_ids(frames: Iterable[str]) -> list[int]:
    return [json.loads(frame)["t"] for frame in frames if '"e":"trade"' in frame]


async def test_binance_acknowledges_and_trades() -> None:
    ack, *frames = await heard_from("binance", Sandbox(rate_per_s=FAST), 50)
    assert ack == '{"result":null,"id":1}'
    ids = binance_ids(frames)
    assert ids == list(range(ids[0], ids[0] + 49))
    assert list(json.loads(frames[0])) == ["e", "E", "s", "t", "p", "q", "T", "m", "M"]


@pytest.mark.parametrize("path", ["/stream?streams=btcusdt@trade", "/ws/btcusdt@trade"])
async def test_binance_takes_streams_from_the_url_and_wraps_combined_ones(path: str) -> None:
    sandbox = Sandbox(["binance"], FAST)
    async with serving(sandbox), client(sandbox, path) as socket:
        (frame,) = await hear(socket, 1)
        assert (frame["data"] if "stream" in frame else frame)["s"] == "BTCUSDT"
        assert ("stream" in frame) is path.startswith("/stream")


async def test_binance_acknowledges_unknown_symbols_and_stays_silent() -> None:
    sandbox = Sandbox(["binance"], FAST)
    ask = '{"method":"SUBSCRIBE","params":["nopeusdt@trade"],"id":"x"}'
    listing = '{"method":"LIST_SUBSCRIPTIONS","id":2}'
    async with serving(sandbox), client(sandbox, "/ws", ask, listing, "{", '{"method":"X","id":3}') as socket:
        ack, listed, broken, unknown = await hear(socket, 4)
        assert (ack, listed) == ({"result": None, "id": "x"}, {"result": [], "id": 2})
        assert broken["code"] == 3 and unknown["code"] == 2 and unknown["id"] == 3


async def test_binance_cuts_off_a_client_that_asks_too_often() -> None:
    sandbox = Sandbox(["binance"], FAST)
    async with (
        serving(sandbox),
        client(sandbox, "/ws", *['{"method":"LIST_SUBSCRIPTIONS","id":1}'] * 6) as socket,
    ):
        with pytest.raises(ConnectionClosed) as caught:
            await hear(socket, 7)
        assert caught.value.reason is not None and caught.value.reason.code == 1008


async def test_coinbase_lists_all_subscriptions_and_sends_the_last_match_first() -> None:
    sandbox = Sandbox(["coinbaseexchange"], FAST)
    async with serving(sandbox), client(sandbox, *ASK["coinbaseexchange"]) as socket:
        ack, last, *live = await hear(socket, 20)
        channel = {"name": "matches", "product_ids": ["BTC-USD"], "account_ids": None}
        assert ack == {"type": "subscriptions", "channels": [channel]}
        assert last["type"] == "last_match" and {frame["type"] for frame in live} == {"match"}
        assert [frame["trade_id"] for frame in live] == [last["trade_id"] + 1 + n for n in range(18)]
        truth = {fill.trade_id: fill for fill in sandbox.truth["coinbaseexchange"]["BTC/USD"]}
        for frame in live:  # the wire has the maker's side
            assert {frame["side"], truth[str(frame["trade_id"])].side} == {"buy", "sell"}


async def test_coinbase_refuses_a_whole_request_for_one_bad_product() -> None:
    sandbox = Sandbox(["coinbaseexchange"], FAST)
    ask = '{"type":"subscribe","product_ids":["BTC-USD","NOPE-USD"],"channels":["matches"]}'
    async with serving(sandbox), client(sandbox, "/", ask) as socket:
        assert await hear(socket, 1) == [
            {"type": "error", "message": "Failed to subscribe", "reason": "NOPE-USD is not a valid product"}
        ]
        assert not sandbox.truth["coinbaseexchange"]


async def test_coinbase_sends_heartbeats_to_who_asks() -> None:
    sandbox = Sandbox(["coinbaseexchange"], 0.1)
    ask = '{"type":"subscribe","product_ids":["BTC-USD"],"channels":["heartbeat"]}'
    async with serving(sandbox), client(sandbox, "/", ask) as socket:
        _, beat = await hear(socket, 2)
        assert (beat["type"], beat["product_id"], beat["last_trade_id"]) == ("heartbeat", "BTC-USD", 0)


async def test_kraken_answers_for_each_symbol_and_beats_when_idle() -> None:
    sandbox = Sandbox(["kraken"], 0.1)
    params = {"channel": "trade", "symbol": ["BTC/USD", "XBT/USD", "ETH/USD"], "snapshot": False}
    ask = json.dumps({"method": "subscribe", "params": params, "req_id": 7})
    async with serving(sandbox), client(sandbox, "/v2", ask, '{"method":"ping","req_id":8}') as socket:
        status, first, refused, second, pong, beat = await hear(socket, 6)
        assert status["channel"] == "status" and status["data"][0]["connection_id"] > 2**63
        assert first["success"] and first["result"] == {
            "channel": "trade",
            "snapshot": False,
            "symbol": "BTC/USD",
        }
        assert not refused["success"] and refused["symbol"] == "XBT/USD" and refused["req_id"] == 7
        assert second["result"]["symbol"] == "ETH/USD"
        assert (pong["method"], pong["req_id"]) == ("pong", 8) and beat == {"channel": "heartbeat"}


async def test_kraken_sends_numbers_with_all_their_digits_and_a_snapshot_when_asked() -> None:
    sandbox = Sandbox(["kraken"], FAST)
    ask = '{"method":"subscribe","params":{"channel":"trade","symbol":["BTC/USD"],"snapshot":true}}'
    async with serving(sandbox), client(sandbox, *ASK["kraken"]) as early:
        await hear(early, 30)
        async with client(sandbox, "/v2", ask) as socket:
            _, _, snapshot, update = await hear(socket, 4)
    assert (snapshot["type"], update["type"]) == ("snapshot", "update")
    ids = [int(row["trade_id"]) for row in snapshot["data"] + update["data"]]
    assert ids == list(range(ids[0], ids[0] + len(ids))) and len(snapshot["data"]) > 10
    assert all(len(row["qty"].partition(".")[2]) == 8 for row in snapshot["data"])


async def test_okx_acknowledges_each_argument_resends_the_last_trade_and_pongs() -> None:
    sandbox = Sandbox(["okx"], 0.5)
    args = [{"channel": "trades", "instId": name} for name in ("BTC-USDT", "NOPE-USDT")]
    ask = json.dumps({"id": "a", "op": "subscribe", "args": args})
    async with serving(sandbox), client(sandbox, "/ws/v5/public", ask, "ping") as socket:
        ack, error, old = await hear(socket, 3)
        assert ack["event"] == "subscribe" and ack["arg"]["instId"] == "BTC-USDT" and ack["id"] == "a"
        assert (error["event"], error["code"]) == ("error", "60018") and "NOPE-USDT" in error["msg"]
        assert await socket.get_message() == "pong"
        assert old["data"][0]["tradeId"] == sandbox.truth["okx"]["BTC/USDT"][0].trade_id


async def test_okx_ids_rise_by_the_count_of_each_trade() -> None:
    frames = [json.loads(frame) for frame in await heard_from("okx", Sandbox(rate_per_s=FAST), 100)]
    rows = [frame["data"][0] for frame in frames if "data" in frame]
    steps = [int(b["tradeId"]) - int(a["tradeId"]) for a, b in pairwise(rows)]
    assert steps == [int(row["count"]) for row in rows[1:]] and max(steps) > 1


@pytest.mark.parametrize("category", ["spot", "linear"])
async def test_bybit_acknowledges_pongs_and_fails_a_request_whole(category: str) -> None:
    sandbox = Sandbox(["bybit"], FAST)
    bad = '{"req_id":"1","op":"subscribe","args":["publicTrade.BTCUSDT","publicTrade.NOPE"]}'
    asks = (bad, '{"op":"ping"}', '{"op":"subscribe","args":["publicTrade.ETHUSDT"]}')
    async with serving(sandbox), client(sandbox, f"/v5/public/{category}", *asks) as socket:
        failed, pong, ack, trade = await hear(socket, 4)
        assert not failed["success"] and failed["req_id"] == "1" and "NOPE" in failed["ret_msg"]
        assert pong["ret_msg"] == "pong" and ack["success"]
        assert ("req_id" in ack) is (category == "linear")
        assert trade["topic"] == "publicTrade.ETHUSDT" and trade["type"] == "snapshot"


async def test_bybit_spot_takes_no_more_than_ten_topics_in_a_request() -> None:
    sandbox = Sandbox(["bybit"], FAST)
    ask = json.dumps({"op": "subscribe", "args": ["publicTrade.BTCUSDT"] * 11})
    async with serving(sandbox), client(sandbox, "/v5/public/spot", ask) as socket:
        assert "args size" in (await hear(socket, 1))[0]["ret_msg"]


@pytest.mark.parametrize("exchange", VENUES)
def test_frames_have_the_shape_of_the_recorded_ones(exchange: str) -> None:
    venue = VENUES[exchange]
    recorded: dict[tuple[str, str], Any] = {}
    for line in (FOLDER / f"{exchange}.jsonl").read_text().splitlines():
        row = json.loads(line)
        assert row["src"]
        recorded[row["category"], row["native"]] = json.loads(row["data"])
    for listing in listings(venue):
        sandbox = Sandbox([exchange])
        market = sandbox._exchanges[exchange].market(listing.category, listing.native)
        (frame, *_) = venue.tell(market, market.trade(NOW_NS))
        theirs = recorded[listing.category, listing.native]
        if listing.category == "inverse":  # recorded before two keys were added
            theirs["data"][0].update(RPI=False, seq=1)
        assert _shape(json.loads(frame)) == _shape(theirs)


def _shape(value: Any) -> Any:
    """Keys in order and types; of a list its first element's; kinds that words may vary in are left out."""
    if isinstance(value, dict):
        return [(key, _shape(inner)) for key, inner in value.items()]
    if isinstance(value, list):
        return [_shape(value[0])]
    return type(value).__name__


@pytest.mark.parametrize("exchange", VENUES)
async def test_every_dialect_reads_what_its_exchange_sends_field_by_field(exchange: str) -> None:
    dialect = DIALECTS[exchange]
    sandbox = Sandbox([exchange], FAST)
    symbol = {"binance": "ETH/USDT", "bybit": "ETH/USDT:USDT", "okx": "BTC/USDT:USDT"}.get(exchange, "ETH/USD")
    market = dialect.market(parse_symbol(symbol))
    path = "/" + market.endpoint.split("/", 3)[3] if market.endpoint.count("/") > 2 else "/"
    (request,) = dialect.subscribe([market.native], dialect.channels[0], 1)
    reader = Reader(exchange, dialect, {market.native: symbol})
    block = Block(exchange)
    controls: list[object] = []
    async with serving(sandbox), client(sandbox, path, request.text) as socket:
        while len(block.symbol) < 200:
            outcome = reader.read([(await text(socket)).encode()], NOW_NS, block)
            assert not outcome.rejects
            controls += outcome.controls
        truth = {fill.trade_id: fill for fill in sandbox.truth[exchange][symbol]}
    assert any(isinstance(control, Ack) for control in controls)
    assert not any(isinstance(control, Refusal) for control in controls)
    for index, trade_id in enumerate(block.trade_id):
        assert trade_id is not None
        fill = truth[trade_id]
        assert block.symbol[index] == symbol and block.exchange_ns[index] == fill.ns
        assert (str(block.price[index]), str(block.volume[index])) == (fill.price, fill.volume)
        assert block.side[index] == fill.side
    assert set(block.source) <= {"stream", "snapshot"}


async def test_the_truth_is_what_every_client_heard_and_markets_go_on_without_them() -> None:
    sandbox = Sandbox(["binance"], FAST)
    async with serving(sandbox):
        async with client(sandbox, *ASK["binance"]) as one, client(sandbox, *ASK["binance"]) as two:
            first = binance_ids([await text(one) for _ in range(100)])
            second = binance_ids([await text(two) for _ in range(100)])
        while len(sandbox.truth["binance"]["BTC/USDT"]) < 300:  # noqa: ASYNC110 - nobody tells when
            await trio.sleep(0.01)
        async with client(sandbox, *ASK["binance"]) as three:
            later = binance_ids([await text(three) for _ in range(5)])
    truth = [int(fill.trade_id) for fill in sandbox.truth["binance"]["BTC/USDT"]]
    assert truth == list(range(truth[0], truth[0] + len(truth)))
    assert set(first + second + later) <= set(truth) and later[0] > truth[250]


async def test_the_rate_is_shared_by_the_markets_of_an_exchange() -> None:
    sandbox = Sandbox(["okx"], 400.0)
    args = [{"channel": "trades", "instId": name} for name in ("BTC-USDT", "ETH-USDT")]
    both = json.dumps({"op": "subscribe", "args": args})
    async with serving(sandbox), client(sandbox, "/ws/v5/public", both):
        await trio.sleep(1.0)
        made = [len(fills) for fills in sandbox.truth["okx"].values()]
    assert len(made) == 2 and min(made) > 0.3 * sum(made)
    assert 100 < sum(made) < 600


def _market(exchange: str = "binance", seed: int = 1) -> Market:
    return Sandbox([exchange], seed=seed)._exchanges[exchange].market("", listings(VENUES[exchange])[0].native)


def test_the_same_seed_makes_the_same_trades_and_another_one_others() -> None:
    def made(seed: int) -> list[Fill]:
        market = _market(seed=seed)
        return [fill for _ in range(200) for fill in market.trade(NOW_NS)]

    assert made(1) == made(1)
    assert made(1) != made(2)


def test_the_truth_is_bounded() -> None:
    sandbox = Sandbox(["binance"], keep_truth=10)
    exchange = sandbox._exchanges["binance"]
    market = exchange.market("", "BTCUSDT")
    for _ in range(50):
        exchange.trade(market)
    assert len(sandbox.truth["binance"]["BTC/USDT"]) == 10


def test_ids_can_start_where_another_sandbox_ended() -> None:
    one, two = Sandbox(["binance"]), Sandbox(["binance"], ids_from=10**6)
    first, second = (
        int(box._exchanges["binance"].market("", "BTCUSDT").trade(NOW_NS)[0].trade_id) for box in (one, two)
    )
    assert second == first + 10**6


def test_prices_walk_and_stay_near_the_recorded_one_with_its_digits() -> None:
    style = Style(resolution_ns=1_000_000, trims_zeros=False)
    market = Market("X/Y", "XY", "", Seed(5, 0, ["100.0"], ["0.10", "2.00"]), style, _market().rng)
    fills = [fill for _ in range(5000) for fill in market.trade(NOW_NS)]
    prices = {fill.price for fill in fills}
    assert len(prices) > 20 and all(90 <= float(price) <= 110 for price in prices)
    assert all(price.partition(".")[2] in "0" for price in prices)  # the recorded step is one, written ".0"
    assert all(len(fill.volume.partition(".")[2]) == 2 and float(fill.volume) > 0 for fill in fills)
    assert all(fill.ns % 1_000_000 == 0 for fill in fills)


def test_times_never_run_backwards_when_the_clock_does() -> None:
    market = _market()
    times = [market.trade(now)[0].ns for now in (NOW_NS, NOW_NS - 5_000_000_000, NOW_NS + 1_000_000)]
    assert times == sorted(times)


async def _collect(faults: Faults, count: int, rate: float = FAST) -> tuple[Sandbox, list[str]]:
    sandbox = Sandbox(["binance"], rate, faults, seed=3)
    return sandbox, await heard_from("binance", sandbox, count)


def _jumps(ids: list[int]) -> list[int]:
    return [b - a for a, b in pairwise(ids)]


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ("duplicate=0.2", lambda jumps: 0 in jumps and set(jumps) <= {0, 1}),
        ("gap=0.2", lambda jumps: max(jumps) > 1 and min(jumps) > 0),
        ("reorder=0.2", lambda jumps: min(jumps) < 0),
    ],
)
async def test_trades_are_doubled_lost_or_swapped_on_demand(fault: str, seen: Callable[[list[int]], bool]) -> None:
    sandbox, frames = await _collect(parse_faults([fault]), 300)
    assert seen(_jumps(binance_ids(frames)))
    assert sandbox.struck["binance"][fault.partition("=")[0]] > 0


async def test_garbage_comes_between_sound_trades_and_costs_none_of_them() -> None:
    _, frames = await _collect(parse_faults(["garbage=0.3"]), 400)
    sound = [frame for frame in frames if '"M":true}' in frame and frame.count('"p":"6') == 1]
    assert len(frames) - len(sound) > 50
    ids = sorted(set(binance_ids(sound)))
    assert ids == list(range(ids[0], ids[0] + len(ids)))


@pytest.mark.parametrize("exchange", VENUES)
def test_garbage_never_reads_as_a_sound_trade(exchange: str) -> None:
    market = (
        Sandbox([exchange])
        ._exchanges[exchange]
        .market(*next(iter(Sandbox([exchange])._exchanges[exchange].listings)))
    )
    dialect = DIALECTS[exchange]
    for index in range(300):
        (frame, *_) = VENUES[exchange].tell(market, market.trade(NOW_NS)[:1])
        reader = Reader(exchange, dialect, {market.native: market.symbol})
        outcome = reader.read([garbage(frame, market.rng).encode()], NOW_NS, Block(exchange))
        assert outcome.ticks == 0, index


async def test_silence_is_an_acknowledgement_and_nothing_more() -> None:
    sandbox = Sandbox(["binance"], FAST, parse_faults(["silence"]))
    async with serving(sandbox), client(sandbox, *ASK["binance"]) as socket:
        assert await hear(socket, 1) == [{"result": None, "id": 1}]
        with trio.move_on_after(0.3) as waiting:
            await socket.get_message()
        assert waiting.cancelled_caught and len(sandbox.truth["binance"]["BTC/USDT"]) > 100


async def test_a_stalled_connection_goes_on_later_without_a_loss() -> None:
    sandbox = Sandbox(["binance"], FAST, parse_faults(["stall=0.5"], every_s=0.3))
    async with serving(sandbox), client(sandbox, *ASK["binance"]) as socket:
        ids: list[int] = []
        longest, last = 0.0, trio.current_time()
        while len(ids) < 1500:
            ids += binance_ids([await text(socket)])
            longest, last = max(longest, trio.current_time() - last), trio.current_time()
    assert longest > 0.4 and set(_jumps(ids)) == {1}


@pytest.mark.parametrize("code", [1001, 1006, 4000])
async def test_connections_are_closed_with_the_code_asked_for(code: int) -> None:
    sandbox = Sandbox(["binance"], FAST, parse_faults([f"close={code}"], every_s=0.1))
    async with serving(sandbox), client(sandbox, *ASK["binance"]) as socket:
        with pytest.raises(ConnectionClosed) as caught:
            await hear(socket, 100_000)
        assert caught.value.reason is not None and caught.value.reason.code == code


async def test_an_oversize_message_comes_whole() -> None:
    sandbox = Sandbox(["binance"], FAST, parse_faults(["oversize=300000"], every_s=0.05))
    async with serving(sandbox), client(sandbox, *ASK["binance"]) as socket:
        while len(await socket.get_message()) != 300_000:
            pass


async def test_a_slow_exchange_answers_late() -> None:
    sandbox = Sandbox(["binance"], FAST, parse_faults(["slow=0.3"]))
    async with serving(sandbox):
        began = trio.current_time()
        async with client(sandbox, *ASK["binance"]) as socket:
            await hear(socket, 1)
            assert trio.current_time() - began >= 0.6


async def test_a_refusing_exchange_answers_with_the_status_and_can_be_healed() -> None:
    sandbox = Sandbox(["binance"], FAST, {"binance": parse_faults(["refuse=429"])})
    async with serving(sandbox):
        assert await refusal(sandbox, "/ws") == 429
        sandbox.set_faults(Faults(), "binance")
        async with client(sandbox, *ASK["binance"]) as socket:
            assert len(await hear(socket, 3)) == 3


async def test_paths_that_no_exchange_serves_are_not_found() -> None:
    sandbox = Sandbox(["binance"], FAST)
    async with serving(sandbox):
        for path in ("/v2", "/wsx", "//[", "/"):
            assert await refusal(sandbox, path) == 404


async def test_clients_that_are_no_websocket_or_leave_rudely_hurt_nobody() -> None:
    sandbox = Sandbox(["binance"], FAST)
    async with serving(sandbox), client(sandbox, *ASK["binance"]) as socket:
        for data in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 100, b"GET /ws HTTP/1.1\r\nHost: x\r\n"):
            async with await trio.open_tcp_stream("127.0.0.1", sandbox.port) as stream:
                await stream.send_all(data)
        async with client(sandbox, *ASK["binance"]) as rude:
            await hear(rude, 2)
            await rude._stream.aclose()
        assert len(await hear(socket, 50)) == 50


async def test_a_client_that_never_reads_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ops.sandbox.session.OUTBOX_FRAMES_MAX", 50)
    sandbox = Sandbox(["binance"], FAST, parse_faults(["slow=2"]))
    async with serving(sandbox), client(sandbox, *ASK["binance"]) as socket:
        with pytest.raises(ConnectionClosed) as caught:
            await hear(socket, 1000)
        assert caught.value.reason is not None and caught.value.reason.code == 1006


def test_the_config_it_prints_points_at_it_and_names_its_markets() -> None:
    sandbox = Sandbox()
    sandbox.host, sandbox.port = "127.0.0.1", 4711
    exchanges = tomllib.loads(sandbox.config_toml())["exchanges"]
    assert list(exchanges) == list(VENUES)
    for name, table in exchanges.items():
        assert table["ws_url"] == "ws://127.0.0.1:4711"
        for symbol in table["symbols"]:
            DIALECTS[name].market(parse_symbol(symbol))


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("stal", "nearest known one is 'stall'"),
        ("gap=2", "gap=SHARE from 0 to 1"),
        ("gap=much", "'much' is no number; right would be gap=SHARE"),
        ("close=nan", "CODE from 1000 to 4999"),
        ("close=999", "CODE from 1000 to 4999"),
    ],
)
def test_a_wrong_fault_is_told_with_what_would_be_right(word: str, said: str) -> None:
    with pytest.raises(FaultError, match=said):
        parse_faults([word])


def test_every_fault_has_a_default_in_its_range_and_a_line_of_help() -> None:
    faults = parse_faults(FAULTS)
    assert {name: faults[name] for name in FAULTS} == {name: fault.value for name, fault in FAULTS.items()}
    assert len(faults_help().splitlines()) == len(FAULTS)


def test_wrong_names_and_rates_are_refused_at_once() -> None:
    with pytest.raises(ValueError, match="nearest known one is 'kraken'"):
        Sandbox(["krakken"])
    with pytest.raises(ValueError, match="a rate of 0"):
        Sandbox(rate_per_s=0)
    with pytest.raises(ValueError, match="'okx' is not running here"):
        Sandbox(["binance"]).set_faults(Faults(), "okx")
