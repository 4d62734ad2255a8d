"""The protocol between the control socket and the service, and the errors that the service may raise."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec


class UnknownName(Exception):
    """There is no actor, exchange or symbol of this name; the message contains it. Answered with 404."""


class Refused(Exception):
    """The command cannot be carried out now and has changed nothing; the message gives the reason. 409."""


class NotAvailable(Exception):
    """This service does not offer what was requested. 501."""


class SymbolsChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a live change of symbols, unified as in the configuration."""

    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()


class RepairOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"from_": "from"}):
    """The body of a repair: a market, and two RFC 3339 times or UTC days; without `to` up to now."""

    symbol: str
    from_: str
    to: str = ""


class ControlApp(Protocol):
    """The service as the control socket sees it.

    Subclass it: methods not overridden are answered with 501. A method beyond the first four is only called if its
    name is in `capabilities`: config, events, tap, metrics, restart, pause, resume, flush, merge, reload,
    change_symbols, log_level, repair, repairs, dashboard, feeds, hand_over.

    Everything synchronous runs in the event loop and must be quick. A command may be cancelled if it takes longer
    than `ControlLimits.command_s` or when the service stops; it continues if its client disconnects. A cancelled
    reload has to go on by itself: its client is answered that it does. Names come from clients: look them up, never
    resolve them. Raise UnknownName, Refused or NotAvailable; anything else is a bug of ours, logged and answered
    with 500.
    """

    capabilities: frozenset[str] = frozenset()

    def status(self) -> Mapping[str, object]:
        """The object of /v1/status."""
        ...

    def actors(self) -> Sequence[Mapping[str, object]]:
        """The list of /v1/actors; each has at least "name"."""
        ...

    def live(self) -> bool:
        """Whether the service's loop runs."""
        ...

    def ready(self) -> Sequence[str]:
        """Why the service is not ready; empty if it is."""
        ...

    def config(self) -> Mapping[str, object]:
        """The configuration in force, without secrets."""
        raise NotAvailable("config")

    def events(self, since: int) -> Sequence[object]:
        """The events after number `since`, oldest first, for msgspec to encode; their number is bounded."""
        raise NotAvailable(f"events since {since}")

    def tap(self, exchange: str, symbol: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Whole lines of JSON while the block is open; "" means all. See tap.LineBuffer."""
        raise NotAvailable(f"a tap of {exchange or symbol or 'everything'}")

    def dashboard(self) -> tuple[bytes, str]:
        """The dashboard as an HTML document, and its Content-Security-Policy."""
        raise NotAvailable("dashboard")

    def snapshots(self) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Server-sent events for the dashboard while the block is open; its capability is "dashboard" too."""
        raise NotAvailable("dashboard")

    def metrics(self) -> bytes:
        """Prometheus text exposition."""
        raise NotAvailable("metrics")

    async def restart(self, name: str) -> None:
        """Restarts one actor."""
        raise NotAvailable(f"restart of {name}")

    async def pause(self, name: str) -> None:
        """Stops one actor until it is resumed."""
        raise NotAvailable(f"pause of {name}")

    async def resume(self, name: str) -> None:
        """Starts a paused actor again."""
        raise NotAvailable(f"resume of {name}")

    async def flush(self) -> None:
        """Makes everything received so far durable before it returns."""
        raise NotAvailable("flush")

    async def merge(self) -> None:
        """Merges the segments into the DuckDB file now."""
        raise NotAvailable("merge")

    async def reload(self) -> Mapping[str, object]:
        """Reads the configuration again and applies the differences, which it returns."""
        raise NotAvailable("reload")

    async def change_symbols(
        self, exchange: str, add: Sequence[str], remove: Sequence[str]
    ) -> Mapping[str, object]:
        """Adds and removes symbols of one exchange; returns what is recorded now."""
        raise NotAvailable(f"changing {len(add) + len(remove)} symbols of {exchange}")

    def repair(self, exchange: str, order: RepairOrder) -> Mapping[str, object]:
        """Requests a time range from the exchange again; returns the repair, which runs in the background."""
        raise NotAvailable(f"repair of {order.symbol} on {exchange}")

    def repairs(self) -> Sequence[Mapping[str, object]]:
        """The known repairs, each with at least "repair" (its number) and "state"."""
        raise NotAvailable("repairs")

    def feeds(self) -> Mapping[str, object]:
        """The markets delivered now, by exchange, each with the time of its newest trade or None."""
        raise NotAvailable("feeds")

    def hand_over(self) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Releases the store to the client, another process of the service; lines of JSON say how far it is."""
        raise NotAvailable("a hand-over")

    def log_level(self, level: str) -> None:
        """Sets the level to 'debug', 'info', 'warning' or 'error'."""
        raise NotAvailable(f"log level {level}")
