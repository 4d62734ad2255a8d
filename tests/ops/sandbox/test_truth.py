"""The comparison of trades made with trades stored finds whatever is not as it should be."""

from collections.abc import Iterator

import duckdb
import pytest

from actors.exchanges.contract.loopback_market import Fill
from ops.sandbox import Sandbox
from ops.sandbox.truth import Account, Untrue, compare, newest

TRADES = 20
TABLES = """
SET TimeZone = 'UTC';
CREATE TABLE ticks (exchange VARCHAR, symbol VARCHAR, timestamp TIMESTAMPTZ, price DECIMAL(38,18),
    volume DECIMAL(38,18), side VARCHAR, trade_id VARCHAR, source VARCHAR, fills BIGINT,
    received_at TIMESTAMPTZ);
CREATE TABLE gaps (exchange VARCHAR, symbol VARCHAR, from_id VARCHAR, to_id VARCHAR, from_time TIMESTAMPTZ,
    to_time TIMESTAMPTZ, closed_at TIMESTAMPTZ, status VARCHAR, recovered BIGINT);
CREATE TABLE coverage (exchange VARCHAR, symbol VARCHAR, from_time TIMESTAMPTZ, to_time TIMESTAMPTZ,
    proof VARCHAR);
CREATE TABLE audit (received BIGINT, stored BIGINT, duplicates BIGINT, rejected BIGINT, in_flight BIGINT);
"""


@pytest.fixture
def made() -> Sandbox:
    """An exchange of which each market has traded, and that nobody has asked for anything."""
    sandbox = Sandbox(["binance"])
    exchange = sandbox.exchanges["binance"]
    for category, native in exchange.listings:
        market = exchange.market(category, native)
        while len(sandbox.truth["binance"][market.symbol]) < TRADES:
            exchange.trade(market)
    return sandbox


@pytest.fixture
def file(made: Sandbox) -> Iterator[duckdb.DuckDBPyConnection]:
    """A file that has every trade, the last one of each market from the history."""
    with duckdb.connect() as con:
        con.execute(TABLES)
        for symbol, fills in made.truth["binance"].items():
            for fill in fills:
                source = "backfill" if fill is fills[-1] else "stream"
                con.execute(
                    "INSERT INTO ticks VALUES ('binance', ?, make_timestamptz(?), ?, ?, ?, ?, ?, ?, now())",
                    [
                        symbol,
                        fill.ns // 1000,
                        fill.price,
                        fill.volume,
                        fill.side,
                        fill.trade_id,
                        source,
                        fill.count,
                    ],
                )
        yield con


def one_of(made: Sandbox) -> tuple[str, Fill]:
    """A trade in the middle of a market."""
    symbol, fills = next(iter(made.truth["binance"].items()))
    return symbol, fills[TRADES // 2]


def without_it(made: Sandbox, file: duckdb.DuckDBPyConnection) -> tuple[str, Fill]:
    symbol, fill = one_of(made)
    file.execute("DELETE FROM ticks WHERE symbol = ? AND trade_id = ?", [symbol, fill.trade_id])
    return symbol, fill


def test_a_file_that_has_every_trade_once_is_true(made: Sandbox, file: duckdb.DuckDBPyConnection) -> None:
    count = sum(len(fills) for fills in made.truth["binance"].values())
    markets = len(made.truth["binance"])
    verdict = compare(file, made, newest(made))
    assert verdict.exchanges == {"binance": Account(made=count, stored=count, repaired=markets)}
    assert verdict.total == verdict.exchanges["binance"] and verdict.listed == {}


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (
            "INSERT INTO ticks SELECT * FROM ticks WHERE symbol = $1 AND trade_id = $2",
            r"is stored twice \(stream received .*; stream received .*\), of 1 up to",
        ),
        ("UPDATE ticks SET price = price + 1 WHERE symbol = $1 AND trade_id = $2", "is stored as"),
        ("UPDATE ticks SET side = NULL WHERE symbol = $1 AND trade_id = $2", "is stored as"),
        ("UPDATE ticks SET trade_id = '7' WHERE symbol = $1 AND trade_id = $2", "7 is stored and was never traded"),
        ("DELETE FROM ticks WHERE symbol = $1 AND trade_id = $2", "neither stored nor listed"),
        ("DELETE FROM ticks WHERE symbol = $1 AND $2 <> ''", "nothing is stored"),
        ("INSERT INTO audit VALUES (length($1), 0, length($2), 0, 0)", "does not add up"),
    ],
)
def test_whatever_differs_is_found(change: str, found: str, made: Sandbox, file: duckdb.DuckDBPyConnection) -> None:
    symbol, fill = one_of(made)
    file.execute(change, [symbol, fill.trade_id])
    with pytest.raises(Untrue, match=found):
        compare(file, made, newest(made))


@pytest.mark.parametrize("unit", ["millisecond", "second"])
def test_a_history_may_have_coarser_times_and_no_others(
    unit: str, made: Sandbox, file: duckdb.DuckDBPyConnection
) -> None:
    coarser = (
        f"UPDATE ticks SET timestamp = date_trunc('{unit}', timestamp - INTERVAL {{off}} SECOND) WHERE source = ?"
    )
    file.execute(coarser.format(off=0), ["backfill"])
    compare(file, made, newest(made))
    file.execute(coarser.format(off=1), ["backfill"])
    with pytest.raises(Untrue, match="is stored as"):
        compare(file, made, newest(made))


def test_a_missing_trade_may_lie_in_a_gap_that_is_listed(made: Sandbox, file: duckdb.DuckDBPyConnection) -> None:
    symbol, fill = without_it(made, file)
    before, after = int(fill.trade_id) - 1, int(fill.trade_id) + 1
    gap = "INSERT INTO gaps VALUES ('binance', ?, ?, ?, now(), now(), now(), 'lost', 0)"
    file.execute(gap, [symbol, str(before), str(after)])
    verdict = compare(file, made, newest(made))
    assert verdict.listed == {"binance": 1} and verdict.total.unproven == 0
    file.execute("UPDATE gaps SET status = 'filled'")
    with pytest.raises(Untrue, match="neither stored nor listed"):
        compare(file, made, newest(made))


def test_a_missing_trade_may_be_unproven_only_where_coverage_claims_nothing(
    made: Sandbox, file: duckdb.DuckDBPyConnection
) -> None:
    symbol, fill = without_it(made, file)
    covered = "INSERT INTO coverage VALUES ('binance', ?, make_timestamptz(?), make_timestamptz(?), ?)"
    file.execute(covered, [symbol, fill.ns // 1000 - 5, fill.ns // 1000 + 5, "none"])
    assert compare(file, made, newest(made), unproven_allowed=True).total.unproven == 1
    file.execute("UPDATE coverage SET proof = 'ids'")
    with pytest.raises(Untrue, match="neither stored nor listed"):
        compare(file, made, newest(made), unproven_allowed=True)


def test_an_exchange_that_was_asked_too_much_is_reported(made: Sandbox, file: duckdb.DuckDBPyConnection) -> None:
    made.struck["binance"]["rest_impatient"] += 1
    with pytest.raises(Untrue, match="asked too much"):
        compare(file, made, newest(made))
