"""`Link`: what carries frames between the server and one process, whatever lies between the two.

    any thread ── send ──▶ Link ══▶ the process
    the loop ◀── on_frames ── ┘ ◀══

`pipe_link` has the one that goes over Pipes. A process makes its own link, see `launching.process`.
`tests/server/process_contract.py` tests what every link must do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from mpkernel.errors import ProtocolError
from mpkernel.wire.frames import Channel, Frame, FrameLost

__all__ = ["Link", "LinkEvents"]


class LinkEvents(NamedTuple):
    """What a link calls. All are called on the loop's thread, and none after `Link.close`.

    Attributes:
        on_frames: called with the frames that came, in order, some at a time.
        on_error: called once, when what came is not a frame. No frame follows.
        on_lost: called with each frame for which there was no memory. None: `on_error` is called
            instead.
        on_hang_up: called when the process has closed its end, as it does when it dies, after the
            frames that came before. Default: nothing is called.
    """

    on_frames: Callable[[list[Frame]], None]
    on_error: Callable[[ProtocolError], None]
    on_lost: Callable[[FrameLost], None] | None = None
    on_hang_up: Callable[[], None] = lambda: None


class Link(Protocol):
    """The server's end of its connection to one process. Nothing here blocks."""

    @property
    def backlog_bytes(self) -> int:
        """Bytes that the process has not taken yet, as far as the server knows."""

    @property
    def sent_count(self) -> int:
        """How many frames were sent, or wait to be taken."""

    @property
    def whole_bytes(self) -> int:
        """Bytes of all frames that came whole, with their headers."""

    def send(
        self, channel: Channel, session: int, payload: bytes, *, refusable: bool = True
    ) -> None:
        """Send one frame, from any thread, in the order of the calls. Never waits. After `close`,
        and when the process has ended, the frame is dropped without an error: the sessions are told
        of the death of a process, not each thread that sends.

        Args:
            channel, session, payload: the frame.
            refusable: whether a full backlog may refuse it. Management messages never are.

        Raises:
            HostUnresponsive: the backlog is full; nothing of the frame was sent.
            ProtocolError: the frame is over the maximum size.
        """

    def hold(self) -> None:
        """More is about to be sent in this turn of the loop: what is sent may be kept until it
        ends, and written together. On the loop's thread."""

    def drain(self) -> bool:
        """The process has ended: hand over what it sent before its end.

        Returns:
            Whether all was handed over. False: the loop's turn has no more time for it; call this
            again in a later turn.
        """

    def close(self) -> None:
        """Send nothing any more, drop the backlog and hand nothing over any more. On the loop's
        thread. Idempotent."""

    def close_sending(self) -> None:
        """Send nothing any more and drop the backlog. From any thread: when it returns, no other
        thread is sending. Idempotent."""
