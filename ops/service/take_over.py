"""The successor's side of a take-over: waits until it delivers what the running service delivers, then asks for the
store.
"""

import os
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

import structlog
import trio

from actors.pipeline import Pipeline
from actors.recorder import ExchangeRecorder
from actors.store.lock import lock_holder
from ops.config.config import Config
from ops.control.client import ControlClient, NoService, ProblemReply
from ops.service.hand_over import CannotTakeOver, TakeOverFailed

OVERLAP_S = 5.0  # how long both deliver a market: longer than trades may be out of order, or late on one connection
KEEPS_UP_S = 2.0  # how much later a trade may be seen here; what is seen is up to 1.25 s old on both sides
DELIVERS_S = 60.0  # how long it may take until this process delivers the same
RUNS_S = 15.0  # how long a service that is starting or stopping, or hands over already, is waited for
LOOK_S = 0.25
NAMES_MAX = 5  # markets that a message names

_log = structlog.get_logger()


async def running_service(config: Config) -> "TakeOver | None":
    """The service that records into the configured store; None if there is none. Waits for one that is starting or
    stopping. Raises CannotTakeOver, TakeOverFailed.
    """
    give_up_at = trio.current_time() + RUNS_S
    while True:
        found, state = await _look(config)
        if state not in ("starting", "stopping"):
            return found
        if trio.current_time() >= give_up_at:
            raise TakeOverFailed(f"the running service is {state}; try again in a moment")
        await trio.sleep(LOOK_S)


async def _look(config: Config) -> "tuple[TakeOver | None, str]":
    """The running service and its state."""
    socket, store = config.control.socket, config.store.path.resolve()
    client = ControlClient(socket)
    try:
        status: Any = await trio.to_thread.run_sync(client.get, "/v1/status")
        await trio.to_thread.run_sync(client.get, "/v1/feeds")
    except NoService as error:
        other = _recorded_socket(store)
        if other and other != str(socket):
            raise CannotTakeOver(
                f"the service that records into {store} answers on {other}; set [control] socket to that"
            ) from error
        if "no service is running" in str(error):
            return None, ""
        raise TakeOverFailed(f"cannot take over: {error}") from error
    except ProblemReply as error:
        if error.status not in (HTTPStatus.NOT_FOUND, HTTPStatus.NOT_IMPLEMENTED):
            raise TakeOverFailed(f"cannot take over: {error}") from error
        raise CannotTakeOver(
            "the running service is of an earlier version, which cannot be taken over; stop it, then start this one"
        ) from error
    if Path(status["store"]["path"]) != store:
        raise CannotTakeOver(
            f"the service on {socket} records into {status['store']['path']}, not into {store};"
            " a take-over keeps the file: set store.path to it, or start this one without --take-over"
        )
    return TakeOver(client, status["pid"]), status["state"]


def _recorded_socket(store: Path) -> str:
    """The control socket of the process that has locked the store; "" if none has, or it did not write one."""
    pid, socket = lock_holder(store)
    return socket if pid is not None and _lives(pid) else ""


class TakeOver:
    """Called with the pipeline when its connections are started: see Predecessor. `follow` has to run then."""

    def __init__(self, client: ControlClient, pid: int) -> None:
        self._client, self.pid = client, pid
        self._asked, self._answered = trio.Event(), trio.Event()
        self._answer: dict[str, Any] = {}
        self._failure: Exception | None = None
        self._kept_up: set[tuple[str, str]] = set()

    async def __call__(self, pipeline: Pipeline) -> Mapping[str, Collection[str]]:
        _log.info("taking_over", pid=self.pid)
        if not await self._delivers_the_same(pipeline):
            _log.warning("take_over_alone", reason=f"process {self.pid} has ended: as after a crash")
            return {}
        pipeline.crash_point("take_over.delivers")
        await pipeline.pause_lists()
        self._asked.set()
        await self._answered.wait()
        if isinstance(self._failure, NoService):
            _log.warning("take_over_alone", reason=f"process {self.pid} has ended: as after a crash")
            return {}
        if self._failure is not None:
            raise TakeOverFailed(f"process {self.pid} keeps the store: {self._failure}") from self._failure
        if self._answer["state"] != "released":
            raise TakeOverFailed(f"process {self.pid} keeps the store: {self._answer.get('reason')}")
        _log.info("taking_store", pid=self.pid)
        return {
            name: {symbol for symbol in symbols if self._proves(pipeline, name, symbol)}
            for name, symbols in pipeline.delivered().items()
        }

    def _proves(self, pipeline: Pipeline, name: str, symbol: str) -> bool:
        """Whether nothing can be missing between what the other process has stored and what is held here.

        A connection that hangs looks like one of a quiet market. So, unless ids show what is missing, the other
        process must have received a trade after this one began to receive: it delivered up to then.
        """
        feeds, exchange = self._answer["feeds"].get(name, {}), pipeline.exchanges[name]
        if symbol not in feeds:
            return False
        since = [one.state.since[symbol] for one in exchange.connections if symbol in one.state.since]
        return exchange.continuity.counts(symbol) or _at(feeds[symbol]) >= min(since) + KEEPS_UP_S

    async def follow(self) -> None:
        """Holds the conversation with the other process, whose end shows that one that this process has ended."""
        await self._asked.wait()
        await trio.to_thread.run_sync(self._converse, abandon_on_cancel=True)

    def _converse(self) -> None:
        try:
            for line in self._client.stream("/v1/hand-over", "POST"):
                if line["state"] != "draining":
                    trio.from_thread.run_sync(self._note_answer, line, None)
        except (NoService, ProblemReply) as error:
            with suppress(trio.RunFinishedError):
                trio.from_thread.run_sync(self._note_answer, {}, error)
        except (trio.RunFinishedError, trio.Cancelled):
            pass

    def _note_answer(self, line: dict[str, Any], failure: Exception | None) -> None:
        if not self._answered.is_set():
            self._answer, self._failure = line, failure
            self._answered.set()

    # -- does it deliver the same? ----------------------------------------------------------------------

    async def _delivers_the_same(self, pipeline: Pipeline) -> bool:
        """Returns when it does; False if the other process has ended."""
        give_up_at = trio.current_time() + DELIVERS_S
        while True:
            try:
                feeds: Any = await trio.to_thread.run_sync(partial(self._client.get, "/v1/feeds"))
            except NoService:
                if not _lives(self.pid):
                    return False
                feeds = None
            except ProblemReply as error:
                raise TakeOverFailed(f"process {self.pid} goes on, and does not answer: {error}") from error
            behind = ["everything: it does not answer"] if feeds is None else list(self._behind(pipeline, feeds))
            if not behind:
                return True
            if any(exchange.continuity.hold.full for exchange in pipeline.exchanges.values()):
                raise TakeOverFailed(
                    f"more trades wait than there is memory for; process {self.pid} goes on;"
                    " try again when it is quieter"
                )
            if trio.current_time() >= give_up_at:
                more = f" and {len(behind) - NAMES_MAX} more" if len(behind) > NAMES_MAX else ""
                raise TakeOverFailed(
                    f"within {DELIVERS_S:g} s this process did not deliver what process {self.pid} delivers:"
                    f" {', '.join(behind[:NAMES_MAX])}{more}; process {self.pid} goes on;"
                    " `tickwarden doctor` tests each step to an exchange"
                )
            await trio.sleep(LOOK_S)

    def _behind(self, pipeline: Pipeline, feeds: Mapping[str, Mapping[str, str | None]]) -> Iterator[str]:
        """The markets that both are to record and of which only the other process delivers all."""
        for name, markets in feeds.items():
            exchange = pipeline.exchanges.get(name)
            if exchange is None:
                continue
            wanted = {market.symbol for market in exchange.markets}
            for symbol in markets.keys() & wanted:
                if not self._delivers(exchange, symbol, markets[symbol]):
                    yield f"{name} {symbol}"
            if not wanted:  # its list of markets has not been read yet
                yield name

    def _delivers(self, exchange: ExchangeRecorder, symbol: str, theirs: str | None) -> bool:
        now, theirs_at = trio.current_time(), _at(theirs)
        key = (exchange.settings.name, symbol)
        for connection in exchange.connections:
            state = connection.state
            since = state.since.get(symbol)
            if since is None and not exchange.acknowledges and state.connected:
                # Its first trade will show it; nothing is missing while there is none.
                carries = any(market.symbol == symbol for market in connection.spec.markets)
                if carries and symbol not in state.unsubscribed and theirs_at < state.opened_at + KEEPS_UP_S:
                    since = state.opened_at + KEEPS_UP_S
            if since is None or now - since < OVERLAP_S:
                continue
            if theirs_at <= since + KEEPS_UP_S or state.last_trade_at.get(symbol, 0.0) >= theirs_at - KEEPS_UP_S:
                self._kept_up.add(key)
            if key in self._kept_up:
                return True
        self._kept_up.discard(key)
        return False


def _at(instant: str | None) -> float:
    """A time of the other process, by trio's clock of this one."""
    if instant is None:
        return float("-inf")
    return datetime.fromisoformat(instant).timestamp() - (time.time() - trio.current_time())


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
