"""The two tables of `top` as text: rows and columns within a width."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

from ops.cli.status import since
from ops.cli.top.history import History
from ops.cli.top.sample import Sample
from ops.cli.top.words import fill, lag, number, plain, until
from ops.terminal.layout import shortened, width_of
from supervisor.text import printable

GAP = 1  # between two columns: at 80 there is no room for more
NAME_MIN, NAME_SHARE = 12, 0.45  # of the width, for names
TREND_MAX = 40
# The most urgent first, for sorting.
URGENCY = ("failed", "backoff", "degraded", "starting", "stopping", "paused", "ok", "stopped")
EXCHANGE_ORDERS = ("as configured", "state", "ticks/s", "age", "lag p99", "gaps")
ACTOR_ORDERS = ("tree", "state", "restarts")


class Column(Struct):
    """Where the width is short, columns of the highest rank are left out first; those of rank 0 stay."""

    title: str
    width: int
    right: bool = False
    rank: int = 0


class Row(Struct):
    """`key` is the name that commands take; `cells` has a text for each column, in their order."""

    key: str
    state: str
    cells: dict[str, str]
    detail: str
    sort: dict[str, Any]  # by the title of a column; the least comes first
    parents: tuple[str, ...] = ()


class Table(Struct):
    columns: list[Column]
    rows: list[Row]


class Choice(Struct):
    """What to show: rows with this text in them, in this order."""

    text: str = ""
    order: int = 0


def exchange_table(sample: Sample, history: History, choice: Choice, width: int) -> Table:
    """A row for each exchange."""
    exchanges, now = sample.status["exchanges"], sample.now
    columns = [
        Column("exchange", _name_width(["exchange", *exchanges], width)),
        Column("state", 8),
        Column("conn", 5, right=True, rank=4),
        Column("ticks/s", 7, right=True),
        Column("trend", 8),
        Column("age", 6, right=True),
        Column("lag p50", 7, right=True, rank=2),
        Column("lag p99", 7, right=True, rank=1),
        Column("gaps", 5, right=True),
        Column("waiting", 7, right=True, rank=3),
        Column("dup", 8, right=True, rank=6),
        Column("rejected", 8, right=True, rank=5),
        Column("received", 12, right=True, rank=7),
        Column("why", 24, rank=8),
    ]
    left = _fitted(columns, width)
    trend = next(column for column in columns if column.title == "trend")
    wider = max(0, min(left, TREND_MAX - trend.width))
    trend.width += wider
    if columns[-1].title == "why":
        columns[-1].width += left - wider
    rows = [_exchange(name, row, history, trend.width, now) for name, row in exchanges.items()]
    return Table(columns, _chosen(rows, choice, EXCHANGE_ORDERS))


def _exchange(name: str, row: Mapping[str, Any], history: History, trend: int, now: datetime) -> Row:
    rate, why = history.rate(name), "; ".join(map(plain, row["reasons"]))
    connections = f"{row['connections']}/{row['connections_wanted']}"
    symbols = f"{len(row['symbols'])} markets: {', '.join(row['symbols'])}"
    return Row(
        name,
        row["state"],
        {
            "exchange": name,
            "state": row["state"],
            "conn": connections,
            "ticks/s": number(rate),
            "trend": history.sparkline(name, trend),
            "age": since(row["last_tick_at"], now),
            "lag p50": lag(row["lag_ms_p50"]),
            "lag p99": lag(row["lag_ms_p99"]),
            "gaps": f"{row['gaps_open']}",
            "waiting": f"{row['in_flight']}",
            "dup": f"{row['duplicates']}",
            "rejected": f"{row['rejected']}",
            "received": f"{row['received']}",
            "why": why,
        },
        f"{name}: {row['state']}{f': {why}' if why else ''}; connections {connections}; {symbols}",
        {
            "state": _urgency(row["state"]),
            "ticks/s": -(rate or 0.0),
            "age": row["last_tick_at"] or "",
            "lag p99": -(row["lag_ms_p99"] or 0.0),
            "gaps": -row["gaps_open"],
        },
    )


def actor_table(sample: Sample, choice: Choice, width: int) -> Table:
    """A row for each actor, below its supervisor where the order is that of the tree."""
    now = sample.now
    parents: dict[str, tuple[str, ...]] = {}
    for actor in sample.actors:
        parent = actor["parent"]
        parents[actor["name"]] = (*parents.get(parent, ()), parent) if parent else ()
    rows = [_actor(actor, parents[actor["name"]], now) for actor in sample.actors]
    shown = _chosen(rows, choice, ACTOR_ORDERS)
    if choice.order == 0:
        for row, guide in zip(shown, _guides([row.parents for row in shown]), strict=True):
            row.cells["actor"] = guide + row.key
    columns = [
        Column("actor", _name_width(["actor", *(row.cells["actor"] for row in shown)], width)),
        Column("state", 8),
        Column("restarts", 8, right=True),
        Column("retry in", 8, right=True),
        Column("mailbox", 7, right=True, rank=1),
        Column("since", 6, right=True, rank=2),
        Column("handled", 12, right=True, rank=3),
        Column("why", 20),
    ]
    columns[-1].width = max(1, columns[-1].width + _fitted(columns, width))
    return Table(columns, shown)


def _actor(actor: Mapping[str, Any], parents: tuple[str, ...], now: datetime) -> Row:
    name, box = actor["name"], actor["mailbox"]
    why = plain(actor["reason"] or actor["last_error"] or "")
    retry, lasting = until(actor["next_retry_at"], now), since(actor["since"], now)
    parts = [
        f"{actor['state']} for {lasting}",
        f"restarted {actor['restarts']} times",
        f"handled {actor['handled']}",
    ]
    parts += [f"mailbox {box['depth']} of {box['capacity']}, at most {box['peak']}"] if box else []
    parts += [f"next attempt in {retry}"] if retry else []
    return Row(
        name,
        actor["state"],
        {
            "actor": name,
            "state": actor["state"],
            "restarts": f"{actor['restarts']}",
            "retry in": retry,
            "mailbox": fill(box) if box else "",
            "since": lasting,
            "handled": f"{actor['handled']}",
            "why": why,
        },
        f"{name}: {f'{why}; ' if why else ''}{', '.join(parts)}",
        {"state": _urgency(actor["state"]), "restarts": -actor["restarts"]},
        parents,
    )


def _guides(paths: Sequence[tuple[str, ...]]) -> list[str]:
    """What stands before each name of a tree: whether its supervisor has more below it."""
    guides: list[str] = []
    going_on: set[int] = set()  # levels at which another row follows, looking from the end
    for path in reversed(paths):
        depth = len(path)
        going_on = {level for level in going_on if level <= depth}
        lines = "".join("│ " if level in going_on else "  " for level in range(1, depth))
        guides.append(lines + ("├ " if depth in going_on else "└ ") if depth else "")
        going_on.add(depth)
    return guides[::-1]


def _chosen(rows: list[Row], choice: Choice, orders: Sequence[str]) -> list[Row]:
    """Those with the text in what they say, and what is above them in the tree."""
    if text := choice.text.casefold():
        found = [row for row in rows if text in f"{row.key} {row.state} {row.cells['why']}".casefold()]
        above = {name for row in found for name in row.parents} if choice.order == 0 else set()
        names = {row.key for row in found} | above
        rows = [row for row in rows if row.key in names]
    key: Callable[[Row], Any] = lambda row: row.sort[orders[choice.order]]  # noqa: E731
    return sorted(rows, key=key) if choice.order else rows


def _urgency(state: str) -> int:
    return URGENCY.index(state) if state in URGENCY else 0


def _fitted(columns: list[Column], width: int) -> int:
    """Leaves out columns until the others fit; returns how much is left, negative where even those do not."""
    while (left := width - sum(column.width + GAP for column in columns) + GAP) < 0:
        last = max(columns, key=lambda column: column.rank)
        if not last.rank:
            break
        columns.remove(last)
    return left


def _name_width(names: Sequence[str], width: int) -> int:
    return min(max(map(width_of, names)), max(NAME_MIN, int(width * NAME_SHARE)))


def cell(column: Column, text: str) -> str:
    """A text as wide as its column, with the gap behind it."""
    short = shortened(printable(text), column.width)
    space = " " * (column.width - width_of(short))
    return (space + short if column.right else short + space) + " " * GAP
