"""A `Measure` of all contenders, repeated by turns, and the `Spread` of its values.

A ratio is taken within each repetition, between two turns that follow one another, so that what the
machine does besides hits both; then come its median and its least and greatest value.
"""

from __future__ import annotations

import statistics
from typing import Literal

import msgspec

from .peers import OURS

__all__ = ["Measure", "Spread", "Target", "percentile"]


class Spread(msgspec.Struct, frozen=True):
    """The median, the least and the greatest value of the repetitions."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))

    def overlaps(self, other: Spread) -> bool:
        return self.least <= other.most and other.least <= self.most


class Target(msgspec.Struct, frozen=True):
    """The value that the project wants a measure to have.

    Attributes:
        limit: of the median; the most where less is better, else the least.
        against: the contender that the limit is a ratio to; None: the limit is of the figure.
        who: the contender that it is asked of.
    """

    limit: float
    against: str | None = None
    who: str = OURS


class Measure(msgspec.Struct):
    """One figure of several contenders.

    Attributes:
        name: what is measured.
        unit: of the values.
        better: whether less or more is.
        targets: what is wanted.
        values: one value a repetition, by contender.
    """

    name: str
    unit: str
    better: Literal["less", "more"] = "less"
    targets: list[Target] = []
    values: dict[str, list[float]] = {}

    def add(self, contender: str, value: float) -> None:
        """Add the value of one more repetition."""
        self.values.setdefault(contender, []).append(value)

    def spread(self, contender: str) -> Spread:
        """The contender's own figures."""
        return Spread.of(self.values[contender])

    def ratio(self, contender: str, to: str) -> Spread | None:
        """One contender's figures divided by another's, of the same repetition; None where one
        of them has no values."""
        pairs = zip(self.values.get(contender, []), self.values.get(to, []), strict=False)
        ratios = [mine / other for mine, other in pairs if other]
        return Spread.of(ratios) if ratios else None

    def meets(self, target: Target) -> bool | None:
        """Whether a target is met; None where it was not measured."""
        if target.against is not None:
            found = self.ratio(target.who, target.against)
        else:
            found = self.spread(target.who) if target.who in self.values else None
        if found is None:
            return None
        if self.better == "less":
            return found.median <= target.limit
        return found.median >= target.limit


def percentile(values: list[float], percent: float) -> float:
    """The value that the given percentage of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]
