"""Scripted actors and a recorder of events, for the tests of the supervisor."""

import copy
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

import trio

from supervisor import Context, Event, State
from supervisor.child import check_transition

Act = Callable[[Context], Awaitable[None]]


@dataclass
class Record:
    """Every event with the trio time it came at, and every start and end of a scripted actor in order."""

    events: list[tuple[float, Event]] = field(default_factory=list)
    diary: list[str] = field(default_factory=list)
    states: dict[str, State] = field(default_factory=dict)

    def __call__(self, event: Event) -> None:
        self.events.append((trio.current_time(), event))
        if event.event in {state.value for state in State}:
            old, new = self.states.get(event.actor, State.STOPPED), State(event.event)
            if old is not new:  # what is emitted is a path through the table, without omissions
                check_transition(event.actor, old, new)
            assert event.detail["from"] == old.value
            self.states[event.actor] = new

    def of(self, actor: str) -> list[str]:
        """The words of an actor's events."""
        return [event.event for _, event in self.events if event.actor == actor]

    def last(self, actor: str, word: str) -> Event:
        """The newest event of that actor with that word."""
        return [event for _, event in self.events if event.actor == actor and event.event == word][-1]

    def times(self, actor: str, word: str) -> list[float]:
        """When an actor's events with that word came."""
        return [at for at, event in self.events if event.actor == actor and event.event == word]

    def writes(self, act: Act) -> Act:
        """The same actor, its start and its end written into the diary."""

        async def run(context: Context) -> None:
            self.diary.append(f"+{context.name}")
            try:
                await act(context)
            finally:
                self.diary.append(f"-{context.name}")

        return run


async def works(context: Context) -> None:
    """Works until it is cancelled."""
    context.ok()
    await trio.sleep_forever()


async def polite(context: Context) -> None:
    """Works until it is asked to stop."""
    context.ok()
    await context.stopping.wait()


async def deaf(context: Context) -> None:
    """Notices the stop request and continues regardless."""
    context.ok()
    await context.stopping.wait()
    await trio.sleep_forever()


def crashes(error: Exception, after_s: float = 0.0, *, healthy: bool = False) -> Act:
    """Crashes after so long, each time it is started; with `healthy` it reports data first and last."""

    async def run(context: Context) -> None:
        if healthy:
            context.healthy()
        await trio.sleep(after_s)
        if healthy:
            context.healthy()
        raise copy.copy(error).with_traceback(None)  # one instance raised often would grow a long tail

    return run


def successively(*acts: Act) -> Act:
    """Another act at each start; the last one from then on."""
    script: Iterator[Act] = iter(acts)
    current = acts[0]

    async def run(context: Context) -> None:
        nonlocal current
        current = next(script, current)
        await current(context)

    return run


class Ear(Context):
    """Hears what the actor reports; `reason` is what health says now."""

    def __init__(self) -> None:
        super().__init__("clock")
        self.notes: list[tuple[str, str, dict[str, object]]] = []
        self.reason = ""

    def ok(self) -> None:
        self.reason = ""

    def degraded(self, reason: str) -> None:
        self.reason = reason

    def note(self, event: str, reason: str = "", **detail: object) -> None:
        self.notes.append((event, reason, detail))
