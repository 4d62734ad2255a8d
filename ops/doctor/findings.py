"""The findings of a test, and the chart that times its steps and skips those after a failure."""

import enum
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import trio

from actors.exchanges.contract.history import Refused
from ops.doctor.advice import Trouble, advice_on
from supervisor import MisconfiguredError, TransientError, describe
from supervisor.text import REASON_CHARS_MAX, printable


class State(enum.StrEnum):
    """How a step ended; skipped steps could not or need not be tested."""

    PASS = "pass"  # noqa: S105 - not a password
    FAIL = "fail"
    SKIPPED = "skipped"


class Step(enum.StrEnum):
    """The steps, in order. All but the last two are taken for each connection."""

    RESOLVE = "resolve"
    CONNECT = "connect"
    TLS = "tls"
    WEBSOCKET = "websocket"
    SUBSCRIBE = "subscribe"
    ACKNOWLEDGED = "acknowledged"
    TRADE = "first_trade"
    REST = "rest"
    CLOCK = "clock"


@dataclass(frozen=True, slots=True)
class Finding:
    """One step's result. `took_s` is None if nothing was timed; `advice` is what to do about a failure."""

    about: str
    step: Step
    state: State
    took_s: float | None
    found: str
    advice: str = ""


@dataclass(slots=True)
class Note:
    """What a successful step reports; `took_s` if it is not the time of the block."""

    found: str = ""
    took_s: float | None = None


class Stop(Exception):
    """A step failed, so the following ones are skipped."""


class Chart:
    """Collects the findings about one subject (a connection, for example), for the `steps` that are due in this
    order.
    """

    def __init__(self, about: str, steps: Sequence[Step]) -> None:
        self.findings: list[Finding] = []
        self._about, self._steps = about, steps

    @contextmanager
    def step(self, step: Step) -> Iterator[Note]:
        """Times the block; external errors become a failure and are raised as Stop."""
        begun, note = trio.current_time(), Note()
        try:
            yield note
        except (Trouble, Refused, TransientError, MisconfiguredError) as error:
            found = str(error) or describe(error)
            self.add(step, State.FAIL, trio.current_time() - begun, found, advice_on(error))
            raise Stop from error
        took_s = trio.current_time() - begun if note.took_s is None else note.took_s
        self.add(step, State.PASS, took_s, note.found)

    def add(self, step: Step, state: State, took_s: float | None, found: str, advice: str = "") -> None:
        """Adds a finding; text quoted from a server is made safe to show."""
        found, advice = printable(found, REASON_CHARS_MAX), printable(advice, REASON_CHARS_MAX)
        self.findings.append(Finding(self._about, step, state, took_s, found, advice))

    def skip_rest(self) -> None:
        """At the end: steps not tested were skipped because of the last failure."""
        failed = [finding.step for finding in self.findings if finding.state is State.FAIL]
        done = {finding.step for finding in self.findings}
        for step in self._steps:
            if step not in done:
                self.add(step, State.SKIPPED, None, f"because {failed[-1].replace('_', ' ')} failed")
