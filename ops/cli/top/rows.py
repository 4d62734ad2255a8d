"""A table on the screen whose cursor stays on its row."""

from rich.text import Text
from textual import events
from textual.widgets import DataTable

from ops.cli.top.tables import Choice, Row, Table, cell

STYLES = {"ok": "", "failed": "bold red", "paused": "bold cyan", "stopped": "bold cyan"}
WARNING = "bold yellow"  # of all other states
LINE = "line"  # the only column: Textual takes as long for a cell as for a line


class Rows(DataTable[Text]):
    """A table whose cursor stays on its row while rows come, go and change places."""

    def __init__(self, name: str, orders: tuple[str, ...]) -> None:
        super().__init__(id=name, cursor_type="row", cell_padding=0)
        self.orders, self.choice = orders, Choice()
        self.table = Table([], [])
        self._head = Text()

    @property
    def selected(self) -> Row | None:
        return self.table.rows[self.cursor_row] if self.is_valid_row_index(self.cursor_row) else None

    def show(self, table: Table, stale: bool) -> None:
        """Draws what has changed; rows that are `stale` are grey."""
        before, self.table = self.table, table
        lines = {row.key: self._line(row, stale) for row in table.rows}
        head = self._heading()
        if head == self._head and [row.key for row in before.rows] == list(lines):
            for key, line in lines.items():
                if self.get_cell(key, LINE) != line:
                    self.update_cell(key, LINE, line)
            return
        self._head = head
        kept = before.rows[self.cursor_row].key if self.is_valid_row_index(self.cursor_row) else None
        row, first = self.cursor_row, self.scroll_offset.y
        self.clear(columns=True)
        self.add_column(head, width=max(1, head.cell_len), key=LINE)
        for key, line in lines.items():
            self.add_row(line, key=key)
        index = list(lines).index(kept) if kept in lines else min(row, len(lines) - 1)
        self.move_cursor(row=max(0, index), scroll=False)
        self.scroll_to(y=first, animate=False, force=True)

    def on_resize(self, _: events.Resize) -> None:
        self.move_cursor(row=self.cursor_row, scroll=True)

    def _heading(self) -> Text:
        head, sorted_by = Text(), self.orders[self.choice.order]
        for column in self.table.columns:
            head.append(cell(column, column.title), "reverse" if column.title == sorted_by else "")
        return head

    def _line(self, row: Row, stale: bool) -> Text:
        line = Text()
        for column in self.table.columns:
            style = "dim" if stale else STYLES.get(row.state, WARNING) if column.title == "state" else ""
            line.append(cell(column, row.cells[column.title]), style)
        return line
