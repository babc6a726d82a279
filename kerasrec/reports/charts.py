"""Line and bar charts as inline SVG, with colours set by the page for light and dark mode."""

import dataclasses
import html
import math
from collections.abc import Sequence
from typing import TypeGuard

WIDTH, HEIGHT = 360, 230
LEFT, RIGHT, TOP, BOTTOM = 54, 12, 10, 36


@dataclasses.dataclass(frozen=True)
class Line:
    """A curve of a line chart.

    Args:
        name: shown on hover.
        series: index of the model, which selects colour and dashes.
        x: ascending positions.
        y: values; a NaN or None interrupts the curve.
        low: lower bound of an interval at each x, or none.
        high: upper bound.
    """

    name: str
    series: int
    x: Sequence[float]
    y: Sequence[float | None]
    low: Sequence[float] = ()
    high: Sequence[float] = ()


def line_chart(
    title: str, lines: Sequence[Line], *, x_label: str, y_label: str, from_zero: bool = False
) -> str:
    """Return a line chart over a numeric axis.

    Args:
        title: title above the chart, also for screen readers.
        lines: the curves.
        x_label: label of the horizontal axis.
        y_label: label of the vertical axis.
        from_zero: whether the vertical axis always starts at zero.

    Returns:
        An `<svg>` element, or a note if there is nothing to draw.

    Example:

    >>> line_chart("t", [Line("a", 0, [1, 2], [0.5, 0.25])], x_label="k", y_label="y")[:4]
    '<svg'
    """
    points = [(x, y) for line in lines for x, y in zip(line.x, line.y, strict=True) if _finite(y)]
    if not points:
        return '<p class="empty">Nothing was recorded.</p>'
    ends = [value for line in lines for value in (*line.low, *line.high) if _finite(value)]
    xs, ys = [x for x, _ in points], [y for _, y in points] + ends
    left, right = min(xs), max(xs)
    if left == right:
        left, right = left - 0.5, right + 0.5
    ticks = nice_ticks(min([0.0, *ys] if from_zero else ys), max(ys))
    across, up = _scale(left, right, LEFT, WIDTH - RIGHT), _scale(ticks[0], ticks[-1],
                                                                  HEIGHT - BOTTOM, TOP)  # fmt: skip
    parts = _frame(title, ticks, up, x_label, y_label)
    shown = [t for t in nice_ticks(left, right) if left <= t <= right]
    if all(float(x).is_integer() for x in xs):
        shown = sorted({round(t) for t in shown})
    parts += [_text(across(t), HEIGHT - BOTTOM + 14, _number(t), "middle") for t in shown]
    for line in lines:
        if line.low:
            there = zip(line.x, line.high, strict=True)
            back = zip(reversed(line.x), reversed(line.low), strict=True)
            area = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in [*there, *back])
            parts.append(f'<polygon class="band s{line.series % 6}" points="{area}"/>')
    for line in lines:
        pieces: list[list[tuple[float, float]]] = [[]]
        for x, y in zip(line.x, line.y, strict=True):
            if _finite(y):
                pieces[-1].append((across(x), up(y)))
            elif pieces[-1]:
                pieces.append([])
        for piece in filter(None, pieces):
            d = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in piece)
            parts.append(
                f'<path class="line s{line.series % 6}" d="{d}">'
                f"<title>{html.escape(line.name)}</title></path>"
            )
            if len(piece) <= 12:
                parts += [
                    f'<circle class="dot s{line.series % 6}" cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>'
                    for x, y in piece
                ]
    return "".join([*parts, "</svg>"])


def bar_chart(
    title: str,
    groups: Sequence[str],
    bars: Sequence[tuple[str, int, Sequence[float | None]]],
    *,
    y_label: str,
) -> str:
    """Return a grouped bar chart, with one bar per model in each group.

    Args:
        title: title for screen readers.
        groups: labels under the axis.
        bars: (name, index of the model, one value or None per group).
        y_label: label of the vertical axis.

    Returns:
        An `<svg>` element, or a note if there is nothing to draw.

    Example:

    >>> bar_chart("t", ["cold", "hot"], [("mf", 0, [0.1, None])], y_label="y").count("<rect")
    1
    """
    values = [value for *_, some in bars for value in some if _finite(value)]
    if not values:
        return '<p class="empty">Nothing was recorded.</p>'
    ticks = nice_ticks(min(0.0, *values), max(0.0, *values))
    up = _scale(ticks[0], ticks[-1], HEIGHT - BOTTOM, TOP)
    parts = _frame(title, ticks, up, "", y_label)
    slot = (WIDTH - LEFT - RIGHT) / len(groups)
    width = slot * 0.8 / len(bars)
    for at, group in enumerate(groups):
        start = LEFT + at * slot + slot * 0.1
        parts.append(_text(start + slot * 0.4, HEIGHT - BOTTOM + 14, group, "middle"))
        for number, (name, series, some) in enumerate(bars):
            value = some[at]
            if value is None or not _finite(value):
                continue
            top, foot = sorted((up(value), up(0.0)))
            parts.append(
                f'<rect class="bar s{series % 6}" x="{start + number * width:.1f}" y="{top:.1f}" '
                f'width="{max(width - 1, 0.5):.1f}" height="{foot - top:.1f}">'
                f"<title>{html.escape(f'{name}, {group}: {value:.4f}')}</title></rect>"
            )
    return "".join([*parts, "</svg>"])


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return round numbers that enclose an interval.

    >>> nice_ticks(0.0, 0.43)
    [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    >>> nice_ticks(7.0, 7.0)
    [6.6, 6.8, 7.0, 7.2, 7.4]
    """
    size = max(abs(low), abs(high))
    if high - low <= 1e-9 * size or size < 1e-200:
        pad = 0.05 * size if size > 1e-200 else 1.0
        low, high = low - pad, high + pad
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(s * power for s in (1, 2, 5, 10) if s * power >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{n * step:.12g}") for n in range(first, last + 1)]


def _frame(
    title: str, ticks: Sequence[float], up: "_Scale", x_label: str, y_label: str
) -> list[str]:
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(title)}">']
    for tick in ticks:
        y = up(tick)
        parts.append(
            f'<line class="rule" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        parts.append(_text(LEFT - 4, y + 3.5, _number(tick), "end"))
    if x_label:
        parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, x_label, "middle"))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(
        f'<text transform="rotate(-90 13 {middle:.0f})" x="13" y="{middle:.0f}" '
        f'text-anchor="middle">{html.escape(y_label)}</text>'
    )
    return parts


@dataclasses.dataclass(frozen=True)
class _Scale:
    low: float
    span: float
    start: float
    length: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / self.span * self.length


def _scale(low: float, high: float, start: float, stop: float) -> _Scale:
    return _Scale(low, high - low, start, stop - start)


def _finite(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def _number(value: float) -> str:
    if value and (abs(value) >= 1e5 or abs(value) < 1e-4):
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    return f"{value:.10g}"


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(text)}</text>'
