"""The JSON file of a run, and the figures that differ between two runs by more than the noise.

A figure has moved if the ranges (least to greatest) of the two runs do not overlap, and the medians
differ by more than the wider range and by more than a tenth of the smaller median. With fewer than
five repetitions it is a quarter instead of a tenth, and with fewer than three the whole median,
because few repetitions say little about the noise. Ratios are compared too, and between two
machines nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec
from rich.console import Console

from . import machine
from .measure import Measure, Spread
from .peers import OURS
from .suite import Report

__all__ = ["Move", "is_of_one_machine", "moves", "print_moves", "read", "write"]

_RATIO = "ratio to "
_LEAST_CHANGE = {5: 0.1, 3: 0.25, 1: 1.0}
"""The least change that counts, as a part of the smaller median, by the number of repetitions."""


def write(report: Report, path: Path) -> None:
    """Write a run's figures.

    Raises:
        OSError: the file cannot be written.
    """
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")


def read(path: Path) -> Report:
    """Read what `write` wrote.

    Raises:
        OSError: there is no such file.
        msgspec.ValidationError, msgspec.DecodeError: the file is not a run's figures.
    """
    return msgspec.json.decode(path.read_bytes(), type=Report)


class Move(msgspec.Struct, frozen=True):
    """A figure that has moved.

    Attributes:
        where: scenario and measure.
        what: the name of the contender, or of the ratio.
        before, after: the figures.
        change: the medians' quotient.
        verdict: for whom less, or more, is better.
    """

    where: str
    what: str
    before: Spread
    after: Spread
    change: float
    verdict: Literal["better", "worse"]


def moves(before: Report, after: Report) -> list[Move]:
    """The figures that both runs measured and that have moved; of two machines, only the ratios."""
    then = dict(_series(before))
    are_comparable = is_of_one_machine(before, after)
    repetitions = min(before.options.repetitions, after.options.repetitions)
    least = next(change for count, change in _LEAST_CHANGE.items() if repetitions >= count)
    found = []
    for key, (measure, spread) in _series(after):
        if key not in then or not (are_comparable or key[1].startswith(_RATIO)):
            continue
        _, old = then[key]
        if not _moved(old, spread, least):
            continue
        is_less = spread.median < old.median
        found.append(
            Move(
                where=key[0],
                what=key[1],
                before=old,
                after=spread,
                change=spread.median / old.median if old.median else float("inf"),
                verdict="better" if is_less == (measure.better == "less") else "worse",
            )
        )
    return found


def is_of_one_machine(before: Report, after: Report) -> bool:
    """Whether two runs were made on the same machine, or on two that are alike."""
    return all(before.machine.get(one) == after.machine.get(one) for one in machine.HARDWARE)


def print_moves(console: Console, before: Report, after: Report, path: Path) -> None:
    """A line for each figure that has moved.

    Args:
        console: where to.
        before, after: the two runs.
        path: the file of the first.
    """
    found = moves(before, after)
    if not is_of_one_machine(before, after):
        console.print(f"\n{path} is of another machine, so that only ratios are compared")
    console.print(f"\nbeside {path}: {len(found) or 'nothing'} moved beyond the noise")
    for move in found:
        console.print(
            f"  {move.where}, {move.what}: {move.before.median:.3g} -> {move.after.median:.3g} "
            f"(x {move.change:.2f}), {move.verdict}",
            style="green" if move.verdict == "better" else "red",
        )


def _series(report: Report) -> Iterator[tuple[tuple[str, str], tuple[Measure, Spread]]]:
    for result in report.results:
        for measure in result.measures:
            where = f"{result.title}: {measure.name}"
            for contender in measure.values:
                yield (where, contender), (measure, measure.spread(contender))
                ratio = measure.ratio(OURS, contender)
                if contender != OURS and ratio is not None:
                    yield (where, f"{_RATIO}{contender}"), (measure, ratio)


def _moved(old: Spread, new: Spread, least_change: float) -> bool:
    apart = abs(new.median - old.median)
    widest = max(old.most - old.least, new.most - new.least)
    return (
        not old.overlaps(new)
        and apart > widest
        and apart > least_change * min(abs(old.median), abs(new.median))
    )
