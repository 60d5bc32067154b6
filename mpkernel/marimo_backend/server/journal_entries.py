"""`Entry`: what a journal of a marimo session makes of a command that was sent."""

from __future__ import annotations

import pickle
from typing import Any, NamedTuple, TypeAlias

from mpkernel.marimo_backend.crossing import RestoredModel
from mpkernel.marimo_backend.server.elements import (
    ENTRY_BYTES,
    size_of,
    size_of_model,
    texts_of,
)
from mpkernel.marimo_backend.spooled import Spooled

__all__ = [
    "Clicks",
    "Entry",
    "Instantiation",
    "ModelState",
    "Other",
    "Unkept",
    "Values",
    "again",
    "bytes_of",
    "counts_in",
    "size_of_entry",
    "texts_in",
]


class Instantiation(NamedTuple):
    """The cells were run for the first time, with these initial values."""

    values: dict[str, Any]


class Values(NamedTuple):
    """Elements were set. Values by their ids: what the page sent, an `Apart`, or a `TooLarge` in
    the place of a value for which there was no room."""

    values: dict[str, Any]


class Clicks(NamedTuple):
    """The same as `Values`, but sent again: the values count for buttons only."""

    values: dict[str, Any]


class ModelState(NamedTuple):
    """The model of a widget was set."""

    model_id: str
    update: RestoredModel


class Other(NamedTuple):
    """Any other command, unchanged."""

    command: Any


class Unkept(NamedTuple):
    """A number of commands, one after the other, for which there was no room; and the long texts in
    them, which stay until the kernel has taken the commands."""

    commands: int
    texts: tuple[Spooled, ...] = ()


Entry: TypeAlias = Instantiation | Values | Clicks | ModelState | Other | Unkept


def texts_in(entry: Entry) -> tuple[Spooled, ...]:
    """The long texts of an entry that are kept apart."""
    match entry:
        case Values(values):
            return tuple(text for value in values.values() for text in texts_of(value))
        case Unkept(_, texts):
            return texts
    return ()


def bytes_of(texts: tuple[Spooled, ...]) -> int:
    """How many bytes these texts have together."""
    return sum(text.size for text in texts)


def size_of_entry(entry: Entry) -> int:
    """About how many bytes an entry needs, without the texts that are kept apart."""
    match entry:
        case Instantiation(values) | Values(values) | Clicks(values):
            return ENTRY_BYTES + sum(ENTRY_BYTES + size_of(value) for value in values.values())
        case ModelState(_, update):
            return ENTRY_BYTES + size_of_model(update)
        case Other(command):
            return ENTRY_BYTES + len(pickle.dumps(command, pickle.HIGHEST_PROTOCOL))
    return ENTRY_BYTES


def again(entry: Entry) -> list[Entry]:
    """What must be sent again for a command that had not begun. Values that it sets are not sent:
    the next kernel has them as initial values."""
    match entry:
        case Values():
            counts = counts_in(entry)
            return [Clicks(counts)] if counts else []
        case Clicks() | Other():
            return [entry]
    return []


def counts_in(entry: Entry) -> dict[str, Any]:
    """The values of an entry that may be those of buttons: a button's value is the count of its
    clicks."""
    if not isinstance(entry, Values | Clicks):
        return {}
    return {name: value for name, value in entry.values.items() if type(value) is int}
