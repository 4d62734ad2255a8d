"""An exchange's trade history over REST: how pages of old trades are requested and parsed.

A `History` is to REST what a `Dialect` is to the WebSocket: a frozen value and pure functions, no I/O.
"""

import enum
from collections.abc import Callable, Mapping

from msgspec import Struct, field
from msgspec.structs import replace

from actors.exchanges.contract.feed import Market, Trades
from actors.exchanges.contract.rest import (
    DETAIL_CHARS_MAX,
    UNREADABLE,
    Busy,
    ErrorResponse,
    Garbled,
    RateLimit,
    Refused,
    RestRequest,
    origin,
)
from actors.model.ticks import Reason

__all__ = [
    "DETAIL_CHARS_MAX",
    "ID_DIGITS_MAX",
    "NEVER_NS",
    "UNREADABLE",
    "Busy",
    "ErrorResponse",
    "Garbled",
    "History",
    "Kind",
    "OddRow",
    "Page",
    "Query",
    "RateLimit",
    "Refused",
    "RestRequest",
    "TradeRange",
    "id_number",
]

ID_DIGITS_MAX = 20  # 64 bits have no more; a longer number is no id to count with
NEVER_NS = 2**63 - 1


class Kind(enum.StrEnum):
    """How old trades can be requested."""

    BY_ID = "by_id"
    BY_TIME = "by_time"
    RECENT_ONLY = "recent_only"  # the newest few, no way further back


class TradeRange(Struct, frozen=True, kw_only=True):
    """The trades wanted of one market, both ends inclusive: by ids where they are known, else by times.

    `from_id` and `to_id` are the first and last id that is missing; `from_ns` and `to_ns` the times (UTC)
    between which it lies, and may be the last trade's before and the first one's after. An end with both
    is filtered by its id; the time then only narrows the search. No upper end means: up to now.

    `ahead`: it is what is left of a range that ends at `to_ns`, and the pages have come down to `to_id` only, which
    is newer.

    `cut`: it is what is left of a range of which the history did not show all before: it never counts as complete.

    `cursor`: where the search for its first trade goes on, None to begin it.
    """

    from_id: int | None = None
    to_id: int | None = None
    from_ns: int | None = None
    to_ns: int | None = None
    ahead: bool = False
    cut: bool = False
    cursor: str | None = None

    def __post_init__(self) -> None:
        if self.from_id is None and self.from_ns is None:
            raise ValueError("a range needs a first id or a first time")
        for low, high in ((self.from_id, self.to_id), (self.from_ns, self.to_ns)):
            if low is not None and high is not None and low > high:
                raise ValueError("a range begins before it ends")

    @property
    def ids(self) -> int | None:
        """How many ids it spans, None where an end is not known by id."""
        if self.from_id is None or self.to_id is None:
            return None
        return self.to_id - self.from_id + 1


class Query(Struct, frozen=True, kw_only=True):
    """One page to request; `cursor` comes from the previous page, None for the first. At most `rows` rows.

    `now_ns` is the exchange's time when the page is requested, as far as it is known, so that `History.request`
    needs no clock (upbit counts days back from today). `answered_ns` is that when the answer came, for
    `History.parse`; 0 before.
    """

    market: Market
    channel: str
    trade_range: TradeRange
    rows: int
    cursor: str | None = None
    now_ns: int = 0
    answered_ns: int = 0


class OddRow(Struct, frozen=True):
    """A row of a page that is not a valid trade."""

    reason: Reason
    detail: str
    payload: bytes


class Page(Struct, frozen=True):
    """One answer: its valid trades, and the cursor of the next page, None where there is none.

    `whole_from_ns`: the pages so far lack no trade of this time of the exchange or later, up to where they began
    (newest first) or to their last row (forwards). None: only what the rows show (newest first), or that they begin
    where the range does (forwards). Forwards, a history that may be cut, at a number of rows or at a time, must
    state it: NEVER_NS where it shows nothing.

    `skips`: it is full of trades of one time, and the next page can only begin behind it: some may be missing.
    """

    trades: Trades
    cursor: str | None
    odd: tuple[OddRow, ...] = ()
    whole_from_ns: int | None = None
    skips: bool = False

    @property
    def ids(self) -> list[int]:
        """The ids that are numbers."""
        return [number for text in self.trades.trade_id if (number := id_number(text)) is not None]

    @property
    def times_ns(self) -> list[int]:
        """The times that are known."""
        return [time for time in self.trades.exchange_ns if time is not None]


def id_number(text: str | None) -> int | None:
    """The id as a number, None where it is none that can be counted with."""
    plain = text is not None and text.isascii() and text.isdecimal() and len(text) <= ID_DIGITS_MAX
    return int(text or "0") if plain else None


class History(Struct, frozen=True, kw_only=True):
    """How one exchange's old trades are fetched.

    - `summary`: how it is requested and how far back it reaches, in one line.
    - `request(query)`: the request for one page; raises Refused where the trade range cannot be requested this way.
    - `parse(body, headers, query)`: reads an answer with status 200 (header names in lower case);
      raises Garbled, Busy, Refused or one of UNREADABLE. Call it through `page`.
    - `parse_error(status, body)`: reads an answer with any other status, and decides whether the error is final.
      Call it through `error_response`.
    - `newest_first`: pages go backwards from the end of the trade range; otherwise forwards from its beginning.
    - `dense`: every id between two of a market's ids belongs to a trade that the history has.
    - `aggregated`: the channels where one row stands for several of the history's trades. The ids of such a
      row's inner trades are not missing: the caller must leave them out of the trade range, or the same volume
      is recorded twice.
    - `banned`: statuses that mean a ban of this address, and its duration in seconds.
    - `slack_ns`: how much the history's times may differ from the stream's.
    - `refuses_with_500`: final errors may also come with status 500; elsewhere such an answer is never final.
    """

    name: str
    kind: Kind
    depth: str
    doc: str
    doc_read: str
    base: str
    limits: tuple[RateLimit, ...]
    page_rows: int
    newest_first: bool
    request: Callable[[Query], RestRequest]
    parse: Callable[[bytes, Mapping[str, str], Query], Page]
    parse_error: Callable[[int, bytes], ErrorResponse]
    dense: bool = True
    aggregated: frozenset[str] = frozenset()
    banned: Mapping[int, float] = field(default_factory=dict)
    slack_ns: int = 0
    refuses_with_500: bool = False
    summary: str = ""
    notes: tuple[str, ...] = ()

    def origin(self, rest_url: str | None) -> str:
        """Scheme, host and port: those of `rest_url` where it is set."""
        return origin(rest_url or self.base)

    def page(self, body: bytes, headers: Mapping[str, str], query: Query) -> Page:
        """The page in an answer with status 200. Raises Refused and TransientError: an unexpected answer is the
        exchange's fault.
        """
        try:
            return self.parse(body, headers, query)
        except UNREADABLE as error:
            detail = (str(error) or type(error).__name__)[:DETAIL_CHARS_MAX]
            raise Garbled(f"the answer makes no sense: {detail}") from error

    def error_response(self, status: int, body: bytes) -> ErrorResponse:
        """Reads an answer with a status other than 200; never raises."""
        try:
            error = self.parse_error(status, body)
        except UNREADABLE:
            return ErrorResponse("")
        # The text of a failing server proves nothing about the request.
        return replace(error, final=False) if status >= 500 and not self.refuses_with_500 else error
