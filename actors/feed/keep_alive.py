"""Sends the pings that an exchange wants of its clients."""

import trio

from actors.exchanges.contract.feed import Ping
from actors.wire.websocket import WebSocket


async def keep_alive(wire: WebSocket, ping: Ping, interval_s: float | None = None) -> None:
    """Never returns; `interval_s` replaces the ping's own. Raises what WebSocket.send raises."""
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
