"""The doctor on real sockets: healthy exchanges, and its finding for each way in which one can fail."""

import json
import math
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from actors.exchanges.registry import EXCHANGES
from actors.settings import ExchangeSettings
from actors.wire.websocket import WebSocketLimits
from ops.config.config import load_config
from ops.doctor import FeedLimits, Finding, Report, State, Step, advice, examine
from ops.doctor.clock import Dated, judge
from ops.sandbox import LOOPBACKS, Faults, Sandbox, parse_faults
from tests.harness.cli_process import PATIENCE_S, running, tickwarden_here
from tests.harness.exchange_server import Client, Server, serving, table, trade
from tests.harness.paths import CERTS
from tests.harness.sampling import sample

S_NS = 1_000_000_000
RATE = 500.0  # trades a second: quick tests
STEPS = [step.value for step in Step]


@asynccontextmanager
async def loopback(folder: Path, *names: str, **faults: Faults) -> AsyncIterator[list[ExchangeSettings]]:
    """Loopback exchanges, and the settings that lead to them."""
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            exchanges = Sandbox(names, RATE, faults)
            await nursery.start(exchanges.serve)
            yield configured(folder, exchanges.config_toml())
            nursery.cancel_scope.cancel()


def configured(folder: Path, toml: str) -> list[ExchangeSettings]:
    path = folder / "tickwarden.toml"
    path.write_text(toml)
    return list(load_config(path).exchanges.values())


async def examined(
    exchanges: Sequence[ExchangeSettings],
    wait_s: float = PATIENCE_S,
    told: list[str] | None = None,
    limits: FeedLimits | None = None,
) -> list[Report]:
    with trio.fail_after(2 * PATIENCE_S):
        return await examine(exchanges, wait_s, ([] if told is None else told).append, limits)


def finding(report: Report, step: Step) -> Finding:
    """The first about this step."""
    return next(finding for finding in report.findings if finding.step is step)


def states(report: Report) -> dict[str, str]:
    return {finding.step.value: finding.state.value for finding in report.findings}


def broke(report: Report, step: Step, *said: str, do: str) -> None:
    """The step failed with these words and this advice, and what comes after it on the connection was skipped."""
    found = finding(report, step)
    assert found.state is State.FAIL, report.findings
    for words in said:
        assert words in found.found
    assert do in found.advice
    later = STEPS[STEPS.index(step) + 1 :]
    after = {other.state for other in report.findings if other.about == found.about and other.step in later}
    assert step is Step.REST or after <= {State.SKIPPED}, report.findings
    assert report.state is State.FAIL


async def test_every_loopback_exchange_passes_and_each_step_is_timed(tmp_path: Path) -> None:
    # hyperliquid closes the connection on a wrong name, and only its list has that of HYPE/USDC
    names = sorted({"binance", "bybit", "hyperliquid", *sample(LOOPBACKS, 5, "doctor")})
    async with loopback(tmp_path, *names) as exchanges:
        reports = await examined(exchanges)
    assert [report.exchange for report in reports] == names
    for report in reports:
        assert report.state is State.PASS, report.findings
        assert set(states(report)) == set(STEPS)
        skipped = [found for found in report.findings if found.state is State.SKIPPED]
        without_history = EXCHANGES[report.dialect].history is None
        # loopback speaks ws://
        assert {found.step for found in skipped} == ({Step.TLS, Step.REST} if without_history else {Step.TLS})
        for found in report.findings:
            assert (found.took_s is None) == (found.state is State.SKIPPED or found.step is Step.CLOCK)
            assert found.found
            assert found.advice == ""
    bybit = reports[names.index("bybit")]
    assert len(bybit.endpoints) == 3  # spot, linear and inverse have endpoints of their own
    assert [found.about for found in bybit.findings if found.step is Step.TRADE] == list(bybit.endpoints)
    by_id = [report for report in reports if report.dialect in ("binance", "coinbaseexchange", "okx")]
    assert all("has the first trade" in finding(report, Step.REST).found for report in by_id)


async def test_one_failing_exchange_does_not_affect_the_others_and_the_order_is_as_configured(
    tmp_path: Path,
) -> None:
    told: list[str] = []
    faults = {"kraken": parse_faults(["refuse=451"]), "okx": parse_faults(["silence"])}
    async with loopback(tmp_path, "kraken", "binance", "okx", **faults) as exchanges:
        kraken, binance = await examined(exchanges[:2])
        (okx,) = await examined(exchanges[2:], 0.3, told, FeedLimits(notice_s=0.1))
    assert told == ["okx:1: waiting up to 0.3 s for a trade", "okx: fail"]
    assert (kraken.exchange, binance.exchange, okx.exchange) == ("kraken", "binance", "okx")
    assert binance.state is State.PASS
    broke(kraken, Step.WEBSOCKET, "HTTP 451", do="try from another network")
    assert finding(kraken, Step.REST).state is State.PASS  # it is a way of its own, and was tried
    assert finding(kraken, Step.CLOCK).state is State.SKIPPED
    broke(okx, Step.TRADE, "within 0.3 s", do="the market may be quiet")
    assert finding(okx, Step.ACKNOWLEDGED).state is State.PASS


@pytest.mark.parametrize(
    ("fault", "said", "do"),
    [("rest_fail=1", "HTTP 500", "try again in a minute"), ("rest_429=1", "HTTP 429", "wait some minutes")],
)
async def test_rest_that_fails_is_reported_with_its_status_and_spares_the_feed(
    tmp_path: Path, fault: str, said: str, do: str
) -> None:
    async with loopback(tmp_path, "binance", binance=parse_faults([fault])) as exchanges:
        (report,) = await examined(exchanges)
    broke(report, Step.REST, said, do=do)
    assert finding(report, Step.TRADE).state is State.PASS
    assert finding(report, Step.CLOCK).state is State.PASS


async def test_malformed_messages_are_reported_although_trades_arrive(tmp_path: Path) -> None:
    async with loopback(tmp_path, "binance", binance=parse_faults(["garbage=0.9"])) as exchanges:
        (report,) = await examined(exchanges)
    assert "invalid message" in finding(report, Step.TRADE).found


@pytest.mark.parametrize(
    ("name", "wrong", "near"), [("binance", "BTC/USD", "BTC/USDT"), ("binance", "BTCC/USDT", "BTC/USDT")]
)
async def test_a_market_that_stays_silent_and_does_not_exist_is_named_with_near_ones(
    name: str, wrong: str, near: str, tmp_path: Path
) -> None:
    limits = FeedLimits(more_s=0.3)
    async with loopback(tmp_path, name, **{name: parse_faults(["silence"])}) as exchanges:
        (silent,) = await examined([msgspec.structs.replace(one, symbols=("BTC/USDT",)) for one in exchanges], 0.3)
    assert "no such market" not in str(silent.findings), "a market may be quiet"
    async with loopback(tmp_path, name) as exchanges:
        (report,) = await examined(
            [msgspec.structs.replace(one, symbols=("BTC/USDT", wrong)) for one in exchanges], limits=limits
        )
    (found,) = [found for found in report.findings if found.step is Step.REST and found.state is State.FAIL]
    assert found.found.startswith(f"{wrong}: {name} has no such market (") and report.state is State.FAIL
    assert found.advice.startswith(f"write {near}") and wrong + " " not in found.advice


@pytest.mark.parametrize("named", [(), ("BTC/USDT",)], ids=["alone", "beside a symbol"])
async def test_a_wildcard_that_matches_no_market_fails(tmp_path: Path, named: tuple[str, ...]) -> None:
    async with loopback(tmp_path, "binance") as exchanges:
        settings = [msgspec.structs.replace(one, symbols=(*named, "*/XYZ")) for one in exchanges]
        (report,) = await examined(settings)
    broke(report, Step.REST, "*/XYZ matches no market that binance lists", do="or remove it")
    assert finding(report, Step.TRADE).state is State.PASS, "the connection is tested all the same"


async def test_a_wildcard_is_tested_by_one_of_the_markets_that_it_matches(tmp_path: Path) -> None:
    async with loopback(tmp_path, "binance") as exchanges:
        (report,) = await examined([msgspec.structs.replace(one, symbols=("ETH/*",)) for one in exchanges])
    assert report.state is State.PASS, report.findings
    assert finding(report, Step.TRADE).found.startswith("ETH/")
    assert "ETH/* matches" in str([found.found for found in report.findings])


async def test_wildcards_fail_where_the_list_cannot_be_read(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        rest_url = f"http://127.0.0.1:{server.getsockname()[1]}"
    async with loopback(tmp_path, "whitebit") as exchanges:
        settings = [msgspec.structs.replace(one, symbols=("*/USDT",), rest_url=rest_url) for one in exchanges]
        (report,) = await examined(settings)
    broke(report, Step.REST, "the list of markets cannot be read", do="wildcards wait for it")
    assert finding(report, Step.TRADE).state is State.PASS


async def test_a_list_that_cannot_be_read_is_requested_once_and_does_not_hold_up_the_tests(tmp_path: Path) -> None:
    paths, told = list[str](), list[str]()

    async def fail(client: Client) -> None:
        paths.append((await client.stream.receive_some()).decode().split()[1])
        await client.raw(b"HTTP/1.1 503 Busy\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")

    server = Server(fail)
    async with serving(server), loopback(tmp_path, "okx") as exchanges:
        rest_url = server.url.replace("ws:", "http:")
        settings = [msgspec.structs.replace(one, symbols=("*/USDT",), rest_url=rest_url) for one in exchanges]
        (report,) = await examined(settings, told=told)
    broke(report, Step.REST, "the list of markets cannot be read", do="wildcards wait for it")
    assert len([path for path in paths if "/public/instruments" in path]) == 1
    assert told[0] == "okx: reading the list of markets"


async def test_a_port_where_nothing_listens_is_reported_and_the_rest_skipped(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    url, rest_url = f"ws://127.0.0.1:{port}", f"http://127.0.0.1:{port}"
    toml = table("a", "kraken", ["BTC/USD"], url, rest_url=rest_url) + table("b", "kraken", ["BTC/USD"], url)
    a, b = await examined(configured(tmp_path, toml))
    broke(a, Step.CONNECT, str(port), "Connection refused", do=f"nothing listens on port {port}")
    assert "because connect failed" in finding(a, Step.TRADE).found
    broke(a, Step.REST, rest_url, do="check rest_url")
    # What stands behind a ws_url may be anything: the real exchange is not asked in its place.
    assert finding(b, Step.REST).state is State.SKIPPED
    assert "rest_url is not" in finding(b, Step.REST).found


async def test_a_host_name_that_does_not_exist_is_reported(tmp_path: Path) -> None:
    (report,) = await examined(configured(tmp_path, table("a", "okx", ["BTC/USDT"], "wss://nowhere.invalid")))
    broke(report, Step.RESOLVE, "nowhere.invalid", do="name")


@pytest.mark.parametrize(
    ("certificate", "ca", "do"),
    [
        ("localhost.pem", None, "ca_file"),
        ("expired.pem", "ca.pem", "this machine's date"),
        ("elsewhere.pem", "ca.pem", "another name"),
    ],
)
async def test_a_wrong_certificate_is_reported_with_a_fix(
    tmp_path: Path, certificate: str, ca: str | None, do: str
) -> None:
    server = Server(Client.gone, certificate)
    async with serving(server):
        more = {"ca_file": str(CERTS / ca)} if ca else {}
        toml = table("a", "binance", ["BTC/USDT"], server.url, rest_url=server.url.replace("wss", "https"), **more)
        (report,) = await examined(configured(tmp_path, toml))
    broke(report, Step.TLS, "cannot be trusted", do=do)
    assert "cannot be trusted" in finding(report, Step.REST).found
    assert do in finding(report, Step.REST).advice


async def test_plain_text_where_tls_is_expected_is_reported(tmp_path: Path) -> None:
    async def shout(client: Client) -> None:
        await client.raw(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    server = Server(shout)
    async with serving(server):
        url = server.url.replace("ws:", "wss:")
        (report,) = await examined(configured(tmp_path, table("a", "binance", ["BTC/USDT"], url)))
    broke(report, Step.TLS, "TLS handshake", "failed", do="ws:// is meant")


async def test_a_server_that_accepts_and_is_silent_costs_a_deadline(tmp_path: Path) -> None:
    limits = FeedLimits(websocket=WebSocketLimits(message_bytes=1_000_000, tls_s=0.2))

    async def hush(client: Client) -> None:
        await trio.sleep_forever()

    server = Server(hush)
    async with serving(server):
        url = server.url.replace("ws:", "wss:")
        (report,) = await examined(configured(tmp_path, table("a", "binance", ["BTC/USDT"], url)), limits=limits)
    broke(report, Step.TLS, "took longer than 0.2 s", do="no answer in time")


async def one_client(
    folder: Path, script: Any, symbols: Sequence[str], *, dialect: str = "binance", wait_s: float = PATIENCE_S
) -> Report:
    """The report about a scripted exchange."""

    async def serve(client: Client) -> None:
        await client.accept()
        await script(client)

    server = Server(serve)
    async with serving(server):
        (report,) = await examined(configured(folder, table("a", dialect, symbols, server.url)), wait_s)
    return report


async def test_a_refused_subscription_is_reported_in_the_exchanges_own_words(tmp_path: Path) -> None:
    async def refuse(client: Client) -> None:
        while (text := await client.ask()) is not None:
            asked = json.loads(text)["id"]
            await client.send(json.dumps({"error": {"code": 2, "msg": "Invalid request"}, "id": asked}))

    report = await one_client(tmp_path, refuse, ["BTC/USDT", "NO/SUCH"])
    said = ("0 of 2", "BTC/USDT, NO/SUCH", "2 Invalid request")
    broke(report, Step.ACKNOWLEDGED, *said, do="remove the refused symbols")


async def test_one_refused_market_is_a_failure_and_the_others_show_their_trade(tmp_path: Path) -> None:
    async def one_is_wrong(client: Client) -> None:
        while (text := await client.ask()) is not None:
            asked = json.loads(text)
            refusal = json.dumps({"code": 2, "msg": "no such stream", "id": asked["id"]})
            if asked["params"] == ["nosuch@trade"]:
                # A trade that came before the refusal does not disprove it.
                await client.send(trade("binance", "NOSUCH", 1), refusal)
                await client.send(trade("binance", "BTCUSDT", 8))
            elif "nosuch@trade" in asked["params"]:
                await client.send(refusal)
            else:
                await client.send(json.dumps({"result": None, "id": asked["id"]}), trade("binance", "BTCUSDT", 7))

    report = await one_client(tmp_path, one_is_wrong, ["BTC/USDT", "NO/SUCH"])
    assert finding(report, Step.ACKNOWLEDGED).state is State.FAIL
    assert "1 of 2; refused: NO/SUCH (2 no such stream)" in finding(report, Step.ACKNOWLEDGED).found
    assert finding(report, Step.TRADE).state is State.PASS
    assert "BTC/USDT at 1.5" in finding(report, Step.TRADE).found


async def test_a_connection_that_is_closed_is_reported_with_its_code(tmp_path: Path) -> None:
    async def close(client: Client) -> None:
        await client.ask()
        await client.close(1008)

    report = await one_client(tmp_path, close, ["BTC/USDT"])
    broke(report, Step.ACKNOWLEDGED, "1008", do="rejects this client")


async def test_a_wrong_clock_is_detected_by_the_trades(tmp_path: Path) -> None:
    for off_s, said in ((-5, "this clock is ahead"), (5, "this clock is behind")):

        async def tell(client: Client, off_s: int = off_s) -> None:
            await client.ask()
            await client.send(trade("binance", "BTCUSDT", 7, time.time_ns() + off_s * S_NS))
            await client.gone()

        report = await one_client(tmp_path, tell, ["BTC/USDT"])
        broke(report, Step.CLOCK, said, do="NTP")


def test_the_date_of_an_answer_distinguishes_a_late_feed_from_a_wrong_clock() -> None:
    now = 1_790_000_000 * S_NS
    right = Dated(now, now + S_NS // 2)
    assert "+3 ms" in str(judge(20, 3e6, Dated(now, now + 50 * S_NS)))  # fresh trades tell more than whole seconds
    assert "the feed is late" in str(judge(20, 4e9, right))
    assert "-0.5 to +0.5 s" in str(judge(0, math.inf, right))
    assert judge(0, math.inf, None) is None
    for trades, lag_ns, dated in (
        (20, 4e9, None),
        (20, 4e9, Dated(now, now + 4 * S_NS)),
        (0, math.inf, Dated(now, now + 4 * S_NS)),
        (0, math.inf, Dated(now, now - S_NS)),
        (20, -2e8, right),
    ):
        with pytest.raises(advice.Trouble) as trouble:
            judge(trades, lag_ns, dated)
        assert "NTP" in trouble.value.advice
    judge(0, math.inf, Dated(now, now + 19 * S_NS // 10))  # whole seconds leave room for doubt


@contextmanager
def sandbox(folder: Path) -> Iterator[None]:
    """Two loopback exchanges in a process of their own, and a configuration that points at them."""
    words = ("--exchange", "kraken", "--exchange", "binance", "--rate", "100")
    with running("sandbox", *words, folder=folder) as process:
        assert process.stdout is not None
        lines: list[str] = []
        while sum(line.startswith("symbols") for line in lines) < 2:
            lines.append(process.stdout.readline())
            assert lines[-1], "the sandbox ended"
        (folder / "tickwarden.toml").write_text("".join(lines))
        yield


def test_the_command_reports_all_exchanges_or_those_named(tmp_path: Path) -> None:
    with sandbox(tmp_path):
        everything = tickwarden_here("doctor", "--json", folder=tmp_path)
    assert everything.returncode == 0, everything.stderr
    assert "binance: pass" in everything.stderr
    reports = json.loads(everything.stdout)
    assert [report["exchange"] for report in reports] == ["kraken", "binance"]
    connect = reports[1]["steps"][1]
    assert (connect["about"], connect["step"], connect["state"]) == ("binance:1", "connect", "pass")
    assert connect["took_ms"] > 0
    broken = tickwarden_here("doctor", "kraken", folder=tmp_path)  # the sandbox has gone
    assert broken.returncode == 1
    assert broken.stdout.startswith("kraken: fail\n")
    assert "! kraken:1, connect: nothing listens" in broken.stdout
    assert "binance" not in broken.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["tickwarden.toml"], "it touches no store"


def test_a_name_that_is_not_configured_is_wrong_use_and_names_the_nearest(tmp_path: Path) -> None:
    unknown = tickwarden_here("doctor", "krake", folder=tmp_path)
    assert unknown.returncode == 64
    assert "'kraken'" in unknown.stderr


def test_a_wrong_configuration_is_reported_before_any_request(tmp_path: Path) -> None:
    (tmp_path / "tickwarden.toml").write_text("[exchanges]\n")
    result = tickwarden_here("doctor", folder=tmp_path)
    assert result.returncode == 78
    assert result.stderr.startswith(str(tmp_path / "tickwarden.toml")) and result.stdout == ""


def test_ctrl_c_ends_the_command_at_once_and_without_a_traceback(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the system accepts, and nobody ever answers
        url = f"ws://127.0.0.1:{silent.getsockname()[1]}"
        (tmp_path / "tickwarden.toml").write_text(table("a", "okx", ["BTC/USDT"], url))
        with running("doctor", folder=tmp_path) as process:
            assert process.stderr is not None
            assert process.stderr.readline() == "examining a\n"
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert "Traceback" not in said
