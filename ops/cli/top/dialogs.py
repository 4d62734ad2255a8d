"""Asks before a command that interrupts recording, and lists the keys."""

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual.widgets import Static

KEYS = """\
Arrows, PgUp, PgDn move in a table, Ctrl-Home and Ctrl-End to its ends.
Tab moves to the other table.

/   show only rows with a text in their name, state or reason;
    Enter keeps the filter, Esc shows all again
s   sort by the next column the table that the cursor is in

r   restart the selected actor now, and reset its failure count
p   pause it until it is resumed; an exchange stands for all its actors
u   resume it
f   flush: make everything received so far durable
q   quit (Ctrl-C too)

age       since the last tick of the exchange
lag       from the exchange's time of a trade to its receipt here
waiting   ticks received and not yet durable
retry in  until the actor is started again

Any key closes this."""


class Dialog(ModalScreen[bool]):
    """A text in a box; the next key closes it, and is its answer: true for "y"."""

    CSS = """
    Dialog { align: center middle; }
    Dialog Static { width: auto; max-width: 100%; height: auto; max-height: 100%; }
    Dialog Static { padding: 0 1; border: solid ansi_default; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+c", "app.quit", show=False, priority=True)]

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def compose(self) -> ComposeResult:
        yield Static(self._text, markup=False)

    def on_key(self, event: events.Key) -> None:
        event.stop()
        self.dismiss(event.character in ("y", "Y"))
