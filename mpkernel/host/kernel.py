"""`Kernel`: what a session's entry function is given: the client's messages, the way back to the
client, and what the session is called. What the host does with the session is `HostedKernel`'s.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator

from mpkernel.host.hosted_kernel import HostedKernel
from mpkernel.host.session_files import SessionFiles
from mpkernel.late_logger import late_logger
from mpkernel.wire.bounds import MOST_COUNTED
from mpkernel.wire.frames import Channel, Message
from mpkernel.wire.payloads import checked_channel, checked_payload

__all__ = ["Kernel", "hosted_half"]

logger = late_logger(__name__)


class Kernel:
    """A session, as the kernel's function sees it. `KernelSpec.entry` names that function.

        def main(kernel):
            for message in kernel:  # until the session is closed
                kernel.send(message.payload)

    The function is called in the app's process, on a thread of the session's own. When it returns,
    the session ends; when it raises an exception, the client gets `KernelFailed` with the
    traceback. Nothing interrupts a function that goes on after its session was closed, unless it
    has called `interruptible_by`; what becomes of it says `Settings.interrupt_grace_s`.

    Args:
        hosted: the session as its host knows it.
    """

    def __init__(self, hosted: HostedKernel) -> None:
        self._hosted = hosted

    @property
    def app(self) -> str:
        """The absolute path of the app's file."""
        return self._hosted.app

    @property
    def session_id(self) -> str:
        """The client's name for the session; no other open session of the app has it."""
        return self._hosted.session_id

    @property
    def number(self) -> int:
        """A number from 1 on that no other open session of the process has."""
        return self._hosted.number

    @property
    def args(self) -> bytes:
        """`KernelSpec.args`, or, after a restart, that of the spec which the journal has rebuilt.
        Default: empty."""
        return self._hosted.args

    @property
    def files(self) -> SessionFiles:
        """The session's virtual files, which its client can fetch. They end with the session."""
        return self._hosted.files

    @property
    def stopped(self) -> bool:
        """Whether the session was closed: the function should return soon. From any thread."""
        return self._hosted.stopped

    def send(self, payload: bytes, channel: Channel = Channel.STREAM) -> None:
        """Send bytes to the client, from any thread. Waits while the session's window
        (`Settings.window_bytes`), or that of all sessions of the process, is full of bytes that
        their clients have not taken. What a closed session sends is dropped, as is what a fork of
        the process sends.

        Args:
            payload: at most `Settings.max_frame_bytes` long, less 5 bytes.
            channel: what the client sees as `Message.channel`.

        Raises:
            ProtocolError: the payload is too long.
            OSError: the server is gone.
            TypeError: the payload is not bytes, or there is no such channel for users.
        """
        self._hosted.send(checked_payload(payload), checked_channel(channel))

    def receive(self, timeout_s: float | None = None) -> Message | None:
        """Wait for the client's next message. Returns None when the session is closed, and again
        at each further call.

        Args:
            timeout_s: how many seconds to wait at the longest. Default: no limit.

        Raises:
            TimeoutError: no message came in that time.
            OSError: the server is gone.
        """
        return self._hosted.receive(timeout_s)

    def __iter__(self) -> Iterator[Message]:
        """The client's messages, until the session is closed."""
        return iter(self._hosted)

    def progressed(self, begun: int, done: int) -> None:
        """Tell the session's journal how many of the client's commands were begun and done
        (`Journal.progressed`). This has left the process when the method returns. So if the next
        command ends the process, the journal knows that it had begun. From any thread.

        Args:
            begun: how many commands have begun since the function was called.
            done: how many of these are done.

        Raises:
            OSError: the server is gone.
            TypeError: one of them is not a whole number.
            ValueError: one of them is negative, or larger than any count can be.
        """
        self._hosted.progressed(_counted("begun", begun), _counted("done", done))

    def interruptible_by(self, interrupt: Callable[[], bool]) -> None:
        """Set how the function is interrupted when its session is closed and it goes on. Default:
        not at all.

        Args:
            interrupt: called on the process's main thread, again and again, until the function
                has returned; it must return at once and raise nothing. It stops the user's code,
                where that does no harm, and nothing else. It returns False when the function needs
                more time, five times `Settings.interrupt_grace_s` in all: no such code runs, or it
                imports a module.
                When it raises something, that is logged, and it is not called again.

        Raises:
            TypeError: it cannot be called.
        """
        if not callable(interrupt):
            raise TypeError(f"interruptible_by takes a function, not {interrupt!r}")
        self._hosted.interruptible_by(_without_failures(interrupt, self.session_id))


def _without_failures(interrupt: Callable[[], bool], session_id: str) -> Callable[[], bool]:
    """The function until it raises something: the main thread calls it, and the process with all
    its sessions would end."""
    has_failed = False

    def called() -> bool:
        nonlocal has_failed
        if has_failed:
            return False
        try:
            return interrupt()
        except BaseException:
            has_failed = True
            logger.exception("a kernel's own interrupt failed session=%s", session_id)
            return False

    return called


def _counted(name: str, count: int) -> int:
    """A number of commands. The server ends the process of an app that sends it anything else."""
    try:
        whole = operator.index(count)
    except TypeError as error:
        raise TypeError(f"{name} must be a number of commands, not {count!r}") from error
    if not 0 <= whole <= MOST_COUNTED:
        raise ValueError(f"{name} must be a number of commands, from 0 to 2**53, not {whole}")
    return whole


def hosted_half(kernel: Kernel) -> HostedKernel:
    """The session as its host knows it, for mpkernel's own entries."""
    return kernel._hosted
