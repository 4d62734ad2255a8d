"""Figures of a benchmark: rounds in which candidates take turns, medians, a table and JSON."""

import json
import os
import platform
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Figures = Mapping[str, Any]
Rounds = dict[str, list[Figures]]


def rounds(count: int, measures: Mapping[str, Callable[[], Figures]]) -> Rounds:
    """Each measure in turn, so often; what a measure gives is shown on stderr as it comes."""
    found: Rounds = {name: [] for name in measures}
    for _ in range(count):
        for name, measure in measures.items():
            figures = measure()
            found[name].append(figures)
            print(name, json.dumps(figures), file=sys.stderr, flush=True)
    return found


def medians(found: Sequence[Figures]) -> dict[str, Any]:
    """Of each figure."""
    return {key: statistics.median(figures[key] for figures in found) for key in found[0]}


def text(value: float) -> str:
    """Three digits at least."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def report(part: str, settings: Figures, found: Rounds, ratio_of: str, path: Path | None) -> None:
    """Prints a row a candidate, with how the first compares with it in `ratio_of`, and writes the JSON."""
    middle = {name: medians(figures) for name, figures in found.items()}
    first = next(iter(middle))
    spread = {name: [figures[ratio_of] for figures in many] for name, many in found.items()}
    heads = list(next(iter(middle.values())))
    shown = ", ".join(f"{key} {value}" for key, value in settings.items())
    cores = f"{os.cpu_count()} cores, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"
    width = max(map(len, [*middle, "median of runs"]))
    widths = {head: max(len(head), 9) for head in heads}
    print(f"{part}: {shown} ({cores})")
    columns = "  ".join(f"{head:>{widths[head]}}" for head in heads)
    print(f"{'median of runs':<{width}}  {columns}  {'from .. to':>18}  {first}'s share")
    for name, row in middle.items():
        cells = "  ".join(f"{text(row[head]):>{widths[head]}}" for head in heads)
        ratio = middle[first][ratio_of] / row[ratio_of] if row[ratio_of] else float("nan")
        extremes = f"{text(min(spread[name]))} .. {text(max(spread[name]))}"
        print(f"{name:<{width}}  {cells}  {extremes:>18}  {ratio:.2f}", flush=True)
    if path is not None:
        line = {"part": part, "settings": dict(settings), "median": middle, "runs": found}
        with path.open("a") as file:
            file.write(json.dumps(line | {"cores": os.cpu_count(), "python": platform.python_version()}) + "\n")
