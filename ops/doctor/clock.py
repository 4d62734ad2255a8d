"""Compares this machine's clock with the exchange's, by the times of trades or the Date of REST's answer."""

from dataclasses import dataclass

from ops.doctor.advice import Trouble

LATE_MAX_S = 1.0  # including a trade's way here
EARLY_MAX_S = 0.1  # nothing arrives before it is sent, but exchanges' clocks are not exact to the millisecond
NTP = "check that NTP sets this clock (`timedatectl`, `chronyc tracking`): received_at is wrong by as much"


@dataclass(frozen=True, slots=True)
class Dated:
    """An HTTP answer's Date, in whole seconds, and its time of arrival; nanoseconds UTC."""

    date_ns: int
    received_ns: int


def judge(trades: int, lag_ns: float, dated: Dated | None) -> str | None:
    """Describes the difference; None if nothing shows it. Raises Trouble if it is too large.

    `lag_ns` is the least of `trades` lags, from a trade's time to its receipt: this clock's lead, plus the way. If
    that is long, Date distinguishes a late feed from a wrong clock, because it is created at the time of the
    request.
    """
    lag_s = lag_ns / 1e9
    if trades and (lag_s <= LATE_MAX_S or dated is None):
        evidence = f"{lag_s * 1000:+,.0f} ms from a trade's time to its receipt, at best of {trades}"
        return _judged(evidence, lag_s, lag_s)
    if dated is None:
        return None
    high_s = (dated.received_ns - dated.date_ns) / 1e9
    evidence = f"{high_s - 1:+,.1f} to {high_s:+,.1f} s against the Date of REST's answer"
    words = _judged(evidence, high_s - 1, high_s)
    return f"{words}; but trades arrive {lag_s:,.1f} s after their time: the feed is late" if trades else words


def _judged(evidence: str, low_s: float, high_s: float) -> str:
    """`low_s` to `high_s` is how far this clock is ahead, including the way from there."""
    if low_s > LATE_MAX_S:
        raise Trouble(f"{evidence}: this clock is ahead, or the data is old", NTP)
    if high_s < -EARLY_MAX_S:
        raise Trouble(f"{evidence}: this clock is behind", NTP)
    return evidence
