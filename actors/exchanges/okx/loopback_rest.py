"""OKX's REST side: trades and history-trades, single fills, newest first, as recorded in 2025."""

from collections.abc import Iterator

from actors.exchanges.contract.loopback import MS
from actors.exchanges.contract.loopback_market import Fill
from actors.exchanges.contract.loopback_rest import Find, Past, Question, Reply, Tape, error

ROWS_MAX = {"/api/v5/market/history-trades": 100, "/api/v5/market/trades": 500}
ROWS = 100
BY_TIME = "2"


def _row(native: str, fill: Fill) -> str:
    return (
        f'{{"instId":"{native}","side":"{fill.side}","sz":"{fill.volume}","px":"{fill.price}",'
        f'"tradeId":"{fill.trade_id}","ts":"{fill.ns // MS}"}}'
    )


def _back(tape: Tape, start: int) -> Iterator[Fill]:
    """Single fills, newest first, from this place on: what the feed told as one row has as many here."""
    for at in range(min(start, len(tape.fills) - 1), -1, -1):
        assert tape.market is not None
        yield from reversed(tape.market.parts(tape.fills[at]))


def _answer(question: Question, find: Find) -> Reply:
    tape = find("", question.query.get("instId", ""))
    if tape is None:
        return error(200, code="51001", msg="Instrument ID does not exist", data=[])
    limit = question.limit("limit", ROWS, ROWS_MAX[question.path])
    paged = question.path == "/api/v5/market/history-trades"
    after = question.number("after") if paged else None
    before = question.number("before") if paged else None
    if after is None:
        fills = _back(tape, len(tape.fills))
    elif question.query.get("type") == BY_TIME:
        fills = _back(tape, tape.at_ns(after * MS) - 1)
    else:
        fills = (fill for fill in _back(tape, tape.at_id(after)) if int(fill.trade_id) < after)
    rows: list[str] = []
    for fill in fills:
        if len(rows) == limit or (before is not None and int(fill.trade_id) <= before):
            break
        rows.append(_row(tape.native, fill))
    return Reply(f'{{"code":"0","msg":"","data":[{",".join(rows)}]}}')


OKX_PAST = Past(
    doc="https://www.okx.com/docs-v5/en/#order-book-trading-market-data-get-trades-history",
    paths=tuple(ROWS_MAX),
    answer=_answer,
    units=20.0,
    window_s=2.0,
    too_many=error(429, code="50011", msg="Too Many Requests", data=[]),
)
