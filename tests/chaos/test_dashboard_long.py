"""The dashboard in a real browser through a minute of 5,000 ticks a second: it keeps up, and does not grow."""

from pathlib import Path

from tests.harness.chromium import browser
from tests.harness.dashboard_growth import grown
from tests.harness.dashboard_world import dashboard_world

RATE = 5000
SECONDS = 60.0
WARM_S = 10.0  # by then everything is on the page, and compiled
# The charts gain a number for each exchange and second, up to ten minutes of them.
HEAP_GROWTH_MAX = 1_000_000
NODES_GROWTH_MAX = 200
BEHIND_MAX_S = 5.0  # a snapshot comes once a second, counters rise at most 1.25 s late, and the machine is shared


async def test_a_minute_of_a_flood_leaves_the_page_as_it_was(tmp_path: Path) -> None:
    with browser(tmp_path) as devtools, dashboard_world(tmp_path, "binance", rate=RATE) as world:
        growth = await grown(devtools, world, warm_s=WARM_S, seconds=SECONDS)
    print(growth)
    assert growth.ticks > 0.5 * RATE * SECONDS, growth  # what a slow machine manages still is a flood
    assert growth.heap_bytes < HEAP_GROWTH_MAX and growth.nodes < NODES_GROWTH_MAX, growth
    assert growth.behind_s < BEHIND_MAX_S and growth.complaints == (), growth
