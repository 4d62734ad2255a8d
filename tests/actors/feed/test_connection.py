"""The connection actor on the mock clock: every wait has its end, and nothing that was read is lost."""

import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any, NoReturn

import msgspec
import pytest
import trio
import trio.testing
from msgspec.structs import replace
from trio.testing import MockClock

from actors.exchanges.contract.feed import Trades
from actors.feed.accumulator import DECODE_S
from actors.feed.connection_state import CALM_S
from actors.feed.ticker import TOGETHER_S
from actors.model.records import GapReason
from actors.model.ticks import Reason
from actors.recorder import ExchangeAccess, ExchangeRecorder
from actors.settings import CHUNK_ROWS, CONNECTION_STOP_S, ExchangeSettings, SupervisionSettings
from actors.telemetry.ledger import Account
from supervisor import ActorHealth, Event, State, Supervisor
from tests.harness.chunk_consumer import COLLECT_S, ChunkConsumer
from tests.harness.exchange_server import Client, Script, Server, connect_in_memory, trade
from tests.harness.exchange_values import changed_feed, dialect_of
from tests.harness.memory_exchange import BTC, Venue, recorded, seen, shared_services
from tests.harness.sampling import sample
from tests.harness.server_frames import CLOSE, PING, frame

POLICY = SupervisionSettings(backoff_initial_s=1.0, backoff_max_s=60.0, backoff_reset_s=60.0)
SYMBOLS = ("BTC/USDT", "ETH/USDT", "NOPE/USDT")


class Feed:
    """One exchange under a supervisor, its mailbox, and the scripted server it talks to in memory."""

    def __init__(
        self,
        nursery: trio.Nursery,
        script: Script,
        exchange: str,
        symbols: tuple[str, ...],
        rows: int,
        changes: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> None:
        self.server = Server(script)
        self.account = Account()
        consumer = ChunkConsumer(rows)
        self.intake, self.chunks, self.consume = consumer.intake, consumer.chunks, consumer.run
        self.events: list[Event] = []
        self.tree = Supervisor("tree", on_event=self.events.append)
        more = {"supervision": POLICY, "ws_url": "ws://127.0.0.1", "redundancy": 1, **more}
        settings = ExchangeSettings(name="x", dialect=exchange, symbols=symbols, **more)
        access = ExchangeAccess(
            exchanges=changed_feed(exchange, **(changes or {})),
            connect=connect_in_memory(nursery, self.server.handle),
        )
        services = shared_services(access=access, expect=consumer.expect)
        self.exchange = ExchangeRecorder(settings, self.account, self.intake, services)
        self.exchange.begin(self.exchange.promises, [], 0)

    def health(self, name: str = "x:1") -> ActorHealth:
        return self.tree.health(name)

    def stored(self) -> list[str]:
        return [f"{chunk.block.symbol[n]}" for chunk in self.chunks for n in range(len(chunk.block))]

    def ids(self) -> list[str | None]:
        return [number for chunk in self.chunks for number in chunk.block.trade_id]


@asynccontextmanager
async def feeding(
    script: Script,
    exchange: str = "okx",
    symbols: tuple[str, ...] = ("BTC/USDT",),
    *,
    rows: int = 100_000,
    consuming: bool = True,
    **more: Any,
) -> AsyncIterator[Feed]:
    """Records what the script sends while the block runs, with streams in memory for sockets."""
    async with trio.open_nursery() as nursery:
        feed = Feed(nursery, script, exchange, symbols, rows, **more)
        if consuming:
            nursery.start_soon(feed.consume)
        async with feed.tree:
            await feed.exchange.start(feed.tree)
            yield feed
        nursery.cancel_scope.cancel()


async def silent(client: Client) -> None:
    await client.accept()
    await client.gone()


# -- subscriptions -----------------------------------------------------------------------------------------


async def bybit(client: Client) -> None:
    """Refuses whole requests; sends a trade for each topic it takes."""
    await client.accept()
    while (text := await client.ask()) is not None:
        asked = json.loads(text)
        if asked["op"] == "subscribe":
            bad = [topic for topic in asked["args"] if "NOPE" in topic]
            answer = {"success": not bad, "ret_msg": f"Invalid symbol :{bad}" if bad else "", "op": "subscribe"}
            await client.send(json.dumps({**answer, "req_id": asked["req_id"]}))
            if not bad:
                await client.send(*(trade("bybit", topic.partition(".")[2], 1) for topic in asked["args"]))


async def coinbase(client: Client) -> None:
    """Refuses whole requests, names the first bad product, and cuts who has subscribed nothing in 5 s."""
    await client.accept()
    taken: list[str] = []

    async def watch() -> None:
        await trio.sleep(5)
        if not taken:
            await client.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        while (text := await client.ask()) is not None:
            products = json.loads(text)["product_ids"]
            bad = [product for product in products if "NOPE" in product]
            if bad:
                reason = f"{bad[0]} is not a valid product"
                await client.send(json.dumps({"type": "error", "message": "Failed to subscribe", "reason": reason}))
                continue
            taken += products
            channels = [{"name": "matches", "product_ids": taken}]
            await client.send(json.dumps({"type": "subscriptions", "channels": channels}))
            await client.send(*(trade("coinbaseexchange", product, 1) for product in products))
        nursery.cancel_scope.cancel()


async def kraken(client: Client) -> None:
    """Answers market by market."""
    await client.accept()
    while (text := await client.ask()) is not None:
        for symbol in json.loads(text)["params"]["symbol"]:
            if "NOPE" in symbol:
                refusal = {"error": f"Currency pair not supported {symbol}", "success": False, "symbol": symbol}
                await client.send(json.dumps({"method": "subscribe", **refusal}))
            else:
                result = {"channel": "trade", "symbol": symbol}
                await client.send(json.dumps({"method": "subscribe", "result": result, "success": True}))
                await client.send(trade("kraken", symbol, 1))


async def okx(client: Client) -> None:
    """Answers market by market, and names the bad one in its words only."""
    await client.accept()
    while (text := await client.ask()) is not None:
        if text == "ping":
            await client.send("pong")
            continue
        for arg in json.loads(text)["args"]:
            if "NOPE" in arg["instId"]:
                words = f"Wrong URL or channel:trades,instId:{arg['instId']} doesn't exist."
                await client.send(json.dumps({"event": "error", "code": "60018", "msg": words}))
            else:
                await client.send(json.dumps({"event": "subscribe", "arg": arg}))
                await client.send(trade("okx", arg["instId"], 1))


@pytest.mark.parametrize(
    ("exchange", "script", "words"),
    [
        ("bybit", bybit, "Invalid symbol"),
        ("coinbaseexchange", coinbase, "is not a valid product"),
        ("kraken", kraken, "Currency pair not supported"),
        ("okx", okx, "60018"),
    ],
)
async def test_one_refused_symbol_leaves_the_others_recorded_and_health_reports_why(
    exchange: str, script: Script, words: str, autojump_clock: MockClock
) -> None:
    async with feeding(script, exchange, ("NOPE/USDT", *SYMBOLS[:2], "NOPEX/USDT")) as feed:
        await trio.sleep(30)
        assert sorted(feed.stored()) == ["BTC/USDT", "ETH/USDT"]
        health = feed.health()
        assert health.state is State.DEGRADED
        assert "NOPE/USDT refused: " in health.reason and "NOPEX/USDT refused: " in health.reason
        assert words in health.reason and "no answer" not in health.reason
        assert (health.restarts, len(feed.server.clients)) == (0, 1)
        assert any(event.event == "refused" and words in event.reason for event in feed.events)


async def test_a_storm_of_refusals_is_reported_once_for_each_wording(autojump_clock: MockClock) -> None:
    async def script(client: Client) -> None:
        await client.accept()
        await client.ask()
        await client.send(*(['{"type":"error","message":"Too many requests"}'] * 1000))
        await client.gone()

    async with feeding(script, "coinbaseexchange") as feed:
        await trio.sleep(2)
        assert [event.reason for event in feed.events if event.event == "refused"] == [
            "BTC/USDT: Too many requests"
        ]


async def test_an_unanswered_subscription_is_retried_on_a_new_connection(
    autojump_clock: MockClock,
) -> None:
    async def script(client: Client) -> None:
        await client.accept()
        await client.gone_while(beat, client, '{"event":"channel-conn-count","connCount":"1"}', 1.0)

    async with feeding(script) as feed:
        await trio.sleep(dialect_of("okx").ack_s + 0.5)
        assert feed.health().state is State.BACKOFF
        assert "no answer to the subscription within 10 s" in feed.health().reason
        await trio.sleep(300)
        waits = [later - earlier for earlier, later in pairwise(feed.server.connected_at)]
        assert len(waits) >= 4 and waits[-1] > waits[0] > 10


async def beat(client: Client, text: str, every_s: float) -> None:
    while True:
        await client.send(text)
        await trio.sleep(every_s)


async def test_one_market_without_an_answer_is_named_while_the_others_flow(autojump_clock: MockClock) -> None:
    async def script(client: Client) -> None:
        await client.accept()
        for number in range(40):
            await client.send(trade("okx", "BTC-USDT", number))
            await trio.sleep(1)
        await client.send(trade("okx", "ETH-USDT", 1))
        await client.gone()

    async with feeding(script, "okx", SYMBOLS[:2]) as feed:
        await trio.sleep(5)
        assert feed.health().state is State.OK
        await trio.sleep(25)
        assert feed.health().state is State.DEGRADED
        assert feed.health().reason == "no answer to the subscription of ETH/USDT"
        await trio.sleep(15)
        assert feed.health().state is State.OK and len(feed.server.clients) == 1


async def test_requests_keep_within_the_limits_and_the_pace_of_the_exchange(autojump_clock: MockClock) -> None:
    symbols = tuple(f"COIN{number}/USDT" for number in range(35))
    async with feeding(bybit, "bybit", symbols) as feed:
        await trio.sleep(10)
        (client,) = feed.server.clients
        assert [len(json.loads(text)["args"]) for text in client.asked] == [10, 10, 10, 5]
        gaps = [later - earlier for earlier, later in pairwise(client.asked_at)]
        assert min(gaps) >= 1 / dialect_of("bybit").limits.requests_per_s
        assert sorted(feed.stored()) == sorted(symbols) and feed.health().state is State.OK


async def test_more_symbols_than_one_connection_carries_are_spread_over_several(autojump_clock: MockClock) -> None:
    limits = dialect_of("bybit").limits
    symbols = tuple(f"COIN{number}/USDT" for number in range(limits.symbols_per_connection + 1))
    async with feeding(bybit, "bybit", (*symbols, "BTC/USDT:USDT"), silence_s=1000.0) as feed:
        await trio.sleep(60)
        paths = sorted(client.path for client in feed.server.clients)
        assert paths == ["/v5/public/linear", "/v5/public/spot", "/v5/public/spot"]
        gaps = [later - earlier for earlier, later in pairwise(feed.server.connected_at)]
        assert min(gaps) >= 1 / limits.connects_per_s
        assert sorted(feed.stored()) == sorted([*symbols, "BTC/USDT:USDT"])
        assert [feed.health(f"x:{number}").state for number in (1, 2, 3)] == [State.OK] * 3
        asked = [sum(len(json.loads(t)["args"]) for t in c.asked if "args" in t) for c in feed.server.clients]
        assert sorted(asked) == [1, 1, limits.symbols_per_connection]


async def test_connections_that_are_restarted_while_they_wait_for_their_turn_leave_it_to_others(
    autojump_clock: MockClock,
) -> None:
    venue, symbols, every_s = Venue(), tuple(f"COIN{number}/USDT" for number in range(9)), 10.0
    limits = replace(dialect_of("okx").limits, connects_per_s=1 / every_s, symbols_per_connection=1)
    async with recorded(venue, *symbols, changes={"limits": limits}) as recorder:
        began = trio.current_time()
        for _ in range(3):
            await recorder.tree.restart("x")
            await trio.sleep(1.0)
        await seen(lambda: len(venue.open) == len(symbols))
        assert trio.current_time() - began <= (len(symbols) + 2) * every_s
        gaps = [later - earlier for earlier, later in pairwise(venue.server.connected_at)]
        assert min(gaps) >= every_s


# -- asked again -------------------------------------------------------------------------------------------


NATIVES = {"binance": "BTCUSDT", "bybit": "BTCUSDT", "coinbaseexchange": "BTC-USDT", "kraken": "BTC/USDT"}
OTHERS = {"binance": "ETHUSDT", "bybit": "ETHUSDT", "coinbaseexchange": "ETH-USDT", "kraken": "ETH/USDT"}


BEATS = {
    "binance": frame(b"1", PING),
    "bybit": frame(b'{"op":"pong"}'),
    "coinbaseexchange": frame(b'{"type":"heartbeat","last_trade_id":0,"product_id":"BTC-USDT"}'),
    "kraken": frame(b'{"channel":"heartbeat"}'),
    "okx": frame(b"pong"),
}


class Desk:
    """Answers as each exchange does; `refuses` says of a request, by what it asks for, with which words if any.

    `asked` is what was asked for and when.
    """

    def __init__(self, exchange: str, refuses: Callable[[list[str]], str | None]) -> None:
        self.exchange, self.refuses = exchange, refuses
        self.asked: list[list[str]] = []
        self.asked_at: list[float] = []
        self.client: Client | None = None
        self._taken: list[str] = []

    async def __call__(self, client: Client) -> None:
        await client.accept()
        self.client = client
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._beat, client)
            while (text := await client.ask()) is not None:
                if "ping" not in text:
                    await self._answer(client, json.loads(text))
            nursery.cancel_scope.cancel()

    async def _beat(self, client: Client) -> None:
        while True:
            await client.raw(BEATS[self.exchange])
            await trio.sleep(5.0)

    async def _answer(self, client: Client, asked: dict[str, Any]) -> None:
        natives = self._natives(asked)
        self.asked.append(natives)
        self.asked_at.append(trio.current_time())
        words = self.refuses(natives)
        if words is not None:
            await client.send(words.replace("ID", str(asked.get("id", asked.get("req_id", "")))))
            named = words == UNKNOWN[self.exchange] and dialect_of(self.exchange).answers_each
            natives = [native for native in natives if native not in words] if named else []
        if not natives:
            return
        self._taken += natives
        await client.send(*self._acks(asked, natives), *(trade(self.exchange, native, 1) for native in natives))

    def _natives(self, asked: dict[str, Any]) -> list[str]:
        match self.exchange:
            case "binance":
                return [stream.partition("@")[0].upper() for stream in asked["params"]]
            case "bybit":
                return [topic.partition(".")[2] for topic in asked["args"]]
            case "coinbaseexchange":
                return list(asked["product_ids"])
            case "kraken":
                return list(asked["params"]["symbol"])
        return [arg["instId"] for arg in asked["args"]]

    def _acks(self, asked: dict[str, Any], natives: list[str]) -> list[str]:
        acks: list[dict[str, object]]
        match self.exchange:
            case "binance":
                acks = [{"result": None, "id": asked["id"]}]
            case "bybit":
                acks = [{"success": True, "ret_msg": "", "op": "subscribe", "req_id": asked["req_id"]}]
            case "coinbaseexchange":
                channels = [{"name": "matches", "product_ids": self._taken}]
                acks = [{"type": "subscriptions", "channels": channels}]
            case "kraken":
                results = [{"channel": "trade", "symbol": native} for native in natives]
                acks = [{"method": "subscribe", "result": result, "success": True} for result in results]
            case _:
                acks = [{"event": "subscribe", "arg": {"channel": "trades", "instId": n}} for n in natives]
        return [json.dumps(ack) for ack in acks]


UNKNOWN = {
    "binance": '{"error":{"code":2,"msg":"Invalid request"},"id":ID}',
    "bybit": '{"success":false,"ret_msg":"Invalid symbol :[publicTrade.BTCUSDT]","op":"subscribe","req_id":"ID"}',
    "coinbaseexchange": '{"type":"error","message":"Failed to subscribe",'
    '"reason":"BTC-USDT is not a valid product"}',
    "kraken": '{"error":"Currency pair not supported BTC/USDT","method":"subscribe","success":false,'
    '"symbol":"BTC/USDT"}',
    "okx": '{"event":"error","code":"60018","msg":"Wrong URL or channel:trades,instId:BTC-USDT doesn\'t exist."}',
}
TOO_FAST = {
    "binance": '{"error":{"code":-1003,"msg":"Too many requests"},"id":ID}',
    "bybit": '{"success":false,"ret_msg":"Too many visits!","op":"subscribe","req_id":"ID"}',
    "coinbaseexchange": '{"type":"error","message":"Rate limit exceeded"}',
    "kraken": '{"Error":"Exceeded msg rate"}',
    "okx": '{"event":"error","code":"60014","msg":"Requests too frequent"}',
}


@pytest.mark.parametrize("exchange", sample(UNKNOWN, 2, "listed later"))
async def test_a_market_that_lists_later_starts_then_and_nothing_else_is_disturbed(
    exchange: str, autojump_clock: MockClock
) -> None:
    native, listed_at = NATIVES.get(exchange, "BTC-USDT"), 400.0

    def refuses(natives: list[str]) -> str | None:
        return UNKNOWN[exchange] if native in natives and trio.current_time() < listed_at else None

    desk = Desk(exchange, refuses)
    async with feeding(desk, exchange, SYMBOLS[:2]) as feed:
        await trio.sleep(listed_at - 1)
        assert "ETH/USDT" in feed.stored() and "BTC/USDT" not in feed.stored()
        health = feed.health()
        assert health.state is State.DEGRADED and "BTC/USDT refused: " in health.reason
        named = [event for event in feed.events if event.event == "refused" and event.detail]
        assert [event.detail["symbol"] for event in named] == ["BTC/USDT"], "once, and not once a try"
        degraded = [(event.actor, event.reason) for event in feed.events if event.event == "degraded"]
        assert len(degraded) == 1, degraded
        tries = [at for natives, at in zip(desk.asked, desk.asked_at, strict=True) if natives == [native]]
        pauses = [later - before for before, later in pairwise(tries)]
        assert 4 <= len(pauses) <= 8 and pauses == sorted(pauses) and pauses[0] >= 5
        await trio.sleep(620)  # the longest pause, and a little
        assert "BTC/USDT" in feed.stored() and feed.health().state is State.OK
        assert len(feed.server.clients) == 1 and feed.health().restarts == 0


@pytest.mark.parametrize("exchange", sorted(TOO_FAST))
async def test_a_request_that_came_too_fast_is_sent_again_as_it_was(
    exchange: str, autojump_clock: MockClock
) -> None:
    desk = Desk(exchange, lambda _natives: TOO_FAST[exchange] if len(desk.asked) <= 3 else None)
    async with feeding(desk, exchange, SYMBOLS[:2]) as feed:
        await trio.sleep(4)
        health = feed.health()
        assert health.state is State.DEGRADED and "BTC/USDT" in health.reason and "will retry" in health.reason
        await trio.sleep(80)
        assert [len(natives) for natives in desk.asked] == [2] * 4, "as it was, and not in parts"
        pauses = [later - before for before, later in pairwise(desk.asked_at)]
        assert pauses == sorted(pauses) and 5 <= pauses[0] <= 10.5
        assert sorted(feed.stored()) == list(SYMBOLS[:2]) and feed.health().state is State.OK
        assert len(feed.server.clients) == 1


async def test_a_market_without_an_answer_is_requested_again_on_the_open_connection(
    autojump_clock: MockClock,
) -> None:
    async def script(client: Client) -> None:
        await client.accept()
        asked: list[str] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(beat, client, "pong", 5.0)
            while (text := await client.ask()) is not None:
                if text == "ping":
                    continue
                asked.append(text)
                args = json.loads(text)["args"]
                for arg in args[: 1 if len(asked) < 3 else None]:
                    if len(asked) != 2:
                        await client.send(json.dumps({"event": "subscribe", "arg": arg}))
            nursery.cancel_scope.cancel()

    async with feeding(script, "okx", SYMBOLS[:2]) as feed:
        await trio.sleep(11)
        assert feed.health().reason == "no answer to the subscription of ETH/USDT"
        await trio.sleep(60)
        assert feed.health().state is State.OK
        (client,) = feed.server.clients
        asked = [json.loads(text)["args"] for text in client.asked if text != "ping"]
        assert [[arg["instId"] for arg in args] for args in asked] == [
            ["BTC-USDT", "ETH-USDT"],
            ["ETH-USDT"],
            ["ETH-USDT"],
        ]


async def test_a_maintenance_at_the_start_is_waited_out_on_the_open_connection(autojump_clock: MockClock) -> None:
    online_at = 300.0

    async def script(client: Client) -> None:
        status = '{"channel":"status","data":[{"system":"maintenance"}]}'
        await client.accept()
        await client.send(status)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(beat, client, '{"channel":"heartbeat"}', 1.0)

            async def come_back() -> None:
                await trio.sleep(online_at)
                await client.send(status.replace("maintenance", "online"))

            nursery.start_soon(come_back)
            while await client.ask() is not None:
                if trio.current_time() >= online_at:
                    result = {"channel": "trade", "symbol": "BTC/USDT"}
                    await client.send(json.dumps({"method": "subscribe", "result": result, "success": True}))
                    await client.send(trade("kraken", "BTC/USDT", 1))
            nursery.cancel_scope.cancel()

    async with feeding(script, "kraken") as feed:
        await trio.sleep(online_at - 1)
        assert feed.health().reason == "no answer to the subscription of BTC/USDT"
        assert feed.health("x:stall_detector").reason == "x reports: maintenance"
        await trio.sleep(3)
        assert feed.stored() == ["BTC/USDT"] and feed.health().state is State.OK
        assert len(feed.server.clients) == 1


async def test_health_names_a_few_of_many_refused_markets_and_counts_the_rest(autojump_clock: MockClock) -> None:
    symbols = tuple(f"NOPE{number}/USDT" for number in range(40))
    async with feeding(okx, "okx", ("BTC/USDT", *symbols)) as feed:
        await trio.sleep(5)
        assert feed.health().reason.count("refused: ") == 5 and feed.health().reason.endswith("; 35 more refused")
        assert len([event for event in feed.events if event.event == "refused"]) == 40
        await trio.sleep(400)
        (client,) = feed.server.clients
        asked = [text for text in client.asked if text != "ping"]
        assert 5 <= len(asked) <= 8, "those refused together are asked for together"
        assert len([event for event in feed.events if event.event == "refused"]) == 40


async def test_no_more_is_requested_in_a_window_than_the_exchange_allows(
    autojump_clock: MockClock,
) -> None:
    async def script(client: Client) -> None:
        await client.accept()
        await client.send(trade("okx", "BTC-USDT", 1))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(beat, client, "pong", 5.0)
            while (text := await client.ask()) is not None:
                if text != "ping":
                    for arg in json.loads(text)["args"]:
                        await client.send(json.dumps({"event": "subscribe", "arg": arg}))
                        await client.send(json.dumps({"event": "unsubscribe", "arg": arg}))
                        await client.send(trade("okx", arg["instId"], 1))
            nursery.cancel_scope.cancel()

    limits = msgspec.structs.replace(dialect_of("okx").limits, requests_max=3, requests_window_s=100.0)
    async with feeding(script, "okx", SYMBOLS[:2], changes={"limits": limits}) as feed:
        await trio.sleep(350)
        (client,) = feed.server.clients
        moments = [at for text, at in zip(client.asked, client.asked_at, strict=True) if text != "ping"]
        assert len(moments) >= 6
        assert all(later - before >= 100 for before, later in zip(moments, moments[3:], strict=False))


ENDED = {
    "bybit": '{"success":true,"ret_msg":"","op":"unsubscribe","args":["publicTrade.BTCUSDT"]}',
    "coinbaseexchange": '{"type":"subscriptions","channels":[{"name":"matches","product_ids":["ETH-USDT"]}]}',
    "kraken": '{"method":"unsubscribe","result":{"channel":"trade","symbol":"BTC/USDT"},"success":true}',
    "okx": '{"event":"unsubscribe","arg":{"channel":"trades","instId":"BTC-USDT"}}',
}


@pytest.mark.parametrize("exchange", sorted(ENDED))
async def test_what_the_exchange_unsubscribes_is_requested_at_once_and_the_gap_is_known(
    exchange: str, autojump_clock: MockClock
) -> None:
    silent_until = 0.0
    desk = Desk(exchange, lambda natives: "{}" if trio.current_time() < silent_until else None)
    async with feeding(desk, exchange, SYMBOLS[:2]) as feed:
        await trio.sleep(5)
        assert feed.health().state is State.OK and desk.client is not None
        silent_until = trio.current_time() + 3
        await desk.client.send(ENDED[exchange])
        await trio.sleep(0.5)
        assert desk.asked[1:] == [[NATIVES.get(exchange, "BTC-USDT")]]
        assert feed.exchange.connections[0].state.since.keys() == {"ETH/USDT"}
        assert "BTC/USDT: unsubscribed by the exchange; will retry" in feed.health().reason
        await trio.sleep(60)  # that was not answered, so once more
        assert feed.health().state is State.OK
        told = [event.reason for event in feed.events if event.event == "unsubscribed"]
        assert told == ["BTC/USDT: unsubscribed by the exchange"]
        gaps = [gap for chunk in feed.chunks for gap in chunk.gaps]
        assert {(gap.symbol, gap.reason) for gap in gaps} == {("BTC/USDT", GapReason.DISCONNECT)}
        assert len(feed.server.clients) == 1


async def test_what_is_unsubscribed_again_and_again_is_requested_more_and_more_rarely(
    autojump_clock: MockClock,
) -> None:
    async def script(client: Client) -> None:
        await client.accept()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(beat, client, '{"channel":"heartbeat"}', 1.0)
            while (text := await client.ask()) is not None:
                await client.send(
                    *(
                        json.dumps(
                            {
                                "method": "subscribe",
                                "success": True,
                                "result": {"channel": "trade", "symbol": symbol},
                            }
                        )
                        for symbol in json.loads(text)["params"]["symbol"]
                    )
                )
                await client.send(ENDED["kraken"])
            nursery.cancel_scope.cancel()

    async with feeding(script, "kraken") as feed:
        await trio.sleep(800)
        (client,) = feed.server.clients
        pauses = [later - before for before, later in pairwise(client.asked_at)]
        assert pauses[0] < 1 and pauses[1] >= 5 and pauses == sorted(pauses) and len(pauses) <= 20
        assert feed.health().state is State.DEGRADED


async def test_a_wait_demanded_of_one_connections_address_holds_for_all_of_the_exchange(
    autojump_clock: MockClock,
) -> None:
    banned_s = 200.0

    async def script(client: Client) -> None:
        if client.number == 1 or trio.current_time() > banned_s:
            await okx(client)
        else:
            await client.stream.receive_some()
            await client.raw(b"HTTP/1.1 418 Banned\r\nRetry-After: 200\r\n\r\n")

    async with feeding(script, "okx", redundancy=2) as feed:
        await trio.sleep(5)
        assert feed.health("x:2").state is State.BACKOFF and "next try in 200 s" in feed.health("x:2").reason
        await trio.aclose_forcefully(feed.server.clients[0].stream)
        await trio.sleep(145)
        assert len(feed.server.clients) == 2, "nobody has come back"
        health = feed.health("x:1")
        assert health.state is State.BACKOFF and "HTTP 418" in health.reason
        assert health.next_retry_at_ns is not None
        assert 45 < (health.next_retry_at_ns - time.time_ns()) / 1e9 < 55
        await trio.sleep(60)
        assert [feed.health(name).state for name in ("x:1", "x:2")] == [State.OK] * 2


# -- silence and pings -------------------------------------------------------------------------------------


async def test_silence_beyond_the_deadline_is_met_with_a_new_connection(autojump_clock: MockClock) -> None:
    async def script(client: Client) -> None:
        await client.accept()
        await client.send(trade("binance", "BTCUSDT", client.number))
        await client.gone()

    async with feeding(script, "binance", silence_s=7.0) as feed:
        await trio.sleep(7.5)
        assert feed.health().state is State.BACKOFF
        assert "nothing came from x for 7 s" in feed.health().reason
        await trio.sleep(2)
        assert len(feed.server.clients) == 2 and feed.stored() == ["BTC/USDT"] * 2


@pytest.mark.parametrize(
    ("exchange", "sign"),
    [
        ("kraken", frame(b'{"channel":"heartbeat"}')),
        ("coinbaseexchange", frame(b'{"type":"heartbeat","last_trade_id":0,"product_id":"BTC-USDT"}')),
        ("binance", frame(b"1789", PING)),
    ],
)
async def test_signs_of_life_without_trades_keep_a_connection(
    exchange: str, sign: bytes, autojump_clock: MockClock
) -> None:
    native = {"kraken": "BTC/USDT", "coinbaseexchange": "BTC-USDT", "binance": "BTCUSDT"}[exchange]

    async def script(client: Client) -> None:
        await client.accept()
        await client.send(trade(exchange, native, 1))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.gone)
            for _ in range(60):
                await client.raw(sign)
                await trio.sleep(20)
            nursery.cancel_scope.cancel()

    async with feeding(script, exchange) as feed:
        await trio.sleep(1190)
        assert len(feed.server.clients) == 1 and feed.health().state is State.OK
        assert feed.server.clients[0].pongs == ([b"1789"] * 60 if exchange == "binance" else [])


async def test_each_question_of_the_exchange_is_answered_and_in_order(autojump_clock: MockClock) -> None:
    def beat_of(number: int) -> str:
        return json.dumps({"id": number, "method": "public/heartbeat", "code": 0})

    answered: list[int] = []

    async def script(client: Client) -> None:
        await client.accept()
        async with trio.open_nursery() as nursery:

            async def listen() -> None:
                while (text := await client.ask()) is not None:
                    message = json.loads(text)
                    if message["method"] == "public/respond-heartbeat":
                        answered.append(message["id"])
                nursery.cancel_scope.cancel()

            nursery.start_soon(listen)
            for first in range(0, 30, 3):
                for number in range(first, first + 3):
                    await client.send(beat_of(number))
                await trio.sleep(first % 2)

    async with feeding(script, "cryptocom") as feed:
        await trio.sleep(6)
        assert answered == list(range(30)) and len(feed.server.clients) == 1


@pytest.mark.parametrize(("exchange", "ping"), [("okx", "ping"), ("bybit", '{"op":"ping"}')])
async def test_pings_in_the_exchanges_own_words_are_sent_in_time(
    exchange: str, ping: str, autojump_clock: MockClock
) -> None:
    async with feeding({"okx": okx, "bybit": bybit}[exchange], exchange, silence_s=1000.0) as feed:
        await trio.sleep(205)
        (client,) = feed.server.clients
        moments = [at for text, at in zip(client.asked, client.asked_at, strict=True) if text == ping]
        assert len(moments) == 10
        assert all(later - earlier == pytest.approx(20, abs=0.1) for earlier, later in pairwise(moments))


# -- backoff -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trades", [0, 1])
async def test_a_server_that_accepts_and_drops_is_met_with_longer_and_longer_waits(
    trades: int, autojump_clock: MockClock
) -> None:
    async def script(client: Client) -> None:
        await client.accept()
        await client.send(*(trade("okx", "BTC-USDT", client.number) for _ in range(trades)))
        await client.close(1001)

    async with feeding(script) as feed:
        await trio.sleep(500)
        waits = [later - earlier for earlier, later in pairwise(feed.server.connected_at)]
        assert 10 <= len(waits) <= 25  # not hundreds
        assert all(wait >= 30 for wait in waits[6:])
        assert "closed with code 1001" in feed.health().reason
        assert len(feed.stored()) == trades * len(feed.server.clients)


async def test_healthy_data_for_long_enough_resets_the_wait(autojump_clock: MockClock) -> None:
    async def script(client: Client) -> None:
        await client.accept()
        if client.number == 6:
            for number in range(70):
                await client.send(trade("okx", "BTC-USDT", number))
                await trio.sleep(1)
        await client.close(1001)

    async with feeding(script) as feed:
        await trio.sleep(220)
        waits = [later - earlier for earlier, later in pairwise(feed.server.connected_at)]
        assert waits[4] > 8
        assert waits[5] < 70 + 2


async def test_a_farewell_of_the_exchange_is_an_event(autojump_clock: MockClock) -> None:
    async def script(client: Client) -> None:
        await client.accept()
        await client.send('{"event":"notice","code":"64008","msg":"The connection will soon be closed."}')
        await client.gone()

    async with feeding(script) as feed:
        await trio.sleep(1)
        assert [event.reason for event in feed.events if event.event == "leaving"] == [
            "64008 The connection will soon be closed."
        ]


# -- what was read is kept ---------------------------------------------------------------------------------


async def test_a_single_tick_is_handed_over_within_a_moment(autojump_clock: MockClock) -> None:
    gone = trio.Event()

    async def script(client: Client) -> None:
        await client.accept()
        await gone.wait()
        await client.send(trade("okx", "BTC-USDT", 1))
        await client.gone()

    async with feeding(script) as feed:
        await trio.sleep(1)
        gone.set()
        await trio.sleep(COLLECT_S * 1.5)
        assert feed.stored() == ["BTC/USDT"]


async def test_a_stop_closes_the_connection_and_keeps_the_last_chunk(autojump_clock: MockClock) -> None:
    async def script(client: Client) -> None:
        await client.accept()
        await client.send(trade("okx", "BTC-USDT", 1))
        await client.gone()

    async with feeding(script) as feed:
        while feed.account.received == 0:
            await trio.lowlevel.checkpoint()
        assert feed.stored() == []  # read, and not handed over yet
        began = trio.current_time()
        await feed.tree.stop_child("x")
        assert trio.current_time() - began < 0.1
        assert feed.stored() == ["BTC/USDT"]
        assert feed.server.clients[0].close_code == 1000


async def test_a_server_that_never_answers_the_goodbye_cannot_hold_up_a_stop(autojump_clock: MockClock) -> None:
    async def script(client: Client) -> None:
        await client.accept()
        number = 0
        while True:  # it does not listen, and goes on sending
            await client.send(trade("okx", "BTC-USDT", number))
            await trio.sleep(0.1)
            number += 1

    async with feeding(script) as feed:
        await trio.sleep(5)
        began = trio.current_time()
        await feed.tree.stop_child("x")
        assert trio.current_time() - began <= CONNECTION_STOP_S + 1.0
        assert feed.ids() == [str(number) for number in range(feed.account.received)]
        assert feed.account.in_flight == feed.account.received


async def flood(client: Client, frames: int = 20_000) -> None:
    await client.accept()
    for start in range(0, frames, 100):
        await client.send(*(trade("okx", "BTC-USDT", number) for number in range(start, start + 100)))
    await client.gone_while(beat, client, "pong", 5.0)


async def test_a_full_mailbox_stops_the_reading_without_being_treated_as_silence(autojump_clock: MockClock) -> None:
    rows = 4 * CHUNK_ROWS
    async with feeding(flood, rows=rows, consuming=False, silence_s=10.0) as feed:
        await trio.sleep(300)
        assert feed.health().restarts == 0 and feed.intake.statistics().peak <= rows + 2 * CHUNK_ROWS
        held = feed.account.received
        assert rows <= held < 20_000
        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed.consume)
            await trio.sleep(5)
            assert feed.ids() == [str(number) for number in range(20_000)]
            assert len(feed.server.clients) == 1 and feed.health().state is State.OK
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("waits", "reason"), [(True, GapReason.OVERFLOW), (False, GapReason.DISCONNECT)])
async def test_a_hang_up_after_a_full_buffer_is_an_overflow(
    autojump_clock: MockClock, waits: bool, reason: GapReason
) -> None:
    async def gives_up(client: Client) -> None:
        await client.accept()
        await client.send(*(trade("okx", "BTC-USDT", number) for number in range(10 * CHUNK_ROWS)))
        await trio.sleep(20)
        await client.close(1008)

    async with feeding(gives_up, rows=CHUNK_ROWS if waits else 100_000, consuming=False, silence_s=100.0) as feed:
        await trio.sleep(25)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed.consume)
            await trio.sleep(2)
            nursery.cancel_scope.cancel()
        assert [gap.reason for chunk in feed.chunks for gap in chunk.gaps] == [reason]


async def test_what_a_stuck_buffer_does_not_take_is_kept_for_the_end(autojump_clock: MockClock) -> None:
    async with feeding(flood, rows=1, consuming=False) as feed:
        await trio.sleep(20)
        began = trio.current_time()
        await feed.tree.stop_child("x")
        assert trio.current_time() - began <= CONNECTION_STOP_S + 2.0
        async with feed.intake.receive() as first:
            taken = len(first.block)
        left = sum(len(chunk.block) for chunk in feed.exchange.rests())
        assert taken + left == feed.account.received == feed.account.in_flight > 0
        assert feed.exchange.rests() == []


async def test_what_is_read_while_an_older_chunk_waits_is_kept_too_and_in_order(autojump_clock: MockClock) -> None:
    async def script(client: Client) -> None:
        await client.accept()
        for number in range(200):
            await client.send(trade("okx", "BTC-USDT", number))
            await trio.sleep(COLLECT_S / 2)
        await client.gone()

    async with feeding(script, rows=1, consuming=False) as feed:
        await trio.sleep(5)
        await feed.tree.stop_child("x")
        async with feed.intake.receive() as first:
            ids = [*first.block.trade_id]
        ids += [number for chunk in feed.exchange.rests() for number in chunk.block.trade_id]
        assert ids == [str(number) for number in range(200)]


async def test_what_was_read_outlives_a_crash_of_the_actor(
    autojump_clock: MockClock,
) -> None:
    dialect = dialect_of("okx")

    def trades(frames: Sequence[bytes]) -> Trades:
        if any(b'"13"' in frame for frame in frames):
            raise ZeroDivisionError("a bug of ours")
        return dialect.trades(frames)

    async def script(client: Client) -> None:
        await client.accept()
        if client.number == 1:
            await client.send(*(trade("okx", "BTC-USDT", number) for number in (11, 12)))
            await trio.sleep(COLLECT_S / 2)  # another read, and not handed over yet
            await client.send(trade("okx", "BTC-USDT", 13))
        else:
            await client.send(trade("okx", "BTC-USDT", 14))
        await client.gone()

    async with feeding(script, changes={"trades": trades}) as feed:
        await trio.sleep(10)
        assert feed.ids() == ["11", "12", "14"]
        rejects = [reject for chunk in feed.chunks for reject in chunk.rejects]
        assert [(reject.reason, b'"13"' in reject.payload) for reject in rejects] == [(Reason.CRASHED, True)]
        assert "a bug of ours" in rejects[0].detail
        account = feed.account
        assert (account.received, account.rejected, account.in_flight) == (4, 1, 3) and account.balanced
        assert feed.health().restarts == 1
        (crash,) = [event for event in feed.events if event.detail.get("verdict") == "bug"]
        assert "ZeroDivisionError" in str(crash.detail["traceback"])


async def test_a_message_that_crashes_the_decoder_costs_only_itself_and_the_counts_agree(
    autojump_clock: MockClock,
) -> None:
    def explode(*_: object) -> NoReturn:
        raise MemoryError

    async def script(client: Client) -> None:
        await client.accept()
        if client.number == 1:
            before, after = ([trade("okx", "BTC-USDT", n) for n in some] for some in (range(3), range(3, 6)))
            await client.send(*before, b"x", *after)  # "x" sends the reader through the frames one by one
        await client.gone()

    async with feeding(script, changes={"control": explode}) as feed:
        await trio.sleep(5)
        assert feed.ids() == [str(number) for number in range(6)]
        assert [len(chunk.rejects) for chunk in feed.chunks if chunk.rejects] == [1]
        assert (feed.account.received, feed.account.rejected, feed.account.in_flight) == (7, 1, 6)
        assert feed.health().restarts == 1


async def test_a_connection_that_is_refused_reports_it_and_comes_back(autojump_clock: MockClock) -> None:
    async def script(client: Client) -> None:
        if client.number == 1:
            await client.stream.receive_some()
            await client.raw(b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 90\r\n\r\n")
        else:
            await okx(client)

    async with feeding(script) as feed:
        await trio.sleep(80)
        assert feed.health().state is State.BACKOFF and "HTTP 429" in feed.health().reason
        await trio.sleep(20)
        assert feed.health().state is State.OK and feed.stored() == ["BTC/USDT"]
        first, second = feed.server.connected_at
        assert second - first >= 90


async def test_a_close_frame_behind_the_last_message_loses_nothing(autojump_clock: MockClock) -> None:
    async def script(client: Client) -> None:
        await client.accept()
        messages = b"".join(frame(trade("okx", "BTC-USDT", number)) for number in range(50))
        await client.raw(messages + frame((1000).to_bytes(2, "big"), CLOSE) if client.number == 1 else b"")
        await client.gone()

    async with feeding(script) as feed:
        await trio.sleep(0.5)
        assert feed.ids() == [str(number) for number in range(50)]
        assert feed.health().state is State.BACKOFF and "closed with code 1000" in feed.health().reason


async def test_what_a_slow_feed_sends_is_decoded_in_the_end_though_nobody_collects_it(
    autojump_clock: MockClock,
) -> None:
    venue = Venue()
    async with recorded(venue, consuming=False) as recorder:
        await seen(lambda: recorder.connection("x:1").state.since)
        await venue.trade(BTC)
        await trio.sleep(DECODE_S / 2)
        await venue.trade(BTC)
        assert recorder.account.received == 0
        await trio.sleep(DECODE_S / 2 + CALM_S + TOGETHER_S)
        assert recorder.account.received == 2
        recorder.check()


async def test_silence_is_judged_by_what_has_been_read_also_if_it_is_not_decoded_yet(
    autojump_clock: MockClock,
) -> None:
    venue = Venue()
    async with recorded(venue, consuming=False) as recorder:
        connection = recorder.connection("x:1")
        await seen(lambda: connection.state.since)
        await venue.trade(BTC)
        await trio.sleep(0.01)
        assert not connection.state.last_trade_at
        connection.decode()
        assert connection.state.last_trade_at == {"BTC/USDT": trio.current_time()}
