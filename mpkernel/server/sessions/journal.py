"""`Journal`: what rebuilds a session in another process, kept while the session lives.

    sent, progressed, received ─▶ Journal ─▶ rebuild: how the session comes back
                                    │ ▲
                               kept ▼ │ load
                          plain data, which outlives the server

The journal must know, at any moment, what the kernel has done of what it was sent. Both ends count
the commands, from 1, in the order in which they were sent:

    server                                        the app's process
    client ─▶ sent(command)  1, 2, 3 …  ═════════▶ queue
    progressed(begun=1, done=0) ◀════════════════  on the Pipe before command 1 runs
    progressed(begun=1, done=1) ◀════════════════  command 1 has ended
    progressed(begun=2, done=1) ◀════════════════  on the Pipe before command 2 runs
                                                   the process dies

After the death the numbers say what each command is:
- up to `done`: it ran to its end. What it did is the state that has to be brought back.
- above `done`, up to `begun`: it ran when the process ended. It may be what ended it, so it can be
  left out (`rebuild(without_running=True)`).
- above `begun`: it never ran. It is sent again; what the journal could not keep, `Rebuilt.lost`
  names.

Why it holds:
- The kernel's count is on the Pipe before a command runs, for the command may end the process at
  once. What the process wrote to its Pipes before it ended is read before anybody rebuilds.
- `sent` and the sending itself are one step under the session's lock, so both ends have the same
  order, whatever threads send. What is refused (`BaseSession.send` raises) is in neither.
- The counts never go back, and `begun` is never below `done`; a kernel that says otherwise ends
  with `ProtocolError`. `begun` can go up by more than one: commands that were merged begin as one.
- With `rebuild` both ends start at 0 again: the new kernel counts what it is sent from 1.
  `Rebuilt.commands` is the count at which the session is where it was.
- Only what the kernel counts is counted. Answers, completions and interrupts are not: they belong
  to the moment, and no journal brings them back.
"""

from __future__ import annotations

import abc
from typing import NamedTuple

from mpkernel.errors import ProtocolError
from mpkernel.server.supervision.deaths import Death
from mpkernel.spec import KernelSpec
from mpkernel.wire.frames import Channel, Message

__all__ = ["Journal", "Rebuilt"]


class Rebuilt(NamedTuple):
    """How a session comes back.

    Attributes:
        kernel: what to start.
        messages: what to send to it, in this order.
        commands: how many commands the kernel must have done (see `Kernel.progressed`) until the
            session is where it was: those at the beginning of `messages`.
        lost: what does not come back, in words for the client, a phrase for each thing. Default:
            nothing is lost.
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
        """The client sends a command.

        Args:
            channel: the one that it is sent on.
            command: what `Session.send` was given as `command`; its payload where that was None.
        """

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
        """The kernel sent a message to its client.

        Args:
            payload: the message's bytes.
        """

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

    def kept(self) -> bytes | None:
        """What `rebuild` needs, as data that another server can `load`: no pickle, and nothing that
        ends with this server. None: this journal has nothing that can be written, the default."""
        return None

    def count_all_as_begun(self) -> None:  # noqa: B027 (a journal that loads nothing needs none)
        """Nobody knows which of the commands that `load` took over the kernel had begun when it
        ended with its server: `rebuild` sends none of them again that does more than set values."""

    def load(self, kept: bytes) -> None:
        """Take over what another journal of the same class has `kept`. Of a new journal, as its
        first call; `rebuild` is the next, and gives what the other's would have given. The kernel,
        and the bounds, are those that this journal was made with.

        Raises:
            ProtocolError: it is not what a journal of this class and version keeps. Nothing was
                taken over then.
        """
        del kept
        raise ProtocolError(
            f"a {type(self).__name__} cannot take over what another one kept",
            remedy="open the session as a new one",
        )
