"""Draw plots as SVG: horizontal bars and curves, with a logarithmic axis if the values span several powers of ten.

Knows: SVG. Must not know: what is plotted.
Invariants: the same input gives the same bytes; readable on white and on dark pages (own background); every mark has
its value beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

WIDTH, LEFT, RIGHT, TOP, ROW = 760, 170, 90, 64, 30
FONT = "font-family='system-ui,-apple-system,Segoe UI,Helvetica,Arial,sans-serif'"
INK, FAINT, GRID, PAPER = "#1f2328", "#59636e", "#d1d9e0", "#ffffff"


class Bar(NamedTuple):
    label: str
    value: float
    text: str
    colour: str


class Curve(NamedTuple):
    label: str
    points: Sequence[tuple[float, float]]
    colour: str


def _text(
    x: float, y: float, s: str, size: int = 13, anchor: str = "start", colour: str = INK, weight: str = "400"
) -> str:
    return f"<text x='{x:.1f}' y='{y:.1f}' font-size='{size}' text-anchor='{anchor}' fill='{colour}' font-weight='{weight}'>{escape(s)}</text>"


def _line(x1: float, y1: float, x2: float, y2: float, colour: str = GRID) -> str:
    return f"<line x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}' stroke='{colour}'/>"


def _page(height: float, title: str, subtitle: str, body: list[str]) -> str:
    head = (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height:.0f}' width='{WIDTH}' "
        f"height='{height:.0f}' {FONT} role='img' "
        f"aria-label='{escape(title, quote=True)}'>"
    )
    page = f"<rect width='{WIDTH}' height='{height:.0f}' rx='6' fill='{PAPER}'/>"
    heads = [_text(20, 28, title, 16, weight="600"), _text(20, 48, subtitle, 12, colour=FAINT)]
    return "\n".join([head, page, *heads, *body, "</svg>", ""])


def ticks(low: float, high: float) -> list[float]:
    """Return the powers of ten that enclose the values."""
    return [10.0**n for n in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]


def number(value: float) -> str:
    """Return a number with three significant digits and no exponent."""
    if value >= 1000:
        return f"{value:,.0f}"
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:.{digits}f}" if value >= 0.1 or not value else f"{value:.3f}"


def _scale(marks: list[float]) -> Callable[[float], float]:
    low, high = math.log10(marks[0]), math.log10(marks[-1])
    span = max(high - low, 1e-9)
    return lambda value: LEFT + (WIDTH - LEFT - RIGHT) * (math.log10(max(value, marks[0])) - low) / span


def bars(title: str, subtitle: str, rows: Sequence[Bar]) -> str:
    """Draw values on a logarithmic axis that begins at the power of ten below the smallest."""
    visible = [row for row in rows if row.value > 0]
    if not visible:
        return _page(TOP + 20, title, subtitle, [])
    marks = ticks(min(row.value for row in visible) / 1.5, max(row.value for row in visible))
    x = _scale(marks)
    bottom = TOP + ROW * len(rows) + 8
    body = []
    for mark in marks:
        body += [_line(x(mark), TOP, x(mark), bottom), _text(x(mark), bottom + 16, f"{mark:g}", 11, "middle", FAINT)]
    for n, row in enumerate(rows):
        y = TOP + ROW * n + 4
        body.append(_text(LEFT - 10, y + 16, row.label, 13, "end"))
        if row.value > 0:
            body.append(
                f"<rect x='{LEFT}' y='{y}' width='{max(x(row.value) - LEFT, 2):.1f}' height='{ROW - 8}' rx='3' "
                f"fill='{row.colour}'/>"
            )
        body.append(_text((x(row.value) if row.value > 0 else LEFT) + 6, y + 16, row.text, 12, colour=INK))
    return _page(bottom + 28, title, subtitle, body)


def curves(title: str, subtitle: str, lines: Sequence[Curve], across: Sequence[tuple[float, str]]) -> str:
    """Draw values (vertical, logarithmic) over shares (horizontal, 0 … 1, labelled at the places in `across`)."""
    values = [value for line in lines for _, value in line.points if value > 0]
    if not values:
        return _page(TOP + 20, title, subtitle, [])
    marks = ticks(min(values), max(values))
    bottom, left, right = TOP + 320.0, 70.0, WIDTH - 190.0
    low, high = math.log10(marks[0]), math.log10(marks[-1])

    def y(value: float) -> float:
        return bottom - (bottom - TOP) * (math.log10(max(value, marks[0])) - low) / (high - low)

    def x(share: float) -> float:
        """Give the tail more room: each further nine is as wide as the one before."""
        edge = -math.log10(max(1 - share, 1e-4))
        return left + (right - left) * min(edge / 3.0, 1.0)

    body = []
    for mark in marks:
        body += [_line(left, y(mark), right, y(mark)), _text(left - 8, y(mark) + 4, f"{mark:g}", 11, "end", FAINT)]
    for share, name in across:
        body += [_line(x(share), TOP, x(share), bottom), _text(x(share), bottom + 16, name, 11, "middle", FAINT)]
    heights: list[float] = []
    for line in sorted(lines, key=lambda line: -line.points[-1][1]):
        path = " ".join(f"{x(share):.1f},{y(value):.1f}" for share, value in line.points)
        body.append(f"<polyline points='{path}' fill='none' stroke='{line.colour}' stroke-width='2'/>")
        at = max([y(line.points[-1][1]) + 4, *(t + 15 for t in heights[-1:])])
        heights.append(at)
        body.append(_text(right + 8, at, line.label, 12, colour=line.colour, weight="600"))
    return _page(bottom + 30, title, subtitle, body)
