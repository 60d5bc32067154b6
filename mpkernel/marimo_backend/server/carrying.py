"""Prepares what the server's middleware put into a request (`user`, `meta`) for another process.

In the server's process a notebook would get these objects themselves. An app's process never
imports the server's program, so it gets data in their place:

    plain values, containers of them         as they are
    objects of the standard library, of      as they are, where they can be pickled
    marimo or starlette
    objects of any other class               `Carried`: their data attributes and properties
    subclasses of str, dict, tuple, …        the str, dict, tuple, …
    functions, classes and methods of any    `NotCarried`, which says why
    other module; connections, locks, …

Each value is pickled here by itself, and unpickled only in the app's process: the server unpickles
nothing, not even what it wrote. When one value cannot be pickled or unpickled, the others are not
affected.
"""

from __future__ import annotations

import copyreg
import dataclasses
import enum
import functools
import io
import os
import pickle
import sys
import types
from typing import Any, TypeVar

import msgspec

from mpkernel.logs import get_logger
from mpkernel.marimo_backend import seam
from mpkernel.marimo_backend.carried import Carried, NotCarried, Written, named_tuple

__all__ = ["carried", "data_of", "with_carried_requests"]

logger = get_logger(__name__)

CommandT = TypeVar("CommandT")

_PLAIN = (type(None), bool, int, float, str, bytes)
_SHARED_PACKAGES = frozenset({"marimo", "starlette", "mpkernel"})
_MOST_OBJECTS = 1000
"""How many objects of other classes one value may contain: a connection to a database, for example,
may lead to half of the program's objects."""


def with_carried_requests(command: CommandT) -> CommandT:
    """A command of marimo's, with its HTTP requests prepared for another process."""
    return _Requests().in_value(command)  # type: ignore[no-any-return]


def carried(value: Any, name: str) -> Any:
    """Prepare a value for another process. Each value of a dict is prepared by itself.

    Args:
        value: any object.
        name: the value's name in the log.
    """
    if type(value) is dict and all(type(key) is str for key in value):
        return {key: _copied(one, f"{name}[{key!r}]") for key, one in value.items()}
    return _copied(value, name)


def _copied(value: Any, name: str) -> Any:
    if type(value) in _PLAIN:
        return value
    written = io.BytesIO()
    pickler = _Pickler(written)
    try:
        pickler.dump(value)
    except Exception as error:  # noqa: BLE001 (code of these objects may raise anything)
        _warn(name, _name_of(type(value)), _reason(error))
        return NotCarried(_name_of(type(value)), _reason(error))
    for of, reason in pickler.omitted:
        _warn(name, of, reason)
    return Written(written.getvalue(), name, _name_of(type(value)))


def data_of(value: Any) -> tuple[str, dict[str, Any], dict[str, str]]:
    """What `Carried` has of an object: the name of its class, its attributes, and the reasons why
    others are missing, by their names."""
    if isinstance(value, Carried):
        of, missing = value.__carried__
        attributes = {name: one for name, one in vars(value).items() if name != "__carried__"}
        return of, attributes, dict.fromkeys(missing, "")
    of = _name_of(type(value))
    if isinstance(value, enum.Enum):
        return of, {"name": value.name, "value": value.value}, {}
    attributes, reasons = {}, {}
    for name in _public_names(value):
        try:
            attributes[name] = getattr(value, name)
        except Exception as error:  # noqa: BLE001 (code of the server's program may raise anything)
            reasons[name] = _reason(error)
    return of, attributes, reasons


class _Requests:
    """The requests in one command. Each is prepared once, however often the command contains it."""

    def __init__(self) -> None:
        self._type = seam.server("HTTPRequest")
        self._ready: dict[int, Any] = {}

    def in_value(self, value: Any) -> Any:
        if isinstance(value, self._type):
            if id(value) not in self._ready:
                self._ready[id(value)] = _carried_request(value)
            return self._ready[id(value)]
        if isinstance(value, msgspec.Struct):
            fields = {name: getattr(value, name) for name in value.__struct_fields__}
            changed = {name: self.in_value(one) for name, one in fields.items()}
            changed = {name: one for name, one in changed.items() if one is not fields[name]}
            return msgspec.structs.replace(value, **changed) if changed else value
        if type(value) in (list, tuple) and value and isinstance(value[0], msgspec.Struct):
            return type(value)(self.in_value(one) for one in value)
        return value


def _carried_request(request: Any) -> Any:
    fields = {field.name: getattr(request, field.name) for field in dataclasses.fields(request)}
    return type(request)(
        **{name: carried(value, f"request.{name}") for name, value in fields.items()}
    )


class _Pickler(pickle.Pickler):
    """Writes only what an app's process can read without the server's program.

    Attributes:
        omitted: what was left out: the name of its class, and the reason.
    """

    def __init__(self, written: io.BytesIO) -> None:
        super().__init__(written, pickle.HIGHEST_PROTOCOL)
        self.omitted: list[tuple[str, str]] = []
        self._left = _MOST_OBJECTS

    def reducer_override(self, value: Any) -> Any:
        """How `pickle` writes an object that is not of a plain type."""
        self._left -= 1
        if self._left < 0:
            raise ValueError(f"it contains more than {_MOST_OBJECTS} objects")
        if isinstance(value, types.MethodType):
            return self._omit(value.__qualname__, "methods stay in the server")
        if isinstance(value, type | types.FunctionType | types.BuiltinFunctionType):
            if _is_shared(value.__module__):
                return NotImplemented
            return self._omit(_name_of(value), "it is code of the server's program")
        if _is_shared(type(value).__module__):
            return self._reduced(value)
        return _as_builtin(value) or self._as_data(value)

    def _reduced(self, value: Any) -> Any:
        try:
            registered = copyreg.dispatch_table.get(type(value))
            if registered is not None:
                return registered(value)
            return value.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
        except Exception as error:  # noqa: BLE001 (code of its class may raise anything)
            return self._omit(_name_of(type(value)), _reason(error))

    def _as_data(self, value: Any) -> Any:
        of, attributes, missing = data_of(value)
        self.omitted += [(f"{of}.{name}", reason) for name, reason in missing.items()]
        return Carried, (of, tuple(missing)), attributes

    def _omit(self, of: str, reason: str) -> Any:
        self.omitted.append((of, reason))
        return NotCarried, (of, reason)


def _as_builtin(value: Any) -> Any:
    """The built-in value to write for an object whose class derives from it; None for any other."""
    match value:
        case str():
            return str, (str.__str__(value),)
        case int():
            return int, (int.__int__(value),)
        case float():
            return float, (float.__float__(value),)
        case bytes() | bytearray():
            return bytes, (bytes(memoryview(value)),)
        case tuple() if hasattr(value, "_fields"):
            return named_tuple, (type(value).__name__, tuple(value._fields), list(value))
        case tuple() | frozenset():
            return (tuple if isinstance(value, tuple) else frozenset), (list(value),)
        case list():
            return list, (), None, iter(list(value))
        case set():
            return set, (list(value),)
        case dict():
            return dict, (), None, None, iter(list(dict.items(value)))
    return None


def _public_names(value: Any) -> list[str]:
    """The names of an object's data: its own attributes, its slots and its properties."""
    names = dict.fromkeys(getattr(value, "__dict__", ()))
    kinds = (types.MemberDescriptorType, property, functools.cached_property)
    for owner in type(value).__mro__:
        names |= {name: None for name, one in vars(owner).items() if isinstance(one, kinds)}
    return [name for name in names if not name.startswith("_")]


def _is_shared(module: str | None) -> bool:
    """Whether a module is the same in an app's process, and not one of the server's program."""
    package = (module or "").partition(".")[0]
    return package in _SHARED_PACKAGES or _is_of_the_standard_library(package)


@functools.cache
def _is_of_the_standard_library(package: str) -> bool:
    if package not in sys.stdlib_module_names:
        return False
    # A program may have a module of the same name in its own folder.
    origin = getattr(getattr(sys.modules.get(package), "__spec__", None), "origin", None)
    if origin in (None, "built-in", "frozen"):
        return True
    library = os.path.dirname(os.path.realpath(os.__file__))
    found = os.path.realpath(str(origin))
    return found.startswith(library + os.sep) and "-packages" + os.sep not in found


def _name_of(value: type | types.FunctionType | types.BuiltinFunctionType) -> str:
    return f"{value.__module__}.{value.__qualname__}"


def _reason(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0][:200]}" if said else type(error).__name__


@functools.lru_cache(maxsize=1000)  # warn once, not for each session
def _warn(name: str, of: str, reason: str) -> None:
    logger.warning("not carried to the app: %s in %s: %s", of, name, reason)
