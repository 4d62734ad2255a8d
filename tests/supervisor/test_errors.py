"""Promises of the errors: an error is classified by its worst part and described in one bounded line."""

import pytest

from supervisor import MisconfiguredError, TransientError, Verdict, classify, describe
from supervisor.errors import LINE_CHARS_MAX


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (TransientError("refused"), (Verdict.TRANSIENT, None)),
        (TransientError("slow down", retry_after_s=7), (Verdict.TRANSIENT, 7)),
        (MisconfiguredError("wrong certificate"), (Verdict.MISCONFIGURED, None)),
        (ValueError("a bug"), (Verdict.BUG, None)),
        (OSError("not translated at the edge"), (Verdict.BUG, None)),
        (
            ExceptionGroup("", [TransientError("a", retry_after_s=3), TransientError("b", retry_after_s=9)]),
            (Verdict.TRANSIENT, 9),
        ),
        (ExceptionGroup("", [TransientError("a"), MisconfiguredError("b")]), (Verdict.MISCONFIGURED, None)),
        (
            ExceptionGroup("", [TransientError("a"), ExceptionGroup("", [MisconfiguredError("b"), KeyError()])]),
            (Verdict.BUG, None),
        ),
    ],
)
def test_a_group_of_errors_is_classified_by_its_worst_member(
    error: Exception, verdict: tuple[Verdict, float | None]
) -> None:
    assert classify(error) == verdict


def test_a_description_is_one_bounded_line_naming_each_leaf_once() -> None:
    error = ExceptionGroup(
        "group", [TransientError("refused\nby peer"), TransientError("refused\nby peer"), KeyError()]
    )
    assert describe(error) == "TransientError: refused by peer | KeyError"
    assert len(describe(ValueError("x" * 10_000))) == LINE_CHARS_MAX
