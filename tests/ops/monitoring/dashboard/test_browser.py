"""The dashboard in a real headless Chromium: what it shows, how it is used, and that it goes on by itself."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio

from ops.control.tap import LineBuffer
from ops.monitoring.dashboard.page import page
from tests.harness.chromium import Tab, browser, chromium, tab_of
from tests.harness.cli_process import tickwarden_here
from tests.harness.control_serving import QuietApp, serve_http
from tests.harness.dashboard_growth import grown
from tests.harness.dashboard_world import REFUSING, DashboardWorld, dashboard_world

ROWS = "[...document.querySelectorAll('#exchanges tbody tr')].map(row => [...row.children].map(c => c.textContent))"
SHOWN = "document.body.dataset.connection === 'live' && document.querySelector('#lanes canvas') !== null"
LANES = (
    "[...document.querySelectorAll('#lanes .lane canvas')]"
    ".map(c => [c.previousSibling.textContent, c.getAttribute('aria-label')])"
)
ACTORS = "document.getElementById('actors').innerText"
SUMMARY = "document.getElementById('summary').textContent"
RETRIES = r"next attempt in \d+ s|trying now"
PRICES = (
    "/spread \\d/.test(document.getElementById('markets').textContent)"
    " && document.getElementById('markets').innerText"
)
# The sum of all shifts that no input has caused, as browsers score them: https://web.dev/articles/cls
SHIFTS = """new Promise(done => {
  new PerformanceObserver(list => done(list.getEntries().reduce((sum, entry) => sum + entry.value, 0)))
    .observe({type: "layout-shift", buffered: true});
  setTimeout(() => done(0), 500);
})"""
SHIFTS_MAX = 0.1  # "good", by the same page
# The least contrast of a text with what it stands on, and that text: WCAG 2.2, relative luminance.
CONTRAST = """(() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, place) => sum + v * [0.2126, 0.7152, 0.0722][place], 0);
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const found = parse(getComputedStyle(node).backgroundColor);
      if (found.length === 3 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  let worst = [99, ""];
  for (const node of document.querySelectorAll("main *, header *, footer")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
    if (!own || !node.checkVisibility({ visibilityProperty: true }) || node.closest(".unseen, .sprite")) continue;
    const [a, b] = [light(parse(getComputedStyle(node).color)), light(ground(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < worst[0]) worst = [ratio, node.textContent];
  }
  return worst;
})()"""
CONTRAST_MIN = 4.5
# Headless, no page is ever hidden by itself.
TURN = (
    "(() => { Object.defineProperty(document, 'hidden', {value: %s, configurable: true});"
    " document.dispatchEvent(new Event('visibilitychange')); })()"
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DashboardWorld]:
    chromium()
    with dashboard_world(tmp_path_factory.mktemp("world"), "binance", "bybit", rate=30, more=REFUSING) as made:
        yield made


@pytest.fixture(scope="module")
def devtools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with browser(tmp_path_factory.mktemp("browser")) as address:
        yield address


async def opened(tab: Tab, world: DashboardWorld, width: int = 1280) -> None:
    await tab.size(width, 900, phone=width < 500)
    await tab.open(world.url)
    await tab.until(SHOWN)


async def test_the_page_shows_what_status_says(world: DashboardWorld, devtools: str) -> None:
    async with tab_of(devtools) as tab:
        await opened(tab, world)
        before = world.status()
        await tab.until(f"({ROWS}).filter(row => row[1] === 'ok' && !row[8].startsWith('0')).length === 2")
        rows = {row[0]: row for row in await tab.run(ROWS)}
        after = world.status()
        assert rows.keys() == after["exchanges"].keys() == {"binance", "bybit", "kraken"}
        for name, row in rows.items():
            now = after["exchanges"][name]
            received = int(row[8].replace(",", ""))
            assert row[1] == now["state"] or name == "kraken", row  # which tries again every few seconds
            assert received <= now["received"], row
            assert row[7] == f"{now['connections']}/{now['connections_wanted']}"
            assert row[9] == str(now["rejected"]) and (row[3] == "never") == (now["last_tick_at"] is None)
        seen = before["exchanges"]["binance"]["received"]
        await tab.until(
            f"({ROWS}).some(row => row[0] === 'binance' && Number(row[8].replaceAll(',', '')) >= {seen})"
        )
        footer = await tab.run("document.getElementById('footer').textContent")
        assert f"tickwarden {after['version']}, process {after['pid']}, {after['store']['path']}" in footer
        await tab.until("document.title.includes('1 of 3 exchanges is not recorded')")
        trouble = await tab.run("document.getElementById('reasons').textContent")
        assert trouble.startswith("kraken is not recorded") and "Connection refused" in trouble
        lanes = dict(await tab.run(LANES))
        assert lanes["kraken BTC/USD"] == "none proved complete; nothing was recorded in this hour"
        assert len(lanes) == sum(len(one["symbols"]) for one in after["exchanges"].values())
        prices = await tab.until(PRICES)
        assert re.search(r"BTC/USDT\s+spread [\d.]+(%| bp)", prices) and {"binance", "bybit"} <= set(prices.split())
        events = await tab.run("document.getElementById('events').innerText")
        assert "kraken:1" in events and "backoff" in events
        actors = await tab.until(f"/{RETRIES}/.test({ACTORS}) && {ACTORS}")
        assert "kraken:1" in actors and "Connection refused" in actors
        assert set(tab.requests) == {world.url, f"{world.url}v1/snapshots"}
        assert tab.complaints == []


async def test_a_paused_exchange_is_not_recorded_and_its_gap_is_open(world: DashboardWorld, devtools: str) -> None:
    async with tab_of(devtools) as tab:
        await opened(tab, world)
        await tab.until("document.title.includes('1 of 3 exchanges is not recorded')")
        try:
            assert tickwarden_here("pause", "bybit", folder=world.folder).returncode == 0
            row = await tab.until(f"({ROWS}).find(row => row[0] === 'bybit' && row[1] === 'paused')")
            assert row[-1] == "paused by an operator"
            await tab.until("document.title.includes('2 of 3 exchanges are not recorded')")
            assert "`tickwarden resume bybit`" in await tab.run("document.getElementById('reasons').textContent")
            summary = await tab.until(f"/[1-9]\\d* gap/.test({SUMMARY}) && {SUMMARY}")
            assert re.search(r", [1-9]\d* gaps? open$", summary)
        finally:
            assert tickwarden_here("resume", "bybit", folder=world.folder).returncode == 0
        await tab.until(f"({ROWS}).some(row => row[0] === 'bybit' && row[1] === 'ok')")


async def test_the_page_keeps_up_and_does_not_grow(world: DashboardWorld, devtools: str) -> None:
    """For two seconds; tests/chaos does it through a minute of a flood."""
    growth = await grown(devtools, world, warm_s=1.5, seconds=2.0)
    assert growth.nodes < 200 and growth.heap_bytes < 1_000_000, growth
    assert growth.behind_s < 15 and growth.complaints == (), growth


class OneSnapshot(QuietApp):
    """Serves the dashboard, and one snapshot of nothing."""

    capabilities = frozenset({"dashboard"})

    def dashboard(self) -> tuple[bytes, str]:
        return page().html, page().policy

    @asynccontextmanager
    async def snapshots(self) -> AsyncIterator[AsyncIterator[bytes]]:
        lines = LineBuffer()
        lines.offer(1, lambda _: b'event: actors\ndata: {"actors": [], "left_out": 0}\n\n')
        yield lines


async def test_who_gives_the_browser_the_token_once_sees_the_page_and_its_events(devtools: str) -> None:
    token = "an-example-of-a-token"
    async with trio.open_nursery() as nursery, tab_of(devtools) as tab:
        port = await nursery.start(partial(serve_http, "0.0.0.0", 0, OneSnapshot(), token=token))
        await tab.open(f"http://127.0.0.1:{port}/")
        assert await tab.run("document.querySelector('#main')") is None
        await tab.open(f"http://anybody:{token}@127.0.0.1:{port}/")
        await tab.until("document.getElementById('actors-note') !== null")
        events = f"http://127.0.0.1:{port}/v1/snapshots"
        with trio.move_on_after(20):
            while tab.statuses.get(events) is None:  # noqa: ASYNC110 - an event of the browser's
                await trio.sleep(0.05)
        assert tab.statuses[events] == 200, (tab.statuses, tab.complaints)
        nursery.cancel_scope.cancel()


async def test_the_layout_is_still_and_fits_a_phone_and_every_text_can_be_read(
    world: DashboardWorld, devtools: str
) -> None:
    async with tab_of(devtools) as tab:
        for width, scheme in ((390, "dark"), (1280, "light")):
            await tab.prefer(scheme)
            await opened(tab, world, width)
            await trio.sleep(1.2)  # so that something has changed
            assert await tab.run(SHIFTS) < SHIFTS_MAX, width
            assert await tab.run("document.documentElement.scrollWidth") <= width
            ratio, text = await tab.run(CONTRAST)
            assert ratio >= CONTRAST_MIN, (scheme, text)
        assert tab.complaints == []


async def test_the_page_is_used_with_the_keyboard_and_everything_has_a_name(
    world: DashboardWorld, devtools: str
) -> None:
    async with tab_of(devtools) as tab:
        await opened(tab, world)
        await tab.press("Tab")
        assert await tab.run("document.activeElement.className") == "skip"
        await tab.press("Enter")
        assert await tab.run("document.activeElement.id") == "main"
        reached: list[str] = []
        focused = "(e => e === document.body ? '' : e.id || e.textContent || e.value)(document.activeElement)"
        while (name := await tab.run(focused)) and len(reached) < 60:
            reached.append(name)
            if name == "binance" and await tab.run("document.activeElement.matches('button')"):
                await tab.press("Enter")
                assert await tab.run("document.activeElement.getAttribute('aria-pressed')") == "true"
            await tab.press("Tab")
        controls = "main button, main summary, main input:checked, main [tabindex='0']"
        wanted = f'[...document.querySelectorAll("{controls}")].filter(e => e.checkVisibility()).length'
        assert len(reached) - 1 == await tab.run(wanted), reached  # besides main itself
        tree = (await tab.call("Accessibility.getFullAXTree"))["nodes"]
        named = {"button", "radio", "image", "region", "DisclosureTriangle", "radiogroup"}
        assert [node for node in tree if not node["ignored"] and role(node) in named and not label(node)] == []
        assert {role(node) for node in tree} >= {"button", "radio", "image", "region", "main", "status", "heading"}


def role(node: dict[str, Any]) -> str:
    return str(node.get("role", {}).get("value"))


def label(node: dict[str, Any]) -> str:
    return str(node.get("name", {}).get("value", ""))


async def test_a_page_disconnects_while_nobody_sees_it_and_goes_on_by_itself_after_a_restart(
    world: DashboardWorld, devtools: str
) -> None:
    async with tab_of(devtools) as tab:
        await opened(tab, world)
        await tab.run(TURN % "true")
        assert await tab.run("document.body.dataset.connection") == "paused"
        asked = len(tab.requests)
        await trio.sleep(1.2)
        assert len(tab.requests) == asked
        await tab.run(TURN % "false")
        await tab.until("document.body.dataset.connection === 'live'")
        assert tab.complaints == []
        assert f"process {world.pid}," in await tab.run("document.getElementById('footer').textContent")
        await trio.to_thread.run_sync(world.stop)
        await tab.until("document.body.dataset.connection === 'lost'")
        gone = {"The service has stopped", "The service does not answer"}  # by how far it was when it was last seen
        assert await tab.run("document.getElementById('verdict').textContent") in gone
        said = await tab.until("/retrying in/.test(document.getElementById('connection').textContent)")
        assert said
        await trio.to_thread.run_sync(partial(world.start, "binance"))
        await tab.until("document.body.dataset.connection === 'live'")
        await tab.until(f"document.getElementById('footer').textContent.includes('process {world.pid},')")
        await tab.until(f"({ROWS}).find(row => row[0] === 'binance')[2] > 0")  # no rate across the restart
        assert await tab.run("document.getElementById('verdict').textContent") not in gone
