"""Records an exchange from its loopback server with the real service, and holds what both sides know of it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from actors.exchanges.contract.loopback_market import Fill
from ops.sandbox import Sandbox
from tests.harness.exchange_server import check_audit, pipeline_of, query, recording, until

RATE_PER_S = 400.0
EACH = 10  # trades that each market has at least
SQL = "SELECT symbol, trade_id, price::VARCHAR, volume::VARCHAR, side, epoch_ns(timestamp), source FROM ticks"


@dataclass(frozen=True, slots=True)
class LoopbackRun:
    """`rows` of the file as SQL gives them, `truth` of the loopback by symbol, and what each side counted."""

    rows: list[tuple[Any, ...]]
    truth: Mapping[str, Sequence[Fill]]
    struck: Counter[str]
    rejected: int


async def record_loopback(folder: Path, name: str, trades: int = 300) -> LoopbackRun:
    """Records every market that the loopback lists until `trades` are stored and each market has some."""
    sandbox = Sandbox([name], RATE_PER_S)
    async with trio.open_nursery() as nursery:
        await nursery.start(sandbox.serve)
        pipeline = pipeline_of(folder, sandbox.config_toml())
        async with recording(pipeline):
            account, truth = pipeline.ledger.account(name), sandbox.truth[name]
            symbols = sandbox.symbols(name)
            await until(lambda: all(len(truth.get(symbol, ())) >= EACH for symbol in symbols), name)
            made = sum(map(len, truth.values()))
            await until(lambda: account.stored >= max(trades, made), name)
        nursery.cancel_scope.cancel()
    check_audit(folder)
    return LoopbackRun(query(folder, SQL), sandbox.truth[name], sandbox.struck[name], account.rejected)
