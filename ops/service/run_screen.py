"""The output of `tickwarden run` on a terminal: connections, problems, a line a minute, and a summary."""

import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, TextIO

import trio

from actors.pipeline import Pipeline
from ops.config.config import Config
from ops.monitoring import status as report
from ops.monitoring.logs import set_level
from ops.terminal.layout import Fit, reason_for_people, shortened, wrapped
from ops.terminal.output import COLUMNS, WIDER, terminal_width, write_table
from supervisor import Event
from supervisor.text import REASON_CHARS_MAX, printable

LOOK_S = 0.5
LINE_EVERY_S = 60.0
# The interval for repeating the same problem (an exchange that refuses each connection).
AGAIN_S = 60.0
NEWS_LINES_MAX = 6  # per update: a thousand refused markets must not fill the screen
_SUMMARY = Fit(drop=("duplicates", "rejected"))


class Screen:
    """Shows one service from within its loop; `started` is run_service's on_started, `end` prints the summary."""

    def __init__(self, config: Config, file: TextIO) -> None:
        from rich.console import Console  # 40 ms that a service without a terminal does not need

        self._config, self._file = config, file
        self._console = Console(file=file, highlight=False, markup=False, soft_wrap=True)
        self._pipeline: Pipeline | None = None
        self._connected: set[str] = set()
        self._said: dict[str, float] = {}
        self._began = time.monotonic()
        self._stopping = False

    def started(self, pipeline: Pipeline) -> None:
        """Prints what is recorded where, and how to stop it."""
        self._pipeline = pipeline
        pipeline.listeners.append(self._on_event)
        set_level("error")  # external problems are shown here; the log only gets errors of our own
        markets = sum(len(exchange.markets) for exchange in pipeline.exchanges.values())
        self._say(f"recording {_many(markets, 'market')} of {_many(len(pipeline.exchanges), 'exchange')} into")
        self._say(f"  {pipeline.store.path}")
        self._say("Ctrl-C stops it; `tickwarden status` in another terminal shows more")
        if self._config.control.http:
            self._say(f"  dashboard: http://{self._config.control.http}/")

    async def follow(self) -> None:
        """Runs until cancelled: prints new connections, problems, and every minute the state."""
        line_at, stored = trio.current_time() + LINE_EVERY_S, 0
        while True:
            await trio.sleep(LOOK_S)
            if self._pipeline is None:
                continue
            if self._pipeline.stopping:
                self._stop()
                continue
            status: Any = report.status(self._pipeline)
            self._news(status)
            if trio.current_time() >= line_at:
                line_at += LINE_EVERY_S
                before, stored = stored, _stored(status)
                self._say(f"{_clock()}  {_minute(status, stored - before)}")

    def end(self) -> None:
        """Prints the summary: stored trades by exchange, missing ones, and the file."""
        if self._pipeline is None:
            return
        self._stop()
        status: Any = report.status(self._pipeline)
        rows = [
            (name, *(row[key] for key in ("stored", "duplicates", "rejected", "gaps_open")))
            for name, row in status["exchanges"].items()
        ]
        # the terminal may be closed; the service stops in an orderly way all the same
        with suppress(OSError, ValueError):
            columns = ["exchange", "stored", "duplicates", "rejected", "gaps open"]
            write_table(columns, rows, self._file, fit=_SUMMARY, elsewhere=WIDER)
        path = self._pipeline.store.path
        size = f" ({path.stat().st_size / 1e6:,.1f} MB)" if path.is_file() else ""
        rest = status["store"]["segments"]
        self._say(f"recorded for {_duration(time.monotonic() - self._began)} into {path}{size}")
        if rest:
            self._say(f"{_many(rest, 'segment')} not merged yet; the next start merges them")

    def _on_event(self, event: Event) -> None:
        """Prints notices of the store (a damaged file, lost segments), which are no state to look up."""
        if event.event.startswith("store_") and event.reason:
            self._once(f"! {event.event.replace('_', ' ')}: {event.reason}")

    def _stop(self) -> None:
        if not self._stopping:
            self._stopping = True
            self._say(f"{_clock()}  stopping; press Ctrl-C again to exit at once")

    def _news(self, status: Mapping[str, Any]) -> None:
        connected = {name for name, row in status["exchanges"].items() if row["state"] == "ok"}
        for name in sorted(connected - self._connected):
            count = len(status["exchanges"][name]["symbols"])
            self._once(f"{name}: connected, {_many(count, 'market')}")
        self._connected = connected
        fresh = [reason for reason in status["reasons"] if self._is_due(reason)]
        for reason in fresh[:NEWS_LINES_MAX]:
            self._say(f"{_clock()}  ! {reason}")
        if len(fresh) > NEWS_LINES_MAX:
            self._say(f"{_clock()}  ! and {len(fresh) - NEWS_LINES_MAX} more; `tickwarden status` lists them")

    def _once(self, text: str) -> None:
        if self._is_due(text):
            self._say(f"{_clock()}  {text}")

    def _is_due(self, text: str) -> bool:
        """Whether it was not printed recently. Texts that differ only in numbers (a delay, a port) are the same."""
        now, kind = trio.current_time(), "".join(char for char in text if not char.isdigit())
        if now - self._said.get(kind, -AGAIN_S) < AGAIN_S:
            return False
        self._said = {old: at for old, at in self._said.items() if now - at < AGAIN_S} | {kind: now}
        return True

    def _say(self, text: str) -> None:
        width = terminal_width(self._file) or COLUMNS
        safe = shortened(printable(reason_for_people(text), REASON_CHARS_MAX), 3 * (width - 10))
        with suppress(OSError, ValueError):
            for line in wrapped(safe, width, "          "):
                self._console.print(line)


def screen_for(config: Config, file: TextIO) -> Screen | None:
    """A screen if the output is a terminal and no log format or level was chosen; else None."""
    looking = file.isatty() and config.log.format == "auto" and config.log.level != "debug"
    return Screen(config, file) if looking else None


def _minute(status: Mapping[str, Any], more: int) -> str:
    exchanges = status["exchanges"].values()
    fine = sum(row["state"] == "ok" for row in exchanges)
    gaps = sum(row["gaps_open"] for row in exchanges)
    text = f"{status['state']}: {fine} of {_many(len(exchanges), 'exchange')} fine"
    text += f", {_stored(status):,} trades stored (+{more:,})"
    return f"{text}, {_many(gaps, 'gap')} open" if gaps else text


def _stored(status: Mapping[str, Any]) -> int:
    return sum(int(row["stored"]) for row in status["exchanges"].values())


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def _clock() -> str:
    return f"{datetime.now():%H:%M:%S}"  # the local time of the user


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "min"), (rest, "s"))
    return " ".join(f"{count} {unit}" for count, unit in parts if count) or "0 s"
