"""Structural pattern matching: sequences, mappings, classes, guards, captures."""

from dataclasses import dataclass
from enum import Enum


class Color(Enum):
    RED = 1
    BLUE = 2


@dataclass
class Point:
    x: int
    y: int


def describe(value):
    match value:
        case Point(0, y=0):
            return "origin"
        case Point(x, y) if x == y:
            return f"diagonal {x}"
        case Color.RED | Color.BLUE:
            return value.name.lower()
        case {"kind": "move", "by": (dx, dy), **rest}:
            return f"move {dx} {dy} {rest}"
        case [] | [_]:
            return "short"
        case [int(one), *others, int(last)]:
            return f"from {one} over {len(others)} to {last}"
        case str(text) if text.isdigit():
            return int(text)
        case None | True | False:
            return f"constant {value}"
    return "other"


for value in (Point(0, 0), Point(2, 2), Color.RED, [], [1, "x", 3], "77", None, 3.5, "x"):
    print(describe(value))
print(describe({"kind": "move", "by": [1, 2], "fast": 1}))
