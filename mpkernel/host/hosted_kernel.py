"""`HostedKernel`: one session in a host, and the thread that it runs on.

    dispatcher ─ deliver · credit · stop · interrupt · abandon ─▶ HostedKernel ═▶ stream Pipe
                                                                      ▲
    kernel thread: run ─▶ entry(Kernel) ─ receive · send · progressed ┘

A kernel's entry function (`KernelSpec.entry`) is called on the kernel's thread. It is given a
`Kernel`, which shows what an entry needs. mpkernel's own entries use this half, too: they have a
queue of their own for what the client sends. What the entry runs (a notebook's kernel, an embedded
one) does not matter here.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterator

from mpkernel.errors import ProtocolError
from mpkernel.host.control_pipe import ControlPipe
from mpkernel.host.import_path import put_first
from mpkernel.host.session_files import HostFiles, SessionFiles
from mpkernel.host.stopping import thread_clock
from mpkernel.host.streams import StreamWriter
from mpkernel.host.windows import HostWindow, Window
from mpkernel.late_logger import late_logger
from mpkernel.program import check_has_run, resolve
from mpkernel.wire.frames import MESSAGE_COST_BYTES, Channel, Message
from mpkernel.wire.messages import (
    CreateKernel,
    Credit,
    KernelCreated,
    KernelExited,
    Running,
    UpMessage,
)
from mpkernel.wire.windows import credit_due

__all__ = ["HostedKernel"]

logger = late_logger(__name__)

_IDLE_CREDIT_BYTES = 64 * 1024

_OURS = "mpkernel."
"""How the names of mpkernel's own entries begin. They do not lie beside the app, and set the import
path themselves: to marimo's, or to that of a Python script."""


class HostedKernel:
    """One kernel: the state of its thread, and its connection to its client.

    Attributes:
        app: absolute path of the app's file.
        session_id: the client's name for the session.
        number: the session's number on the wire.
        args: `KernelSpec.args`.
        files: the session's virtual files, which its client can fetch.
    """

    def __init__(
        self,
        app: str,
        number: int,
        create: CreateKernel,
        control: ControlPipe,
        writer: StreamWriter,
        host_window: HostWindow,
        files: HostFiles,
        watch: Callable[[HostedKernel], None],
    ) -> None:
        self.app = app
        self.files = SessionFiles(files, number)
        self.session_id = create.session_id
        self.number = number
        self.args = create.args
        self._entry = create.entry
        self._control = control
        self._writer = writer
        self._window = Window(create.window_bytes, host_window)
        self._credit_bytes = credit_due(create.window_bytes)
        self._inbox: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._deliver: Callable[[Message | None], None] = self._inbox.put
        # Held while a message is handed over, and while _deliver changes.
        self._delivery = threading.Lock()
        self._lock = threading.Lock()  # guards _uncredited_bytes, _over
        self._uncredited_bytes = 0
        self._over = False
        self._stopped = threading.Event()
        self._watch = watch
        self._interrupt: Callable[[], bool] | None = None
        self._entered = False
        self._cpu_s: Callable[[], float | None] = lambda: None
        self._ended = False

    @property
    def stopped(self) -> bool:
        """Whether the session was closed: the kernel should return soon."""
        return self._stopped.is_set()

    @property
    def takes_nothing(self) -> bool:
        """Whether what is sent is dropped: the session is over, or this process is a fork of the
        host."""
        return self._writer.forgotten or self._window.closed

    @property
    def is_inside(self) -> bool:
        """Whether the calling thread is in the middle of sending. A `__del__` that runs at such a
        moment must not wait for another thread that sends."""
        return self._writer.is_inside or self._window.is_inside

    def send(self, payload: bytes, channel: Channel = Channel.STREAM) -> None:
        """Send bytes to the client, from any thread. Waits while the session's window is full of
        bytes that the client has not taken. What a closed session sends is dropped.

        Raises:
            ProtocolError: the payload is over the maximum size.
            OSError: the server is gone.
        """
        size = len(payload) + MESSAGE_COST_BYTES
        if self._writer.forgotten or not self._window.reserve(size):
            return
        try:
            self._writer.write(channel, self.number, payload)
        except BaseException:
            self._window.refund(size)
            raise

    def reserve(self, count: int, *, wait: bool = True) -> bool:
        """The first half of `send`, the one that waits: reserve room for a message of `count`
        bytes. Returns False when it must not be sent: the session is closed or, without `wait`,
        there is no room now."""
        return not self._writer.forgotten and self._window.reserve(
            count + MESSAGE_COST_BYTES, wait=wait
        )

    def wait_for_room(self, count: int) -> None:
        """Wait until `reserve` might take `count` bytes, or until the session is closed."""
        self._window.wait_for_room(count + MESSAGE_COST_BYTES)

    def write_reserved(self, payload: bytes, channel: Channel = Channel.STREAM) -> None:
        """The second half of `send`; raises as it does."""
        try:
            self._writer.write(channel, self.number, payload)
        except BaseException:
            self._window.refund(len(payload) + MESSAGE_COST_BYTES)
            raise

    def announce(self, message: UpMessage) -> None:
        """Send a management message, in order with `send`, without waiting.

        Raises:
            OSError: the server is gone.
        """
        self._writer.send(message, session=self.number)

    def progressed(self, begun: int, done: int) -> None:
        """Tell the server how many commands were begun and done; see `wire.messages.Running`. The
        message is on the Pipe when the method returns: if the next command ends the process, the
        server knows that this command had begun.

        Raises:
            OSError: the server is gone.
        """
        self.announce(Running(begun, done))
        self._writer.settle()

    def receive(self, timeout_s: float | None = None) -> Message | None:
        """Wait for the next message of the client; None when the session is closed.

        Raises:
            TimeoutError: none came within `timeout_s` seconds. Default: wait for ever.
        """
        message = None
        if timeout_s is None and self._interrupt is None:
            message = self._control.receive(self.number, self._inbox)
        if message is None:
            try:
                message = self._inbox.get(timeout=timeout_s)
            except queue.Empty:
                raise TimeoutError(f"no message within {timeout_s} s") from None
        if message is None:
            self._inbox.put(None)
            return None
        self.taken(len(message.payload))
        return message

    def __iter__(self) -> Iterator[Message]:
        """The client's messages, until the session is closed."""
        while (message := self.receive()) is not None:
            yield message

    def redirect(self, deliver: Callable[[Message | None], None]) -> None:
        """Give messages to `deliver` instead of `receive`, beginning with those that wait already.

        `deliver` is called on the dispatcher's thread and must return at once; None says that the
        session is closed. Whoever takes a message from where `deliver` put it must call `taken`.
        """
        with self._delivery:
            while not self._inbox.empty():
                deliver(self._inbox.get())
            self._deliver = deliver

    def taken(self, count: int) -> None:
        """`count` bytes of messages were taken: the client may send as many more."""
        with self._lock:
            self._uncredited_bytes += count
            due = self._uncredited_bytes
            if due < self._credit_bytes and due < _IDLE_CREDIT_BYTES:
                return
            self._uncredited_bytes = 0
        self.announce(Credit(due))

    def interruptible_by(self, interrupt: Callable[[], bool]) -> None:
        """Set how the kernel's thread is interrupted when it must stop.

        `interrupt` is called on the dispatcher's thread, again and again. It stops the user's code,
        where that does no harm, and nothing else. It returns False when the kernel needs more time:
        no such code runs, or it imports a module.
        """
        self._interrupt = interrupt

    def deliver(self, message: Message) -> None:
        """Called by the dispatcher: hand a message over."""
        with self._delivery:
            self._deliver(message)

    def stop(self) -> None:
        """Called by the dispatcher: the session is closed; ask the kernel to end."""
        self._stopped.set()
        with self._delivery:
            self._deliver(None)

    @property
    def ended(self) -> bool:
        """Whether the kernel's thread is done."""
        return self._ended

    def interrupt(self) -> bool:
        """Called by the dispatcher: see `interruptible_by`. If no function was set there, user code
        is assumed to run from the call of the entry on."""
        return self._entered if self._interrupt is None else self._interrupt()

    def cpu_s(self) -> float | None:
        """CPU time of the kernel's thread in seconds; None where that is not known."""
        return self._cpu_s()

    def mute(self) -> None:
        """Called by the dispatcher: drop what the kernel sends from now on."""
        self._window.close()

    def credit(self, count: int) -> None:
        """Called by the dispatcher: the client took `count` bytes."""
        self._window.refund(count)

    def abandon(self, error: str) -> None:
        """Called by the dispatcher: end the session now, though its thread still runs. From then on
        the thread is handled like one that was asked to stop."""
        self._stopped.set()
        self._end(error)
        self._watch(self)

    def never_ran(self, error: str) -> None:
        """Called by the dispatcher: the thread could not be started, or ended before it called
        `run`."""
        self._end(error, never_ran=True)
        self._ended = True

    def run(self, given: object) -> None:
        """The kernel's thread: run the entry, and tell the server how it ended.

        Args:
            given: what the entry is called with: this kernel's `Kernel`.
        """
        error: str | None = None
        try:
            self._cpu_s = thread_clock()
            self.announce(KernelCreated(threading.get_ident()))
            if not self._entry.startswith(_OURS):
                put_first(os.path.dirname(self.app))
            entry = resolve(self._entry)
            self._entered = True
            check_has_run(self._entry, entry(given))
        except SystemExit:
            pass  # `sys.exit` in a kernel is a normal end
        except BaseException as failure:  # noqa: BLE001 (the traceback goes to the client)
            error = _traceback_of(failure)
            logger.warning("kernel failed app=%s session=%s\n%s", self.app, self.session_id, error)
        finally:
            self._entered = False
            self._end(error)
            self._ended = True

    def _end(self, error: str | None, *, never_ran: bool = False) -> None:
        with self._lock:
            if self._over:
                return
            self._over = True
        self._window.close()
        self._release_files()
        self._announce_exit(error, never_ran=never_ran)

    def _release_files(self) -> None:
        try:
            self.files.shutdown()
        except OSError as gone:  # the main thread is about to end the host
            logger.debug(
                "the server is gone; it does not learn of removed files: %s session=%s",
                gone,
                self.session_id,
            )

    def _announce_exit(self, error: str | None, *, never_ran: bool) -> None:
        if self._writer.forgotten:
            return
        try:
            try:
                self.announce(KernelExited(error, never_ran))
            except ProtocolError as too_large:
                self.announce(KernelExited(f"its traceback is in the log only: {too_large}"))
        except OSError as gone:  # the main thread is about to end the host
            logger.debug(
                "the server is gone; it does not learn of the end: %s session=%s",
                gone,
                self.session_id,
            )


def _traceback_of(failure: BaseException) -> str:
    import traceback  # all of these are imported here: few kernels fail

    from mpkernel.error_texts import frames_of, traceback_by

    return traceback_by(traceback.format_exc, failure, frames_of(failure))
