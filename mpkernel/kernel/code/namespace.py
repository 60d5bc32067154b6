"""`__main__` for many sessions in one process.

Each session has a namespace, a dict. `sys.modules["__main__"]` is one module object that shows each
thread the namespace of its session: so `pickle`, `dataclasses`, `inspect` and `multiprocessing`,
all of which look names up there, find those of the calling session. Threads of no session see what
`__main__` was before.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeAlias

from mpkernel.module_class import ModuleClass

__all__ = ["Namespace", "install_main", "new_namespace"]

Namespace: TypeAlias = dict[str, Any]

_NAME = "__main__"


def new_namespace(app: str) -> Namespace:
    """The global names with which `python app.py` would begin."""
    names: Namespace = {
        "__name__": _NAME,
        "__doc__": None,
        "__package__": None,
        "__loader__": None,
        "__spec__": None,
        "__file__": app,
        "__builtins__": builtins,
    }
    if sys.version_info < (3, 14):
        names["__annotations__"] = {}
    if sys.version_info < (3, 15):
        names["__cached__"] = None
    return names


def install_main(find: Callable[[], Namespace | None]) -> None:
    """Have `__main__` show the namespace that `find` returns; where it returns None, what
    `__main__` shows now."""
    before = sys.modules[_NAME].__dict__

    class Main(ModuleType, metaclass=ModuleClass):
        # Shows each session its own namespace. (Its `__doc__` is that of `ModuleType`.)

        def __getattribute__(self, name: str) -> Any:
            if name == "__class__":
                return ModuleType
            names = _names()
            if name == "__dict__":
                return names
            if name in names:
                return names[name]
            try:
                return super().__getattribute__(name)  # a method of all modules
            except AttributeError:
                raise AttributeError(f"module {_NAME!r} has no attribute {name!r}") from None

        def __setattr__(self, name: str, value: Any) -> None:
            _names()[name] = value

        def __delattr__(self, name: str) -> None:
            try:
                del _names()[name]
            except KeyError:
                raise AttributeError(f"'module' object has no attribute {name!r}") from None

        def __dir__(self) -> list[str]:
            return sorted(_names())

        def __repr__(self) -> str:
            return f"<module {_NAME!r} from {_names().get('__file__')!r}>"

    def _names() -> Namespace:
        names = find()
        return before if names is None else names

    module: Any = ModuleType(_NAME)
    vars(module).clear()
    module.__class__ = Main
    sys.modules[_NAME] = module
