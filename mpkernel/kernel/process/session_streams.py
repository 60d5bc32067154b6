"""Makes `sys.stdout = …` act for the calling thread's session alone.

User code sets `sys.stdout` and `sys.stderr`, itself or through `contextlib.redirect_stdout`. There
is one `sys` for all sessions, so its class gets two properties: a thread of a session finds its
session's own stream there, and what it sets is kept with the session. `print` looks into the
dictionary of `sys`, which does not change: it finds the console's proxy, which asks the session
what it has set.

The idea of a class for an existing module: the language reference, "Customizing module attribute
access".
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Protocol, TextIO

from mpkernel.module_class import ModuleClass

__all__ = ["StreamOfSession", "install_sys_streams"]


class StreamOfSession(Protocol):
    """`sys.stdout` or `sys.stderr` of one session."""

    own: TextIO
    replacement: list[TextIO | None]


def install_sys_streams(find: Callable[[str], StreamOfSession | None]) -> None:
    """Have each session keep the `sys.stdout` and `sys.stderr` that it sets.

    Args:
        find: gives, for "stdout" or "stderr", the stream of the calling thread's session; None for
            a thread of no session.
    """

    class Sys(ModuleType, metaclass=ModuleClass):
        stdout = _property("stdout", find)
        stderr = _property("stderr", find)

    sys.__class__ = Sys


def _property(name: str, find: Callable[[str], StreamOfSession | None]) -> property:
    def get(module: ModuleType) -> TextIO | None:
        stream = find(name)
        if stream is None:
            plain: TextIO | None = vars(module)[name]
            return plain
        return stream.replacement[0] if stream.replacement else stream.own

    def plain(module: ModuleType) -> object:
        return vars(module)[f"__{name}__"]

    def set_(module: ModuleType, value: TextIO | None) -> None:
        stream = find(name)
        if stream is None:
            vars(module)[name] = value
        elif any(value is own for own in (stream.own, vars(module)[name], plain(module))):
            stream.replacement.clear()
        else:
            stream.replacement[:] = [value]

    return property(get, set_)
