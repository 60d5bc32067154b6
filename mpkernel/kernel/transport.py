"""`Transport`: a session's messages to its client, and the commands that the client sent.

    client ─▶ Kernel.redirect ─▶ deliver ─┬─▶ queue ─▶ take, merged: the session's thread
                                          └─▶ act_now: answers, completions, interrupts
    client ◀─ send, try_send ◀─ any thread
    journal ◀─ begun and done ◀─ take, ended

The session carries out the commands.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from mpkernel.errors import ProtocolError
from mpkernel.interrupts.sending import Interrupts
from mpkernel.kernel.messages import (
    Answer,
    Complete,
    Execute,
    Interrupt,
    Message,
    RunApp,
    SetValues,
    decode_command,
    encode,
)
from mpkernel.late_logger import late_logger
from mpkernel.wire.frames import Message as Frame

if TYPE_CHECKING:
    from mpkernel.host.hosted_kernel import HostedKernel

__all__ = ["Immediate", "Queued", "Transport"]

logger = late_logger(__name__)

Queued: TypeAlias = RunApp | Execute | SetValues
"""Commands that are carried out one after the other."""

Immediate: TypeAlias = Interrupt | Answer | Complete
"""Commands that are carried out at once, beside the one that runs."""


class _Waiting(NamedTuple):
    command: Queued
    size: int


class Transport:
    """The messages of one session, both ways.

    Args:
        kernel: the session's connection to its client.
        interrupts: those of the session's code. They are held back while a message is sent.
        act_now: carries out an `Immediate` command, on the dispatcher's thread. It must return at
            once. None says that the session is closed.
    """

    def __init__(
        self,
        kernel: HostedKernel,
        interrupts: Interrupts,
        act_now: Callable[[Immediate | None], None],
    ) -> None:
        self._kernel = kernel
        self._interrupts = interrupts
        self._act_now = act_now
        self._commands: queue.Queue[_Waiting | None] = queue.Queue()
        self._begun = self._done = 0  # commands, for the client's journal

    def send(self, message: Message) -> None:
        """Send to the client, from any thread. Waits while the client is far behind. The messages
        of a closed session are dropped."""
        payload = encode(message)
        while not self.try_send(payload):
            self._kernel.wait_for_room(len(payload))

    def try_send(self, payload: bytes, then: Callable[[], None] = lambda: None) -> bool:
        """If the client takes the message now, send it and call `then`; otherwise do neither. An
        interrupt cannot come between the two. Returns whether it was sent. A closed session drops
        the message, and counts it as sent."""
        with self._interrupts.shield():
            if self._kernel.reserve(len(payload), wait=False):
                self._kernel.write_reserved(payload)
            elif not self._kernel.takes_nothing:
                return False
            then()
            return True

    def take(self) -> Queued | None:
        """Wait for the next command, and count it as begun. None when the session is closed: the
        commands that still wait are dropped."""
        waiting = self._commands.get()
        if waiting is None or self._kernel.stopped:
            return None
        self._kernel.taken(waiting.size)
        self._begun += 1
        self._kernel.progressed(self._begun, self._done)
        return waiting.command

    def merged(self, values: dict[str, Any]) -> dict[str, Any]:
        """These values, updated by those of the `SetValues` commands that wait next. These commands
        are counted as begun, too."""
        merged, taken = dict(values), 0
        with self._commands.mutex:
            waiting = self._commands.queue
            while waiting and waiting[0] and isinstance(waiting[0].command, SetValues):
                following = waiting.popleft()
                merged |= following.command.values
                taken += following.size
                self._begun += 1
        if taken:
            self._kernel.progressed(self._begun, self._done)
            self._kernel.taken(taken)
        return merged

    def ended(self) -> None:
        """All commands that have begun are done."""
        self._done = self._begun
        self._kernel.progressed(self._begun, self._done)

    def deliver(self, frame: Frame | None) -> None:
        """Called by the dispatcher, because of `HostedKernel.redirect`: the client sent this."""
        if frame is None:
            self._commands.put(None)
            self._act_now(None)
            return
        size = len(frame.payload)
        try:
            command = decode_command(frame.payload)
        except ProtocolError as error:
            logger.warning("dropped: %s session=%s", error, self._kernel.session_id)
            self._kernel.taken(size)
            return
        if isinstance(command, RunApp | Execute | SetValues):
            self._commands.put(_Waiting(command, size))
        else:
            self._kernel.taken(size)
            self._act_now(command)
