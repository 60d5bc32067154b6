"""Copies of objects of the server's program, for an app. The app's process never imports that
program, so it cannot have the objects themselves.

`carrying` makes them in the server. A notebook's cells find them in `mo.app_meta().request`.
"""

from __future__ import annotations

import functools
import logging
import pickle
import reprlib
from collections import namedtuple
from collections.abc import Iterable
from typing import Any

__all__ = ["Carried", "NotCarried", "Written", "named_tuple"]

logger = logging.getLogger(__name__)


class Carried:
    """A copy of an object: its data attributes, which `pickle` sets as its state, and nothing of
    its class.

    Args:
        of: the name of the object's class, with the module.
        missing: names of attributes that could not be carried.
    """

    def __init__(self, of: str, missing: Iterable[str] = ()) -> None:
        # Set past `__setattr__`, under a name that no attribute of the object has.
        self.__dict__["__carried__"] = (of, tuple(missing))

    def __setstate__(self, attributes: dict[str, Any]) -> None:
        self.__dict__.update(attributes)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        of, missing = self.__carried__
        why = "it could not be carried" if name in missing else "only its data was carried"
        raise AttributeError(
            f"{name!r} of this {of} is not here: {why} from the server to this app's process"
        )

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"this copy of a {self.__carried__[0]} cannot be changed")

    def __reduce__(self) -> tuple[object, ...]:
        of, missing = self.__carried__
        return Carried, (of, missing), _attributes_of(self)

    def __eq__(self, other: object) -> bool:
        return type(other) is Carried and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]

    @reprlib.recursive_repr()
    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in _attributes_of(self).items())
        return f"<{self.__carried__[0]}: {shown}>"


class NotCarried:
    """Stands for an object that cannot exist in another process, or that is code of the server's
    program.

    Args:
        of: the name of the object's class, or the object's own name, with the module.
        reason: why the object was not copied.
    """

    def __init__(self, of: str, reason: str) -> None:
        self._of = of
        self._reason = reason

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("_of", "_reason"):
            raise AttributeError(name)
        raise AttributeError(f"{name!r} of this {self._of} is not here: {self._reason}")

    def __repr__(self) -> str:
        return f"<not carried to this app's process: {self._of}, {self._reason}>"


class Written:
    """A value as bytes that `pickle` wrote in the server, which never reads them. In the app's
    process it becomes the value when the command is unpickled that contains it. If that fails, it
    becomes `NotCarried`, and the rest of the command is not affected.

    Args:
        data: the bytes.
        name: what the value is called in the log.
        of: the name of the value's class, with the module.
    """

    def __init__(self, data: bytes, name: str, of: str) -> None:
        self._content = (data, name, of)

    def __reduce__(self) -> tuple[object, ...]:
        return _read, self._content


def _read(data: bytes, name: str, of: str) -> Any:
    try:
        return pickle.loads(data)
    except Exception as error:
        logger.warning("not carried to the app: %s in %s", of, name, exc_info=True)
        return NotCarried(of, f"{type(error).__name__}: {error}")


def named_tuple(name: str, fields: Iterable[str], values: Iterable[Any]) -> tuple[Any, ...]:
    """A named tuple of a class that is made here."""
    # Without `__reduce__`, `pickle` would look for the class in this module.
    made = type(name, (_named(tuple(fields)),), {"__slots__": (), "__reduce__": _reduced})
    return made(*values)  # type: ignore[no-any-return]


@functools.cache
def _named(fields: tuple[str, ...]) -> type[Any]:
    make: Any = namedtuple
    # Fields may be named as `rename` has named them: "_2", where a column's name comes twice.
    return make("named_tuple", fields, rename=True)  # type: ignore[no-any-return]


def _reduced(value: Any) -> tuple[object, ...]:
    return named_tuple, (type(value).__name__, value._fields, list(value))


def _attributes_of(carried: Carried) -> dict[str, Any]:
    return {name: value for name, value in carried.__dict__.items() if name != "__carried__"}
