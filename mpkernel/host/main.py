"""The app host's main function and its dispatcher: the life of the process itself.

`start` calls `main` on the main thread, and it never returns. Three things end a host: `Shutdown`,
the end of its server (however that shows: end of file, ECONNRESET, a pidfd, or, while a C call
holds the GIL, the parent-death signal) and bytes that do not follow the protocol. How it then ends
is in `ending`.
"""

from __future__ import annotations

import faulthandler
import fcntl
import multiprocessing.process
import os
import resource
import signal
import sys
from functools import partial
from typing import Any, NoReturn

from mpkernel import app_copy, own_folders
from mpkernel.errors import ConfinementError, ProtocolError
from mpkernel.host import console, descriptors
from mpkernel.host.control_pipe import ControlPipe
from mpkernel.host.ending import at_leave, leave_at_once, leave_in_order
from mpkernel.host.kernels import Kernels
from mpkernel.host.session_files import HostFiles
from mpkernel.host.setup_here import confinement_here, setup_here
from mpkernel.host.streams import StreamWriter
from mpkernel.host.temporary import name_temporary_directory
from mpkernel.host.tracker import detach_resource_tracker
from mpkernel.host.warming import Warming
from mpkernel.host_mark import mark_own_process
from mpkernel.late_logger import late_logger
from mpkernel.orphans import adopt_orphans, reap_orphans
from mpkernel.wire.before_host import NotConfined
from mpkernel.wire.confinement import Confinement
from mpkernel.wire.frames import Channel, Frame, FrameLost, encode_header
from mpkernel.wire.messages import (
    ConsoleText,
    CreateKernel,
    Credit,
    FilesFreed,
    GiveUpFree,
    Ping,
    Pong,
    Ready,
    Setup,
    Shutdown,
    StopKernel,
    UpMessage,
    Warm,
    decode_down,
    encode,
)

__all__ = ["main"]

logger = late_logger(__name__)

_PR_SET_PDEATHSIG = 1
_LONGEST_WAIT_S = 3600.0  # the system bounds a wait's time-out; settings may be longer
_NOT_BEFORE_S = 0.001  # added, because a wait may end a little too early
_MANAGEMENT = Channel.MANAGEMENT  # looking up the attribute would cost more than the comparison


def main(
    control_fd: int,
    stream_fd: int,
    faults_fd: int,
    sentinel_fd: int,
    server_pid: int | None,
    descriptor_limit: int | None,
    folder_fd: int | None = None,
) -> NoReturn:
    """Run as an app host until the server ends it, or is gone.

    Args:
        control_fd: the host's end of the control Pipe.
        stream_fd: the host's end of the stream Pipe.
        faults_fd: where faulthandler writes the tracebacks of a crash.
        sentinel_fd: a descriptor that is open as long as the host lives: where the system has no
            pidfd, its closing tells the server of the host's end.
        server_pid: the server's process; the host ends when it ends. None: behind a wrapper, which
            may have given this process a pid namespace of its own. Then only the Pipes, and the
            sentinel, tell of the server's end.
        descriptor_limit: the soft limit on open descriptors to set; None keeps the inherited one.
        folder_fd: the folder where virtual files are kept; None: in shared memory, or where the
            settings say.
    """
    faulthandler.enable(file=faults_fd, all_threads=True)
    app_copy.take_from_environment()
    own = own_folders.take_from_environment()
    _die_with(server_pid, sentinel_fd)
    if descriptor_limit is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptor_limit, hard))
    for fd in (control_fd, stream_fd, faults_fd, sentinel_fd, folder_fd):
        if fd is not None:
            os.set_inheritable(fd, False)
    _be_a_main_process()
    _pass_lines_on()
    adopt_orphans()
    mark_own_process()
    detach_resource_tracker()
    # A handler, not SIG_IGN: what is ignored stays ignored in the programs that user code starts.
    signal.signal(signal.SIGINT, lambda _number, _frame: None)
    os.register_at_fork(after_in_child=partial(_point_at_stderr, [faults_fd, sentinel_fd]))
    Dispatcher(control_fd, stream_fd, server_pid, folder_fd, own).run()


class Dispatcher:
    """What the main thread does: read frames from the control Pipe, and hand each to its
    receiver."""

    def __init__(
        self,
        control_fd: int,
        stream_fd: int,
        server_pid: int | None,
        folder_fd: int | None = None,
        own: own_folders.OwnFolders | None = None,
    ) -> None:
        self._control_fd = control_fd
        self._stream_fd = stream_fd
        self._folder_fd = folder_fd
        self._own = own
        self._server_fd = _pidfd(server_pid) if server_pid is not None else None
        self._control = ControlPipe(control_fd, self._server_fd)
        self._writer: StreamWriter | None = None
        self._kernels: Kernels | None = None
        self._files: HostFiles | None = None
        self._warming: Warming | None = None
        self._is_forgotten = False

    def run(self) -> NoReturn:
        """Dispatch until the host ends.

        Raises:
            SystemExit: the host ends in order; see `ending`.
        """
        os.register_at_fork(after_in_child=self._forget)
        try:
            while True:
                self.turn()
        except SystemExit:
            raise
        except ConnectionError:
            leave_at_once()
        except BaseException:
            logger.exception("the host cannot go on pid=%d", os.getpid())
            leave_at_once()

    def turn(self) -> None:
        """Wait until there is something to do, and do it.

        Raises:
            ConnectionError: the server is gone.
            ProtocolError: the server sent what does not follow the protocol.
        """
        if self._control.wait(self._until_next_due_s()):
            self._read()

    def _read(self) -> None:
        try:
            self._control.read(self._dispatch)
        except FrameLost as lost:
            self._require_kernels().lost(lost)

    def _dispatch(self, frame: Frame) -> None:
        if frame.channel is not _MANAGEMENT:
            self._require_kernels().deliver(frame)
            return
        message = decode_down(frame.payload)
        match message:
            case Credit():
                self._require_kernels().credit(frame.session, message.bytes)
            case CreateKernel():
                self._require_kernels().create(frame.session, message)
            case StopKernel():
                self._require_kernels().stop(frame.session, message.patience_s)
            case FilesFreed():
                if self._files is not None:
                    self._files.freed(message.keys)
            case GiveUpFree():
                if self._files is not None:
                    self._files.give_up_free()
            case ConsoleText():
                descriptors.deliver(message)
            case Ping():
                self._answer(Pong(message.number))
                reap_orphans()
                if self._kernels is not None:
                    self._kernels.end_those_that_never_ran()
            case Warm():
                self._warm(message)
            case Setup():
                self._set_up(message)
            case Shutdown():
                leave_in_order(self._kernels, message.grace_s)

    def _warm(self, warm: Warm) -> None:
        if self._warming is not None or self._kernels is not None:
            raise ProtocolError(
                "the server sent Warm, which is only allowed once, and before Setup"
            )
        self._warming = Warming(warm, self._answer)
        self._warming.start()

    def _set_up(self, setup: Setup) -> None:
        if self._kernels is not None:
            raise ProtocolError("the server sent Setup a second time")
        if self._warming is not None:
            self._warming.wait_gone()
            self._warming = None
        setup = setup_here(setup, self._own, self._folder_fd)
        if setup.confinement is not None:
            self._confine(setup.confinement, setup)
        sys.argv = list(setup.argv)
        self._control.decoder.max_frame_bytes = setup.max_frame_bytes
        self._writer = StreamWriter(
            self._stream_fd,
            max_frame_bytes=setup.max_frame_bytes,
            on_lost=leave_at_once,
        )
        self._files = HostFiles(self._writer, setup.files, setup.files_folders)
        at_leave(self._files.close)
        self._kernels = Kernels(
            setup.app,
            self._control,
            self._writer,
            setup.host_window_bytes,
            self._files,
            setup.stopping,
        )
        self._answer(Ready(os.getpid()))

    def _confine(self, confinement: Confinement, setup: Setup) -> None:
        """Give up the rights that the app must not have. If that fails, tell the server, which ends
        this process. Until then the process reads nothing of the app."""
        from mpkernel.confinement.confining import confine  # imported here: few apps are confined

        try:
            lacking = confine(confinement_here(confinement, setup, self._own))
        except ConfinementError as error:
            self._answer(NotConfined(error.what, error.remedy))
            while True:
                signal.pause()
        if lacking:
            logger.warning(
                "the app is confined less than it should be: %s pid=%d", lacking, os.getpid()
            )

    def _until_next_due_s(self) -> float | None:
        """How long the main thread may wait for messages; None for ever. This runs between two
        messages, while a kernel's thread waits for the GIL: it must be fast."""
        expiry_s = self._files.expire() if self._files is not None else None
        stop_s = self._kernels.stopper.run_due() if self._kernels is not None else None
        if expiry_s is None and stop_s is None:
            return None
        due_s = min(due_s for due_s in (expiry_s, stop_s) if due_s is not None)
        return min(due_s, _LONGEST_WAIT_S) + _NOT_BEFORE_S

    def _require_kernels(self) -> Kernels:
        if self._kernels is None:
            raise ProtocolError("the server sent a message about a session before Setup")
        return self._kernels

    def _answer(self, message: UpMessage) -> None:
        payload = encode(message)
        # A few dozen bytes on a blocking socket. Only the main thread writes here, but for
        # `Warmed`: while that is awaited, the main thread has no app yet, and nothing to write but
        # `Pong`.
        os.writev(self._control_fd, [encode_header(Channel.MANAGEMENT, 0, len(payload)), payload])

    def _forget(self) -> None:
        """In a fork that user code made: write plainly to descriptors 1 and 2, and close the Pipes.
        A fork of that fork keeps its descriptors and handlers: they may be the user's by then."""
        if self._writer is not None:
            self._writer.forget()
        if self._is_forgotten:
            return
        self._is_forgotten = True
        self._control.forget()
        os.close(self._stream_fd)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        if console.installed():
            console.plain_streams()


def _point_at_stderr(fds: list[int]) -> None:
    """In a fork that user code made: make each of `fds` a copy of descriptor 2, and empty the list:
    in a fork of that fork, these numbers may belong to other files.

    What faulthandler writes then goes where it does in any program: the crash of a fork says
    nothing about the end of its host. And a fork that kept the sentinel open would hide the host's
    end from a server that has no pidfd. They are not closed: faulthandler would write to the file
    that gets the number next.
    """
    while fds:
        fd = fds.pop()
        try:
            os.dup2(2, fd, inheritable=False)
        except OSError:  # descriptor 2 was closed by user code
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, fd, inheritable=False)
            os.close(nowhere)


def _die_with(server_pid: int | None, sentinel_fd: int) -> None:
    """Be killed soon after the server even while a C call holds the GIL. Linux only.

    The signal must not kill at once, or the orderly end (the dispatcher's, within milliseconds)
    would never happen. Its handler is libc's own `alarm`, which needs no GIL: called with the
    signal's number, 1 for SIGHUP, it has SIGALRM end the process a second later.

    A wrapper may stand between the server and this process, and outlive the server. Then the system
    sends the signal when nobody can read from the sentinel any more. If it is the server that is
    gone already, the dispatcher finds the Pipes closed.
    """
    if sys.platform == "linux":
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        libc.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
        libc.signal.restype = ctypes.c_void_p
        libc.signal(signal.SIGHUP, ctypes.cast(libc.alarm, ctypes.c_void_p))
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGHUP)
        if os.getppid() != server_pid:
            fcntl.fcntl(sentinel_fd, fcntl.F_SETOWN, os.getpid())
            fcntl.fcntl(sentinel_fd, fcntl.F_SETSIG, signal.SIGHUP)
            flags = fcntl.fcntl(sentinel_fd, fcntl.F_GETFL)
            fcntl.fcntl(sentinel_fd, fcntl.F_SETFL, flags | fcntl.FASYNC)


def _pass_lines_on() -> None:
    """Have Python's stdout write at the end of each line, as it does at a terminal. It writes to
    the server, and somebody looks at the server's terminal or log."""
    stdout = sys.__stdout__
    if stdout is not None and not stdout.write_through:  # PYTHONUNBUFFERED is not set
        stdout.reconfigure(line_buffering=True)


def _be_a_main_process() -> None:
    """Look to user code like a fresh interpreter, not like a multiprocessing child."""
    process: Any = multiprocessing.process
    current = process.current_process()
    current._identity = ()
    current._name = "MainProcess"
    current._parent_pid = current._parent_name = None
    process._parent_process = None
    name_temporary_directory()


def _pidfd(pid: int) -> int | None:
    """A pidfd of the process. None where the system has none, or a sandbox refuses it: then only
    the end of file on the Pipe shows that the process is gone."""
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        leave_at_once()
    except OSError as error:
        logger.debug("no pidfd of the server: %s pid=%d", error, pid)
        return None
