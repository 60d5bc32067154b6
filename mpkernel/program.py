"""Runs, in a spawned process, the function that "package.module:function" names."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any

from mpkernel.quick_imports import quick_imports

__all__ = ["ENDED", "MainProgram", "check_has_run", "enter", "resolve"]

ENDED = b"\0"
"""What a `MainProgram` writes last, when it has come to the end of its interpreter."""


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
    """Call `entry`. A spawned process does this first, so that its launcher need not import what
    runs in it."""
    _forget_command()
    resolve(entry)(*args)


class MainProgram:
    """What `spawn` unpickles in the new process. Unlike a `multiprocessing.Process`, it changes
    neither standard input nor the main thread nor the exit: the process is like a plain
    interpreter.

    Args:
        entry: "package.module:function", called with `args`.
    """

    def __init__(self, entry: str, *args: object) -> None:
        self.entry = entry
        self.args = args

    def _bootstrap(self, parent_sentinel: int) -> int:
        """Called by `spawn`, on the main thread; what is returned is the exit code."""
        os.close(parent_sentinel)
        _forget_command()
        with quick_imports():
            main = resolve(self.entry)
        return int(main(*self.args))


def _forget_command() -> None:
    """Forget the command that this interpreter was started with. From Python 3.13 on, tracebacks
    would show it as the source of whatever is executed from a string."""
    lines = sys.modules.get("linecache")
    if lines is not None:
        lines.cache.pop("<string>", None)
        getattr(lines, "_interactive_cache", {}).clear()  # from 3.14 on


def check_has_run(entry: str, returned: object) -> None:
    """Check what a function has returned: that of an `async def`, or of a function with `yield`, is
    an object, and nothing of the function has run.

    Args:
        entry: "package.module:function".
        returned: what it has returned.

    Raises:
        TypeError: nothing of it has run.
    """
    if isinstance(returned, CoroutineType | GeneratorType | AsyncGeneratorType):
        if isinstance(returned, CoroutineType):
            returned.close()  # else Python warns that it was never awaited
        raise TypeError(
            f"{entry} is an async function or a generator: nothing of it has run (make it a plain"
            " function, which may call asyncio.run)"
        )
