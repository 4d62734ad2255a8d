"""One look at the service."""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from ops.control.client import ControlClient


class Sample(Struct, frozen=True):
    """/v1/status and /v1/actors, asked one after the other, and when the answers were there."""

    status: Mapping[str, Any]
    actors: Sequence[Mapping[str, Any]]
    monotonic_s: float
    now: datetime

    @classmethod
    def of(cls, service: ControlClient) -> "Sample":
        """Raises NoService or ProblemReply."""
        status: Any = service.get("/v1/status")
        actors: Any = service.get("/v1/actors")
        return cls(status, actors, time.monotonic(), datetime.now(UTC))
