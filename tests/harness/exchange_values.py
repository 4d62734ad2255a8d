"""The exchanges of the registries as the tests use them, and how a test changes one for itself."""

from dataclasses import replace
from typing import Any

import pytest

from actors.exchanges.contract.feed import Dialect
from actors.exchanges.contract.history import History
from actors.exchanges.contract.loopback_rest import Past
from actors.exchanges.loopbacks import LOOPBACKS
from actors.exchanges.registry import EXCHANGES

WITH_HISTORY = [name for name, exchange in EXCHANGES.items() if exchange.history is not None]


def dialect_of(name: str) -> Dialect:
    """How the exchange's WebSocket side speaks."""
    return EXCHANGES[name].feed


def history_of(name: str) -> History:
    """How the exchange's old trades are asked for; only for those that have any."""
    history = EXCHANGES[name].history
    assert history is not None
    return history


def past_of(name: str) -> Past:
    """The REST side of the exchange's loopback server."""
    past = LOOPBACKS[name].past
    assert past is not None
    return past


def change_feed(patch: pytest.MonkeyPatch, name: str, **changes: Any) -> None:
    """For one test, the exchange's dialect has these values."""
    patch.setitem(EXCHANGES, name, replace(EXCHANGES[name], feed=replace(EXCHANGES[name].feed, **changes)))


def change_loopback(patch: pytest.MonkeyPatch, name: str, **changes: Any) -> None:
    """For one test, the exchange's loopback server has these values."""
    patch.setitem(LOOPBACKS, name, replace(LOOPBACKS[name], **changes))


def change_past(patch: pytest.MonkeyPatch, name: str, **changes: Any) -> None:
    """For one test, the REST side of the exchange's loopback server has these values."""
    change_loopback(patch, name, past=replace(past_of(name), **changes))
