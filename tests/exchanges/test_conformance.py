"""The conformance list: each step of a session with every loopback exchange, over real sockets, by its dialect."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import replace

import pytest
import trio

from actors.exchanges.contract.feed import Ack, KeepAlive, Market, Refusal, Reply
from actors.exchanges.contract.history import TradeRange
from actors.exchanges.contract.loopback_market import Fill
from actors.exchanges.loopbacks import LOOPBACKS
from actors.exchanges.registry import EXCHANGES
from ops.sandbox import Sandbox, parse_faults
from tests.harness.exchange_server import until
from tests.harness.exchange_values import WITH_HISTORY, dialect_of, history_of, history_server_of
from tests.harness.loopback_client import LoopbackClient, fetch, fetch_again, listed_markets, loopback
from tests.harness.sampling import sample

ORDERS = 5
IDLE_S = 0.4  # in place of the seconds or minutes after which an exchange gives a client up

# The whole list for some exchanges in the normal run; it takes half a second for each entry and exchange.
SOME = sample(EXCHANGES, 5, "conformance")

every_exchange = pytest.mark.parametrize("name", SOME)


def among(names: Collection[str]) -> pytest.MarkDecorator:
    """Those of the names that this run tries, or one of them if it tries none."""
    return pytest.mark.parametrize("name", [name for name in names if name in SOME] or sample(names, 1, "one"))


def having(**what: object) -> pytest.MarkDecorator:
    """The exchanges whose loopback has all of these."""
    return among([name for name, venue in LOOPBACKS.items() if all(getattr(venue, key) for key in what)])


async def one_endpoint(sandbox: Sandbox, name: str) -> list[Market]:
    """Two markets of one endpoint, or one where no endpoint has more."""
    by_endpoint: dict[str, list[Market]] = {}
    for market in await listed_markets(sandbox, name):
        by_endpoint.setdefault(market.endpoint, []).append(market)
    return max(by_endpoint.values(), key=len)[:2]


def amounts(fills: Iterable[Fill]) -> list[tuple[float, float]]:
    """Price and volume of each."""
    return [(float(fill.price), float(fill.volume)) for fill in fills]


def acknowledged(client: LoopbackClient) -> set[str]:
    """The natives that the exchange confirmed; an answer that names none is about all of its request."""
    natives = [market.native for market in client.markets]
    return {native for ack in client.controls_of(Ack) for native in ack.natives or natives}


@every_exchange
async def test_each_market_is_subscribed_acknowledged_as_documented_and_delivers(name: str) -> None:
    async with loopback(name) as sandbox:
        markets = await listed_markets(sandbox, name)
        for endpoint in dict.fromkeys(market.endpoint for market in markets):
            own = [market for market in markets if market.endpoint == endpoint]
            async with LoopbackClient.connected(name, sandbox, *own) as client:
                await client.subscribed()
                for market in own:
                    await client.received(client.trade(market.symbol, ORDERS))
                answers = dialect_of(name).acknowledges_on(dialect_of(name).channels[0])
                answered = acknowledged(client) if answers else client.controls_of(Ack)
                assert answered == ({market.native for market in own} if answers else [])
                assert client.rejects == [] and client.controls_of(Refusal) == []
        assert sandbox.struck[name]["rate_limit"] == 0


@every_exchange
async def test_an_unknown_market_is_refused_or_ignored_and_costs_no_other_where_that_is_documented(
    name: str,
) -> None:
    async with loopback(name) as sandbox:
        (market, *_) = await listed_markets(sandbox, name)
        unknown = Market("NOPE/NOPE", f"nope{market.native}", market.endpoint)
        async with LoopbackClient.connected(name, sandbox, market, unknown) as client:
            if dialect_of(name).bad_symbol_closes:
                await client.subscribe(unknown.native)
                await client.closed()
                return
            if dialect_of(name).request_replaces:
                await client.subscribe(market.native, unknown.native)
            else:
                await client.subscribed(market.native)
                await client.subscribe(unknown.native)
            await until(lambda: client.subscribers(market.native) or client.controls_of(Refusal), "any answer")
            await client.quiet()
            if client.subscribers(market.native):
                await client.received(client.trade(market.symbol, ORDERS))
            else:  # the exchange refuses a request for one of its markets
                assert client.controls_of(Refusal)
            assert await client.is_open() and client.rejects == []
            assert not client.subscribers(unknown.native)
            refused = client.controls_of(Refusal)
            assert all(market.native not in refusal.natives for refusal in refused)


@every_exchange
async def test_the_clients_ping_is_what_the_exchange_wants_within_the_time_that_it_gives(name: str) -> None:
    venue = LOOPBACKS[name]
    async with loopback(name) as sandbox:
        (market, *_) = await listed_markets(sandbox, name)
        ping = dialect_of(name).ping_at(market.endpoint)
        if ping is None:
            assert venue.idle_timeout_s is None or venue.pushes_count_as_activity, "what keeps a quiet connection?"
            return
        assert venue.idle_timeout_s is None or ping.interval_s < venue.idle_timeout_s
        async with LoopbackClient.connected(name, sandbox, market) as client:
            if ping.text is not None:
                for number in (1, 2):
                    before = len(client.controls_of(KeepAlive))
                    await client.send(ping.text(number))
                    await client.controls_received(KeepAlive, before + 1)
            assert await client.is_open() and client.rejects == [] and client.controls_of(Refusal) == []


@having(idle_timeout_s=True)
async def test_a_client_that_sends_nothing_is_closed_and_one_that_pings_is_not(name: str) -> None:
    others = dict.fromkeys(("subscribe_within_s", "heartbeat", "server_ping", "requests_per_s"))
    async with loopback(name, idle_timeout_s=IDLE_S, **others) as sandbox:
        (market, *_) = await listed_markets(sandbox, name)
        ping = dialect_of(name).ping_at(market.endpoint)
        async with LoopbackClient.connected(name, sandbox, market) as client:
            began = trio.current_time()
            while ping is not None and trio.current_time() < began + 2 * IDLE_S:
                await (client.wire.send(ping.text(1)) if ping.text else client.wire.ping())
                await trio.sleep(IDLE_S / 4)
            assert await client.is_open()
            how = await client.closed()
            assert how.code == LOOPBACKS[name].idle_close[0]


@having(server_ping=True)
async def test_who_answers_the_exchanges_own_pings_stays_and_who_does_not_is_closed(name: str) -> None:
    async with loopback(name, server_ping_s=0.1, subscribe_within_s=None) as sandbox:
        (market, *_) = await listed_markets(sandbox, name)
        async with LoopbackClient.connected(name, sandbox, market) as client:
            await client.subscribed()
            await client.controls_received(Reply, LOOPBACKS[name].server_pings_unanswered + 3)
            assert await client.is_open()
            client.replies = False
            how = await client.closed()
            assert how.code == LOOPBACKS[name].server_ping_close[0]
            assert client.rejects == []


@every_exchange
async def test_an_exchange_that_falls_silent_takes_requests_refuses_nothing_and_sends_no_trade(name: str) -> None:
    async with loopback(name) as sandbox:
        sandbox.set_faults(parse_faults(["silence"]))
        (market, *_) = await listed_markets(sandbox, name)
        async with LoopbackClient.connected(name, sandbox, market) as client:
            await client.subscribed()
            client.trade(market.symbol, ORDERS)
            await client.quiet()
            assert client.ids == [] and client.rejects == [] and await client.is_open()
            assert client.controls_of(Refusal) == []


@every_exchange
async def test_after_a_close_the_next_connection_gets_what_follows_and_old_trades_are_marked(name: str) -> None:
    dialect = dialect_of(name)
    async with loopback(name) as sandbox:
        (market, *_) = await listed_markets(sandbox, name)
        async with LoopbackClient.connected(name, sandbox, market) as client:
            await client.subscribed()
            await client.received(client.trade(market.symbol, ORDERS))
            sandbox.exchanges[name].drop_all()
            await client.closed()
        missed = client.trade(market.symbol, ORDERS)  # while nobody listens
        await trio.sleep(0.002)  # so that they are older than the next request in the finest unit of any exchange
        async with LoopbackClient.connected(name, sandbox, market) as later:
            await later.subscribed()
            await later.quiet()
            replayed = len(later.block)
            assert set(later.block.source) <= {"snapshot"} or dialect.resolution == "s"
            assert bool(replayed) == (not dialect.replay_note.startswith("none"))
            made = set(amounts(sandbox.truth[name][market.symbol]))
            assert set(zip(map(float, later.block.price), map(float, later.block.volume), strict=True)) <= made
            await later.received(later.trade(market.symbol, ORDERS))
            assert set(later.block.source[replayed:]) == {"stream"} and later.rejects == []
    assert len(missed) >= ORDERS


@pytest.mark.parametrize("name", WITH_HISTORY)
async def test_the_history_fills_the_gap_between_two_connections(name: str) -> None:
    """A gap as it is found: from the last trade before it to the first one after it, by their times."""
    async with loopback(name, history=replace(history_server_of(name), units=1e9)) as sandbox:
        (market, *_) = await listed_markets(sandbox, name)
        async with LoopbackClient.connected(name, sandbox, market) as client:
            await client.subscribed()
            for _ in range(ORDERS):
                before = client.trade(market.symbol)
                await trio.sleep(0.003)  # so that no two orders share a time, and the oldest proves the beginning
            await client.received(before)
            before_ns = client.block.exchange_ns[-1]
            sandbox.exchanges[name].drop_all()
            await client.closed()
        missed = client.trade(market.symbol, ORDERS if history_of(name).page_rows >= 10 * ORDERS else 1)
        await trio.sleep(0.003)
        after = client.trade(market.symbol)
        gap = TradeRange(from_ns=before_ns, to_ns=after[0].ns)
        result, block = await fetch_again(sandbox, name, market, gap)
        parts = [part for fill in missed for part in client.single(market.symbol, fill)]
    assert result.complete and result.count == len(block) >= len(parts), result
    assert Counter(amounts(parts)) <= Counter(zip(map(float, block.price), map(float, block.volume), strict=True))
    assert set(block.symbol) == {market.symbol} and set(block.source) == {"backfill"}


@among([name for name in EXCHANGES if dialect_of(name).unsubscribe_text is not None])
async def test_a_market_that_is_unsubscribed_ends_and_another_goes_on(name: str) -> None:
    async with loopback(name) as sandbox:
        *kept, dropped = await one_endpoint(sandbox, name)
        async with LoopbackClient.connected(name, sandbox, *kept, dropped) as client:
            await client.subscribed()
            last = client.trade(dropped.symbol)
            await client.received(last)
            await client.unsubscribe(dropped.native)
            await until(lambda: not client.subscribers(dropped.native), "the end of a subscription")
            client.trade(dropped.symbol, ORDERS)
            await client.quiet()
            for market in kept:
                last += client.trade(market.symbol, ORDERS)
            await client.received(last)
            assert client.rejects == [] and client.controls_of(Refusal) == []


@having(listing=True)
async def test_the_list_of_instruments_has_every_market_by_the_name_that_its_frames_have(name: str) -> None:
    instruments = EXCHANGES[name].instruments
    assert instruments is not None
    async with loopback(name) as sandbox:
        pages = [instruments.page(await fetch(sandbox, name, one), one) for one in instruments.requests]
        markets = await listed_markets(sandbox, name)
    listed = {instrument.symbol: instrument for page in pages for instrument in page.instruments}
    assert sorted(listed) == sorted(sandbox.symbols(name)) and all(page.odd == () for page in pages)
    assert {market.symbol: market.native for market in markets} == {
        row.symbol: row.native for row in sandbox.exchanges[name].listings.values()
    }
    assert all(instrument.active for instrument in listed.values())
