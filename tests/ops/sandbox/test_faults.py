"""Each fault of the loopback exchanges takes effect, and has no other effect."""

import json
import time
from collections.abc import Callable

import httpx
import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection

from ops.sandbox import FAULTS, FaultError, Faults, Sandbox, faults_help, parse_faults
from tests.harness.sandbox_client import (
    ASK,
    FAST,
    binance_ids,
    client,
    hear,
    heard_from,
    jumps,
    refusal,
    serving,
    text,
)


async def _collect(faults: Faults, count: int, rate: float = FAST) -> tuple[Sandbox, list[str]]:
    sandbox = Sandbox(["binance"], rate, faults, seed=3)
    return sandbox, await heard_from("binance", sandbox, count)


async def heard_within(socket: WebSocketConnection, seconds: float) -> int:
    """How many messages come in that time."""
    count = 0
    with trio.move_on_after(seconds):
        while True:
            await socket.get_message()
            count += 1
    return count


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
    assert seen(jumps(binance_ids(frames)))
    assert sandbox.struck["binance"][fault.partition("=")[0]] > 0


async def test_garbage_comes_between_valid_trades_and_costs_none_of_them() -> None:
    _, frames = await _collect(parse_faults(["garbage=0.3"]), 400)
    sound = [frame for frame in frames if '"M":true}' in frame and frame.count('"p":"6') == 1]
    assert len(frames) - len(sound) > 50
    ids = sorted(set(binance_ids(sound)))
    assert ids == list(range(ids[0], ids[0] + len(ids)))


async def test_silence_is_an_acknowledgement_and_nothing_more() -> None:
    sandbox = Sandbox(["binance"], FAST, parse_faults(["silence"]))
    async with serving(sandbox), client(sandbox, *ASK["binance"]) as socket:
        assert await hear(socket, 1) == [{"result": None, "id": 1}]
        with trio.move_on_after(0.3) as waiting:
            await socket.get_message()
        assert waiting.cancelled_caught and len(sandbox.truth["binance"]["BTC/USDT"]) > 100


async def test_a_stalled_connection_continues_later_without_a_loss() -> None:
    sandbox = Sandbox(["binance"], FAST, parse_faults(["stall=1"], every_s=0.3))
    async with serving(sandbox), client(sandbox, *ASK["binance"]) as socket:
        ids: list[int] = []
        longest, last = 0.0, trio.current_time()
        while len(ids) < 1500:
            ids += binance_ids([await text(socket)])
            longest, last = max(longest, trio.current_time() - last), trio.current_time()
    assert longest > 0.4 and set(jumps(ids)) == {1}  # a client that is behind sees only the rest of a stall


@pytest.mark.parametrize("code", [1000, 1001, 1006, 1008, 4000])
async def test_connections_are_closed_with_the_code_requested(code: int) -> None:
    sandbox = Sandbox(["binance"], FAST, parse_faults([f"close={code}"], every_s=0.1))
    async with serving(sandbox), client(sandbox, *ASK["binance"]) as socket:
        with pytest.raises(ConnectionClosed) as caught:
            await hear(socket, 100_000)
        assert caught.value.reason is not None and caught.value.reason.code == code


async def test_a_half_open_connection_swallows_everything_and_is_not_closed() -> None:
    sandbox = Sandbox(["binance"], FAST, parse_faults(["half_open"], every_s=0.1))
    async with serving(sandbox), client(sandbox, *ASK["binance"]) as socket:
        while not sandbox.struck["binance"]["half_open"]:
            await heard_within(socket, 0.01)
        sandbox.set_faults(Faults())
        await heard_within(socket, 0.2)  # what was on its way
        await socket.send_message(ASK["binance"][1])
        with trio.move_on_after(0.3) as waiting:
            await socket.ping()
        assert waiting.cancelled_caught and not await heard_within(socket, 0.2)
        assert socket.closed is None and sandbox.exchanges["binance"].sessions
        async with client(sandbox, *ASK["binance"]) as fresh:
            assert len(await hear(fresh, 10)) == 10
    assert not sandbox.exchanges["binance"].sessions


async def test_every_connection_is_closed_at_an_age_of_which_the_configuration_tells() -> None:
    sandbox = Sandbox(["binance"], FAST, parse_faults(["age=0.3"]))
    async with serving(sandbox), client(sandbox, *ASK["binance"]) as socket:
        began = trio.current_time()
        with pytest.raises(ConnectionClosed) as caught:
            await hear(socket, 100_000)
        assert caught.value.reason is not None and caught.value.reason.code == 1001
        assert trio.current_time() - began >= 0.25
        sandbox.set_faults(parse_faults(["age=60"]))
        assert "\nlifetime_s = 50\n" in sandbox.config_toml()
    assert sandbox.struck["binance"]["age"] == 1


async def test_flapping_drops_every_connection_at_its_age() -> None:
    sandbox = Sandbox(["binance"], FAST)
    async with serving(sandbox):
        for _ in range(2):
            async with client(sandbox, *ASK["binance"]) as socket:
                began = trio.current_time()
                sandbox.set_faults(parse_faults(["flap=0.3"]))
                with pytest.raises(ConnectionClosed) as caught:
                    await hear(socket, 100_000)
                assert caught.value.reason is not None and caught.value.reason.code == 1006
                assert trio.current_time() - began >= 0.25
    assert sandbox.struck["binance"]["flap"] == 2


async def test_an_outage_takes_everything_but_the_trading_and_ends() -> None:
    sandbox = Sandbox(["binance"], FAST)
    history = "/api/v3/trades?symbol=BTCUSDT"
    async with serving(sandbox), httpx.AsyncClient(trust_env=False) as http:
        async with client(sandbox, *ASK["binance"]) as one:
            await hear(one, 10)
            sandbox.set_faults(parse_faults(["outage=60"], every_s=0.1))
            with pytest.raises(ConnectionClosed) as caught:
                await hear(one, 100_000)
            assert caught.value.reason is not None and caught.value.reason.code == 1006
        made = len(sandbox.truth["binance"]["BTC/USDT"])
        assert {await refusal(sandbox, "/ws") for _ in range(20)} == {0, 503}
        assert (await http.get(f"http://127.0.0.1:{sandbox.port}{history}")).status_code == 503
        while len(sandbox.truth["binance"]["BTC/USDT"]) < made + 200:  # noqa: ASYNC110 - nobody tells when
            await trio.sleep(0.01)
        assert sandbox.struck["binance"]["outage"] == 1
        sandbox.set_faults(parse_faults(["outage=0.2"], every_s=0.1))  # a shorter one, which ends by itself
        while sandbox.struck["binance"]["outage"] < 2:  # noqa: ASYNC110 - nobody tells when
            await trio.sleep(0.01)
        sandbox.set_faults(parse_faults(["outage=0.2"], every_s=100))
        await trio.sleep(0.3)
        async with client(sandbox, *ASK["binance"]) as two:
            assert len(await hear(two, 10)) == 10
        assert (await http.get(f"http://127.0.0.1:{sandbox.port}{history}")).status_code == 200


async def test_mute_markets_stay_mute_on_their_connection_and_all_else_continues() -> None:
    sandbox = Sandbox(["coinbaseexchange"], FAST)
    products = {"BTC-USD", "ETH-USD"}
    channels = '"channels":["matches","heartbeat"]'
    ask = f'{{"type":"subscribe","product_ids":{json.dumps(sorted(products))},{channels}}}'
    async with serving(sandbox):
        async with client(sandbox, "/", ask) as socket:
            assert {frame["product_id"] for frame in (await hear(socket, 100))[1:]} == products
            sandbox.set_faults(parse_faults(["mute=1"]))
            await heard_within(socket, 0.2)
            sandbox.set_faults(parse_faults(["mute=0.5"]))
            frames = [json.loads(await text(socket)) for _ in range(2)]
            assert {frame["type"] for frame in frames} == {"heartbeat"}  # it had gone mute for good
        while True:  # until the lots are drawn so that one of the two is mute
            async with client(sandbox, "/", ask) as socket:
                with trio.move_on_after(0.2):
                    frames = await hear(socket, 60)
                    if len(products - {frame["product_id"] for frame in frames[5:]}) == 1:
                        break
    assert sandbox.struck["coinbaseexchange"]["mute"] > 0


@pytest.mark.parametrize("off_s", [3600, -3600])
async def test_a_clock_that_is_off_shifts_the_times_of_stream_and_history_alike(off_s: int) -> None:
    sandbox = Sandbox(
        ["binance"], 50.0, parse_faults([f"clock={off_s}"])
    )  # slow enough that the trade is still listed
    async with serving(sandbox), client(sandbox, *ASK["binance"]) as socket:
        _, trade = await hear(socket, 2)
        async with httpx.AsyncClient(trust_env=False) as http:
            answer = await http.get(f"http://127.0.0.1:{sandbox.port}/api/v3/trades?symbol=BTCUSDT")
    assert abs(trade["T"] / 1000 - off_s - time.time()) < 60
    assert {row["id"]: row["time"] for row in answer.json()}[trade["t"]] == trade["T"]


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


async def test_a_client_that_never_reads_is_disconnected() -> None:
    sandbox = Sandbox(["binance"], FAST, parse_faults(["slow=2"]), outbox_frames_max=50)
    async with serving(sandbox), client(sandbox, *ASK["binance"]) as socket:
        with pytest.raises(ConnectionClosed) as caught:
            await hear(socket, 1000)
        assert caught.value.reason is not None and caught.value.reason.code == 1006


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("stal", "nearest known one is 'stall'"),
        ("gap=2", "gap=SHARE from 0 to 1"),
        ("gap=much", "expected gap=SHARE with a number"),
        ("close=nan", "CODE from 1000 to 4999"),
        ("close=999", "CODE from 1000 to 4999"),
    ],
)
def test_a_wrong_fault_is_reported_with_what_is_expected(word: str, said: str) -> None:
    with pytest.raises(FaultError, match=said):
        parse_faults([word])


def test_every_fault_has_a_default_in_its_range_and_a_line_of_help() -> None:
    faults = parse_faults(FAULTS)
    assert {name: faults[name] for name in FAULTS} == {name: fault.value for name, fault in FAULTS.items()}
    assert len(faults_help().splitlines()) == len(FAULTS)
