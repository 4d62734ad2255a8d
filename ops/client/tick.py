"""A tick as strategies see it, and which markets they want."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache

import msgspec

from actors.model.symbols import ANY, is_wildcard, parse_wildcard
from actors.store.sql import sql_text

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
_PARTS = {"spot": "", "swap": "", "future": "-[0-9]{6}"}  # what follows the codes of a symbol of that kind


class Tick(msgspec.Struct, frozen=True, gc=False):
    """One trade, with the columns of `ticks`; times are microseconds UTC, prices and volumes exact.

    `timestamp_us` is the exchange's time, None where it sends none; `side` is the taker's, None where the exchange
    does not report it; `source` is 'stream', 'snapshot' or 'backfill'.
    """

    exchange: str
    symbol: str
    timestamp_us: int | None
    received_us: int
    price: Decimal
    volume: Decimal
    side: str | None
    trade_id: str | None
    source: str

    @property
    def received_at(self) -> datetime:
        """When it was received, in UTC."""
        return EPOCH + self.received_us * MICROSECOND

    @property
    def timestamp(self) -> datetime | None:
        """The exchange's time, in UTC."""
        return None if self.timestamp_us is None else EPOCH + self.timestamp_us * MICROSECOND


@dataclass(frozen=True, slots=True)
class TickFilter:
    """Which ticks are wanted: of these exchanges, and of these symbols or wildcards as in the configuration.

    Nothing given means all.
    """

    exchanges: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()

    @property
    def sql(self) -> str:
        """The condition in SQL."""
        found = []
        if self.exchanges:
            found.append(f"exchange IN ({', '.join(map(sql_text, self.exchanges))})")
        if self.symbols:
            found.append(f"regexp_full_match(symbol, {sql_text('|'.join(map(_pattern, self.symbols)))})")
        return " AND ".join(found) or "true"

    def matches(self, exchange: str, symbol: str) -> bool:
        """Whether ticks of this market are wanted."""
        return (not self.exchanges or exchange in self.exchanges) and (
            not self.symbols or any(_compiled(one).fullmatch(symbol) for one in self.symbols)
        )


def tick_filter(exchanges: str | Iterable[str], symbols: str | Iterable[str]) -> TickFilter:
    """Checked; raises SymbolError, a ValueError, for what is no wildcard."""
    named, wanted = (((given,) if isinstance(given, str) else tuple(given)) for given in (exchanges, symbols))
    for one in wanted:
        _pattern(one)
    return TickFilter(named, wanted)


@lru_cache
def _compiled(symbol: str) -> re.Pattern[str]:
    return re.compile(_pattern(symbol))


def _pattern(symbol: str) -> str:
    """A regular expression for a symbol or wildcard, in the syntax that Python and DuckDB share."""
    if not is_wildcard(symbol):
        return re.escape(symbol)
    wildcard = parse_wildcard(symbol)
    settle = f":{_code(wildcard.settle)}" if wildcard.settle else ""
    return f"{_code(wildcard.base)}/{_code(wildcard.quote)}{settle}{_PARTS[wildcard.kind]}"


def _code(text: str) -> str:
    return "[^/:]+" if text == ANY else re.escape(text)
