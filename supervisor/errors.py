"""The errors of supervised actors, and their classification: transient, misconfigured, or a bug.

    Exception
    +-- TransientError      the cause is outside (refused, reset, silent, 5xx): retried for ever, with backoff
    +-- MisconfiguredError  an operator must act: failed at once, probed later
    +-- Stuck               an actor made no progress; counts as a bug
    +-- GaveUp              raised by a supervisor whose child exceeded its restart intensity

Every other exception is a bug: it is retried with backoff and counts towards the intensity.
"""

import enum
import re
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from supervisor.text import DETAIL_CHARS_MAX, printable


class TransientError(Exception):
    """The cause is outside (refused, reset, silent, 5xx): retried for ever, with backoff.

    `retry_after_s` is how long the other side asked us to wait; it is a floor under the delay.
    """

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class MisconfiguredError(Exception):
    """Only an operator can correct it (a wrong certificate): failed at once, probed later."""


class Stuck(Exception):
    """An actor handled nothing while there was work, or sent no heartbeat; counts as a bug."""


class GaveUp(Exception):
    """Raised out of a supervisor when a child that must not fail exceeded its restart intensity.

    By the time it is raised everything below that supervisor has been stopped. The child's last error
    is its `__cause__`.
    """


class Verdict(enum.Enum):
    """The class of a failure, which decides what happens next."""

    TRANSIENT = "transient"  # backoff, for ever
    MISCONFIGURED = "misconfigured"  # failed at once, then probed
    BUG = "bug"  # backoff, and one more towards the intensity


def leaves(error: BaseException) -> list[BaseException]:
    """The errors inside a group, at any depth; an error that is no group is its own only leaf."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaves(inner)]
    return [error]


def classify(error: BaseException) -> tuple[Verdict, float | None]:
    """The verdict on an error, and the Retry-After in seconds where the other side gave one.

    A group is as bad as its worst member: a bug outweighs misconfiguration, which outweighs a transient error; the
    longest Retry-After counts. Cancellations inside a group are trio's and do not count.
    """
    import trio  # not above: commands that need only these classes start without trio

    found = [leaf for leaf in leaves(error) if not isinstance(leaf, trio.Cancelled)]
    if not all(isinstance(leaf, TransientError | MisconfiguredError) for leaf in found) or not found:
        return Verdict.BUG, None
    waits = [
        leaf.retry_after_s for leaf in found if isinstance(leaf, TransientError) and leaf.retry_after_s is not None
    ]
    retry_after_s = max(waits, default=None)
    if any(isinstance(leaf, MisconfiguredError) for leaf in found):
        return Verdict.MISCONFIGURED, retry_after_s
    return Verdict.TRANSIENT, retry_after_s


_ERRNO = re.compile(r"\[Errno -?[0-9]+\] ")  # the text after it has the same meaning


def describe(error: BaseException) -> str:
    """An error in one line for people: the type and the message of each leaf, at most `LINE_CHARS_MAX`."""
    parts = [f"{type(leaf).__name__}: {_ERRNO.sub('', str(leaf))}".rstrip(": ") for leaf in leaves(error)]
    return printable(" | ".join(dict.fromkeys(parts)), LINE_CHARS_MAX)


LINE_CHARS_MAX = 500  # a reason is shown in tables; a server may send a whole page as its error text


@dataclass(frozen=True, slots=True)
class Failure:
    """A classified error: its verdict, the Retry-After in seconds, its description, and an event's detail of it."""

    verdict: Verdict
    retry_after_s: float | None
    text: str
    detail: dict[str, object]


def judge(error: Exception, classify: Callable[[BaseException], tuple[Verdict, float | None]]) -> Failure:
    """The failure that an error is by an actor's own `classify`; if that fails in turn, it is a bug."""
    verdict, retry_after_s = Verdict.BUG, None
    if not isinstance(error, Stuck):
        try:
            verdict, retry_after_s = classify(error)
        except Exception as broken:  # noqa: BLE001 - a broken classify must not take the siblings down
            error.add_note(f"and its classify failed: {describe(broken)}")
    text = describe(error)
    detail: dict[str, object] = {"verdict": verdict.value, "error": text}
    if verdict is Verdict.BUG and not isinstance(error, Stuck):
        detail["traceback"] = "".join(traceback.format_exception(error))[-DETAIL_CHARS_MAX:]
    return Failure(verdict, retry_after_s, text, detail)
