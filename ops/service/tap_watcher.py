"""Renders the ticks that a reader of the live tap has asked for."""

from collections.abc import Callable, Sequence

import msgspec

from actors.model.ticks import Block
from ops.control.tap import LineBuffer
from ops.monitoring.status import instant

_encode_lines = msgspec.json.Encoder().encode_lines


class _Line(msgspec.Struct, gc=False):
    """One tick with the names of the `ticks` table; decimals are text, so that no digit is lost."""

    exchange: str
    symbol: str
    timestamp: str | None
    received_at: str | None
    price: str
    volume: str
    side: str | None
    trade_id: str | None
    source: str


class TapWatcher:
    """Watches the buffer for one reader, who takes `lines`; "" means all exchanges, all symbols."""

    def __init__(self, exchange: str, symbol: str, on_wait: Callable[[], None]) -> None:
        self.lines = LineBuffer(on_wait=on_wait)
        self._exchange, self._symbol = exchange, symbol

    @property
    def waiting(self) -> bool:
        """See Watcher."""
        return self.lines.waiting

    def show(self, blocks: Sequence[Block]) -> None:
        """Offers the wanted ticks as lines, rendered together, and only if there is room for them."""
        chosen = [block for block in blocks if not self._exchange or block.exchange == self._exchange]
        symbol = self._symbol
        count = sum(block.symbol.count(symbol) for block in chosen) if symbol else sum(map(len, chosen))
        if count:
            self.lines.offer(count, lambda kept: _render(chosen, symbol, kept))

    def end(self) -> None:
        """Ends the reader's stream: who reads the tap looks into the file for what came between two streams."""
        self.lines.close()


def _render(blocks: Sequence[Block], symbol: str, count: int) -> bytes:
    lines: list[_Line] = []
    for block in blocks:
        exchange = block.exchange
        for name, exchange_ns, received_ns, price, volume, side, trade_id, source, _ in zip(
            *block.lists(), strict=True
        ):
            if symbol and name != symbol:
                continue
            if len(lines) == count:
                break
            lines.append(
                _Line(
                    exchange,
                    name,
                    instant(exchange_ns),
                    instant(received_ns),
                    price,
                    volume,
                    side,
                    trade_id,
                    source,
                )
            )
    return _encode_lines(lines)
