"""Binance spot's REST side: trades, historicalTrades and aggTrades, oldest first, as recorded in 2020 and 2023."""

from collections.abc import Sequence
from decimal import Decimal
from itertools import groupby

from actors.exchanges.contract.loopback import MS
from actors.exchanges.contract.loopback_market import Fill
from actors.exchanges.contract.loopback_rest import Find, Past, Question, Reply, Tape, error

ROWS, ROWS_MAX = 500, 1000
HOUR_MS = 3_600_000
WEIGHTS = {"/api/v3/historicalTrades": 25.0, "/api/v3/trades": 25.0, "/api/v3/aggTrades": 4.0}


def _bool(value: bool) -> str:
    return "true" if value else "false"


def _row(fill: Fill) -> str:
    quote = f"{Decimal(fill.price) * Decimal(fill.volume):.8f}"
    return (
        f'{{"id":{fill.trade_id},"price":"{fill.price}","qty":"{fill.volume}","quoteQty":"{quote}",'
        f'"time":{fill.ns // MS},"isBuyerMaker":{_bool(fill.side == "sell")},"isBestMatch":true}}'
    )


def _aggregates(fills: Sequence[Fill]) -> list[tuple[int, list[Fill]]]:
    """Fills of one order at one price together, counted from 0 at the oldest that is kept."""
    groups = groupby(fills, key=lambda fill: (fill.order, fill.price))
    return [(number, list(group)) for number, (_, group) in enumerate(groups)]


def _aggregate_row(number: int, fills: Sequence[Fill]) -> str:
    volume, first, last = sum(Decimal(fill.volume) for fill in fills), fills[0], fills[-1]
    return (
        f'{{"a":{number},"p":"{first.price}","q":"{volume:f}","f":{first.trade_id},"l":{last.trade_id},'
        f'"T":{first.ns // MS},"m":{_bool(first.side == "sell")},"M":true}}'
    )


def _chosen(question: Question, tape: Tape, limit: int) -> Sequence[tuple[int, list[Fill]]] | Reply:
    from_id, start, end = (question.number(name) for name in ("fromId", "startTime", "endTime"))
    rows = _aggregates(tape.fills)
    if from_id is not None:
        return rows[from_id : from_id + limit]
    if start is not None and end is not None and end - start > HOUR_MS:
        return error(400, code=-1127, msg="More than 1 hours between startTime and endTime.")
    if start is not None:
        rows = [row for row in rows if row[1][0].ns // MS >= start]
    if end is not None:
        rows = [row for row in rows if row[1][0].ns // MS <= end]
    return rows[:limit] if start is not None else rows[-limit:]


def _answer(question: Question, find: Find) -> Reply:
    if "symbol" not in question.query:
        return error(
            400, code=-1102, msg="Mandatory parameter 'symbol' was not sent, was empty/null, or malformed."
        )
    tape = find("", question.query["symbol"])
    if tape is None:
        return error(400, code=-1121, msg="Invalid symbol.")
    limit = question.limit("limit", ROWS, ROWS_MAX)
    if question.path == "/api/v3/aggTrades":
        chosen = _chosen(question, tape, limit)
        if isinstance(chosen, Reply):
            return chosen
        return Reply(f"[{','.join(_aggregate_row(number, fills) for number, fills in chosen)}]")
    from_id = question.number("fromId") if question.path == "/api/v3/historicalTrades" else None
    start = max(0, len(tape.fills) - limit) if from_id is None else tape.at_id(from_id)
    return Reply(f"[{','.join(map(_row, tape.fills[start : start + limit]))}]")


BINANCE_PAST = Past(
    doc="https://github.com/binance/binance-spot-api-docs/blob/master/rest-api.md",
    paths=tuple(WEIGHTS),
    answer=_answer,
    units=6000.0,
    window_s=60.0,
    cost=lambda question: WEIGHTS[question.path],
    too_many=Reply('{"code":-1003,"msg":"Too much request weight used."}', 429, {"retry-after": "10"}),
)
