"""The service: pipeline, control socket, signals and logs in one place; what `tickwarden run` runs."""

import errno
import gc
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING

import duckdb
import structlog
import trio

from actors.model.errors import DatabaseLocked
from actors.pipeline import Pipeline
from actors.settings import STOP_S_MAX, ExchangeSettings
from actors.store.database import FileRefused
from actors.store.lock import StoreTaken
from actors.wire.dial import client_context
from ops.config.config import Config
from ops.control.app import Refused
from ops.control.listener import ControlError, SocketInUse
from ops.control.server import Listener, http_listener, unix_listener
from ops.monitoring.logs import drain_logs, lines_dropped, log_event, set_level
from ops.monitoring.loop_monitor import Progress, Watch, status_line
from ops.monitoring.metrics_restarts import Restarts
from ops.monitoring.systemd_notify import Notifier
from ops.service.api import ServiceApp
from ops.service.hand_over import CannotTakeOver, HandOver, TakeOverFailed
from ops.service.signals import Terminal, first_recorded
from ops.terminal.exit_codes import CONFIGURATION, GAVE_UP, LOST, OK
from supervisor import GaveUp, MisconfiguredError, leaves

if TYPE_CHECKING:
    from ops.service.take_over import TakeOver

_log = structlog.get_logger()

# Errors that end the service with a message instead of a traceback.
_EXPECTED = (
    StoreTaken,
    FileRefused,
    ControlError,
    CannotTakeOver,
    TakeOverFailed,
    DatabaseLocked,
    GaveUp,
    OSError,
    duckdb.IOException,
)
# Errors of the system that remain until somebody changes something.
_TO_BE_MENDED = {
    *(errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG),
}
HTTP_FREE_S = 10.0  # how long the port of a process that was replaced may stay in use, without a warning
SOCKET_CHECK_S = 5.0  # how often to check whether the control socket still exists
STARTED_POLL_S = 0.1  # how often a reload that comes too early checks whether the start is complete
START_TOLD_EVERY_S = 1.0  # how often the service manager's start timeout is extended while a start waits
TERMINAL_EVERY_S = 1.0  # how often to check whether the terminal still exists
# How long a stop may take beyond the deadlines of the actors. A call to a dead disk never returns and cannot be
# cancelled; the process exits all the same, before systemd's TimeoutStopSec.
STOP_SLACK_S = 3.0
LOG_DRAIN_S = 2.0
GC_THRESHOLDS = (10_000, 20, 50)  # see gc.set_threshold
SWITCH_S = 0.0005  # see sys.setswitchinterval


class _App(ServiceApp):
    """The requests of the control socket, with Prometheus metrics and notifications to the service manager."""

    capabilities = ServiceApp.capabilities | {"metrics", "hand_over"}

    def __init__(self, pipeline: Pipeline, config: Config, watch: Watch, notifier: Notifier) -> None:
        super().__init__(pipeline, config)
        self._watch, self._notifier = watch, notifier
        self.successor: HandOver | None = None
        self.nursery: trio.Nursery | None = None  # runs what must not end with a client
        self.restarts = Restarts()

    def metrics(self) -> bytes:
        from ops.monitoring.metrics import Metrics  # 20 ms, which only a service that is scraped has to pay

        return Metrics(self._pipeline, self._watch, self.restarts, lines_dropped=lines_dropped).render()

    def hand_over(self) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        self._must_run()
        if self._changing.locked():
            raise Refused("nothing was done: the configuration is being changed; try again")
        assert self.successor is not None
        return self.successor.lines()

    async def reload(self) -> Mapping[str, object]:
        """Goes on if it is cancelled, so that no exchange is left removed; its outcome is logged in any case."""
        assert self.nursery is not None
        outcome = _Outcome()
        self.nursery.start_soon(self._reload, outcome)
        await outcome.there.wait()
        if outcome.error is not None:
            raise outcome.error
        return outcome.done

    async def _reload(self, outcome: "_Outcome") -> None:
        self._notifier.reloading()
        try:
            outcome.done = await super().reload()
        except Exception as error:  # noqa: BLE001 - logged, and raised in `reload`
            outcome.error = error
        finally:
            self._notifier.ready()
            outcome.there.set()
        outcome.log()


class _Outcome:
    """What has become of a reload, when it is there."""

    def __init__(self) -> None:
        self.there = trio.Event()
        self.done: Mapping[str, object] = {}
        self.error: Exception | None = None

    def log(self) -> None:
        if self.error is None:
            _log.info("reloaded", **self.done)
        elif isinstance(self.error, Refused):
            _log.error("reload_refused", reason=str(self.error))
        else:
            _log.error("reload_failed", exc_info=self.error)


async def run_service(
    config: Config,
    *,
    for_s: float | None = None,
    takes_over: bool = False,
    on_started: Callable[[Pipeline], None] = lambda _: None,
) -> int:
    """Records until SIGTERM, SIGINT, the end of its terminal or `for_s` seconds; returns the exit code.

    With `takes_over` it replaces the service that records into the same store now, if there is one.

    Stopping drains, commits and merges. A second signal exits at once: acknowledged batches are durable, and the
    next start merges the rest.
    """
    os.umask(
        0o027 if config.control.group else 0o077
    )  # only the owner can read the recording, whatever the inherited umask
    terminal = Terminal()
    _tune_python()  # what is imported; once more when everything runs
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals, ExitStack() as sockets:
        pipeline = Pipeline(config.pipeline(), socket=str(config.control.socket))
        notifier, watch = Notifier(), Watch(pipeline.store.path)
        app = _App(pipeline, config, watch, notifier)
        pipeline.listeners += [log_event, app.on_event, app.restarts.on_event]
        stop = partial(_stop, pipeline, notifier)
        ended_by: list[BaseException] = []
        try:
            async with trio.open_nursery() as nursery:
                app.nursery = nursery
                nursery.start_soon(watch.run)
                nursery.start_soon(read_authorities, list(config.exchanges.values()))
                nursery.start_soon(notifier.watch, Progress(pipeline), partial(status_line, pipeline))
                nursery.start_soon(_heed_signals, signals, terminal, app, pipeline, stop)
                nursery.start_soon(_stop_with_terminal, terminal, stop)
                nursery.start_soon(_end_at_last, pipeline)
                predecessor = await _predecessor(config) if takes_over else None
                # Sockets first: if one cannot be opened the service must end before there are trades to lose.
                bind = partial(_bind, config, sockets, app, nursery, predecessor)
                rebind = partial(_bind_socket, config, sockets, app, nursery)
                app.successor = HandOver(pipeline, config.control.socket, rebind, nursery)
                nursery.start_soon(_wait_for_start, pipeline, notifier)
                if for_s is not None:
                    nursery.start_soon(_stop_after, pipeline, stop, for_s)
                if predecessor is not None:
                    nursery.start_soon(predecessor.follow)
                await nursery.start(partial(pipeline.run, before=bind, predecessor=predecessor))
                if predecessor is None or not pipeline.stopping:
                    _log.info("recording", store=str(pipeline.store.path), exchanges=list(pipeline.exchanges))
                _tune_python()
                on_started(pipeline)
                if not pipeline.stopping:
                    notifier.ready()
                await pipeline.ended.wait()
                nursery.cancel_scope.cancel()
        except* _EXPECTED as group:
            ended_by += leaves(group)
        if terminal.is_gone():
            terminal.let_go()
        return _conclude(pipeline, ended_by)


async def read_authorities(exchanges: Sequence[ExchangeSettings]) -> None:
    """Parses the certificate authorities in a thread while the file is opened.

    It takes 45 ms, for which the first connection, and with it the loop, would wait.
    """
    files = {one.ca_file for one in exchanges if one.ws_url is None or one.ws_url.startswith("wss:")}
    for ca_file in files:
        with suppress(MisconfiguredError):  # reported by the connection that needs it
            await trio.to_thread.run_sync(client_context, ca_file)


def _conclude(pipeline: Pipeline, ended_by: list[BaseException]) -> int:
    """Logs how the service ended; returns the exit code."""
    for error in ended_by:
        _log.error("ended", reason=_reason(error))
    lost = _say_lost(pipeline)
    if pipeline.trouble is not None and pipeline.stopping:  # it was stopped while it was still waiting
        return LOST
    if ended_by:
        return GAVE_UP if any(_passes(error) for error in ended_by) else CONFIGURATION
    _log.info("stopped", store=str(pipeline.store.path), stored=_stored(pipeline))
    return LOST if lost else OK


def _reason(error: BaseException) -> str:
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    return error.strerror if error.filename is None else f"{error.strerror}: {error.filename}"


def _say_lost(pipeline: Pipeline) -> bool:
    """Whether received trades are not stored now that the service has ended; logs how many, at every log level."""
    lost = pipeline.unstored
    if lost:
        why = f": {pipeline.writer.trouble}" if pipeline.writer.trouble else ""
        reason = f"{sum(lost.values())} trades that had been received could not be stored{why}"
        set_level("warning")
        _log.warning("trades_lost", reason=reason, **{"exchanges": lost})
    return bool(lost)


def _passes(error: BaseException) -> bool:
    """Whether restarting the service later can help without a change by the operator."""
    cause = error.__cause__ if isinstance(error, ControlError) else error  # a socket's folder may be full, too
    if isinstance(cause, OSError):
        return cause.errno not in _TO_BE_MENDED
    return isinstance(
        error, StoreTaken | GaveUp | SocketInUse | TakeOverFailed | DatabaseLocked | duckdb.IOException
    )


async def _predecessor(config: Config) -> "TakeOver | None":
    from ops.service.take_over import running_service  # a client, which only a take-over has to pay

    return await running_service(config)


async def _bind(
    config: Config, sockets: ExitStack, app: ServiceApp, nursery: trio.Nursery, predecessor: "TakeOver | None"
) -> None:
    """Opens the control interface, all of it or nothing; raises ControlError."""
    if predecessor is not None:
        _bind_socket(config, sockets, app, nursery, replaces=True)
        if config.control.http:
            nursery.start_soon(_bind_http, config, sockets, app)
    else:
        with ExitStack() as opened:
            listeners = [opened.enter_context(unix_listener(config.control.socket, group=config.control.group))]
            if config.control.http:
                listeners.append(opened.enter_context(_http(config)))
            sockets.push(opened.pop_all())
        for listener in listeners:
            nursery.start_soon(listener.serve, app)
    nursery.start_soon(_keep_socket, config, sockets, app, nursery)


async def _keep_socket(config: Config, sockets: ExitStack, app: ServiceApp, nursery: trio.Nursery) -> None:
    """Creates the control socket again if somebody has removed it: nobody could reach the service any more."""
    path, warned = config.control.socket, False
    while True:
        await trio.sleep(SOCKET_CHECK_S)
        if await trio.to_thread.run_sync(os.path.lexists, path, abandon_on_cancel=True):  # the disk may be dead
            continue
        try:
            _bind_socket(config, sockets, app, nursery)
        except ControlError as error:
            if not warned:
                _log.warning("socket_unavailable", reason=str(error))
            warned = True
        else:
            _log.warning("socket_created_again", reason=f"{path} was removed while the service ran")
            warned = False


def _http(config: Config) -> AbstractContextManager[Listener]:
    host, _, port = config.control.http.rpartition(":")
    return http_listener(host.strip("[]"), int(port), config.control.token)


def _bind_socket(
    config: Config, sockets: ExitStack, app: ServiceApp, nursery: trio.Nursery, *, replaces: bool = False
) -> None:
    listener = sockets.enter_context(
        unix_listener(config.control.socket, group=config.control.group, replaces=replaces)
    )
    nursery.start_soon(listener.serve, app)


async def _bind_http(config: Config, sockets: ExitStack, app: ServiceApp) -> None:
    """Opens the port when the process that was replaced has closed it."""
    warn_at = trio.current_time() + HTTP_FREE_S
    while True:
        try:
            listener = sockets.enter_context(_http(config))
        except ControlError as error:
            if trio.current_time() >= warn_at:
                _log.warning("http_unavailable", reason=str(error))
                warn_at = float("inf")
        else:
            await listener.serve(app)
        await trio.sleep(STARTED_POLL_S)


def _stored(pipeline: Pipeline) -> int:
    return sum(account.stored for account in pipeline.ledger.accounts.values())


def _stop(pipeline: Pipeline, notifier: Notifier, **why: object) -> None:
    if not pipeline.stopping:
        _log.info("stopping", **why)
        notifier.stopping()
        pipeline.stop()


async def _heed_signals(
    signals: AsyncIterator[int], terminal: Terminal, app: ServiceApp, pipeline: Pipeline, stop: Callable[..., None]
) -> None:
    """The first signal requests an orderly stop; the second exits at once.

    SIGHUP is such a signal if it means that the terminal is closed; otherwise it requests a reload.
    """
    asked = first_recorded()
    if asked is not None:
        stop(signal=signal.Signals(asked).name)
    async with trio.open_nursery() as nursery:
        async for number in signals:
            if number == signal.SIGHUP and not terminal.ends_with_it:
                nursery.start_soon(_reload, app, pipeline)
            elif not pipeline.stopping:
                stop(signal=signal.Signals(number).name, hint="again to exit at once")
            elif number != signal.SIGHUP:  # a closing terminal sends it more than once
                os._exit(128 + number)


async def _reload(app: ServiceApp, pipeline: Pipeline) -> None:
    while pipeline.state == "starting":  # noqa: ASYNC110 - seconds at most, and rare
        await trio.sleep(STARTED_POLL_S)
    with suppress(Exception):  # a reload ends no service, and has logged its outcome
        await app.reload()


async def _stop_with_terminal(terminal: Terminal, stop: Callable[..., None]) -> None:
    while not terminal.is_gone():  # noqa: ASYNC110 - trio cannot wait for a hang-up alone
        await trio.sleep(TERMINAL_EVERY_S)
    terminal.let_go()
    stop(reason="its terminal was closed")


async def _stop_after(pipeline: Pipeline, stop: Callable[..., None], seconds: float) -> None:
    """Counts from when it records, or from when it cannot."""
    while pipeline.state == "starting" and pipeline.trouble is None:  # noqa: ASYNC110 - seconds at most, and rare
        await trio.sleep(STARTED_POLL_S)
    await trio.sleep(seconds)
    stop(reason=f"{seconds:g} s have passed")


def _tune_python() -> None:
    """What exists by now stays: the garbage collector examines it no more, and the rest seldom.

    Reads make hardly any cycles, but with Python's defaults their lists alone had all objects examined so often
    that it took a seventh of the CPU.

    The thread that writes lets the loop go on sooner, with Python's default after 5 ms: each time that the loop
    wants to read or send beside it.
    """
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    sys.setswitchinterval(SWITCH_S)


async def _wait_for_start(pipeline: Pipeline, notifier: Notifier) -> None:
    """Logs what the start waits for."""
    logged = None
    while pipeline.state == "starting":
        if pipeline.trouble is not None:
            notifier.starting()
            if logged != pipeline.trouble:
                _log.warning("degraded", reason=pipeline.trouble)
            logged = pipeline.trouble
        await trio.sleep(START_TOLD_EVERY_S)


async def _end_at_last(pipeline: Pipeline) -> None:
    """Exits the process if an orderly stop does not finish, because a call to the disk does not return."""
    await pipeline.stop_asked.wait()
    await trio.sleep(STOP_S_MAX + STOP_SLACK_S)
    _log.error("ended", reason="the disk does not answer; durable data is safe")
    code = LOST if _say_lost(pipeline) else GAVE_UP
    drain_logs(LOG_DRAIN_S)
    os._exit(code)
