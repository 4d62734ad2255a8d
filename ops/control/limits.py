"""Every limit of the control socket, with its unit and reason."""

from msgspec import Struct


class ControlLimits(Struct, frozen=True, kw_only=True):
    """The limits for clients; the defaults are documented.

    - `clients_max` are served at once; one more gets an error and is closed, unless one of them has wasted its
      slot. Of these, `commanders_reserved` are kept for the owner and root, so that readers cannot lock them out.
    - A client has wasted its slot if for `wasted_s` it has neither read data that waits for it nor begun a request,
      checked every `look_every_s`. A regular client reads quickly, and one that keeps its connection for the next
      request can open another.
    - `request_s` for a request to be complete, `write_s` for a write that makes no progress, `idle_s` between the
      requests of one connection, `command_s` for a command.
    - After an error the connection is drained for at most `linger_s` and `linger_bytes_max`, so that a client still
      sending can read the error; at most `lingering_max` rejected clients at a time.
    - `loop_share` of the event loop's time is available to all clients together in the long run, `loop_burst_s` of
      it at once: beyond that they wait, and recording does not. Lines of the live tap are paid for with `tap_share`
      instead, by all its readers together: enough for one that reads 5,000 a second to get each at once.
    - `tap_lines_max` lines wait for one reader of the live tap; further ones are counted, not kept. It is more
      than the second that connections hold undecoded while nobody reads the tap, at 5,000 a second.
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
    tap_share: float = 0.1
    loop_burst_s: float = 0.1
    tap_lines_max: int = 10_000

    def __post_init__(self) -> None:
        assert 0 <= self.commanders_reserved < self.clients_max < self.backlog
        assert self.header_bytes_max <= self.body_bytes_max <= self.linger_bytes_max
        assert 0 < self.loop_share <= 1
        assert 0 < self.tap_share <= 1
