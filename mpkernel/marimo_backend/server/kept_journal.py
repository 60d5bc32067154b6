"""`KeptJournal`: a marimo session's journal as msgpack, for another server.

    part of the journal                  what is kept of it
    ───────────────────                  ──────────────────
    values and states of models          all
    long texts (uploaded files)          their names, as lost: the texts end with this server
    what msgpack cannot hold             nothing: it is counted as lost
    the user's configuration             nothing: it contains keys to services, and the other
                                         server has a configuration of its own
    commands of marimo                   all but the page's HTTP request, which contains
                                         passwords and objects of the server

Each value and each command is msgpack of its own: when one cannot be written or read, the others
are not affected.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self, TypeAlias, TypeVar

import msgspec

from mpkernel.errors import ProtocolError
from mpkernel.marimo_backend import seam
from mpkernel.marimo_backend.crossing import RestoredModel, RestoredValue
from mpkernel.marimo_backend.server.elements import ElementState, TooLarge, too_large
from mpkernel.marimo_backend.server.journal_entries import (
    Clicks,
    Entry,
    Instantiation,
    ModelState,
    Other,
    Unkept,
    Values,
)
from mpkernel.marimo_backend.spooled import Apart
from mpkernel.wire.messages import UNDECODABLE

__all__ = [
    "KeptJournal",
    "KeptOther",
    "KeptState",
    "entries_from",
    "kept_entries",
    "refusing_others",
]

logger = logging.getLogger(__name__)

_UNENCODABLE = (TypeError, ValueError, OverflowError, RecursionError)

CommandT = TypeVar("CommandT")


class KeptValues(msgspec.Struct, frozen=True, tag="values"):
    """Elements and what they were set to.

    Attributes:
        values: by the ids of elements.
        lost: those whose values are not kept, with the names of the files in these.
    """

    values: dict[str, msgspec.Raw]
    lost: dict[str, tuple[str, ...]]

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Make this from values: what the page sent, an `Apart`, or a `TooLarge`."""
        kept: dict[str, msgspec.Raw] = {}
        lost: dict[str, tuple[str, ...]] = {}
        for name, value in values.items():
            raw = None if isinstance(value, Apart | TooLarge) else _raw(value)
            if raw is not None:
                kept[name] = raw
            else:
                whole = value if isinstance(value, TooLarge) else too_large(value)
                lost[name] = whole.files
        return cls(kept, lost)

    def read(self) -> dict[str, Any]:
        """The values that were sent; a `TooLarge` for each that was lost."""
        lost = {name: TooLarge(files) for name, files in self.lost.items()}
        return {name: msgspec.msgpack.decode(raw) for name, raw in self.values.items()} | lost


class KeptInstantiation(KeptValues, frozen=True, tag="instantiation"):
    """The first run of the cells, with these initial values."""


class KeptClicks(KeptValues, frozen=True, tag="clicks"):
    """What was sent again, for buttons."""


class KeptModel(msgspec.Struct, frozen=True, tag="model"):
    """What the model of a widget was set to."""

    model_id: str
    state: msgspec.Raw
    buffers: list[tuple[tuple[str | int, ...], bytes]]

    @classmethod
    def of(cls, model_id: str, update: RestoredModel) -> KeptModel | None:
        """Make this from an update. None if msgpack cannot hold it."""
        state = _raw(update.state)
        return None if state is None else cls(model_id, state, list(update.buffers.items()))

    def read(self) -> RestoredModel:
        """What the model was set to."""
        return RestoredModel(msgspec.msgpack.decode(self.state), dict(self.buffers))


class KeptOther(msgspec.Struct, frozen=True, tag="other"):
    """A command of marimo."""

    command: msgspec.Raw

    @classmethod
    def of(cls, command: Any) -> KeptOther | None:
        """Make this from a command, without HTTP requests. None if msgpack cannot hold it."""
        raw = _raw(_without_requests(command))
        return None if raw is None else cls(raw)

    def read(self) -> Any:
        """The command. Raises one of `UNDECODABLE` if this version of marimo has no such
        command."""
        return msgspec.msgpack.decode(self.command, type=seam.server("CommandMessage"))


class KeptUnkept(msgspec.Struct, frozen=True, tag="unkept"):
    """A number of commands that are not kept."""

    commands: int


KeptEntry: TypeAlias = (
    KeptInstantiation | KeptValues | KeptClicks | KeptModel | KeptOther | KeptUnkept
)


class KeptState(msgspec.Struct, frozen=True):
    """What elements and widgets were set to, by the ids of elements."""

    values: KeptValues
    models: list[KeptModel]
    has_more_too_large: bool
    has_unlasting: bool
    has_nameless: bool

    @classmethod
    def of(cls, state: ElementState) -> KeptState:
        """Make this from a state."""
        values: dict[str, Any] = {
            name: TooLarge(state.lost_files.get(name, ())) for name in state.too_large
        }
        models: list[KeptModel] = []
        for name, one in state.kept:
            if isinstance(one, RestoredValue):
                values[name] = one.value
            elif (model := KeptModel.of(name, one)) is not None:
                models.append(model)
            else:
                values[name] = TooLarge(())
        return cls(
            KeptValues.of(values),
            models,
            state.has_more_too_large,
            state.has_unlasting,
            state.has_nameless,
        )

    def read(self, state: ElementState) -> ElementState:
        """Set the given state, which must be new, to this. Returns it."""
        state.set(self.values.read())
        for model in self.models:
            state.set_model(model.model_id, model.read())
        state.has_more_too_large |= self.has_more_too_large
        state.has_unlasting |= self.has_unlasting
        state.has_nameless |= self.has_nameless
        return state


class KeptJournal(msgspec.Struct, frozen=True, kw_only=True, tag="mpkernel-marimo-journal-1"):
    """A journal.

    Attributes:
        instantiation: the command that ran the cells first; None before there was one.
        state: the present state of the session.
        good: the state before the command that may have ended its process; None if it is the same
            as `state`.
        widgets: the ids of elements by those of the models that they show.
        pending: the commands that the kernel has not done.
        begun: how many of these it has begun.
        unanswered: calls of functions that nobody answers.
        has_unkept: whether commands were lost.
        has_lost_request: whether there was an HTTP request of the page, which is not kept.
    """

    instantiation: KeptOther | None
    state: KeptState
    good: KeptState | None
    widgets: dict[str, str]
    pending: list[KeptEntry]
    begun: int
    unanswered: list[str]
    has_unkept: bool
    has_lost_request: bool


@contextmanager
def refusing_others() -> Iterator[None]:
    """Raise `ProtocolError` when the code in this `with` cannot read a journal."""
    try:
        yield
    except UNDECODABLE as error:
        raise ProtocolError(
            f"a stored journal cannot be read by this version: {error}",
            remedy="open the session as a new one",
        ) from error


def kept_entries(entries: Iterable[Entry]) -> list[KeptEntry]:
    """What is kept of these entries: one item for each, in the same order."""
    return [_kept(entry) for entry in entries]


def entries_from(kept: Iterable[KeptEntry]) -> list[Entry]:
    """The entries that were kept, in the same order."""
    return [_read(entry) for entry in kept]


def _kept(entry: Entry) -> KeptEntry:
    kept: KeptEntry | None = None
    match entry:
        case Instantiation(values):
            kept = KeptInstantiation.of(values)
        case Values(values):
            kept = KeptValues.of(values)
        case Clicks(values):
            kept = KeptClicks.of(values)
        case ModelState(model_id, update):
            kept = KeptModel.of(model_id, update)
        case Other(command) if isinstance(command, seam.server("UpdateUserConfigCommand")):
            kept = KeptValues({}, {})  # this is counted as a command, and sets nothing
        case Other(command):
            kept = KeptOther.of(command)
        case Unkept(commands):
            kept = KeptUnkept(commands)
    return KeptUnkept(1) if kept is None else kept


def _read(kept: KeptEntry) -> Entry:
    match kept:
        case KeptInstantiation():
            return Instantiation(kept.read())
        case KeptClicks():
            return Clicks(kept.read())
        case KeptValues():
            return Values(kept.read())
        case KeptModel():
            return ModelState(kept.model_id, kept.read())
        case KeptOther():
            try:
                return Other(kept.read())
            except UNDECODABLE as error:
                logger.info("a command of a stored journal is left out: %s", error)
                return Unkept(1)
        case KeptUnkept():
            return Unkept(kept.commands)


def _raw(value: Any) -> msgspec.Raw | None:
    try:
        return msgspec.Raw(msgspec.msgpack.encode(value))
    except _UNENCODABLE:
        return None


def _without_requests(command: CommandT) -> CommandT:
    if not isinstance(command, msgspec.Struct):
        return command
    changed: dict[str, Any] = {}
    for name in command.__struct_fields__:
        value = getattr(command, name)
        if name == "request":
            changed[name] = None
        elif isinstance(value, msgspec.Struct):
            changed[name] = _without_requests(value)
        elif type(value) in (list, tuple) and value and isinstance(value[0], msgspec.Struct):
            changed[name] = type(value)(map(_without_requests, value))
    return msgspec.structs.replace(command, **changed) if changed else command
