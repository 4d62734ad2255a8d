"""Coinbase's trades over REST, newest first, with cursors in headers: for both of its loopback servers."""

from actors.exchanges.contract.loopback import rfc3339_us
from actors.exchanges.contract.loopback_market import Fill
from actors.exchanges.contract.loopback_rest import Find, HistoryServer, HttpRequest, HttpResponse, error

ROWS_MAX = 1000


def _row(fill: Fill) -> str:
    # `side` is the maker's: the opposite of the taker's.
    side = "sell" if fill.side == "buy" else "buy"
    return (
        f'{{"trade_id":{fill.trade_id},"side":"{side}","size":"{fill.volume}","price":"{fill.price}",'
        f'"time":"{rfc3339_us(fill.ns)}"}}'
    )


def _answer(request: HttpRequest, find: Find) -> HttpResponse:
    parts = request.path.split("/")
    tape = find("", parts[2]) if len(parts) == 4 and parts[3] == "trades" else None
    if tape is None:
        return error(404, message="NotFound")
    limit = request.limit("limit", ROWS_MAX, ROWS_MAX)
    after, before = request.number("after"), request.number("before")
    end = len(tape.fills) if after is None else tape.at_id(after)
    start = max(0, end - limit)
    if before is not None:  # newer than this id, and of those the newest
        start = max(start, tape.at_id(before + 1))
    rows = tape.fills[start:end][::-1]
    cursors = {"cb-before": rows[0].trade_id, "cb-after": rows[-1].trade_id} if rows else {}
    return HttpResponse(f"[{','.join(map(_row, rows))}]", headers=cursors)


HISTORY = HistoryServer(
    doc="https://docs.cdp.coinbase.com/exchange/rest-api/pagination",
    paths=("/products/",),
    answer=_answer,
    units=15.0,
    window_s=1.0,
    too_many=error(429, message="Public rate limit exceeded"),
)
