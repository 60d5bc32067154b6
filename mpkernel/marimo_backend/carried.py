"""What stands in an app for objects of the server's program, which no app's process imports.

`carrying` makes these in the server; `mo.app_meta().request` shows them to a notebook's cells.
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
    """A stand-in for an object: its data attributes, which are the state that `pickle` sets, and
    nothing of its class.

    Args:
        of: the name of its class, with the module.
        missing: names of attributes that could not be carried.
    """

    def __init__(self, of: str, missing: Iterable[str] = ()) -> None:
        # Past `__setattr__`, and under a name that no attribute has: those are the object's own.
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
    """A stand-in for what cannot be in another process, or is the server's program.

    Args:
        of: the name of its class, or its own, with the module.
        reason: why it was not carried.
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
    """A value on its way, as `pickle` wrote it in the server, which never reads it again. In the
    app's process, where the command is read that it is part of, it becomes the value; one that
    cannot be read becomes `NotCarried`, and costs nothing else of the command.

    Args:
        data: what was written.
        name: what the value is called in the log.
        of: the name of its class, with the module.
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
    # `pickle` would look for the class in this module.
    made = type(name, (_named(tuple(fields)),), {"__slots__": (), "__reduce__": _reduced})
    return made(*values)  # type: ignore[no-any-return]


@functools.cache
def _named(fields: tuple[str, ...]) -> type[Any]:
    make: Any = namedtuple
    return make("named_tuple", fields)  # type: ignore[no-any-return]


def _reduced(value: Any) -> tuple[object, ...]:
    return named_tuple, (type(value).__name__, value._fields, list(value))


def _attributes_of(carried: Carried) -> dict[str, Any]:
    return {name: value for name, value in carried.__dict__.items() if name != "__carried__"}
