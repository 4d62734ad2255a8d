"""Promises of the context that an actor is given."""

from supervisor import Context


def test_an_actor_can_run_alone_without_anyone_to_report_to() -> None:
    context = Context("alone")
    context.ok()
    context.degraded("x")
    context.healthy()
    context.handled()
    context.note("word", a=1)
    context.request_stop()
    assert context.stopping.is_set()
