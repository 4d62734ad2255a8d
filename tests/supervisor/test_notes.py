"""Promises of the notes: repeated and excessive notes are counted instead of emitted."""

import trio

from supervisor.notes import NOTES_MAX, PERIOD_S, SAME_MAX, Notes


async def test_a_repeated_note_is_counted(autojump_clock: object) -> None:
    notes = Notes()
    assert [notes.admit("leaving", "bye", {}) for _ in range(1_000)] == [{}] * SAME_MAX + [None] * (
        1_000 - SAME_MAX
    )
    await trio.sleep(PERIOD_S)
    assert notes.admit("leaving", "bye", {}) == {"repeated": 1_000 - SAME_MAX}
    assert notes.admit("leaving", "bye", {}) is None
    assert notes.admit("leaving", "bye", {"symbol": "A/B"}) == {}
    await trio.sleep(2 * PERIOD_S)
    assert notes.admit("leaving", "bye", {}) == {}


async def test_many_different_notes_are_limited_and_counted(autojump_clock: object) -> None:
    notes = Notes()
    admitted = [notes.admit("leaving", str(number), {}) for number in range(NOTES_MAX + 500)]
    assert admitted.count(None) == 500
    await trio.sleep(PERIOD_S)
    assert notes.admit("leaving", "another", {}) == {"left_out": 500}
