"""A function of ours in the place of a built-in one, which nobody can tell from it.

A built-in function is pickled by its name, has no code to inspect, and is told from others by its
type: `inspect.isbuiltin`, caches and libraries ask for it. So what replaces one is a built-in
function, too: made by Python's C interface, with the name, the module and the documentation of the
one that it replaces.

Its C function is `PyObject_Call(self, args, kwargs)`. So its `self`, which for the function of a
module is that module, is a module that can be called.
"""

from __future__ import annotations

import ctypes
import importlib
import sys
from collections.abc import Callable
from types import BuiltinFunctionType, ModuleType
from typing import Any, TypeVar, cast

__all__ = ["builtin_like"]

_F = TypeVar("_F", bound=Callable[..., Any])

_OF_MODULES = {"__doc__", "__file__", "__loader__", "__package__", "__spec__"}
_VARARGS_AND_KEYWORDS = 0x0001 | 0x0002


class _MethodDef(ctypes.Structure):
    """Python's `PyMethodDef`."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


_definitions: list[_MethodDef] = []
"""They must live as long as the functions: for ever."""


def builtin_like(original: _F, function: Callable[..., Any]) -> _F:
    """A built-in function that calls `function` and says of itself what `original` says.

    Args:
        original: a built-in function of a module. Any other is what a library has put there: it
            stays a plain function, and so does what is returned.
        function: called with all arguments as they are.
    """
    if not isinstance(original, BuiltinFunctionType):
        return cast(_F, function)
    module = sys.modules[original.__module__]
    doc = original.__doc__ or ""
    signature = getattr(original, "__text_signature__", None)
    if signature is not None:
        doc = f"{original.__name__}{signature}\n--\n\n{doc}"
    definition = _MethodDef(
        original.__name__.encode(),
        ctypes.cast(ctypes.pythonapi.PyObject_Call, ctypes.c_void_p),
        _VARARGS_AND_KEYWORDS,
        doc.encode(),
    )
    _definitions.append(definition)
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.argtypes = [ctypes.c_void_p, ctypes.py_object, ctypes.py_object]
    make.restype = ctypes.py_object
    made = make(ctypes.addressof(definition), _callable(module, function), original.__module__)
    return cast(_F, made)


def _callable(module: ModuleType, function: Callable[..., Any]) -> ModuleType:
    """A module that looks like `module`. A call of it is a call of `function`, with no frame
    between it and the caller."""

    class CallableModule(ModuleType):
        __call__ = staticmethod(function)

        def __reduce_ex__(self, protocol: Any) -> Any:
            return importlib.import_module, (self.__name__,)

    made = CallableModule(module.__name__)
    for name in _OF_MODULES & vars(module).keys():
        setattr(made, name, getattr(module, name))
    return made
