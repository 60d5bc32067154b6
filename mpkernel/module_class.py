"""`ModuleClass`: the class of a module that does more than other modules do.

A module can be asked for its class, and programs take that for `types.ModuleType`: Python itself
makes each imported module with `type(sys)(name)`, and libraries ask `isinstance(value, type(sys))`.
So the class of a `sys` of ours must do there what `ModuleType` does. Otherwise all modules that are
imported later would be of that class, too.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

__all__ = ["ModuleClass"]


class ModuleClass(type):
    """A metaclass: its classes look like `ModuleType`, and do what that does.

    They are given to a module by `module.__class__ = …`. A call makes a plain module, and a class
    that is derived from them is derived from `ModuleType`. They are equal to `ModuleType`, also as
    keys: libraries that pickle modules find them by their class.
    """

    def __new__(
        mcs, name: str, bases: tuple[type, ...], names: dict[str, Any], **options: Any
    ) -> Any:
        if any(isinstance(base, mcs) for base in bases):
            plain = tuple(ModuleType if isinstance(base, mcs) else base for base in bases)
            return type(name, plain, names, **options)
        for attribute in ("__module__", "__qualname__", "__doc__"):
            names[attribute] = getattr(ModuleType, attribute)
        return super().__new__(mcs, ModuleType.__name__, bases, names)

    def __call__(cls, *args: Any, **options: Any) -> ModuleType:
        return ModuleType(*args, **options)

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, ModuleType)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, ModuleType)

    def __eq__(cls, other: object) -> bool:
        return other is ModuleType or isinstance(other, ModuleClass)

    def __hash__(cls) -> int:
        return hash(ModuleType)
