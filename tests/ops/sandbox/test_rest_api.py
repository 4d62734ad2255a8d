"""The loopback exchanges' REST side: the real answers' shapes, order, cursors and errors, on the same port."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import httpx
import pytest
import trio

from actors.exchanges.contract.loopback_rest import HttpRequest, HttpResponse, ListedMarket, Listing, Meter
from ops.sandbox import Sandbox, parse_faults
from tests.harness.exchange_values import changed_loopback, history_server_of
from tests.harness.sandbox_client import ASK, NOW_NS, client, hear, serving

TICKS = "/v1/trades/ticks"
NATIVES = {
    "binance": ("", "BTCUSDT"),
    "bybit": ("spot", "BTCUSDT"),
    "coinbaseexchange": ("", "BTC-USD"),
    "kraken": ("", "BTC/USD"),
    "okx": ("", "BTC-USDT"),
}
PATHS = {
    "binance": "/api/v3/historicalTrades?symbol=BTCUSDT&limit=20",
    "bybit": "/v5/market/recent-trade?category=spot&symbol=BTCUSDT&limit=20",
    "coinbaseexchange": "/products/BTC-USD/trades?limit=20",
    "kraken": "/0/public/Trades?pair=XBTUSD&count=20",
    "okx": "/api/v5/market/history-trades?instId=BTC-USDT&limit=20",
}


def traded(name: str, *faults: str, orders: int = 100) -> Sandbox:
    ticks = iter(range(NOW_NS, NOW_NS + 10**12, 7_000_000))
    sandbox = Sandbox([name], 0.001, parse_faults(faults), now_ns=lambda: next(ticks))
    exchange = sandbox.exchanges[name]
    for _ in range(orders):
        exchange.trade(exchange.market(*NATIVES[name]))
    return sandbox


async def ask(sandbox: Sandbox, *targets: str, method: str = "GET") -> list[httpx.Response]:
    """All on one connection."""
    async with (
        serving(sandbox),
        httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{sandbox.port}", trust_env=False, limits=httpx.Limits(max_connections=1)
        ) as http,
    ):
        return [await http.request(method, target) for target in targets]


async def rows(name: str, target: str, sandbox: Sandbox | None = None) -> Any:
    (answer,) = await ask(sandbox or traded(name), target)
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
    found = json.loads(answer.text, parse_float=str)
    return {
        "binance": lambda: found,
        "bybit": lambda: found["result"]["list"],
        "coinbaseexchange": lambda: found,
        "kraken": lambda: found["result"]["XXBTZUSD"],
        "okx": lambda: found["data"],
    }[name]()


@pytest.mark.parametrize("name", PATHS)
async def test_the_newest_rows_come_in_the_exchanges_order(name: str) -> None:
    sandbox = traded(name)
    key: Any = {"binance": "id", "bybit": "execId", "coinbaseexchange": "trade_id", "kraken": 6, "okx": "tradeId"}[
        name
    ]
    ids = [int(row[key]) for row in await rows(name, PATHS[name], sandbox)]
    (fills,) = sandbox.truth[name].values()
    last = int(fills[-1].trade_id)
    newest_first = name in ("bybit", "coinbaseexchange", "okx")
    assert ids == (list(range(last, last - 20, -1)) if newest_first else list(range(last - 19, last + 1)))


async def test_coinbase_pages_with_cursors_in_its_headers() -> None:
    sandbox, path = traded("coinbaseexchange"), PATHS["coinbaseexchange"]
    newest, *_ = await ask(sandbox, path)
    after, before = newest.headers["cb-after"], newest.headers["cb-before"]
    assert int(before) - int(after) == 19
    older, newer, none = await ask(
        sandbox, f"{path}&after={after}", f"{path}&before={after}", f"{path}&before={before}"
    )
    assert [row["trade_id"] for row in older.json()] == list(range(int(after) - 1, int(after) - 21, -1))
    assert newer.json() == newest.json()[:-1] and none.json() == [] and "cb-after" not in none.headers


async def test_kraken_continues_from_last() -> None:
    sandbox = traded("kraken")
    first = json.loads((await ask(sandbox, PATHS["kraken"] + "&since=0"))[0].text, parse_float=str)["result"]
    second = await rows("kraken", f"{PATHS['kraken']}&since={first['last']}", sandbox)
    last = first["XXBTZUSD"][-1]
    assert first["last"].startswith(last[2].replace(".", "")) and second[0][6] == last[6] + 1


async def test_okx_pages_back_by_id_and_by_time_and_returns_single_fills() -> None:
    sandbox = traded("okx")
    newest = await rows("okx", PATHS["okx"], sandbox)
    older = await rows("okx", f"{PATHS['okx']}&type=1&after={newest[4]['tradeId']}", sandbox)
    assert older[0] == newest[5]
    by_time = await rows("okx", f"{PATHS['okx']}&type=2&after={newest[4]['ts']}", sandbox)
    assert int(by_time[0]["ts"]) < int(newest[4]["ts"]) and by_time[0] in newest + older
    newer = await rows("okx", f"{PATHS['okx']}&before={newest[4]['tradeId']}", sandbox)
    assert newer == newest[:4]
    assert "count" not in newest[0]


async def test_bybit_returns_sixty_spot_trades_and_never_more() -> None:
    assert len(await rows("bybit", "/v5/market/recent-trade?category=spot&symbol=BTCUSDT&limit=1000")) == 60


async def test_binance_counts_aggregates_apart_and_finds_them_by_time() -> None:
    sandbox = traded("binance")
    all_ = await rows("binance", "/api/v3/aggTrades?symbol=BTCUSDT&fromId=0", sandbox)
    assert [row["a"] for row in all_] == list(range(len(all_)))
    assert [row["f"] for row in all_[1:]] == [row["l"] + 1 for row in all_[:-1]]
    hour = f"startTime={all_[5]['T']}&endTime={all_[9]['T']}"
    found = await rows("binance", f"/api/v3/aggTrades?symbol=BTCUSDT&{hour}", sandbox)
    assert [row for row in all_ if all_[5]["T"] <= row["T"] <= all_[9]["T"]] == found
    (wide,) = await ask(sandbox, "/api/v3/aggTrades?symbol=BTCUSDT&startTime=0&endTime=3600001")
    assert (wide.status_code, wide.json()["code"]) == (400, -1127)


async def test_a_path_that_no_exchange_serves_is_not_found() -> None:
    (answer,) = await ask(traded("okx"), "/nothing/here")
    assert answer.status_code == 404 and "no such exchange" in answer.text


async def test_only_get_is_answered_and_garbage_is_refused() -> None:
    assert (await ask(traded("okx"), "/api/v5/market/trades", method="POST"))[0].status_code == 405
    sandbox = traded("okx")
    async with serving(sandbox):
        for data in (b"GET\r\n\r\n", b"GET / HTTP/9\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n"):
            async with await trio.open_tcp_stream("127.0.0.1", sandbox.port) as stream:
                await stream.send_all(data)
                assert (await stream.receive_some()).startswith(b"HTTP/1.1 400")
        async with await trio.open_tcp_stream("127.0.0.1", sandbox.port) as stream:
            await stream.send_all(b"x" * 40_000)
            with suppress(trio.BrokenResourceError):
                assert await stream.receive_some() == b""


async def test_websockets_and_questions_share_the_port_and_the_truth() -> None:
    sandbox = Sandbox(["binance"], 500.0)
    async with serving(sandbox), httpx.AsyncClient(trust_env=False) as http:
        url = f"http://127.0.0.1:{sandbox.port}/api/v3/historicalTrades?symbol=BTCUSDT"
        assert (await http.get(url)).json() == []  # nobody has subscribed: nothing has been traded
        async with client(sandbox, *ASK["binance"]) as socket:
            _, *told = await hear(socket, 30)
            found = {row["id"]: row for row in (await http.get(url)).json()}
        for trade in told:
            row = found[trade["t"]]
            assert (row["price"], row["qty"], row["time"]) == (trade["p"], trade["q"], trade["T"])
            assert row["isBuyerMaker"] is trade["m"]


async def test_a_handshake_in_pieces_is_a_handshake() -> None:
    sandbox = Sandbox(["binance"], 500.0)
    key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
    head = f"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUPGRADE:\twebsocket\r\n{key}\r\n\r\n"
    async with serving(sandbox), await trio.open_tcp_stream("127.0.0.1", sandbox.port) as stream:
        for byte in head.encode():
            await stream.send_all(bytes([byte]))
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 101")


async def test_faults_of_the_rest_side_occur_as_often_as_configured_and_are_counted() -> None:
    sandbox = traded("okx", "rest_fail=0.5", "rest_429=0.3")
    answers = await ask(sandbox, *[PATHS["okx"]] * 15)
    by_status = {status: [a for a in answers if a.status_code == status] for status in (200, 429, 500)}
    struck = sandbox.struck["okx"]
    assert all(by_status.values()) and sum(map(len, by_status.values())) == struck["rest"] == 15
    assert (len(by_status[429]), len(by_status[500])) == (struck["rest_429"], struck["rest_fail"])
    assert by_status[429][0].headers["retry-after"] == "2" and by_status[500][0].text.startswith("<html>")


async def test_a_retry_after_that_is_waited_for_is_no_impatience_and_one_that_is_not_is_counted(
    autojump_clock: trio.abc.Clock,
) -> None:
    sandbox = traded("binance", orders=1)
    rest_api, target = sandbox.rest_apis["binance"], HttpRequest("/api/v3/aggTrades", {"symbol": "BTCUSDT"})
    sandbox.set_faults(parse_faults(["rest_429=1"]))
    assert (await rest_api.answer(target)).headers["retry-after"] == "2"
    sandbox.set_faults(parse_faults([]))
    await trio.sleep(2.01)
    for _ in range(1500):  # the limit is told with a Retry-After too
        await rest_api.answer(target)
    assert (sandbox.struck["binance"]["rate_limit"], sandbox.struck["binance"]["rest_impatient"]) == (1, 0)
    await trio.sleep(0.1)  # was in flight
    await rest_api.answer(target)
    assert sandbox.struck["binance"]["rest_impatient"] == 0
    await trio.sleep(9.8)
    await rest_api.answer(target)
    assert sandbox.struck["binance"]["rest_impatient"] == 1


def serves_more(**limits: Any) -> Sandbox:
    """Upbit, as if it had a list of markets on the path of its history too, and a token."""

    def listed(request: HttpRequest, markets: Sequence[ListedMarket]) -> HttpResponse | None:
        return None if "market" in request.query else HttpResponse(",".join(market.native for market in markets))

    listing = Listing(paths=("/v1/market/all", TICKS), answer=listed, cost=lambda _: 4.0)
    tokens = {"/token": lambda request: HttpResponse(repr(request.body))}
    history = replace(history_server_of("upbit"), window_s=3600.0, cost=lambda _: 2.0, **limits)
    return Sandbox(["upbit"], venues=changed_loopback("upbit", history=history, listing=listing, tokens=tokens))


async def test_lists_of_markets_and_tokens_are_served_beside_the_history() -> None:
    sandbox = serves_more(units=100.0)
    natives = ",".join(listing.native for listing in sandbox.exchanges["upbit"].listings.values())
    first = natives.partition(",")[0]
    lists = await ask(sandbox, "/v1/market/all", TICKS, f"{TICKS}?market={first}")
    assert [answer.text for answer in lists] == [natives, natives, "[]"]
    (got,), (posted,) = await ask(sandbox, "/token"), await ask(sandbox, "/token", method="POST")
    assert (got.text, posted.text) == ("None", "b''")


@pytest.mark.parametrize(
    ("target", "allowed"), [("/v1/market/all", 2), (TICKS, 2), (f"{TICKS}?market=KRW-BTC", 5), ("/token", 10)]
)
async def test_lists_and_tokens_take_their_share_of_the_rate_limit(target: str, allowed: int) -> None:
    sandbox = serves_more(units=10.0)
    answers = await ask(sandbox, *[target] * (allowed + 1))
    assert [answer.status_code for answer in answers] == [200] * allowed + [429]
    assert sandbox.struck["upbit"]["rate_limit"] == 1


@pytest.mark.parametrize("target", ["/v1/market/all", "/token"])
async def test_lists_and_tokens_go_through_the_faults(target: str) -> None:
    sandbox = serves_more(units=100.0)
    for fault, status in (("rest_fail=1", 500), ("rest_429=1", 429)):
        sandbox.set_faults(parse_faults([fault]))
        assert [answer.status_code for answer in await ask(sandbox, target)] == [status]
    sandbox.set_faults(parse_faults(["outage=60"], every_s=0.05))
    async with serving(sandbox), httpx.AsyncClient(trust_env=False) as http:
        while not sandbox.exchanges["upbit"].outage.down:  # noqa: ASYNC110 - no event marks it
            await trio.sleep(0.01)
        assert (await http.get(sandbox.url("upbit", "http") + target)).status_code == 503


def test_a_meter_forgets_after_its_window() -> None:
    meter = Meter(2.0, 10.0)
    assert [meter.allows(1.0, now) for now in (0.0, 1.0, 2.0, 9.9, 10.0, 10.5, 11.0)] == [
        *(True, True, False, False),
        *(True, False, True),
    ]


async def test_a_client_that_was_killed_counts_against_no_limit(autojump_clock: trio.abc.Clock) -> None:
    sandbox = traded("binance", orders=1)
    rest_api, target = sandbox.rest_apis["binance"], HttpRequest("/api/v3/aggTrades", {"symbol": "BTCUSDT"})
    while sandbox.struck["binance"]["rate_limit"] == 0:
        await rest_api.answer(target)
    await trio.sleep(1)
    sandbox.forget_client()
    assert (await rest_api.answer(target)).status == 200
    assert (sandbox.struck["binance"]["rate_limit"], sandbox.struck["binance"]["rest_impatient"]) == (1, 0)


async def test_what_a_client_that_is_gone_has_asked_binds_nobody() -> None:
    """Its request is read after it was killed."""
    sandbox = traded("binance", "rest_429=1", orders=1)
    head = f"GET {PATHS['binance']} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    async with serving(sandbox):
        for leaves in (True, False):
            async with await trio.open_tcp_stream("127.0.0.1", sandbox.port) as stream:
                await stream.send_all(head)
                if not leaves:
                    assert b"429" in await stream.receive_some()
        assert (sandbox.struck["binance"]["rest"], sandbox.struck["binance"]["rest_429"]) == (1, 1)


async def test_a_demand_made_of_a_client_that_was_killed_meanwhile_binds_nobody(
    autojump_clock: trio.abc.Clock,
) -> None:
    sandbox = traded("binance", "rest_429=1", "rest_slow=1", orders=1)
    rest_api, target = sandbox.rest_apis["binance"], HttpRequest("/api/v3/aggTrades", {"symbol": "BTCUSDT"})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rest_api.answer, target)
        await trio.sleep(0.5)
        sandbox.forget_client()
    await rest_api.answer(target)
    assert (sandbox.struck["binance"]["rest_429"], sandbox.struck["binance"]["rest_impatient"]) == (1, 0)
