"""`tickwarden repair`: from the command line to the order, and what five exchanges give back into a real file."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pytest
import trio
from structlog.testing import capture_logs

from actors.backfill.fetch_job import BackfillLimits
from actors.backfill.repairs import RepairJob
from actors.pipeline import Pipeline
from ops.cli.commands import run_command
from ops.config.config import load_config
from ops.control.peers import Peer, peer_of
from ops.sandbox import Fill, Sandbox
from ops.sandbox.truth import span
from ops.service.api import ServiceApp
from supervisor import Backoff
from tests.harness.cli_process import running, tickwarden_here
from tests.harness.control_serving import serve_control
from tests.harness.exchange_values import WITH_HISTORY, history_of

FROM, TO = "2026-06-01T10:00:00Z", "2026-06-01T11:00:00Z"
STRETCH = ("--from", FROM, "--to", TO)
BTC = ("--exchange", "binance", "--symbol", "BTC/USDT")
CONFIG = """
[exchanges.binance]
symbols = ["BTC/USDT", "ETH/USDT"]
[exchanges.kraken]
symbols = ["BTC/USD"]
ws_url = "ws://127.0.0.1:1"
"""


REPAIRS_MAX = 3


class Desk:
    """A service that takes orders and carries none out, and the command line at its socket."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self.socket, self._monkeypatch, self._capfd = folder / "s.sock", monkeypatch, capfd
        (folder / "tickwarden.toml").write_text(CONFIG)
        self.config = config = load_config(folder / "tickwarden.toml")
        self.pipeline = Pipeline(config.pipeline(), backfill=BackfillLimits(repairs_max=REPAIRS_MAX))
        self.pipeline.state = "running"  # while it starts it takes no orders
        self.app = ServiceApp(self.pipeline, config)

    @property
    def orders(self) -> list[RepairJob]:
        return list(self.pipeline.exchanges["binance"].repair_jobs)

    async def type(self, *words: str) -> tuple[int, str, str]:
        """Exit code, stdout and stderr of `tickwarden repair`."""
        line = ["tickwarden", "repair", *words, "--socket", str(self.socket)]
        self._monkeypatch.setattr(sys, "argv", line)
        with trio.fail_after(30):
            code = await trio.to_thread.run_sync(run_command, abandon_on_cancel=True)
        said = self._capfd.readouterr()
        return code, said.out, said.err


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Desk:
    return Desk(tmp_path, monkeypatch, capfd)


@asynccontextmanager
async def open_desk(desk: Desk, client: Peer | None = None) -> AsyncIterator[None]:
    """Serves while the block is open; `client` is what everybody counts as who connects."""
    credentials = peer_of if client is None else lambda *_: client
    with capture_logs():  # the service's log has no place among what the command says
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(serve_control, desk.socket, desk.app, credentials=credentials))
            yield
            nursery.cancel_scope.cancel()


async def end(desk: Desk, *, complete: bool, reason: str = "", **counts: Any) -> None:
    """Waits for an order and ends it."""
    with trio.fail_after(10):
        while not desk.orders:  # noqa: ASYNC110 - another thread's command brings it
            await trio.sleep(0.01)
    (order,) = desk.orders
    for name, value in counts.items():
        setattr(order, name, value)
    order.reason, order.complete = reason, complete


async def test_it_waits_for_the_outcome_and_reports_it(desk: Desk) -> None:
    async with open_desk(desk), trio.open_nursery() as nursery:
        gaps = {"a1": "filled", "b2": "partial"}
        nursery.start_soon(partial(end, desk, complete=True, came=12_000, stored=34, gaps=gaps))
        code, out, err = await desk.type(*BTC, *STRETCH)
    assert (code, err) == (0, "")
    assert out == (
        "binance BTC/USDT from 2026-06-01T10:00:00.000000Z to 2026-06-01T11:00:00.000000Z: complete;"
        " 12,000 trades came, 34 of them were missing and are stored now\ngap a1: filled\ngap b2: partial\n"
    )


async def test_what_the_exchange_could_not_give_is_exit_code_1_with_the_reason(desk: Desk) -> None:
    async with open_desk(desk), trio.open_nursery() as nursery:
        nursery.start_soon(partial(end, desk, complete=False, reason="binance gives nothing before that"))
        code, out, _ = await desk.type(*BTC, *STRETCH)
    assert code == 1
    assert "not complete: binance gives nothing before that; 0 trades came" in out


async def test_json_is_the_order_as_the_control_socket_shows_it(desk: Desk) -> None:
    async with open_desk(desk):
        code, out, _ = await desk.type(*BTC, *STRETCH, "--no-wait", "--json")
        (shown,) = desk.app.repairs()
    assert code == 0
    assert json.loads(out) == shown
    assert {key: value for key, value in shown.items() if key != "repair"} == {
        "exchange": "binance",
        "symbol": "BTC/USDT",
        "from": "2026-06-01T10:00:00.000000Z",
        "to": "2026-06-01T11:00:00.000000Z",
        "state": "running",
        "reason": "waiting for its turn",
        "came": 0,
        "stored": 0,
        "gaps": {},
    }


async def test_without_waiting_it_reports_that_the_repair_has_begun(desk: Desk) -> None:
    async with open_desk(desk):
        code, out, _ = await desk.type(*BTC, "--from", "2026-06-01", "--no-wait")
    assert code == 0
    assert f"repair {desk.orders[0].number} has begun" in out
    assert desk.orders[0].complete is None
    assert abs(desk.orders[0].to_ns - time.time_ns()) < 60e9  # without --to up to now


@pytest.mark.parametrize("ahead_s", [-600, 600])
async def test_without_an_end_it_ends_now_by_the_exchanges_clock(ahead_s: int, desk: Desk) -> None:
    lead = desk.pipeline.exchanges["binance"].continuity.deduplicator.lead
    lead.saw(ahead_s * 1_000_000_000, time.time_ns(), 1)
    async with open_desk(desk):
        await desk.type(*BTC, "--from", "2026-06-01", "--no-wait")
    assert abs(desk.orders[0].to_ns - time.time_ns() - ahead_s * 1e9) < 60e9


async def test_no_repair_begins_before_1970(desk: Desk) -> None:
    """Times before 1677 do not fit 64 bits of nanoseconds; a query with one fails."""
    async with open_desk(desk):
        await desk.type(*BTC, "--from", "0001-01-01", "--no-wait")
    assert desk.orders[0].from_ns == 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((*BTC, "--from", FROM, "--to", FROM), 64, "begins before it ends"),
        ((*BTC, "--from", "2126-06-01"), 1, "before now"),
        ((*BTC, "--from", "2026-06-01T10:00:00"), 64, "2026-06-01T10:00:00Z for UTC"),
        ((*BTC, "--from", FROM, "--to", "soon"), 64, "'soon' is not a time"),
        ((*BTC,), 64, "--from"),
        (("--exchange", "binanse", "--symbol", "BTC/USDT", *STRETCH), 1, "no exchange is called 'binanse'"),
        (("--exchange", "binance", "--symbol", "XRP/USDT", *STRETCH), 1, "binance does not record XRP/USDT"),
        (("--exchange", "kraken", "--symbol", "BTC/USD", *STRETCH), 1, "ws_url is set, so set rest_url as well"),
    ],
)
async def test_a_repair_that_is_impossible_is_reported_with_the_reason(
    desk: Desk, words: tuple[str, ...], code: int, said: str
) -> None:
    async with open_desk(desk):
        found, out, err = await desk.type(*words)
    assert (found, out) == (code, "")
    assert said in err and "Traceback" not in err
    assert desk.orders == []


async def test_too_many_orders_at_once_are_refused(desk: Desk) -> None:
    async with open_desk(desk):
        for _ in range(REPAIRS_MAX):
            desk.pipeline.exchanges["binance"].repair("BTC/USDT", 0, 1)
        code, _, err = await desk.type(*BTC, *STRETCH)
    assert code == 1
    assert f"{REPAIRS_MAX} repairs are running already; wait" in err


async def test_a_restarted_service_does_not_pass_another_repair_off_as_this_one(desk: Desk) -> None:
    async def start_anew() -> None:
        with trio.fail_after(10):
            while not desk.orders:  # noqa: ASYNC110 - another thread's command brings it
                await trio.sleep(0.01)
        (order,) = desk.orders
        order.symbol, order.complete = "ETH/USDT", True

    async with open_desk(desk), trio.open_nursery() as nursery:
        nursery.start_soon(start_anew)
        code, out, _ = await desk.type(*BTC, *STRETCH)
    assert code == 1
    assert "the service has no record of it" in out


async def test_ctrl_c_ends_the_waiting_and_not_the_repair(desk: Desk, tmp_path: Path) -> None:
    asked = trio.Event()

    class NotedApp(ServiceApp):
        def repairs(self) -> Any:
            asked.set()
            return super().repairs()

    desk.app = NotedApp(desk.pipeline, desk.config)
    async with open_desk(desk):
        words = ("repair", *BTC, *STRETCH, "--socket", str(desk.socket))
        with running(*words, folder=tmp_path) as process:
            with trio.fail_after(30):
                await asked.wait()
            process.send_signal(signal.SIGINT)
            _, err = await trio.to_thread.run_sync(process.communicate)
        assert process.returncode == 130
        assert "continues" in err and "Traceback" not in err
        assert desk.orders[0].complete is None
        code, _, _ = await desk.type(*BTC, *STRETCH, "--no-wait")
        assert code == 0


async def ask(desk: Desk, path: str, body: str, method: str = "POST") -> tuple[int, Any]:
    """Status and JSON of a request on a connection of its own."""
    head = f"{method} {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    with trio.fail_after(10):
        async with await trio.open_unix_socket(desk.socket) as stream:
            await stream.send_all((head + body).encode())
            answer = b"".join([data async for data in stream])
    head, _, payload = answer.decode().partition("\r\n\r\n")
    return int(head.split()[1]), json.loads(payload)


async def test_a_client_that_may_only_read_sees_the_repairs_and_starts_none(desk: Desk) -> None:
    desk.pipeline.exchanges["binance"].repair("BTC/USDT", 0, 1)
    async with open_desk(desk, Peer(may_read=True, may_command=False)):
        body = json.dumps({"symbol": "BTC/USDT", "from": FROM})
        assert (await ask(desk, "/v1/exchanges/binance/repair", body))[0] == 403
        status, orders = await ask(desk, "/v1/repairs", "", "GET")
    assert (status, [order["repair"] for order in orders]) == (200, [desk.orders[0].number])
    assert len(desk.orders) == 1


async def test_the_routes_report_errors_by_status(desk: Desk) -> None:
    route = "/v1/exchanges/binance/repair"
    stretch = {"symbol": "BTC/USDT", "from": FROM, "to": TO}
    async with open_desk(desk):
        assert (await ask(desk, route, json.dumps(stretch)))[0] == 200
        status, problem = await ask(desk, "/v1/exchanges/nobody/repair", json.dumps(stretch))
        assert (status, problem["code"]) == (404, "unknown_name")
        for wrong in ({"to": FROM}, {"symbol": "XRP/USDT"}, {"from": "2026-06-01T10:00:00"}):
            status, problem = await ask(desk, route, json.dumps({**stretch, **wrong}))
            assert (status, problem["code"]) == (409, "refused"), wrong
        for body in ('{"symbol": "BTC/USDT"}', json.dumps({**stretch, "till": TO}), "[]", "{"):
            assert (await ask(desk, route, body))[0] == 400, body
        assert (await ask(desk, "/v1/repairs", "{}"))[0] == 405


def test_without_a_service_it_is_exit_code_69(tmp_path: Path) -> None:
    result = tickwarden_here("repair", *BTC, *STRETCH, folder=tmp_path)
    assert result.returncode == 69
    assert "no service is running" in result.stderr


def test_what_an_exchange_cannot_recover_is_reported(tmp_path: Path) -> None:
    told = {row["name"]: row for row in json.loads(tickwarden_here("exchanges", "--json", folder=tmp_path).stdout)}
    for name in WITH_HISTORY:
        history = history_of(name)
        assert told[name]["history_kind"] == history.kind
        assert told[name]["history_depth"] == history.depth
        assert told[name]["history_notes"] == list(history.notes)
    bybit = tickwarden_here("exchanges", "bybit", folder=tmp_path).stdout
    assert "what lies before the newest trades is lost" in bybit
    for name in told.keys() - set(WITH_HISTORY):
        assert "lost" in told[name]["history_depth"]


# -- the whole way ----------------------------------------------------------------------------------------

# The 60 trades that the history of bybit's spot markets holds must span the test, on a busy machine too.
SLOW_PER_S, FAST_PER_S = 3.0, 60.0
MARKETS = {
    "binance": ("BTC/USDT", "ETH/USDT"),
    "bybit": ("BTC/USDT", "BTC/USDT:USDT"),
    "coinbaseexchange": ("BTC/USD",),
    "kraken": ("BTC/USD",),
    "okx": ("BTC/USDT", "ETH/USDT:USDT"),
}

# Another process: loses every fifth trade, keeps the file for itself until it is told to go.
DAMAGE = """
import sys, duckdb
with duckdb.connect(sys.argv[1]) as con:
    (schema,) = con.execute("SELECT schema_name FROM duckdb_tables() WHERE table_name = 'ticks'").fetchone()
    print(con.execute(f"DELETE FROM {schema}.ticks WHERE hash(trade_id) % 5 = 0").fetchone()[0], flush=True)
    sys.stdin.read()
"""


@asynccontextmanager
async def damaged(path: Path) -> AsyncIterator[int]:
    """How many trades were lost; the file is held until the block is left."""
    async with trio.open_nursery() as nursery:
        run = partial(trio.run_process, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        process = await nursery.start(run, [sys.executable, "-c", DAMAGE, str(path)])
        with trio.fail_after(30):
            lost = int(await process.stdout.receive_some(100))
        yield lost
        await process.stdin.aclose()


def ids(fills: Iterable[Fill]) -> set[str]:
    """All ids that these trades used up."""
    return {number for fill in fills for number in span(fill.trade_id, fill.count)}


def traded(venues: Mapping[str, Sandbox], exchange: str, symbol: str) -> Sequence[Fill]:
    """Every trade of a market."""
    return venues[exchange].truth[exchange].get(symbol, ())


async def test_five_exchanges_give_back_what_was_lost_and_it_is_stored_once(
    tmp_path: Path,
) -> None:
    limits = BackfillLimits(retry=Backoff(initial_s=0.2, max_s=10.0), locked_s=0.2)
    venues = {name: Sandbox((name,), SLOW_PER_S if name == "bybit" else FAST_PER_S) for name in MARKETS}
    markets = [(name, symbol) for name, symbols in MARKETS.items() for symbol in symbols]
    async with trio.open_nursery() as nursery:
        config = ""
        for name, venue in venues.items():
            port = await nursery.start(venue.serve)
            urls = f'ws_url = "ws://127.0.0.1:{port}"\nrest_url = "http://127.0.0.1:{port}"\n'
            config += f"[exchanges.{name}]\n{urls}symbols = {json.dumps(MARKETS[name])}\n"
        (tmp_path / "tickwarden.toml").write_text(config)
        pipeline = Pipeline(load_config(tmp_path / "tickwarden.toml").pipeline(), backfill=limits)
        await nursery.start(lambda task_status: pipeline.run(task_status=task_status))
        with trio.fail_after(30):  # bybit's history is not known to reach back to a time before its first trade
            while not all(len(traded(venues, *market)) > 2 for market in markets):  # noqa: ASYNC110 - no event
                await trio.sleep(0.02)
        since_ns = time.time_ns()
        await trio.sleep(1.0)
        await pipeline.merge()
        async with damaged(tmp_path / "ticks.duckdb") as lost:
            until_ns = time.time_ns()
            orders = {(name, s): pipeline.exchanges[name].repair(s, since_ns, until_ns) for name, s in markets}
            with trio.fail_after(30):
                while any("another process" not in order.reason for order in orders.values()):  # noqa: ASYNC110
                    await trio.sleep(0.02)
        for name in ("binance", "kraken", "okx"):  # in the middle of it
            await pipeline.tree.restart(f"{name}:backfill")
        with trio.fail_after(60):
            while any(order.complete is None for order in orders.values()):  # noqa: ASYNC110 - they have no event
                await trio.sleep(0.05)
        pipeline.stop()
        await pipeline.ended.wait()
        nursery.cancel_scope.cancel()
    assert lost > 20
    assert [order.reason for order in orders.values() if not order.complete] == []
    assert sum(order.stored for order in orders.values()) > 20
    for account in pipeline.ledger.accounts.values():
        assert account.balanced
        assert account.in_flight == 0
    with duckdb.connect(str(tmp_path / "ticks.duckdb")) as con:
        for (name, symbol), order in orders.items():
            fills = traded(venues, name, symbol)
            rows = con.execute(
                "SELECT trade_id, fills FROM ticks WHERE exchange = ? AND symbol = ?", [name, symbol]
            ).fetchall()
            stored = [number for row in rows for number in span(*row)]
            assert len(stored) == len(set(stored)), f"{name} {symbol} has a trade twice"
            assert set(stored) <= ids(fills)
            asked = [fill for fill in fills if since_ns + 1_000_000 <= fill.ns <= order.to_ns - 1_000_000]
            assert ids(asked) <= set(stored), f"{name} {symbol} lacks some"
    assert all(struck["rate_limit"] == 0 for venue in venues.values() for struck in venue.struck.values())
