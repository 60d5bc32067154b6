"""A module of the package, with a class that can be pickled by its name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Box:
    """Width and height."""

    width: int
    height: int

    @property
    def area(self) -> int:
        return self.width * self.height


def largest(boxes: list[Box]) -> Box:
    return max(boxes, key=lambda box: box.area)
