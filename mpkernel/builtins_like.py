"""Makes a function of ours that replaces a built-in one, and looks like it in every way.

A built-in function is pickled by its name, and has no code to inspect. Programs recognize it by its
type: `inspect.isbuiltin`, caches and libraries look at that. So the function that replaces it is a
built-in function, too. It is made with Python's C interface, and has the name, the module and the
documentation of the one that it replaces.

Its C function is `PyObject_Call(self, args, kwargs)`. The `self` of a module's function is the
module. So here `self` is a module object that can be called.
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
"""Kept for ever: the functions refer to them."""


def builtin_like(original: _F, function: Callable[..., Any]) -> _F:
    """A built-in function that calls `function` and says of itself what `original` says.

    Args:
        original: a built-in function of a module. If it is another kind of function, a library has
            put it there, and `function` is returned as it is.
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
