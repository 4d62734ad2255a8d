"""Trades that were read and cannot be stored: continuity counts them as stored, so their markets get gaps."""

from collections.abc import Iterable

from msgspec import Struct

from actors.model.records import GapReason, GapRow, GapStatus, decimal, gap_id
from actors.model.ticks import Block

# Refused trades are requested from the history once. Those that are refused again within this time might be so for
# ever, and each time costs the writer three of the ten restarts that it has in ten minutes.
AGAIN_NS = 3600 * 10**9


class _Span(Struct):
    """Trades of one market. `low` and `high` are 0 where an id is no number."""

    from_ns: int
    to_ns: int
    low: int
    high: int
    trades: int = 0


class UnstorableTrades:
    """Makes the gaps of trades that were admitted and cannot be stored."""

    def __init__(self) -> None:
        self._refused_ns: dict[tuple[str, str], int] = {}  # by market: when trades of it were refused last

    def gaps(self, blocks: Iterable[Block], now_ns: int) -> list[GapRow]:
        """A gap for each market: open, or lost where the trades came from the history and the market's were refused
        not long ago. A market gets one for live and one for fetched trades, as their times are far apart.
        """
        spans = _spans(blocks)
        found = [
            self._gap(market, span, fetched=fetched, now_ns=now_ns) for (market, fetched), span in spans.items()
        ]
        self._refused_ns.update((market, now_ns) for market, _ in spans)
        return found

    def _gap(self, market: tuple[str, str], span: _Span, *, fetched: bool, now_ns: int) -> GapRow:
        exchange, symbol = market
        refused_ns = self._refused_ns.get(market)
        again = fetched and refused_ns is not None and now_ns - refused_ns < AGAIN_NS
        numbered = span.low > 0
        name = f"{span.low if numbered else span.from_ns}{' fetched' if fetched else ''}"
        return GapRow(
            now_ns,
            gap_id(exchange, symbol, GapReason.VANISHED, name, now_ns),
            exchange,
            symbol,
            GapReason.VANISHED,
            now_ns,
            closed_ns=now_ns if again else None,
            from_id=str(span.low - 1) if numbered else None,
            from_ns=span.from_ns,
            to_id=str(span.high + 1) if numbered else None,
            to_ns=span.to_ns,
            missing=span.trades,
            status=GapStatus.LOST if again else GapStatus.OPEN,
        )


def _spans(blocks: Iterable[Block]) -> dict[tuple[tuple[str, str], bool], _Span]:
    """What the trades of each market span, fetched ones apart."""
    spans: dict[tuple[tuple[str, str], bool], _Span] = {}
    for block in blocks:
        rows = zip(
            block.symbol,
            block.source,
            block.trade_id,
            block.fills,
            block.exchange_ns,
            block.received_ns,
            strict=True,
        )
        for symbol, source, trade_id, fills, made_ns, received_ns in rows:
            trades = fills if isinstance(fills, int) else 1  # it may be what cannot be stored
            at_ns, high = received_ns if made_ns is None else made_ns, decimal(trade_id) or 0
            low = max(0, high - trades + 1)
            key = (block.exchange, symbol), source == "backfill"
            span = spans.setdefault(key, _Span(at_ns, at_ns, low, high))
            span.from_ns, span.to_ns = min(span.from_ns, at_ns), max(span.to_ns, at_ns)
            span.low, span.high = min(span.low, low), max(span.high, high)
            span.trades += trades
    return spans
