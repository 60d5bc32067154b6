"""The sales dashboard's own helpers; the weather app has a `utils.py` too."""

import csv
import io
import math

TITLE = "Lantern sales"

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_SEASONS = ("winter", "spring", "summer", "autumn")


def monthly_sales(count: int) -> list[dict[str, str | int]]:
    """The first `count` months of the year: lanterns sold, price and revenue in euro."""
    rows = []
    for index, month in enumerate(_MONTHS[:count]):
        darkness = math.cos(2 * math.pi * index / 12)
        lanterns = round(430 + 14 * index + 190 * darkness)
        price = round(36 + 4 * darkness)
        rows.append(
            {
                "month": month,
                "season": _SEASONS[(index + 1) // 3 % 4],
                "lanterns": lanterns,
                "price": price,
                "revenue": lanterns * price,
            }
        )
    return rows


def to_csv(rows: list[dict[str, str | int]]) -> bytes:
    """The rows under a header line, as UTF-8."""
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def bar_chart(rows: list[dict[str, str | int]], width: int = 1000, height: int = 320) -> str:
    """An SVG with one bar a month, as high as the month's revenue."""
    left, right, top, bottom = 56, width - 8, 16, height - 32
    step = 10_000
    ceiling = step * math.ceil(max(row["revenue"] for row in rows) / step)

    def y_of(revenue: float) -> float:
        return bottom - (bottom - top) * revenue / ceiling

    parts = []
    for revenue in range(0, ceiling + 1, step):
        y = y_of(revenue)
        parts.append(
            f'<line x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"'
            ' stroke="currentColor" stroke-opacity="0.12"/>'
            f'<text x="{left - 10}" y="{y + 4:.1f}" text-anchor="end" fill-opacity="0.65">'
            f"{revenue // 1000} k€</text>"
        )
    slot = (right - left) / len(rows)
    thickness = min(56, slot * 0.62)
    for index, row in enumerate(rows):
        centre, y = left + slot * (index + 0.5), y_of(row["revenue"])
        parts.append(
            f'<rect x="{centre - thickness / 2:.1f}" y="{y:.1f}" width="{thickness:.1f}"'
            f' height="{bottom - y:.1f}" rx="4" fill="#d97706">'
            f"<title>{row['month']}: {row['revenue']:,} €</title></rect>"
            f'<text x="{centre:.1f}" y="{bottom + 20}" text-anchor="middle"'
            f' fill-opacity="0.65">{row["month"]}</text>'
        )
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="Revenue of {len(rows)} months"'
        ' style="width:100%;height:auto;font:12px system-ui,sans-serif" fill="currentColor">'
        f"{''.join(parts)}</svg>"
    )
