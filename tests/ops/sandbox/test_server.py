"""The loopback server: dialects read it field by field, clients come, stay silent and go."""

import json
from typing import Any

import pytest
import trio
from trio_websocket import (
    ConnectionClosed,
)

from ops.sandbox import Sandbox
from tests.harness.exchange_values import changed_loopback
from tests.harness.sandbox_client import (
    ASK,
    FAST,
    binance_ids,
    client,
    handshake,
    hear,
    refusal,
    serving,
    text,
)


async def test_the_truth_is_what_every_client_received_and_markets_continue_without_them() -> None:
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


@pytest.mark.parametrize(
    ("exchange", "change", "code"),
    [
        ("okx", {"idle_timeout_s": 0.2}, 4004),
        ("bybit", {"idle_timeout_s": 0.2}, 1000),
        ("coinbaseexchange", {"subscribe_within_s": 0.2}, 1000),
    ],
)
async def test_a_client_that_is_silent_is_disconnected(exchange: str, change: dict[str, Any], code: int) -> None:
    sandbox = Sandbox([exchange], FAST, venues=changed_loopback(exchange, **change))
    async with serving(sandbox), client(sandbox, ASK[exchange][0]) as socket:
        with pytest.raises(ConnectionClosed) as caught:
            await hear(socket, 1)
        assert caught.value.reason is not None and caught.value.reason.code == code


async def test_htx_sends_pings_of_its_own_and_disconnects_clients_that_do_not_answer() -> None:
    sandbox = Sandbox(["htx"], FAST, venues=changed_loopback("htx", server_ping_s=0.1))
    async with serving(sandbox), client(sandbox, "/ws") as socket:
        pings = await hear(socket, 4)
        with pytest.raises(ConnectionClosed) as caught:
            await hear(socket, 1)
        assert caught.value.reason is not None and caught.value.reason.code == 1003
    assert all(list(ping) == ["ping"] for ping in pings)


async def test_pushes_count_as_life_on_okx_but_not_on_bybit() -> None:
    impatient = {name: changed_loopback(name, idle_timeout_s=0.3)[name] for name in ("okx", "bybit")}
    sandbox = Sandbox(["okx", "bybit"], FAST, venues=impatient)
    async with serving(sandbox), client(sandbox, *ASK["okx"]) as okx, client(sandbox, *ASK["bybit"]) as bybit:
        with pytest.raises(ConnectionClosed):
            await hear(bybit, 100_000)
        await hear(okx, 100)


async def test_protocol_pings_come_and_must_be_answered() -> None:
    sandbox = Sandbox(["binance"], FAST, venues=changed_loopback("binance", ping_s=0.05, pong_s=0.2))
    async with serving(sandbox):
        async with client(sandbox, "/ws") as answering:  # the client library pongs by itself
            await trio.sleep(0.5)
            assert answering.closed is None
        async with await trio.open_tcp_stream("127.0.0.1", sandbox.port) as stream:
            await stream.send_all(handshake("/ws"))
            data = b""
            async for part in stream:  # ends, as no pong is ever sent
                data += part
            assert b"\x89" in data and b"Pong timeout" in data


async def test_the_rate_is_shared_by_the_markets_of_an_exchange() -> None:
    sandbox = Sandbox(["okx"], 400.0)
    args = [{"channel": "trades", "instId": name} for name in ("BTC-USDT", "ETH-USDT")]
    both = json.dumps({"op": "subscribe", "args": args})
    async with serving(sandbox), client(sandbox, "/ws/v5/public", both):
        await trio.sleep(1.0)
        made = [len(fills) for fills in sandbox.truth["okx"].values()]
    assert len(made) == 2 and min(made) > 0.3 * sum(made)
    assert 100 < sum(made) < 600


async def test_connections_beyond_the_exchanges_limit_are_refused_and_counted() -> None:
    sandbox = Sandbox(["okx"], FAST)
    async with serving(sandbox):
        said = [await refusal(sandbox, "/ws/v5/public") for _ in range(5)]
        assert said == [101, 101, 101, 429, 429] and sandbox.struck["okx"]["rate_limit"] == 2
        await trio.sleep(1.0)
        assert await refusal(sandbox, "/ws/v5/public") == 101


async def test_paths_that_no_exchange_serves_are_not_found() -> None:
    sandbox = Sandbox(["binance"], FAST)
    async with serving(sandbox):
        for path in ("/v2", "/wsx", "//[", "/"):
            assert await refusal(sandbox, path) == 404


async def test_clients_that_are_no_websocket_or_disconnect_abruptly_do_no_harm() -> None:
    sandbox = Sandbox(["binance"], FAST)
    async with serving(sandbox), client(sandbox, *ASK["binance"]) as socket:
        for data in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 100, b"GET /ws HTTP/1.1\r\nHost: x\r\n"):
            async with await trio.open_tcp_stream("127.0.0.1", sandbox.port) as stream:
                await stream.send_all(data)
        async with client(sandbox, *ASK["binance"]) as rude:
            await hear(rude, 2)  # and leaves without a close
        assert len(await hear(socket, 50)) == 50
