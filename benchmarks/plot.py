"""A picture of the ratios: one line a measure, a mark with its spread for each peer."""

from __future__ import annotations

from pathlib import Path

from .measure import Measure
from .peers import OURS
from .suite import Report

__all__ = ["draw"]

_ROW_INCHES = 0.28


def draw(report: Report, path: Path) -> None:
    """Write the picture; the file's suffix says which kind: .svg, .png, .pdf.

    Ratios are turned so that the right side is where mpkernel is better.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
        ValueError: a suffix that matplotlib does not know.
    """
    import matplotlib

    matplotlib.use("agg")
    matplotlib.rcParams["svg.fonttype"] = "none"  # text, not paths: half the size
    from matplotlib import pyplot

    rows = [
        (f"{result.name}: {measure.name}", measure)
        for result in report.results
        if not result.is_loaded
        for measure in result.measures
        if _peers(measure)
    ]
    peers = list(dict.fromkeys(peer for _, measure in rows for peer in _peers(measure)))
    figure, axes = pyplot.subplots(figsize=(11, 1.6 + _ROW_INCHES * max(1, len(rows))))
    for index, peer in enumerate(peers):
        offset = 0.6 * ((index + 0.5) / len(peers) - 0.5)
        points = [
            (position + offset, _advantage(measure, peer))
            for position, (_, measure) in enumerate(rows)
            if peer in _peers(measure)
        ]
        medians = [median for _, (_, median, _) in points]
        below = [median - least for _, (least, median, _) in points]
        above = [most - median for _, (_, median, most) in points]
        axes.errorbar(
            medians,
            [position for position, _ in points],
            xerr=[below, above],
            fmt="o",
            markersize=4,
            capsize=2,
            label=f"to {peer}",
        )
    axes.axvline(1, color="grey", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_yticks(range(len(rows)), [name for name, _ in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel("how many times better mpkernel is (median, least to greatest)")
    machine = report.machine
    axes.set_title(f"{machine['cpu']}, Python {machine['python']}, {report.made}", fontsize=9)
    if peers:
        axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)


def _peers(measure: Measure) -> list[str]:
    """The contenders that a ratio can be drawn to, on a scale that has no zero."""
    others = [name for name in measure.values if not name.startswith(OURS)]
    ratios = {name: measure.ratio(OURS, name) for name in others}
    return [name for name, ratio in ratios.items() if ratio is not None and ratio.median > 0]


def _advantage(measure: Measure, peer: str) -> tuple[float, float, float]:
    """Least, median, greatest; over 1 where mpkernel is better."""
    ratio = measure.ratio(OURS, peer)
    assert ratio is not None
    least = ratio.least if ratio.least > 0 else ratio.median
    if measure.better == "more":
        return least, ratio.median, ratio.most
    return 1 / ratio.most, 1 / ratio.median, 1 / least
