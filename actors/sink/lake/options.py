"""What delta-rs is asked of a store beside the user's options: time limits, and commits that replace no other.

delta-rs reads the environment too (AWS_ACCESS_KEY_ID ...), but an option given here comes before it.
"""

import os
import re
from collections.abc import Mapping

# No call may hang: an attempt is given up after REQUEST_S, and none begins later than RETRY_S after the first.
CONNECT_S, REQUEST_S, RETRY_S, RETRIES_MAX = 5, 10, 15, 3
_LIMITS: Mapping[str, str] = {
    "connect_timeout": f"{CONNECT_S}s",
    "timeout": f"{REQUEST_S}s",
    "max_retries": str(RETRIES_MAX),
    "retry_timeout": f"{RETRY_S}s",
    "backoff_config.init_backoff": "100ms",
    "backoff_config.max_backoff": "2s",
    "backoff_config.base": "2",
}
# A commit must not replace one that another recorder made at the same moment, whatever the environment permits.
_SAFE: Mapping[str, str] = {"aws_conditional_put": "etag", "aws_s3_allow_unsafe_rename": "false"}
_SECRET = re.compile(r"(?i)key|secret|token|passw|credential|sas|signature")


def delta_options(uri: str, options: Mapping[str, str]) -> dict[str, str]:
    """All options for delta-rs; a folder needs none. The user's may change the time limits, but not the safety."""
    if "://" not in uri or uri.startswith("file://"):
        return {}
    chosen = {name.lower(): value for name, value in options.items()}
    return {**_LIMITS, **chosen, **(_SAFE if uri.startswith("s3") else {})}


def secrets(options: Mapping[str, str], environment: Mapping[str, str] = os.environ) -> list[str]:
    """The values that no message may show: of options and of the environment's credentials of object stores."""
    theirs = {name: value for name, value in environment.items() if name.startswith(("AWS_", "GOOGLE_", "AZURE_"))}
    return [value for named in (options, theirs) for name, value in named.items() if value and _SECRET.search(name)]
