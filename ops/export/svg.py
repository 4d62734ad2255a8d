"""Draws small charts as inline SVG without text: labels are HTML beside them, which keeps its size on a phone."""

from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 720, 160
BAR_HEIGHT = 14
HUES = 6  # colours of lines; further lines are dashed in the same ones

Points = Sequence[Sequence[float]]


def shown(text: str) -> str:
    """Text for HTML, also within attributes: escaped, and without control and direction characters."""
    return escape("".join(char if char.isprintable() else "\ufffd" for char in text))


def lines(series: Mapping[str, Points], points: int, label: str, *, fill: float | None = None) -> str:
    """One line for each series of (point, value), from point 0 to `points`. Missing values are `fill`, or a gap.

    The vertical axis spans all values, from 0 if `fill` is 0.
    """
    values = [value for one in series.values() for _, value in one] + ([] if fill is None else [fill])
    low, high = min(values, default=0.0), max(values, default=1.0)
    drawn = []
    for number, one in enumerate(series.values()):
        for part in _parts(one, fill):
            spots = [f"{_x(point, points)},{_y(value, low, high)}" for point, value in part]
            if len(spots) == 1:  # a line of one point would be invisible
                spots.append(f"{_x(part[0][0] + 0.5, points)},{_y(part[0][1], low, high)}")
            drawn.append(f'<polyline class="{line_class(number)}" points="{" ".join(spots)}"/>')
    return _svg(HEIGHT, label, "".join(drawn))


def line_class(number: int) -> str:
    """The CSS classes of the line with this number: its colour, and whether it is dashed."""
    return f"line hue{number % HUES}{' dashed' if number // HUES % 2 else ''}"


def bars(values: Sequence[float], label: str) -> str:
    """Upright bars of equal width."""
    high, width = max(values, default=0.0) or 1.0, WIDTH / max(1, len(values))
    drawn = [
        f'<rect class="bar" x="{at * width:.1f}" y="{HEIGHT * (1 - value / high):.1f}" width="{width * 0.9:.1f}"'
        f' height="{HEIGHT * value / high:.1f}"/>'
        for at, value in enumerate(values)
        if value
    ]
    return _svg(HEIGHT, label, "".join(drawn))


def strip(pieces: Sequence[tuple[int, int, str]], points: int, label: str) -> str:
    """A bar of time: from piece to before piece in the colour of a state."""
    drawn = [
        f'<rect class="{shown(state)}" x="{_x(start, points)}" y="0" height="{BAR_HEIGHT}"'
        f' width="{WIDTH * (end - start) / points:.2f}"/>'
        for start, end, state in pieces
    ]
    return _svg(BAR_HEIGHT, label, "".join(drawn))


def _svg(height: int, label: str, content: str) -> str:
    return (
        f'<svg role="img" aria-label="{shown(label)}" viewBox="0 0 {WIDTH} {height}" preserveAspectRatio="none"'
        f' style="height:{height}px">{content}</svg>'
    )


def _x(point: float, points: int) -> str:
    return f"{WIDTH * point / max(1, points):.2f}"


def _y(value: float, low: float, high: float) -> str:
    return f"{HEIGHT / 2 if high <= low else 2 + (HEIGHT - 4) * (1 - (value - low) / (high - low)):.2f}"


def _parts(points: Points, fill: float | None) -> list[list[tuple[float, float]]]:
    """The points in parts without a gap; one part if gaps are filled."""
    parts: list[list[tuple[float, float]]] = []
    for point, value in points:
        last = parts[-1][-1][0] if parts else None
        if last is None:
            parts.append([])
        elif point > last + 1:
            if fill is None:
                parts.append([])
            else:
                parts[-1] += [(last + 1, fill), (point - 1, fill)]
        parts[-1].append((point, value))
    return parts
