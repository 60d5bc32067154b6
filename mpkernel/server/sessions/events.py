"""`SessionEvents`: the methods that are called when something happens to a session's kernel."""

from __future__ import annotations

import abc
from collections.abc import Sequence

from mpkernel.errors import MPKernelError
from mpkernel.server.supervision.deaths import Death
from mpkernel.wire.frames import Channel, Frame

__all__ = ["SessionEvents"]


class SessionEvents(abc.ABC):
    """What one kind of client does when something happens to its session. On the loop's thread;
    each method must return at once."""

    @property
    def unread_bytes(self) -> int:
        """The bytes of the messages that came and that the client has not yet taken, with
        `MESSAGE_COST_BYTES` for each message. Default: 0."""
        return 0

    @abc.abstractmethod
    def on_message(self, channel: Channel, payload: bytes) -> None:
        """A message arrived."""

    def on_messages(self, messages: Sequence[Frame]) -> None:
        """Messages arrived, in this order. Default: `on_message` is called with each of them."""
        for message in messages:
            self.on_message(message.channel, message.payload)

    @abc.abstractmethod
    def on_end(self, error: MPKernelError | None) -> None:
        """The session is over. Called once, after the last `on_message`.

        Args:
            error: why it ended; None when its kernel returned, or the client closed it.
        """

    def on_preparing(self, text: str, *, is_placed: bool) -> None:  # noqa: B027 (not every client can be told)
        """The session waits: the environment of the app is being made, or no machine was found yet.

        Args:
            text: what is done now.
            is_placed: whether the process was launched on its machine. If not, that is waited for.
        """

    def on_prepared(self) -> None:  # noqa: B027 (not every client can be told)
        """The environment is complete: the process starts."""

    def on_waiting(self, back: int, all_of_them: int) -> None:  # noqa: B027 (not every client can be told)
        """The session has lost its process and still waits for another one. Called again when a
        number has changed; `on_recovered` follows, or `on_end`.

        Args:
            back: how many sessions of the app have been rebuilt since then.
            all_of_them: how many are to be, with these, this one, and the others that wait.
        """

    def on_recovered(self, death: Death, lost: tuple[str, ...], *, guilty: bool) -> None:  # noqa: B027 (not every client can be told)
        """The session is coming back on another process.

        Args:
            death: how the process before it ended.
            lost: what does not come back, in words.
            guilty: whether a command of this session ended the process. That command was left out.
        """

    def on_file_refused(self, error: Exception) -> None:  # noqa: B027 (not every client can be told)
        """A virtual file of the session was refused and cannot be fetched; the log says why."""
