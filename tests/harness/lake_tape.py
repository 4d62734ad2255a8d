"""The tape of a lake as `lake query` returns it, and lakes of random trades, copies and twins among them."""

from collections.abc import Callable
from random import Random
from typing import Any

from ops.export.lake.views import lake_query
from tests.harness.lake_values import DAY_NS, SECOND_NS, Trade, batch, ship

# Recorders with their stores, and markets whose ids promise different things.
STORES = (("a", "1"), ("a", "2"), ("b", "1"))
MARKETS = (("binance", "BTC/USDT"), ("kraken", "BTC/USD"), ("bitmex", "BTC/USD:BTC"), ("mexc", "BTC/USDT"))
_ALL = 'exchange, symbol, "timestamp", trade_id, received_at, recorder, store, batch'


def rows(uri: str, sql: str) -> list[tuple[Any, ...]]:
    """What `lake query` returns."""
    with lake_query(uri, {}, sql) as answer:
        return list(answer.rows)


def tape(uri: str) -> list[tuple[Any, ...]]:
    """All of the tape, in an order of its own."""
    return rows(uri, f"SELECT * FROM ticks ORDER BY {_ALL}")


def stored(uri: str) -> int:
    """The rows of the table itself."""
    return int(rows(uri, "SELECT count(*) FROM recorded_ticks")[0][0])


def random_lake(uri: str, random: Random, batches: int) -> Callable[[int], None]:
    """Sends `batches` batches of made-up trades of three stores, twins and copies among them; returns what sends
    another one."""
    sent = dict.fromkeys(STORES, 0)
    known: set[tuple[object, ...]] = set()

    def send(count: int) -> None:
        for _ in range(count):
            recorder, store = random.choice(STORES)
            sent[recorder, store] += 1
            block = []
            for exchange, symbol in sorted(random.sample(MARKETS, 2)):
                for _ in range(random.randint(0, 12)):
                    number = random.randint(1, 30)
                    trade_id = None if exchange == "mexc" else str(number)
                    day = random.choice((0, 0, 0, 86_400))
                    ns = DAY_NS + (day + number) * SECOND_NS + random.randint(0, 1) * 1000 * (exchange == "mexc")
                    if trade_id is None or (recorder, store, exchange, trade_id) not in known:
                        block.append(Trade(exchange, symbol, trade_id, ns, f"{number}.000000000000000001"))
                    known.add((recorder, store, exchange, trade_id))
            ship(uri, recorder, store, [batch(sent[recorder, store], block)])

    send(batches)
    return send
