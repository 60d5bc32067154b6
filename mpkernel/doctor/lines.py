"""`Line`: one thing that was looked at, how it stands, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeAlias

import msgspec

__all__ = ["Level", "Line", "fail", "ok", "warn", "worst"]

Level: TypeAlias = Literal["OK", "WARN", "FAIL"]

_ORDER: tuple[Level, ...] = ("OK", "WARN", "FAIL")


class Line(msgspec.Struct, frozen=True):
    """What was found of one thing.

    Attributes:
        name: the thing.
        level: "OK"; "WARN": it works, less well or not for long; "FAIL": it does not work.
        says: what was found.
        remedy: what to do; empty where there is nothing to do.
    """

    name: str
    level: Level
    says: str
    remedy: str = ""


def ok(name: str, says: str) -> Line:
    """A line about what is well."""
    return Line(name, "OK", says)


def warn(name: str, says: str, remedy: str) -> Line:
    """A line about what could be better."""
    return Line(name, "WARN", says, remedy)


def fail(name: str, says: str, remedy: str) -> Line:
    """A line about what must be changed."""
    return Line(name, "FAIL", says, remedy)


def worst(lines: Iterable[Line]) -> Level:
    """The worst level of all."""
    return max((line.level for line in lines), key=_ORDER.index, default="OK")
