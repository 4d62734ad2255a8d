"""A connection is noted as delivering a market before the first trade of that market is admitted."""

import json
from collections.abc import Collection
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.harness.exchange_server import trade
from tests.harness.memory_exchange import BTC, ETH, Venue, recorded


@pytest.mark.parametrize("natives", [(BTC, ETH), (ETH, BTC)])
@pytest.mark.parametrize("acknowledged", [False, True])
async def test_each_market_of_a_connection_is_noted_in_time(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, natives: tuple[str, str], acknowledged: bool
) -> None:
    """Otherwise what the market's other connection may have missed before looks complete: the gap would begin at
    that trade.
    """
    venue, order = Venue(), list[tuple[str, str]]()
    venue.deaf.add(0)
    async with recorded(venue, "BTC/USDT", "ETH/USDT") as recorder:
        continuity = recorder.exchange.continuity
        connected, admit = continuity.connected, continuity.deduplicator.admit

        def note_connected(symbols: Collection[str], *more: Any) -> None:
            order.extend(("connected", symbol) for symbol in symbols)
            connected(symbols, *more)

        def note_admitted(block: Any, start: int, *words: Any, **more: Any) -> int:
            order.extend(("admitted", symbol) for symbol in block.symbol[start:])
            return admit(block, start, *words, **more)

        monkeypatch.setattr(continuity, "connected", note_connected)
        monkeypatch.setattr(continuity.deduplicator, "admit", note_admitted)
        for native in natives:
            arg = {"channel": "trades", "instId": native}
            answer = json.dumps({"event": "subscribe", "arg": arg, "connId": "a4d3ae55"})
            await venue.server.clients[0].send(*[answer] * acknowledged, trade("okx", native, 1000))
            await trio.sleep(1.6)  # it is decoded, and a check of the session has noted what was traded
    first, second = (native.replace("-", "/") for native in natives)
    assert order == [("connected", first), ("admitted", first), ("connected", second), ("admitted", second)]
