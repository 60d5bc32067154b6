"""`Line`: one thing that was checked, its level, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeAlias

import msgspec

__all__ = ["Level", "Line", "fail", "ok", "warn", "worst"]

Level: TypeAlias = Literal["OK", "WARN", "FAIL"]

_ORDER: tuple[Level, ...] = ("OK", "WARN", "FAIL")


class Line(msgspec.Struct, frozen=True):
    """The result of one check.

    Attributes:
        name: the thing.
        level: "OK"; "WARN": it works, less well or not for long; "FAIL": it does not work.
        says: what was found.
        remedy: what to do; empty where there is nothing to do.
        worker: the address of the cluster's worker that it is about; empty for all other lines.
    """

    name: str
    level: Level
    says: str
    remedy: str = ""
    worker: str = ""


def ok(name: str, says: str) -> Line:
    """A line with the level OK."""
    return Line(name, "OK", says)


def warn(name: str, says: str, remedy: str) -> Line:
    """A line with the level WARN."""
    return Line(name, "WARN", says, remedy)


def fail(name: str, says: str, remedy: str) -> Line:
    """A line with the level FAIL."""
    return Line(name, "FAIL", says, remedy)


def worst(lines: Iterable[Line]) -> Level:
    """The worst level of all."""
    return max((line.level for line in lines), key=_ORDER.index, default="OK")
