"""The journal that brings a session of the embedded kernel back: whether its app was run, and which
values were set.

The kernel reports how many commands it has begun and how many it has done (`progressed`). A command
that is sent goes to the queue `_pending`. When the kernel has done it, it leaves the queue and
changes `_state`. After a death, `rebuild` makes commands that lead to `_state`, and adds those that
still waited. While the kernel works on these, `_good` keeps the state before the
command that may have ended the process.
"""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

import msgspec

from mpkernel.errors import ProtocolError
from mpkernel.kernel.messages import Execute, Restarted, RunApp, SetValues, encode
from mpkernel.server.sessions.journal import Journal, Rebuilt
from mpkernel.server.supervision.deaths import Death
from mpkernel.spec import KernelSpec
from mpkernel.wire.frames import Channel, Message
from mpkernel.wire.messages import UNDECODABLE

__all__ = ["PythonJournal"]

_SHOWN_CHARS = 200
_MOST_NAMED = 100
_ENTRY_BYTES = 64
"""How much memory each thing that is kept is assumed to need, beside its content."""


class _Pending(NamedTuple):
    """A command that the kernel has not done.

    Attributes:
        channel, command: what was sent.
        size: about how many bytes it needs.
        is_replay: whether `rebuild` made it. What it does is part of the state already.
    """

    channel: Channel
    command: RunApp | Execute | SetValues
    size: int
    is_replay: bool = False


class _State(NamedTuple):
    """The part of a session's state that can be brought back.

    Attributes:
        ran: whether the app was run.
        before: the values that were set before the app's last run.
        after: the values that were set since then.
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


class _Kept(msgspec.Struct, frozen=True, kw_only=True, tag="mpkernel-python-journal-1"):
    """What a journal keeps for another server.

    Attributes:
        state, good, pending, executed, dropped, has_dropped_more: as the journal's.
        begun: how many of the pending commands the kernel has begun.
    """

    state: _State
    good: _State
    pending: list[_Pending]
    begun: int
    executed: bool
    dropped: list[str]
    has_dropped_more: bool


_decoder = msgspec.msgpack.Decoder(_Kept)


class PythonJournal(Journal):
    """The journal of a `PythonClient`.

    Code that was executed outside the app's cells is not run again, because it may have done
    something that must not be done twice. Variables that it changed get the values that the app's
    run gives them.

    Args:
        kernel: the kernel that was started.
        max_bytes: how many bytes of values are kept, and how many bytes of commands may wait.
    """

    def __init__(self, kernel: KernelSpec, *, max_bytes: int) -> None:
        self._kernel = kernel
        self._max_bytes = max_bytes
        self._state = _State(False, {}, {})
        self._good = self._state  # before the command that may have ended the process
        self._sizes: dict[str, int] = {}
        self._bytes = 0
        self._dropped: set[str] = set()
        self._has_dropped_more = False
        self._executed = False
        self._pending: deque[_Pending] = deque()
        self._pending_bytes = 0
        self._begun = self._done = 0

    def sent(self, channel: Channel, command: object) -> None:
        if isinstance(command, RunApp | Execute | SetValues):
            self._append(_Pending(channel, command, _size_of(command)))

    def has_room(self, channel: Channel, command: object) -> bool:
        if not isinstance(command, RunApp | Execute | SetValues):
            return True
        return self._pending_bytes + _size_of(command) <= self._max_bytes

    def progressed(self, begun: int, done: int) -> None:
        if done - self._done > len(self._pending):
            raise ProtocolError(f"a kernel says it has done {done} commands, but fewer were sent")
        for _ in range(done - self._done):
            pending = self._pending.popleft()
            self._pending_bytes -= pending.size
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
        replayed = [_replay_of(command) for command in self._state.commands()]
        self._pending.clear()
        self._pending_bytes = 0
        for pending in (*replayed, *late):
            self._append(pending)
        self._begun = self._done = 0
        return Rebuilt(
            self._kernel,
            [Message(one.channel, encode(one.command)) for one in self._pending],
            len(replayed),
            self._lost(),
        )

    def notice(self, death: Death, lost: tuple[str, ...], *, guilty: bool) -> bytes:
        return encode(Restarted(death.what, list(lost), guilty))

    def kept(self) -> bytes:
        return msgspec.msgpack.encode(
            _Kept(
                state=self._state,
                good=self._good,
                pending=list(self._pending),
                begun=self._begun - self._done,
                executed=self._executed,
                dropped=sorted(self._dropped),
                has_dropped_more=self._has_dropped_more,
            )
        )

    def load(self, kept: bytes) -> None:
        try:
            found = _decoder.decode(kept)
        except UNDECODABLE as error:
            raise ProtocolError(
                f"the kept journal cannot be read by this version of mpkernel: {error}",
                remedy="open the session as a new one",
            ) from error
        self._state, self._good = found.state, found.good
        self._dropped = set(found.dropped)
        self._has_dropped_more = found.has_dropped_more
        self._executed = found.executed
        for pending in found.pending:
            self._append(pending)
        self._begun = found.begun
        self._bound(found.state.before | found.state.after)

    def count_all_as_begun(self) -> None:
        self._begun = self._done + len(self._pending)

    @property
    def _is_replaying(self) -> bool:
        return bool(self._pending) and self._pending[0].is_replay

    def _append(self, pending: _Pending) -> None:
        self._pending.append(pending)
        self._pending_bytes += pending.size

    def _commit(self, command: RunApp | Execute | SetValues) -> None:
        if isinstance(command, Execute):
            self._executed = True
            return
        self._state = self._state.following(command)
        if isinstance(command, SetValues):
            self._bound(command.values)

    def _bound(self, values: dict[str, Any]) -> None:
        """Keep the values within `max_bytes`: drop the largest ones."""
        for name, value in values.items():
            size = _size_of_value(name, value)
            self._bytes += size - self._sizes.get(name, 0)
            self._sizes[name] = size
            self._dropped.discard(name)
        too_large: set[str] = set()
        while self._bytes > self._max_bytes:
            largest = max(self._sizes, key=self._sizes.__getitem__)
            self._bytes -= self._sizes.pop(largest)
            too_large.add(largest)
        self._state = self._state.without(too_large)
        self._dropped |= too_large
        while len(self._dropped) > _MOST_NAMED:
            self._dropped.pop()
            self._has_dropped_more = True

    def _lost(self) -> tuple[str, ...]:
        executed = "what was done by code that was executed outside the app's cells"
        values = [f"the value of {name}, which is too large" for name in sorted(self._dropped)]
        more = "values of more names, which are too large or too many"
        return (
            *([executed] if self._executed else []),
            *values,
            *([more] if self._has_dropped_more else []),
        )


def _replay_of(command: RunApp | SetValues) -> _Pending:
    channel = Channel.UI_ELEMENT if isinstance(command, SetValues) else Channel.CONTROL
    return _Pending(channel, command, 0, is_replay=True)  # its values count in the state


def _size_of(command: RunApp | Execute | SetValues) -> int:
    match command:
        case SetValues(values):
            return _ENTRY_BYTES + sum(_size_of_value(*item) for item in values.items())
        case Execute(code, cell):
            return _ENTRY_BYTES + len(code) + len(cell)
        case RunApp():
            return _ENTRY_BYTES


def _size_of_value(name: str, value: object) -> int:
    return _ENTRY_BYTES + len(name) + len(msgspec.msgpack.encode(value))
