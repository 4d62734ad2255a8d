"""Phemex: `trade` of inverse perpetuals and spot, in scaled integers, and `trade_p` of linear perpetuals."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Literal

import msgspec

from actors.exchanges.contract import feed as x
from actors.exchanges.contract.feed_helpers import (
    compact,
    decode_frames,
    inside,
    require_kind,
    require_upper,
    text_inside,
)
from actors.exchanges.contract.instruments import Instrument
from actors.model.symbols import Symbol, SymbolError

# https://phemex-docs.github.io/#subscribe-trade and .../#subscribe-trade-2, read 2026-11-26 via stored copies;
# answers, # limits and cut-offs as recorded and measured up to September 2026.
ENDPOINT = "wss://ws.phemex.com"
SPOT_MARK = "s"  # sBTCUSDT; codes themselves are in capitals
LINEAR = ("USDT", "USDC")
# Powers of ten of price and volume where the list of products does not say: so in all recordings.
INVERSE_SCALES, SPOT_SCALES = (4, 0), (8, 8)
_AS_SENT = (0, 0)
PING = compact({"id": 0, "method": "server.ping", "params": []})
# Frames of September 2026 lack the `type`; a live one has some trades, the one on subscribe 200 and more.
REPLAY_ROWS_MIN = 200
_SNAPSHOT = "snapshot"
_SIDES = {"Buy": "buy", "Sell": "sell"}
# The subscriptions of this connection are at their limit, too many requests: not about the symbol.
_TRANSIENT = frozenset(("6015", "6002", "10003", "30000"))


class Trade(msgspec.Struct, gc=False, array_like=True):
    """[1788346425275042617,"Buy",763550000,370]: ns, the taker's side, price and volume as scaled integers."""

    time: int
    side: Literal["Buy", "Sell"]
    price: int
    volume: int


class LinearTrade(msgspec.Struct, gc=False, array_like=True):
    """[1788346442396240233,"Buy","76426.7","0.091"]: plain decimals, volumes in base."""

    time: int
    side: Literal["Buy", "Sell"]
    price: str
    volume: str


class _Frame(msgspec.Struct, gc=False):
    """{"sequence":23611442091,"symbol":"BTCUSD","trades":[[...]],"type":"incremental"} or, of linear perpetuals,
    {"dts":...,"mts":...,"sequence":...,"symbol":"BTCUSDT","trades_p":[[...]],"type":"incremental"}; newest
    first."""

    symbol: str
    trades: Annotated[list[Trade], msgspec.Meta(min_length=1)] | None = None
    trades_p: Annotated[list[LinearTrade], msgspec.Meta(min_length=1)] | None = None
    type: str = ""


_decoder = msgspec.json.Decoder(_Frame)


def market(symbol: Symbol, _channel: str = "") -> x.Market:
    """sBTCUSDT on spot, BTCUSDT for BTC/USDT:USDT, BTCUSD for BTC/USD:BTC."""
    require_kind(symbol, "phemex", ("spot", "swap"))
    require_upper(symbol, "phemex")
    base, quote, settle = symbol.base, symbol.quote, symbol.settle
    if not settle:
        return x.Market(str(symbol), f"{SPOT_MARK}{base}{quote}", ENDPOINT)
    if quote == settle and quote in LINEAR:
        return x.Market(str(symbol), base + quote, ENDPOINT)
    if (quote, settle) == ("USD", base):
        return x.Market(str(symbol), base + quote, ENDPOINT, "contracts")
    right = f"{base}/{quote}:{quote}" if quote in LINEAR else f"{base}/USD:{base}"
    raise SymbolError(
        f"{symbol}: phemex's perpetuals are settled in USDT, in USDC, or (against USD) in the base coin", right
    )


def listed(instrument: Instrument, _channel: str) -> x.Market:
    """Some contracts against USD are settled in USD: their names are those of the others."""
    return x.Market(instrument.symbol, instrument.native, ENDPOINT, instrument.volume_unit)


def is_linear(native: str) -> bool:
    """Whether it is a linear perpetual, whose numbers are not scaled."""
    return native.endswith(LINEAR) and not native.startswith(SPOT_MARK)


def scales_of(native: str, instrument: Instrument | None) -> tuple[int, int]:
    """The powers of ten of price and volume."""
    price, volume = SPOT_SCALES if native.startswith(SPOT_MARK) else INVERSE_SCALES
    if instrument is not None:
        price = price if instrument.price_scale is None else instrument.price_scale
        volume = volume if instrument.volume_scale is None else instrument.volume_scale
    return price, volume


def unscaled(numbers: Iterable[int | str], scales: Iterable[int]) -> list[str]:
    """The decimals that scaled integers stand for, exactly: 76355.0000 of 763550000 at 4; at 0 they are as sent.

    Negative ones become no amounts, and are refused as such.
    """
    return [
        f"{text[:-scale]}.{text[-scale:]}" if 0 < scale < len(text) else f"0.{text:0>{scale}}" if scale else text
        for text, scale in zip(map(str, numbers), scales, strict=False)
    ]


def subscribe_text(natives: Sequence[str], channel: str, request_id: str) -> str:
    """One symbol a request: others behind it would be ignored."""
    (native,) = natives
    method = f"{channel}_p" if is_linear(native) else channel
    return compact({"id": int(request_id), "method": f"{method}.subscribe", "params": [native]})


class Products:
    """Reads the frames of one connection with the scales of its markets."""

    def __init__(self, markets: Mapping[str, x.Market]) -> None:
        self._markets = markets
        self._scales: dict[str, tuple[int, int]] = {}

    def trades(self, frames: Sequence[bytes], /) -> x.Trades:
        """The trades, oldest first."""
        native: list[str] = []
        rows: list[Trade | LinearTrade] = []
        scales: list[tuple[int, int]] = []
        snapshot: list[bool] = []
        counts: list[int] = []
        for frame in decode_frames(_decoder, frames):
            listed = frame.trades or frame.trades_p
            if not listed:
                raise ValueError("no trades")
            count = len(listed)
            native += [frame.symbol] * count
            counts.append(count)
            rows += listed[::-1]
            scales += [self._scales_of(frame.symbol) if frame.trades else _AS_SENT] * count
            snapshot += [frame.type == _SNAPSHOT if frame.type else count >= REPLAY_ROWS_MIN] * count
        return x.Trades(
            native=native,
            price=unscaled([row.price for row in rows], [scale for scale, _ in scales]),
            volume=unscaled([row.volume for row in rows], [scale for _, scale in scales]),
            side=[_SIDES[row.side] for row in rows],
            trade_id=[None] * len(rows),
            exchange_ns=[row.time for row in rows],
            snapshot=snapshot,
            counts=counts,
        )

    def _scales_of(self, native: str) -> tuple[int, int]:
        found = self._scales.get(native)
        if found is None:
            market_ = self._markets.get(native)
            if market_ is None:
                return scales_of(native, None)
            found = self._scales[native] = scales_of(native, market_.instrument)
        return found

    def control(self, message: object, /) -> x.Control | None:
        """What a message that is no trade means."""
        rows = inside(message, "trades"), inside(message, "trades_p")
        if rows != (None, None):
            return x.KeepAlive() if [] in rows else x.MalformedTrade()
        request_id, code = text_inside(message, "id"), text_inside(message, "error", "code")
        if code:
            reason = text_inside(message, "error", "message")
            return x.Refusal(f"{code} {reason}".strip(), request_id=request_id, transient=code in _TRANSIENT)
        if text_inside(message, "result") == "pong":
            return x.KeepAlive()
        if text_inside(message, "result", "status") == "success":
            return x.Ack(request_id=request_id)
        return None
