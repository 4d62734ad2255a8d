"""What the exchanges of one pipeline share."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from actors.backfill.rate_limiter import RateLimiters
from actors.backfill.stored_trades import Consult
from actors.continuity.tracker_state import Before, TrackerState
from actors.feed.peer_activity import PeerActivity
from actors.model.ticks import IdPromise

Past = Callable[[str, Mapping[str, IdPromise], Mapping[str, Before]], Awaitable[Sequence[TrackerState] | None]]


@dataclass(frozen=True, slots=True)
class SharedServices:
    """Rate limits by host, where coins are traded, and the file.

    `consult` asks the DuckDB file; `flush` returns when what has reached the buffer is durable. `past(exchange,
    promises, before)` gives the seeds of the exchange's markets (see `read_seeds`), None while the file is held.
    """

    limiters: RateLimiters
    neighbours: PeerActivity
    consult: Consult
    flush: Callable[[], Awaitable[None]]
    past: Past
