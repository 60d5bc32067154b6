"""Enums, flags, named tuples, and looking them up again by pickle."""

import enum
import pickle
from collections import namedtuple
from typing import NamedTuple


class Planet(enum.Enum):
    EARTH = (5.97, 6.37)
    MARS = (0.64, 3.39)

    @property
    def gravity(self):
        return round(self.value[0] / self.value[1] ** 2, 4)


Right = enum.Flag("Right", ["READ", "WRITE"])


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 9
    TOP = HIGH


class Entry(NamedTuple):
    name: str
    level: Level = Level.LOW


Old = namedtuple("Old", "a b", defaults=[2])
print([planet.gravity for planet in Planet], Planet["MARS"], Planet((5.97, 6.37)).name)
print(Right.READ | Right.WRITE, ~Right.READ, list(Right), Right.__module__)
print(Level.TOP is Level.HIGH, Level.HIGH + 1, list(Level.__members__), f"{Level.LOW}")
print(pickle.loads(pickle.dumps([Planet.MARS, Right.READ, Entry("x"), Old(1)])))
print(Entry("y")._replace(level=Level.TOP), Old._fields, Old(1)._asdict())
try:
    Level(5)
except ValueError as error:
    print(error)
