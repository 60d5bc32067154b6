"""`Contender`: a server process in which one peer is measured, idle between its turns.

Each peer has a process of its own, so that what it leaves running (threads, memory, a watchdog)
does not change the others' figures, and the process's CPU time and memory are the server's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import signal
import traceback
from collections.abc import Awaitable, Callable, Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import Any, Concatenate, Literal, ParamSpec, Self

from . import peers

__all__ = ["Contender", "Figures", "LoopKind", "run_loop"]

Figures = dict[str, float]
"""The figures of a turn, by the name of the measure."""

LoopKind = Literal["uvloop", "asyncio"]
P = ParamSpec("P")

_END_TIMEOUT_S = 10.0


def run_loop(awaitable: Awaitable[Any], kind: LoopKind) -> Any:
    """Run a coroutine on a loop of this kind."""
    factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    if kind == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop

    async def main() -> Any:
        return await awaitable

    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main())


class Contender:
    """A server process, for the length of a `with` block.

    Args:
        name: of the peer.
        loop: the server's event loop.
    """

    def __init__(self, name: str, loop: LoopKind) -> None:
        self.name = name
        self._loop = loop

    def __enter__(self) -> Self:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self.name, self._loop))
        try:
            with _interruptible_afterwards():
                self._process.start()
        except KeyboardInterrupt as interrupt:
            self.__exit__(type(interrupt))
            raise
        finally:
            theirs.close()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._pipe.close()
        if kind is not None:
            self._process.terminate()  # the process may be in the middle of a turn
        self._process.join(_END_TIMEOUT_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def turn(
        self,
        measure: Callable[Concatenate[peers.Peer, P], Awaitable[Figures]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Figures:
        """Have the peer measured by a function of a module, on hosts of its own.

        Raises:
            RuntimeError: it failed there; the message holds the traceback.
        """
        self._pipe.send((measure, args, kwargs))
        figures: Figures
        try:
            figures, failure = self._pipe.recv()
        except EOFError:
            self._process.join(_END_TIMEOUT_S)
            figures, failure = {}, f"its process ended, exit code {self._process.exitcode}"
        if failure:
            raise RuntimeError(f"{self.name}, {measure.__name__}: {failure}")
        return figures


@contextlib.contextmanager
def _interruptible_afterwards() -> Iterator[None]:
    """Ctrl-C does not interrupt a launch (that would print an error), and does not reach a new
    process before that ignores Ctrl-C."""
    resource_tracker.ensure_running()  # its start later on would unblock SIGINT
    arrived: list[int] = []
    # To block the signal is not enough: another thread may receive it.
    before = signal.signal(signal.SIGINT, lambda number, _: arrived.append(number))
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        signal.signal(signal.SIGINT, before)
    if arrived:
        raise KeyboardInterrupt


def _serve(pipe: Connection, name: str, loop: LoopKind) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    # Hosts are killed on purpose here; a warning for each would cross the progress bar.
    logging.getLogger("mpkernel").setLevel(logging.ERROR)
    while True:
        try:
            measure, args, kwargs = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send((run_loop(_measured(name, measure, args, kwargs), loop), ""))
        except asyncio.CancelledError:
            return
        except Exception:  # noqa: BLE001 (the suite raises it)
            pipe.send(({}, traceback.format_exc()))


async def _measured(name: str, measure: Any, args: Any, kwargs: Any) -> Figures:
    turn = asyncio.current_task()
    assert turn is not None
    # From within the loop: never in the middle of a host's launch.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, turn.cancel)
    async with peers.make(name) as peer:
        figures: Figures = await measure(peer, *args, **kwargs)
        return figures
