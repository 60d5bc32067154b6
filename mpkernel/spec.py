"""`KernelSpec`: what runs on a session's thread. `resolve`: from its name to the function."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from mpkernel.errors import SettingsError

__all__ = ["ENDED", "KernelSpec", "MainProgram", "enter", "resolve"]

ENDED = b"\0"
"""What a `MainProgram` that came to its interpreter's end says last."""


class KernelSpec(msgspec.Struct, frozen=True, kw_only=True):
    """The kernel of a session, by name: it is imported in the app's process only.

    Attributes:
        entry: "package.module:function". The function is called on the session's own thread with
            one argument, a `mpkernel.host.kernels.Kernel`; the session ends when it returns. The
            app's own folder is importable.
        args: bytes that only this function reads, as `kernel.args`.
        argv: what `sys.argv` shall hold after the app's path. Counts when the session is the one
            that starts the process.
        env: the whole environment of the process, whatever `env_allow` and `env_deny` say. None
            for the server's own, as far as these let it through. Counts when the session is the one
            that starts the process.
        executable: another Python for the process. Reserved: only None is accepted for now.

    Raises:
        SettingsError: a text in it cannot be handed to a process.
    """

    entry: str
    args: bytes = b""
    argv: tuple[str, ...] = ()
    env: Mapping[str, str] | None = None
    executable: str | None = None

    def __post_init__(self) -> None:
        for name, text in (("entry", self.entry), *(("argv", one) for one in self.argv)):
            try:
                text.encode()
            except UnicodeEncodeError:
                raise SettingsError(
                    f"KernelSpec.{name} has {text!r}, which UTF-8 cannot express"
                ) from None
        for variable, value in (self.env or {}).items():
            try:
                is_impossible = b"\0" in os.fsencode(variable) + os.fsencode(value)
            except UnicodeEncodeError:
                is_impossible = True
            if is_impossible or not variable or "=" in variable:
                raise SettingsError(
                    f"KernelSpec.env has {variable!r}, which no process can have: a name must not"
                    " be empty or hold '=', and neither name nor value a NUL or what the file"
                    " system's encoding cannot express"
                )


def resolve(entry: str) -> Callable[..., Any]:
    """The function that "package.module:function" names.

    Raises:
        ImportError: the module or the function is not there.
        ValueError: the name has no such form.
    """
    module_name, separator, qualified_name = entry.partition(":")
    if not (module_name and separator and qualified_name):
        raise ValueError(f"{entry!r} is not of the form 'package.module:function'")
    found: Any = importlib.import_module(module_name)
    for part in qualified_name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            raise ImportError(f"{module_name!r} has no {qualified_name!r}", name=part) from error
    if not callable(found):
        raise ImportError(f"{entry!r} is a {type(found).__name__}, not a function")
    return found  # type: ignore[no-any-return]


def enter(entry: str, *args: object) -> None:
    """Call `entry`: the first thing a spawned process does, so that its launcher need not import
    what runs there."""
    resolve(entry)(*args)


class MainProgram:
    """What `spawn` unpickles in a process that is to be like a plain interpreter: standard input,
    the main thread and the exit are left as they are, where a `Process` would settle them.

    Args:
        entry: "package.module:function", called with `args`.
    """

    def __init__(self, entry: str, *args: object) -> None:
        self.entry = entry
        self.args = args

    def _bootstrap(self, parent_sentinel: int) -> int:
        """Called by `spawn`, on the main thread; what is returned is the exit code."""
        os.close(parent_sentinel)
        return int(resolve(self.entry)(*self.args))
