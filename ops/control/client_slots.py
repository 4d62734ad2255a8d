"""The client slots of a listener, and which client loses its slot when all are taken."""

import array
import fcntl
import termios

import trio

from ops.control.http import HttpConnection


class Place:
    """The slot of one client. Cancelling `scope` closes its connection."""

    def __init__(self, stream: trio.SocketStream, connection: HttpConnection, *, may_command: bool) -> None:
        self.may_command = may_command
        self.scope = trio.CancelScope()
        self._stream, self._connection = stream, connection
        self._unread = self._sent = 0
        self._read_at = trio.current_time()

    def look(self) -> None:
        """Notes whether the client has read something since the last check."""
        unread, sent = self._bytes_unread(), self._connection.sent_bytes
        # The kernel counts more than a message's bytes: a count below old plus new means that some was read.
        if not unread or unread < self._unread + sent - self._sent:
            self._read_at = trio.current_time()
        self._unread, self._sent = unread, sent

    def wasted_s(self) -> float:
        """How long the client has not read data that waits for it, or not begun a request."""
        since = [self._read_at] if self._unread else []
        if self._connection.idle_since is not None:
            since.append(self._connection.idle_since)
        return trio.current_time() - min(since, default=trio.current_time())

    def _bytes_unread(self) -> int:
        """The bytes sent that the client has not read: SIOCOUTQ, see unix(7) and tcp(7)."""
        count = array.array("i", [0])
        try:
            fcntl.ioctl(self._stream.socket.fileno(), termios.TIOCOUTQ, count)
        except (OSError, ValueError):  # it is being closed
            return 0
        return count[0]
