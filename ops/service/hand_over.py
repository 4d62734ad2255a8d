"""The predecessor's side of a take-over: releases the store, and ends or goes on, so that one process always
records.

What decides is the control socket's path: the successor puts its own socket there once everything that it has
received is durable. Until then this process keeps what it reads in memory, and takes the store again if the
successor ends.
"""

import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import structlog
import trio

from actors.pipeline import Pipeline
from actors.store.lock import StoreTaken
from ops.control.app import Refused
from ops.monitoring.status import feeds
from supervisor import describe

DRAIN_S = 20.0  # how long everything received may take to be durable; otherwise this process goes on
SUCCEED_S = 60.0  # how long the successor may take; then the store is taken again, unless it has locked it
LOOK_S = 0.02  # how often the socket's path is checked
BEAT_S = 0.2  # how often the successor gets a line
# How long the successor must stay when its socket is there; clients that connected before that get their answer.
LINGER_S = 0.3

_log = structlog.get_logger()


class CannotTakeOver(Exception):
    """The running service cannot be taken over with this configuration; the message says what to change."""


class TakeOverFailed(Exception):
    """The running service goes on, and the other process ends."""


class _Progress(AsyncIterator[bytes]):
    """The lines for the successor."""

    def __init__(self) -> None:
        self.line: dict[str, object] = {"state": "draining"}
        self.gone = self.ended = False

    def says(self, state: str, **more: object) -> None:
        self.line = {"state": state, **more}

    async def __anext__(self) -> bytes:
        if self.ended:
            raise StopAsyncIteration
        said = self.line
        with trio.move_on_after(BEAT_S):
            while self.line is said and not self.ended:  # noqa: ASYNC110 - for some seconds, once in months
                await trio.sleep(LOOK_S)
        return json.dumps(self.line).encode() + b"\n"


class HandOver:
    """Hands the store of this process over to others that ask for it.

    `nursery` runs what must not end with a client; `rebind` opens the control socket again if another process has
    replaced it.
    """

    def __init__(self, pipeline: Pipeline, socket: Path, rebind: Callable[[], None], nursery: trio.Nursery) -> None:
        self._pipeline, self._socket, self._rebind, self._nursery = pipeline, socket, rebind, nursery

    @asynccontextmanager
    async def lines(self) -> AsyncIterator[AsyncIterator[bytes]]:
        """Begins a hand-over; it is over when the block is left before the successor's socket is there."""
        if self._pipeline.stopping or self._pipeline.handing_over.locked():
            raise Refused("nothing was done: the service is stopping, or another process is taking over; try again")
        progress = _Progress()
        await self._nursery.start(self._run, progress)
        try:
            yield progress
        finally:
            progress.gone = True

    async def _run(self, progress: _Progress, task_status: trio.TaskStatus[None]) -> None:
        pipeline = self._pipeline
        async with pipeline.handing_over:
            task_status.started()
            _log.info("handing_over")
            pipeline.crash_point("hand_over.asked")
            own = _identity(self._socket)
            if await self._release(progress):
                pipeline.crash_point("hand_over.released")
                progress.says("released", feeds=feeds(pipeline))
                give_up_at = trio.current_time() + SUCCEED_S
                while not await self._decided(progress, own, give_up_at):  # noqa: ASYNC110 - a file and a lock
                    await trio.sleep(LOOK_S)
        progress.ended = True

    async def _release(self, progress: _Progress) -> bool:
        """Whether the store has been released; otherwise this process goes on."""
        try:
            with trio.fail_after(DRAIN_S):
                await self._pipeline.release()
        except (trio.TooSlowError, RuntimeError) as error:
            why = f"not everything received could be stored within {DRAIN_S:g} s"
            why = why if isinstance(error, trio.TooSlowError) else describe(error)
            progress.says("kept", reason=why)
            _log.warning("hand_over_failed", reason=why)
            await self._pipeline.go_on()
            return False
        return True

    async def _decided(self, progress: _Progress, own: tuple[int, int] | None, give_up_at: float) -> bool:
        """Whether it is decided which process records, and this one acts on it."""
        pipeline = self._pipeline
        found = _identity(self._socket)
        replaced = found is not None and found != own
        if replaced and not progress.gone:
            await trio.sleep(LINGER_S)
            if not progress.gone:
                self._end(progress)
                return True
        if not (progress.gone or pipeline.stopping or trio.current_time() >= give_up_at):
            return False
        try:
            await pipeline.reclaim()
        except StoreTaken:
            if replaced:
                self._end(progress)
            return replaced
        progress.says("kept", reason="the other process has ended, or was too late")
        _log.warning("hand_over_failed", reason="the other process did not go on; this one records again")
        if replaced:
            self._rebind()
        return True

    def _end(self, progress: _Progress) -> None:
        self._pipeline.crash_point("hand_over.replaced")
        progress.says("replaced")
        _log.info("handed_over")
        self._pipeline.replaced()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
