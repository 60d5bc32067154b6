"""The outpost: a process on a worker's machine that runs one host there, for a server elsewhere.

    server ══ Connection ══ outpost ◀─ console ── host ══ control, stream ══ server
                               │
    worker ◀──── "I live" ─────┘

The host has the server's own connections in the place of Pipes: what it and the server say to each
other passes through no other process.

It starts the host as a server does that has it on its own machine, measures it, and tells the
server how it ended. It ends with its host, with its connection, and with its worker, and leaves
nothing on the machine: no process, no block, no temporary file. It is not a daemonic process of
multiprocessing (as Dask's workers are, which may start no processes), so the app may start
processes as on any machine.

If the worker ends because its scheduler is gone, it tells the outpost so first, and the outpost
goes on without the worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import signal
import socket
import sys
from collections.abc import Mapping
from multiprocessing.connection import Connection as Connected

import uvloop

from mpkernel.aio.threads import off_the_loop
from mpkernel.app_copy import APP_COPY
from mpkernel.dask_backend.connection import FIRST_SILENCE_S, Connection
from mpkernel.dask_backend.file_answers import FileAnswers
from mpkernel.dask_backend.folder_copy import FolderCopy
from mpkernel.dask_backend.host_launcher import HostLauncher
from mpkernel.dask_backend.lanes import Source
from mpkernel.dask_backend.messages import (
    Alive,
    Ended,
    EndHost,
    Folder,
    Found,
    Launch,
    NotLaunched,
    ReadFile,
    Unfit,
    Used,
    decode_down_news,
)
from mpkernel.dask_backend.parts import Lane
from mpkernel.errors import HostStartError, ProtocolError, SandboxError, UnfitPython
from mpkernel.server.launching.death_watch import DeathWatch
from mpkernel.server.launching.local_process import LocalProcess
from mpkernel.server.links.sockets import socket_of, unsent_in
from mpkernel.server.supervision.exit_status import OutOfMemory
from mpkernel.server.supervision.usage import Sampler, Usage, created_at
from mpkernel.steps import run_each
from mpkernel.wire.before_host import Hello
from shm.sweeping import sweep_process

__all__ = ["GO_ON", "main"]

logger = logging.getLogger(__name__)

GO_ON = b"G"
"""What a worker says that leaves while its outposts shall go on."""

_PR_SET_PDEATHSIG = 1
_ALIVE = b"."
_ALIVE_EVERY_S = 2.0
_CONSOLE_PATIENCE_S = 5.0
_FAREWELL_S = 5.0
_SEEN_OUT_S = 2.0
_LOOK_S = 0.001
_CONSOLE = (Lane.STDOUT, Lane.STDERR, Lane.FAULTS)


def main(news_fd: int, control_fd: int, stream_fd: int, worker_fd: int, kept: str) -> int:
    """Run as an outpost. The server's first message says what to start.

    Args:
        news_fd: the connection to the server.
        control_fd, stream_fd: those that the host gets.
        worker_fd: a socket whose other end the worker holds.
        kept: where the worker keeps the folders of apps.
    """
    # Signals to the worker's process group or terminal are not meant for the host of a server.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _go_on_at_end_of_worker()
    for fd in (news_fd, control_fd, stream_fd, worker_fd):
        os.set_inheritable(fd, False)
        os.set_blocking(fd, fd in (control_fd, stream_fd))
    news, worker = socket.socket(fileno=news_fd), socket.socket(fileno=worker_fd)
    launcher = HostLauncher(Connected(control_fd), Connected(stream_fd))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_Outpost(worker, launcher, kept).run(news))
    return 0


class _Outpost:
    def __init__(self, worker: socket.socket, launcher: HostLauncher, kept: str) -> None:
        self._worker = worker
        self._worker_pid = os.getppid()
        self._may_worker_end = False
        self._launcher = launcher
        self._copy = FolderCopy(kept)
        self._copying: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop
        self._connection: Connection
        self._over = asyncio.Event()
        self._lost = asyncio.Event()
        self._process: LocalProcess | None = None
        self._death_watch: DeathWatch | None = None
        self._sources: dict[Lane, Source] = {}
        self._open: set[Lane] = set()  # lanes that have not come to their end
        self._out_of_memory = OutOfMemory()
        self._has_died = False
        self._is_ended_with_worker = False
        self._files: FileAnswers | None = None
        self._cleaning: asyncio.Task[None] | None = None
        self._sampling: asyncio.Task[None] | None = None

    async def run(self, sock: socket.socket) -> None:
        """Until its end."""
        self._loop = asyncio.get_running_loop()
        self._connection = Connection(
            sock,
            self._loop,
            silence_s=FIRST_SILENCE_S,
            on_news=self._on_news,
            on_lost=self._on_lost,
            takers={Lane.FOLDER: self._copy.take},
        )
        self._loop.add_reader(self._worker, self._on_worker)
        self._say_alive()
        try:
            await self._over.wait()
        finally:
            await self._end()

    def _say_alive(self) -> None:
        """Tell the worker that this process is neither stopped nor blocked."""
        try:
            self._worker.send(_ALIVE)
        except BlockingIOError:  # the worker is stopped, and will find much to read
            pass
        except OSError:  # the worker has ended
            return
        self._loop.call_later(_ALIVE_EVERY_S, self._say_alive)

    def _on_worker(self) -> None:
        self._loop.remove_reader(self._worker)
        try:
            said = self._worker.recv(1)
        except OSError:
            said = b""
        if said != GO_ON and not self._over.is_set():
            logger.warning("the outpost ends, its worker has ended")
            self._may_worker_end = True
            self._is_ended_with_worker = not self._has_died
            self._over.set()

    def _on_lost(self, why: str) -> None:
        logger.debug("the outpost ends, its server is lost: %s", why)
        self._lost.set()
        self._over.set()

    def _on_news(self, data: memoryview) -> None:
        news = decode_down_news(data)
        match news:
            case Alive():
                return
            case Launch():
                self._launch(news)
            case EndHost():
                if self._process is not None:
                    self._process.kill()
            case Hello():
                self._accept(news)
            case ReadFile() if self._files is None:
                raise ProtocolError("a file is asked for before there is a host")
            case ReadFile():
                self._files.answer(news)

    def _launch(self, order: Launch) -> None:
        if self._process is not None or self._copying is not None:
            raise ProtocolError("a second host was ordered")
        self._connection.silence_s = order.silence_s
        if order.folder is not None:
            self._copying = asyncio.create_task(self._launch_from_copy(order, order.folder))
        elif order.app is not None and not os.path.isfile(order.app):
            self._refuse(
                f"there is no file {order.app} on {socket.gethostname()}, which is to run it",
                "give the workers the folder of the app under the same path, as a shared file"
                " system does, or set cluster_upload",
            )
        else:
            self._launch_host(order, order.app, order.env)

    async def _launch_from_copy(self, order: Launch, folder: Folder) -> None:
        try:
            app = await self._copy.make(folder, self._connection)
        except HostStartError as error:
            self._refuse(error.what, error.remedy)
        except Exception as error:
            logger.exception("the folder of an app cannot be copied")
            what = f"the folder of {folder.app} cannot be copied: {error!r}"
            self._refuse(what, f"look at the log of the worker on {socket.gethostname()}")
        else:
            if app is not None and not self._over.is_set():
                env = os.environ if order.env is None else order.env
                self._launch_host(order, app, {**env, APP_COPY: app})

    def _launch_host(self, order: Launch, app: str | None, env: Mapping[str, str] | None) -> None:
        try:
            process, launched = self._launcher.launch(order, app, env)
        except HostStartError as error:
            self._refuse(error.what, error.remedy, _unfit(error))
            return
        except ValueError as error:  # an environment variable is not valid
            self._refuse(f"{order.name} cannot be launched: {error}", "look at KernelSpec.env")
            return
        self._process = process
        folders = self._launcher.folders_of_files(process)
        self._files = FileAnswers(self._connection, process, folders)
        self._connection.tell(launched)
        for lane, fd in zip(
            _CONSOLE, (process.stdout, process.stderr, process.faults), strict=True
        ):
            self._open.add(lane)
            on_end = functools.partial(self._on_end_of, lane)
            self._sources[lane] = self._connection.carry(lane, fd, on_end)
        self._death_watch = DeathWatch(process, self._loop, self._on_death)
        if order.sample_s is not None:
            self._sampling = asyncio.create_task(self._sample(process, order.sample_s))

    def _accept(self, hello: Hello) -> None:
        """The host says which process it is, behind its wrapper."""
        if self._process is None:
            raise ProtocolError("a host speaks before there is one")
        error = self._process.accept(hello)
        if error is None:
            self._connection.tell(Found(self._process.host_pid))
        else:
            self._connection.tell(NotLaunched(error.what, error.remedy, Unfit.PYTHON))

    def _refuse(self, what: str, remedy: str, unfit: Unfit | None = None) -> None:
        self._connection.tell(NotLaunched(what, remedy, unfit))
        self._over.set()

    def _on_death(self) -> None:
        self._has_died = True
        self._loop.call_later(_CONSOLE_PATIENCE_S, self._over.set)
        self._begin_cleaning()

    def _on_end_of(self, lane: Lane) -> None:
        self._open.discard(lane)
        self._look_whether_over()

    def _look_whether_over(self) -> None:
        if self._cleaning is not None and self._cleaning.done() and not self._open:
            self._over.set()

    async def _sample(self, process: LocalProcess, every_s: float) -> None:
        pid = process.pid
        sampler, created, usages = Sampler(), created_at(pid), dict[int, Usage]()
        while not self._has_died:
            try:
                usages = await off_the_loop(
                    lambda: sampler.sample({pid: created}, {pid: process.host_pid})
                )
            except OSError as error:  # no descriptor is left to look
                logger.warning("a host cannot be measured for now: %s", error)
                usages = {}
            if (usage := usages.get(pid)) is not None:
                self._connection.tell(
                    Used(
                        rss_bytes=usage.rss_bytes,
                        cpu_s=usage.cpu_s,
                        host_cpu_s=usage.host_cpu_s,
                        threads=usage.threads,
                        descriptors=usage.descriptors,
                        processes=usage.processes,
                    )
                )
            await asyncio.sleep(every_s)

    def _begin_cleaning(self) -> asyncio.Task[None]:
        """Begin to clean up, once, whether the host or this process ends first. Returns the
        task."""
        if self._cleaning is None:
            self._cleaning = asyncio.create_task(self._clean_up())
        return self._cleaning

    async def _clean_up(self) -> None:
        """End what the host has left, and tell the server how it ended."""
        process = self._process
        assert process is not None
        if self._death_watch is not None:
            self._death_watch.close()
        steps = (
            process.reap,
            process.end_strays,
            self._launcher.remove_folders,
            lambda: sweep_process(process.host_tag),
        )
        await off_the_loop(lambda: run_each(steps, "an outpost could not clean up in full"))
        await self._see_out(process.control, process.stream)
        status = process.status()
        self._connection.tell(
            Ended(
                status.code if status is not None else None,
                self._out_of_memory.happened(),
                self._is_ended_with_worker,
            )
        )
        process.close()
        self._loop.call_soon(self._look_whether_over)

    async def _see_out(self, *ends: Connected) -> None:
        """Send nothing more on the host's connections, and wait until what it has sent is with the
        server, which reads no further once it knows of the end."""
        for end in ends:
            with socket_of(end) as sock, contextlib.suppress(OSError):  # the server is gone
                sock.shutdown(socket.SHUT_WR)
        deadline_s = self._loop.time() + _SEEN_OUT_S
        while any(unsent_in(end.fileno()) for end in ends):
            if self._connection.is_closed or self._loop.time() > deadline_s:
                return
            await asyncio.sleep(_LOOK_S)

    async def _end(self) -> None:
        """End what is left of the host."""
        if self._copying is not None:
            self._copy.stop()
            await self._copying
        if self._sampling is not None:
            self._sampling.cancel()
        if self._files is not None:
            self._files.stop()
        if self._process is not None:
            await self._begin_cleaning()
            for source in self._sources.values():
                source.close()
        if self._copying is not None:
            await self._copy.remove(self._worker_pid if self._may_worker_end else None)
        try:
            async with asyncio.timeout(_FAREWELL_S):
                await self._connection.end_sending()
                await self._lost.wait()
        except TimeoutError:
            logger.debug("the server does not close the connection")
        self._connection.close()


def _go_on_at_end_of_worker() -> None:
    """Have the system continue this process, if it is stopped, when its worker ends: a stopped
    process would not notice that, and stay for ever. Linux only."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGCONT)


def _unfit(error: HostStartError) -> Unfit | None:
    """Which part of the order has caused an error; None if it is this machine."""
    if isinstance(error, SandboxError):
        return Unfit.ENVIRONMENT
    return Unfit.PYTHON if isinstance(error, UnfitPython) else None
