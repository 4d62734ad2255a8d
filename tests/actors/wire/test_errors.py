"""The classification of errors: transient, misconfigured, or a bug."""

import errno
import socket
import ssl
import time

import msgspec
import pytest
import trio
import trio_websocket
from hypothesis import given
from hypothesis import strategies as st

from actors.wire.errors import (
    CannotConnect,
    ConnectionLost,
    HandshakeRefused,
    NetworkTimeout,
    WrongCertificate,
    classify,
    refusal_floor_s,
)
from supervisor import MisconfiguredError, TransientError, Verdict
from supervisor.restart_policy import RETRY_AFTER_S_MAX

NOON = 1_793_188_800.0  # 2026-10-28 12:00:00 UTC


def caused(exc: Exception, cause: Exception) -> Exception:
    exc.__cause__ = cause
    return exc


TRANSIENT: list[BaseException] = [
    ConnectionRefusedError(),
    ConnectionResetError(),
    BrokenPipeError(),
    TimeoutError(),
    socket.gaierror(socket.EAI_AGAIN, "try again"),
    ssl.SSLError("handshake failure"),
    ssl.SSLEOFError(),
    OSError(errno.ENETUNREACH, "unreachable"),
    OSError(errno.EHOSTUNREACH, "unreachable"),
    trio.TooSlowError(),
    trio.BrokenResourceError(),
    trio.ClosedResourceError(),
    trio_websocket.ConnectionClosed(None),
    trio_websocket.ConnectionTimeout(),
    CannotConnect("refused"),
    NetworkTimeout("connecting", 10),
    ConnectionLost(1006),
    ConnectionLost(4001, "going away"),
    HandshakeRefused(503),
    TransientError("silent for 30 s"),
]

BUGS: list[BaseException] = [
    ValueError("of ours"),
    KeyError("p"),
    AssertionError(),
    TypeError(),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
    msgspec.DecodeError("truncated"),
    FileNotFoundError(errno.ENOENT, "no such file"),
    PermissionError(errno.EACCES, "denied"),
    OSError(errno.ENOSPC, "disk full"),
    OSError(errno.EMFILE, "too many open files"),
    OSError("of unknown kind"),
    trio.WouldBlock(),
    trio.EndOfChannel(),
    KeyboardInterrupt(),
]


@pytest.mark.parametrize("exc", TRANSIENT, ids=repr)
def test_transient_is_waited_out(exc: BaseException) -> None:
    assert classify(exc) == (Verdict.TRANSIENT, None)


@pytest.mark.parametrize("exc", BUGS, ids=repr)
def test_all_else_is_a_bug(exc: BaseException) -> None:
    assert classify(exc) == (Verdict.BUG, None)


@pytest.mark.parametrize(
    "exc",
    [
        WrongCertificate("expired"),
        MisconfiguredError("ca_file missing"),
        ssl.SSLCertVerificationError("expired"),
        caused(trio.BrokenResourceError(), ssl.SSLCertVerificationError("expired")),
        caused(ConnectionError(), caused(OSError(), ssl.SSLCertVerificationError("expired"))),
    ],
    ids=repr,
)
def test_a_wrong_certificate_is_a_misconfigured_however_it_comes(exc: Exception) -> None:
    assert classify(exc) == (Verdict.MISCONFIGURED, None)


def test_a_bug_met_while_a_certificate_was_refused_is_still_a_bug() -> None:
    assert classify(caused(KeyError("x"), ssl.SSLCertVerificationError("expired"))) == (Verdict.BUG, None)


@pytest.mark.parametrize(
    ("status", "header", "floor_s"),
    [
        (429, None, 10),
        (429, "3", 10),
        (429, "120", 120),
        (418, None, 120),
        (418, "604", 604),
        (403, None, 300),
        (451, None, 300),
        (400, None, 60),
        (500, None, None),
        (503, None, None),
        (503, " 7 ", 7),
        (503, "Wed, 28 Oct 2026 12:01:30 GMT", 90),
        (503, "Wed, 28 Oct 2026 11:00:00 GMT", 0),
        (503, "soon", None),
        (503, "-5", None),
        (418, "259200", 3 * 86_400),
        (429, "604800", 7 * 86_400),
        (503, "90.5", 90),
        (429, "Sun, 01 Nov 2026 12:00:00 GMT", 4 * 86_400),
        (429, "Sun, 29 Nov 2026 12:00:00 GMT", RETRY_AFTER_S_MAX),
        (503, "²", None),
        (503, "9" * 5000, RETRY_AFTER_S_MAX),
        (503, "Fri, 31 Dec 9999 23:59:59 GMT", RETRY_AFTER_S_MAX),
        (301, None, None),
    ],
)
def test_a_refused_handshake_is_not_retried_too_early(
    status: int, header: str | None, floor_s: float | None
) -> None:
    assert refusal_floor_s(status, header, NOON) == floor_s


def test_a_date_without_a_zone_is_utc_wherever_we_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert refusal_floor_s(503, "Wed, 28 Oct 2026 12:01:30 -0000", NOON) == 90
    finally:
        monkeypatch.undo()
        time.tzset()


@given(st.integers(100, 599), st.text(max_size=40))
def test_no_retry_after_header_can_stop_us_or_hold_us_for_ever(status: int, header: str) -> None:
    floor_s = refusal_floor_s(status, header, NOON)
    assert floor_s is None or 0 <= floor_s <= RETRY_AFTER_S_MAX


def test_the_floor_of_a_refusal_comes_with_the_verdict() -> None:
    assert classify(HandshakeRefused(403, retry_after_s=300)) == (Verdict.TRANSIENT, 300)
    assert classify(TransientError("leave me alone", retry_after_s=5)) == (Verdict.TRANSIENT, 5)


def test_a_close_for_policy_or_overload_keeps_us_away_for_a_while() -> None:
    for code in (1008, 1013):
        verdict, floor_s = classify(ConnectionLost(code, "slow down"))
        assert verdict is Verdict.TRANSIENT
        assert floor_s is not None and floor_s >= 10


def test_of_a_group_the_worst_counts() -> None:
    slow, slower = TransientError("", retry_after_s=5), HandshakeRefused(429, retry_after_s=70)
    transient = ExceptionGroup("", [slow, ExceptionGroup("", [slower, ConnectionResetError()])])
    assert classify(transient) == (Verdict.TRANSIENT, 70)
    assert classify(ExceptionGroup("", [transient, MisconfiguredError("ca_file")]))[0] is Verdict.MISCONFIGURED
    assert classify(ExceptionGroup("", [transient, MisconfiguredError("ca_file"), KeyError("p")])) == (
        Verdict.BUG,
        None,
    )


async def test_cancelled_siblings_in_a_group_are_ignored() -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.sleep_forever()
        except trio.Cancelled as cancelled:
            group = BaseExceptionGroup("", [cancelled, ConnectionResetError()])
            alone = BaseExceptionGroup("", [cancelled])
            assert classify(group) == (Verdict.TRANSIENT, None)
            assert classify(alone) == (Verdict.BUG, None)
            raise
