"""Curves over the last hour, as SVG. They take their colors from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

from mpkernel.server.operations.history import STEP_S

__all__ = ["chart", "sparkline", "steps_to_show"]

_SPARK_POINTS = 60
_SPARK_WIDTH, _SPARK_HEIGHT = 120, 28
_WIDTH, _HEIGHT = 720, 120
_WINDOWS = (30, 90, 180)
"""In steps: 5, 15 and 30 minutes. An hour is shown where these are too short."""


def steps_to_show(values: Sequence[float]) -> int:
    """How many steps a curve is to show: of an hour of which only the end is known, fewer.

    Args:
        values: one for each step of the last hour; NaN where there is none.
    """
    unknown = next((n for n, value in enumerate(values) if not math.isnan(value)), len(values))
    known = len(values) - unknown
    return next((one for one in _WINDOWS if known <= one), len(values))


def sparkline(values: Sequence[float], about: str, text_of: Callable[[float], str]) -> str:
    """A small curve for a table.

    Args:
        values: one for each step that is shown; NaN where there is none.
        about: what it shows, for screen readers.
        text_of: a value as people read it.
    """
    points = _fewer(values, _SPARK_POINTS)
    top = _top(points)
    path = _path(points, top, _SPARK_WIDTH, _SPARK_HEIGHT)
    label = escape(_label(values, about, text_of))
    return (
        f'<svg class="spark" viewBox="0 0 {_SPARK_WIDTH} {_SPARK_HEIGHT}" role="img" '
        f'preserveAspectRatio="none" aria-label="{label}"><path d="{path}"/></svg>'
    )


def chart(
    title: str,
    values: Sequence[float],
    text_of: Callable[[float], str],
    *,
    limit: float | None = None,
    deaths: Sequence[float] = (),
) -> str:
    """A large curve with its title, the present value, the highest one, and a line at its limit.

    Args:
        title: what it shows.
        values: one for each step that is shown; NaN where there is none.
        text_of: a value as people read it.
        limit: what the value may be; None if there is no limit.
        deaths: how many processes died in each step; each such step is marked.
    """
    top = _top(values)
    if limit is not None and limit <= 4 * top:
        top = max(top, limit)
    lines = [
        f'<path class="area" d="{_area(values, top)}"/>',
        f'<path d="{_path(values, top, _WIDTH, _HEIGHT)}"/>',
    ]
    if limit is not None and limit <= top:
        y = _HEIGHT - limit / top * _HEIGHT
        lines.append(f'<path class="limit" d="M0 {y:.1f}H{_WIDTH}"/>')
    marks = [
        number * _WIDTH / (len(deaths) - 1)
        for number, count in enumerate(deaths)
        if count > 0  # false for NaN
    ]
    if marks:
        path = "".join(f"M{x:.0f} 0V{_HEIGHT}" for x in marks)
        lines.append(f'<path class="death" d="{path}"/>')
    label = _label(values, title, text_of)
    if marks:
        label += f"; marked: deaths of processes, {len(marks)}"
    known = [value for value in values if not math.isnan(value)]
    most = f"highest {text_of(max(known))}" if known else ""
    if limit is not None:
        most = f"limit {text_of(limit)}"
    return (
        f'<figure class="chart"><figcaption><span>{escape(title)}</span>'
        f"<strong>{escape(_now(values, text_of))}</strong><small>{escape(most)}</small>"
        "</figcaption>"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" preserveAspectRatio="none" '
        f'aria-label="{escape(label)}">{"".join(lines)}</svg>'
        f'<div class="axis" aria-hidden="true"><span>{_minutes(len(values))} min ago</span>'
        f"<span>{_minutes(len(values) / 2)} min</span><span>now</span></div></figure>"
    )


def _minutes(steps: float) -> str:
    return f"{steps * STEP_S / 60:g}"


def _label(values: Sequence[float], about: str, text_of: Callable[[float], str]) -> str:
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return f"{about}: not known"
    return (
        f"{about}: now {_now(values, text_of)},"
        f" at least {text_of(min(known))}, at most {text_of(max(known))}"
    )


def _now(values: Sequence[float], text_of: Callable[[float], str]) -> str:
    """The last value; of a latency, the last one of the last minute."""
    lately = [value for value in values[-6:] if not math.isnan(value)]
    return text_of(lately[-1]) if lately else "-"


def _top(values: Sequence[float]) -> float:
    """The value at the upper edge."""
    return max((value for value in values if value > 0), default=1.0)  # NaN > 0 is false


def _fewer(values: Sequence[float], count: int) -> Sequence[float]:
    """The highest value of each group of values; of the last group, the last value."""
    if len(values) <= count:
        return values
    size = math.ceil(len(values) / count)
    groups = [values[begin : begin + size] for begin in range(0, len(values), size)]
    highest = [
        max((value for value in group if not math.isnan(value)), default=math.nan)
        for group in groups
    ]
    return [*highest[:-1], values[-1]]


def _path(values: Sequence[float], top: float, width: int, height: int) -> str:
    """A line through the values, with gaps where there is none."""
    step = width / max(1, len(values) - 1)
    room = height - 2  # the line is as thick as that
    parts: list[str] = []
    is_down = False
    for number, value in enumerate(values):
        if math.isnan(value):
            is_down = False
            continue
        parts.append(
            f"{'L' if is_down else 'M'}{number * step:.0f} {1 + room * (1 - value / top):.0f}"
        )
        if not is_down:
            parts.append("h0")  # a point that is alone is seen, too
        is_down = True
    return "".join(parts)


def _area(values: Sequence[float], top: float) -> str:
    """What is under the line."""
    step = _WIDTH / max(1, len(values) - 1)
    parts: list[str] = []
    begin: int | None = None
    for number, value in enumerate([*values, math.nan]):
        if math.isnan(value):
            if begin is not None:
                parts.append(f"V{_HEIGHT}H{begin * step:.0f}Z")
            begin = None
            continue
        y = f"{1 + (_HEIGHT - 2) * (1 - value / top):.0f}"
        if begin is None:
            begin = number
            parts.append(f"M{number * step:.0f} {_HEIGHT}V{y}")
        else:
            parts.append(f"L{number * step:.0f} {y}")
    return "".join(parts)
