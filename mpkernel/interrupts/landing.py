"""Having an exception raised in a thread where its stack was checked, not at some later place.

A thread that runs Python code gives up the GIL where the interpreter looks for requests to it. Up
to Python 3.12 it looks for exceptions from other threads after that, when it has taken the GIL
back. From 3.13 on it has read all requests before. An exception that was requested while the thread
was without the GIL is then found where the interpreter looks the next time, for example when the
next call returns, and this may be the call that acquires a lock.

So the interpreter is made to look at the next instruction. `sys.monitoring` calls a function of
ours there, and the interpreter looks for exceptions when a function begins. The exception comes out
of that function, and so out of the place before the next instruction. That is one step further than
the place where the thread was seen: `next_steps` are to be checked as well.

The code is slower meanwhile, for all threads that run it. This ends when the thread goes on in it,
or when its session's code has ended (`at_any_place`).
"""

from __future__ import annotations

import dis
import functools
import itertools
import os
import sys
import threading
from types import CodeType
from typing import Any

__all__ = ["LANDS_LATE", "at_any_place", "at_next_step", "next_steps"]

LANDS_LATE = sys.version_info >= (3, 13)
"""Whether this interpreter raises exceptions at a later place, if nothing is done about it."""

_monitoring: Any = getattr(sys, "monitoring", None)  # Python 3.11 has none

_TOOLS = (3, 4)
"""The numbers of tools of `sys.monitoring` that are for no particular purpose."""

_tool: int | None = None
_codes: dict[int, CodeType] = {}
"""By thread, the code whose next step looks for its exception. Guarded by `_lock`."""
_lock = threading.RLock()  # the collector may run code, and so `_look`, while a thread holds it


@functools.lru_cache(maxsize=1024)
def next_steps(code: CodeType, offset: int) -> tuple[int, ...]:
    """The offsets of the instructions that may follow the one at `offset`."""
    for instruction, following in itertools.pairwise(dis.get_instructions(code)):
        if instruction.offset != offset:
            continue
        if "JUMP" not in instruction.opname and instruction.opname not in ("FOR_ITER", "SEND"):
            return (following.offset,)
        if instruction.opname.startswith("JUMP"):
            return (instruction.argval,)
        return (following.offset, instruction.argval)
    return ()


def at_next_step(thread: int, code: CodeType) -> None:
    """Have the interpreter look for an exception before a thread's next step in `code`. Where two
    other tools use `sys.monitoring` in this way, it is left to look where it does anyway."""
    if not LANDS_LATE:
        return
    with _lock:
        at_any_place(thread)
        tool = _our_tool()
        if tool is not None:
            _codes[thread] = code
            _monitoring.set_local_events(tool, code, _monitoring.events.INSTRUCTION)


def at_any_place(thread: int) -> None:
    """The end of `at_next_step`. Nothing happens if there was none."""
    if thread not in _codes:
        return
    with _lock:
        code = _codes.pop(thread, None)
        if code is not None and _tool is not None and code not in _codes.values():
            _monitoring.set_local_events(_tool, code, 0)


def _look(code: CodeType, _: int) -> None:
    """The interpreter looks when this function begins. If the thread comes further, there was no
    exception for it, or it has had it."""
    thread = threading.get_ident()
    if _codes.get(thread) is code:
        at_any_place(thread)


def _our_tool() -> int | None:
    """Under the lock."""
    global _tool
    if _tool is None:
        _tool = next((tool for tool in _TOOLS if _monitoring.get_tool(tool) is None), None)
        if _tool is not None:
            _monitoring.use_tool_id(_tool, "mpkernel")
            _monitoring.register_callback(_tool, _monitoring.events.INSTRUCTION, _look)
    return _tool


def _renew() -> None:
    """In a fork, the lock may be held by a thread that the fork does not have."""
    global _lock
    _lock = threading.RLock()
    _codes.clear()


os.register_at_fork(after_in_child=_renew)
