"""Completion: the names that a name which is being written could become. None of the user's code is
run to find them.

A cell may run at the same time, so an answer must not wait for anything, change anything or fail.
Therefore attributes are read from the dictionaries of objects and their classes: `__dir__`,
`__getattr__` and properties are never called, and nothing is imported.
"""

from __future__ import annotations

import builtins
import functools
import keyword
import os
import pkgutil
import re
import sys
from collections.abc import Iterable, Mapping
from types import (
    ClassMethodDescriptorType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodDescriptorType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any, Final

__all__ = ["complete"]

_MOST_MATCHES = 500
# This finds comments and strings in one pass: a quote in a comment does not open a string, and a
# `#` in a string does not open a comment.
_QUIET = re.compile(
    r"""
    \# [^\n]*
    | (?P<triple> \"{3} | '{3}) (?: \\. | (?!(?P=triple)). )* (?P<end>(?P=triple))?
    | (?P<quote> ["']) (?: \\.? | (?!(?P=quote))[^\\\n] )* (?P<close>(?P=quote))?
    """,
    re.DOTALL | re.VERBOSE,
)
_DOTTED = re.compile(r"(?<![\w.])(?:[^\W\d]\w*\.)*(?:[^\W\d]\w*)?\Z")
_STATEMENT = r"(?:^|[;:])[ \t]*"
_IMPORT = re.compile(
    _STATEMENT + r"(?:import[ \t](?:[^,;\n]*,)*|from[ \t])[ \t]*(?P<module>[\w.]*)\Z", re.MULTILINE
)
_IMPORT_FROM = re.compile(
    _STATEMENT + r"from[ \t]+(?P<module>\w[\w.]*)[ \t]+import"
    r"(?:[ \t]*\((?:[^,();]*,)*\s*|[ \t](?:[^,();\n]*,)*[ \t]*)(?P<name>\w*)\Z",
    re.MULTILINE,
)
# A bound method has few attributes more than these, so their attributes are shown for it.
_FUNCTIONS = (FunctionType, MethodDescriptorType, WrapperDescriptorType, ClassMethodDescriptorType)


# Stands for an attribute whose value only the user's code could give.
_UNKNOWN: Final = object()


def complete(code: str, cursor: int, namespace: Mapping[str, object]) -> tuple[int, list[str]]:
    """The names that the one before the cursor could become.

    Args:
        code: the code that is being written; it need not be complete.
        cursor: the position in it, in characters.
        namespace: the global names that the code would find.

    Returns: Where the part begins that a match would replace, up to the cursor (it begins after the
        last dot); and at most 500 matches, sorted, names that begin with an underscore last. There
        are no matches within strings and comments.
    """
    text = code[: max(cursor, 0)]
    if _is_quiet(text):
        return len(text), []
    if found := _IMPORT.search(text):
        package, _, prefix = found["module"].rpartition(".")
        matches = _modules(package) if package or "." not in found["module"] else set()
    elif found := _IMPORT_FROM.search(text):
        prefix = found["name"]
        matches = _modules(found["module"]) | _imported_names(found["module"])
    elif found := _DOTTED.search(text):
        path, _, prefix = found[0].rpartition(".")
        matches = _attributes_of(path, namespace) if path else _names(namespace)
    else:
        return len(text), []
    fitting = [name for name in matches if name.startswith(prefix) and name.isidentifier()]
    fitting.sort(key=lambda name: (name.startswith("_"), name))
    return len(text) - len(prefix), fitting[:_MOST_MATCHES]


def _is_quiet(text: str) -> bool:
    """Whether the end of the text is within a string or a comment."""
    last = None
    for last in _QUIET.finditer(text):  # noqa: B007
        pass
    return last is not None and last.end() == len(text) and not (last["end"] or last["close"])


def _names(namespace: Mapping[str, object]) -> set[str]:
    return {*_texts(namespace), *_texts(vars(builtins)), *keyword.kwlist, *keyword.softkwlist}


def _attributes_of(path: str, namespace: Mapping[str, object]) -> set[str]:
    first, *rest = path.split(".")
    value = namespace.get(first, _UNKNOWN)
    if value is _UNKNOWN:
        value = vars(builtins).get(first, _UNKNOWN)
    for name in rest:
        value = _attribute(value, name)
    return set() if value is _UNKNOWN else _attributes(value)


def _attribute(value: object, name: str) -> object:
    """The value of `value.name`, if it can be found without running the user's code.
    (`inspect.getattr_static` is not used: it calls a metaclass's `__getattribute__`.)"""
    kind = type(value)
    found = _looked_up(_mro(kind), name)
    if found is _UNKNOWN or not _is_descriptor(found, "__set__"):
        if issubclass(kind, type):
            return _taken_from(None, _looked_up(_mro(value), name))
        own = _instance_dict(value).get(name, _UNKNOWN)
        if own is not _UNKNOWN:
            return own
    return _taken_from(value, found)


def _looked_up(classes: Iterable[type], name: str) -> object:
    for each in classes:
        if name in (entries := _class_dict(each)):
            return entries[name]
    return _UNKNOWN


def _taken_from(instance: object, entry: object) -> object:
    """The value of the attribute for which a class's dictionary has this entry."""
    if type(entry) is MemberDescriptorType and instance is not None:  # an attribute in `__slots__`
        try:
            return entry.__get__(instance)
        except AttributeError:
            return _UNKNOWN
    if type(entry) is staticmethod or type(entry) is classmethod:
        return entry.__func__
    # Any other descriptor runs code of its own.
    if type(entry) not in _FUNCTIONS and _is_descriptor(entry, "__get__"):
        return _UNKNOWN
    return entry


def _is_descriptor(entry: object, method: str) -> bool:
    return _looked_up(_mro(type(entry)), method) is not _UNKNOWN


def _attributes(value: object) -> set[str]:
    found = set(_texts(_instance_dict(value)))
    if issubclass(type(value), ModuleType):
        return found
    # Like `dir`, this does not list what a metaclass defines.
    classes = _mro(value) if issubclass(type(value), type) else _mro(type(value))
    return found.union(*(_texts(_class_dict(each)) for each in classes))


def _instance_dict(value: object) -> Mapping[object, object]:
    """The value's own attributes; none if its class replaces `__dict__` by something of its own."""
    for each in _mro(type(value)):
        entry = _class_dict(each).get("__dict__")
        if type(entry) is GetSetDescriptorType or type(entry) is MemberDescriptorType:
            found = entry.__get__(value)
            return found if type(found) is dict else {}
        if entry is not None:
            return {}
    return {}


def _mro(kind: Any) -> tuple[type, ...]:
    # Read through `type`: a metaclass may have its own `__mro__` or `__dict__`.
    found: tuple[type, ...] = type.__dict__["__mro__"].__get__(kind)
    return found


def _class_dict(kind: type) -> Mapping[object, object]:
    found: Mapping[object, object] = type.__dict__["__dict__"].__get__(kind)
    return found


def _texts(names: Iterable[object]) -> list[str]:
    # Copied in one step: a running cell may add names meanwhile.
    return [name for name in list(names) if type(name) is str]


def _modules(package: str) -> set[str]:
    """The modules that could be imported from a package, or without one."""
    found: set[str] = set()
    for folder in _folders(package):
        try:
            changed_ns = os.stat(folder or os.curdir).st_mtime_ns
        except (OSError, ValueError):
            continue
        found |= _modules_in(folder or os.curdir, changed_ns)
    inside = package + "." if package else ""
    for name in _texts(sys.modules):
        if name.startswith(inside):
            found.add(name.removeprefix(inside).partition(".")[0])
    return found if package else found.union(sys.stdlib_module_names)


def _folders(package: str) -> list[str]:
    """The folders with the modules of a package, found without importing it."""
    folders = _texts(sys.path)
    for depth, part in enumerate(parts := package.split(".") if package else []):
        module = sys.modules.get(".".join(parts[: depth + 1]))
        path = None if module is None else _instance_dict(module).get("__path__")
        if type(path) is list:
            folders = _texts(path)
        elif module is not None and path is None:
            return []
        else:
            folders = [os.path.join(folder, part) for folder in folders]
    return folders


@functools.lru_cache(maxsize=256)
def _modules_in(folder: str, changed_ns: int) -> frozenset[str]:
    return frozenset(module.name for module in pkgutil.iter_modules([folder]))


def _imported_names(module: str) -> set[str]:
    found = sys.modules.get(module)
    return set() if found is None else set(_texts(_instance_dict(found)))
