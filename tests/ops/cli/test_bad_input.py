"""Bad input through the whole path: it costs only itself, is kept with its reason, and is counted."""

import copy
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from actors.model.ticks import REJECT_PAYLOAD_BYTES_MAX, Reason
from actors.telemetry.ledger import Account
from ops.config.config import ConfigErrors, load_config
from ops.monitoring import status as report
from tests.harness.bad_messages import LISTS, SPOILABLE, SQL, case, changes, dump, good, keys, list_key, trade_in
from tests.harness.exchange_server import (
    HASTE,
    Client,
    Server,
    actor,
    check_audit,
    pipeline_of,
    query,
    recording,
    serving,
    settled,
    table,
    until,
)
from tests.harness.exchange_values import dialect_of
from tests.harness.sampling import sample
from tests.harness.server_frames import frame

NOT_JSON = (b"", b"{", b"hi", b"<html>502 Bad Gateway</html>", b'{"a":NaN}', b'{"a":1}{"b":2}')
UNKNOWN = (
    b"{}",
    b"[]",
    b"null",
    b'{"hello":"world"}',
    b'{"x":1e400}',
    json.dumps({"e": SQL, "type": SQL}).encode(),
)
BATCH = 7  # faults sent in one write
Fault = tuple[bytes, Reason]
# One service records all of them at once, so that it is a sample: tests/exchanges breaks the frames of each. Those
# that want a token first need a REST side.
NUMBERED = sample(
    [exchange for exchange in SPOILABLE if "id" in keys(exchange) and dialect_of(exchange).token is None],
    4,
    "bad input",
)


def numbered(exchange: str, number: int) -> bytes:
    """The good frame with a trade id of its own."""
    message = json.loads(good(exchange), parse_float=lambda text: f"<raw>{text}</raw>")
    trade, key = trade_in(exchange, message), keys(exchange)["id"]
    trade[key] = str(number) if isinstance(trade[key], str) else number
    return dump(message)


def faults(exchange: str) -> Iterator[Fault]:
    """Everything that can be wrong with a message, and the reason it must be given."""
    for field, value, reason in changes(exchange):
        message = json.loads(good(exchange))
        trade_in(exchange, message)[keys(exchange)[field]] = value
        yield dump(message), reason
    for field in keys(exchange).values():
        if field not in case(exchange).optional:
            message = json.loads(good(exchange))
            del trade_in(exchange, message)[field]
            yield dump(message), Reason.MISSING_FIELD
    yield from ((bad, Reason.NOT_JSON) for bad in NOT_JSON)
    yield from ((bad, Reason.UNKNOWN_MESSAGE) for bad in UNKNOWN)
    yield b"\xff\xfe" + good(exchange), Reason.NOT_UTF8
    yield b'{"long":"' + b"a" * 200_000 + b'"}', Reason.UNKNOWN_MESSAGE


class Bad:
    """An exchange that sends each of its faults between two good frames."""

    def __init__(self, exchange: str) -> None:
        self.exchange = exchange
        self.faults = list(faults(exchange))
        self.server = Server(self.script)
        self.account = Account()

    @property
    def goods(self) -> list[int]:
        return list(range(1, len(self.faults) + 2))

    async def script(self, client: Client) -> None:
        await client.accept()
        assert client.number == 1, f"{self.exchange}: no fault is a reason to reconnect"
        await client.ask()
        await client.send(numbered(self.exchange, 1))
        for start in range(0, len(self.faults), BATCH):
            pairs = enumerate(self.faults[start : start + BATCH], start + 2)
            await client.send(
                *(part for number, (bad, _) in pairs for part in (bad, numbered(self.exchange, number)))
            )
            await trio.sleep(0.001)  # so that there are many reads, and more than one flush
        await client.gone()


class Aftermath:
    """What a run with every fault left in the file, and what status said of it before the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.exchanges = {exchange: Bad(exchange) for exchange in NUMBERED}
        self.status: dict[str, Any] = {}
        self.began = datetime.now(UTC) - timedelta(milliseconds=1)

    async def run(self) -> "Aftermath":
        async with serving(*(bad.server for bad in self.exchanges.values())):
            tables = [table(e, e, [case(e).symbol], bad.server.url) for e, bad in self.exchanges.items()]
            async with recording(pipeline_of(self.folder, *tables)) as pipeline:
                for exchange, bad in self.exchanges.items():
                    bad.account = pipeline.ledger.account(exchange)
                    await until(partial(settled, bad.account, 2 * len(bad.faults) + 1), exchange)
                self.status = report.status(pipeline)
        return self


@pytest.fixture(scope="module")
def aftermath(tmp_path_factory: pytest.TempPathFactory) -> Aftermath:
    return trio.run(Aftermath(tmp_path_factory.mktemp("bad")).run)


@pytest.mark.parametrize("exchange", NUMBERED)
def test_every_fault_is_a_row_of_rejects_with_its_reason_and_the_evidence(
    aftermath: Aftermath, exchange: str
) -> None:
    columns = "reason, payload, payload_bytes, detail, received_at"
    rows = query(aftermath.folder, f"SELECT {columns} FROM rejects WHERE exchange = '{exchange}'")
    wanted = aftermath.exchanges[exchange].faults
    assert [row[:3] for row in rows] == [
        (reason.value, bad[:REJECT_PAYLOAD_BYTES_MAX], len(bad)) for bad, reason in wanted
    ]
    assert all(row[3] and aftermath.began <= row[4] <= datetime.now(UTC) for row in rows)


@pytest.mark.parametrize("exchange", NUMBERED)
def test_the_frame_after_each_fault_is_stored_as_if_nothing_had_happened(
    aftermath: Aftermath, exchange: str
) -> None:
    rows = query(aftermath.folder, f"SELECT trade_id, symbol FROM ticks WHERE exchange = '{exchange}'")
    assert [(str(number), case(exchange).symbol) for number in aftermath.exchanges[exchange].goods] == rows


@pytest.mark.parametrize("exchange", NUMBERED)
def test_the_counters_move_with_every_fault_and_the_totals_agree(aftermath: Aftermath, exchange: str) -> None:
    bad, status = aftermath.exchanges[exchange], aftermath.status["exchanges"][exchange]
    faults, goods = len(bad.faults), len(bad.goods)
    assert (status["received"], status["stored"], status["rejected"]) == (faults + goods, goods, faults)
    assert (status["duplicates"], status["in_flight"], status["frames"]) == (0, 0, faults + goods)
    assert status["state"] == "ok"
    check_audit(aftermath.folder)
    last = 'SELECT received, stored, rejected FROM audit WHERE exchange = ? ORDER BY "at" DESC LIMIT 1'
    assert query(aftermath.folder, last.replace("?", f"'{exchange}'")) == [(faults + goods, goods, faults)]


@pytest.mark.parametrize("exchange", sample(LISTS, 3, "bad in a list"))
async def test_a_bad_trade_among_good_ones_of_its_frame_costs_only_itself(exchange: str, tmp_path: Path) -> None:
    message = json.loads(good(exchange), parse_float=lambda text: f"<raw>{text}</raw>")
    trades = []
    for number in range(1, 6):
        trade = copy.deepcopy(message[list_key(exchange)][0])
        kind = str if isinstance(trade[keys(exchange)["id"]], str) else int
        trade[keys(exchange)["id"]] = kind(number)
        trades.append(trade)
    del trades[2][keys(exchange)["price"]]
    message[list_key(exchange)] = trades

    async def script(client: Client) -> None:
        await client.accept(frame(dump(message)))
        await client.gone()

    server = Server(script)
    async with serving(server):
        pipeline = pipeline_of(tmp_path, table("x", exchange, [case(exchange).symbol], server.url))
        async with recording(pipeline):
            await until(lambda: settled(pipeline.ledger.account("x"), 5))
    assert query(tmp_path, "SELECT trade_id FROM ticks ORDER BY 1") == [("1",), ("2",), ("4",), ("5",)]
    ((reason, payload),) = query(tmp_path, "SELECT reason, payload FROM rejects")
    assert reason == "missing_field" and [
        trade[keys(exchange)["id"]] for trade in json.loads(payload)[list_key(exchange)]
    ] in (
        [3],
        ["3"],
    )


async def test_a_message_over_the_limit_is_a_reject_and_the_service_reconnects_for_the_next(tmp_path: Path) -> None:
    size = (1 << 20) + 1

    async def script(client: Client) -> None:
        await client.accept()
        await client.send(numbered("okx", client.number))
        if client.number == 1:
            await client.send(b"x" * size)
        await client.gone()

    server = Server(script)
    async with serving(server):
        pipeline = pipeline_of(tmp_path, table("okx", "okx", ["BTC/USDT"], server.url))
        async with recording(pipeline):
            await until(lambda: settled(pipeline.ledger.account("okx"), 3))
            assert server.clients[0].close_code == 1009
            assert actor(pipeline, "okx:1")["restarts"] == 1
    assert query(tmp_path, "SELECT trade_id FROM ticks ORDER BY 1") == [("1",), ("2",)]
    ((reason, payload, told),) = query(tmp_path, "SELECT reason, payload, payload_bytes FROM rejects")
    assert (reason, told) == ("oversize", size)
    assert payload and payload == b"x" * len(payload)
    check_audit(tmp_path)


@pytest.mark.parametrize("exchange", NUMBERED)
def test_a_configured_symbol_with_sql_in_it_is_refused_and_named(exchange: str, tmp_path: Path) -> None:
    for symbol in (SQL, f"BTC/{SQL}", f"{SQL}/USDT"):
        config = tmp_path / "tickwarden.toml"
        config.write_text(HASTE + f"[exchanges.{exchange}]\nsymbols = ['''{symbol}''']\n")
        with pytest.raises(ConfigErrors) as caught:
            load_config(config)
        (mistake,) = caught.value.mistakes
        assert f"exchanges.{exchange}.symbols[0]" in str(mistake) and symbol in str(mistake)
