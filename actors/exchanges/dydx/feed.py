"""dYdX v4: `v4_trades` of perpetuals; messages are numbered, and the answer to a request holds the last trades."""

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, TypeVar

import msgspec

from actors.exchanges.contract import feed as x
from actors.exchanges.contract.feed_helpers import (
    Counts,
    compact,
    decode_frames,
    inside,
    named,
    require_kind,
    require_upper,
    rfc3339_ns,
    text_inside,
)
from actors.model.symbols import Symbol, SymbolError

# https://docs.dydx.xyz/indexer-client/websockets and the indexer's own description in dydxprotocol/v4-chain
# (indexer/services/comlink/public/websocket-documentation.md).
ENDPOINT = "wss://indexer.dydx.trade/v4/ws"
CHANNEL = "v4_trades"
OFF_BOOK = "DELEVERAGED"

T = TypeVar("T")

_SIDES = {"BUY": "buy", "SELL": "sell"}  # the taker's
# "Invalid subscription id for channel: (v4_trades-FOO)", "... for channel v4_trades-BTC-USD. Please reconnect"
_TOPIC = re.compile(r"v4_trades-([^\s()]{0,64}[^\s().])")
_TRANSIENT = re.compile(r"too many|limit reached|internal|try again|could not fetch|reconnect", re.IGNORECASE)


class _Trade(msgspec.Struct, gc=False, rename={"volume": "size", "time": "createdAt", "kind": "type"}):
    """{"id":"0165e5e30000000200000002","size":"79.2","price":"25.22","side":"BUY","type":"LIMIT",
    "createdAt":"2024-08-22T23:59:58.855Z","createdAtHeight":"105841552"}; the time is that of the block, so many
    trades share it. `type` is LIMIT, MARKET, LIQUIDATED or DELEVERAGED: a position closed against another one,
    without the book."""

    id: str
    price: str
    volume: str
    side: Literal["BUY", "SELL"]
    time: str
    kind: str = ""


class _Contents(msgspec.Struct, gc=False):
    trades: Annotated[list[_Trade], msgspec.Meta(min_length=1)]


class _Numbered(msgspec.Struct, gc=False, tag_field="type", rename={"native": "id", "number": "message_id"}):
    """What all messages with trades have; `message_id` counts all messages of the connection."""

    native: str
    channel: str
    number: int = -1


class _Message(_Numbered, gc=False, kw_only=True, tag="channel_data"):
    """{"type":"channel_data","connection_id":"2ddf629d-...","message_id":99,"id":"AVAX-USD","channel":"v4_trades",
    "version":"2.1.0","contents":{"trades":[...]}}"""

    contents: _Contents

    @property
    def trades(self) -> list[_Trade]:
        """Its trades."""
        return self.contents.trades


class _Subscribed(_Message, gc=False, tag="subscribed"):
    """The answer to a request, with the last 100 trades, newest first."""


class _Batch(_Numbered, gc=False, kw_only=True, tag="channel_batch_data"):
    """The same with "batched":true, which is not asked for: a list of contents."""

    contents: Annotated[list[_Contents], msgspec.Meta(min_length=1)]

    @property
    def trades(self) -> list[_Trade]:
        """Those of all contents."""
        return [trade for contents in self.contents for trade in contents.trades]


_decoder = msgspec.json.Decoder(_Message | _Batch | _Subscribed)
_block_ns = functools.lru_cache(maxsize=256)(rfc3339_ns)


def market(symbol: Symbol, _channel: str = "") -> x.Market:
    """BTC/USD:USDC is BTC-USD."""
    require_kind(symbol, "dydx", ("swap",))
    require_upper(symbol, "dydx")
    if (symbol.quote, symbol.settle) != ("USD", "USDC"):
        right = f"{symbol.base}/USD:USDC"
        raise SymbolError(f"{symbol}: dydx's perpetuals are quoted in USD and settled in USDC", right)
    return x.Market(str(symbol), f"{symbol.base}-USD", ENDPOINT)


def subscribe_text(natives: Sequence[str], channel: str, _request_id: str) -> str:
    (native,) = natives
    return compact({"type": "subscribe", "channel": channel, "id": native, "batched": False})


def unsubscribe_text(natives: Sequence[str], channel: str, _request_id: str) -> str:
    (native,) = natives
    return compact({"type": "unsubscribe", "channel": channel, "id": native})


class Numbers:
    """Reads the messages of one connection, which are numbered without a hole, all markets together.

    After a hole trades of any market may be missing, so the next message of each is marked.
    """

    def __init__(self, _markets: Mapping[str, x.Market]) -> None:
        self._counts = Counts(together=True)

    def trades(self, frames: Sequence[bytes], /) -> x.Trades:
        """The trades, and which of them come after a hole."""
        messages = decode_frames(_decoder, frames)
        if {message.channel for message in messages} != {CHANNEL}:
            raise ValueError("a channel other than v4_trades")
        listed = [message.trades for message in messages]
        for trades in listed:
            if len(trades) > 1 and (trades[0].time, trades[0].id) > (trades[-1].time, trades[-1].id):
                trades.reverse()
        rows = [trade for trades in listed for trade in trades]
        natives = [message.native for message in messages]
        off_book = [trade.kind == OFF_BOOK for trade in rows]
        made = x.Trades(
            native=_of_rows(natives, listed),
            price=[trade.price for trade in rows],
            volume=[trade.volume for trade in rows],
            side=[_SIDES[trade.side] for trade in rows],
            trade_id=[trade.id for trade in rows],
            exchange_ns=[_block_ns(trade.time) for trade in rows],
            snapshot=(
                _of_rows([isinstance(message, _Subscribed) for message in messages], listed)
                if _Subscribed in set(map(type, messages))
                else [False] * len(rows)
            ),
            off_book=off_book if True in off_book else None,
            counts=[len(trades) for trades in listed],
        )
        # Last: a message that is refused before is not counted.
        broken = self._counts.breaks(natives, [message.number for message in messages])
        if broken is not None:  # a market's first trades hold what it had before, whatever others have missed
            marks = zip(_of_first_rows(broken, listed), made.snapshot, strict=True)
            made.breaks = [mark and not replayed for mark, replayed in marks]
        return made

    def control(self, message: object, /) -> x.Control | None:
        """What a message that is no trade means."""
        number = inside(message, "message_id")
        if isinstance(number, int) and not isinstance(number, bool):
            self._counts.breaks(("",), (number,))
        kind, native = text_inside(message, "type"), named(text_inside(message, "id"))
        match kind:
            case "connected":
                return x.Welcome()
            case "error":
                reason = text_inside(message, "message")
                return x.Refusal(reason, tuple(_TOPIC.findall(reason)), transient=bool(_TRANSIENT.search(reason)))
            case "pong":
                return x.KeepAlive()
        if text_inside(message, "channel") != CHANNEL:
            return None
        match kind:
            case "unsubscribed":
                return x.Unsubscribed(native)
            case "subscribed" | "channel_data" if inside(message, "contents", "trades") == []:
                return x.Ack(native) if kind == "subscribed" else x.KeepAlive()
            case "subscribed" | "channel_data" | "channel_batch_data":
                return x.MalformedTrade()
        return None


def _of_rows(values: Sequence[T], listed: Sequence[Sequence[_Trade]]) -> list[T]:
    """Each message's value once for each of its trades."""
    return [value for value, trades in zip(values, listed, strict=True) for _ in trades]


def _of_first_rows(marks: Sequence[bool], listed: Sequence[Sequence[_Trade]]) -> list[bool]:
    """Each message's mark for the first of its trades."""
    return [mark and not place for mark, trades in zip(marks, listed, strict=True) for place in range(len(trades))]
