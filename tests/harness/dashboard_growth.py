"""How much a dashboard grows while a service records, and how far it is behind."""

import time
from dataclasses import dataclass

import trio

from tests.harness.chromium import tab_of
from tests.harness.dashboard_world import DashboardWorld

_RECEIVED = "Number(document.querySelector('#exchanges tbody tr').children[8].textContent.replaceAll(',', ''))"


@dataclass(frozen=True)
class Growth:
    """Between two moments: the page's heap and nodes, and the ticks that the page showed as received by then.

    `behind_s` is how long before the end the service had received what the page then showed.
    """

    heap_bytes: int
    nodes: int
    ticks: int
    behind_s: float
    complaints: tuple[str, ...]


async def grown(devtools: str, world: DashboardWorld, *, warm_s: float, seconds: float) -> Growth:
    """Opens the page, and measures from `warm_s` later for `seconds`."""
    async with tab_of(devtools) as tab:
        await tab.open(world.url)
        await tab.until(
            "document.body.dataset.connection === 'live' && document.querySelector('#lanes canvas') !== null"
        )
        counts = [(time.monotonic(), 0)]
        await _count(world, counts, warm_s)
        heap, nodes, shown = await tab.heap_bytes(), await tab.nodes(), await tab.run(_RECEIVED)
        await _count(world, counts, seconds)
        last = await tab.run(_RECEIVED)
        seen_at = max(at for at, received in counts if received <= last)
        return Growth(
            heap_bytes=await tab.heap_bytes() - heap,
            nodes=await tab.nodes() - nodes,
            ticks=last - shown,
            behind_s=time.monotonic() - seen_at,
            complaints=tuple(tab.complaints),
        )


async def _count(world: DashboardWorld, counts: list[tuple[float, int]], seconds: float) -> None:
    """Notes for so long how much the service had received when."""
    ends = trio.current_time() + seconds
    while trio.current_time() < ends:
        exchange = next(iter(world.status()["exchanges"].values()))  # the first in the page's table too
        counts.append((time.monotonic(), exchange["received"]))
        await trio.sleep(0.25)
