"""Bitfinex v2: the `trades` channel; frames are arrays with a channel id, the sign of an amount is its side."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from actors.exchanges.contract import feed as x
from actors.exchanges.contract.feed_helpers import (
    compact,
    decode_frames,
    digits_column,
    inside,
    named,
    require_kind,
    require_upper,
    text_inside,
)
from actors.model.symbols import Symbol, SymbolError
from actors.model.ticks import Reason
from actors.model.validation import FieldError

# https://docs.bitfinex.com/docs/ws-general, .../docs/ws-public and .../reference/ws-public-trades, read 2026-11-26
# via stored copy.
ENDPOINT = "wss://api-pub.bitfinex.com/ws/2"
# Bitfinex's codes of the tokens that everybody else calls so. Its other names of its own (ALG, IOT, ...) are in
# https://api-pub.bitfinex.com/v2/conf/pub:map:currency:sym and are written as Bitfinex writes them.
_NATIVE = {"USDT": "UST", "USDC": "UDC"}
UNIFIED = {native: unified for unified, native in _NATIVE.items()}
EXECUTED, UPDATED, HEARTBEAT = "te", "tu", "hb"
# 20051: reconnect; 20060 and 20061: maintenance begins and ends, then subscribe again (unsure).
_RECONNECT, _MAINTENANCE, _RESUMED = "20051", "20060", "20061"
_DUPLICATE = "10301"


class Row(msgspec.Struct, gc=False, array_like=True):
    """[401597395,1574694478808,0.005,7245.3]: id, ms, amount (bought if above 0, sold if below), price.

    Fields may be appended at any time.
    """

    id: msgspec.Raw
    time: int
    amount: msgspec.Raw
    price: msgspec.Raw


class _Frame(msgspec.Struct, gc=False, array_like=True):
    """[19111,"te",[401597395,...]], once more as "tu" a second or two later; [19111,"hb"]; on subscribe
    [19111,[[401597393,...],...]], newest first."""

    channel: int
    kind: str | list[Row]
    row: Row | float | None = None


_decoder = msgspec.json.Decoder(_Frame)


def market(symbol: Symbol, _channel: str = "") -> x.Market:
    """tBTCUSD, tDOGE:USD where a code is longer than three letters, tBTCF0:USTF0 for BTC/USDT:USDT."""
    require_kind(symbol, "bitfinex", ("spot", "swap"))
    require_upper(symbol, "bitfinex")
    unified = Symbol(*(UNIFIED.get(code, code) for code in (symbol.base, symbol.quote, symbol.settle)))
    if unified != symbol:
        raise SymbolError(f"{symbol}: this is Bitfinex's own name of a token", str(unified))
    base, quote = (_NATIVE.get(code, code) for code in (symbol.base, symbol.quote))
    if symbol.settle:
        if symbol.settle != symbol.quote:
            right = f"{symbol.base}/{symbol.quote}:{symbol.quote}"
            raise SymbolError(f"{symbol}: bitfinex's perpetuals are settled in what they are quoted in", right)
        return x.Market(str(symbol), f"t{base}F0:{quote}F0", ENDPOINT)
    separator = "" if len(base) == len(quote) == 3 else ":"
    return x.Market(str(symbol), f"t{base}{separator}{quote}", ENDPOINT)


def subscribe_text(natives: Sequence[str], channel: str, _request_id: str) -> str:
    """One channel a request, and no id: the answer names the symbol."""
    (native,) = natives
    return compact({"event": "subscribe", "channel": channel, "symbol": native})


class Channels:
    """Reads the frames of one connection, on which the answers to its requests define the channel ids."""

    def __init__(self, markets: Mapping[str, x.Market]) -> None:
        self._markets = markets
        self._natives: dict[int, str] = {}

    def trades(self, frames: Sequence[bytes], /) -> x.Trades:
        """Trades as they were executed; their updates and heartbeats between them are passed over."""
        channel: list[int] = []
        rows: list[Row] = []
        snapshot: list[bool] = []
        counts: list[int] = []
        for frame in decode_frames(_decoder, frames):
            kind, row = frame.kind, frame.row
            before = len(rows)
            if kind == EXECUTED and isinstance(row, Row):
                channel.append(frame.channel)
                snapshot.append(False)
                rows.append(row)
            elif isinstance(kind, list) and not isinstance(row, Row):
                channel += [frame.channel] * len(kind)
                snapshot += [True] * len(kind)
                rows += kind[::-1]
            elif kind not in (UPDATED, HEARTBEAT):
                raise ValueError("neither a snapshot nor a trade")
            counts.append(len(rows) - before)
        if not rows:
            raise ValueError("no trades")
        try:
            native = list(map(self._natives.__getitem__, channel))
        except KeyError as error:
            problem = f"no request of this connection has the channel {error}"
            raise FieldError(Reason.UNKNOWN_SYMBOL, problem) from None
        amounts = digits_column([row.amount for row in rows], "amount")
        return x.Trades(
            native=native,
            price=digits_column([row.price for row in rows], "price"),
            volume=[amount[1:] if amount[:1] == "-" else amount for amount in amounts],
            side=["sell" if amount[:1] == "-" else "buy" for amount in amounts],
            trade_id=[*digits_column([row.id for row in rows], "id")],
            exchange_ns=[row.time * x.MS for row in rows],
            snapshot=snapshot,
            counts=counts,
        )

    def control(self, message: object, /) -> x.Control | None:
        """What a message that is no trade means."""
        if isinstance(message, list):
            return self._of_channel(message)
        match text_inside(message, "event"):
            case "subscribed":
                return self._subscribed(message)
            case "unsubscribed":
                native = self._natives.pop(_channel(message), "")
                return x.Unsubscribed(named(native)) if native else x.KeepAlive()
            case "error":
                return _error(message)
            case "info":
                return _info(message)
            case "pong" | "conf":
                return x.KeepAlive()
        return None

    def _of_channel(self, message: list[Any]) -> x.Control | None:
        match message:
            case [int(), "hb" | "tu", *_] | [int(), []] | [int(), [], int() | float()]:
                return x.KeepAlive()
            case [int(), "te" | [*_], *_]:
                return x.MalformedTrade()
        return None

    def _subscribed(self, message: object) -> x.Control:
        native = text_inside(message, "symbol")
        if text_inside(message, "channel") != "trades":
            return x.KeepAlive()
        if native in self._markets:
            self._natives = {channel: one for channel, one in self._natives.items() if one != native}
            self._natives[_channel(message)] = native
        return x.Ack(named(native))


def _channel(message: object) -> int:
    channel = inside(message, "chanId")
    return channel if isinstance(channel, int) else -1


def side_of(amount: str) -> str:
    """The taker's side: the sign of the amount."""
    return "sell" if amount.startswith("-") else "buy"


def _error(message: object) -> x.Control:
    """{"event":"error","msg":"symbol: invalid","code":10300,"channel":"trades","symbol":"tNOPEUSD"}"""
    code, native = text_inside(message, "code"), text_inside(message, "symbol")
    if code == _DUPLICATE:
        return x.KeepAlive()  # its acknowledgement comes, or came, by itself
    reason = f"{code} {text_inside(message, 'msg')}".strip()
    # "ratelimit: error", and "subscribe: limit" where the connection has all the channels that it may have.
    return x.Refusal(reason, named(native), transient="limit" in reason)


def _info(message: object) -> x.Control:
    """{"event":"info","version":2,"serverId":"...","platform":{"status":1}} on connect, 0 for maintenance."""
    code, reason = text_inside(message, "code"), text_inside(message, "msg")
    if code in (_RECONNECT, _RESUMED):
        return x.CloseNotice(f"{code} {reason}".strip())
    if code == _MAINTENANCE:
        return x.Condition(f"{code} {reason}".strip(), matches=False)
    match inside(message, "platform", "status"):
        case 0:
            return x.Condition("maintenance", matches=False)
        case 1:
            return x.Condition()
    return x.KeepAlive()
