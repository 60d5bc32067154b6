"""What brings a session of the embedded kernel back: that its app was run, and the values set."""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

import msgspec

from mpkernel.errors import ProtocolError
from mpkernel.kernel.messages import Execute, Restarted, RunApp, SetValues, encode
from mpkernel.server.deaths import Death
from mpkernel.server.journal import Journal, Rebuilt
from mpkernel.spec import KernelSpec
from mpkernel.wire.frames import Channel, Message

__all__ = ["PythonJournal"]

_SHOWN_CHARS = 200


class _Pending(NamedTuple):
    """A command that the kernel has not done.

    Attributes:
        channel, command: what was sent.
        is_replay: whether `rebuild` sent it: what it does is in the state already.
    """

    channel: Channel
    command: RunApp | Execute | SetValues
    is_replay: bool = False


class _State(NamedTuple):
    """Where a session is, as far as it can be brought back there.

    Attributes:
        ran: whether the app was run.
        before: values set before it was run last.
        after: values set since then.
    """

    ran: bool
    before: dict[str, Any]
    after: dict[str, Any]

    def following(self, command: RunApp | SetValues) -> _State:
        if isinstance(command, RunApp):
            return _State(True, self.before | self.after, {})
        before = {name: self.before[name] for name in self.before.keys() - command.values.keys()}
        return self._replace(before=before, after=self.after | command.values)

    def without(self, names: set[str]) -> _State:
        before = {name: self.before[name] for name in self.before.keys() - names}
        after = {name: self.after[name] for name in self.after.keys() - names}
        return self._replace(before=before, after=after)

    def commands(self) -> list[RunApp | SetValues]:
        before = [SetValues(self.before)] if self.before else []
        run = [RunApp()] if self.ran else []
        after = [SetValues(self.after)] if self.after else []
        return [*before, *run, *after]


class PythonJournal(Journal):
    """The journal of a `PythonClient`.

    Code that was executed outside the app's cells is not run again: nobody knows what it did to the
    world. What it or the cells left in names is what the app's run makes of them.

    Args:
        kernel: what was started.
        max_bytes: how much of the values is kept, as messages.
    """

    def __init__(self, kernel: KernelSpec, *, max_bytes: int) -> None:
        self._kernel = kernel
        self._max_bytes = max_bytes
        self._state = _State(False, {}, {})
        self._good = self._state  # what the kernel was in before what it may have died of
        self._sizes: dict[str, int] = {}
        self._dropped: set[str] = set()
        self._executed = False
        self._pending: deque[_Pending] = deque()
        self._begun = self._done = 0

    def sent(self, channel: Channel, command: object) -> None:
        if isinstance(command, RunApp | Execute | SetValues):
            self._pending.append(_Pending(channel, command))

    def progressed(self, begun: int, done: int) -> None:
        if done - self._done > len(self._pending):
            raise ProtocolError(f"a kernel has done {done} commands, more than were sent")
        for _ in range(done - self._done):
            pending = self._pending.popleft()
            if not pending.is_replay:
                self._commit(pending.command)
        self._begun, self._done = begun, done
        if not self._is_replaying:
            self._good = self._state

    def running(self) -> str:
        if self._begun == self._done or not self._pending:
            return ""
        match self._pending[0].command:
            case RunApp():
                return "the app"
            case SetValues(values):
                return f"values of {', '.join(values)}"[:_SHOWN_CHARS]
            case Execute(code):
                return f"code: {code}"[:_SHOWN_CHARS]

    def rebuild(self, *, without_running: bool) -> Rebuilt:
        if not self._is_replaying:
            self._good = self._state
        elif without_running:
            self._state = self._good
        late: list[_Pending] = []
        for position, pending in enumerate(self._pending):
            had_begun = position < self._begun - self._done
            if pending.is_replay or (had_begun and without_running):
                continue
            if had_begun or not isinstance(pending.command, Execute):
                self._commit(pending.command)
            else:
                late.append(pending)
        replayed = [_Pending(_channel_of(one), one, True) for one in self._state.commands()]
        self._pending = deque(replayed + late)
        self._begun = self._done = 0
        return Rebuilt(
            self._kernel,
            [Message(channel, encode(command)) for channel, command, _ in self._pending],
            len(replayed),
            self._lost(),
        )

    def notice(self, death: Death, lost: tuple[str, ...], *, guilty: bool) -> bytes:
        return encode(Restarted(death.what, list(lost), guilty))

    @property
    def _is_replaying(self) -> bool:
        return bool(self._pending) and self._pending[0].is_replay

    def _commit(self, command: RunApp | Execute | SetValues) -> None:
        if isinstance(command, Execute):
            self._executed = True
            return
        self._state = self._state.following(command)
        if isinstance(command, SetValues):
            self._bound(command.values)

    def _bound(self, values: dict[str, Any]) -> None:
        """Keep within the size, by leaving out what is largest."""
        for name, value in values.items():
            self._sizes[name] = len(msgspec.msgpack.encode(value))
            self._dropped.discard(name)
        too_large: set[str] = set()
        while sum(self._sizes.values()) > self._max_bytes:
            largest = max(self._sizes, key=self._sizes.__getitem__)
            del self._sizes[largest]
            too_large.add(largest)
        self._state = self._state.without(too_large)
        self._dropped |= too_large

    def _lost(self) -> tuple[str, ...]:
        executed = "what was done by code that was executed outside the app's cells"
        values = [f"the value of {name}, which is too large" for name in sorted(self._dropped)]
        return (*([executed] if self._executed else []), *values)


def _channel_of(command: RunApp | SetValues) -> Channel:
    return Channel.UI_ELEMENT if isinstance(command, SetValues) else Channel.CONTROL
