"""One exchange failing in any way never stops or slows another: in one service, over real sockets."""

import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from actors.model.batch import Batch
from actors.pipeline import Parts, Pipeline
from actors.settings import DEFAULT_LIMITS, Limits, SinkLimits
from actors.store.store import Store
from ops.monitoring import status as report
from tests.harness.exchange_server import (
    Client,
    Server,
    actor,
    check_audit,
    pipeline_of,
    query,
    recording,
    serving,
    table,
    trade,
    until,
)
from tests.harness.paths import CERTS
from tests.harness.server_frames import frame

STEADY_TICKS = 40
STEADY_S = 0.01  # between two of them
LAG_S_MAX = 6.0  # on a busy machine; a neighbour that waits for the failing one would wait for ever
FLOOD_TICKS = 40_000


async def steady(exchange: str, native: str, client: Client) -> None:
    """A tick now and then, each stamped when it is sent."""
    await client.accept()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.gone)
        for number in range(STEADY_TICKS):
            await client.send(trade(exchange, native, number))
            await trio.sleep(STEADY_S)


# -- ways to fail ------------------------------------------------------------------------------------------


async def refuses(client: Client) -> None:
    await client.stream.receive_some()
    await client.raw(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")


async def hangs_up(_client: Client) -> None:
    pass


async def says_nothing(client: Client) -> None:
    await client.stream.receive_some()
    await trio.sleep_forever()


async def acknowledges_and_falls_silent(client: Client) -> None:
    await client.accept(frame(b'{"success":true,"op":"subscribe"}'))
    await client.gone()


async def talks_rubbish(client: Client) -> None:
    await client.accept()
    await client.raw(random.Random(client.number).randbytes(100_000))
    await client.gone()


async def sends_nonsense_for_ever(client: Client) -> None:
    """Sound frames, no sound message: each becomes a reject."""
    await client.accept()
    nonsense = [b"{", b"\xff", b'{"a":1}', b"", b"[" * 1000]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.gone)
        while not client.close_code:
            await client.send(*nonsense)
            await trio.sleep(0.001)
        nursery.cancel_scope.cancel()


async def refuses_every_subscription(client: Client) -> None:
    await client.accept()
    while (text := await client.ask()) is not None:
        if "subscribe" in text:
            await client.send('{"success":false,"ret_msg":"no","op":"subscribe"}')


async def sends_endless_messages(client: Client) -> None:
    await client.accept()
    await client.raw(b"\x01\x7f" + (1 << 40).to_bytes(8, "big") + b"x" * 5_000_000)
    await client.gone()


async def floods(client: Client) -> None:
    """As fast as the service reads; its own trades must all be there in the end."""
    if client.number > 1:
        await client.gone()
        return
    await client.accept()
    now = time.time_ns()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.gone)
        for start in range(0, FLOOD_TICKS, 500):
            await client.send(*(trade("bybit", "BTCUSDT", number, now) for number in range(start, start + 500)))


@dataclass
class Trouble:
    """How the third exchange fails, and what health must say of it."""

    script: Callable[[Client], Awaitable[None]]
    states: tuple[str, ...]
    words: str = ""
    certificate: str = ""
    settings: dict[str, object] = field(default_factory=dict)


TROUBLES = {
    "refuses": Trouble(refuses, ("backoff", "starting"), "HTTP 503"),
    "hangs up": Trouble(hangs_up, ("backoff", "starting"), "handshake"),
    "says nothing": Trouble(says_nothing, ("starting",)),
    "falls silent": Trouble(
        acknowledges_and_falls_silent, ("backoff", "starting"), "nothing came", "", {"silence_s": 0.3}
    ),
    "talks rubbish": Trouble(talks_rubbish, ("backoff", "starting"), "closed with code 1002"),
    "sends nonsense": Trouble(sends_nonsense_for_ever, ("starting",)),
    "refuses subscriptions": Trouble(refuses_every_subscription, ("degraded",), "refused: no"),
    "endless messages": Trouble(sends_endless_messages, ("backoff", "starting"), "closed with code 1009"),
    "wrong host in certificate": Trouble(
        refuses, ("failed",), "cannot be trusted", "elsewhere.pem", {"ca_file": str(CERTS / "ca.pem")}
    ),
    "unknown certificate authority": Trouble(refuses, ("failed",), "cannot be trusted", "localhost.pem"),
}


def steady_servers() -> tuple[Server, Server]:
    return Server(partial(steady, "okx", "BTC-USDT")), Server(partial(steady, "kraken", "BTC/USD"))


def service(
    folder: Path,
    first: Server,
    second: Server,
    troubled: dict[str, tuple[Trouble, Server]],
    limits: Limits = DEFAULT_LIMITS,
    parts: Parts | None = None,
) -> Pipeline:
    """Two steady exchanges, and between them those in trouble."""
    return pipeline_of(
        folder,
        table("first", "okx", ["BTC/USDT"], first.url),
        *(table(n, "bybit", ["BTC/USDT"], server.url, **t.settings) for n, (t, server) in troubled.items()),
        table("second", "kraken", ["BTC/USD"], second.url),
        limits=limits,
        parts=parts,
    )


def steady_stored(pipeline: Pipeline) -> bool:
    return all(pipeline.ledger.account(name).stored == STEADY_TICKS for name in ("first", "second"))


def check_steady(folder: Path) -> None:
    for name in ("first", "second"):
        rows = query(
            folder,
            "SELECT trade_id, epoch(received_at) - epoch(timestamp) FROM ticks"
            f" WHERE exchange = '{name}' ORDER BY received_at, trade_id::INT",
        )
        assert [row[0] for row in rows] == [str(number) for number in range(STEADY_TICKS)]
        assert max(row[1] for row in rows) < LAG_S_MAX


async def test_exchanges_with_every_kind_of_failure_report_it_and_do_not_affect_others(tmp_path: Path) -> None:
    first, second = steady_servers()
    troubled = {
        name.replace(" ", "_"): (trouble, Server(trouble.script, trouble.certificate))
        for name, trouble in TROUBLES.items()
    }

    def told(pipeline: Pipeline, name: str, trouble: Trouble) -> bool:
        row = actor(pipeline, f"{name}:1")
        return row["state"] in trouble.states and trouble.words in f"{row['reason']} {row['last_error']}"

    async with (
        serving(first, second, *(server for _, server in troubled.values())),
        recording(service(tmp_path, first, second, troubled)) as pipeline,
    ):
        for name, (trouble, server) in troubled.items():
            await until(partial(told, pipeline, name, trouble), f"{name}: {trouble.states} {trouble.words!r}")
            if "failed" in trouble.states:
                assert len(server.clients) == 1  # never tried again without looking at the certificate
        await until(partial(steady_stored, pipeline), "the neighbours' trades")
        for name in ("first", "second"):
            row = actor(pipeline, f"{name}:1")
            assert (row["state"], row["restarts"]) == ("ok", 0)
        status: Any = report.status(pipeline)
        assert status["state"] == "degraded"
        assert {status["exchanges"][name]["state"] for name in ("first", "second")} == {"ok"}
    check_steady(tmp_path)
    check_audit(tmp_path)


class SlowStore(Store):
    """On a disk that takes 13,000 rows a second."""

    def write(self, batch: Batch) -> None:
        time.sleep(0.1 + batch.ticks / 13_000)
        super().write(batch)


async def test_a_flood_before_a_slow_disk_delays_only_the_flood_and_loses_nothing(
    tmp_path: Path,
) -> None:
    first, second = steady_servers()
    third = Server(floods)
    async with serving(first, second, third):
        limits = Limits(sink=SinkLimits(intake_rows_max=4_000, sealed_rows_max=4_000))
        troubled = {"third": (Trouble(floods, ("ok",)), third)}
        pipeline = service(tmp_path, first, second, troubled, limits, Parts(store=SlowStore))
        async with recording(pipeline):
            flood = pipeline.ledger.account("third")
            await until(lambda: steady_stored(pipeline), "the neighbours' trades")
            assert flood.stored < FLOOD_TICKS, "the neighbours had to wait for the flood's end"
            assert actor(pipeline, "buffer")["mailbox"]["peak"] <= 8_000
            assert actor(pipeline, "writer")["mailbox"]["peak"] <= 50_000
            await until(lambda: flood.stored == FLOOD_TICKS, "the flood")
            assert actor(pipeline, "third:1")["restarts"] == 0
    check_steady(tmp_path)
    rows = query(tmp_path, "SELECT count(*), count(DISTINCT trade_id) FROM ticks WHERE exchange = 'third'")
    assert rows == [(FLOOD_TICKS, FLOOD_TICKS)]
    check_audit(tmp_path)


async def test_an_exchange_that_no_actor_can_be_named_after_is_refused_before_anything_changes(
    tmp_path: Path,
) -> None:
    """The configuration refuses such names too; a running service must not depend on it."""
    nowhere = "ws://127.0.0.1:1"
    pipeline = pipeline_of(tmp_path, table("kraken", "kraken", ["BTC/USD"], nowhere))
    async with recording(pipeline):
        before = [row.name for row in pipeline.tree.snapshot()]
        kraken = pipeline.exchanges["kraken"].settings
        for name in ("tickwarden", "writer", "kraken:1", "a" * 60, "a b", ""):
            with pytest.raises(ValueError, match=r"name"):
                pipeline.check_exchange(msgspec.structs.replace(kraken, name=name))
        pipeline.check_exchange(msgspec.structs.replace(kraken, symbols=("ETH/USD",)))  # in its place
        assert [row.name for row in pipeline.tree.snapshot()] == before
