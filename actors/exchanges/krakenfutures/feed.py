"""Kraken Futures: the `trade` feed, whose numbers beside the ids show what is missing."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import msgspec

from actors.exchanges.contract import feed as x
from actors.exchanges.contract.feed_helpers import (
    Counts,
    compact,
    decode_frames,
    digits_column,
    inside,
    named,
    require_upper,
    text_inside,
)
from actors.exchanges.contract.instruments import Instrument
from actors.model.symbols import Symbol, SymbolError

# https://docs.kraken.com/api/docs/futures-api/websocket/trade, read 2026-11-26 via stored copy; the alerts are as
# observed in 2026.
ENDPOINT = "wss://futures.kraken.com/ws/v1"
FEED = "trade"
_BLOCK = "block"  # negotiated outside of the order book
_NATIVE_CODES = {"BTC": "XBT"}
_INVALID = re.compile(r"invalid product `?([^`\s]{1,64})`?")
_TRANSIENT = re.compile(r"unavailable|too many|rate limit|throttl|internal|try again", re.IGNORECASE)


class _Trade(
    msgspec.Struct,
    gc=False,
    tag_field="feed",
    tag=FEED,
    rename={"native": "product_id", "id": "uid", "number": "seq", "kind": "type", "volume": "qty"},
):
    """{"feed":"trade","product_id":"PI_XBTUSD","uid":"df029bc0-1e27-4c19-8dd7-d6dc89217508","side":"sell",
    "type":"fill","seq":222737,"time":1646472684700,"qty":386.0,"price":39054.5}; `side` is the taker's, `type` also
    "liquidation", "termination" or "block", `seq` counts a product's trades. In 2019 some had no `uid`."""

    native: str
    side: Literal["buy", "sell"]
    number: int
    time: int
    volume: msgspec.Raw
    price: msgspec.Raw
    kind: str = "fill"
    id: str | msgspec.UnsetType = msgspec.UNSET


class _Snapshot(msgspec.Struct, gc=False, tag_field="feed", tag="trade_snapshot"):
    """{"feed":"trade_snapshot","product_id":"PI_XBTUSD","trades":[...]}: the last 100, newest first."""

    trades: Annotated[list[_Trade], msgspec.Meta(min_length=1)]


_decoder: msgspec.json.Decoder[_Trade | _Snapshot] = msgspec.json.Decoder(_Trade | _Snapshot)


def market(symbol: Symbol, _channel: str = "") -> x.Market:
    """PI_XBTUSD is BTC/USD:BTC, in contracts of a dollar, PF_XBTUSD is BTC/USD:USD; FI_XBTUSD_220624 is dated."""
    base, settle = unified_code(symbol.base), unified_code(symbol.settle)
    right = Symbol(base, "USD", base if settle == base else "USD", symbol.expiry)
    if symbol != right:
        if str(right) == str(symbol).upper():  # it was typed in small letters
            require_upper(symbol, "krakenfutures")
        problem = f"{symbol}: krakenfutures has futures against USD, settled in USD or in the base coin"
        raise SymbolError(problem, str(right))
    stem = f"{'F' if symbol.expiry else 'P'}{'I' if symbol.inverse else 'F'}_{_NATIVE_CODES.get(base, base)}USD"
    native = f"{stem}_{symbol.expiry}" if symbol.expiry else stem
    return x.Market(str(symbol), native, ENDPOINT, "contracts" if symbol.inverse else "base")


def unified_code(code: str) -> str:
    """Codes may be of mixed case ("AAPLx"), but none is all small letters."""
    code = code.upper() if code.islower() else code
    return "BTC" if code in ("XBT", "XXBT") else code


def listed(instrument: Instrument, _channel: str) -> x.Market:
    """The list knows each product's name and codes."""
    return x.Market(instrument.symbol, instrument.native, ENDPOINT, instrument.volume_unit)


def subscribe_text(natives: Sequence[str], channel: str, _request_id: str) -> str:
    return compact({"event": "subscribe", "feed": channel, "product_ids": list(natives)})


def unsubscribe_text(natives: Sequence[str], channel: str, _request_id: str) -> str:
    return compact({"event": "unsubscribe", "feed": channel, "product_ids": list(natives)})


class Numbers:
    """Reads the frames of one connection, on which the trades of each product are numbered without holes.

    Products are named in any case ("pi_xbtusd" is subscribed as PI_XBTUSD), so theirs are mapped to ours.
    """

    def __init__(self, markets: Mapping[str, x.Market]) -> None:
        self._natives = {native.upper(): native for native in markets}
        self._counts = Counts()

    def trades(self, frames: Sequence[bytes], /) -> x.Trades:
        """The trades, and which of them come after a hole."""
        rows: list[_Trade] = []
        snapshot: list[bool] = []
        counts: list[int] = []
        for frame in decode_frames(_decoder, frames):
            if isinstance(frame, _Trade):
                rows.append(frame)
                snapshot.append(False)
                counts.append(1)
            else:
                rows += frame.trades[::-1]
                snapshot += [True] * len(frame.trades)
                counts.append(len(frame.trades))
        native = [self._natives.get(row.native.upper(), row.native) for row in rows]
        blocks = [row.kind == _BLOCK for row in rows]
        return x.Trades(
            native=native,
            price=digits_column([row.price for row in rows], "price"),
            volume=digits_column([row.volume for row in rows], "qty"),
            side=[row.side for row in rows],
            trade_id=[None if row.id is msgspec.UNSET else row.id for row in rows],
            exchange_ns=[row.time * x.MS for row in rows],
            snapshot=snapshot,
            off_book=blocks if True in blocks else None,
            breaks=self._counts.breaks(native, [row.number for row in rows]),
            counts=counts,
        )

    def control(self, message: object, /) -> x.Control | None:
        """What a message that is no trade means."""
        feed, event = text_inside(message, "feed"), text_inside(message, "event")
        match event:
            case "":
                if feed in (FEED, "trade_snapshot"):  # a product that has never traded has an empty snapshot
                    return x.KeepAlive() if inside(message, "trades") == [] else x.MalformedTrade()
                return x.KeepAlive() if feed == "heartbeat" else None
            case "info":
                return x.KeepAlive()
            case "subscribed" | "unsubscribed" if feed != FEED:
                return x.KeepAlive()
            case "subscribed":
                return x.Ack(self._products(message))
            case "unsubscribed":
                return x.Unsubscribed(self._products(message))
            case "alert" | "error":
                return self._alert(text_inside(message, "message"))
        return None

    def _products(self, message: object) -> tuple[str, ...]:
        products = inside(message, "product_ids")
        texts = [one for one in products if isinstance(one, str)] if isinstance(products, list) else []
        return tuple(self._natives.get(text.upper(), text) for text in texts)

    def _alert(self, reason: str) -> x.Control:
        """ "Couldn't subscribe to invalid product `PF_NOTAREALTHING`", "Trading engine unavailable", ..."""
        if "re-requesting" in reason:  # "Already subscribed to feed, re-requesting": it is acknowledged once more
            return x.KeepAlive()
        invalid = _INVALID.search(reason)
        product = invalid[1] if invalid is not None else ""
        natives = named(self._natives.get(product.upper(), product))
        return x.Refusal(reason, natives, transient=bool(_TRANSIENT.search(reason)))
