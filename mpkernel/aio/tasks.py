"""Tasks that are referenced until they end, that have a name, and whose errors are reported.

The event loop itself has only weak references to its tasks, and it mentions an error only when the
task is garbage-collected. These helpers keep the task, and report the error at once. For a task
that has to be stopped from other threads, use `mpkernel.aio.background.BackgroundTask`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from mpkernel.aio.loops import run, running_loop

__all__ = ["begun_task", "cancel_and_wait", "fire_and_forget", "supervised_task"]

T = TypeVar("T")

logger = logging.getLogger(__name__)

# Loops of several threads share it without a lock: it only ever sees add and discard, both atomic.
_unfinished: set[asyncio.Task[Any]] = set()


def supervised_task(
    coroutine: Coroutine[Any, Any, T],
    *,
    name: str,
    registry: set[asyncio.Task[Any]] | None = None,
    on_exception: Callable[[BaseException], object] | None = None,
) -> asyncio.Task[T]:
    """Start ``coroutine`` as a task of the running loop, keep it until it ends, report its error.

    A strong reference is held while the task runs. An error that ends it is logged once, or handed
    to ``on_exception`` instead; a cancellation is neither. This holds for an awaited task too: when
    the awaiter deals with the error, give an ``on_exception`` that does nothing, or the error is
    reported in two places.

    Args:
        coroutine: what to run.
        name: the task's name, in logs and in `asyncio.all_tasks`.
        registry: a set that holds the task as long as it runs, for a caller who wants to find or
            cancel its own tasks. None: no such set.
        on_exception: called on the loop with the error. If it fails itself, both errors are logged.
            None: log the error.

    Raises:
        RuntimeError: no loop runs in this thread; ``coroutine`` is closed.

    The idea is marimo's helper of the same name (pull request 9552).
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        coroutine.close()
        raise
    task = loop.create_task(coroutine, name=name)
    for holder in (_unfinished, registry):
        if holder is not None:
            holder.add(task)
            task.add_done_callback(holder.discard)
    task.add_done_callback(partial(_report_error, on_exception))
    return task


def begun_task(work: Callable[[], Coroutine[Any, Any, None]], *, name: str) -> None:
    """Have ``work`` run as a `supervised_task` that is begun in any case.

    A loop that is shut down cancels all tasks, also one that was made a moment ago and has done
    nothing so far. Here such a task is started once more. What ``work`` does when it is cancelled
    later is its own matter.

    Raises:
        RuntimeError: no loop runs in this thread.
    """
    has_begun = False

    async def begin() -> None:
        nonlocal has_begun
        has_begun = True
        await work()

    def begin_again(_: asyncio.Task[None]) -> None:
        if not has_begun:
            begun_task(work, name=name)

    supervised_task(begin(), name=name).add_done_callback(begin_again)


def fire_and_forget(coroutine: Coroutine[Any, Any, Any], *, name: str) -> asyncio.Task[Any] | None:
    """Have ``coroutine`` run, from code that may or may not be on a loop.

    On a running loop, a `supervised_task` is started and returned: its errors are logged. Without a
    running loop, the call blocks until `mpkernel.aio.loops.run` has run ``coroutine``, and returns
    None: the caller waits, so an error is raised, not logged.

    Args:
        coroutine: what to run. Its result is ignored.
        name: the name of the task, in both cases.

    Raises:
        BaseException: what ``coroutine`` raises, only where no loop was running.

    The idea is marimo's helper of the same name (pull request 9552).
    """
    if running_loop() is None:
        run(_under_name(coroutine, name))
        return None
    return supervised_task(coroutine, name=name)


async def cancel_and_wait(task: asyncio.Task[Any]) -> None:
    """Cancel ``task`` and return when it has ended.

    If the task is cancelled, or returns instead, nothing is raised. If it was done before the call,
    its error is not raised here: ``task.exception()`` still gives it, and asyncio will not complain
    that nobody retrieved it. A task that does not end is waited for without a bound; put
    `asyncio.timeout` around the call to have one.

    Raises:
        asyncio.CancelledError: the caller itself was cancelled while it waited; ``task`` stays
            cancelled and ends by itself.
        RuntimeError: ``task`` is the caller's own, or belongs to another loop.
        BaseException: the error with which ``task`` ended after its cancellation.

    The idea is marimo's helper of the same name (pull request 9552).
    """
    if task.done():
        if not task.cancelled():
            task.exception()
        return
    if task is asyncio.current_task():
        raise RuntimeError(f"task {task.get_name()!r} cannot wait for its own end; let it return")
    if task.get_loop() is not asyncio.get_running_loop():
        raise RuntimeError(
            f"task {task.get_name()!r} belongs to another event loop; cancel it there"
        )
    task.cancel()
    # Awaiting the task itself would raise one and the same CancelledError for its end and for the
    # caller's cancellation; asyncio.wait raises only for the latter.
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()


def _report_error(
    on_exception: Callable[[BaseException], object] | None, task: asyncio.Task[Any]
) -> None:
    if task.cancelled():
        return
    error = task.exception()
    if error is None:
        return
    if on_exception is None:
        _log_error(task, error)
        return
    try:
        on_exception(error)
    except Exception:
        _log_error(task, error)
        logger.exception("on_exception failed task=%s", task.get_name())


def _log_error(task: asyncio.Task[Any], error: BaseException) -> None:
    logger.error("task ended with an error task=%s", task.get_name(), exc_info=error)


async def _under_name(coroutine: Coroutine[Any, Any, T], name: str) -> T:
    task = asyncio.current_task()
    if task is not None:
        task.set_name(name)
    return await coroutine
