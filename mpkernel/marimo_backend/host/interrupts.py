"""Ending the code of a notebook's cells when their session is closed.

marimo runs a kernel as one task of an event loop on the session's thread. The task may be
interrupted only while it carries out a command: between two commands, and while a kernel ends,
marimo's own code runs. Code that awaits is cancelled. Other code gets a KeyboardInterrupt, which
marimo takes for an interrupt of the cell: it runs no further cells, and asks for the next command.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from mpkernel.host.hosted_kernel import HostedKernel
from mpkernel.interrupts.sending import Interrupts, install_waits
from mpkernel.marimo_backend import seam

__all__ = ["bind_thread", "ending_by_interrupt", "interrupt_commands"]

_bound = threading.local()


def interrupt_commands() -> None:
    """Make the commands of all kernels of this process interruptible. To be called once."""
    install_waits()
    seam.wrap_handle_message(_handle)


def bind_thread(kernel: HostedKernel) -> Interrupts:
    """Have the kernel that starts on the calling thread interrupted when it must stop."""
    _bound.interrupts = interrupts = Interrupts()
    kernel.interruptible_by(interrupts.end)
    return interrupts


@contextmanager
def ending_by_interrupt(kernel: HostedKernel) -> Iterator[None]:
    """If an interrupt was raised outside of a cell, end the kernel in order, since it must stop."""
    try:
        yield
    except (KeyboardInterrupt, asyncio.CancelledError):
        if not kernel.stopped:
            raise


async def _handle(handle: Callable[..., Awaitable[None]], kernel: Any, request: Any) -> None:
    """Called instead of marimo's own `handle_message`: carries out a command."""
    interrupts: Interrupts | None = getattr(_bound, "interrupts", None)
    if interrupts is None or interrupts.running:  # a command within a command
        await handle(kernel, request)
        return
    command = _Command()
    try:
        with interrupts.guarded(), interrupts.cancelled_by(command.cancel):
            await handle(kernel, request)
    finally:
        command.over = True


class _Command:
    """The running task, while it carries out one command."""

    def __init__(self) -> None:
        self.over = False
        task = asyncio.current_task()
        assert task is not None, "marimo's kernel is a task"
        self._task = task

    def cancel(self) -> Callable[[], bool]:
        """Called on another thread; see `Interrupts.cancelled_by`."""
        reached = threading.Event()

        def on_loop() -> None:
            reached.set()
            if not self.over:
                self._task.cancel()

        with contextlib.suppress(RuntimeError):  # the loop is closed already
            self._task.get_loop().call_soon_threadsafe(on_loop)
        return reached.is_set
