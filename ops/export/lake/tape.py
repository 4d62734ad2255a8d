"""The tape as SQL: each trade once, whatever number of recorders stored it. DuckDB and DataFusion run it.

What identifies a trade depends on what its exchange promises of trade ids (IdPromise):

  numbered    ids are contiguous, and a row may stand for several of them: of rows that cover the same ids the one
              that covers most counts
  identified  the id identifies the trade: of rows with the same id one counts, the one received first
  composite   ids do not identify trades, so equal trades are told apart by their number: of the stores that have
              trades with this id, time, price, volume and side, the rows of one that has most of them count
  nameless    the same without ids: none is promised, and of one trade a row may have an id and another none

Only rows of one exchange, symbol and day are compared, so that an engine reads no others for a query about these.
A row without the id that its rule needs always counts. What a rule returns is left as it is by the same rule.
"""

from collections.abc import Iterable, Mapping

from actors.exchanges.registry import EXCHANGES
from actors.model.ticks import IdPromise
from actors.store.sql import sql_text

_MARKET = 'exchange, symbol, "day"'
_FIRST = "received_at, recorder, store, batch"
_NUMBER = "TRY_CAST(trade_id AS BIGINT)"
_ALIKE = f'{_MARKET}, "timestamp", price, volume, side'


def _most_twins(twins: str) -> str:
    """The rule for trades that are twins if these columns are equal."""
    return f"""
SELECT {{columns}} FROM (
  SELECT *, rank() OVER (PARTITION BY {twins} ORDER BY tape_twins DESC, tape_first, recorder, store) AS tape_rank
  FROM (
    SELECT *, count(*) OVER (PARTITION BY {twins}, recorder, store) AS tape_twins,
           min(received_at) OVER (PARTITION BY {twins}, recorder, store) AS tape_first
    FROM {{source}} WHERE {{where}}) AS twins) AS composite
WHERE tape_rank = 1"""


# {columns}, {source} and {where} are filled in. Every rule keeps `columns` in their order.
_RULES = {
    "numbered": f"""
SELECT {{columns}} FROM (
  SELECT *, max({_NUMBER}) OVER (
              PARTITION BY {_MARKET} ORDER BY {_NUMBER} - fills, {_NUMBER} DESC, {_FIRST}
              ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS tape_before
  FROM {{source}} WHERE {{where}}) AS numbered
WHERE tape_before IS NULL OR {_NUMBER} > tape_before OR {_NUMBER} IS NULL""",
    "identified": f"""
SELECT {{columns}} FROM (
  SELECT *, row_number() OVER (PARTITION BY {_MARKET}, trade_id ORDER BY {_FIRST}) AS tape_copy
  FROM {{source}} WHERE {{where}}) AS identified
WHERE tape_copy = 1 OR trade_id IS NULL""",
    "composite": _most_twins(f"{_ALIKE}, trade_id"),
    "nameless": _most_twins(_ALIKE),
}
_SPOT, _OTHER = " AND symbol NOT LIKE '%:%'", " AND symbol LIKE '%:%'"


def tape_sql(source: str, columns: str, exchanges: Iterable[str], dialects: Mapping[str, str]) -> str:
    """SELECT of the rows of `source`, of these exchanges, that are the tape.

    `source` has the columns of `ticks` in a lake. `dialects` are keys of the registry for exchanges of other names;
    of an exchange that is in neither, nothing is promised.
    """
    rules = _conditions(exchanges, dialects).items()
    parts = [_RULES[rule].format(columns=columns, source=source, where=where).strip() for rule, where in rules]
    return "\nUNION ALL\n".join(parts) or f"SELECT {columns} FROM {source} WHERE false"


def kept_sql(source: str, columns: str, exchange: str, dialects: Mapping[str, str]) -> str:
    """SELECT of the rows of `source`, all of this exchange, that must stay for the tape to stay as it is.

    These are its rows; but where ids do not identify trades all copies: a store may add equal ones later, and only
    all copies show how many it has in all.
    """
    rules = {**_RULES, **dict.fromkeys(("composite", "nameless"), "SELECT {columns} FROM {source} WHERE {where}")}
    found = _conditions([exchange], dialects).items()
    parts = [rules[rule].format(columns=columns, source=source, where=where).strip() for rule, where in found]
    return "\nUNION ALL\n".join(parts)


def _conditions(exchanges: Iterable[str], dialects: Mapping[str, str]) -> dict[str, str]:
    """For each rule, which rows it applies to. Each row is in one of them."""
    found: dict[str, dict[str, list[str]]] = {}
    for exchange in sorted(set(exchanges)):
        spot, other = _rules_of(dialects.get(exchange, exchange))
        for rule, kind in ((spot, ""),) if spot == other else ((spot, _SPOT), (other, _OTHER)):
            found.setdefault(rule, {}).setdefault(kind, []).append(sql_text(exchange))
    return {
        rule: " OR ".join(f"(exchange IN ({', '.join(names)}){kind})" for kind, names in kinds.items())
        for rule, kinds in sorted(found.items())
    }


def _rules_of(dialect: str) -> tuple[str, str]:
    """The rules of an exchange's spot markets and of its others."""
    promised = EXCHANGES[dialect].feed.ids if dialect in EXCHANGES else {}
    others = {_rule(promise) for kind, promise in promised.items() if kind != "spot"}
    spot = _rule(promised["spot"]) if "spot" in promised else None
    other = others.pop() if len(others) == 1 else None
    return spot or other or "composite", other or spot or "composite"


def _rule(promise: IdPromise) -> str:
    if promise is IdPromise.CONTIGUOUS:
        return "numbered"
    if promise is IdPromise.NONE:
        return "nameless"
    return "composite" if promise is IdPromise.REPEATED else "identified"
