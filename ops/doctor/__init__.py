"""Tests every step to an exchange: whether it works, how long it takes, and what to do if it fails.

diagnosis       tests all exchanges at the same time
feed            the feed: from the host's name to the first trade
probe_session   one session of the service, observed
history         one page of the REST history
silent          whether silent markets exist
clock           this machine's clock against the exchange's
findings        the results, and the chart of steps
advice          what to do about each failure
"""

from ops.doctor.diagnosis import Report, examine
from ops.doctor.feed import FeedLimits
from ops.doctor.findings import Finding, State, Step

__all__ = ["FeedLimits", "Finding", "Report", "State", "Step", "examine"]
