"""Recorded traffic through the whole path: real sockets, the real service, and what then stands in the file."""

import gzip
import json
import random
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from actors.model.symbols import SymbolError, parse_symbol
from actors.telemetry.ledger import Account
from tests.harness.amounts import amount
from tests.harness.capture_files import EXCHANGES, expected, incoming, recordings
from tests.harness.exchange_cases import cases_of
from tests.harness.exchange_server import (
    Client,
    Server,
    actor,
    check_audit,
    pipeline_of,
    query,
    recording,
    serving,
    serving_tokens,
    settled,
    table,
    until,
)
from tests.harness.exchange_values import dialect_of
from tests.harness.sampling import sample
from tests.harness.server_frames import NORMAL_CLOSE, frame, message_frame

ALL = [(exchange, name) for exchange in EXCHANGES for name in recordings(exchange)]
AT_ONCE = 20  # recordings: what one service takes within its patience on a busy machine
SAMPLE = sample({exchange: 0 for exchange, _ in ALL}, 4, "recordings")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TICK = "symbol, timestamp, price, volume, side, trade_id, source, received_at"
Row = tuple[str, datetime, Decimal, Decimal, str | None, str | None]


def instant(ns: int) -> datetime:
    return EPOCH + timedelta(microseconds=ns // 1000)


class Case:
    """One recording, served as one exchange of its own."""

    def __init__(self, exchange: str, name: str) -> None:
        self.exchange, self.name = exchange, name
        self.table = f"{exchange}_{name.removesuffix('.jsonl').replace('.', '_')}"
        self.cases = cases_of(exchange)
        self.messages = [*self.cases.before, *incoming(exchange, name)]
        self.frames = b"".join(map(message_frame, self.messages))
        dialect = dialect_of(exchange)
        self.dialect = dialect
        self.markets = {}
        for row in expected(exchange, self.cases.markets_of.get(name, name)):
            try:
                market = dialect.market(parse_symbol(row["symbol"]), dialect.channels[0])
            except SymbolError:  # Bybit's options are recorded, but not spoken
                continue
            self.markets[market.symbol] = market
        self.endpoints = {market.endpoint for market in self.markets.values()}
        self.rows: Counter[Row] = Counter()
        self.rejected: Counter[str] = Counter()
        for endpoint in self.endpoints:  # each connection hears the whole recording
            symbols = {
                market.native: market.symbol for market in self.markets.values() if market.endpoint == endpoint
            }
            for message in self.messages:
                payload = gzip.decompress(message) if dialect.compression == "gzip" else message
                self._foresee(self.cases.parse(payload), symbols)
        self.server = Server(self.silent)
        self.account = Account()

    def _foresee(self, message: dict[str, Any], symbols: dict[str, str]) -> None:
        trades = self.cases.wire(message)
        if trades is None:
            self.rejected["unknown_message"] += not self.cases.control(message)
            return
        for trade in trades:
            if symbol := symbols.get(trade.native):
                self.rows[symbol, trade.time, trade.price, trade.volume, trade.side, trade.trade_id] += 1
            else:
                self.rejected["unknown_symbol"] += 1

    async def silent(self, client: Client) -> None:
        await client.accept()
        await client.gone()

    def received(self) -> int:
        return self.rows.total() + self.rejected.total()


@dataclass
class Recorded:
    """What one run of the service left behind."""

    folder: Path
    cases: dict[tuple[str, str], Case]
    ticks: dict[str, list[tuple[Any, ...]]]
    began: datetime
    ended: datetime


async def at_once(case: Case, client: Client) -> None:
    """Everything in the same segments as the handshake's answer, before any subscription was heard."""
    await client.accept(case.frames)
    await client.gone()


async def in_pieces(case: Case, client: Client) -> None:
    """Never an answer of its own; after the first subscription the recording, cut at odd places."""
    await client.accept()
    if not case.dialect.waits_for_welcome:
        await client.ask()
    data, cuts = case.frames, random.Random(case.name)
    start = 0
    while start < len(data):
        size = cuts.choice((1, 2, 3, 130, 1459, 9001, 40_000))
        await client.raw(data[start : start + size])
        await trio.lowlevel.checkpoint()
        start += size
    await client.gone()


async def and_goodbye(case: Case, client: Client) -> None:
    """Closes right behind the last frame; whoever comes back is accepted and hears nothing."""
    await client.accept()
    if client.number > len(case.endpoints):
        await client.gone()
        return
    await client.raw(case.frames + NORMAL_CLOSE)
    await client.gone()


WAYS = {"in pieces": in_pieces, "and goodbye": and_goodbye, "at once": at_once}


async def serve_and_record(folder: Path, cases: list[Case]) -> None:
    """Serves these recordings at the same time, each to a table of its own in one service."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(serving(*(case.server for case in cases)))
        wanted = {case.exchange for case in cases if case.dialect.token is not None}
        tokens = {name: {"rest_url": await stack.enter_async_context(serving_tokens(name))} for name in wanted}
        tables = [table(c.table, c.exchange, c.markets, c.server.url, **tokens.get(c.exchange, {})) for c in cases]
        async with recording(pipeline_of(folder, *tables)) as pipeline:
            for case in cases:
                case.account = pipeline.ledger.account(case.table)
                await until(partial(settled, case.account, case.received()), case.name)


async def record(folder: Path, way: str) -> Recorded:
    """Serves the recordings of the sample, some at a time, to one file."""
    cases = {(exchange, name): Case(exchange, name) for exchange, name in ALL if exchange in SAMPLE}
    for case in cases.values():
        case.server.script = partial(WAYS[way], case)
    began = datetime.now(UTC)
    served = list(cases.values())
    for at in range(0, len(served), AT_ONCE):
        await serve_and_record(folder, served[at : at + AT_ONCE])
    ticks: dict[str, list[tuple[Any, ...]]] = {case.table: [] for case in cases.values()}
    for name, *tick in query(folder, f"SELECT exchange, {TICK} FROM ticks"):
        ticks[name].append(tuple(tick))
    return Recorded(folder, cases, ticks, began, datetime.now(UTC))


@pytest.fixture(scope="module", params=list(WAYS)[: amount(1, 3)])
def recorded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return trio.run(record, tmp_path_factory.mktemp("recorded"), request.param)


@pytest.mark.parametrize("exchange", SAMPLE)
def test_what_stands_in_the_file_is_what_was_recorded_field_by_field(recorded: Recorded, exchange: str) -> None:
    for name in recordings(exchange):
        case = recorded.cases[exchange, name]
        ticks = recorded.ticks[case.table]
        stored = {tick[:6]: tick[6] for tick in ticks}
        wanted = [row for row in expected(exchange, name) if row["symbol"] in case.markets]
        begun: Counter[str] = Counter()
        for row in wanted:
            key = (
                row["symbol"],
                instant(row["ts_ns"]),
                Decimal(row["price"]),
                Decimal(row["size"]),
                row["side"],
                row["trade_id"],
            )
            # Where old trades are re-sent without a mark, age tells them, and all of a recording is old: the
            # first trades of each market then count as re-sent, whether they were or not.
            source = stored[key]
            first = begun[row["symbol"]] < dialect_of(exchange).replays_unmarked
            begun[row["symbol"]] += 1
            if not first or row["snapshot"]:
                assert source == ("snapshot" if row["snapshot"] else "stream"), name


@pytest.mark.parametrize("exchange", SAMPLE)
def test_every_trade_of_a_recording_is_stored_once_and_nothing_else(recorded: Recorded, exchange: str) -> None:
    for name in recordings(exchange):
        case = recorded.cases[exchange, name]
        ticks = recorded.ticks[case.table]
        assert Counter(tick[:6] for tick in ticks) == case.rows, name
        assert all(recorded.began <= tick[7] <= recorded.ended for tick in ticks)
        assert all(tick[1].utcoffset() is not None for tick in ticks)
        account = case.account
        assert (account.stored, account.rejected) == (case.rows.total(), case.rejected.total())
        assert (account.frames, account.duplicates) == (len(case.messages) * len(case.endpoints), 0)


def test_what_is_neither_trade_nor_answer_is_a_reject_with_its_reason(recorded: Recorded) -> None:
    rejects = query(recorded.folder, "SELECT exchange, reason, payload, payload_bytes FROM rejects")
    cases = {case.table: case for case in recorded.cases.values()}
    found: dict[str, Counter[str]] = {name: Counter() for name in cases}
    for name, reason, payload, size in rejects:
        found[name][reason] += 1
        assert size == len(payload)
        assert payload in cases[name].messages or reason == "unknown_symbol"
    assert found == {name: +case.rejected for name, case in cases.items()}


def test_the_books_agree_in_every_row_of_the_audit(recorded: Recorded) -> None:
    check_audit(recorded.folder)


def test_every_recording_holds_what_it_is_kept_for() -> None:
    cases = [Case(exchange, name) for exchange, name in ALL]
    assert len(cases) >= 28 and all(case.rows or not expected(case.exchange, case.name) for case in cases)
    assert sum(case.rows.total() for case in cases) > 4000


async def test_raw_frames_of_binance_are_recorded_like_combined_ones(tmp_path: Path) -> None:
    """A server may send either form, whatever the path says."""
    combined = incoming("binance", "trades_2024-08-08.jsonl")[:300]
    raw = [json.dumps(json.loads(message)["data"]).encode() for message in combined]
    mixed = [one for pair in zip(combined[:150], raw[150:], strict=True) for one in pair]

    async def script(messages: list[bytes], client: Client) -> None:
        await client.accept()
        await client.send(*messages)
        await client.gone()

    forms = {"raw": raw, "mixed": mixed, "combined": combined}
    servers = {name: Server(partial(script, messages)) for name, messages in forms.items()}
    async with serving(*servers.values()):
        tables = [table(n, "binance", ["BTC/USDT", "ETH/USDT"], s.url) for n, s in servers.items()]
        async with recording(pipeline_of(tmp_path, *tables)) as pipeline:
            for name in forms:
                await until(partial(settled, pipeline.ledger.account(name), 300))
    rows = query(tmp_path, f"SELECT exchange, {TICK} FROM ticks")
    assert len(rows) == 900 and len({row[1:8] for row in rows}) == 300


async def test_an_exchange_that_listens_later_is_recorded_as_soon_as_it_does(tmp_path: Path) -> None:
    messages = incoming("coinbaseexchange", "live_2026-09.jsonl")
    server = Server(lambda client: in_pieces_of(client, messages))
    async with serving(server):
        pass  # the port is known now, and free again
    async with recording(
        pipeline_of(tmp_path, table("c", "coinbaseexchange", ["BTC/USD"], server.url))
    ) as pipeline:
        await until(lambda: actor(pipeline, "c:1")["restarts"] >= 2)
        assert "cannot connect" in actor(pipeline, "c:1")["last_error"]
        async with serving(server):
            await until(lambda: settled(pipeline.ledger.account("c"), 2))
            pipeline.stop()
            await pipeline.ended.wait()
    assert [row[0] for row in query(tmp_path, "SELECT source FROM ticks ORDER BY trade_id")] == [
        "snapshot",
        "stream",
    ]


async def in_pieces_of(client: Client, messages: list[bytes]) -> None:
    await client.accept()
    for byte in b"".join(map(frame, messages)):
        await client.raw(bytes([byte]))
    await client.gone()


async def test_trades_that_are_sent_again_after_a_reconnect_are_all_in_the_books(tmp_path: Path) -> None:
    """Nothing is dropped unseen: what comes twice is counted twice, and stored or counted as a duplicate."""
    messages = incoming("coinbaseexchange", "live_2026-09.jsonl")

    async def script(client: Client) -> None:
        await client.accept(b"".join(map(frame, messages)) + (b"\x88\x02\x03\xe8" if client.number < 3 else b""))
        await client.gone()

    server = Server(script)
    async with serving(server):
        pipeline = pipeline_of(tmp_path, table("c", "coinbaseexchange", ["BTC/USD"], server.url))
        async with recording(pipeline):
            account = pipeline.ledger.account("c")
            await until(lambda: settled(account, 9))
    assert (account.stored + account.duplicates, account.rejected) == (6, 3)
    assert query(tmp_path, "SELECT count(DISTINCT trade_id) FROM ticks") == [(2,)]
    check_audit(tmp_path)
