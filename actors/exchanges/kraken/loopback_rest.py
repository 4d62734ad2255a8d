"""Kraken spot's REST side: a pair's trades since a time, oldest first, as recorded in 2025."""

from actors.exchanges.contract.loopback import compact
from actors.exchanges.contract.loopback_market import Fill
from actors.exchanges.contract.loopback_rest import Find, Past, Question, Reply

ROWS_MAX = 1000
RENAMED = {"XBT": "BTC", "XDG": "DOGE"}
QUOTES = ("USDT", "USDC", "USD", "EUR", "GBP", "BTC", "XBT")


def _native(pair: str) -> tuple[str, str]:
    """The WebSocket's name of a pair and the REST answer's: XBTUSD is BTC/USD and XXBTZUSD."""
    quote = next((quote for quote in QUOTES if pair.endswith(quote) and len(pair) > len(quote)), "")
    base = pair.removesuffix(quote)
    own = f"X{base}Z{quote}" if quote in ("USD", "EUR", "GBP") and base in ("XBT", "ETH") else pair
    return f"{RENAMED.get(base, base)}/{RENAMED.get(quote, quote)}", own


def _row(fill: Fill) -> str:
    # The time is a JSON number, so the zeros at its end are not there.
    seconds, fraction = divmod(fill.ns // 100, 10_000_000)
    time = f"{seconds}.{fraction:07d}".rstrip("0").rstrip(".")
    kind = "l" if fill.order % 3 else "m"
    return f'["{fill.price}","{fill.volume}",{time},"{fill.side[0]}","{kind}","",{fill.trade_id}]'


def _errors(*words: str) -> Reply:
    """Errors come with status 200."""
    return Reply(compact({"error": list(words)}))


def _answer(question: Question, find: Find) -> Reply:
    native, own = _native(question.query.get("pair", ""))
    tape = find("", native)
    if tape is None:
        return _errors("EQuery:Unknown asset pair")
    count, since = question.limit("count", ROWS_MAX, ROWS_MAX), question.number("since")
    start = max(0, len(tape.fills) - count) if since is None else tape.at_ns(since + 1)
    rows = tape.fills[start : start + count]
    last = rows[-1].ns if rows else since or 0
    return Reply(f'{{"error":[],"result":{{"{own}":[{",".join(map(_row, rows))}],"last":"{last}"}}}}')


KRAKEN_PAST = Past(
    doc="https://docs.kraken.com/api/docs/rest-api/get-recent-trades",
    paths=("/0/public/Trades",),
    answer=_answer,
    units=10.0,  # about one a second
    window_s=10.0,
    too_many=_errors("EGeneral:Too many requests"),
)
