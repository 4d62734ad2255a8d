"""The exchanges of the registries as the tests use them, and how a test changes one for itself."""

import dataclasses
from typing import Any

import msgspec

from actors.exchanges.contract.exchange import Exchange
from actors.exchanges.contract.feed import Dialect
from actors.exchanges.contract.history import History, Kind
from actors.exchanges.contract.loopback import Venue
from actors.exchanges.contract.loopback_rest import HistoryServer
from actors.exchanges.loopbacks import LOOPBACKS
from actors.exchanges.registry import EXCHANGES
from actors.model.ticks import IdPromise
from ops.config.keys import DEFAULT_SYMBOLS

FIVE = tuple(DEFAULT_SYMBOLS)  # what a test takes that needs exchanges, but not each of them
WITH_HISTORY = [name for name, exchange in EXCHANGES.items() if exchange.history is not None]

# Where ids promise no order, nobody can know of a frame that was dropped, or came late, between two others.
UNCOUNTED = {
    name
    for name, exchange in EXCHANGES.items()
    if any(promise is not IdPromise.CONTIGUOUS for promise in exchange.feed.ids.values())
}
# A trade that is sent twice looks like two.
NAMELESS = {
    name
    for name, exchange in EXCHANGES.items()
    if not {IdPromise.NONE, IdPromise.REPEATED}.isdisjoint(exchange.feed.ids.values())
}
# Their history goes back no further than some trades, so that not every gap can be filled.
FORGETFUL = {
    name
    for name, exchange in EXCHANGES.items()
    if exchange.history is None or exchange.history.kind is Kind.RECENT_ONLY
}


def dialect_of(name: str) -> Dialect:
    """How the exchange's WebSocket side speaks."""
    return EXCHANGES[name].feed


def history_of(name: str) -> History:
    """How the exchange's old trades are asked for; only for those that have any."""
    history = EXCHANGES[name].history
    assert history is not None
    return history


def history_server_of(name: str) -> HistoryServer:
    """The REST side of the exchange's loopback server."""
    past = LOOPBACKS[name].history
    assert past is not None
    return past


def changed_feed(name: str, **changes: Any) -> dict[str, Exchange]:
    """All exchanges, one whose dialect has these values among them."""
    return {
        **EXCHANGES,
        name: msgspec.structs.replace(
            EXCHANGES[name], feed=msgspec.structs.replace(EXCHANGES[name].feed, **changes)
        ),
    }


def changed_loopback(name: str, **changes: Any) -> dict[str, Venue]:
    """All loopback servers, one that has these values among them."""
    return {**LOOPBACKS, name: dataclasses.replace(LOOPBACKS[name], **changes)}


def changed_history_server(name: str, **changes: Any) -> dict[str, Venue]:
    """All loopback servers, one whose REST side has these values among them."""
    return changed_loopback(name, history=dataclasses.replace(history_server_of(name), **changes))
