"""Bybit v5's REST side: the newest trades of a market, newest first, and no further."""

from actors.exchanges.contract.loopback import MS
from actors.exchanges.contract.loopback_market import Fill
from actors.exchanges.contract.loopback_rest import Find, Past, Question, Reply, error

ROWS = {"spot": (60, 60), "linear": (500, 1000), "inverse": (500, 1000)}


def _row(native: str, fill: Fill) -> str:
    return (
        f'{{"execId":"{fill.trade_id}","symbol":"{native}","price":"{fill.price}","size":"{fill.volume}",'
        f'"side":"{fill.side.capitalize()}","time":"{fill.ns // MS}","isBlockTrade":false,"isRPITrade":false,'
        f'"seq":"{fill.seq}"}}'
    )


def _answer(question: Question, find: Find) -> Reply:
    category, symbol = question.query.get("category", ""), question.query.get("symbol", "")
    tape = find(category, symbol) if category in ROWS else None
    if tape is None:
        said = "Not supported symbols" if category in ROWS else "params error: Category is invalid"
        return error(200, retCode=10001, retMsg=said, result={}, retExtInfo={}, time=0)
    limit = question.limit("limit", *ROWS[category])
    rows = [_row(tape.native, fill) for fill in tape.fills[-limit:][::-1]]
    result = f'{{"category":"{category}","list":[{",".join(rows)}]}}'
    time = tape.fills[-1].ns // MS if tape.fills else 0
    return Reply(f'{{"retCode":0,"retMsg":"OK","result":{result},"retExtInfo":{{}},"time":{time}}}')


BYBIT_PAST = Past(
    doc="https://bybit-exchange.github.io/docs/v5/market/recent-trade",
    paths=("/v5/market/recent-trade",),
    answer=_answer,
    units=600.0,
    window_s=5.0,
    too_many=Reply("access too frequent", 403, {"content-type": "text/plain"}),
)
