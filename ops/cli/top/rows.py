"""A table on the screen whose cursor stays on its row."""

from collections.abc import Mapping

from rich.text import Text
from textual.widgets import DataTable

from ops.cli.top.tables import GAP, Choice, Row, Table, cell

STYLES = {"ok": "", "failed": "bold red", "paused": "bold cyan", "stopped": "bold cyan"}
WARNING = "bold yellow"  # of all other states


class Rows(DataTable[Text]):
    """A table whose cursor stays on its row while rows come, go and change places."""

    def __init__(self, name: str, orders: tuple[str, ...]) -> None:
        super().__init__(id=name, cursor_type="row", cell_padding=0)
        self.orders, self.choice = orders, Choice()
        self.table = Table([], [])

    @property
    def selected(self) -> Row | None:
        return self.table.rows[self.cursor_row] if self.is_valid_row_index(self.cursor_row) else None

    def show(self, table: Table, stale: bool) -> None:
        before, self.table = self.table, table
        cells = {row.key: self._cells(row, stale) for row in table.rows}
        if before.columns == table.columns and [row.key for row in before.rows] == list(cells):
            self._update(cells)
            return
        kept = before.rows[self.cursor_row].key if self.is_valid_row_index(self.cursor_row) else None
        row, top = self.cursor_row, self.scroll_offset.y
        self.clear(columns=True)
        sorted_by = self.orders[self.choice.order]
        for column in table.columns:
            title = Text(cell(column, column.title), "reverse" if column.title == sorted_by else "")
            self.add_column(title, width=column.width + GAP, key=column.title)
        for key, row_cells in cells.items():
            self.add_row(*row_cells, key=key)
        index = list(cells).index(kept) if kept in cells else min(row, len(cells) - 1)
        self.move_cursor(row=max(0, index), scroll=False)
        self.scroll_to(y=top, animate=False, force=True)

    def _update(self, cells: Mapping[str, list[Text]]) -> None:
        for index, texts in enumerate(cells.values()):
            for column, text in zip(self.table.columns, texts, strict=True):
                key = self.table.rows[index].key
                if self.get_cell(key, column.title) != text:
                    self.update_cell(key, column.title, text)

    def _cells(self, row: Row, stale: bool) -> list[Text]:
        texts = {column.title: Text(cell(column, row.cells[column.title])) for column in self.table.columns}
        if stale:
            for text in texts.values():
                text.stylize("dim")
        else:
            texts["state"].stylize(STYLES.get(row.state, WARNING))
        return list(texts.values())
