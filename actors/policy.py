"""How failures and endings are met: settings as the supervisor takes them, and all deadlines of a shutdown."""

from actors.settings import SupervisionSettings
from supervisor.backoff import Backoff
from supervisor.intensity import Intensity

# Shutdown is nesting, upstream first: a connection says goodbye and hands over what it has read, the buffer
# empties its mailbox, the last batch is written, the tail is merged (and may be left, if time is up).
CONNECTION_STOP_S = 2.0
LAST_PARCEL_S = 1.0
BUFFER_STOP_S = 5.0
WRITER_STOP_S = 10.0
MERGE_STOP_S = 10.0
STOP_S_MAX = CONNECTION_STOP_S + LAST_PARCEL_S + BUFFER_STOP_S + WRITER_STOP_S + MERGE_STOP_S


def backoff_of(settings: SupervisionSettings) -> Backoff:
    """The settings' delays."""
    return Backoff(settings.backoff_initial_s, settings.backoff_max_s, settings.backoff_reset_s)


def intensity_of(settings: SupervisionSettings) -> Intensity:
    """The settings' patience with bugs."""
    return Intensity(settings.restarts_max, settings.restarts_period_s)
