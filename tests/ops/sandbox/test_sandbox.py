"""The loopback exchanges answer subscriptions, right and wrong, as the real ones do."""

import json
from itertools import pairwise

import pytest
from trio_websocket import (
    ConnectionClosed,
)

from ops.sandbox import Sandbox
from tests.harness.sandbox_client import (
    ASK,
    FAST,
    binance_ids,
    client,
    hear,
    heard_from,
    serving,
)


async def test_binance_acknowledges_and_trades() -> None:
    ack, *frames = await heard_from("binance", Sandbox(["binance"], FAST), 50)
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
    assert sandbox.struck["binance"]["rate_limit"] == 1


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


async def test_coinbase_sends_heartbeats_to_subscribers() -> None:
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


async def test_kraken_sends_numbers_with_all_their_digits_and_a_snapshot_on_request() -> None:
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
