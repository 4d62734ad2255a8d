"""Tests every step to an exchange: whether it works, how long it takes, and what to do if it fails."""

from ops.doctor.diagnosis import Report, examine
from ops.doctor.feed import FeedLimits
from ops.doctor.findings import Finding, State, Step

__all__ = ["FeedLimits", "Finding", "Report", "State", "Step", "examine"]
