"""What the exchanges of one pipeline share."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from actors.limiter import Limiters
from actors.neighbours import Neighbours
from actors.shelf import Consult


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Rate limits by host, where coins are traded, and the file.

    `consult` asks the DuckDB file; `flush` returns when what has reached the buffer is durable.
    """

    limiters: Limiters
    neighbours: Neighbours
    consult: Consult
    flush: Callable[[], Awaitable[None]]
