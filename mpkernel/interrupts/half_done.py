"""Whether a function may have begun something and not finished it, told from its bytecode.

Two things are looked for. One is a lock that one call has acquired and another call will release:
Python does not say which locks a thread holds, but the calls have names. The other is a global
variable that was set: code that a process runs once often sets one first, and does the rest then.

The code is read from its beginning to its end, as if it had no loops and branches. Where this is
not enough to be sure, the answer is that something may be half-done.
"""

from __future__ import annotations

import dis
import functools
import itertools
from collections.abc import Iterator
from types import CodeType
from typing import Any, NamedTuple, cast

__all__ = ["has_set_a_global", "is_entering_a_with", "may_hold_a_lock"]

# `inspect.CO_NEWLOCALS`. To load `inspect` would be a tenth of the embedded kernel's start.
_NEW_LOCALS = 0x0002

_ACQUIRE = frozenset({"acquire", "acquirelock", "lockacquire", "acquirerestore", "__enter__"})
_RELEASE = frozenset({"release", "releaselock", "lockrelease", "releasesave", "__exit__"})
_LOCK, _UNLOCK = "lock", "unlock"
_CALLS = frozenset({"CALL", "CALL_KW", "CALL_FUNCTION_EX"})
_CHECKS_TYPE = frozenset({"CHECK_EXC_MATCH", "CHECK_EG_MATCH"})
_LEAVES_HANDLER = frozenset({"RERAISE", "RETURN_VALUE", "RETURN_CONST"})


class _Handler(NamedTuple):
    """A handler: an exception in the instructions from `start` to before `end` goes to `target`."""

    start: int
    end: int
    target: int


class _Call(NamedTuple):
    """A call that acquires or releases. `end` is where the next instruction begins."""

    start: int
    end: int
    acquires: bool


class _Locking(NamedTuple):
    """The calls of a function that acquire and release, in the order of its code.

    Attributes:
        calls: those outside of exception handlers.
        handled: those in exception handlers that release.
        handlers: where exceptions go.
        releasing: targets of handlers that release whatever the exception is.
        ends: by target, where the handler's code ends.
        is_function: False for the code of a module, a class or a cell.
    """

    calls: list[_Call]
    handled: list[_Call]
    handlers: list[_Handler]
    releasing: frozenset[int]
    ends: dict[int, int]
    is_function: bool


def may_hold_a_lock(code: CodeType, offset: int, *, calls_in_c: bool) -> bool:
    """Whether an exception at `offset` may leave a lock held.

    Args:
        calls_in_c: whether this is the innermost frame. A call that acquires then runs in C, and
            may be at its end, with the lock held.
    """
    if not _names_a_lock(code):
        return False
    if _bare(code.co_name) in _RELEASE:
        return True
    locking = _locking(code)
    for target, end in locking.ends.items():
        if target <= offset < end:
            return any(offset < call.start < end for call in locking.handled)
    passed = [call for call in locking.calls if call.start <= offset]
    to_come = locking.calls[len(passed) :]
    last = passed[-1] if passed else None
    if last is not None and last.acquires and offset < last.end and not calls_in_c:
        passed.pop()  # the function that it calls has not returned: nothing is acquired yet
        last = passed[-1] if passed else None
    if last is None or not (last.acquires or _is_release(to_come[:1])):
        return False
    never_releases = not locking.handled and all(call.acquires for call in locking.calls)
    is_at_call = last.acquires and offset < last.end
    if never_releases and not locking.is_function and not is_at_call:
        return False  # the code of a cell, whose own end does not release the lock either
    return not _is_released_by_handlers(locking, offset)


def _is_release(calls: list[_Call]) -> bool:
    return any(not call.acquires for call in calls)


@functools.lru_cache(maxsize=1024)
def _first_global_set(code: CodeType) -> int | None:
    for instruction in dis.get_instructions(code):
        if instruction.opname == "STORE_GLOBAL":
            return instruction.offset
    return None


def has_set_a_global(code: CodeType, offset: int) -> bool:
    """Whether a function may have set a global variable when it is at `offset`."""
    first = _first_global_set(code) if code.co_flags & _NEW_LOCALS else None
    return first is not None and offset > first


@functools.lru_cache(maxsize=1024)
def _entrances(code: CodeType) -> frozenset[int]:
    return frozenset(
        call.offset
        for loading, call in itertools.pairwise(dis.get_instructions(code))
        if loading.opname == "LOAD_SPECIAL" and call.opname == "CALL"
    )


def is_entering_a_with(code: CodeType, offset: int) -> bool:
    """Whether a `with` calls `__enter__` at `offset`. In Python 3.14 an exception from another
    thread may be raised at the end of this call, and then nothing calls `__exit__`
    (https://github.com/python/cpython/issues/148874)."""
    return offset in _entrances(code)


@functools.lru_cache(maxsize=4096)
def _names_a_lock(code: CodeType) -> bool:
    names = {_bare(name) for name in (*code.co_names, *code.co_varnames, *code.co_freevars)}
    return bool(names & (_ACQUIRE | _RELEASE)) or {_LOCK, _UNLOCK} <= names


@functools.lru_cache(maxsize=1024)
def _locking(code: CodeType) -> _Locking:
    instructions = list(dis.get_instructions(code))
    handlers = [
        _Handler(entry.start, entry.end, entry.target)
        for entry in cast(Any, dis.Bytecode(code)).exception_entries
    ]
    ends = {
        target: _end_of_handler(instructions, target)
        for target in {handler.target for handler in handlers}
    }
    calls = list(_calls(code, instructions))

    def is_handled(call: _Call) -> bool:
        return any(target <= call.start < end for target, end in ends.items())

    outside = [call for call in calls if not is_handled(call)]
    released = [call for call in calls if is_handled(call) and not call.acquires]
    releasing = frozenset(
        target
        for target, end in ends.items()
        if any(target <= call.start < _first_check(instructions, target, end) for call in released)
    )
    is_function = bool(code.co_flags & _NEW_LOCALS)
    return _Locking(outside, released, handlers, releasing, ends, is_function)


def _calls(code: CodeType, instructions: list[dis.Instruction]) -> Iterator[_Call]:
    has_unlock = {_LOCK, _UNLOCK} <= {_bare(name) for name in code.co_names}
    for index, instruction in enumerate(instructions):
        if not _is_called(instructions, index):
            continue
        name = _bare(instruction.argval)
        acquires = name in _ACQUIRE or (has_unlock and name == _LOCK)
        releases = name in _RELEASE or (has_unlock and name == _UNLOCK)
        if not (acquires or releases):
            continue
        for call, following in itertools.pairwise(instructions[index:]):
            if call.opname in _CALLS:
                yield _Call(call.offset, following.offset, acquires)
                break


def _is_called(instructions: list[dis.Instruction], index: int) -> bool:
    """Whether an instruction loads a function by name to call it: then a NULL is beside it."""
    instruction = instructions[index]
    if not instruction.opname.startswith("LOAD_") or not isinstance(instruction.argval, str):
        return False
    beside = instructions[max(0, index - 1) : index + 2]
    return (
        instruction.opname == "LOAD_METHOD"
        or "NULL" in instruction.argrepr
        or any(other.opname == "PUSH_NULL" for other in beside)
    )


def _end_of_handler(instructions: list[dis.Instruction], target: int) -> int:
    for instruction in instructions:
        if instruction.offset >= target and instruction.opname in _LEAVES_HANDLER:
            return instruction.offset + 2
    return instructions[-1].offset + 2


def _first_check(instructions: list[dis.Instruction], target: int, end: int) -> int:
    """Where a handler first checks the exception's type: its code up to there always runs."""
    for kind, check in itertools.pairwise(instructions):
        is_inside = target <= check.offset < end
        if is_inside and check.opname in _CHECKS_TYPE and kind.argval != "BaseException":
            return check.offset
    return end


def _is_released_by_handlers(locking: _Locking, offset: int) -> bool:
    """Whether an exception at `offset` leads through a handler that releases."""
    seen: set[int] = set()
    at = offset
    while True:
        target = next((h.target for h in locking.handlers if h.start <= at < h.end), None)
        if target is None or target in seen:
            return False
        if target in locking.releasing:
            return True
        seen.add(target)
        at = target


def _bare(name: str) -> str:
    return name if name.startswith("__") else name.replace("_", "").lower()
