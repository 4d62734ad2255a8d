"""The steps of a connection, in order, and the observer that is called at each."""

import enum
from collections.abc import Callable


class ConnectionStep(enum.Enum):
    """A step; each comment says what the observer receives with it."""

    RESOLVED = enum.auto()  # the addresses of the host
    CONNECTED = enum.auto()  # the address that TCP reached
    SECURED = enum.auto()  # nothing: the TLS handshake is done, the certificate is trusted
    OPENED = enum.auto()  # nothing: the WebSocket handshake is done
    REQUESTED = enum.auto()  # the native markets of a request that was sent
    READ = enum.auto()  # nothing: messages were read and handled


# Called in the connection's task, so it must not wait.
Observer = Callable[[ConnectionStep, tuple[str, ...]], None]
