"""`WarmProcess`: one host without an app, from its launch until an app takes it or it is gone.

`standby` decides how many of them there are, and which app gets one.
"""

from __future__ import annotations

import asyncio
import functools
import os
import sys
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from multiprocessing import spawn
from typing import NamedTuple, Self

from mpkernel.aio.patience import PatientTimer, patient_timeout
from mpkernel.aio.tasks import begun_task
from mpkernel.aio.threads import off_the_loop
from mpkernel.errors import HostStartError, ProtocolError, UnfitPython
from mpkernel.logs import get_logger
from mpkernel.server.launching.death_watch import DeathWatch
from mpkernel.server.launching.environments import environment_for
from mpkernel.server.launching.interpreter import never_ready
from mpkernel.server.launching.process import KILLED_WITHIN_S, Launcher, Process, ProcessToLaunch
from mpkernel.server.launching.wrapping import Wrapper, wrapper_of
from mpkernel.server.links.link import LinkEvents
from mpkernel.settings import Settings
from mpkernel.wire.before_host import Hello, UnfitForHost
from mpkernel.wire.frames import MAX_FRAME_BYTES, Channel, Frame
from mpkernel.wire.messages import Warm, Warmed, decode_up, encode

__all__ = ["Inherited", "WarmProcess"]

logger = get_logger(__name__)

_LAST_OUTPUT_BYTES = 4096
_READ_BYTES = 64 * 1024
_READS_AT_THE_END = 16


class Inherited(NamedTuple):
    """What a process gets from its server: the current directory, as device and inode; the
    environment, as far as the settings let it through; the import path; the Python that is
    launched; and what stands in front of that."""

    directory: tuple[int, int] | None
    environment: dict[str, str]
    import_path: list[str]
    python: str | bytes | None
    wrapper: Wrapper | None

    @classmethod
    def now(cls, settings: Settings) -> Self:
        """What a process that is launched now would get."""
        try:
            found = os.stat(".")
        except OSError:
            directory = None
        else:
            directory = found.st_dev, found.st_ino
        return cls(
            directory,
            environment_for(settings),
            list(sys.path),
            spawn.get_executable(),
            wrapper_of(settings),
        )


class WarmProcess:
    """A host without an app.

    Args:
        launcher: launches it.
        warm: what it is to import.
        inherited: what it gets from the server.
        timeout_s: how long its imports may take. After that it is killed, and `on_death` is called.
        on_warmed: called when it is ready.
        on_death: called when it is `over`, with how it ended and its last output.

    Attributes:
        inherited: as given.
        is_ready: whether its imports are done.
        names: the top-level modules that were imported.
        slowed: whether it has threads of a low priority, which are too slow for an app.
        threaded: whether it has threads already, which cannot be confined any more.
        over: set when it is gone, and all that it left: processes, and its folder of virtual files.

    Raises:
        HostStartError: the operating system refused to start it, or to watch its descriptors.
    """

    def __init__(
        self,
        launcher: Launcher,
        warm: Warm,
        inherited: Inherited,
        timeout_s: float,
        on_warmed: Callable[[WarmProcess], None],
        on_death: Callable[[WarmProcess, str], None],
    ) -> None:
        self.inherited = inherited
        self.is_ready = False
        self.names: list[str] = []
        self.slowed = False
        self.threaded = False
        self.over = asyncio.Event()
        self._on_warmed = on_warmed
        self._on_end = on_death
        self._loop = asyncio.get_running_loop()
        self._timeout_s = timeout_s
        self._is_too_slow = False
        self._is_closed = False
        self._warmed: Warmed | None = None
        payload = encode(warm)
        self._process = launcher.launch(
            ProcessToLaunch(
                "mpkernel standby", env=inherited.environment, wrapper=inherited.wrapper
            )
        )
        try:
            self._connect(len(payload))
        except OSError as error:
            raise HostStartError(
                f"a standby was started, but not connected: {error}",
                remedy="look at the limits on descriptors of this server",
            ) from error
        self._timer = PatientTimer(self._loop, timeout_s, self._on_timeout)
        self._link.send(Channel.MANAGEMENT, 0, payload)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def can_be_taken(self) -> bool:
        """Whether it is ready, and has not died."""
        return self.is_ready and not self._is_closed and self._process.status() is None

    def release(self) -> Process:
        """Give the process away. Both Pipes are at the end of a frame: nothing follows `Warmed`."""
        self._link.close()
        self._death_watch.close()
        self._output.close()
        return self._process

    def kill(self) -> None:
        """Kill it. `on_death` is called later."""
        self._timer.cancel()
        self._process.kill()

    async def gone(self) -> None:
        """Wait until it is gone, and all that it left, after `kill`. After 5 s it is given up."""
        try:
            async with patient_timeout(KILLED_WITHIN_S):
                await self.over.wait()
        except TimeoutError:
            self._end(within_s=0.0)
            await self.over.wait()

    def kill_and_reap(self) -> None:
        """Kill it and wait for it, without a loop, for 5 s at the longest. From any thread. The
        descriptors stay open where a loop may still watch them. Idempotent."""
        if self.over.is_set():
            return
        self._link.close_sending()
        if not self._loop.is_closed():
            self._process.reap()
            self._process.end_strays()
            return
        self._process.close()
        self._process.end_strays()
        if not self._is_closed:
            self._process.close_console()
        self.over.set()

    def _connect(self, backlog_bytes: int) -> None:
        process = self._process
        with ExitStack() as undo:
            undo.callback(process.close_console)
            undo.callback(process.close)
            self._link = process.connect(
                "a standby",
                self._loop,
                LinkEvents(self._on_frames, self._on_protocol_error),
                backlog_bytes=backlog_bytes,
                max_frame_bytes=MAX_FRAME_BYTES,
            )
            undo.callback(self._link.close)
            self._output = _Output(self._loop, (process.stdout, process.stderr))
            undo.callback(self._output.close)
            self._death_watch = DeathWatch(process, self._loop, self._on_death)
            undo.pop_all()

    def _on_frames(self, frames: list[Frame]) -> None:
        for frame in frames:
            message = decode_up(frame.payload)
            match message:
                case Hello():
                    self._refuse(self._process.accept(message))
                case UnfitForHost():
                    self._refuse(UnfitPython(message.what, remedy=message.remedy))
                case Warmed() if self._warmed is None:
                    self._warmed = message
                case _:
                    raise ProtocolError(f"a standby said {type(message).__name__}")
            if self._warmed is not None and self._process.is_known and not self.is_ready:
                self._become_ready(self._warmed)

    def _become_ready(self, warmed: Warmed) -> None:
        self._timer.cancel()
        self.is_ready = True
        self.names = warmed.names
        self.slowed = warmed.slowed
        self.threaded = warmed.threaded
        if output := self._output.text:
            logger.info("a standby's imports wrote: %s", output, pid=self.pid)
        self._on_warmed(self)

    def _refuse(self, error: UnfitPython | None) -> None:
        if error is not None:
            logger.info("standby ended: %s", error, pid=self.pid)
            self.kill()

    def _on_timeout(self) -> None:
        self._is_too_slow = True
        logger.warning(
            "standby ended: its imports were not done within start_timeout_s=%g; last output: %s",
            self._timeout_s,
            self._output.text or "none",
            pid=self.pid,
        )
        self.kill()

    def _on_protocol_error(self, error: ProtocolError) -> None:
        logger.warning("standby ended for what it sent: %s", error, pid=self.pid)
        self.kill()

    def _on_death(self) -> None:
        self._end()

    def _end(self, *, within_s: float = KILLED_WITHIN_S) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        status = self._process.status()
        self._timer.cancel()
        self._death_watch.close()
        self._link.close()
        self._process.close(within_s=within_s)
        self._output.close()
        self._output.read_rest((self._process.stdout, self._process.stderr, self._process.faults))
        self._process.close_console()
        if status is None:
            what = "does not end, although it was killed"
        elif self._is_too_slow:
            what = f"was not warm within start_timeout_s={self._timeout_s:g}, and was ended"
        else:
            error = (
                None if self.is_ready else never_ready("a standby", status, self._process.python)
            )
            what = str(status if error is None else error)
        begun_task(functools.partial(self._see_out, what), name="mpkernel.strays.standby")

    async def _see_out(self, what: str) -> None:
        """End what the process left, then tell the caller how it ended."""
        try:
            await off_the_loop(self._process.end_strays)
        finally:
            self.over.set()
            self._on_end(self, f"{what}\n{self._output.text}".rstrip())


class _Output:
    """Keeps the end of what a standby writes. Its pipes are read all the time: a full pipe would
    block the imports.

    Args:
        loop: the running loop.
        pipes: the read ends. The caller closes them.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, pipes: Iterable[int]) -> None:
        self._loop = loop
        self._last = b""
        self._watched: set[int] = set()
        try:
            for pipe in pipes:
                loop.add_reader(pipe, self._on_readable, pipe)
                self._watched.add(pipe)
        except BaseException:
            self.close()
            raise

    @property
    def text(self) -> str:
        """The last 4 KiB of the output."""
        return self._last.decode(errors="backslashreplace").rstrip()

    def close(self) -> None:
        """Read no more: what comes next stays in the pipes. Idempotent."""
        for pipe in self._watched:
            self._loop.remove_reader(pipe)
        self._watched.clear()

    def read_rest(self, pipes: Iterable[int]) -> None:
        """Read what a process that has ended left in its pipes. The number of reads is bounded,
        because a child of the process may go on writing."""
        for pipe in pipes:
            os.set_blocking(pipe, False)
            for _ in range(_READS_AT_THE_END):
                try:
                    if not self._read(pipe):
                        break
                except BlockingIOError:
                    break

    def _on_readable(self, pipe: int) -> None:
        if not self._read(pipe):
            self._loop.remove_reader(pipe)
            self._watched.discard(pipe)

    def _read(self, pipe: int) -> bool:
        """Read once. False: the pipe is at its end."""
        found = os.read(pipe, _READ_BYTES)
        self._last = (self._last + found)[-_LAST_OUTPUT_BYTES:]
        return bool(found)
