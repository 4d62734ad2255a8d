"""A take-over with a kill -9 at every step of either process: one goes on, and nothing is missing or doubled.

`python -m pytest -s tests/chaos/test_take_over.py` takes about ten minutes.
"""

import json
import signal
import socket
import urllib.request
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from ops.control.client import ControlClient
from ops.sandbox import Sandbox
from tests.harness.store_reader import looking
from tests.harness.take_over import RATE_PER_S, STEPS_OF_NEW, STEPS_OF_OLD, Outcome, Pair, take_over, until_more
from tests.harness.truth_service import Service, until

# All kinds of ids: rising, without order, repeated, none; acknowledged or not, decoders with and without state.
ALL_KINDS = (
    ("upbit", "bitfinex", "gemini", "htx", "hyperliquid", "deribit", "poloniex"),
    ("mexc", "phemex", "bingx", "bitmex", "cryptocom", "kucoin", "dydx"),
)
COUNTED = ("binance", "okx", "kraken")


def check(outcome: Outcome) -> None:
    print(outcome.verdict, outcome.gaps, outcome.unanswered_s)
    assert outcome.verdict.total.stored == outcome.verdict.total.made > 0


@pytest.mark.parametrize("step", STEPS_OF_NEW)
async def test_the_old_process_goes_on_if_the_new_one_is_killed(tmp_path: Path, step: str) -> None:
    left, outcome = await take_over(tmp_path, 1, kill_new_at=step)
    check(outcome)
    assert outcome.new_ended == -signal.SIGKILL and left == "old" and outcome.gaps == []


@pytest.mark.parametrize("step", STEPS_OF_OLD)
async def test_the_new_process_goes_on_if_the_old_one_is_killed(tmp_path: Path, step: str) -> None:
    left, outcome = await take_over(tmp_path, 1, kill_old_at=step)
    check(outcome)
    assert outcome.old_ended == -signal.SIGKILL and left == "new"


@pytest.mark.parametrize("name", ["old", "new"])
@pytest.mark.parametrize("seconds", [0.5, 3.0, 8.0])
async def test_a_kill_while_both_receive_leaves_the_other(tmp_path: Path, name: str, seconds: float) -> None:
    left, outcome = await take_over(tmp_path, 1, kill_after_s={name: seconds})
    print(left, outcome.verdict, outcome.gaps)
    assert left != name


@pytest.mark.parametrize("names", ALL_KINDS)
async def test_exchanges_whose_ids_prove_nothing_are_taken_over_too(tmp_path: Path, names: tuple[str, ...]) -> None:
    left, outcome = await take_over(tmp_path, 1, names=names)
    check(outcome)
    assert left == "new" and outcome.gaps == [] and outcome.unanswered_s < 0.5


@pytest.mark.parametrize("kill_new_at", ["", "take_over.restored", "take_over.stored", "take_over.named"])
async def test_gaps_on_their_way_to_be_filled_are_filled_by_whoever_records(
    tmp_path: Path, kill_new_at: str
) -> None:
    faults = ("duplicate=0.05", "reorder=0.05", "gap=0.05", "rest_fail=0.2")
    left, outcome = await take_over(tmp_path, 1, names=COUNTED, faults=faults, kill_new_at=kill_new_at)
    check(outcome)
    assert left == ("old" if kill_new_at else "new") and outcome.verdict.total.gaps_filled > 10


async def test_markets_of_a_changed_configuration_begin_and_end(tmp_path: Path) -> None:
    sandbox = Sandbox(COUNTED, RATE_PER_S)
    async with trio.open_nursery() as nursery:
        await nursery.start(sandbox.serve)
        with Service(tmp_path, sandbox, noticing="") as service:
            pair = Pair(service)
            whole = (tmp_path / "tickwarden.toml").read_text()
            head, *tables = whole.split("[exchanges.")
            for name, left_out in (("old.toml", "okx"), ("new.toml", "kraken")):
                kept = [f"[exchanges.{table}" for table in tables if not table.startswith(left_out)]
                (tmp_path / name).write_text(head + "".join(kept))
            try:
                pair.start("old", config="old.toml")
                await until_more(tmp_path, ("binance", "kraken"))
                pair.start("new", "--take-over", config="new.toml")
                assert await pair.one_is_left() == "new"
                await until_more(tmp_path, ("binance", "okx"))
                await service.stop()
            finally:
                pair.kill_all()
        nursery.cancel_scope.cancel()
    with looking(service.path) as con:
        assert con.execute("SELECT * FROM gaps").fetchall() == []
        found = con.execute("SELECT exchange, count(*), count(DISTINCT (symbol, trade_id)) FROM ticks GROUP BY 1")
        counts = {name: (rows, trades) for name, rows, trades in found.fetchall()}
    assert counts.keys() == set(COUNTED) and all(rows == trades > 0 for rows, trades in counts.values())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("handing_over", [False, True])
async def test_a_new_process_that_is_stopped_on_the_way_leaves_the_old_one(
    tmp_path: Path, number: int, *, handing_over: bool
) -> None:
    client = ControlClient(tmp_path / "ticks.duckdb.sock")

    async def hands_over() -> bool:
        status: Any = await trio.to_thread.run_sync(client.get, "/v1/status")
        return bool(status["state"] == "stopping")

    sandbox = Sandbox(COUNTED, RATE_PER_S)
    async with trio.open_nursery() as nursery:
        await nursery.start(sandbox.serve)
        with Service(tmp_path, sandbox, noticing="") as service:
            pair = Pair(service)
            try:
                pair.start("old")
                await until_more(tmp_path, COUNTED)
                pair.start("new", "--take-over")
                await trio.sleep(2.0)
                while handing_over and not await hands_over():  # noqa: ASYNC110 - another process
                    await trio.sleep(0.01)
                pair.processes["new"].send_signal(number)
                assert await pair.one_is_left() == "old"
                assert pair.ended("new") == 0
                await until_more(tmp_path, COUNTED)
                state = await trio.to_thread.run_sync(client.get, "/v1/ready")
                assert state == {"ready": True, "reasons": []}
                verdict = await service.settle(0)
            finally:
                pair.kill_all()
        nursery.cancel_scope.cancel()
    assert verdict.total.stored == verdict.total.made > 0


async def test_what_a_hung_connection_of_the_old_process_has_missed_is_fetched(tmp_path: Path) -> None:
    left, outcome = await take_over(tmp_path, 1, names=("binance", "bybit"), hangs="bybit")
    check(outcome)
    assert left == "new" and {exchange for exchange, *_ in outcome.gaps} == {"bybit"}
    assert outcome.verdict.exchanges["bybit"].repaired > 0


async def test_the_port_for_browsers_is_the_new_process_after_a_moment(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    sandbox = Sandbox(("kraken",), RATE_PER_S)

    def pid() -> object:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/status", timeout=5) as answer:
                return json.load(answer)["pid"]
        except OSError:
            return None

    async with trio.open_nursery() as nursery:
        await nursery.start(sandbox.serve)
        with Service(tmp_path, sandbox, noticing="") as service:
            config = tmp_path / "tickwarden.toml"
            config.write_text(f'[control]\nhttp = "127.0.0.1:{port}"\n{config.read_text()}')
            pair = Pair(service)

            async def answers(name: str) -> bool:
                return bool(await trio.to_thread.run_sync(pid) == pair.processes[name].pid)

            try:
                pair.start("old")
                await until_more(tmp_path, ("kraken",))
                assert await answers("old")
                pair.start("new", "--take-over")
                assert await pair.one_is_left() == "new"
                await until(partial(answers, "new"))
                await service.stop()
            finally:
                pair.kill_all()
        nursery.cancel_scope.cancel()
