"""Keeps a connection alive: sends pings, and the replies that the exchange's own messages require."""

from typing import NoReturn

import trio

from actors.exchanges.contract.feed import Ping
from actors.wire.websocket import WebSocket

REPLIES_MAX = 100  # queued replies: of a flood of pings only the newest are answered


class Replies:
    """Collects replies where messages are read, and sends them in a task that lasts while there are any."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._sending = True  # `send_to` is called once the connection is open

    def add(self, text: str) -> bool:
        """Queues a reply. Returns whether `send_to`, which has ended, is to be called again."""
        self._texts.append(text)
        del self._texts[:-REPLIES_MAX]
        ended, self._sending = not self._sending, True
        return ended

    async def send_to(self, wire: WebSocket) -> None:
        """Sends the replies in order until there is none. Raises the errors of WebSocket.send."""
        while self._texts:
            await wire.send(self._texts.pop(0))
        self._sending = False


async def keep_alive(wire: WebSocket, ping: Ping, interval_s: float | None = None) -> NoReturn:
    """Sends pings, for ever; `interval_s` replaces the ping's own. Raises the errors of WebSocket.send."""
    interval_s = interval_s or ping.interval_s
    number, due = 0, trio.current_time() + interval_s
    while True:
        await trio.sleep_until(due)
        now = trio.current_time()
        due = wire.stats.last_frame_at + interval_s
        if ping.when_idle and due > now:
            continue
        number, due = number + 1, now + interval_s
        if ping.text is None:
            await wire.ping()
        else:
            await wire.send(ping.text(number))
