"""`Journal`: keeps what is needed to rebuild a session in another process.

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
- up to `done`: the command ran to its end. What it did is the state that has to be brought back.
- above `done`, up to `begun`: the command ran when the process ended. It may have ended the
  process, so it can be left out (`rebuild(without_running=True)`).
- above `begun`: the command never ran, and is sent again. `Rebuilt.lost` names the commands that
  the journal could not keep.

Why these numbers can be trusted:
- The kernel's count is on the Pipe before a command runs, since the command may end the process at
  once. What the process wrote to its Pipes before it ended is read before any session is rebuilt.
- `sent` and the sending itself are one step under the session's lock, so both ends have the same
  order, whatever threads send. A command that is refused (`BaseSession.send` raises) is neither
  sent nor in the journal.
- The counts never go back, and `begun` is never below `done`; a kernel that says otherwise ends
  with `ProtocolError`. `begun` can go up by more than one: commands that were merged begin as one.
- With `rebuild` both ends start at 0 again: the new kernel counts what it is sent from 1. When it
  has done `Rebuilt.commands` commands, the session has its former state.
- Both ends count the same commands. They do not count answers, completions and interrupts: these
  matter for a moment only, and no journal brings them back.
"""

from __future__ import annotations

import abc
from typing import NamedTuple

from mpkernel.errors import ProtocolError
from mpkernel.logs import get_logger
from mpkernel.plain_text import encodable
from mpkernel.server.supervision.deaths import Death
from mpkernel.spec import KernelSpec
from mpkernel.wire.frames import Channel, Message

__all__ = ["Journal", "Rebuilt", "running_of"]

logger = get_logger(__name__)


class Rebuilt(NamedTuple):
    """How a session comes back.

    Attributes:
        kernel: what to start.
        messages: what to send to it, in this order.
        commands: how many commands, at the beginning of `messages`, the kernel must have done (see
            `Kernel.progressed`) until the session has its former state.
        lost: what does not come back, in words for the client, a phrase for each thing. Default:
            nothing is lost.
    """

    kernel: KernelSpec
    messages: list[Message]
    commands: int
    lost: tuple[str, ...] = ()


class Journal(abc.ABC):
    """The journal of one session. Its methods are called under the session's lock, from any thread,
    and must return at once. Its size must be bounded; `rebuild` says what it could not keep.
    """

    @abc.abstractmethod
    def sent(self, channel: Channel, command: object) -> None:
        """The client sends a command.

        Args:
            channel: the one that it is sent on.
            command: what `Session.send` was given as `command`; its payload where that was None.
        """

    def has_room(self, channel: Channel, command: object) -> bool:
        """Whether `sent` would keep this command, or need not keep it. This is called while the
        session has no process: if the answer is no, the command is refused. So the number of
        commands that wait is bounded. Default: yes, for a journal that keeps every command."""
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
        """What the kernel runs, in words for an operator; empty if it runs nothing, or if that is
        unknown."""
        return ""

    def notice(self, death: Death, lost: tuple[str, ...], *, guilty: bool) -> bytes | None:
        """A message that tells the client that its session was brought back, in the form of a
        kernel's message; None if there is no such message. See `BaseSession.on_recovered`."""
        del death, lost, guilty
        return None

    @abc.abstractmethod
    def rebuild(self, *, without_running: bool) -> Rebuilt:
        """How to bring the session back now. From now on commands are counted from 1 again.

        Args:
            without_running: whether to leave out the command that ran when the process ended.
        """

    def kept(self) -> bytes | None:
        """What `rebuild` needs, as bytes that another server can `load`. They must not be a pickle,
        nor refer to anything that ends with this server. Default: None, which says that this
        journal cannot be stored."""
        return None

    def count_all_as_begun(self) -> None:  # noqa: B027 (a journal that loads nothing needs none)
        """Called after `load` when it is unknown which of the commands the kernel had begun before
        it ended with its server. `rebuild` then sends again only commands that set values."""

    def load(self, kept: bytes) -> None:
        """Take over what another journal of the same class has `kept`. This is the first call to a
        new journal. `rebuild` is the next one, and returns what the other journal's would have
        returned. The kernel and the bounds are those with which this journal was made.

        Raises:
            ProtocolError: no journal of this class and version keeps such bytes. Nothing was taken
                over.
        """
        del kept
        raise ProtocolError(
            f"a {type(self).__name__} cannot take over what another one kept",
            remedy="open the session as a new one",
        )


def running_of(journal: Journal | None) -> str:
    """What a journal says that the kernel runs; empty if it says nothing. One of a user's own may
    fail: operators then see the session all the same."""
    if journal is None:
        return ""
    try:
        return encodable(journal.running())
    except Exception:
        logger.debug("a journal cannot say what its kernel runs", exc_info=True)
        return ""
