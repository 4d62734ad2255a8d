"""Promises of the context that an actor is given."""

import pytest

from supervisor import ChildSpec, Context, State, Supervisor
from tests.harness.supervisor_fakes import Record


def test_an_actor_can_run_alone_without_anyone_to_report_to() -> None:
    context = Context("alone")
    context.ok()
    context.degraded("x")
    context.healthy()
    context.handled()
    context.note("word", a=1)
    context.request_stop()
    assert context.stopping.is_set()


@pytest.mark.parametrize(
    ("reasons", "shown"),
    [
        ([], (State.OK, "")),
        (["a"], (State.DEGRADED, "a")),
        (["a", "b"], (State.DEGRADED, "a; b")),
        (["a", "b", "c", "d"], (State.DEGRADED, "a; b; and 2 more")),
    ],
)
async def test_of_many_reasons_some_are_shown_and_the_rest_counted(
    autojump_clock: object, reasons: list[str], shown: tuple[State, str]
) -> None:
    async def run(context: Context) -> None:
        context.degraded_by(reasons, shown_max=2)
        await context.stopping.wait()

    async with Supervisor("root", on_event=Record()) as root:
        await root.start(ChildSpec("x", run))
        health = root.health("x")
        assert (health.state, health.reason) == shown
