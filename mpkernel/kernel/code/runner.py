"""Running the code of one cell: compiled with its line numbers in the file, and awaited if it
awaits."""

from __future__ import annotations

import ast
import contextlib
import threading
import traceback
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from types import CodeType, TracebackType
from typing import Any, NamedTuple

from mpkernel.error_texts import frames_of, message_of, name_of, traceback_by
from mpkernel.interrupts.sending import Interrupts
from mpkernel.kernel.code.cells import Cell
from mpkernel.kernel.code.namespace import Namespace
from mpkernel.kernel.code.sources import of_cells
from mpkernel.parsing import parse

__all__ = [
    "Compiled",
    "awaited",
    "compile_cell",
    "exit_code_of",
    "of_user",
    "run",
    "traceback_of",
]

_TOP_LEVEL_AWAIT = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
_COROUTINE = 0x0080  # `inspect.CO_COROUTINE`; see `half_done`
_OWN_FOLDER = __file__.rpartition("/kernel/")[0] + "/"
_KERNELS_FOLDERS = (_OWN_FOLDER + "kernel/", _OWN_FOLDER + "host/")


class Compiled(NamedTuple):
    """A cell's code: its statements; then its last expression, if it ends with one."""

    body: CodeType
    value: CodeType | None

    @property
    def codes(self) -> list[CodeType]:
        """Those of the two that exist, in order."""
        return [self.body] if self.value is None else [self.body, self.value]

    @property
    def awaits(self) -> bool:
        """Whether the cell needs a running loop."""
        return any(code.co_flags & _COROUTINE for code in self.codes)


def compile_cell(cell: Cell, filename: str, *, flags: int = 0) -> Compiled:
    """Compile a cell, with its line numbers in the file.

    Args:
        cell: see `cells`.
        filename: the file that tracebacks name.
        flags: those of `__future__` imports, for `compile`; see `future_flags`.

    Raises:
        SyntaxError: the cell is not valid Python.
    """
    source = "\n" * (cell.first_line - 1) + cell.code
    tree = parse(source, filename, flags=flags)
    value = None
    if tree.body and isinstance(shown := tree.body[-1], ast.Expr):
        tree.body.pop()
        last = ast.Expression(shown.value)
        value = compile(last, filename, "eval", flags | _TOP_LEVEL_AWAIT, dont_inherit=True)
    body = compile(tree, filename, "exec", flags | _TOP_LEVEL_AWAIT, dont_inherit=True)
    return Compiled(body, value)


def run(
    compiled: Compiled,
    namespace: Namespace,
    interrupts: Interrupts,
    scope: AbstractContextManager[None],
) -> Any:
    """Run a cell, within `scope`. Returns the value of its last expression; raises what it
    raises."""
    if compiled.awaits:
        return _await(_awaited_in(scope, compiled, namespace), interrupts)
    value = None
    with scope:
        for code in compiled.codes:
            value = eval(code, namespace)
    return value


async def awaited(compiled: Compiled, namespace: Namespace) -> Any:
    """Run all of a cell that awaits on the running loop. Returns the value of its last
    expression."""
    value = None
    for code in compiled.codes:
        value = eval(code, namespace)
        if code.co_flags & _COROUTINE:
            value = await value
    return value


async def _awaited_in(
    scope: AbstractContextManager[None], compiled: Compiled, namespace: Namespace
) -> Any:
    with scope:
        return await awaited(compiled, namespace)


def _await(coroutine: Coroutine[Any, Any, Any], interrupts: Interrupts) -> Any:
    """Await on a loop that is made for this cell. An interrupt cancels the task."""
    import asyncio  # imported here: few apps await

    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        task = loop.create_task(coroutine)
        was_interrupted = False

        def cancel() -> Callable[[], bool]:
            nonlocal was_interrupted
            was_interrupted = True
            reached = threading.Event()

            def cancel_task() -> None:
                reached.set()
                task.cancel()

            with contextlib.suppress(RuntimeError):  # the loop is closed already
                loop.call_soon_threadsafe(cancel_task)
            return reached.is_set

        with interrupts.cancelled_by(cancel):
            try:
                return loop.run_until_complete(task)
            except asyncio.CancelledError:
                if was_interrupted:
                    raise KeyboardInterrupt from None
                raise


def exit_code_of(error: SystemExit) -> tuple[int, str]:
    """The exit code with which a process would end, and what it would write to stderr."""
    try:
        code = error.code
        if code is None:
            return 0, ""
        if isinstance(code, int):
            return int.__and__(code, 0xFF), ""
    except BaseException as failure:  # noqa: BLE001 (the user's; it is told)
        return 1, f"{name_of(error)} without its exit code: {message_of(failure)}\n"
    return 1, f"{message_of(error)}\n"


def traceback_of(error: BaseException, filename: str | None = None) -> str:
    """The traceback as Python writes it, without the kernel's own frames; see `of_user`. It has the
    names of cells as the client gave them; see `of_cells`."""
    frames = of_user(frames_of(error), filename)

    def formatted() -> str:
        whole = traceback.TracebackException(type(error), error, frames, compact=True)
        whole.stack[:] = [
            frame for frame in whole.stack if not frame.filename.startswith(_KERNELS_FOLDERS)
        ]
        return "".join(whole.format())

    return of_cells(traceback_by(formatted, error, frames))


def of_user(frames: TracebackType | None, filename: str | None = None) -> TracebackType | None:
    """The frames that begin with the first one in the user's `filename`. If there is none, all
    frames but the first ones that are the kernel's own."""
    first = frames
    while first is not None:
        if first.tb_frame.f_code.co_filename == filename:
            return first
        first = first.tb_next
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_OWN_FOLDER):
        frames = frames.tb_next
    return frames
