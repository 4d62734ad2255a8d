"""The steps of a connection in their order, and the callable that observes them."""

import enum
from collections.abc import Callable


class ConnectionStep(enum.Enum):
    """Each with what the observer receives beside it."""

    RESOLVED = enum.auto()  # the addresses of the host
    CONNECTED = enum.auto()  # the address that TCP reached
    SECURED = enum.auto()  # nothing: the TLS handshake is done, its certificate is trusted
    OPENED = enum.auto()  # nothing: the WebSocket handshake is done
    REQUESTED = enum.auto()  # the native markets of a request that was sent
    READ = enum.auto()  # nothing: messages were read and handled


# Called in the connection's task, so it must not wait; without an observer nothing is called.
Observer = Callable[[ConnectionStep, tuple[str, ...]], None]
