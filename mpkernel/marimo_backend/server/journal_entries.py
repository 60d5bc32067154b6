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
    "bytes_of",
    "size_of_entry",
    "texts_in",
]


class Instantiation(NamedTuple):
    """The cells were run for the first time, with these initial values."""

    values: dict[str, Any]


class Values(NamedTuple):
    """Elements were set, by their ids: to what the page sent, `Apart`, or `TooLarge`, which stands
    for what there was no room for."""

    values: dict[str, Any]


class Clicks(NamedTuple):
    """The same, sent again: they count for buttons only."""

    values: dict[str, Any]


class ModelState(NamedTuple):
    """The model of a widget was set."""

    model_id: str
    update: RestoredModel


class Other(NamedTuple):
    """Any other command, as it is."""

    command: Any


class Unkept(NamedTuple):
    """So many commands, one after the other, that there was no room for; and the long texts in
    them, which stay until the kernel has taken them."""

    commands: int
    texts: tuple[Spooled, ...] = ()


Entry: TypeAlias = Instantiation | Values | Clicks | ModelState | Other | Unkept


def texts_in(entry: Entry) -> tuple[Spooled, ...]:
    """The long texts that are kept apart of it."""
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
    """About how many bytes it needs, without the texts that are kept apart."""
    match entry:
        case Instantiation(values) | Values(values) | Clicks(values):
            return ENTRY_BYTES + sum(ENTRY_BYTES + size_of(value) for value in values.values())
        case ModelState(_, update):
            return ENTRY_BYTES + size_of_model(update)
        case Other(command):
            return ENTRY_BYTES + len(pickle.dumps(command, pickle.HIGHEST_PROTOCOL))
    return ENTRY_BYTES
