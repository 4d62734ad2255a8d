"""The supervisor: starts, restarts and stops its children, and carries out commands while they run."""

import math
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from random import Random
from types import TracebackType
from typing import Literal

import trio

from supervisor.child import Child
from supervisor.context import Context
from supervisor.errors import GaveUp, describe
from supervisor.group import Group
from supervisor.restart_policy import Backoff, Intensity
from supervisor.spec import ChildSpec, Strategy
from supervisor.states import ActorHealth, DesiredState, Event


class UnknownActorError(LookupError):
    """No actor of that name below this supervisor."""


class Supervisor:
    """`async with Supervisor("root", on_event=...) as root:` and then `await root.start(spec)` in order.

    Leaving the block stops the children in reverse order, each within its own `stop_s` and then
    cancelled; with `stop_together` all at once, as fits many equal children. An exception in the block
    does the same and then propagates as it is. Cancelling from outside cancels every child at once.

    Raises GaveUp out of the block, whose body is cancelled, when a child with on_exhausted="escalate"
    exceeded its intensity.

    Commands take the name of any actor below, at any depth; names are unique in the whole tree.
    `on_event` is called synchronously for every change of state and must not block; an exception in it
    is kept in `event_error` and affects nothing else. `random` makes the jitter repeatable. `above` is given by
    `start_supervisor` only.
    """

    def __init__(
        self,
        name: str,
        *,
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        on_event: Callable[[Event], None],
        stop_together: bool = False,
        random: Random | None = None,
        above: "Supervisor | None" = None,
    ) -> None:
        self.name = name
        self.event_error: str | None = None
        self._on_event = on_event
        self._random = random if random is not None else Random()  # noqa: S311 - jitter, not a secret
        self._names: set[str] = {name} if above is None else above._names  # of the whole tree
        self._group = Group(name, strategy, together=stop_together, names=self._names)
        self._above = above
        self._below: dict[str, Supervisor] = {}
        self._block: AbstractAsyncContextManager[Supervisor] | None = None

    async def __aenter__(self) -> "Supervisor":
        self._block = self._open()
        return await self._block.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> bool | None:
        assert self._block is not None
        return await self._block.__aexit__(kind, error, where)

    async def start(self, spec: ChildSpec) -> None:
        """Adds a child after the others and starts it; returns when its run has been called.

        Returns at once where the child cannot start yet: because this supervisor itself is not running,
        or (rest-for-one, one-for-all) because one before it is waiting. The child then starts in its turn.
        """
        await self._add(self._new_child(spec))

    async def start_supervisor(
        self,
        name: str,
        *,
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        stop_together: bool = False,
        stop_s: float = math.inf,
        backoff: Backoff | None = None,
        intensity: Intensity | None = None,
        on_exhausted: Literal["fail", "escalate"] = "fail",
        probe_interval_s: float = 300.0,
    ) -> "Supervisor":
        """Adds a supervisor as a child and returns it; it keeps its children over its own restarts.

        `stop_s` bounds the stop of the whole branch; by default only the children's own deadlines do.
        The other arguments are what happens when the branch gives up because a child in it escalated.
        """
        branch = type(self)(
            name,
            strategy=strategy,
            on_event=self._emit,
            stop_together=stop_together,
            random=self._random,
            above=self,
        )
        spec = ChildSpec(
            name,
            branch._run,
            kind="supervisor",
            stop_s=stop_s,
            backoff=backoff or Backoff(),
            intensity=intensity or Intensity(),
            on_exhausted=on_exhausted,
            probe_interval_s=probe_interval_s,
        )
        child = self._new_child(spec, on_asked=branch._group.close)
        self._below[name] = branch
        await self._add(child)
        return branch

    async def stop_child(self, name: str) -> None:
        """Stops a child for good, within its `stop_s`, and forgets it; its name is free again."""
        owner, child = self._find(name)
        child.stop()
        owner._group.reconcile()
        await child.gone.wait()
        branch = owner._below.pop(name, None)
        if branch is not None:  # children that never ran have not ended by themselves
            self._names.difference_update(row.name for row in branch.snapshot())

    async def restart(self, name: str) -> None:
        """Stops a child and starts it at once, from whatever state; its failures no longer count.

        As all commands, it raises UnknownActorError, and RuntimeError for a child that is stopping for good.
        """
        owner, child = self._find(name)
        owner._refuse_while_stopping(child)
        child.restart()
        await owner._carry_out(child)

    async def pause(self, name: str) -> None:
        """Stops a child until `resume` or `restart`."""
        owner, child = self._find(name)
        owner._refuse_while_stopping(child)
        child.pause()
        await owner._carry_out(child)

    async def resume(self, name: str) -> None:
        """Starts a paused child, and one that has not ended yet when it has; does nothing for any other."""
        owner, child = self._find(name)
        owner._refuse_while_stopping(child)
        if child.desired is DesiredState.PAUSE:
            child.resume()
            await owner._carry_out(child)

    def snapshot(self) -> list[ActorHealth]:
        """Every actor below, in start order, each supervisor followed by its own."""
        rows: list[ActorHealth] = []
        for child in self._group.children:
            rows.append(child.health())
            if child.spec.name in self._below:
                rows += self._below[child.spec.name].snapshot()
        return rows

    def health(self, name: str) -> ActorHealth:
        """One actor below. Raises UnknownActorError."""
        return self._find(name)[1].health()

    def paused(self, name: str) -> bool:
        """Whether an actor below is paused, or will be when it has ended. Raises UnknownActorError."""
        return self._find(name)[1].desired is DesiredState.PAUSE

    @asynccontextmanager
    async def _open(self) -> "AsyncGenerator[Supervisor, None]":
        body = trio.CancelScope()
        gave_up: list[GaveUp] = []
        failure: Exception | None = None

        async def supervise(task_status: trio.TaskStatus[None]) -> None:
            try:
                await self._group.supervise(body.cancel, task_status)
            except GaveUp as error:
                gave_up.append(error)

        async with trio.open_nursery() as nursery:
            await nursery.start(supervise)
            try:
                with body:
                    yield self
            except Exception as error:  # noqa: BLE001 - raised again below, after the children have stopped
                failure = error
            self._group.close(DesiredState.STOP)
        if gave_up:
            if failure is not None:
                gave_up[0].add_note(f"the block had failed as well: {describe(failure)}")
            raise gave_up[0]
        if failure is not None:
            raise failure

    async def _run(self, context: Context) -> None:
        context.ok()
        await self._group.supervise()

    def _new_child(self, spec: ChildSpec, on_asked: Callable[[DesiredState], None] | None = None) -> Child:
        self._refuse_while_stopping()
        if spec.name in self._names:
            raise ValueError(f"there is an actor named {spec.name} already")
        parent = self.name if self._above is not None else None
        return Child(spec, self._group, parent=parent, random=self._random, emit=self._emit, on_asked=on_asked)

    async def _add(self, child: Child) -> None:
        self._names.add(child.spec.name)
        self._group.children.append(child)
        await self._carry_out(child)

    async def _carry_out(self, child: Child) -> None:
        """Reconciles, and waits until the old incarnation has ended and the new one has started."""
        old = child.incarnation
        self._group.reconcile()
        if old is not None and (old.asked is not None or child.desired is not DesiredState.RUN):
            await old.ended.wait()
        while (starting := self._group.starting()) is not None:
            await starting.wait()

    def _find(self, name: str) -> "tuple[Supervisor, Child]":
        for child in self._group.children:
            if child.spec.name == name:
                return self, child
        for branch in self._below.values():
            try:
                return branch._find(name)
            except UnknownActorError:
                continue
        raise UnknownActorError(f"there is no actor named {name!r}")

    def _refuse_while_stopping(self, child: Child | None = None) -> None:
        """Nothing else can be wanted of what stops for good: who stops it waits until it is gone."""
        if self._group.closing is DesiredState.STOP:
            raise RuntimeError(f"{self.name} is stopping")
        if child is not None and child.desired is DesiredState.STOP:
            raise RuntimeError(f"{child.spec.name} is stopping")

    def _emit(self, event: Event) -> None:
        try:
            self._on_event(event)
        except Exception as error:  # noqa: BLE001 - a broken listener must not stop the tree
            self.event_error = describe(error)
