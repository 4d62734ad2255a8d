"""Draws the service, and gives it commands by keys.

Colours are the terminal's own sixteen, so that they fit its background; everything is also said in words. With
NO_COLOR there are none. What is selected is shown in reverse.
"""

import asyncio
import signal
import time
from typing import ClassVar

from rich.text import Text
from textual import events, on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import DataTable, Footer, Input, Static

from ops.cli.top import lines, tables
from ops.cli.top.dialogs import KEYS, Dialog
from ops.cli.top.history import History
from ops.cli.top.poller import Poller, Seen
from ops.cli.top.rows import STYLES, WARNING, Rows
from ops.cli.top.sample import Sample
from ops.cli.top.tables import ACTOR_ORDERS, EXCHANGE_ORDERS
from ops.control.client import ControlClient, NoService, ProblemReply, segment
from ops.terminal.layout import shortened
from supervisor.text import printable

LATE_S = 1.5  # how much later than expected an answer is before that is shown
SAID_S = 4.0  # how long the outcome of a command is shown
DETAIL_LINES = 2
GONE = (FileNotFoundError, ConnectionError)  # nobody listens; a service that stands still only times out
FIND = "text in a name, state or reason; Enter keeps the filter, Esc shows all"
QUESTIONS = {
    "restart": "Restart {}?\nWhat it does is interrupted until it runs again.",
    "pause": "Pause {}?\nWhat it does is interrupted until it is resumed.",
}


class Looked(Message):
    """What the poller saw."""

    def __init__(self, seen: Seen) -> None:
        super().__init__()
        self.seen = seen


class Answered(Message):
    """A command has been carried out, or not."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text


class TopScreen(App[int]):
    """`first` is shown at once; the next look follows after `interval_s`."""

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #above { height: 3; }
    #below { height: 2; }
    #tables { height: 1fr; }
    #exchanges { height: auto; max-height: 50%; }
    #actors { height: 1fr; }
    #find { height: 1; border: none; padding: 0; display: none; }
    DataTable { scrollbar-size-vertical: 1; overflow-x: hidden; }
    DataTable > .datatable--cursor { background: ansi_default; color: ansi_default; text-style: none; }
    DataTable:focus > .datatable--cursor { background: ansi_default; color: ansi_default; text-style: reverse; }
    DataTable > .datatable--header { background: ansi_default; color: ansi_default; text-style: bold underline; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "find", "filter", key_display="/"),
        Binding("s", "sort", "sort"),
        Binding("r", "ask('restart')", "restart"),
        Binding("p", "ask('pause')", "pause"),
        Binding("u", "give('resume')", "resume"),
        Binding("f", "flush", "flush"),
        Binding("question_mark,h", "keys", "help", key_display="?"),
        Binding("q", "quit", "quit"),
        Binding("ctrl+c", "quit", "quit", show=False, priority=True),
        Binding("escape", "show_all", show=False),
    ]

    def __init__(self, service: ControlClient, first: Sample, interval_s: float) -> None:
        super().__init__(ansi_color=True)
        self.theme = "ansi-dark"
        self.animation_level = "none"
        self._interval_s = interval_s
        self._sample, self._history = first, History()
        self._history.add(first)
        self._problem: NoService | ProblemReply | None = None
        self._said, self._said_until_s = "", 0.0
        self._busy: str | None = None
        self._exchanges, self._actors = Rows("exchanges", EXCHANGE_ORDERS), Rows("actors", ACTOR_ORDERS)
        self._above, self._below = Static(id="above"), Static(id="below")
        self._find = Input(id="find", placeholder=FIND, select_on_focus=False)
        self._poller = Poller(service, interval_s, lambda seen: self.post_message(Looked(seen)))

    def compose(self) -> ComposeResult:
        yield self._above
        with Vertical(id="tables"):
            yield self._exchanges
            yield self._actors
        yield self._below
        yield self._find
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self.exit)
        self._poller.start()
        self.set_interval(1.0, self._draw_if_late)
        self._exchanges.focus()

    def on_unmount(self) -> None:
        self._poller.stop()

    @property
    def _current(self) -> Rows:
        """The table that the cursor is in."""
        return self._actors if self._actors.has_focus else self._exchanges

    # What is drawn

    def on_looked(self, message: Looked) -> None:
        if not isinstance(message.seen, Sample):
            self._problem = message.seen
        else:
            pid, before = message.seen.status["pid"], self._sample.status["pid"]
            if self._problem is not None:
                self._say(f"the service is back: pid {pid}")
            elif pid != before:
                self._say(f"pid {pid} has taken over from pid {before}")
            self._sample, self._problem = message.seen, None
            self._history.add(message.seen)
        self._draw()
        self._poller.shown()

    def _draw_if_late(self) -> None:
        if self._problem is not None or self._late_s() > 0 or self._said:
            self._draw()

    def _late_s(self) -> float:
        return time.monotonic() - self._sample.monotonic_s - self._interval_s - LATE_S

    def on_resize(self, _: events.Resize) -> None:
        self.call_after_refresh(self._draw)

    def _draw(self) -> None:
        width = self.size.width
        stale = self._problem is not None or self._late_s() > 0
        room = width - 1  # for the scrollbar
        exchanges = tables.exchange_table(self._sample, self._history, self._exchanges.choice, room)
        self._exchanges.show(exchanges, stale)
        self._actors.show(tables.actor_table(self._sample, self._actors.choice, room), stale)
        self._above.update(self._lines(width, stale))
        self._draw_detail()

    def _lines(self, width: int, stale: bool) -> Text:
        """The whole in a line, then the process and the store, or why there is no answer."""
        style = "dim" if stale else ""
        state, text = ("failed", self._banner()) if stale else lines.verdict(self._sample, self._history)
        shown = Text()
        shown.append(
            shortened(text, width).ljust(width),
            f"{STYLES.get(state, WARNING)} reverse" if state != "ok" else "bold",
        )
        second = str(self._problem or lines.service_line(self._sample, width))
        for line in (second, lines.store_line(self._sample)):
            shown.append("\n" + shortened(line, width), style)
        return shown

    def _banner(self) -> str:
        gone = isinstance(self._problem, NoService) and isinstance(self._problem.__cause__, GONE)
        ago = time.monotonic() - self._sample.monotonic_s
        since = f"since {self._sample.now:%H:%M:%S} UTC ({ago:.0f} s)"
        return f"{'the service is gone' if gone else 'no answer'} {since}, retrying; below: the last values"

    def _draw_detail(self) -> None:
        """The outcome of the last command for a while, else all about the selected row."""
        if time.monotonic() >= self._said_until_s:
            self._said = ""
        row = self._current.selected
        text = self._said or (row.detail if row else "no row has this text; Esc shows all again")
        style = "bold" if self._said else ""
        room = self.size.width * DETAIL_LINES - 8  # words that end a line leave some of it empty
        self._below.update(Text(shortened(printable(text, 2 * room), room), style))

    def _say(self, text: str) -> None:
        self._said, self._said_until_s = text, time.monotonic() + SAID_S
        self._draw_detail()

    @on(DataTable.RowHighlighted)
    @on(events.DescendantFocus)
    def _selected(self) -> None:
        self._draw_detail()

    # Keys

    def action_sort(self) -> None:
        rows = self._current
        rows.choice.order = (rows.choice.order + 1) % len(rows.orders)
        self._draw()
        rows.move_cursor(row=0)
        self._say(f"{rows.id}: sorted by {rows.orders[rows.choice.order]}")

    def action_find(self) -> None:
        self._find.display = True
        self._find.focus()

    def action_show_all(self) -> None:
        self._find.value = ""
        self._end_find()

    @on(Input.Changed)
    def _found(self, event: Input.Changed) -> None:
        for rows in (self._exchanges, self._actors):
            rows.choice.text = event.value
        self._draw()

    @on(Input.Submitted)
    def _end_find(self) -> None:
        if self._find.has_focus:
            self._exchanges.focus()
        self._find.display = bool(self._find.value)

    def action_keys(self) -> None:
        self.push_screen(Dialog(KEYS))

    def action_ask(self, verb: str) -> None:
        """Asks, and gives the command if the answer is yes: for the row that was selected at the question."""
        row = self._current.selected
        if row is not None:
            name = row.key
            self.push_screen(
                Dialog(f"{QUESTIONS[verb].format(name)}\n\ny: {verb}    any other key: leave it"),
                lambda yes: self._give(verb, name) if yes else None,
            )

    def action_give(self, verb: str) -> None:
        row = self._current.selected
        if row is not None:
            self._give(verb, row.key)

    def action_flush(self) -> None:
        self._command("/v1/flush", "flush")

    def _give(self, verb: str, name: str) -> None:
        self._command(f"/v1/actors/{segment(name)}/{verb}", f"{verb} {name}")

    def _command(self, route: str, what: str) -> None:
        """One command at a time; it runs in a thread, so that drawing and quitting go on."""
        if self._busy is not None:
            self._say(f"{what}: not done, because {self._busy} still goes on")
            return
        self._busy = what
        self._say(f"{what} ...")
        self._poller.command(route, lambda wrong: self.post_message(Answered(f"{what}: {wrong or 'done'}")))

    def on_answered(self, message: Answered) -> None:
        self._busy = None
        self._say(message.text)
