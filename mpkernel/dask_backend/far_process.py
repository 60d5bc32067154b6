"""`FarProcess`: an app host on a worker's machine, as a process that the server can use like one of
its own.

    FarLink ══ control, stream ═════════════════════ host
    ConsoleRelay, DeathWatch ── local pipes ── Connection ══ outpost

The server and the host have two connections, which are to them what Pipes are between processes of
one machine. On the third one, the outpost says what the server would see itself of a process of its
own: what it writes, what it uses, and how it ended.

Until a worker has been found, the link keeps what is sent.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection as Connected

from mpkernel.aio.loops import running_loop
from mpkernel.dask_backend.connection import FIRST_SILENCE_S, Connection
from mpkernel.dask_backend.far_console import FarConsole
from mpkernel.dask_backend.far_files import FarFile, FileRequests
from mpkernel.dask_backend.far_link import FarLink
from mpkernel.dask_backend.far_python import FarPython, said_of
from mpkernel.dask_backend.messages import (
    Alive,
    Ended,
    EndHost,
    FileRead,
    Found,
    Launch,
    Launched,
    NotLaunched,
    SendFolder,
    Used,
    decode_up_news,
)
from mpkernel.dask_backend.parts import Lane
from mpkernel.dask_backend.uploads import Upload
from mpkernel.errors import HostStartError, ProtocolError, UnfitPython
from mpkernel.logs import get_logger
from mpkernel.process_tree import Identity
from mpkernel.server.launching.process import KILLED_WITHIN_S
from mpkernel.server.links.link import LinkEvents
from mpkernel.server.supervision.exit_status import ExitStatus
from mpkernel.server.supervision.usage import Usage
from mpkernel.wire.before_host import Hello, NotPlaced, Prepared, Preparing
from mpkernel.wire.messages import UpMessage, encode
from shm.names import ProcessTag
from shm.sources import Reader, SourceKind

__all__ = ["FarProcess"]

logger = get_logger(__name__)

_MOST_PID = 2**22
"""No process of Linux has a larger id."""
_numbers = itertools.count(_MOST_PID + 1)
_FAREWELL_S = 10.0


class FarProcess(FarPython):
    """Made by `DaskLauncher.launch`, before a worker was found.

    Args:
        order: what its outpost is told.
        loop: the running loop.
        cancel: called, from any thread, when the process does not need a worker any more.
        upload: the app's folder, if it is sent there. Default: the worker has it.

    Attributes:
        order, loop: as given.
        pid: a number of this server's that no process of this machine has.
        far_pid: its process id there; None before it was launched.
        folder, host_pid, host_tag: see `Process`.
    """

    folder = None

    def __init__(
        self,
        order: Launch,
        *,
        loop: asyncio.AbstractEventLoop,
        cancel: Callable[[], None],
        upload: Upload | None = None,
    ) -> None:
        super().__init__(order.python, is_wrapped=order.wrapper is not None)
        self.pid = self.host_pid = next(_numbers)
        self.host_tag = ProcessTag(0, self.pid, 0)
        self.far_pid: int | None = None
        self.order = order
        self.loop = loop
        self._name = order.name
        self._silence_s = order.silence_s
        self._cancel = cancel
        self._upload = upload
        self._link: FarLink | None = None
        self._unheard: list[bytes] = []  # messages that came while there was no link
        self._connection: Connection | None = None
        self._pipes: tuple[Connected, Connected] | None = None
        self._requests = FileRequests()
        self._usage: Usage | None = None
        self._lock = threading.Lock()  # guards those below
        self._status: ExitStatus | None = None
        self._was_answered = False  # the outpost has said whether it has launched a host
        self._was_cut = False  # it was ended here, without an answer of its outpost
        self._is_lost = False  # nothing more comes from the outpost
        self._is_over = False  # and nothing waits to be written
        self._closed = False
        self._farewell: asyncio.TimerHandle | None = None
        self._console = console = FarConsole()
        self.stdout, self.stderr, self.faults = console.stdout, console.stderr, console.faults
        self.death_fd = console.death_fd

    @property
    def elsewhere(self) -> FarProcess:
        """See `Process.elsewhere`."""
        return self

    @property
    def is_outdated(self) -> bool:
        """See `Elsewhere.is_outdated`."""
        return self._upload is not None and self._upload.is_outdated

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
    ) -> FarLink:
        """See `Process.connect`."""
        self._link = FarLink(
            name, loop, events, backlog_bytes=backlog_bytes, max_frame_bytes=max_frame_bytes
        )
        if self._pipes is not None:
            self._link.connected(*self._pipes)
        loop.call_soon(self._say_unheard)
        return self._link

    def waits(self, text: str) -> None:
        """Show a line to sessions that wait, before the launch. On the loop's thread."""
        self._say(Preparing(text))

    def claimed(
        self, news: socket.socket, control: socket.socket, stream: socket.socket, where: str
    ) -> None:
        """A worker was found, and launches the process. On the loop's thread.

        Args:
            news: the connection to its outpost. All of these belong to this object from now on.
            control, stream: those that its host gets.
            where: the worker, for people.
        """
        if self._closed or self._status is not None:
            for one in (news, control, stream):
                one.close()
            return
        self.where = where
        self._pipes = Connected(control.detach()), Connected(stream.detach())
        try:
            self._connection = Connection(
                news,
                self.loop,
                silence_s=max(self._silence_s, FIRST_SILENCE_S),  # it is a process that must start
                on_news=self._on_news,
                takers={Lane.FILES: self._requests.arrived},
                on_lost=self._on_lost,
            )
        except OSError as error:
            news.close()
            what = f"the process of {self._name} was launched, but not connected: {error}"
            self.refused(HostStartError(what, remedy="look at the limits of this server"))
            return
        self._console.deliver(self._connection, self._look_whether_over)
        if self._upload is None:
            self._connection.tell(self.order)
        else:
            self._upload.offer(self._connection, self.order, self.refused)

    def refused(self, error: HostStartError) -> None:
        """No worker was found, or the worker could not launch the process. On the loop's thread."""
        self._say(NotPlaced(error.what, error.remedy or ""))

    def accept(self, hello: Hello) -> UnfitPython | None:
        """See `Process.accept`. Behind a wrapper, the outpost looks which process it is, and may
        still refuse it."""
        error = super().accept(hello)
        if error is None and self.order.wrapper is not None and self._connection is not None:
            self._connection.tell(hello)
        return error

    def status(self) -> ExitStatus | None:
        """See `Process.status`."""
        return self._status

    def kill(self) -> None:
        """See `Process.kill`."""
        self._on_loop(self._kill)

    def end_strays(self, seen: Iterable[Identity] = ()) -> None:
        """Does nothing: the outpost ends strays before it reports the end."""

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
        if self._pipes is not None:
            for one in self._pipes:
                one.close()
        if self.loop.is_closed() or self._connection is None or self._connection.is_closed:
            self._be_over()
        else:
            self._farewell = self.loop.call_later(_FAREWELL_S, self._be_over)
            self._look_whether_over()
        os.close(self.death_fd)

    def close_console(self) -> None:
        """See `Process.close_console`."""
        self._console.close_for_server()
        if self._was_cut and self._closed:  # no part of the server waits for it
            if running_loop() is self.loop:
                self._be_over()
            else:
                self._on_loop(self._be_over)

    async def _read_file(
        self, kind: SourceKind, location: str, size: int, start: int, end: int
    ) -> bytes:
        return await self._requests.read(self._connection, kind, location, size, start, end)

    def _on_news(self, data: memoryview) -> None:
        news = decode_up_news(data)
        assert self._connection is not None
        if isinstance(news, Alive):
            return
        if self._connection.silence_s != self._silence_s:  # it answers, so it has the order
            self._connection.silence_s = self._silence_s
        match news:
            case SendFolder() if self._upload is not None and not self._was_answered:
                self._upload.send(self._connection, self.waits)
            case Launched() if not self._was_answered:
                self._was_answered = True
                self.found(news)
                self._launched(news.pid)
            case NotLaunched() if not self._was_answered or self.order.wrapper is not None:
                self._was_answered = True
                self._say(said_of(news, self.where))
            case Found() if self.far_pid is not None and self.order.wrapper is not None:
                self.far_pid = news.pid
            case Used() if self.far_pid is not None:
                self._usage = Usage(
                    rss_bytes=news.rss_bytes,
                    cpu_s=news.cpu_s,
                    host_cpu_s=news.host_cpu_s,
                    threads=news.threads,
                    descriptors=news.descriptors,
                    processes=news.processes,
                    taken_at=time.monotonic(),
                )
            case FileRead():
                self._requests.done(news)
            case Ended() if self.far_pid is not None:
                if news.with_worker:
                    self._end_with(self._lost("the worker has ended"))
                else:
                    self._end_with(ExitStatus(news.code, out_of_memory=news.out_of_memory))
            case _:
                raise ProtocolError(f"an outpost says {type(news).__name__} out of turn")

    def _launched(self, pid: int) -> None:
        assert self._pipes is not None
        self.far_pid = pid
        if self._closed:  # meanwhile; the outpost notices that the connection is cut
            return
        logger.info(
            "host launched pid_on_worker=%d",
            pid,
            app=self.order.app,
            pid=self.pid,
            worker=self.where,
        )
        self._say(Prepared())
        if self._link is not None:
            try:
                self._link.connected(*self._pipes)
            except OSError as error:
                raise ProtocolError(f"its connections cannot be watched: {error}") from error

    def _look_whether_over(self) -> None:
        if (self._is_lost or self._closed) and self._console.has_ended:
            self._be_over()

    def _lost(self, why: str) -> ExitStatus:
        return ExitStatus(None, lost=f"its worker {self.where} ({why})")

    def _end_with(self, status: ExitStatus) -> None:
        """The process has ended, and its last messages have come, or will never come."""
        with self._lock:
            if self._status is None:
                self._status = status
        self._requests.ended(f"its process {self._status}")
        self._console.tell_of_end()

    def _on_lost(self, why: str) -> None:
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
        self._console.lost()
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
        """Nothing more comes from the outpost."""
        if self._is_over:
            return
        self._is_over = True
        if self._upload is not None:
            self._upload.close()
        if self._farewell is not None:
            self._farewell.cancel()
        has_loop = not self.loop.is_closed()
        if self._connection is not None and has_loop:
            self._connection.close()
            self._requests.lost()
        elif self._connection is not None:
            self._connection.drop()
        self._console.close(with_loop=has_loop)
        self._cancel()  # the task can be removed from the scheduler

    def _say(self, message: UpMessage) -> None:
        """Give the server a message about the process that its host has not sent."""
        self._unheard.append(encode(message))
        if self._link is not None:
            self._say_unheard()

    def _say_unheard(self) -> None:
        said, self._unheard = self._unheard, []
        if said and self._link is not None:
            self._link.hear(said)

    def _on_loop(self, call: Callable[[], None]) -> None:
        try:
            self.loop.call_soon_threadsafe(call)
        except RuntimeError:  # the loop is closed
            self.reap()
