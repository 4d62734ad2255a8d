"""Helpers for history modules: strict parsing of REST answers, row by row where a row is invalid."""

from collections.abc import Callable, Sequence
from typing import Annotated, Generic, NamedTuple, TypeVar

import msgspec

from actors.exchanges.contract.feed import Trades
from actors.exchanges.contract.feed_helpers import inside
from actors.exchanges.contract.history import DETAIL_CHARS_MAX, UNREADABLE, Garbled, OddRow, Query
from actors.model.ticks import REJECT_PAYLOAD_BYTES_MAX, Reason
from actors.model.validation import FieldError, amounts, check_ids, check_times, why_refused

EXCERPT_CHARS = 120
ERROR_TEXT_CHARS = 300
ERROR_BYTES_MAX = 64 * 1024  # errors have some hundred bytes; a million of small values would take seconds
# A row of the exchanges known has at most 15 commas, inside and behind it. An answer with more is not split into
# its rows: it would cost seconds and hundreds of MB where 4 MiB hold a million of them.
ROW_COMMAS_MAX = 50
# Where the first so many rows are no trades, the rest is not read: a page of a whole day may have a million.
ODD_ROWS_MAX = 10_000

T = TypeVar("T")
TradeId = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


def decoded(decoder: "msgspec.json.Decoder[T]", body: bytes) -> T:
    """Decodes the answer; raises Garbled with an excerpt."""
    try:
        body.decode()  # msgspec does not look into strings that it skips
        return decoder.decode(body)
    except UNREADABLE as error:
        why = str(error)[:DETAIL_CHARS_MAX]
        raise Garbled(f"the answer makes no sense ({why}): {excerpt(body)}") from error


class Rows(NamedTuple, Generic[T]):
    """The rows of one page: the valid ones as decoded (`sound`) and as `trades`, and the invalid ones (`odd`)."""

    sound: list[T]
    trades: Trades
    odd: tuple[OddRow, ...]

    @property
    def total(self) -> int:
        """How many there were."""
        return len(self.sound) + len(self.odd)


_parts: "msgspec.json.Decoder[list[msgspec.Raw]]" = msgspec.json.Decoder(list[msgspec.Raw])


def read_rows(
    decoder: "msgspec.json.Decoder[list[T]]", body: bytes, columns: Callable[[list[T]], Trades], query: Query
) -> Rows[T]:
    """Decodes all rows at once, or row by row if one is invalid; raises Garbled if no row is valid.

    `columns` converts rows to Trades; it may raise any of UNREADABLE.
    """
    try:
        body.decode()
        rows = decoder.decode(body)
        return Rows(rows, _sound(columns(rows), query), ())
    except UNREADABLE as error:
        failure = error
    if body.count(b",") > ROW_COMMAS_MAX * query.rows:
        raise Garbled(f"the answer has more rows than the {query.rows} asked for: {excerpt(body)}") from failure
    sound, made, odd = list[T](), list[Trades](), list[OddRow]()
    for raw in decoded(_parts, body):
        part = bytes(raw)
        try:
            part.decode()
            row = decoder.decode(b"[" + part + b"]")
            made.append(_sound(columns(row), query))
        except UNREADABLE as error:
            detail = (str(error) or type(error).__name__)[:DETAIL_CHARS_MAX]
            odd.append(OddRow(why_refused(error)[0], detail, part[:REJECT_PAYLOAD_BYTES_MAX]))
        else:
            sound += row
        if len(odd) >= ODD_ROWS_MAX and not sound:
            break
    if not sound:
        why = str(failure)[:DETAIL_CHARS_MAX]
        raise Garbled(f"not one row of the answer is a trade ({why}): {excerpt(body)}") from failure
    return Rows(sound, _joined(made), tuple(odd))


def _sound(page: Trades, query: Query) -> Trades:
    """Normalizes the amounts to plain digits; raises FieldError if a row is no valid trade of this market."""
    if page.native.count(query.market.native) != len(page.native):
        other = next(native for native in page.native if native != query.market.native)
        raise FieldError(Reason.UNKNOWN_SYMBOL, f"a market that was not requested: {other[:60]!r}")
    page.price, page.volume = amounts(page.price, page.volume)
    check_times(page.exchange_ns)
    check_ids(page.trade_id)
    return page


def _joined(pages: Sequence[Trades]) -> Trades:
    whole = trades([], [], [], [], [], [])
    for page in pages:
        whole.native += page.native
        whole.price += page.price
        whole.volume += page.volume
        whole.side += page.side
        whole.trade_id += page.trade_id
        whole.exchange_ns += page.exchange_ns
        whole.snapshot += page.snapshot
    if any(page.off_book for page in pages):
        whole.off_book = [flag for page in pages for flag in page.off_book or [False] * len(page.price)]
    return whole


def excerpt(body: bytes) -> str:
    """The beginning of a body, in one line."""
    return " ".join(body[: 4 * EXCERPT_CHARS].decode("utf-8", "replace").split())[:EXCERPT_CHARS]


def error_json(body: bytes) -> object:
    """The JSON of an error's body; None if it is not JSON, or longer than any error."""
    if len(body) > ERROR_BYTES_MAX:
        return None
    try:
        return msgspec.json.decode(body)
    except UNREADABLE:
        return None


def error_text(body: bytes, *keys: str) -> str:
    """The values of these keys in an error's JSON object, else an excerpt of the body."""
    message = error_json(body)
    values = (inside(message, key) for key in keys)
    texts = [str(value)[:ERROR_TEXT_CHARS] for value in values if isinstance(value, str | int)]
    return " ".join(filter(None, texts)) or excerpt(body)


def trades(
    native: Sequence[str],
    price: Sequence[str],
    volume: Sequence[str],
    side: Sequence[str | None],
    trade_id: Sequence[str | None],
    exchange_ns: Sequence[int | None],
) -> Trades:
    """Trades of columns; none is marked as a snapshot."""
    return Trades(
        native=list(native),
        price=list(price),
        volume=list(volume),
        side=list(side),
        trade_id=list(trade_id),
        exchange_ns=list(exchange_ns),
        snapshot=[False] * len(price),
    )


NO_TRADES = trades([], [], [], [], [], [])
