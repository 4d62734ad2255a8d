"""The last price of each market, from what reaches the buffer."""

from actors.model.columns import PACK_ROWS_MIN
from actors.model.ticks import Block
from ops.monitoring.dashboard.prices import MARKETS_MAX, Prices


def block(exchange: str, *ticks: tuple[str, str, int], source: str = "stream") -> Block:
    """Ticks of (symbol, price, received_ns)."""
    made = Block(exchange)
    for symbol, price, at_ns in ticks:
        made.extend([symbol], [at_ns - 5], [at_ns], [price], ["1"], ["buy"], ["7"], [source])
    return made


def test_the_newest_trade_of_each_market_is_its_last_price() -> None:
    prices = Prices()
    prices.show([block("a", ("X/Y", "1.10", 1_000_000), ("Z/Y", "5", 2_000_000), ("X/Y", "1.20", 3_000_000))])
    prices.show([block("b", ("X/Y", "1.3", 4_000_000)), block("a", ("Z/Y", "6", 5_000_000))])
    rows, left_out = prices.rows([("a", "Z/Y"), ("a", "X/Y"), ("a", "Q/Y"), ("b", "X/Y")])
    assert left_out == 0
    assert rows == [("a", "X/Y", "1.20", 3), ("b", "X/Y", "1.3", 4), ("a", "Q/Y", None, None), ("a", "Z/Y", "6", 5)]


def test_of_a_large_block_the_end_is_read_without_unpacking_it() -> None:
    rows = [("X/Y" if at % 2 else "Z/Y", f"{at}.5", at * 1_000_000) for at in range(PACK_ROWS_MIN + 1)]
    large = block("a", *rows)
    large.pack()
    assert large.arrays is not None
    prices = Prices()
    prices.show([large])
    assert large.arrays is not None
    found, _ = prices.rows([("a", "X/Y"), ("a", "Z/Y")])
    assert found == [("a", *rows[-2][:2], PACK_ROWS_MIN - 1), ("a", *rows[-1][:2], PACK_ROWS_MIN)]
    seldom = block("b", ("X/Y", "7", 1_000_000), *[("Z/Y", "9", 2_000_000)] * PACK_ROWS_MIN)
    seldom.pack()
    prices.show([seldom])
    assert prices.rows([("b", "X/Y"), ("b", "Z/Y")])[0] == [("b", "X/Y", None, None), ("b", "Z/Y", "9", 2)]


def test_trades_fetched_later_are_not_a_markets_last() -> None:
    prices = Prices()
    prices.show([block("a", ("X/Y", "1", 1_000_000))])
    old = block("a", ("X/Y", "0.5", 9_000_000), source="backfill")
    prices.show([old])
    prices.show([block("a", *[("X/Y", "0.5", 9_000_000)] * PACK_ROWS_MIN, source="backfill")])
    assert prices.rows([("a", "X/Y")]) == ([("a", "X/Y", "1", 1)], 0)


def test_only_recorded_markets_are_kept_and_not_more_than_can_be_shown() -> None:
    prices = Prices()
    prices.show([block("a", ("OLD/Y", "1", 1_000_000))])
    assert prices.rows([("a", "OLD/Y")])[0] == [("a", "OLD/Y", "1", 1)]
    many = [("a", f"M{number}/Y") for number in range(MARKETS_MAX + 5)]
    rows, left_out = prices.rows([*many, ("b", "M0/Y")])
    assert (len(rows), left_out) == (MARKETS_MAX, 6)
    assert [row[:2] for row in rows[:2]] == [("a", "M0/Y"), ("b", "M0/Y")]  # recorded on most exchanges
    assert prices.rows([("a", "OLD/Y")])[0] == [("a", "OLD/Y", None, None)]
