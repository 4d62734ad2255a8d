"""The service: pipeline, control socket, signals and logs in one place; what `tickwarden run` runs."""

import errno
import os
import signal
from collections.abc import Callable, Mapping
from functools import partial

import structlog
import trio

from actors.pipeline import Pipeline
from actors.store.claim import StoreTaken
from actors.store.duckfile import SchemaNewer
from ops.app import ServiceApp
from ops.config import Config
from ops.control.app import ControlApp, Refused
from ops.control.listener import ControlError, SocketInUse
from ops.control.server import serve_control, serve_http
from ops.exits import CONFIGURATION, GAVE_UP, OK
from ops.logs import lines_dropped, log_event
from ops.metrics import Metrics
from ops.notify import Notifier
from ops.watch import Progress, Watch, status_line
from supervisor.failures import GaveUp, leaves

_log = structlog.get_logger()

# What may end the service with a message instead of a traceback.
_EXPECTED = (StoreTaken, SchemaNewer, ControlError, GaveUp, OSError)
# Errors of the system that stay until somebody changes something.
_TO_BE_MENDED = {errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EROFS, errno.ENAMETOOLONG, errno.EISDIR}


class _App(ServiceApp):
    """What the control socket may ask, with what Prometheus scrapes and what the service manager is told."""

    capabilities = ServiceApp.capabilities | {"metrics"}

    def __init__(self, pipeline: Pipeline, config: Config, metrics: Metrics, notifier: Notifier) -> None:
        super().__init__(pipeline, config)
        self._metrics, self._notifier = metrics, notifier

    def metrics(self) -> bytes:
        return self._metrics.render()

    async def reload(self) -> Mapping[str, object]:
        self._notifier.reloading()
        try:
            return await super().reload()
        finally:
            self._notifier.ready()


async def run_service(
    config: Config,
    *,
    for_s: float | None = None,
    on_started: Callable[[Pipeline], None] = lambda _: None,
) -> int:
    """Records until SIGTERM, SIGINT or `for_s` seconds; returns the exit code.

    Stopping drains, commits and merges. A second signal ends the process at once: what was acknowledged
    is safe, and the next start takes the rest up.
    """
    pipeline = Pipeline(config.pipeline(), socket=str(config.control.socket))
    notifier, watch = Notifier(), Watch(pipeline.store.path)
    metrics = Metrics(pipeline, watch, lines_dropped=lines_dropped)
    app = _App(pipeline, config, metrics, notifier)
    pipeline.listeners += [log_event, app.heard, metrics.heard]
    ended_by: list[BaseException] = []
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch.run)
            nursery.start_soon(notifier.watch, Progress(pipeline), partial(status_line, pipeline))
            nursery.start_soon(_stop_on_signals, pipeline, notifier)
            nursery.start_soon(_reload_on_signal, app)
            await nursery.start(_record, pipeline)
            _log.info("recording", store=str(pipeline.store.path), exchanges=list(pipeline.exchanges))
            if for_s is not None:
                nursery.start_soon(_stop_after, pipeline, notifier, for_s)
            await nursery.start(_serve_control, config, app)
            if config.control.http:
                await nursery.start(_serve_http, config.control.http, app)
            on_started(pipeline)
            notifier.ready()
            await pipeline.ended.wait()
            nursery.cancel_scope.cancel()
    except* _EXPECTED as group:
        ended_by += leaves(group)
    for error in ended_by:
        _log.error("ended", reason=str(error))
    if ended_by:
        return GAVE_UP if any(_passes(error) for error in ended_by) else CONFIGURATION
    _log.info("stopped", store=str(pipeline.store.path), stored=_stored(pipeline))
    return OK


def _passes(error: BaseException) -> bool:
    """Whether starting the service again later can help without anybody mending anything."""
    if isinstance(error, OSError):
        return error.errno not in _TO_BE_MENDED
    return isinstance(error, StoreTaken | GaveUp | SocketInUse)


async def _record(pipeline: Pipeline, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    await pipeline.run(task_status=task_status)


def _stored(pipeline: Pipeline) -> int:
    return sum(account.stored for account in pipeline.ledger.accounts.values())


async def _stop_on_signals(pipeline: Pipeline, notifier: Notifier) -> None:
    """The first signal asks for an orderly end; the second ends the process, whatever it is doing."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for number in signals:
            if pipeline.stopping:
                os._exit(128 + number)
            _log.info("stopping", signal=signal.Signals(number).name, hint="again to end at once")
            notifier.stopping()
            pipeline.stop()


async def _reload_on_signal(app: ServiceApp) -> None:
    with trio.open_signal_receiver(signal.SIGHUP) as signals:
        async for _ in signals:
            try:
                _log.info("reloaded", **await app.reload())
            except Refused as why:
                _log.error("reload_refused", reason=str(why))


async def _stop_after(pipeline: Pipeline, notifier: Notifier, seconds: float) -> None:
    await trio.sleep(seconds)
    notifier.stopping()
    pipeline.stop()


async def _serve_control(
    config: Config, app: ControlApp, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    await serve_control(config.control.socket, app, group=config.control.group, task_status=task_status)


async def _serve_http(
    address: str, app: ControlApp, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
) -> None:
    host, _, port = address.rpartition(":")
    await serve_http(host.strip("[]"), int(port), app, task_status=task_status)
