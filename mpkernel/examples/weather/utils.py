"""The weather app's own helpers; the sales dashboard has a `utils.py` too."""

import math

TITLE = "Mountain weather"

# Station: height in m, mean temperature in °C, half the swing between day and night.
STATIONS = {
    "Lake shore": (412, 14.5, 4.5),
    "Village": (1180, 9.0, 6.0),
    "Saddle": (2064, 2.5, 5.0),
    "Summit": (3105, -6.0, 3.0),
}


def temperatures(station: str, days: int) -> list[float]:
    """The station's temperature in °C at every hour of `days` days."""
    height, mean, swing = STATIONS[station]
    return [
        mean
        + swing * math.sin(math.pi * (hour - 9) / 12)
        + 2.5 * math.sin(hour / 33 + height / 500)
        for hour in range(24 * days + 1)
    ]


def summary(station: str, celsius: list[float]) -> list[dict[str, str | float]]:
    """One row a day: lowest, highest and mean temperature."""
    rows = []
    for day in range(len(celsius) // 24):
        hours = celsius[24 * day : 24 * day + 24]
        rows.append(
            {
                "day": f"Day {day + 1}",
                "station": station,
                "low": round(min(hours), 1),
                "high": round(max(hours), 1),
                "mean": round(sum(hours) / len(hours), 1),
            }
        )
    return rows


def line_chart(station: str, celsius: list[float], width: int = 1000, height: int = 320) -> str:
    """An SVG of the temperature over time, with a line where water freezes."""
    left, right, top, bottom = 56, width - 8, 16, height - 32
    low = 5 * math.floor(min(celsius) / 5)
    high = 5 * math.ceil(max(celsius) / 5)
    days = len(celsius) // 24

    def y_of(degrees: float) -> float:
        return bottom - (bottom - top) * (degrees - low) / (high - low)

    def x_of(day: float) -> float:
        return left + (right - left) * day / days

    parts = []
    for degrees in range(low, high + 1, 5):
        y, opacity = y_of(degrees), 0.45 if degrees == 0 else 0.12
        parts.append(
            f'<line x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"'
            f' stroke="currentColor" stroke-opacity="{opacity}"/>'
            f'<text x="{left - 10}" y="{y + 4:.1f}" text-anchor="end" fill-opacity="0.65">'
            f"{degrees} °C</text>"
        )
    for day in range(days):
        x = x_of(day + 0.5)
        parts.append(
            f'<text x="{x:.1f}" y="{bottom + 20}" text-anchor="middle" fill-opacity="0.65">'
            f"Day {day + 1}</text>"
        )
    points = " ".join(
        f"{x_of(hour / 24):.1f},{y_of(degrees):.1f}" for hour, degrees in enumerate(celsius)
    )
    parts.append(
        f'<polygon points="{left},{bottom} {points} {right},{bottom}"'
        ' fill="#0284c7" fill-opacity="0.12"/>'
        f'<polyline points="{points}" fill="none" stroke="#0284c7" stroke-width="2.5"'
        ' stroke-linejoin="round"/>'
    )
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{station}, {days} days"'
        ' style="width:100%;height:auto;font:12px system-ui,sans-serif" fill="currentColor">'
        f"{''.join(parts)}</svg>"
    )
