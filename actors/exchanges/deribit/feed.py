"""Deribit: `trades.INSTRUMENT.100ms` of perpetuals, futures, options and spot, as JSON-RPC notifications."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
from msgspec.structs import replace

from actors.exchanges.contract import feed as x
from actors.exchanges.contract.feed_helpers import (
    Counts,
    compact,
    decode_frames,
    digits_column,
    inside,
    require_kind,
    require_upper,
    text_inside,
)
from actors.model.symbols import Symbol, SymbolError

# https://docs.deribit.com/subscriptions/trades/trades-instrument_name-interval, read 2026-11-26 (stored copy); the
# answers to unknown names and to `raw` were measured in September 2026.
ENDPOINT = "wss://www.deribit.com/ws/api/v2"
CHANNEL = "trades."
# Linear contracts and spot are quoted in these; options and futures of other codes are settled in the base coin.
_QUOTES = ("USDC", "USDT")
_DAY = re.compile(r"([1-9]|[12][0-9]|3[01])(JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC)([0-9]{2})")
# Ids of messages that are no subscription: the heartbeat's. Requests count up from 1.
_OWN = 0
HEARTBEAT_S = 30
OPENING = compact(
    {"jsonrpc": "2.0", "id": _OWN, "method": "public/set_heartbeat", "params": {"interval": HEARTBEAT_S}}
)
_TEST = compact({"jsonrpc": "2.0", "id": _OWN, "method": "public/test", "params": {}})
# Too many requests, retry, settlement in progress, queue full, maintenance, busy, shutdown, timed out: not about
# the instruments (https://docs.deribit.com/#rpc-error-codes).
_TRANSIENT = frozenset(("10028", "10040", "10041", "10047", "11051", "11094", "13028", "13888"))


class Trade(
    msgspec.Struct,
    gc=False,
    rename={
        "native": "instrument_name",
        "id": "trade_id",
        "sequence": "trade_seq",
        "volume": "amount",
        "side": "direction",
        "time": "timestamp",
    },
):
    """{"timestamp":1788335114435,"price":77529.5,"direction":"buy","index_price":77504.36,
    "instrument_name":"BTC-PERPETUAL","trade_seq":298099955,"amount":170.0,"mark_price":77529.76,"tick_direction":3,
    "trade_id":"443253707","contracts":17.0}; `direction` is the taker's. `amount` is US dollars on inverse
    perpetuals and futures, else base. Numbers may come as 2.2e3. `trade_seq` counts the trades of an instrument,
    `trade_id` those of a currency. Block trades, legs of combos and liquidations are trades too.
    """

    native: str
    id: str
    sequence: int
    price: msgspec.Raw
    volume: msgspec.Raw
    side: Literal["buy", "sell"]
    time: int


class _Params(msgspec.Struct, gc=False):
    channel: str
    data: Annotated[list[Trade], msgspec.Meta(min_length=1)]


class _Frame(msgspec.Struct, gc=False):
    """{"jsonrpc":"2.0","method":"subscription","params":{"channel":"trades.BTC-PERPETUAL.100ms","data":[...]}},
    oldest first."""

    method: Literal["subscription"]
    params: _Params


_decoder = msgspec.json.Decoder(_Frame)


def market(symbol: Symbol, _channel: str = "") -> x.Market:
    """BTC-PERPETUAL, BTC-25SEP26 and BTC-25SEP26-100000-C settled in BTC; BTC_USDC-PERPETUAL and so on in USDC."""
    require_kind(symbol, "deribit", ("spot", "swap", "future", "option"))
    require_upper(symbol, "deribit")
    base, quote, settle = symbol.base, symbol.quote, symbol.settle
    if not settle:
        return x.Market(str(symbol), f"{base}_{quote}", ENDPOINT)
    if (quote, settle) == ("USD", base):
        stem, unit = base, "base" if symbol.kind == "option" else "quote"
    elif quote == settle and quote in _QUOTES:
        stem, unit = f"{base}_{quote}", "base"
    else:
        right = replace(symbol, **({"settle": quote} if quote in _QUOTES else {"quote": "USD", "settle": base}))
        raise SymbolError(
            f"{symbol}: deribit's contracts are settled in the base coin (against USD), or in USDC or USDT",
            str(right),
        )
    return x.Market(str(symbol), stem + _tail(symbol), ENDPOINT, unit)


def _tail(symbol: Symbol) -> str:
    """What follows the underlying: days are written 3JAN25, the point of a strike is a d."""
    if not symbol.expiry:
        return "-PERPETUAL"
    day = datetime.strptime(symbol.expiry, "%y%m%d").replace(tzinfo=UTC)
    tail = f"-{day.day}{day:%b%y}".upper()
    return f"{tail}-{symbol.strike.replace('.', 'd')}-{symbol.right}" if symbol.strike else tail


def expiry_of(text: str) -> str:
    """260925 of 25SEP26; raises ValueError."""
    if _DAY.fullmatch(text) is None:
        raise ValueError(f"not a day: {text!r}")
    return f"{datetime.strptime(text, '%d%b%y').replace(tzinfo=UTC):%y%m%d}"


def subscribe_text(natives: Sequence[str], channel: str, request_id: str) -> str:
    return _request("public/subscribe", natives, channel, request_id)


def unsubscribe_text(natives: Sequence[str], channel: str, request_id: str) -> str:
    return _request("public/unsubscribe", natives, channel, request_id)


def _request(method: str, natives: Sequence[str], channel: str, request_id: str) -> str:
    stem, _, interval = channel.partition(".")
    channels = [f"{stem}.{native}.{interval}" for native in natives]
    return compact({"jsonrpc": "2.0", "id": int(request_id), "method": method, "params": {"channels": channels}})


class Sequences:
    """Reads the frames of one connection, on which the trades of each instrument are counted without holes."""

    def __init__(self, _markets: Mapping[str, x.Market]) -> None:
        self._counts = Counts()

    def trades(self, frames: Sequence[bytes], /) -> x.Trades:
        """The trades, and which of them come after a hole."""
        batches = [frame.params for frame in decode_frames(_decoder, frames)]
        if [batch for batch in batches if not batch.channel.startswith(CHANNEL)]:
            raise ValueError("a channel other than trades")
        rows = [trade for batch in batches for trade in batch.data]
        native = [row.native for row in rows]
        return x.Trades(
            native=native,
            price=digits_column([row.price for row in rows], "price"),
            volume=digits_column([row.volume for row in rows], "amount"),
            side=[row.side for row in rows],
            trade_id=[row.id for row in rows],
            exchange_ns=[row.time * x.MS for row in rows],
            snapshot=[False] * len(rows),
            breaks=self._counts.breaks(native, [row.sequence for row in rows]),
            counts=[len(batch.data) for batch in batches],
        )

    def control(self, message: object, /) -> x.Control | None:
        """What a message that is no trade means."""
        method = text_inside(message, "method")
        if method == "heartbeat":
            return x.Reply(_TEST) if text_inside(message, "params", "type") == "test_request" else x.KeepAlive()
        if method == "subscription" and text_inside(message, "params", "channel").startswith(CHANNEL):
            return x.KeepAlive() if inside(message, "params", "data") == [] else x.MalformedTrade()
        if method or inside(message, "jsonrpc") is None:
            return None
        request_id = text_inside(message, "id")
        if inside(message, "error") is not None:
            return _refusal(message, request_id)
        channels = inside(message, "result")
        if request_id == str(_OWN) or not isinstance(channels, list):
            return x.KeepAlive()
        return _confirmed([text for text in channels if isinstance(text, str)], request_id)


def _confirmed(channels: Sequence[str], request_id: str) -> x.Control:
    """What does not exist is missing from the result, without another word."""
    natives = tuple(
        channel.removeprefix(CHANNEL).rpartition(".")[0] for channel in channels if channel.startswith(CHANNEL)
    )
    return x.Ack(natives, request_id, only=True)


def _refusal(message: object, request_id: str) -> x.Control:
    """{"jsonrpc":"2.0","id":1,"error":{"code":10028,"message":"too_many_requests","data":{"wait":1}}}"""
    if request_id == str(_OWN):
        return x.KeepAlive()
    code, reason = text_inside(message, "error", "code"), text_inside(message, "error", "message")
    return x.Refusal(f"{code} {reason}".strip(), request_id=request_id, transient=code in _TRANSIENT)
