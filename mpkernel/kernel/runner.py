"""Running the code of one cell: compiled with its own lines, awaited where it awaits."""

from __future__ import annotations

import ast
import inspect
import linecache
import traceback
from types import CodeType, TracebackType
from typing import Any, NamedTuple

from mpkernel.kernel.cells import Cell
from mpkernel.kernel.interrupts import Interrupts
from mpkernel.kernel.namespace import Namespace

__all__ = [
    "Compiled",
    "compile_cell",
    "exit_code_of",
    "of_user",
    "remember_source",
    "run",
    "traceback_of",
]

_TOP_LEVEL_AWAIT = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
_OWN_FOLDER = __file__.rpartition("/kernel/")[0] + "/"


class Compiled(NamedTuple):
    """A cell's code: what it does, then the value that it ends with, if that is an expression."""

    body: CodeType
    value: CodeType | None


def compile_cell(cell: Cell, filename: str, *, flags: int = 0) -> Compiled:
    """Compile a cell, its lines as in the file.

    Args:
        cell: see `cells`.
        filename: what tracebacks name.
        flags: of `__future__`, for `compile`.

    Raises:
        SyntaxError: it is no Python.
    """
    source = "\n" * (cell.first_line - 1) + cell.code
    tree = compile(source, filename, "exec", flags | ast.PyCF_ONLY_AST, dont_inherit=True)
    value = None
    if tree.body and isinstance(tree.body[-1], ast.Expr):
        last = ast.Expression(tree.body.pop().value)
        value = compile(last, filename, "eval", flags | _TOP_LEVEL_AWAIT, dont_inherit=True)
    body = compile(tree, filename, "exec", flags | _TOP_LEVEL_AWAIT, dont_inherit=True)
    return Compiled(body, value)


def remember_source(filename: str, code: str) -> None:
    """Let tracebacks and `inspect` show code that is in no file."""
    linecache.cache[filename] = (len(code), None, code.splitlines(keepends=True), filename)


def run(compiled: Compiled, namespace: Namespace, interrupts: Interrupts) -> Any:
    """Run a cell; the value that it ends with. Raises what the code raises."""
    _run_code(compiled.body, namespace, interrupts)
    if compiled.value is None:
        return None
    return _run_code(compiled.value, namespace, interrupts)


def _run_code(code: CodeType, namespace: Namespace, interrupts: Interrupts) -> Any:
    result = eval(code, namespace)
    if not code.co_flags & inspect.CO_COROUTINE:
        return result
    return _await(result, interrupts)


def _await(coroutine: Any, interrupts: Interrupts) -> Any:
    """Await on a loop that lives for this cell; an interrupt cancels the task."""
    import asyncio  # late: a host whose apps do not await must not pay for it

    async def awaited() -> Any:
        return await coroutine

    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        task = loop.create_task(awaited())
        was_interrupted = False

        def cancel() -> None:
            nonlocal was_interrupted
            was_interrupted = True
            loop.call_soon_threadsafe(task.cancel)

        with interrupts.cancelled_by(cancel):
            try:
                return loop.run_until_complete(task)
            except asyncio.CancelledError:
                if was_interrupted:
                    raise KeyboardInterrupt from None
                raise


def exit_code_of(error: SystemExit) -> tuple[int, str]:
    """What a process would end with, and what it would write to stderr."""
    match error.code:
        case None:
            return 0, ""
        case int():
            return error.code & 0xFF, ""
        case other:
            return 1, f"{other}\n"


def traceback_of(error: BaseException, filename: str | None = None) -> str:
    """The traceback as Python writes it, without the kernel's own frames; see `of_user`."""
    formatted = traceback.TracebackException(
        type(error), error, of_user(error.__traceback__, filename), compact=True
    )
    return "".join(formatted.format())


def of_user(frames: TracebackType | None, filename: str | None = None) -> TracebackType | None:
    """The frames from the first on that is of the user's `filename`; where none is, without the
    kernel's own that lead there."""
    first = frames
    while first is not None:
        if first.tb_frame.f_code.co_filename == filename:
            return first
        first = first.tb_next
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_OWN_FOLDER):
        frames = frames.tb_next
    return frames
