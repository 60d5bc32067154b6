"""The measures that have targets, and those that have lower bounds, as tables in Markdown, between
two lines of a file."""

from __future__ import annotations

from pathlib import Path

from .measure import Measure, Spread, Target
from .peers import LOWER_BOUNDS, OURS
from .suite import Report

__all__ = ["MARKERS", "lower_bounds", "table", "write"]

MARKERS = ("<!-- benchmarks -->", "<!-- /benchmarks -->")
_MET = {True: "", False: " **not met**", None: " not measured"}


def write(report: Report, path: Path) -> None:
    """Put the tables into the file, in place of what stands between the markers.

    Raises:
        ValueError: the file has no markers.
    """
    head, begin, rest = path.read_text().partition(MARKERS[0])
    _, end, tail = rest.partition(MARKERS[1])
    if not end:
        raise ValueError(f"{path} has no lines {MARKERS[0]} and {MARKERS[1]}")
    tables = "\n\n".join(filter(None, (table(report), lower_bounds(report))))
    path.write_text(f"{head}{begin}\n{tables}\n{end}{tail}")


def table(report: Report) -> str:
    """A row for each target; ratios are mpkernel's to the peer's, with their least and greatest.
    With a load, there is one more column: the ratio then, or the figure where there is no ratio."""
    loaded = {
        (result.name, measure.name): measure
        for result in report.results
        if result.is_loaded
        for measure in result.measures
    }
    rows = [
        "| | mpkernel | to | ratio | wanted |",
        "| --- | ---: | --- | ---: | --- |",
    ]
    if loaded:
        rows = [f"{rows[0]} beside a load |", f"{rows[1]} ---: |"]
    for result in report.results:
        if result.is_loaded:
            continue
        for measure in result.measures:
            for target in measure.targets:
                if target.who in measure.values:
                    row = _row(f"{result.name}: {measure.name}", measure, target)
                    if loaded:
                        row += _loaded_cell(loaded.get((result.name, measure.name)), target)
                    rows.append(row)
    machine = report.machine
    about = f"{machine['cpu']}, {machine['kernel']}, {machine['python']}, {report.made[:10]}"
    return "\n".join([*rows, "", f"{about}; medians of {report.options.repetitions} repetitions."])


def lower_bounds(report: Report) -> str:
    """A row for each measure in which a peer took part that does the same work with nothing around
    it; empty where none did."""
    rows = []
    for result in report.results:
        if result.is_loaded:
            continue
        for measure in result.measures:
            for bare, who in LOWER_BOUNDS.items():
                if (ratio := measure.ratio(who, bare)) is not None:
                    own, least = (
                        f"{_number(measure.spread(one).median)} {measure.unit}"
                        for one in (who, bare)
                    )
                    name = f"{result.name}: {measure.name}"
                    rows.append(f"| {name} | {own} | {bare} | {least} | {_spread(ratio)} |")
    if not rows:
        return ""
    head = "| | mpkernel | lower bound | | ratio |"
    return "\n".join([head, "| --- | ---: | --- | ---: | ---: |", *rows])


def _row(name: str, measure: Measure, target: Target) -> str:
    if target.who != OURS:
        name += f" ({target.who})"
    own = f"{_number(measure.spread(target.who).median)} {measure.unit}"
    sign = "≤" if measure.better == "less" else "≥"
    ratio = measure.ratio(target.who, target.against) if target.against else None
    wanted = f"{sign} {target.limit:g}{_MET[measure.meets(target)]}"
    return f"| {name} | {own} | {target.against or ''} | {_spread(ratio)} | {wanted} |"


def _loaded_cell(measure: Measure | None, target: Target) -> str:
    if measure is None or target.who not in measure.values:
        return " |"
    ratio = measure.ratio(target.who, target.against) if target.against else None
    found = ratio or measure.spread(target.who)
    return f" {_number(found.median)}{_MET[measure.meets(target)]} |"


def _spread(ratio: Spread | None) -> str:
    if ratio is None:
        return ""
    return f"{_number(ratio.median)} ({_number(ratio.least)} to {_number(ratio.most)})"


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
