"""Implements the control socket's requests and commands on the pipeline."""

import itertools
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from enum import Enum
from pathlib import Path

import msgspec
import trio

from actors.model.errors import DatabaseLocked
from actors.model.symbols import SymbolError
from actors.pipeline import Pipeline
from actors.recorder import CannotRepair
from ops.config.config import Config, ConfigErrors, load_config
from ops.control.app import ControlApp, Refused, RepairOrder, UnknownName
from ops.monitoring import status as report
from ops.monitoring.dashboard.live import Dashboard
from ops.monitoring.logs import set_level
from ops.monitoring.redact import redact
from ops.service.reload import AppliedInPart, apply_changes
from ops.service.tap_watcher import TapWatcher
from ops.terminal.suggestions import did_you_mean
from ops.terminal.time_options import microseconds
from supervisor import Event, UnknownActorError, describe

DASHBOARD_EVENTS = 50
EVENTS_KEPT = 2000  # for /v1/events; the table `events` has them all


class ServiceApp(ControlApp):
    """Implements ControlApp. Call `on_event` with every event of the pipeline."""

    capabilities = frozenset(
        {
            "config",
            "events",
            "tap",
            "restart",
            "pause",
            "resume",
            "flush",
            "merge",
            "reload",
            "change_symbols",
            "log_level",
            "repair",
            "repairs",
            "dashboard",
            "feeds",
        }
    )

    def __init__(self, pipeline: Pipeline, config: Config) -> None:
        self._pipeline, self._config = pipeline, config
        self._changing = trio.Lock()  # two concurrent changes would work on each other's data
        self._events: deque[msgspec.Raw] = deque(maxlen=EVENTS_KEPT)  # a third of what they take as objects
        self._numbered = 0
        self._dashboard = Dashboard(pipeline, lambda: self.events(self._numbered - DASHBOARD_EVENTS))

    def on_event(self, event: Event) -> None:
        """Keeps an event for clients; `number` only rises while this process runs."""
        self._numbered += 1
        row = {
            "number": self._numbered,
            "at": report.instant(event.at_ns),
            "actor": event.actor,
            "event": event.event,
            "reason": event.reason or None,
            "restarts": event.restarts,
            "retry_in_s": event.retry_in_s,
            "detail": event.detail,
        }
        self._events.append(msgspec.Raw(msgspec.json.encode(row, enc_hook=str)))

    def status(self) -> Mapping[str, object]:
        return report.status(self._pipeline)

    def actors(self) -> Sequence[Mapping[str, object]]:
        return report.actors(self._pipeline)

    def live(self) -> bool:
        return True  # being called proves that the loop runs

    def ready(self) -> Sequence[str]:
        return report.not_ready(self._pipeline)

    def config(self) -> Mapping[str, object]:
        """The configuration in force, without the passwords and tokens that an address may contain."""
        exchanges = {name: exchange.settings for name, exchange in self._pipeline.exchanges.items()}
        in_force = msgspec.structs.replace(self._config, exchanges=exchanges)
        plain = {name: _plain(getattr(in_force, name)) for name in Config.__struct_fields__}
        hidden = redact(plain)
        assert isinstance(hidden, dict)
        return hidden

    def events(self, since: int) -> Sequence[msgspec.Raw]:
        forgotten = self._numbered - len(self._events)
        return list(itertools.islice(self._events, max(0, since - forgotten), None))

    @asynccontextmanager
    async def tap(self, exchange: str, symbol: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """Lines for one reader; ticks come in the order in which they reach the buffer actor."""
        if exchange:
            self._known(exchange)
        buffer = self._pipeline.buffer
        watcher = TapWatcher(exchange, symbol, buffer.show_soon)
        buffer.watchers.add(watcher)
        try:
            yield watcher.lines
        finally:
            buffer.watchers.discard(watcher)
            watcher.lines.close()

    def dashboard(self) -> tuple[bytes, str]:
        from ops.monitoring.dashboard.page import page  # only a service whose page is read has to hold it

        document = page()
        return document.html, document.policy

    def snapshots(self) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        return self._dashboard.reader()

    async def restart(self, name: str) -> None:
        self._must_run()
        with _names():
            await self._pipeline.tree.restart(name)

    async def pause(self, name: str) -> None:
        self._must_run()
        with _names():
            await self._pipeline.tree.pause(name)

    async def resume(self, name: str) -> None:
        self._must_run()
        with _names():
            await self._pipeline.tree.resume(name)

    def _known(self, exchange: str) -> None:
        """Raises UnknownName where no exchange has this name."""
        names = self._pipeline.exchanges
        if exchange not in names:
            raise UnknownName(f"no exchange is called {exchange!r}; {did_you_mean(exchange, names)}")

    def _must_run(self) -> None:
        """Commands need the actors, which there are when the start is over."""
        if self._pipeline.state == "starting":
            why = f": {self._pipeline.trouble}" if self._pipeline.trouble else ""
            raise Refused(f"nothing was done: the service is starting{why}; try again")
        if self._pipeline.handing_over.locked():
            raise Refused("nothing was done: another process is taking over; try again")

    async def flush(self) -> None:
        self._must_run()
        await self._pipeline.flush()

    async def merge(self) -> None:
        self._must_run()
        try:
            await self._pipeline.merge()
        except DatabaseLocked as held:
            raise Refused(f"{held}; what was recorded can be queried all the same") from held
        except self._pipeline.store.transient as error:
            why = self._pipeline.store.describe(error, merging=True)
            raise Refused(f"{why}; the tail stays, and the service tries again") from error

    async def reload(self) -> Mapping[str, object]:
        """Reads the configuration again; an invalid one changes nothing, and every mistake in it is reported.

        If it is cancelled an exchange may be missing, until the next reload.
        """
        try:
            new = load_config(self._config.source)
        except ConfigErrors as errors:
            raise Refused(f"nothing was changed: {errors}") from errors
        async with self._changing:
            self._must_run()
            try:
                done = await apply_changes(self._pipeline, self._config, new)
            except (ValueError, LookupError) as error:
                raise Refused(f"nothing was changed: {describe(error)}") from error
            except AppliedInPart as error:
                raise Refused(str(error)) from error
            # What needs a restart is not in force, and differs again at the next reload.
            log = self._config.log
            if new.log.level != log.level:  # else the level of the command stays, such as that of --quiet
                set_level(new.log.level)
            self._config = msgspec.structs.replace(
                self._config, log=msgspec.structs.replace(log, level=new.log.level)
            )
        return done

    async def change_symbols(
        self, exchange: str, add: Sequence[str], remove: Sequence[str]
    ) -> Mapping[str, object]:
        """Until the next reload or start, which go by the file."""
        async with self._changing:
            self._must_run()
            self._known(exchange)
            recording = self._pipeline.exchanges[exchange]
            unknown = [symbol for symbol in remove if symbol not in recording.settings.symbols]
            if unknown:
                hint = "; a wildcard that matches it can be removed" if recording.selection.matched else ""
                raise Refused(f"{exchange} does not record {', '.join(unknown)}{hint}; nothing was changed")
            try:
                with _names():
                    await recording.change(add, remove)
            except SymbolError as error:
                raise Refused(f"nothing was changed: {error}") from error
        begins = {
            one.split()[0].rstrip(":"): one for one in recording.selection.problems
        }  # with what they are about
        return {
            "exchange": exchange,
            "symbols": list(recording.settings.symbols),
            "problems": {text: begins[text] for text in add if text in begins},
            "unlisted": recording.unlisted(add),
        }

    def repair(self, exchange: str, wanted: RepairOrder) -> Mapping[str, object]:
        """Starts a repair, which runs in the service whether the client waits for it or not."""
        self._must_run()
        self._known(exchange)
        recording = self._pipeline.exchanges[exchange]
        now_us = recording.continuity.exchange_ns(time.time_ns()) // 1000  # this host's clock may be wrong
        try:
            from_us = max(0, microseconds(wanted.from_))  # DuckDB has no nanoseconds before 1677
            to_us = min(microseconds(wanted.to), now_us) if wanted.to else now_us
        except ValueError as error:
            raise Refused(str(error)) from error
        if from_us >= to_us:
            raise Refused(f"a time range begins before it ends, and before now; this one begins at {wanted.from_}")
        try:
            order = recording.repair(wanted.symbol, from_us * 1000, to_us * 1000)
        except CannotRepair as error:
            raise Refused(str(error)) from error
        return report.repair(exchange, order)

    def repairs(self) -> Sequence[Mapping[str, object]]:
        exchanges = self._pipeline.exchanges.items()
        return [report.repair(name, order) for name, exchange in exchanges for order in exchange.repair_jobs]

    def feeds(self) -> Mapping[str, object]:
        return report.feeds(self._pipeline)

    def log_level(self, level: str) -> None:
        set_level(level)


@contextmanager
def _names() -> Iterator[None]:
    """The supervisor's refusals in the control socket's words."""
    try:
        yield
    except UnknownActorError as error:
        raise UnknownName(str(error)) from error
    except RuntimeError as error:  # it is stopping
        raise Refused(str(error)) from error


def _plain(value: object) -> object:
    """Settings as JSON can hold them."""
    if isinstance(value, msgspec.Struct):
        return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(inner) for inner in value]
    if isinstance(value, Path | Enum):
        return str(value)
    return value
