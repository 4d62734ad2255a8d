"""Classifies errors: network errors as transient errors of our own types, and any error by one verdict.

A TransientError (refused, reset, silent, 5xx) is retried for ever, a misconfiguration (a wrong certificate) needs
an operator, and everything else is a bug of ours that must show.
"""

import email.utils
import errno
import re
import socket
import ssl
import time
from datetime import UTC

import trio
import trio_websocket

from supervisor import MisconfiguredError, TransientError, Verdict, leaves
from supervisor.restart_policy import RETRY_AFTER_S_MAX

# The minimum pause where the answer gives a reason but no duration. Further requests while refused turn
# a rate limit into a ban (Binance: 429, then 418 and a ban of 2 minutes to 3 days:
# https://developers.binance.com/docs/binance-spot-api-docs/rest-api/limits).
STATUS_FLOORS_S = {429: 10.0, 418: 120.0, 401: 300.0, 403: 300.0, 404: 300.0, 451: 300.0}
TOO_MANY = (418, 429)  # these apply to the address: no client behind it may send more
CLIENT_ERROR_FLOOR_S = 60.0  # any other 4xx: the same request will hardly succeed at once
CLOSE_FLOORS_S = {1008: 30.0, 1013: 10.0}  # policy violation (used for rate limits), try again later

_NETWORK_ERRNOS = frozenset(
    {
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENETRESET,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EADDRNOTAVAIL,
        errno.ENOTCONN,
        errno.ETIMEDOUT,
        errno.ENOBUFS,
    }
)
_TRANSIENT = (
    TransientError,
    ConnectionError,
    TimeoutError,
    socket.gaierror,
    ssl.SSLError,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    trio.TooSlowError,
    trio_websocket.ConnectionClosed,
    trio_websocket.HandshakeError,
)
_SECONDS = re.compile(r"([0-9]+)(?:\.[0-9]*)?")
_CHAIN_MAX = 16  # the maximum depth of causes followed


class CannotConnect(TransientError):
    """The name is unknown, there is no route, the connection is refused, or the server is no WebSocket server."""


class HandshakeRefused(TransientError):
    """The server answered the WebSocket handshake with a status other than 101.

    `retry_after_s` is the longer of its Retry-After and the minimum for such a status.
    """

    def __init__(self, status: int, *, retry_after_s: float | None = None, detail: str = "") -> None:
        text = f"the server refused the WebSocket handshake with HTTP {status}"
        if retry_after_s:
            text += f", next try in {retry_after_s:.0f} s or more"
        super().__init__(f"{text}: {detail}" if detail else text, retry_after_s=retry_after_s)
        self.status = status


class KeptAway(TransientError):
    """Another connection was told to stay away from the exchange; `left_s` of that time remain."""

    def __init__(self, left_s: float, reason: str) -> None:
        super().__init__(f"no new connection for another {left_s:.0f} s: {reason}", retry_after_s=left_s)


class ConnectionLost(TransientError):
    """The connection has ended: closed with `code` by either side, or 1006 without a close."""

    def __init__(self, code: int, reason: str = "") -> None:
        text = f"the connection was closed with code {code}"
        super().__init__(f"{text}: {reason}" if reason else text, retry_after_s=CLOSE_FLOORS_S.get(code))
        self.code = code
        self.reason = reason


class NetworkTimeout(TransientError):
    """`what` did not happen within its `limit_s`."""

    def __init__(self, what: str, limit_s: float) -> None:
        super().__init__(f"{what} took longer than {limit_s:g} s")
        self.what = what
        self.limit_s = limit_s


class WrongCertificate(MisconfiguredError):
    """The server's certificate cannot be trusted. The connection is never made without it."""


def refusal_floor_s(status: int, retry_after: str | None, now_s: float | None = None) -> float | None:
    """The minimum pause after an HTTP error status; None if the backoff alone decides.

    `retry_after` is the header's value, seconds or an HTTP date (RFC 9110, section 10.2.3); `now_s` is the time
    from which a date is counted, in seconds since 1970.
    """
    floor = STATUS_FLOORS_S.get(status, CLIENT_ERROR_FLOOR_S if 400 <= status < 500 else None)
    asked = _retry_after_s(retry_after, time.time() if now_s is None else now_s) if retry_after else None
    return max((seconds for seconds in (floor, asked) if seconds is not None), default=None)


def _retry_after_s(value: str, now_s: float) -> float | None:
    """The value in seconds, None if it is invalid. It is bounded: a mistake must not stop us for ever."""
    text = value.strip()
    if match := _SECONDS.fullmatch(text):  # some servers send decimals
        return min(float(match[1][:9]), RETRY_AFTER_S_MAX)
    try:
        moment = email.utils.parsedate_to_datetime(text)
        wait_s = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now_s
    except (ValueError, OverflowError):
        return None
    return min(max(wait_s, 0.0), RETRY_AFTER_S_MAX)


def classify(exc: BaseException) -> tuple[Verdict, float | None]:
    """The verdict on an error, and the minimum wait before a retry in seconds (None: no minimum).

    For a group the worst verdict counts: a bug, then a misconfiguration; among transient errors the longest wait.
    Cancellations in a group are how trio stops the siblings of a failed task; they are ignored.
    """
    found = [_judge(leaf) for leaf in leaves(exc) if not isinstance(leaf, trio.Cancelled)]
    verdicts = {verdict for verdict, _ in found}
    if not found or Verdict.BUG in verdicts:
        return Verdict.BUG, None
    floor_s = max((seconds for _, seconds in found if seconds is not None), default=None)
    return (Verdict.MISCONFIGURED if Verdict.MISCONFIGURED in verdicts else Verdict.TRANSIENT), floor_s


def _judge(exc: BaseException) -> tuple[Verdict, float | None]:
    if isinstance(exc, MisconfiguredError):
        return Verdict.MISCONFIGURED, None
    floor_s = None
    if isinstance(exc, TransientError):
        floor_s = exc.retry_after_s
    elif not isinstance(exc, _TRANSIENT) and not (isinstance(exc, OSError) and exc.errno in _NETWORK_ERRNOS):
        return Verdict.BUG, None
    return (Verdict.MISCONFIGURED if has_wrong_certificate(exc) else Verdict.TRANSIENT), floor_s


def has_wrong_certificate(exc: BaseException) -> bool:
    """Whether a failed certificate check is a cause of this error."""
    link: BaseException | None = exc
    for _ in range(_CHAIN_MAX):
        if link is None or isinstance(link, ssl.SSLCertVerificationError):
            break
        link = link.__cause__ or link.__context__
    return isinstance(link, ssl.SSLCertVerificationError)
