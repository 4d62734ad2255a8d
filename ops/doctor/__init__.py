"""Examines exchanges from here, step by step: what works, how long it took, and what to do where it does not."""

from ops.doctor.diagnosis import Report, examine
from ops.doctor.feed import FeedLimits
from ops.doctor.findings import Finding, State, Step

__all__ = ["FeedLimits", "Finding", "Report", "State", "Step", "examine"]
