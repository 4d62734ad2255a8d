"""The benchmarks run, at sizes that measure nothing, so that they work when they are needed."""

import json
from itertools import pairwise
from pathlib import Path

import pytest

from actors.exchanges.loopbacks import LOOPBACKS
from ops.sandbox.instruments import listings
from tests.bench import flood, load, paced
from tests.bench.clients import Plan, Service, market_of_each
from tests.bench.figures import report, rounds
from tests.bench.load import Connection, Spec
from tests.harness.exchange_server import Client
from tests.harness.exchange_values import FIVE


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paced, "SETTLE_S", 0.3)


def test_the_service_receives_every_message_of_several_exchanges_over_tls() -> None:
    names = [*FIVE, "htx", "kucoin", "mexc"]  # gzip, tokens over REST, binary messages
    figures = paced.measured(Service("service"), Spec(names, tls=True), paced.plan_of(names, len(names)), 300, 0.5)
    assert figures["messages_a_second"] > 0


def test_a_flood_of_five_exchanges_is_stored_once() -> None:
    plan = Plan([(name, [market_of_each(name)]) for name in FIVE], ticks=500)
    assert flood.measured(Service("service"), Spec(FIVE), plan)["ticks"] == 500


class Heard(Client):
    """A client's end that keeps what it is sent."""

    def __init__(self) -> None:
        self.path, self.data = "/stream?streams=btcusdt@trade/ethusdt@trade", b""

    async def accept(self, also: bytes = b"") -> None:
        pass

    async def ask(self) -> None:
        return None

    async def raw(self, data: bytes) -> None:
        self.data += data


async def test_the_ids_of_a_flood_are_contiguous_beyond_what_was_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "STRETCH", 10)
    client, venue = Heard(), LOOPBACKS["binance"]
    connection = Connection(venue, {(row.category, row.native): row for row in listings(venue)}, client)
    await connection.run(1)
    assert connection.build(50) == 60
    await connection.flood()
    ids = [int(part.partition(b",")[0]) for part in client.data.split(b'"t":')[1:]]
    assert len(ids) == 60 and ids[0] == ids[1]
    assert all(later - earlier == 1 for earlier, later in pairwise(ids[::2]))


def test_candidates_take_turns_and_their_medians_are_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    turns, values = list[str](), iter([5, 50, 1, 10, 3, 30])

    def measure(name: str) -> dict[str, float]:
        turns.append(name)
        return {"us": next(values)}

    found = rounds(3, {"old": lambda: measure("old"), "new": lambda: measure("new")})
    report("part", {"rate": 1}, found, "us", tmp_path / "figures.json")
    assert turns == ["old", "new"] * 3
    written = json.loads((tmp_path / "figures.json").read_text())
    assert written["median"] == {"old": {"us": 3}, "new": {"us": 30}}
    assert capsys.readouterr().out.splitlines()[-1].split() == ["new", "30", "10", "..", "50", "0.10"]
