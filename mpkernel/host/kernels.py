"""The sessions of a host, each on a thread of its own: `Kernels`, the dispatcher's table."""

from __future__ import annotations

import threading

from mpkernel.errors import ProtocolError
from mpkernel.host.control_pipe import ControlPipe
from mpkernel.host.hosted_kernel import HostedKernel
from mpkernel.host.kernel import Kernel
from mpkernel.host.session_files import HostFiles
from mpkernel.host.stopping import Stopper
from mpkernel.host.streams import StreamWriter
from mpkernel.host.windows import HostWindow
from mpkernel.late_logger import late_logger
from mpkernel.wire.frames import Channel, Frame, FrameLost, Message
from mpkernel.wire.messages import CreateKernel, Stopping, WantDrain

__all__ = ["Kernels"]

logger = late_logger(__name__)

_NO_THREAD_IS_LEFT = "can't start new thread"
"""What Python says when the system gives no more threads. Another process of the app would not get
one either."""


class Kernels:
    """The dispatcher's table of kernels, by session number.

    Attributes:
        stopper: interrupts kernels that were asked to stop and do not end.
    """

    def __init__(
        self,
        app: str,
        control: ControlPipe,
        writer: StreamWriter,
        host_window_bytes: int,
        files: HostFiles,
        stopping: Stopping,
    ) -> None:
        self._app = app
        self._control = control
        self._files = files
        self._writer = writer
        self._host_window = HostWindow(host_window_bytes)
        self._kernels: dict[int, HostedKernel] = {}  # changed by dict operations, each one atomic
        self._threads_to_begin: dict[int, threading.Thread] = {}  # likewise
        self.stopper = Stopper(
            grace_s=stopping.interrupt_grace_s,
            max_abandoned=stopping.max_abandoned,
            want_drain=self._want_drain,
        )

    def create(self, number: int, create: CreateKernel) -> None:
        """Start a kernel. Messages for it may follow at once.

        Raises:
            ProtocolError: the number is 0, or another kernel has it.
        """
        if number == 0 or number in self._kernels:
            raise ProtocolError(
                f"the server gave a new kernel the number {number}, which is in use"
            )
        kernel = HostedKernel(
            self._app,
            number,
            create,
            self._control,
            self._writer,
            self._host_window,
            self._files,
            watch=self.stopper.stop,
        )
        self._kernels[number] = kernel
        try:
            thread = self._threads_to_begin[number] = threading.Thread(
                target=self._run, args=(kernel,), name=f"session-{number}", daemon=True
            )
            thread.start()
        except Exception as error:  # noqa: BLE001 (no thread is left, or the app broke `threading`)
            self._threads_to_begin.pop(number, None)
            self._kernels.pop(number, None)
            if str(error) != _NO_THREAD_IS_LEFT:
                self._want_drain(f"this app keeps threads from being started: {error}")
            kernel.never_ran(f"no thread could be started: {error}")

    def end_those_that_never_ran(self) -> None:
        """Tell the server of each kernel whose thread ended before `_run` was called: Python calls
        `threading.settrace`'s function in a new thread before all else, and if that function fails,
        the thread ends. As this could happen to each new kernel, the next ones go elsewhere."""
        for number, thread in list(self._threads_to_begin.items()):
            if thread.is_alive() or self._threads_to_begin.pop(number, None) is None:
                continue
            kernel = self._kernels.pop(number)
            self._want_drain(
                f"the thread of session {kernel.session_id} ended before its kernel ran"
            )
            kernel.never_ran(
                "its thread ended before the kernel ran; the app's output says why: a function that"
                " the app gave to threading.settrace or threading.setprofile may have failed"
            )

    def deliver(self, frame: Frame) -> None:
        """Hand a client's frame to its kernel; drop it when there is no kernel of its number."""
        kernel = self._kernels.get(frame.session)
        if kernel is None:
            logger.debug(
                "dropped a frame: no such kernel app=%s number=%d", self._app, frame.session
            )
            return
        kernel.deliver(Message(frame.channel, frame.payload))

    def lost(self, lost: FrameLost) -> None:
        """There was no memory for a client's frame: its session ends, the others go on.

        Raises:
            FrameLost: the frame was a management message, which belongs to no session.
        """
        if lost.channel is Channel.MANAGEMENT:
            raise lost
        kernel = self._kernels.get(lost.session)
        if kernel is not None:
            kernel.stop()
            kernel.abandon(str(lost))

    def stop(self, number: int, patience_s: float) -> None:
        """Close a session: its kernel ends when it next asks for a message. What it runs until then
        is interrupted after `patience_s` seconds."""
        kernel = self._kernels.get(number)
        if kernel is not None:
            kernel.stop()
            self.stopper.stop(kernel, patience_s)

    def end_all(self) -> None:
        """The host ends: ask every kernel to end, and drop what they send from now on."""
        self._writer.close()
        for number, kernel in list(self._kernels.items()):
            kernel.mute()
            self.stop(number, 0.0)

    def run_due(self) -> bool:
        """See `Stopper.run_due`. Returns whether any kernel still runs."""
        self.stopper.run_due()
        return bool(self._kernels)

    def credit(self, number: int, count: int) -> None:
        """The client of a session took `count` bytes."""
        kernel = self._kernels.get(number)
        if kernel is not None:
            kernel.credit(count)

    def _want_drain(self, reason: str) -> None:
        self._writer.send(WantDrain(reason))

    def _run(self, kernel: HostedKernel) -> None:
        self._threads_to_begin.pop(kernel.number, None)
        try:
            kernel.run(Kernel(kernel))
        finally:
            self._kernels.pop(kernel.number, None)
