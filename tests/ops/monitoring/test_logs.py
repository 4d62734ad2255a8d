"""The log: one line per event, repeats counted, secrets removed, never waiting for a reader."""

import errno
import io
import json
import logging
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from ops.monitoring import log_sink
from ops.monitoring.log_repeats import KEYS_MAX, REPEAT_S, Fields, Repeats
from ops.monitoring.log_sink import LineSink
from ops.monitoring.logs import configure, log_event, set_level
from ops.monitoring.redact import HIDDEN, redact, redact_text
from supervisor import Event

PATIENCE_S = 30.0


@pytest.fixture(autouse=True)
def _leave_logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def said(stream: io.StringIO, sink: LineSink) -> list[dict[str, Any]]:
    """All lines so far, without telling what repeats."""
    assert sink.wait_written(PATIENCE_S)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def plain_sink(stream: Any) -> LineSink:
    return LineSink(stream, notice=lambda count: f"dropped {count}\n")


def event(name: str, reason: str = "", **more: Any) -> Event:
    return Event(at_ns=0, actor="binance:1", event=name, reason=reason, **more)


# -- lines ------------------------------------------------------------------------------------------


def test_an_event_is_one_json_line_with_its_time_level_actor_and_reason() -> None:
    stream = io.StringIO()
    sink = configure("info", "json", stream)
    log_event(event("backoff", "refused\nby the other side", retry_in_s=1.5, restarts=3))
    (line,) = said(stream, sink)
    assert line.pop("at").endswith("Z")
    assert line == {
        "level": "warning",
        "event": "backoff",
        "actor": "binance:1",
        "reason": "refused by the other side",
        "retry_in_s": 1.5,
        "restarts": 3,
    }
    log_event(event("store_file_damaged", "it was set aside"))
    assert [line["level"] for line in said(stream, sink)][-1] == "warning"


@pytest.mark.parametrize("style", ["json", "console"])
def test_an_exception_stays_on_the_line_of_its_event(style: str) -> None:
    stream = io.StringIO()
    sink = configure("info", style, stream)
    structlog.get_logger().error("broke", exc_info=RuntimeError("first\nsecond"))
    sink.drain(PATIENCE_S)
    assert stream.getvalue().count("\n") == 1 and "RuntimeError: first" in stream.getvalue()


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_words_of_a_server_can_end_a_line_of_the_console_or_command_the_terminal(reason: str, name: str) -> None:
    stream = io.StringIO()
    sink = configure("info", "console", stream)
    structlog.get_logger().info(f"got{name}", reason=reason)
    sink.close(PATIENCE_S)
    text = stream.getvalue()
    assert text.endswith("\n") and text[:-1].isprintable()


def test_the_traceback_of_a_bug_and_the_stack_of_a_stuck_actor_are_reported() -> None:
    stream = io.StringIO()
    sink = configure("info", "json", stream)
    log_event(event("backoff", "KeyError: 'p'", detail={"traceback": "Traceback ..."}))
    log_event(event("stuck", "handled nothing", detail={"stack": "task binance:1 ..."}))
    bug, stuck = said(stream, sink)
    assert bug["traceback"] == "Traceback ..." and stuck["stack"] == "task binance:1 ..."


def test_the_level_changes_while_the_service_runs_also_for_loggers_in_use() -> None:
    stream = io.StringIO()
    sink = configure("warning", "json", stream)
    log = structlog.get_logger()
    log.info("one")
    set_level("debug")
    log.debug("two")
    set_level("error")
    log.warning("three")
    assert [line["event"] for line in said(stream, sink)] == ["two"]
    with pytest.raises(KeyError):
        set_level("loud")


def test_what_libraries_log_and_warn_comes_out_the_same_way_once() -> None:
    stream = io.StringIO()
    sink = configure("info", "json", stream)
    logging.getLogger("httpx").info("not of interest")
    logging.getLogger("trio-websocket").warning("odd %s", "frame")
    logging.getLogger("broken").warning("%d", "no number")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("deprecated", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(False)
    lines = said(stream, sink)
    assert [(line["actor"], line["level"]) for line in lines] == [
        ("trio-websocket", "warning"),
        ("broken", "warning"),
        ("py.warnings", "warning"),
    ]
    assert lines[0]["reason"] == "odd frame"


# -- repeats ----------------------------------------------------------------------------------------


def test_the_same_trouble_within_a_minute_is_shown_once_and_then_counted() -> None:
    clock, stream = Clock(), io.StringIO()
    sink = configure("info", "json", stream, clock=clock, idle_s=0.01)
    for attempt in range(50):
        log_event(event("backoff", "refused", retry_in_s=float(attempt)))
    log_event(event("backoff", "reset by peer"))
    assert [line["reason"] for line in said(stream, sink)] == ["refused", "reset by peer"]
    clock.now += REPEAT_S + 1
    until(lambda: stream.getvalue().count("\n") == 3)
    summary = said(stream, sink)[2]
    assert (summary["event"], summary["repeated"], summary["retry_in_s"]) == ("backoff", 49, 49.0)
    assert summary["actor"] == "binance:1" and summary["in_s"] == pytest.approx(REPEAT_S + 1)


def test_what_repeats_is_reported_at_the_end_too() -> None:
    stream = io.StringIO()
    sink = configure("info", "json", stream)
    for _ in range(3):
        structlog.get_logger().error("ended", reason="disk full")
    sink.drain(PATIENCE_S)
    assert [line.get("repeated") for line in said(stream, sink)] == [None, 2]


def test_what_is_no_trouble_is_never_held_back() -> None:
    stream = io.StringIO()
    sink = configure("info", "json", stream)
    for _ in range(3):
        log_event(event("stopping", "stop requested"))
    assert len(said(stream, sink)) == 3


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.floats(0, 40)), max_size=60))
def test_every_line_is_shown_or_counted_and_none_is_shown_twice_a_minute(steps: list[tuple[str, float]]) -> None:
    clock = Clock()
    repeats = Repeats(clock)
    shown: dict[str, list[float]] = {}
    total = 0
    for reason, wait_s in steps:
        total += 1
        counted = repeats.due()
        for fields in counted:
            shown.setdefault(str(fields["reason"]), []).append(clock.now)
            total -= int(str(fields["repeated"]))
        if repeats.admit({"event": "backoff", "actor": "x", "reason": reason}):
            shown.setdefault(reason, []).append(clock.now)
            total -= 1
        clock.now += wait_s
    assert total == sum(int(str(fields["repeated"])) for fields in repeats.due(everything=True))
    for moments in shown.values():
        assert all(later - earlier >= REPEAT_S for earlier, later in pairwise(moments))


def test_endlessly_many_different_troubles_take_bounded_memory_and_are_all_shown() -> None:
    repeats = Repeats(Clock())
    assert all(repeats.admit({"event": "backoff", "reason": str(number)}) for number in range(3 * KEYS_MAX))
    newest_first = reversed(range(3 * KEYS_MAX))
    repeated = [not repeats.admit({"event": "backoff", "reason": str(number)}) for number in newest_first]
    assert repeated == [True] * KEYS_MAX + [False] * 2 * KEYS_MAX


def test_a_repeated_line_does_not_keep_the_frames_of_its_exception_alive() -> None:
    repeats = Repeats(Clock())
    fields: Fields = {"event": "broke", "exc_info": RuntimeError(), "traceback": "long"}
    assert repeats.admit(fields) and not repeats.admit(fields)
    (summary,) = repeats.due(everything=True)
    assert summary == {"event": "broke", "repeated": 1, "in_s": 0.0}


# -- secrets ----------------------------------------------------------------------------------------


def test_secrets_are_hidden_wherever_they_stand() -> None:
    stream = io.StringIO()
    sink = configure("info", "json", stream)
    structlog.get_logger().info(
        "connecting",
        url="wss://me:hunter2@host/ws?token=hunter2&symbol=BTC",
        api_key="hunter2",
        headers={"Authorization": "Bearer hunter2", "Accept": "text/plain"},
        reason='refused: {"apiKey": "hunter2", "code": 7} Authorization: Bearer hunter2',
        requests=["POST /?signature=hunter2"],
    )
    structlog.get_logger().error(
        "broke", reason="password=hunter2", exc_info=ValueError("https://hunter2@host/ no")
    )
    lines = said(stream, sink)
    assert "hunter2" not in stream.getvalue()
    assert lines[0]["url"] == f"wss://{HIDDEN}@host/ws?token={HIDDEN}&symbol=BTC"
    assert lines[0]["headers"] == {"Authorization": HIDDEN, "Accept": "text/plain"}


@pytest.mark.parametrize(
    "text", ["wss://stream.example:9443/ws?streams=btcusdt@trade", "BTC/USDT:USDT", "a@b", "held by process 7"]
)
def test_what_is_no_secret_is_left_as_it_is(text: str) -> None:
    assert redact_text(text) == text


def test_hiding_secrets_takes_time_in_line_with_the_text() -> None:
    began = time.process_time()
    for hostile in ("a-" * 100_000, "token" * 50_000, "://" * 80_000, "token " + " " * 200_000, "=token:" * 30_000):
        redact_text(hostile)
    assert time.process_time() - began < 5.0


def test_endless_nesting_and_numbers_that_json_has_no_word_for_do_no_harm() -> None:
    nested: list[object] = []
    nested.append(nested)
    assert "..." in str(redact(nested))
    assert redact({"lag": float("nan"), "none": None}) == {"lag": "nan", "none": None}


# -- the sink ---------------------------------------------------------------------------------------


def test_a_stalled_pipe_blocks_nothing_and_dropped_lines_are_reported_when_it_moves_again() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as reader, os.fdopen(writing, "wb") as stalled:
        sink = plain_sink(stalled)
        line = "x" * 999 + "\n"
        began = time.monotonic()
        for _ in range(30_000):
            sink.write(line)
        assert time.monotonic() - began < PATIENCE_S
        assert sink.dropped > 10_000
        on_its_way = 3 * log_sink.WRITE_BYTES_MAX  # in the pipe, in the write that waits, and one line
        assert (30_000 - sink.dropped) * len(line) <= log_sink.BYTES_MAX + on_its_way
        sink.drain(0.05)  # gives up
        kept, dropped = 30_000 - sink.dropped, sink.dropped
        lines = [reader.readline() for _ in range(kept + 1)]
        assert lines[:-1] == [line.encode()] * kept
        assert lines[-1] == f"dropped {dropped}\n".encode()


def test_a_process_whose_log_pipe_is_stalled_still_ends_by_itself() -> None:
    program = (
        "import structlog, sys; from ops.monitoring.logs import configure\n"
        "sink = configure('info', 'json')\n"
        "for n in range(5000): structlog.get_logger().info('x' * 100)\n"
        "sink.drain(0.2); sys.exit(7)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE) as process:
        assert process.wait(PATIENCE_S) == 7


def test_a_reader_that_went_away_is_no_error_and_costs_the_lines_only() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as broken:
        sink = plain_sink(broken)
        for _ in range(100):
            sink.write("line\n")
        sink.drain(PATIENCE_S)
        assert sink.dropped == 100


def test_a_full_disk_costs_lines_which_are_counted_once_there_is_room(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full, (tmp_path / "log").open("wb") as good:
        sink = plain_sink(full)
        for number in range(1, 4):  # from the second on, the line that tells of those dropped is lost as well
            sink.write("line\n")
            sink.drain(PATIENCE_S)
            assert sink.dropped == number
        os.dup2(good.fileno(), full.fileno())
        sink.write("next\n")
        sink.drain(PATIENCE_S)
        assert (tmp_path / "log").read_text() == "next\ndropped 3\n"


def test_a_line_that_broke_off_does_not_spoil_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = [5]
    path, write = tmp_path / "log", os.write

    def scarce(descriptor: int, data: bytes) -> int:
        if descriptor != disk.fileno():
            return write(descriptor, data)
        if not room[0]:
            raise OSError(errno.ENOSPC, "no space")
        taken = write(descriptor, data[: room[0]])
        room[0] -= taken
        return taken

    monkeypatch.setattr(os, "write", scarce)
    with path.open("wb", buffering=0) as disk:
        sink = plain_sink(disk)
        sink.write("abcdefgh\n")
        sink.drain(PATIENCE_S)
        room[0] = 1000
        sink.write("next\n")
        sink.drain(PATIENCE_S)
        assert path.read_bytes() == b"abcde\nnext\ndropped 1\n"


def test_a_non_blocking_pipe_loses_nothing() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with os.fdopen(reading, "rb") as reader, os.fdopen(writing, "wb", buffering=0) as pipe:
        sink = plain_sink(pipe)
        for number in range(3000):
            sink.write(f"{number:099}\n")
        assert [int(reader.readline()) for _ in range(3000)] == list(range(3000))
        assert not sink.dropped


def test_a_flood_of_lines_is_bounded_in_number_as_well() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb"), os.fdopen(writing, "wb") as stalled:
        sink = plain_sink(stalled)
        line = "x" * 99 + "\n"
        for _ in range(50_000):  # fewer bytes than may wait
            sink.write(line)
        on_their_way = 3 * log_sink.WRITE_BYTES_MAX // len(line)
        assert 50_000 - sink.dropped <= log_sink.LINES_MAX + on_their_way
