"""A real headless Chromium, driven over the DevTools protocol (https://chromedevtools.github.io/devtools-protocol/)."""

import base64
import itertools
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO, Any

import msgspec
import pytest
import trio
import trio_websocket

PATIENCE_S = 60.0  # a loaded machine starts a browser slowly
POLL_S = 0.05
MESSAGE_BYTES_MAX = 64 << 20  # a screenshot
NAMES = ("chromium", "chromium-browser", "google-chrome")
# Flags that keep it quiet and small. Without the first, it refuses to run as root, as in containers.
FLAGS = (
    "--no-sandbox",
    "--headless=new",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--mute-audio",
    "--remote-debugging-port=0",
)


def chromium() -> str:
    """The browser's path; skips the test where there is none."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("there is no chromium here: apt-get install chromium")
    return found


class Tab:
    """One page. `requests` are the addresses it asked for, `statuses` what was answered, `complaints` its console
    errors and blocked loads.
    """

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call
        self.requests: list[str] = []
        self.statuses: dict[str, int] = {}
        self.complaints: list[str] = []

    async def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """One command of the DevTools protocol."""
        answer: dict[str, Any] = await self._call(method, parameters)
        return answer

    async def open(self, url: str) -> None:
        """Goes to an address, and waits until the document is there."""
        await self.call("Page.navigate", url=url)
        await self.until("document.readyState === 'complete'")

    async def run(self, expression: str) -> Any:
        """The value of a JavaScript expression, as JSON can hold it."""
        answer = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def until(self, expression: str, within_s: float = PATIENCE_S) -> Any:
        """Waits until a JavaScript expression is true, and returns its value."""
        value = None
        with trio.move_on_after(within_s):
            while not (value := await self.run(expression)):  # noqa: ASYNC110 - the browser sends no event
                await trio.sleep(POLL_S)
            return value
        text = await self.run("document.body ? document.body.innerText : ''")
        raise AssertionError(f"never: {expression}; complaints {self.complaints}; the page shows\n{text}")

    async def press(self, key: str) -> None:
        """Presses a key: "Tab", "Enter", " " or a letter."""
        text = {"Enter": "\r", "Tab": ""}.get(key, key)
        code = {"Enter": 13, "Tab": 9, " ": 32}.get(key, ord(key[0]))
        for kind in ("keyDown", "keyUp"):
            more = {"text": text} if text and kind == "keyDown" else {}
            await self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **more)

    async def size(self, width: int, height: int, *, phone: bool = False) -> None:
        """Sets the size of the window."""
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone
        )

    async def prefer(self, scheme: str) -> None:
        """ "light" or "dark"."""
        await self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    async def picture(self, path: Path, *, whole: bool = True) -> None:
        """Writes a PNG of the page, or of what the window shows of it."""
        answer = await self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        await trio.Path(path).write_bytes(base64.b64decode(answer["data"]))

    async def heap_bytes(self) -> int:
        """The JavaScript heap in use after a garbage collection."""
        await self.call("HeapProfiler.collectGarbage")
        return int((await self.call("Runtime.getHeapUsage"))["usedSize"])

    async def nodes(self) -> int:
        """The nodes of all documents that are still held."""
        await self.call("HeapProfiler.collectGarbage")
        return int((await self.call("Memory.getDOMCounters"))["nodes"])

    def note(self, method: str, parameters: Mapping[str, Any]) -> None:
        """Takes an event of the protocol."""
        if method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif method == "Network.responseReceived":
            self.statuses[parameters["response"]["url"]] = parameters["response"]["status"]
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(parameters["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
            self.complaints.append(str(parameters["args"]))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"{parameters['entry']['source']}: {parameters['entry']['text']}")
        elif method == "Audits.issueAdded":
            self.complaints.append(str(parameters["issue"]))


@contextmanager
def browser(folder: Path) -> Iterator[str]:
    """A browser of its own, with its profile in `folder`, for `tab_of`; it ends with the block."""
    process = subprocess.Popen(
        [chromium(), *FLAGS, f"--user-data-dir={folder / 'chromium'}", "about:blank"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "HOME": str(folder)},
        start_new_session=True,  # it consists of many processes, which end together
    )
    assert process.stderr is not None
    deadline = threading.Timer(PATIENCE_S, process.kill)
    deadline.start()
    try:
        address = _address(process.stderr)
        deadline.cancel()
        yield address
    finally:
        deadline.cancel()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stderr.close()


@asynccontextmanager
async def tab_of(address: str) -> AsyncIterator[Tab]:
    """A new tab of a `browser`, without cookies of other ones; closed with the block."""
    async with (
        trio_websocket.open_websocket_url(address, max_message_size=MESSAGE_BYTES_MAX) as socket,
        _attached(socket) as tab,
    ):
        yield tab


def _address(stderr: IO[bytes]) -> str:
    printed = []
    for line in stderr:
        if found := re.search(rb"DevTools listening on (ws://\S+)", line):
            return found[1].decode()
        printed.append(line)
    raise AssertionError(f"chromium ended: {b''.join(printed)!r}")


@asynccontextmanager
async def _attached(socket: trio_websocket.WebSocketConnection) -> AsyncIterator[Tab]:
    numbers = itertools.count(1)
    answers: dict[int, tuple[trio.Event, list[dict[str, Any]]]] = {}

    async def call(session: str | None, method: str, parameters: Mapping[str, object]) -> dict[str, Any]:
        number = next(numbers)
        holder: list[dict[str, Any]] = []
        answers[number] = came, holder = trio.Event(), holder
        request = {"id": number, "method": method, "params": parameters}
        if session is not None:
            request["sessionId"] = session
        await socket.send_message(msgspec.json.encode(request).decode())
        with trio.fail_after(PATIENCE_S):
            await came.wait()
        assert "error" not in holder[0], (method, holder[0])
        result: dict[str, Any] = holder[0]["result"]
        return result

    async def listen() -> None:
        while True:
            try:
                message = msgspec.json.decode(await socket.get_message())
            except trio_websocket.ConnectionClosed:
                return
            if "id" in message:
                came, holder = answers.pop(message["id"])
                holder.append(message)
                came.set()
            else:
                tab.note(message["method"], message["params"])

    tab = Tab(call)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        target = await call(None, "Target.createTarget", {"url": "about:blank"})
        closing = {"targetId": target["targetId"]}
        session = await call(None, "Target.attachToTarget", {"targetId": target["targetId"], "flatten": True})
        tab = Tab(partial(call, session["sessionId"]))
        for domain in ("Page", "Runtime", "Network", "Log", "Audits"):
            await tab.call(f"{domain}.enable")
        yield tab
        await call(None, "Target.closeTarget", closing)
        nursery.cancel_scope.cancel()
