"""What rebuilds a session in another process, kept while it lives."""

from __future__ import annotations

import abc
from typing import NamedTuple

from mpkernel.server.supervision.deaths import Death
from mpkernel.spec import KernelSpec
from mpkernel.wire.frames import Channel, Message

__all__ = ["Journal", "Rebuilt"]


class Rebuilt(NamedTuple):
    """How a session comes back.

    Attributes:
        kernel: what to start.
        messages: what to send to it, in this order.
        commands: how many of these the kernel counts until it is where it was; see
            `wire.messages.Running`.
        lost: what does not come back, in words for the client.
    """

    kernel: KernelSpec
    messages: list[Message]
    commands: int
    lost: tuple[str, ...] = ()


class Journal(abc.ABC):
    """The journal of one session. Called under the session's lock, from any thread: a method
    returns at once. It is bounded in size; what it cannot keep, `rebuild` says.
    """

    @abc.abstractmethod
    def sent(self, channel: Channel, command: object) -> None:
        """The client sends a command; `command` is what `BaseSession.send` was given for it."""

    def has_room(self, channel: Channel, command: object) -> bool:
        """Whether `sent` would keep this command, or has no need to. Asked while the session has no
        process: what nobody keeps is refused then, so that what waits is bounded. Default: yes,
        for a journal that keeps whatever is sent."""
        del channel, command
        return True

    @abc.abstractmethod
    def progressed(self, begun: int, done: int) -> None:
        """The kernel has begun and done so many of the commands, counted from 1 on in the order in
        which they were sent to it.

        Raises:
            ProtocolError: that is more than were sent.
        """

    def received(self, payload: bytes) -> None:  # noqa: B027 (most need not look)
        """The kernel sent a message to its client."""

    def running(self) -> str:
        """What the kernel runs, in words for an operator; empty where it runs nothing, or nobody
        can tell."""
        return ""

    def notice(self, death: Death, lost: tuple[str, ...], *, guilty: bool) -> bytes | None:
        """A message that tells the client that its session was brought back, as if the kernel had
        sent it; None for none. See `BaseSession.on_recovered`."""
        del death, lost, guilty
        return None

    @abc.abstractmethod
    def rebuild(self, *, without_running: bool) -> Rebuilt:
        """How to bring the session back, now. From here on commands are counted anew.

        Args:
            without_running: whether to leave out the command that runs, which has ended the
                process.
        """
