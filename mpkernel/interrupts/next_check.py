"""Where an exception from another thread is raised when the thread stands where it gave up the GIL.

The interpreter looks for such an exception at few instructions: at calls, at jumps backwards, and
at the start of a function. The same instructions give up the GIL. Up to Python 3.12 a thread that
has got the GIL back looks, right there, for an exception that came meanwhile. Since 3.13 it has
looked before, and notices the exception only at the next of these instructions. That may be a call
which acquires a lock: the exception is raised when the lock is held.

A call that waits in C is not meant: it looks for exceptions at its end. It cannot be told from a
call that has ended and gave up the GIL then, except where a call never waits (`release`).
"""

from __future__ import annotations

import dis
import functools
import sys
from types import CodeType, FrameType

from mpkernel.interrupts.half_done import is_locking, may_hold_a_lock

__all__ = ["comes_at_a_lock"]

_IS_NOTICED_LATER = sys.version_info >= (3, 13)
_GIVES_UP_THE_GIL = frozenset({"RESUME", "JUMP_BACKWARD"})
_CALLS = frozenset({"CALL", "CALL_KW", "CALL_FUNCTION_EX"})
_ENDS = frozenset({"RETURN_VALUE", "RETURN_CONST", "YIELD_VALUE"})
_RAISES = frozenset({"RAISE_VARARGS", "RERAISE", "WITH_EXCEPT_START"})
_JUMPS = frozenset({"JUMP_FORWARD", "JUMP_BACKWARD_NO_INTERRUPT"})


def comes_at_a_lock(top: FrameType) -> bool:
    """Whether an exception may be raised at a call that acquires or releases, or after it, when the
    thread has given up the GIL in its innermost frame."""
    if not _IS_NOTICED_LATER or not _is_at_a_check(top.f_code, top.f_lasti):
        return False
    frame: FrameType | None = top
    while frame is not None:
        checks, may_end = _next_checks(frame.f_code, frame.f_lasti)
        if checks is None or any(_would_harm(frame.f_code, check) for check in checks):
            return True
        if not may_end:
            return False
        frame = frame.f_back
    return False


def _would_harm(code: CodeType, check: int) -> bool:
    return is_locking(code, check) or may_hold_a_lock(code, check, calls_in_c=True)


@functools.lru_cache(maxsize=4096)
def _is_at_a_check(code: CodeType, offset: int) -> bool:
    at = _instructions(code).get(offset)
    return at is not None and (at.opname in _GIVES_UP_THE_GIL or is_locking(code, offset))


@functools.lru_cache(maxsize=4096)
def _next_checks(code: CodeType, offset: int) -> tuple[frozenset[int] | None, bool]:
    """The offsets of the checks that may come next after an instruction; None where an exception
    is on its way, whose handlers are not followed. And whether the function may end before."""
    instructions = _instructions(code)
    following = dict(zip(instructions, list(instructions)[1:], strict=False))
    checks: set[int] = set()
    may_end = False
    first = instructions.get(offset)
    if first is None:
        return None, True
    if first.opname == "JUMP_BACKWARD":
        to_follow = [_target(first)]
    elif offset in following:
        to_follow = [following[offset]]
    else:
        return None, True
    seen: set[int] = set()
    while to_follow:
        at = to_follow.pop()
        if at in seen:
            continue
        seen.add(at)
        instruction = instructions[at]
        name = instruction.opname
        if name in _RAISES:
            return None, may_end
        if name in _CALLS or name in _GIVES_UP_THE_GIL:
            checks.add(at)
        elif name in _ENDS:
            may_end = True
        else:
            if instruction.opcode in dis.hasjrel:
                to_follow.append(_target(instruction))
            if name not in _JUMPS and at in following:
                to_follow.append(following[at])
    return frozenset(checks), may_end


@functools.lru_cache(maxsize=1024)
def _instructions(code: CodeType) -> dict[int, dis.Instruction]:
    return {instruction.offset: instruction for instruction in dis.get_instructions(code)}


def _target(jump: dis.Instruction) -> int:
    return int(jump.argval)
