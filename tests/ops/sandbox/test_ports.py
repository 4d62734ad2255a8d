"""The ports of the sandbox: as many as it takes for URL paths to tell the exchanges apart."""

import socket
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from actors.exchanges.contract.loopback_rest import HttpResponse, Listing
from actors.exchanges.registry import EXCHANGES
from ops.config.keys import DEFAULT_SYMBOLS
from ops.sandbox import LOOPBACKS, Sandbox
from tests.harness.cli_process import tickwarden_here
from tests.harness.exchange_values import changed_loopback
from tests.harness.sandbox_client import refusal, serving

ALONE = "coinbaseexchange"


def below(path: str) -> str:
    """A path that is served where this one is."""
    return path + "x" if path.endswith("/") else path


async def test_every_path_of_every_exchange_leads_to_it_on_its_own_port() -> None:
    sandbox = Sandbox()
    async with serving(sandbox), httpx.AsyncClient(trust_env=False) as http:
        for name, exchange in sandbox.exchanges.items():
            for path in exchange.venue.paths:
                before = exchange.connections
                await refusal(sandbox, path or "/", sandbox.ports[name])
                assert exchange.connections == before + 1, (name, path)
            for path in sandbox.rest_apis[name].paths:
                asked = exchange.struck["rest"]
                await http.get(sandbox.url(name, "http") + below(path))
                assert exchange.struck["rest"] == asked + 1, (name, path)
    assert list(sandbox.exchanges) == list(EXCHANGES)


async def test_the_exchanges_of_the_demo_share_one_port() -> None:
    sandbox = Sandbox(tuple(DEFAULT_SYMBOLS))
    async with serving(sandbox):
        assert len(DEFAULT_SYMBOLS) == 5 and set(sandbox.ports.values()) == {sandbox.port}
        assert sandbox.where == f"port {sandbox.port}"


def listing(*paths: str) -> Listing:
    return Listing(paths=paths, answer=lambda *_: HttpResponse("[]"))


@pytest.mark.parametrize(
    ("ours", "theirs", "ports"),
    [
        ({"paths": {"/a": ""}}, {"paths": {"/b": ""}}, 1),
        ({"paths": {"": ""}}, {"paths": {"/a": ""}}, 1),
        ({"paths": {"/a": ""}}, {"paths": {"/a/2": ""}}, 1),  # the longest counts
        ({"paths": {"/a": ""}}, {"paths": {"/b": "", "/a": ""}}, 2),
        ({"paths": {"": ""}}, {"paths": {"": ""}}, 2),
        ({"listing": listing("/x")}, {"listing": listing("/y")}, 1),
        ({"listing": listing("/x")}, {"listing": listing("/x")}, 2),
        ({"listing": listing("/x/")}, {"listing": listing("/x/y")}, 2),
        ({"listing": listing("/x/y/")}, {"listing": listing("/x/")}, 2),
        ({"listing": listing("/x")}, {"listing": listing("/x/y")}, 1),
        ({"listing": listing("/x")}, {"tokens": {"/x": lambda _: HttpResponse("")}}, 2),
    ],
)
def test_exchanges_that_have_a_path_in_common_are_on_different_ports(
    ours: dict[str, Any], theirs: dict[str, Any], ports: int
) -> None:
    nothing: dict[str, Any] = {"history": None, "listing": None, "tokens": {}}
    venues = {
        **changed_loopback("okx", **nothing | {"paths": {"/ours": ""}} | ours),
        "bybit": changed_loopback("bybit", **nothing | {"paths": {"/theirs": ""}} | theirs)["bybit"],
    }
    assert Sandbox(["okx", "bybit"], venues=venues).port_count == ports


async def test_the_ports_follow_the_first_one_that_is_requested(monkeypatch: pytest.MonkeyPatch) -> None:
    venues = dict(LOOPBACKS)
    for name in ("okx", "bybit", "kraken"):
        venues[name] = changed_loopback(name, paths={"/same": next(iter(LOOPBACKS[name].styles))})[name]
    asked: list[int] = []
    really = trio.open_tcp_listeners

    async def free_one(port: int, *, host: str) -> list[trio.SocketListener]:
        asked.append(port)
        return await really(0, host=host)

    monkeypatch.setattr(trio, "open_tcp_listeners", free_one)
    sandbox = Sandbox(["okx", "bybit", ALONE, "kraken"], venues=venues)
    for port in (4711, 0):
        async with trio.open_nursery() as nursery:
            assert await nursery.start(sandbox.serve, "127.0.0.1", port) == sandbox.ports["okx"] == sandbox.port
            one, two, three = dict.fromkeys(sandbox.ports.values())
            assert sandbox.where == f"ports {one}, {two} and {three}"
            assert sandbox.ports[ALONE] == one and sandbox.ports["kraken"] == three
            nursery.cancel_scope.cancel()
    assert asked == [4711, 4712, 4713, 0, 0, 0]


def test_nothing_is_proved_of_copies_that_nothing_tells_from_trades(tmp_path: Path) -> None:
    words = ("--exchange", "okx", "--exchange", "bitmex", "--fault", "duplicate", "--prove", "1")
    done = tickwarden_here("sandbox", *words, folder=tmp_path)
    assert done.returncode == 64 and "a trade of bitmex has nothing that tells it from its copy" in done.stderr


@pytest.mark.parametrize("words", [(), ("--prove", "1")])
def test_a_port_in_use_is_named(words: tuple[str, ...], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = tickwarden_here("sandbox", "--exchange", "okx", "--port", port, *words, folder=tmp_path)
    assert done.returncode == 1 and f"port {port} of 127.0.0.1" in done.stderr and "--port" in done.stderr
