"""What the loopback server of each exchange promises, and that the real service records it trade by trade."""

import itertools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from actors.exchanges.contract.loopback import Venue
from actors.exchanges.contract.loopback_market import Fill
from actors.exchanges.contract.loopback_rest import HttpRequest
from actors.exchanges.contract.rest import RestRequest
from actors.exchanges.loopbacks import LOOPBACKS
from actors.exchanges.registry import EXCHANGES
from actors.feed.decoder import Decoder
from actors.model.ticks import Block
from ops.sandbox import Sandbox
from ops.sandbox.instruments import FOLDER, listings
from ops.sandbox.malformed import garbage
from tests.harness.amounts import amount
from tests.harness.bad_messages import case
from tests.harness.exchange_cases import cases_of, market_of, query_of
from tests.harness.exchange_values import (
    WITH_HISTORY,
    changed_history_server,
    dialect_of,
    history_of,
    history_server_of,
)
from tests.harness.loopback_run import record_loopback
from tests.harness.paths import capture
from tests.harness.sampling import sample

NOW_NS = 1_790_000_000_123_456_789
PATIENCE_S = 60.0

every_exchange = pytest.mark.parametrize("name", EXCHANGES)
every_history = pytest.mark.parametrize("name", WITH_HISTORY)


def shape(value: Any) -> Any:
    """Keys in order and types; of a list its first element's."""
    if isinstance(value, dict):
        return [(key, shape(inner)) for key, inner in value.items()]
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


@every_exchange
def test_the_loopbacks_frames_have_the_shape_of_the_recorded_ones(name: str) -> None:
    venue, sandbox = LOOPBACKS[name], Sandbox([name])
    recorded: dict[tuple[str, str], Any] = {}
    for line in (FOLDER / name / "recorded.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        assert row["src"]
        recorded[row["category"], row["native"]] = json.loads(row["data"])
    assert recorded
    for listing in listings(venue):
        market = sandbox.exchanges[name].market(listing.category, listing.native)
        (frame, *_) = venue.trade_frames(market, market.trade(NOW_NS))
        theirs = recorded[listing.category, listing.native]
        if gained := cases_of(name).gained.get(listing.category):
            below(theirs, case(name).path).update(gained)
        assert shape(json.loads(frame)) == shape(theirs)


@every_exchange
def test_the_loopbacks_markets_are_called_as_the_dialect_calls_them(name: str) -> None:
    listed_only = {native for case in cases_of(name).listed for native in case.listed_only}
    for listing in listings(LOOPBACKS[name]):
        assert (market_of(name, listing.symbol).native == listing.native) is (listing.native not in listed_only)


@pytest.mark.parametrize("name", sample(EXCHANGES, 3, "loopback"))
async def test_the_service_records_the_loopback_trade_by_trade(name: str, tmp_path: Path) -> None:
    """The real service over real sockets: every field of every trade, none missing, and within all limits."""
    run = await record_loopback(tmp_path, name)
    assert len(run.rows) >= 300 and run.rejected == 0
    assert run.struck["rate_limit"] == run.struck["rest_impatient"] == 0
    for symbol, fills in run.truth.items():
        rows = [row for row in run.rows if row[0] == symbol]
        assert rows, symbol
        if all(row[1] is None for row in rows):
            check_without_ids(rows, fills)
            continue
        kept = {fill.trade_id: fill for fill in fills}
        for _, trade_id, price, volume, side, ns, source in rows:
            fill = kept[trade_id]
            assert (float(price), float(volume), side) == (float(fill.price), float(fill.volume), fill.side)
            assert ns == fill.ns // 1000 * 1000 and source in ("stream", "snapshot", "backfill")
        order = [fill.trade_id for fill in fills]
        stored = sorted(order.index(row[1]) for row in rows)
        assert (
            len(set(stored)) == len(rows)
            and [b - a for a, b in itertools.pairwise(stored)].count(1) == len(stored) - 1
        )


def check_without_ids(rows: Sequence[tuple[Any, ...]], fills: Sequence[Fill]) -> None:
    """The rows are so many fills one after the other, whichever came first of those that look the same."""
    stored = Counter((float(row[2]), float(row[3]), row[4], row[5]) for row in rows)
    made = [(float(fill.price), float(fill.volume), fill.side, fill.ns // 1000 * 1000) for fill in fills]
    assert any(Counter(made[at : at + len(rows)]) == stored for at in range(len(made) - len(rows) + 1))


@every_exchange
def test_garbage_never_reads_as_a_sound_trade(name: str) -> None:
    sandbox = Sandbox([name])
    listing = listings(LOOPBACKS[name])[0]
    market = sandbox.exchanges[name].market(listing.category, listing.native)
    for index in range(amount(100, 1000)):
        (frame, *_) = LOOPBACKS[name].trade_frames(market, market.trade(NOW_NS)[:1])
        feed = dialect_of(name).decoder_for({market.native: market_of(name, market.symbol)})
        decoder = Decoder(name, dialect_of(name), {market.native: market.symbol}, feed)
        outcome = decoder.read([garbage(frame, market.rng).encode()], NOW_NS, Block(name))
        assert outcome.ticks == 0, index


async def rest(sandbox: Sandbox, *requests: str | RestRequest) -> list[httpx.Response]:
    """Sends requests, or asks for targets, all on one connection to the loopback."""
    limits = httpx.Limits(max_connections=1)
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(sandbox.serve)
            url = f"http://127.0.0.1:{sandbox.port}"
            async with httpx.AsyncClient(base_url=url, trust_env=False, limits=limits) as http:
                answers = [await sent(http, request) for request in requests]
            nursery.cancel_scope.cancel()
    return answers


async def sent(http: httpx.AsyncClient, request: str | RestRequest) -> httpx.Response:
    if isinstance(request, str):
        return await http.get(request)
    return await http.request(request.method, request.target, content=request.body)


def traded(name: str, orders: int = 100, venues: Mapping[str, Venue] = LOOPBACKS) -> Sandbox:
    """A loopback whose markets have all traded."""
    ticks = itertools.count(NOW_NS, 7_000_000)
    sandbox = Sandbox([name], 0.001, now_ns=lambda: next(ticks), venues=venues)
    exchange = sandbox.exchanges[name]
    for listing in listings(LOOPBACKS[name]):
        for _ in range(orders):
            exchange.trade(exchange.market(listing.category, listing.native))
    return sandbox


def newest(name: str) -> RestRequest:
    """A request for a market's newest trades."""
    listing = listings(LOOPBACKS[name])[0]
    return history_of(name).request(query_of(name, symbol=listing.symbol))


@pytest.mark.parametrize("name", sample(WITH_HISTORY, 10, "refusals"))
async def test_the_loopbacks_history_refuses_in_the_exchanges_words(name: str) -> None:
    cases = cases_of(name).loopback_errors
    assert cases
    answers = await rest(traded(name, 1), *(target for target, _, _ in cases))
    for (target, status, words), answer in zip(cases, answers, strict=True):
        assert answer.status_code == status and words in answer.text, target


@every_history
async def test_the_loopbacks_history_has_rows_of_the_recorded_shape(name: str) -> None:
    for target, recorded, keys, recorded_keys in cases_of(name).loopback_shapes:
        (answer,) = await rest(traded(name), target)
        theirs = below(json.loads(capture(recorded).read_text("utf-8"), parse_float=str), recorded_keys)
        rows = below(json.loads(answer.text, parse_float=str), keys)
        assert rows and all(sorted(shape(row)) == sorted(shape(theirs[0])) for row in rows)


def below(value: Any, keys: tuple[str | int, ...]) -> Any:
    for key in keys:
        value = value[key]
    return value


@pytest.mark.parametrize("name", sample(WITH_HISTORY, 10, "asked too often"))
async def test_who_asks_too_often_is_told_in_the_exchanges_words(
    name: str,
) -> None:
    past, request = history_server_of(name), newest(name)
    # Three requests at once instead of up to 600 in seconds, which a busy machine does not manage.
    cost = past.cost(HttpRequest(request.path, {}, request.body))
    sandbox = traded(name, 1, changed_history_server(name, units=3 * cost, window_s=PATIENCE_S))
    answers = await rest(sandbox, *[request] * 4)
    said = [(answer.status_code, answer.text) for answer in answers]
    assert said[-1] == (past.too_many.status, past.too_many.body) and said[-1] not in said[:-1]
    assert sandbox.struck[name]["rate_limit"] == 1
