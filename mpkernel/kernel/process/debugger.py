"""`pdb` in cells, and every debugger that uses `bdb`: they see the user's code alone.

Stepping into `print`, or past the end of a cell, would lead into the kernel's own code. A debugger
that stops there asks the client for its next command, and waits for ever: the kernel's code holds
locks that are needed to ask. So debuggers pass over the kernel's code and what it calls, and their
stacks begin with the user's code.
"""

from __future__ import annotations

import bdb
import functools
import os
import sys
from types import FrameType, TracebackType
from typing import Any, TypeAlias

__all__ = ["install_debugger", "leave_debugger"]

_Stack: TypeAlias = list[tuple[FrameType, int]]

_PACKAGES = __file__.removesuffix("mpkernel/kernel/process/debugger.py")
_OURS = (f"{_PACKAGES}mpkernel/", f"{_PACKAGES}shm/")
_EXAMPLES = f"{_PACKAGES}mpkernel/examples/"  # apps, as the user's are
_LIBRARY = os.__file__.removesuffix("os.py")
_PYTHONS = (_LIBRARY, "<frozen ")
_INSTALLED = f"{_LIBRARY}site-packages/"


def install_debugger() -> None:
    """Keep debuggers out of the kernel. To be called once."""
    plain_dispatch, plain_get_stack = bdb.Bdb.trace_dispatch, bdb.Bdb.get_stack

    @functools.wraps(plain_dispatch)
    def trace_dispatch(self: bdb.Bdb, frame: FrameType, event: str, arg: Any) -> Any:
        return None if _is_of_kernel(frame) else plain_dispatch(self, frame, event, arg)

    @functools.wraps(plain_get_stack)
    def get_stack(
        self: bdb.Bdb, f: FrameType | None, t: TracebackType | None
    ) -> tuple[_Stack, int]:
        stack, current = plain_get_stack(self, f, t)
        return _of_user(stack, current)

    changed: Any = bdb.Bdb
    changed.trace_dispatch, changed.get_stack = trace_dispatch, get_stack
    if sys.version_info >= (3, 14):
        _as_before_3_14(changed)


def _as_before_3_14(changed: Any) -> None:
    """Have debuggers trace the calling thread alone: from Python 3.14 on, pdb watches the whole
    process, with all its sessions. And have `quit` end the cell, without a question whether it may
    end the process."""
    plain = changed.__init__

    @functools.wraps(plain)
    def __init__(self: bdb.Bdb, skip: Any = None, backend: str = "") -> None:
        plain(self, skip, "settrace")

    changed.__init__ = __init__
    changed.mode = _NeverInline()


class _NeverInline:
    """The attribute `mode` of debuggers."""

    def __get__(self, debugger: bdb.Bdb | None, _: type[bdb.Bdb]) -> str | None:
        mode: str | None = vars(debugger).get("mode") if debugger is not None else None
        return None if mode == "inline" else mode

    def __set__(self, debugger: bdb.Bdb, mode: str | None) -> None:
        vars(debugger)["mode"] = mode


def leave_debugger() -> None:
    """The calling thread's user code has ended: stop a debugger that still steps through it."""
    if isinstance(getattr(sys.gettrace(), "__self__", None), bdb.Bdb):
        sys.settrace(None)


def _is_of_kernel(frame: FrameType | None) -> bool:
    """Whether the code is the kernel's, or the standard library's and called by the kernel."""
    while frame is not None:
        filename = frame.f_code.co_filename
        if _is_ours(filename):
            return True
        if not _is_pythons(filename):
            return False
        frame = frame.f_back
    return False


def _of_user(stack: _Stack, current: int) -> tuple[_Stack, int]:
    first = 0
    while first < current:
        filename = stack[first][0].f_code.co_filename
        if not _is_ours(filename) and not _is_pythons(filename):
            break
        first += 1
    return stack[first:], current - first


def _is_ours(filename: str) -> bool:
    return filename.startswith(_OURS) and not filename.startswith(_EXAMPLES)


def _is_pythons(filename: str) -> bool:
    return filename.startswith(_PYTHONS) and not filename.startswith(_INSTALLED)
