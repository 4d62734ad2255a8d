"""The whole service with wildcards, against a loopback exchange that lists its markets."""

from pathlib import Path

import trio

from ops.cli.status import wildcard_lines
from ops.monitoring import status as report
from ops.sandbox import Sandbox
from tests.harness.exchange_server import check_audit, pipeline_of, query, recording, until


def config_of(sandbox: Sandbox) -> str:
    """Points a service at it, with these symbols."""
    wanted = 'symbols = ["*/USDT", "NONE/USDT"]'
    lines = sandbox.config_toml().split("\n")
    return "\n".join(wanted if line.startswith("symbols") else line for line in lines)


async def test_wildcards_are_resolved_by_the_list_that_the_exchange_serves(tmp_path: Path) -> None:
    sandbox = Sandbox(["binance"], 200.0)
    async with trio.open_nursery() as nursery:
        await nursery.start(sandbox.serve)
        listed = set(sandbox.symbols("binance"))
        spot = {symbol for symbol in listed if ":" not in symbol and symbol.endswith("/USDT")}
        pipeline = pipeline_of(tmp_path, config_of(sandbox))
        async with recording(pipeline):
            binance = pipeline.exchanges["binance"]
            await until(lambda: {market.symbol for market in binance.markets} == spot, "the markets")
            await until(lambda: all(sandbox.truth["binance"].get(symbol) for symbol in spot), "trades")
            await until(lambda: pipeline.ledger.account("binance").stored > 0, "rows")
            shown = report.status(pipeline)["exchanges"]
            assert isinstance(shown, dict)
            assert shown["binance"]["wildcards"] == {"*/USDT": len(spot)}
            assert wildcard_lines({"exchanges": shown}) == [f"binance: */USDT matches {len(spot)} markets"]
            assert list(shown["binance"]["left_out"]) == ["NONE/USDT"]
        nursery.cancel_scope.cancel()
    assert sandbox.struck["binance"]["rate_limit"] == 0
    check_audit(tmp_path)
    assert {symbol for (symbol,) in query(tmp_path, "SELECT DISTINCT symbol FROM ticks")} <= spot
    rows = query(tmp_path, "SELECT symbol, active, volume_unit FROM instruments")
    assert {symbol for symbol, *_ in rows} == listed and all(active for _, active, _ in rows)
    # A later start goes by what is stored, and stores nothing again.
    async with trio.open_nursery() as nursery:
        await nursery.start(sandbox.serve)
        pipeline = pipeline_of(tmp_path, config_of(sandbox))
        async with recording(pipeline):
            binance = pipeline.exchanges["binance"]
            await until(lambda: {market.symbol for market in binance.markets} == spot, "the markets")
        nursery.cancel_scope.cancel()
    assert len(query(tmp_path, "SELECT * FROM instruments")) == len(rows)
