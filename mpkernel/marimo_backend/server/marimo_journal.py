"""What is needed to restore a session of a marimo notebook: its instantiation, in which the values
that its elements and widgets were set to are initial values.

A command is pending until the kernel has done it; then the values that it sets become part of the
state. A rebuild puts the values of pending commands into the state, too, but not those of the
command that ended the process. A pending command that had not begun and is more than a value (a
click, a call of a function) is sent again after the instantiation.

The server does not know which element is a button, or made of other elements: the host leaves these
out (`restoring`).
"""

from __future__ import annotations

import logging
import pickle
from typing import Any

import msgspec

from mpkernel.marimo_backend import seam
from mpkernel.marimo_backend.crossing import (
    WIDGET_SHOWN,
    Click,
    RestoredModel,
    RestoredValue,
    WidgetShown,
)
from mpkernel.marimo_backend.server.elements import ElementState, too_large
from mpkernel.marimo_backend.server.journal_entries import (
    Clicks,
    Entry,
    Instantiation,
    ModelState,
    Other,
    Unkept,
    Values,
    again,
    counts_in,
)
from mpkernel.marimo_backend.server.kept_journal import (
    KeptJournal,
    KeptOther,
    KeptState,
    entries_from,
    kept_entries,
    refusing_others,
)
from mpkernel.marimo_backend.server.pending_commands import PendingCommands
from mpkernel.marimo_backend.server.same_cells import SameCells
from mpkernel.marimo_backend.spooled import pickled
from mpkernel.server.sessions.journal import Journal, Rebuilt
from mpkernel.spec import KernelSpec
from mpkernel.wire.frames import Channel, Message
from mpkernel.wire.messages import UNDECODABLE

__all__ = ["MarimoJournal"]

logger = logging.getLogger(__name__)

_REMOVED = b'{"op":"remove-ui-elements"'
_MAX_WIDGETS = 10_000
_SHOWN_CHARS = 200


class _Removed(msgspec.Struct, tag_field="op", tag="remove-ui-elements"):
    """The fields that are read of marimo's notification that a cell's elements are gone."""

    cell_id: str


_notification_decoder: msgspec.json.Decoder[_Removed | WidgetShown] = msgspec.json.Decoder(
    _Removed | WidgetShown
)
_kept_decoder = msgspec.msgpack.Decoder(KeptJournal)


class MarimoJournal(Journal):
    """The journal of one session of a notebook.

    Args:
        kernel: the kernel that was started.
        arguments: those from which its `args` are made.
        max_bytes: how many bytes are kept of the values that were set, and the same number of
            pending commands.
        max_files_bytes: the same for long texts (such as uploaded files), which are kept apart.
            Default: none are kept.
        for_far: whether the app's processes run on other machines. Default False.

    Attributes:
        repeats_first_run: whether the last `rebuild` was to leave out the command that ran, and
            that was the first run of the cells, which cannot be left out.
    """

    def __init__(
        self,
        kernel: KernelSpec,
        arguments: dict[str, Any],
        *,
        max_bytes: int,
        max_files_bytes: int = 0,
        for_far: bool = False,
    ) -> None:
        self._kernel = kernel
        self._arguments = arguments
        self._max_bytes = max_bytes
        self._for_far = for_far
        self._instantiation: Any = None
        self._written: tuple[Any, KeptOther | None] = (None, None)
        self._max_files_bytes = max_files_bytes
        self._state = self._new_state()
        self._good = self._state  # before the command that may have ended the process
        self._widgets: dict[str, str] = {}  # by model, the element that shows it
        self._pending = PendingCommands(max_bytes, max_files_bytes)
        self._begun = self._done = 0
        self._unanswered: list[str] = []
        self._has_unkept = False
        self._has_lost_request = False
        self.repeats_first_run = False

    def sent(self, channel: Channel, command: object) -> None:
        if channel is not Channel.CONTROL:
            return
        entry = self._entry_of(command)
        if isinstance(entry, Instantiation):
            self._instantiation = command
        if isinstance(entry, Values) and not (
            self._pending.can_keep(entry) and self._pending.has_room_for_texts(entry)
        ):
            entry = Values({name: too_large(value) for name, value in entry.values.items()})
        if not self._pending.append(entry):
            self._give_up_call(entry)

    def has_room(self, channel: Channel, command: object) -> bool:
        if channel is not Channel.CONTROL:
            return True
        entry = self._entry_of(command)
        return self._pending.can_keep(entry) and self._pending.has_room_for_texts(entry)

    def progressed(self, begun: int, done: int) -> None:
        for _ in range(done - self._done):
            self._settle(self._state, self._pending.take())
        self._begun, self._done = begun, done
        if not self._is_instantiating:
            self._good = self._state

    def received(self, payload: bytes) -> None:
        if not payload.startswith((_REMOVED, WIDGET_SHOWN)):
            return
        try:
            message = _notification_decoder.decode(payload)
        except UNDECODABLE as error:  # user code can send anything
            logger.debug("a message of the kernel is not a notification: %s", error)
            return
        if isinstance(message, WidgetShown):
            self._show(message)
        elif not self._is_instantiating:  # marimo also sends this at a cell's first run
            self._remove(message.cell_id)

    def running(self) -> str:
        match self._pending.first if self._begun > self._done else None:
            case None:
                return ""
            case Instantiation():
                return "all cells"
            case Values(values) | Clicks(values):
                return f"what depends on {', '.join(values)}"[:_SHOWN_CHARS]
            case ModelState(model_id):
                return f"the state of widget {model_id}"[:_SHOWN_CHARS]
            case Other(command):
                return type(command).__name__
            case Unkept():
                return "a command that was not kept"

    def rebuild(self, *, without_running: bool) -> Rebuilt:
        is_first_run = self._is_instantiating and self._good.kept == self._state.kept
        self.repeats_first_run = without_running and is_first_run
        if self._is_instantiating:
            state = (self._good if without_running else self._state).copy()
        else:
            state, self._good = self._state.copy(), self._state
        late = self._settle_pending(state, without_running=without_running)
        self._state = state
        self._widgets.clear()
        self._begun = self._done = 0
        first = [Instantiation({})] if self._instantiation is not None else []
        self._pending.replace([*first, *late])
        return Rebuilt(
            self._spec(),
            [Message(Channel.CONTROL, self._command_of(entry)) for entry in self._pending],
            len(first),
            self._lost(),
        )

    def kept(self) -> bytes:
        """See `Journal.kept`, and `kept_journal` for what is not."""
        first = self._instantiation
        journal = KeptJournal(
            instantiation=self._kept_instantiation(first),
            state=KeptState.of(self._state),
            good=None if self._good is self._state else KeptState.of(self._good),
            widgets=self._widgets,
            pending=kept_entries(self._pending),
            begun=self._begun - self._done,
            unanswered=self._unanswered,
            has_unkept=self._has_unkept,
            has_lost_request=self._has_lost_request
            or (first is not None and first.request is not None),
        )
        return msgspec.msgpack.encode(journal)

    def load(self, kept: bytes) -> None:
        with refusing_others():
            found = _kept_decoder.decode(kept)
            first = None if found.instantiation is None else found.instantiation.read()
            state = found.state.read(self._new_state())
            good = state if found.good is None else found.good.read(self._new_state())
            pending = entries_from(found.pending)
        self._instantiation = first
        self._state, self._good = state, good
        self._widgets = found.widgets
        self._pending.replace(pending)
        self._begun = found.begun
        self._unanswered = found.unanswered
        self._has_unkept = found.has_unkept
        self._has_lost_request = found.has_lost_request

    def count_all_as_begun(self) -> None:
        counts = (one.commands if isinstance(one, Unkept) else 1 for one in self._pending)
        self._begun = self._done + sum(counts)

    def begin_anew(self, command: Any) -> tuple[Any, tuple[str, ...]]:
        """A session that was stored begins on another server, with the notebook as it is there.
        Clicks and calls of functions that had not been done are not sent again: what was stored may
        be older than the end of the server, and they may have been done meanwhile. The values of
        such clicks are marked, and the calls are `unanswered`.

        Args:
            command: marimo's, which runs the cells first. `sent` follows, with the same.

        Returns: what to send instead, in which the values that were stored are initial values; and
            what does not come back, in words.
        """
        state = self._state.copy()
        undone = {name for entry in self._pending for name in counts_in(entry)}
        for entry in self._settle_pending(state, without_running=False):
            self._give_up_call(entry)
        cells = SameCells(_codes_in(self._instantiation), _codes_in(command))
        self._state, gone = state.moved(cells.new_id)
        self._good = self._state
        self._instantiation = None
        self._pending.replace(())
        self._begun = self._done = 0
        self._widgets.clear()
        self._has_lost_request = False  # there is a new one
        lost = self._lost()
        if gone:
            named = cells.named(gone)
            lost += ("what was set in cells that are not the same" + f" ({named})" * bool(named),)
        clicked = {cells.new_id(name) for name in undone}
        values = [
            (name, value._replace(is_undone=name in clicked))
            if isinstance(value, RestoredValue)
            else (name, value)
            for name, value in self._state.kept
        ]
        update = seam.server("UpdateUIElementCommand").from_ids_and_values(values, command.request)
        return msgspec.structs.replace(command, set_ui_element_value_request=update), lost

    def unanswered(self) -> list[str]:
        """The calls of functions that will not be answered: they ran when the process ended, or
        had not been done when the server ended, and are not repeated. To be called once after
        `rebuild` or `begin_anew`."""
        calls, self._unanswered = self._unanswered, []
        return calls

    @property
    def untaken_text_bytes(self) -> int:
        """How many bytes of long texts the kernel has not taken yet."""
        return self._pending.untaken_text_bytes

    def _kept_instantiation(self, first: Any) -> KeptOther | None:
        """The instantiation as it is kept. It contains all code of the notebook, so it is encoded
        only once."""
        if first is not self._written[0]:
            self._written = (first, KeptOther.of(first))
        return self._written[1]

    def _new_state(self) -> ElementState:
        return ElementState(self._max_bytes, self._max_files_bytes)

    @property
    def _is_instantiating(self) -> bool:
        return isinstance(self._pending.first, Instantiation)

    def _show(self, shown: WidgetShown) -> None:
        self._widgets[shown.model_id] = shown.object_id
        if len(self._widgets) > _MAX_WIDGETS:
            del self._widgets[next(iter(self._widgets))]

    def _remove(self, cell_id: str) -> None:
        self._state.remove(cell_id)
        gone = [model for model, name in self._widgets.items() if name.startswith(f"{cell_id}-")]
        for model in gone:
            del self._widgets[model]

    def _entry_of(self, command: Any) -> Entry:
        if isinstance(command, seam.server("UpdateUIElementCommand")):
            return Values(dict(command.ids_and_values))
        if isinstance(command, seam.server("ModelCommand")):
            message = command.message
            if isinstance(message, seam.server("ModelUpdateMessage")):
                paths = [tuple(path) for path in message.buffer_paths]
                buffers = dict(zip(paths, command.buffers, strict=False))
                return ModelState(command.model_id, RestoredModel(dict(message.state), buffers))
        if isinstance(command, seam.server("CreateNotebookCommand")) and not self._instantiation:
            return Instantiation(dict(command.set_ui_element_value_request.ids_and_values))
        return Other(command)

    def _settle(self, state: ElementState, entry: Entry) -> None:
        """Put what a command sets into the state."""
        match entry:
            case Instantiation(values) | Values(values):
                state.set(values)
            case ModelState(model_id, update):
                state.set_model(self._widgets.get(model_id), update)
            case Other(command) if isinstance(command, seam.server("UpdateUserConfigCommand")):
                self._arguments["user_config"] = command.config
            case Unkept():
                self._has_unkept = True

    def _settle_pending(self, state: ElementState, *, without_running: bool) -> list[Entry]:
        """Put what pending commands set into the state. Returns what must be sent again."""
        late: list[Entry] = []
        position = 0
        for entry in self._pending:
            had_begun = position < self._begun - self._done
            position += entry.commands if isinstance(entry, Unkept) else 1
            if had_begun:
                self._give_up_call(entry)
                if not without_running:
                    self._settle(state, entry)
                continue
            self._settle(state, entry)
            late += again(entry)
        return late

    def _give_up_call(self, entry: Entry) -> None:
        if isinstance(entry, Other) and isinstance(
            entry.command, seam.server("InvokeFunctionCommand")
        ):
            self._unanswered.append(entry.command.function_call_id)

    def _spec(self) -> KernelSpec:
        args = pickle.dumps(self._arguments, pickle.HIGHEST_PROTOCOL)
        return msgspec.structs.replace(self._kernel, args=args)

    def _lost(self) -> tuple[str, ...]:
        """What does not come back, in words for the page."""
        said = (
            (self._has_unkept, "some of what was set or clicked while the app was down"),
            (self._has_lost_request, "what the app was told of the page's HTTP request"),
        )
        return *self._state.lost(), *(what for is_lost, what in said if is_lost)

    def _command_of(self, entry: Entry) -> bytes:
        """A command for the kernel, pickled."""
        command: Any = None
        update = seam.server("UpdateUIElementCommand").from_ids_and_values
        request = self._instantiation.request if self._instantiation is not None else None
        match entry:
            case Instantiation():
                command = msgspec.structs.replace(
                    self._instantiation,
                    set_ui_element_value_request=update(self._state.kept, request),
                )
            case Clicks(values):
                clicks = [(object_id, Click(value)) for object_id, value in values.items()]
                command = update(clicks, request)
            case Other(command):
                pass
        return pickled(command, for_far=self._for_far)


def _codes_in(instantiation: Any) -> dict[str, str]:
    """The code of the cells that an instantiation runs, by their ids."""
    if instantiation is None:
        return {}
    return {one.cell_id: one.code for one in instantiation.execution_requests}
