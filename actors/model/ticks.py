"""The tick schema in memory: columns of one exchange's ticks, and rejects with their reasons."""

import enum
from collections.abc import Sequence
from itertools import compress
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Struct

from actors.model.columns import PACK_ROWS_MIN, pack
from actors.model.schema import DECIMAL, INSTANT, Stored, schema_of

REJECT_PAYLOAD_BYTES_MAX = 64 * 1024  # the evidence of a reject, bounded
REJECT_DETAIL_CHARS_MAX = 300
ROW_BYTES = 500  # the memory of a row without evidence; the unit of mailbox bounds
OFF_BOOK = "off_book"  # the source of rows that are not stored: their ids count as seen
AFTER_BREAK = "after_break"  # the source of live rows before which others are missing, until that is a gap
OFF_BOOK_AFTER_BREAK = "off_book_after_break"  # of rows that are both, until that is a gap
FEW_ROWS = 3  # are taken out of a block one by one


class Reason(enum.StrEnum):
    """Why something received is not a tick. The strings are stored and queried: never renamed."""

    NOT_UTF8 = "not_utf8"  # the bytes are not text, wherever in the message
    NOT_GZIP = "not_gzip"  # the exchange compresses its messages, and this is not a complete one
    NOT_JSON = "not_json"  # text, but neither JSON nor a known text message of the exchange
    UNKNOWN_MESSAGE = "unknown_message"  # valid JSON of a type that the dialect does not know
    OVERSIZE = "oversize"  # larger than the dialect's message limit, as sent or once decompressed
    MISSING_FIELD = "missing_field"  # a trade without a required field
    BAD_TYPE = "bad_type"  # a field of a JSON type other than documented
    BAD_PRICE = "bad_price"  # not a positive decimal that DECIMAL(38,18) holds exactly
    BAD_VOLUME = "bad_volume"  # the same for the volume
    BAD_SIDE = "bad_side"  # neither of the exchange's two names of sides
    BAD_TIME = "bad_time"  # no time, none between 1970 and 2200, or far ahead of the exchange's other trades
    BAD_ID = "bad_id"  # empty, endless, not printable, or it leaps and the next trades deny it
    BAD_COUNT = "bad_count"  # it claims to stand for more trades than one order can make
    OFF_BOOK = "off_book"  # a fill that never met the order book: insurance fund, deleveraging, negotiated
    UNKNOWN_SYMBOL = "unknown_symbol"  # a trade of a market that was never requested
    UNSTORABLE = "unstorable"  # a row that passed every check, but that the store cannot hold
    CRASHED = "crashed"  # it crashed the actor that handled it three times; the detail holds the traceback


class Reject(Struct, frozen=True):
    """A message or trade that was not stored; `payload` is its first 64 KiB, `payload_bytes` its size."""

    received_ns: Annotated[int, Stored("received_at", INSTANT)]
    exchange: str
    symbol: str | None
    reason: Reason
    detail: str
    payload: bytes
    payload_bytes: int

    @property
    def evidence_bytes(self) -> int:
        """The size of its evidence, in memory and in the file."""
        return ROW_BYTES + len(self.payload) + len(self.detail)


REJECTS = schema_of("rejects", Reject)


class _Ticks:
    """The columns of the table `ticks`, in order: a block holds a list for each, and its exchange once.

    `symbol` is unified; `exchange_ns` and `received_ns` are nanoseconds UTC, the former None if the exchange sends
    no time; `price` and `volume` are plain decimal digits; `side` is the taker's, 'buy', 'sell' or None; `source`
    is 'stream', 'snapshot' or 'backfill' or, until continuity has processed the row, one of those above;
    `fills` is the number of single trades (and ids, ending with trade_id) that the exchange joined into the row.
    """

    __slots__ = ()
    exchange: str
    symbol: Annotated[list[str], Stored(steady=True)]
    exchange_ns: Annotated[list[int | None], Stored("timestamp", INSTANT)]
    received_ns: Annotated[list[int], Stored("received_at", INSTANT)]
    price: Annotated[list[str], Stored(kind=DECIMAL)]
    volume: Annotated[list[str], Stored(kind=DECIMAL)]
    side: list[str | None]
    trade_id: list[str | None]
    source: Annotated[list[str], Stored(steady=True)]
    fills: Annotated[list[int], Stored(steady=True)]


TICKS = schema_of("ticks", _Ticks)
_COLUMNS = TICKS.columns[1:]  # the columns that a block holds as lists
COLUMNS = TICKS.attributes[1:]
_lists = attrgetter(*COLUMNS)


class Block(_Ticks):
    """Ticks of one exchange as columns of equal length, in order of arrival; handed over for good.

    After `pack`, only `arrays` holds the columns, until one of them is read as a list.
    """

    __slots__ = ("_first_ns", "_rows", "arrays", *TICKS.attributes)

    def __init__(self, exchange: str) -> None:
        self.exchange = exchange
        self.arrays: dict[str, Any] | None = None
        self.symbol = []

    def __len__(self) -> int:
        return len(self.symbol) if self.arrays is None else self._rows

    @property
    def first_received_ns(self) -> int:
        """The receipt time of the first row; there must be one."""
        return self.received_ns[0] if self.arrays is None else self._first_ns

    def lists(self) -> tuple[list[Any], ...]:
        """Its columns, in the order of COLUMNS."""
        return _lists(self)

    def pack(self) -> None:
        """Converts lists that are long enough to arrays; lists with other values stay lists."""
        if self.arrays is not None or len(self) < PACK_ROWS_MIN:
            return
        arrays = pack(_COLUMNS, _lists(self))
        if arrays is not None:
            self._rows, self._first_ns = len(self), self.received_ns[0]
            self.arrays = arrays
            for name in COLUMNS:
                delattr(self, name)

    if not TYPE_CHECKING:  # the type checker would accept every name

        def __getattr__(self, name: str) -> list[Any]:
            """A column of a packed block, which holds lists again from now on, or one that is empty so far."""
            if name not in COLUMNS:
                raise AttributeError(name)
            if self.arrays is None:
                setattr(self, name, [])
            else:
                arrays, self.arrays = self.arrays, None
                for column, array in arrays.items():
                    setattr(self, column, array.to_pylist())
            return getattr(self, name)

    def remove(self, start: int, rows: Sequence[int]) -> None:
        """Removes these rows, all of them at `start` or after, from all columns; `rows` ascends."""
        columns = _lists(self)
        if len(rows) <= FEW_ROWS:
            for at in reversed(rows):
                for column in columns:
                    del column[at]
            return
        keep = bytearray(b"\x01") * (len(self) - start)
        for at in rows:
            keep[at - start] = 0
        for column in columns:
            column[start:] = list(compress(column[start:], keep))

    def extend(self, *columns: Any) -> None:
        """Appends columns of equal length, in the order of COLUMNS; `fills` left out or None: one each."""
        for into, values in zip(_lists(self), _with_fills(columns), strict=True):
            into += values

    def part(self, start: int, end: int | None = None) -> "Block":
        """A copy of the rows from `start` up to `end`, excluded, or to the last."""
        part = Block(self.exchange)
        part.extend(*(column[start:end] for column in _lists(self)))
        return part

    def take(self, *columns: Any) -> None:
        """As `extend`, of different lists that are handed over for good: an empty block keeps the lists themselves,
        because to copy them would touch all values again."""
        if len(self):
            self.extend(*columns)
            return
        # one by one, and not by COLUMNS, takes half the time: of slow feeds most blocks have a few rows
        (
            self.symbol,
            self.exchange_ns,
            self.received_ns,
            self.price,
            self.volume,
            self.side,
            self.trade_id,
            self.source,
            self.fills,
        ) = _with_fills(columns)


def _with_fills(columns: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(columns) == len(COLUMNS) and columns[-1] is not None:
        return columns
    return *columns[: len(COLUMNS) - 1], [1] * len(columns[0])


class IdPromise(enum.Enum):
    """What trade ids promise within one market; it decides what can be known to be missing."""

    CONTIGUOUS = "contiguous"  # each id is the previous one plus one (or plus the frame's count)
    INCREASING = "increasing"
    OPAQUE = "opaque"  # unique, without order
    REPEATED = "repeated"  # several fills may share an id: only with time, price, volume and side it is a key
    NONE = "none"  # some rows may have ids all the same: they are stored, and identify nothing
