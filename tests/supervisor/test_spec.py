"""Promises of a child's specification: what contradicts itself is refused when it is made."""

import pytest

from supervisor import ChildSpec, Context, Intensity, PolicyError


async def _nothing(context: Context) -> None:
    """A child's run that does nothing."""


def test_a_refused_policy_names_the_numbers_that_clash_and_what_to_set() -> None:
    with pytest.raises(PolicyError, match=r"restarts_max=10 within restarts_period_s=60 .* set restarts_period_s"):
        ChildSpec("x", _nothing, intensity=Intensity(10, 60))


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "a b"},
        {"name": "x" * 65},
        {"stop_s": -1},
        {"on_exhausted": "shrug"},
        {"probe_interval_s": 0},
        {"stuck_s": 0},
        {"heartbeat_s": 0},
    ],
)
def test_a_wrong_value_is_refused_by_name_when_the_specification_is_made(wrong: dict[str, object]) -> None:
    values: dict[str, object] = {"name": "x", "run": _nothing, **wrong}
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ChildSpec(**values)  # type: ignore[arg-type]
