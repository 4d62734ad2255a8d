"""Every limit of the control socket: its name, its unit and its reason, in one place."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlLimits:
    """What clients may take of the service; the defaults are the public promise.

    - `clients_max` are served at once; one more gets an error and is closed, unless one of them has for `wasted_s`
      not read what waits for it, or not asked anything. Of these, `commanders_reserved` are kept for
      the owner and root, so that readers cannot lock out who has to act.
    - A client has wasted its slot that for `wasted_s` has neither read nor asked, looked at every `look_every_s`.
      An honest one reads within moments, and one that keeps its connection for the next question can open another.
    - `request_s` for a request to arrive whole, `write_s` for a write that makes no progress, `idle_s`
      between the requests of one connection, `command_s` for a command to be done.
    - After an error the connection is drained for at most `linger_s` and `linger_bytes_max`, so that a
      client still sending gets to read why; at most `lingering_max` turned-away clients at a time.
    - `loop_share` of the event loop's time is what all clients together may use in the long run,
      `loop_burst_s` of it at once: past that they wait, and recording does not.
    - `tap_lines_max` wait for one reader of the live tap; what comes past that is counted, not kept.
    """

    clients_max: int = 16
    commanders_reserved: int = 4
    wasted_s: float = 2.0
    look_every_s: float = 0.5
    backlog: int = 1024
    header_bytes_max: int = 16 * 1024
    body_bytes_max: int = 64 * 1024
    request_s: float = 5.0
    write_s: float = 5.0
    idle_s: float = 15.0
    command_s: float = 60.0  # a merge of a long backlog takes a while
    linger_s: float = 1.0
    linger_bytes_max: int = 256 * 1024
    lingering_max: int = 16
    loop_share: float = 0.03
    loop_burst_s: float = 0.1
    tap_lines_max: int = 1000

    def __post_init__(self) -> None:
        assert 0 <= self.commanders_reserved < self.clients_max < self.backlog
        assert self.header_bytes_max <= self.body_bytes_max <= self.linger_bytes_max
        assert 0 < self.loop_share <= 1
