"""`FarProcess`: an app host on a worker's machine, as a process that the server can use like one of
its own.

    PipeLink, ConsoleRelay, DeathWatch ── local Pipes ── Connection ══ outpost ── host

The server's parts read and write local Pipes, as those of a host on this machine. What is written
there is sent to the outpost, and what comes from it is written there. So all that the server does
about a host's messages, its output and its end holds for a far host, too.

Until a worker has been found, messages wait in the local control Pipe and its backlog.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection as Pipe

from mpkernel.aio.loops import running_loop
from mpkernel.dask_backend.connection import Connection, Sink, Source
from mpkernel.dask_backend.far_files import FarFile, FileRequests
from mpkernel.dask_backend.messages import (
    Alive,
    Ended,
    EndHost,
    FileRead,
    Launch,
    Launched,
    NotLaunched,
    Used,
    decode_up_news,
)
from mpkernel.dask_backend.parts import MAX_PART_BYTES, Lane
from mpkernel.errors import HostStartError, ProtocolError, UnfitPython
from mpkernel.logs import get_logger
from mpkernel.process_tree import Identity
from mpkernel.server.launching.process import KILLED_WITHIN_S
from mpkernel.server.links.link import LinkEvents
from mpkernel.server.links.pipe_link import PipeLink
from mpkernel.server.supervision.exit_status import ExitStatus
from mpkernel.server.supervision.usage import Usage
from mpkernel.wire.before_host import Hello, NotPlaced, Prepared, Preparing
from mpkernel.wire.frames import Channel, encode_header
from mpkernel.wire.messages import UpMessage, encode
from shm.names import ProcessTag
from shm.sources import Reader, SourceKind

__all__ = ["FarProcess"]

logger = get_logger(__name__)

_MOST_PID = 2**22
"""No process of Linux has a larger id."""
_numbers = itertools.count(_MOST_PID + 1)
_FAREWELL_S = 10.0


class FarProcess:
    """Made by `DaskLauncher.launch`, before anything of it exists elsewhere.

    Args:
        name: its name, for messages.
        app: what it is to run.
        env: see `Launch`.
        silence_s: after so many seconds without a word of its outpost it is lost.
        sample_s: how often it is measured.
        loop: the running loop.
        cancel: called, from any thread, when it ends before a worker was found.

    Attributes:
        order: what its outpost is told.
        loop: as given.
        pid: a number of this server's that no process of this machine has.
        where: the worker where it runs; empty while none has been found.
        far_pid: its process id there; None before it was launched.
        requirements, folder, host_pid, host_tag, is_known: see `Process`.
    """

    requirements = None
    folder = None
    is_known = True
    python = "the worker's Python"

    def __init__(
        self,
        name: str,
        app: str | None,
        env: dict[str, str] | None,
        *,
        silence_s: float,
        sample_s: float | None,
        loop: asyncio.AbstractEventLoop,
        cancel: Callable[[], None],
    ) -> None:
        self.pid = self.host_pid = next(_numbers)
        self.host_tag = ProcessTag(0, self.pid, 0)
        self.where = ""
        self.far_pid: int | None = None
        self._name = name
        self.order = Launch(name=name, app=app, env=env, silence_s=silence_s, sample_s=sample_s)
        self._silence_s = silence_s
        self.loop = loop
        self._cancel = cancel
        self._connection: Connection | None = None
        self._requests: FileRequests | None = None
        self._sinks: dict[Lane, Sink] = {}
        self._down: Source | None = None
        self._usage: Usage | None = None
        self._lock = threading.Lock()  # guards those below
        self._status: ExitStatus | None = None
        self._was_cut = False  # it was ended here, without a word of its outpost
        self._is_lost = False  # nothing more comes over the connection
        self._is_over = False  # nor lies in the sinks
        self._closed = False
        self._farewell: asyncio.TimerHandle | None = None
        self._ours: dict[Lane, int] = {}  # the ends of the local Pipes that are not the server's
        opened: list[Pipe | int] = []
        try:
            self.control, far_control = multiprocessing.Pipe(duplex=True)
            opened += [self.control, far_control]
            self.stream, far_stream = multiprocessing.Pipe(duplex=True)
            opened += [self.stream, far_stream]
            ends = []
            for _ in range(4):
                ends.append(os.pipe())
                opened += ends[-1]
        except OSError:
            for one in opened:
                _close(one)
            raise
        self._far_pipes = (far_control, far_stream)
        (
            (self.stdout, out),
            (self.stderr, err),
            (self.faults, faults),
            (self.death_fd, ends_with),
        ) = ends
        self._ours = {
            Lane.CONTROL: far_control.fileno(),
            Lane.STREAM: far_stream.fileno(),
            Lane.STDOUT: out,
            Lane.STDERR: err,
            Lane.FAULTS: faults,
        }
        self._ends_with_it: int | None = ends_with

    @property
    def elsewhere(self) -> FarProcess:
        """See `Process.elsewhere`."""
        return self

    def usage(self) -> Usage | None:
        """See `Elsewhere.usage`."""
        return self._usage

    def open_file(self, kind: SourceKind, location: str, size: int) -> Reader:
        """See `Elsewhere.open_file`."""
        return FarFile(self._read_file, self.loop, kind, location, size)

    def connect(
        self,
        name: str,
        loop: asyncio.AbstractEventLoop,
        events: LinkEvents,
        *,
        backlog_bytes: int,
        max_frame_bytes: int,
    ) -> PipeLink:
        """See `Process.connect`."""
        return PipeLink(
            name,
            self.control,
            self.stream,
            loop,
            events,
            backlog_bytes=backlog_bytes,
            max_frame_bytes=max_frame_bytes,
        )

    def waits(self, text: str) -> None:
        """Have those who wait for it read this. On the loop's thread, before `claimed`."""
        if self._connection is None:
            self._say(Preparing(text))

    def claimed(self, sock: socket.socket, where: str) -> None:
        """A worker was found: it is launched there. On the loop's thread.

        Args:
            sock: the connection to its outpost. It belongs to this object from now on.
            where: the worker, for people.
        """
        if self._closed or self._status is not None:
            sock.close()
            return
        self.where = where
        self._requests = FileRequests()
        self._connection = connection = Connection(
            sock,
            self.loop,
            silence_s=self._silence_s,
            on_news=self._on_news,
            on_file_bytes=self._requests.arrived,
            on_lost=self._on_lost,
        )
        connection.tell(self.order)

    def refused(self, error: HostStartError) -> None:
        """No worker was found, or it launched nothing. On the loop's thread."""
        self._say(NotPlaced(error.what, error.remedy or ""))

    def accept(self, hello: Hello) -> UnfitPython | None:
        """See `Process.accept`.

        Raises:
            ProtocolError: always; it has the server's Python, and so is not asked.
        """
        raise ProtocolError("it says which Python it has, and was not asked")

    def status(self) -> ExitStatus | None:
        """See `Process.status`."""
        return self._status

    def kill(self) -> None:
        """See `Process.kill`."""
        self._on_loop(self._kill)

    def end_strays(self, seen: Iterable[Identity] = ()) -> None:
        """Nothing: its outpost does that, before it tells of the end."""

    def reap(self, *, within_s: float = KILLED_WITHIN_S) -> None:
        """See `Process.reap`. It does not wait: the outpost kills the host when its connection
        ends."""
        with self._lock:
            if self._status is not None:
                return
            self._status = ExitStatus(-signal.SIGKILL)
            self._was_cut = True
        self._cancel()
        if self._connection is not None:
            self._connection.cut()

    def close(self, *, within_s: float = KILLED_WITHIN_S) -> None:
        """See `Process.close`. The connection stays until the last output has come, for 10 s at
        the longest."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self.reap()
        if self.loop.is_closed() or self._connection is None or self._connection.is_closed:
            self._be_over()
        else:
            for lane in (Lane.CONTROL, Lane.STREAM):
                self._close_ours(lane)
            self._farewell = self.loop.call_later(_FAREWELL_S, self._be_over)
            self._look_whether_over()
        self.control.close()
        self.stream.close()
        os.close(self.death_fd)

    def close_console(self) -> None:
        """See `Process.close_console`."""
        for fd in (self.stdout, self.stderr, self.faults):
            os.close(fd)
        if self._was_cut and self._closed:  # nobody waits for anything of it
            if running_loop() is self.loop:
                self._be_over()
            else:
                self._on_loop(self._be_over)

    async def _read_file(
        self, kind: SourceKind, location: str, size: int, start: int, end: int
    ) -> bytes:
        if self._connection is None or self._requests is None or self._connection.is_closed:
            raise ConnectionError(f"the process of {self._name} has ended")
        return await self._requests.read(self._connection, kind, location, size, start, end)

    def _on_news(self, data: memoryview) -> None:
        news = decode_up_news(data)
        match news:
            case Alive():
                return
            case Launched() if self.far_pid is None:
                self._launched(news.pid)
            case NotLaunched() if self.far_pid is None:
                self.refused(HostStartError(news.what, remedy=news.remedy))
            case Used():
                self._usage = Usage(
                    rss_bytes=news.rss_bytes,
                    cpu_s=news.cpu_s,
                    host_cpu_s=news.host_cpu_s,
                    threads=news.threads,
                    descriptors=news.descriptors,
                    processes=news.processes,
                    taken_at=time.monotonic(),
                )
            case FileRead() if self._requests is not None:
                self._requests.done(news)
            case Ended() if self.far_pid is not None:
                if news.with_worker:
                    self._end_with(self._lost("the worker has ended"))
                else:
                    self._end_with(ExitStatus(news.code, out_of_memory=news.out_of_memory))
            case _:
                raise ProtocolError(f"an outpost says {type(news).__name__} out of turn")

    def _launched(self, pid: int) -> None:
        assert self._connection is not None
        self.far_pid = pid
        logger.info(
            "host launched pid_on_worker=%d",
            pid,
            app=self.order.app,
            pid=self.pid,
            worker=self.where,
        )
        self._say(Prepared())
        carry, deliver = self._connection.carry, self._connection.deliver
        for lane, fd in self._ours.items():
            self._sinks[lane] = deliver(lane, fd, functools.partial(self._on_end_of, lane))
        self._down = carry(Lane.CONTROL, self._ours[Lane.CONTROL])

    def _on_end_of(self, lane: Lane) -> None:
        self._close_ours(lane)
        self._look_whether_ended()
        self._look_whether_over()

    def _look_whether_over(self) -> None:
        if (self._is_lost or self._closed) and not self._ours:
            self._be_over()

    def _lost(self, why: str) -> ExitStatus:
        return ExitStatus(None, lost=f"its worker {self.where} ({why})")

    def _end_with(self, status: ExitStatus) -> None:
        """It has ended. Whoever waits for its end is told when its last messages lie in the local
        Pipes."""
        with self._lock:
            if self._status is None:
                self._status = status
        self._look_whether_ended()

    def _look_whether_ended(self) -> None:
        if self._status is None or self._ends_with_it is None:
            return
        last = [self._sinks.get(lane) for lane in (Lane.CONTROL, Lane.STREAM)]
        if all(sink is None or sink.is_empty for sink in last):
            fd, self._ends_with_it = self._ends_with_it, None
            os.close(fd)

    def _on_lost(self, why: str) -> None:
        if self._requests is not None:
            self._requests.lost()
        if self._status is None:
            logger.warning(
                "the connection to the worker is lost: %s",
                why,
                app=self.order.app,
                pid=self.pid,
                worker=self.where,
            )
            self._end_with(self._lost(why))
        self._is_lost = True
        for sink in list(self._sinks.values()):
            sink.ended()
        if not self._sinks:
            self._be_over()
        self._look_whether_over()

    def _kill(self) -> None:
        if self._status is not None:
            return
        if self.far_pid is not None and self._connection is not None:
            self._connection.tell(EndHost())
            return
        self._cancel()
        self._end_with(ExitStatus(-signal.SIGKILL))
        self._be_over()

    def _be_over(self) -> None:
        """Nothing comes any more."""
        if self._is_over:
            return
        self._is_over = True
        if self._farewell is not None:
            self._farewell.cancel()
        if self.loop.is_closed():
            if self._connection is not None:
                self._connection.drop()
        else:
            if self._connection is not None:
                self._connection.close()
        for lane in list(self._ours):
            self._close_ours(lane)
        if self._ends_with_it is not None:
            fd, self._ends_with_it = self._ends_with_it, None
            os.close(fd)

    def _close_ours(self, lane: Lane) -> None:
        fd = self._ours.pop(lane, None)
        if fd is None:
            return
        if lane in self._sinks:
            self._sinks[lane].close()
        if lane is Lane.CONTROL:
            if self._down is not None:
                self._down.close()
            self._far_pipes[0].close()
        elif lane is Lane.STREAM:
            self._far_pipes[1].close()
        else:
            os.close(fd)

    def _say(self, message: UpMessage) -> None:
        """Have the server read a message of the process that is not one of the host."""
        if Lane.STREAM not in self._ours:
            return
        payload = encode(message)
        head = encode_header(Channel.MANAGEMENT, 0, len(payload))
        try:
            os.write(self._ours[Lane.STREAM], head + payload)
        except OSError as error:
            logger.debug("the server does not read what is said: %s", error)

    def _on_loop(self, call: Callable[[], None]) -> None:
        try:
            self.loop.call_soon_threadsafe(call)
        except RuntimeError:  # the loop is closed
            self.reap()


def too_large(order: Launch) -> bool:
    """Whether a host's variables are too many for a message."""
    return sum(map(len, [*(order.env or {}), *(order.env or {}).values()])) > MAX_PART_BYTES // 2


def _close(one: Pipe | int) -> None:
    if isinstance(one, int):
        os.close(one)
    else:
        one.close()
