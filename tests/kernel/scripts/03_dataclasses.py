"""Dataclasses, whose machinery looks their module up in sys.modules."""

from __future__ import annotations

from dataclasses import KW_ONLY, InitVar, asdict, dataclass, field, fields, replace
from typing import ClassVar


@dataclass(order=True)
class Part:
    price: int
    name: str = field(compare=False)
    tags: list[str] = field(default_factory=list, compare=False)
    count: ClassVar[int] = 0

    def __post_init__(self):
        type(self).count += 1


@dataclass(frozen=True, slots=True)
class Machine:
    parts: tuple[Part, ...]
    _: KW_ONLY
    label: str = "machine"
    scale: InitVar[int] = 1

    def __post_init__(self, scale):
        object.__setattr__(self, "label", self.label * scale)


parts = (Part(3, "wheel"), Part(1, "bolt", ["small"]))
machine = Machine(parts, label="m", scale=3)
print(machine)
print(asdict(machine), Part.count)
print(min(parts), [each.name for each in fields(Machine)])
print(replace(parts[0], price=9) > parts[0], hasattr(machine, "__dict__"))
try:
    machine.label = "other"
except AttributeError as error:
    print(type(error).__name__, error)
