"""Coinbase Advanced Trade sends batches newest first, the products of one frame mixed."""

import json

from actors.exchanges.contract.feed import Market
from actors.exchanges.contract.instruments import Instrument
from tests.harness.exchange_values import dialect_of


def row(product: str, number: int) -> dict[str, str]:
    time = f"2026-08-09T21:05:{number % 60:02d}.5Z"
    return {"product_id": product, "trade_id": str(number), "price": "1", "size": "2", "time": time, "side": "BUY"}


def frame(*events: tuple[str, list[dict[str, str]]]) -> bytes:
    listed = [{"type": kind, "trades": rows} for kind, rows in events]
    return json.dumps({"channel": "market_trades", "sequence_num": 3, "events": listed}).encode()


def test_rows_of_a_batch_are_put_in_order_and_only_snapshots_are_marked_as_re_sent() -> None:
    trades = dialect_of("coinbase").trades(
        [
            frame(("snapshot", [row("BTC-USD", 2), row("BTC-USD", 1)]), ("snapshot", [])),
            frame(("update", [row("BTC-USD", 4), row("ETH-USD", 9), row("BTC-USD", 3)])),
        ]
    )
    assert trades.trade_id == ["1", "2", "3", "9", "4"]
    assert trades.snapshot == [True, True, False, False, False]
    assert set(trades.side) == {"sell"}  # the maker bought


def test_a_product_in_usdc_that_stands_for_no_other_is_a_market_of_its_own() -> None:
    listed = Instrument(symbol="NEW/USDC", native="NEW-USDC", kind="spot", base="NEW", quote="USDC")
    market = dialect_of("coinbase").market_listed(listed, "market_trades")
    assert market == Market("NEW/USDC", "NEW-USDC", "wss://advanced-trade-ws.coinbase.com", instrument=listed)
