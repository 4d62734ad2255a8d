"""Made-up batches for a lake: known trades of several recorders, and batches without end from a seed.

    small_lake(uri)                                       three recorders, two of which saw the same market
    ship(uri, "tokyo", "store-1", [batch(1, trades)])     any batches of one recorder

Rows pass through the same SQL as those of the store.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from random import Random
from typing import Any

import duckdb
from arro3.core import Table

from actors.model.batch import FIELDS, Batch
from actors.model.records import (
    AuditRow,
    EventRow,
    FeedEvent,
    FeedRow,
    GapReason,
    GapRow,
    GapStatus,
    InstrumentRow,
    LagRow,
)
from actors.model.schema import Schema
from actors.model.ticks import Block, Reason, Reject
from actors.sink.lake.delta import DeltaLake
from actors.sink.lake.lake import Batches, Shipped
from actors.store.checksum import checksum_sql

DAY = date(2026, 11, 2)
SECOND_NS = 1_000_000_000
DAY_NS = (DAY - date(1970, 1, 1)).days * 86_400 * SECOND_NS  # midnight at its begin
# The time that decides a row's day.
TIMES: Mapping[str, str] = {
    "ticks": "coalesce(timestamp, received_at)",
    "rejects": "received_at",
    "instruments": "seen_at",
}


@dataclass(frozen=True, slots=True)
class Trade:
    """One trade as a recorder stores it; `ns` is the exchange's time, receipt is 50 ms later."""

    exchange: str
    symbol: str
    trade_id: str | None
    ns: int
    price: str = "60000.5"
    volume: str = "0.25"
    side: str | None = "buy"
    source: str = "stream"


def trades(exchange: str, symbol: str, ids: Sequence[int], *, start_ns: int = DAY_NS) -> list[Trade]:
    """Trades with these ids, one a second by id; the price follows from the id."""
    return [Trade(exchange, symbol, str(i), start_ns + i * SECOND_NS, price=f"{60_000 + i}.25") for i in ids]


def batch(number: int, ticks: Sequence[Trade], **others: Any) -> Batch:
    """A batch with these trades in order; `others` are the batch's other fields (gaps, feeds, audit ...)."""
    blocks: list[Block] = []
    for trade in ticks:
        if not blocks or blocks[-1].exchange != trade.exchange:
            blocks.append(Block(trade.exchange))
        blocks[-1].extend(
            [trade.symbol],
            [trade.ns],
            [trade.ns + SECOND_NS // 20],
            [trade.price],
            [trade.volume],
            [trade.side],
            [trade.trade_id],
            [trade.source],
        )
    return Batch(number, tuple(blocks), **others)


@cache
def _instance() -> duckdb.DuckDBPyConnection:
    """One for all batches: to make it takes longer than to use it."""
    return duckdb.connect(config={"threads": 1})


def to_batches(store_id: str, above: int, through: int, found: Sequence[Batch]) -> Batches:
    """What a store returns for these batches."""
    con = _instance().cursor()
    con.execute("SET TimeZone = 'UTC'")
    tables: dict[str, Any] = {}
    shipped: list[Shipped] = []
    for schema in FIELDS:
        parts = [one for one in found if one.rows_of(schema)]
        if parts:
            tables[schema.name] = _rows(con, schema, parts)
            con.register("rows", tables[schema.name])
            shipped += _shipped(con, schema, tables[schema.name])
            con.unregister("rows")
    con.close()
    return Batches(store_id, above, through, sum(one.ticks for one in found), tables, tuple(shipped))


def _rows(con: duckdb.DuckDBPyConnection, schema: Schema, parts: Sequence[Batch]) -> Table:
    selects = []
    for index, one in enumerate(parts):
        con.register(f"part{index}", one.arrow(schema))
        typed = schema.select(f"part{index}")
        time = TIMES.get(schema.name, '"at"')
        selects.append(f"SELECT *, {one.number}::BIGINT AS batch, ({time})::DATE AS day FROM ({typed})")
    return Table.from_arrow(con.sql(" UNION ALL ".join(selects)))


def _shipped(con: duckdb.DuckDBPyConnection, schema: Schema, rows: Table) -> list[Shipped]:
    exchange = "exchange" if "exchange" in rows.column_names else "''"
    found = con.execute(
        f"SELECT {exchange}, day, count(*), {checksum_sql(schema)} FROM rows GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    return [Shipped(schema.name, of, day, count, checksum) for of, day, count, checksum in found]


def ship(
    uri: str, recorder: str, store_id: str, found: Sequence[Batch], options: Mapping[str, str] | None = None
) -> None:
    """Commits these batches of one recorder, each in a commit of its own."""
    lake = DeltaLake(uri, recorder, options or {})
    for one in found:
        lake.commit(to_batches(store_id, lake.marks(store_id).committed, one.number, [one]))
    lake.close()


def small_lake(uri: str, options: Mapping[str, str] | None = None) -> dict[str, list[Trade]]:
    """Creates a lake of three recorders and returns the trades that each stored.

    `tokyo` and `london` record binance BTC/USDT: ids 1 to 100, of which tokyo lacks 41 to 50 (a gap that stays
    unknown) and london 71 to 80; both have all others. `tokyo` alone records upbit, whose trades have no ids and
    where two are equal. `virginia` records kraken ETH/USD, ids 1 to 30, with a gap from 11 to 20 that nobody
    covers. Each sends three batches.
    """
    market = ("binance", "BTC/USDT")
    equal = Trade("upbit", "ETH/KRW", None, DAY_NS + 5 * SECOND_NS, "4000000", "0.5", "sell")
    upbit = [equal, equal, replace(equal, volume="0.75"), replace(equal, ns=equal.ns + SECOND_NS)]
    stored = {
        "tokyo": [*trades(*market, [i for i in range(1, 101) if not 41 <= i <= 50]), *upbit],
        "london": trades(*market, [i for i in range(1, 101) if not 71 <= i <= 80]),
        "virginia": trades("kraken", "ETH/USD", [i for i in range(1, 31) if not 11 <= i <= 20]),
    }
    gaps = {
        "tokyo": _gap(*market, 40, 51),
        "london": _gap(*market, 70, 81),
        "virginia": _gap("kraken", "ETH/USD", 10, 21),
    }
    for recorder, all_of_it in stored.items():
        third = len(all_of_it) // 3 + 1
        parts = [all_of_it[at : at + third] for at in range(0, len(all_of_it), third)]
        feeds = _feeds(recorder, {(one.exchange, one.symbol) for one in all_of_it})
        ship(
            uri,
            recorder,
            f"store-of-{recorder}",
            [
                batch(1, parts[0], feeds=feeds, instruments=(_instrument(all_of_it[0]),)),
                batch(2, parts[1], gaps=(gaps[recorder],), audit=(_audit(recorder, all_of_it[0].exchange, 100),)),
                batch(3, parts[2], audit=(_audit(recorder, all_of_it[0].exchange, 101),), events=(_event(),)),
            ],
            options,
        )
    return stored


def _feeds(recorder: str, markets: set[tuple[str, str]]) -> tuple[FeedRow, ...]:
    return tuple(
        FeedRow(DAY_NS, exchange, symbol, FeedEvent.STARTED, f"run-of-{recorder}", time_ns=DAY_NS)
        for exchange, symbol in sorted(markets)
    )


def _gap(exchange: str, symbol: str, before: int, after: int) -> GapRow:
    return GapRow(
        DAY_NS + after * SECOND_NS,
        f"{exchange}-{before}",
        exchange,
        symbol,
        GapReason.SEQUENCE,
        DAY_NS + after * SECOND_NS,
        closed_ns=DAY_NS + after * SECOND_NS,
        from_id=str(before),
        to_id=str(after),
        from_ns=DAY_NS + before * SECOND_NS,
        to_ns=DAY_NS + after * SECOND_NS,
        missing=after - before - 1,
        status=GapStatus.UNKNOWN,
    )


def _audit(recorder: str, exchange: str, at_s: int) -> AuditRow:
    return AuditRow(DAY_NS + at_s * SECOND_NS, exchange, 0, 100, 100, 0, 0, 0, f"run-of-{recorder}")


def _event() -> EventRow:
    return EventRow(DAY_NS + 60 * SECOND_NS, "service", "started", detail_json='{"made": "up"}')


def _instrument(trade: Trade) -> InstrumentRow:
    base, _, quote = trade.symbol.partition("/")
    return InstrumentRow(
        trade.exchange,
        trade.symbol,
        base + quote,
        "spot",
        base,
        quote,
        None,
        "base",
        None,
        "0.01",
        "0.00000001",
        True,
        DAY_NS,
    )


class MadeUpSource:
    """A store of batches 1, 2, 3 ... up to `last`, which follow from `seed`: a `lake.BatchSource`.

    Batches hold up to `ticks_max` ticks of a few markets on two days, and a part `rare` of them rows of each other
    table.
    Any number of processes with one seed have the same batches. `trade_ids` is what must be in the lake.
    """

    def __init__(self, seed: int, store_id: str, last: int, ticks_max: int = 20, rare: float = 0.3) -> None:
        self.seed, self._store_id, self.last, self._ticks_max, self._rare = seed, store_id, last, ticks_max, rare

    @property
    def store_id(self) -> str:
        """The id of the store."""
        return self._store_id

    def batches(self, above: int, rows_max: int, through: int | None = None) -> Batches | None:
        """See lake.BatchSource."""
        found: list[Batch] = []
        for number in range(above + 1, (through or self.last) + 1):
            found.append(self.batch(number))
            if through is None and sum(one.rows for one in found) >= rows_max:
                break
        return to_batches(self.store_id, above, found[-1].number, found) if found else None

    def batch(self, number: int) -> Batch:
        """The batch of this number; its trade ids are NUMBER-INDEX."""
        random = Random(f"{self.seed}/{self.store_id}/{number}")
        markets = [("binance", "BTC/USDT"), ("binance", "ETH/USDT"), ("kraken", "BTC/USD")]
        ticks = []
        for index in range(random.randint(0, self._ticks_max)):
            exchange, symbol = random.choice(markets)
            ns = DAY_NS + number * SECOND_NS + random.choice((0, 0, 0, 86_400 * SECOND_NS))
            ticks.append(
                Trade(exchange, symbol, f"{number}-{index}", ns, f"{random.randint(1, 10**9)}.000000000000000001")
            )
        ticks.sort(key=lambda trade: trade.exchange)
        at, run = DAY_NS + number * SECOND_NS, f"run-{self.store_id}"
        others = ("rejects", "gaps", "feeds", "lags", "instruments", "events")
        few = {name: random.random() < self._rare for name in others}
        return batch(
            number,
            ticks,
            audit=(AuditRow(at, "binance", 1, number, number, 0, 0, 0, run),),
            rejects=(Reject(at, "kraken", None, Reason.NOT_JSON, str(number), b"{", 1),) if few["rejects"] else (),
            gaps=(replace(_gap("kraken", "BTC/USD", number, number + 2), at_ns=at),) if few["gaps"] else (),
            feeds=(FeedRow(at, "binance", "BTC/USDT", FeedEvent.STARTED, run),) if few["feeds"] else (),
            lags=(LagRow(at, "binance", number, 1.0, 2.0, 0.5, 3.0, 0, run),) if few["lags"] else (),
            instruments=(_instrument(Trade("binance", "BTC/USDT", None, at)),) if few["instruments"] else (),
            events=(EventRow(at, "test", str(number)),) if few["events"] else (),
        )

    def expected(self, through: int | None = None) -> dict[str, int]:
        """The rows of each table of the lake in the batches up to `through`."""
        return {
            schema.name: sum(self.batch(n).rows_of(schema) for n in range(1, (through or self.last) + 1))
            for schema in FIELDS
        }

    def trade_ids(self, through: int | None = None) -> list[str]:
        """The ids of all trades of the batches up to `through`, sorted."""
        numbers = range(1, (through or self.last) + 1)
        return sorted(i for n in numbers for block in self.batch(n).blocks for i in block.trade_id if i is not None)
