"""`sys.stdout = …` by session.

User code sets `sys.stdout` and `sys.stderr`, itself or through `contextlib.redirect_stdout`. There
is one `sys` for all sessions; so its class is given two properties that keep what a session's
thread sets with the session. `print` looks into `sys`'s dict, which stays as it is: it finds the
console's proxy, which asks the session what it has set.

The idea of a class for an existing module: the language reference, "Customizing module attribute
access".
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import TextIO

__all__ = [
    "capture_stderr",
    "capture_stdout",
    "install_sys_streams",
    "redirect_stderr",
    "redirect_stdout",
]


def install_sys_streams(replacements: Callable[[str], list[TextIO | None] | None]) -> None:
    """Keep what sessions set.

    Args:
        replacements: for "stdout" or "stderr", the calling session's list of at most one; None
            for a thread of no session.
    """

    class Sys(ModuleType):
        stdout = _property("stdout", replacements)
        stderr = _property("stderr", replacements)

    sys.__class__ = Sys


def _property(name: str, replacements: Callable[[str], list[TextIO | None] | None]) -> property:
    def get(module: ModuleType) -> TextIO | None:
        replaced = replacements(name)
        if replaced:
            return replaced[0]
        stream: TextIO | None = vars(module)[name]
        return stream

    def set_(module: ModuleType, stream: TextIO | None) -> None:
        replaced = replacements(name)
        if replaced is None:
            vars(module)[name] = stream
        elif stream is vars(module)[name]:
            replaced.clear()
        else:
            replaced[:] = [stream]

    return property(get, set_)


@contextlib.contextmanager
def _redirected(name: str, target: TextIO) -> Iterator[TextIO]:
    from mpkernel.kernel.main import thread_stream

    with thread_stream(name, target):
        yield target


def redirect_stdout(target: TextIO) -> contextlib.AbstractContextManager[TextIO]:
    """What this thread, and threads it starts, print in the `with` goes to `target`; what the
    session's others print does not. (`contextlib.redirect_stdout` is for the whole session.)"""
    return _redirected("stdout", target)


def redirect_stderr(target: TextIO) -> contextlib.AbstractContextManager[TextIO]:
    """The same, for stderr."""
    return _redirected("stderr", target)


@contextlib.contextmanager
def capture_stdout() -> Iterator[io.StringIO]:
    """What this thread, and threads it starts, print in the `with`, as a `StringIO`."""
    captured = io.StringIO()
    with redirect_stdout(captured):
        yield captured


@contextlib.contextmanager
def capture_stderr() -> Iterator[io.StringIO]:
    """The same, for stderr."""
    captured = io.StringIO()
    with redirect_stderr(captured):
        yield captured
