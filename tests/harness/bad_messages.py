"""Real trade frames of every exchange, broken in every way, each with the reason that must be given."""

import functools
import json
from collections.abc import Iterator
from typing import Any

from actors.exchanges.registry import EXCHANGES
from actors.feed.decoder import Decoder
from actors.model.ticks import Reason
from tests.harness.capture_files import incoming
from tests.harness.exchange_cases import TradeFrame, cases_of
from tests.harness.exchange_values import dialect_of

SPOILABLE = [name for name in EXCHANGES if cases_of(name).frame is not None]
OTHER_TYPES: tuple[object, ...] = (None, [], {}, {"a": [1]})
SQL = "'); drop table ticks; --"


def case(exchange: str) -> TradeFrame:
    """What is known of the frame."""
    frame = cases_of(exchange).frame
    assert frame is not None
    return frame


LISTS = [name for name in SPOILABLE if case(name).path[1:] == (0,)]  # a frame holds a list of trades


def keys(exchange: str) -> dict[str, str]:
    """What the fields of a trade are called."""
    return dict(case(exchange).keys)


@functools.cache
def good(exchange: str) -> bytes:
    """The last trade frame of the recording."""
    cases, messages = cases_of(exchange), incoming(exchange, case(exchange).capture)
    return [one for one in messages if cases.wire(cases.parse(one)) is not None][-1]


def trade_in(exchange: str, frame: Any) -> dict[str, Any]:
    """The trade in the frame that is broken."""
    for key in case(exchange).path:
        frame = frame[key]
    assert isinstance(frame, dict)
    return frame


def raw(token: str) -> str:
    """Stands in JSON text as this very token, where the value is no Python number."""
    return f"<raw>{token}</raw>"


def dump(frame: object) -> bytes:
    return json.dumps(frame).replace('"<raw>', "").replace('</raw>"', "").encode()


def changes(exchange: str) -> Iterator[tuple[str, Any, Reason]]:
    """Every way to break one field of a trade: the field, its new value, the reason that must be given."""
    frame = case(exchange)
    for field in frame.keys:
        for other in OTHER_TYPES:
            if other is not None or frame.keys[field] not in frame.optional:
                yield field, other, Reason.BAD_TYPE
    for field, reason in (("price", Reason.BAD_PRICE), ("volume", Reason.BAD_VOLUME)):
        if not (frame.numbers and frame.texts):
            yield field, "5" if frame.numbers else 5, Reason.BAD_TYPE
        yield field, True, Reason.BAD_TYPE
        for text in ("0", "0.000", "-1.5", "1e400", "1e-400", "0.0000000000000000001", "9" * 21, "9" * 5000):
            yield field, raw(text) if frame.numbers else text, reason
        for text in ("NaN", "Infinity", "-Infinity", "+1", "1.", "0x1", "1\n2"):
            yield field, raw(text) if frame.numbers else text, Reason.NOT_JSON if frame.numbers else reason
        if not frame.numbers:
            for text in ("", " ", "\uff11", SQL, "1\x00"):
                yield field, text, reason
    for time in frame.bad_times:
        yield "time", time, Reason.BAD_TIME
    yield "time", frame.odd_time, Reason.BAD_TYPE
    if "native" in frame.keys:
        yield "native", SQL, Reason.UNKNOWN_SYMBOL
        yield "native", "", Reason.UNKNOWN_SYMBOL
        yield "native", 5, Reason.BAD_TYPE
    if frame.flag_side:
        yield "side", "true", Reason.BAD_TYPE
    else:
        if frame.keys["side"] not in frame.optional:
            yield "side", "", Reason.BAD_SIDE
        yield "side", "hold", Reason.BAD_SIDE
        yield "side", 1, Reason.BAD_TYPE
    if "id" not in frame.keys:
        return
    if frame.text_ids:
        yield "id", "", Reason.BAD_ID
        yield "id", "x" * 129, Reason.BAD_ID
        yield "id", 5, Reason.BAD_TYPE
    else:
        yield "id", 10**129, Reason.BAD_ID
        yield "id", raw("9" * 5000), Reason.BAD_TYPE
        yield "id", "5", Reason.BAD_TYPE
        yield "id", 5.5, Reason.BAD_TYPE


def list_key(exchange: str) -> str:
    """The key of the list of trades, for those of LISTS."""
    return str(case(exchange).path[0])


def reader(exchange: str) -> Decoder:
    """A decoder that knows the market of the frame."""
    native = case(exchange).native or trade_in(exchange, json.loads(good(exchange)))[keys(exchange)["native"]]
    dialect = dialect_of(exchange)
    return Decoder(exchange, dialect, {native: "THE/MARKET"}, dialect.decoder_for({}))
