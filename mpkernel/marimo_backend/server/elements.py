"""`ElementState`: the values that the elements and widgets of a page were set to; limited in
size."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any, NamedTuple, Self

import msgspec

from mpkernel.marimo_backend.crossing import LASTING_PREFIX, RestoredModel, RestoredValue
from mpkernel.marimo_backend.spooled import Apart, Spooled

__all__ = [
    "ENTRY_BYTES",
    "ElementState",
    "TooLarge",
    "size_of",
    "size_of_model",
    "texts_of",
    "too_large",
]

ENTRY_BYTES = 64
"""How many bytes each value that is kept is assumed to need besides its content."""

_UUID_LENGTH = 36
_MOST_ID_CHARS = 1000
_MOST_TOO_LARGE = 1000
_MOST_NAMES = 10
_MOST_NAME_CHARS = 100
_MOST_DEPTH = 20
_MOST_FILES = 5


class TooLarge(NamedTuple):
    """Takes the place of a value for which there was no room.

    Attributes:
        files: the names of the uploaded files in it.
        texts: its long texts that are kept apart: they stay until the kernel has taken the value.
    """

    files: tuple[str, ...]
    texts: tuple[Spooled, ...] = ()


class ElementState:
    """The last value of each element, by the element's id. When all are over the limit, the largest
    is dropped.

    Args:
        max_bytes: the limit.
        max_files_bytes: the limit for long texts (such as uploaded files), which are kept apart.
            Default: none are kept.

    Attributes:
        too_large: elements whose values are not kept; only some of them when there are many.
        lost_files: the names of the uploaded files in these values, by element.
        has_more_too_large: whether there are more elements than those in `too_large`.
        has_unlasting: whether elements were set whose ids are different in each process: those
            of apps that a cell embeds anew when it runs again.
        has_nameless: whether models were set that no element shows.
    """

    def __init__(self, max_bytes: int, max_files_bytes: int = 0) -> None:
        self.too_large: set[str] = set()
        self.lost_files: dict[str, tuple[str, ...]] = {}
        self.has_more_too_large = False
        self.has_unlasting = False
        self.has_nameless = False
        self._max_bytes = max_bytes
        self._max_files_bytes = max_files_bytes
        self._apart: dict[str, Apart] = {}
        self._kept: dict[str, RestoredValue | RestoredModel] = {}
        self._sizes: dict[str, int] = {}
        self._bytes = 0

    def copy(self) -> Self:
        """A copy."""
        copied = type(self)(self._max_bytes, self._max_files_bytes)
        copied._apart = dict(self._apart)
        copied.too_large = set(self.too_large)
        copied.lost_files = dict(self.lost_files)
        copied.has_more_too_large = self.has_more_too_large
        copied.has_unlasting = self.has_unlasting
        copied.has_nameless = self.has_nameless
        copied._kept = dict(self._kept)
        copied._sizes = dict(self._sizes)
        copied._bytes = self._bytes
        return copied

    def moved(self, new_id: Callable[[str], str | None]) -> tuple[Self, list[str]]:
        """A copy of the state in which elements have their new ids; and the ids of elements that
        are gone.

        Args:
            new_id: the id that an element has now; None for none.
        """
        moved = type(self)(self._max_bytes, self._max_files_bytes)
        moved.has_more_too_large = self.has_more_too_large
        moved.has_unlasting = self.has_unlasting
        moved.has_nameless = self.has_nameless
        gone: list[str] = []
        for object_id, value in self._kept.items():
            now = new_id(object_id)
            if now is None:
                gone.append(object_id)
            elif isinstance(value, RestoredModel):
                moved.set_model(now, value)
            else:
                moved.set({now: value.value})
        for object_id in self.too_large:
            now = new_id(object_id)
            if now is not None:
                moved.set({now: TooLarge(self.lost_files.get(object_id, ()))})
        return moved, gone

    @property
    def kept(self) -> list[tuple[str, RestoredValue | RestoredModel]]:
        """The initial values to give the elements, in no order."""
        return list(self._kept.items())

    def set(self, values: dict[str, Any]) -> None:
        """Keep the values that elements were set to."""
        for object_id, value in values.items():
            if isinstance(value, TooLarge):
                self._drop(object_id)
                self._note_too_large(object_id, value)
            else:
                self._keep(object_id, RestoredValue(value), size_of(value))

    def set_model(self, object_id: str | None, update: RestoredModel) -> None:
        """Keep the traits of a widget's model that were set."""
        if object_id is None:
            self.has_nameless = True
            return
        before = self._kept.get(object_id)
        if isinstance(before, RestoredModel):
            buffers = {p: b for p, b in before.buffers.items() if p[0] not in update.state}
            update = RestoredModel(before.state | update.state, buffers | update.buffers)
        elif object_id in self.too_large:
            return  # a part of the state is of no use without the rest
        self._keep(object_id, update, size_of_model(update))

    def remove(self, cell_id: str) -> None:
        """Forget the elements of a cell, which are gone."""
        prefix = f"{cell_id}-"
        for object_id in [name for name in self._kept if name.startswith(prefix)]:
            self._drop(object_id)
        for object_id in [name for name in self.too_large if name.startswith(prefix)]:
            self._forget_loss(object_id)

    def lost(self) -> tuple[str, ...]:
        """What was set and is not kept, in words for the page."""
        files = [name for names in self.lost_files.values() for name in names]
        others = self.has_more_too_large or len(self.too_large) > len(self.lost_files)
        said = (
            (files, _upload_again(files)),
            (others, "what was set in the largest inputs"),
            (self.has_unlasting, "what was set in some embedded apps"),
            (self.has_nameless, "the state of widgets that are parts of others"),
        )
        return tuple(what for is_lost, what in said if is_lost)

    def _keep(self, object_id: str, value: RestoredValue | RestoredModel, size: int) -> None:
        cell_id = object_id.rpartition("-")[0]
        if len(cell_id) >= _UUID_LENGTH and not cell_id.startswith(LASTING_PREFIX):
            self.has_unlasting = True
            return
        self._drop(object_id)
        self._forget_loss(object_id)
        size += ENTRY_BYTES + len(object_id)
        self._kept[object_id] = value
        self._sizes[object_id] = size
        self._bytes += size
        if isinstance(value, RestoredValue) and isinstance(value.value, Apart):
            self._apart[object_id] = value.value
        while self._bytes > self._max_bytes:
            self._lose(max(self._sizes, key=self._sizes.__getitem__))
        while sum(one.size_apart for one in self._apart.values()) > self._max_files_bytes:
            self._lose(max(self._apart, key=lambda name: self._apart[name].size_apart))

    def _lose(self, object_id: str) -> None:
        lost = self._kept[object_id]
        self._drop(object_id)
        set_to = lost.value if isinstance(lost, RestoredValue) else None
        self._note_too_large(object_id, too_large(set_to))

    def _note_too_large(self, object_id: str, lost: TooLarge) -> None:
        """Note an element without a value. A limited number is kept, because a page can send as
        many ids as it wants."""
        if len(object_id) <= _MOST_ID_CHARS and len(self.too_large) < _MOST_TOO_LARGE:
            self.too_large.add(object_id)
            self.lost_files.pop(object_id, None)
            if lost.files:
                self.lost_files[object_id] = lost.files
        else:
            self.has_more_too_large = True

    def _forget_loss(self, object_id: str) -> None:
        self.too_large.discard(object_id)
        self.lost_files.pop(object_id, None)

    def _drop(self, object_id: str) -> None:
        if self._kept.pop(object_id, None) is not None:
            self._bytes -= self._sizes.pop(object_id)
            self._apart.pop(object_id, None)


def too_large(value: Any) -> TooLarge:
    """A `TooLarge` for a value of a page for which there is no room."""
    inner, texts = (value.value, value.texts) if isinstance(value, Apart) else (value, ())
    names = _names_of_files(inner)[:_MOST_NAMES]
    return TooLarge(tuple(name[:_MOST_NAME_CHARS] for name in names), texts)


def texts_of(value: Any) -> tuple[Spooled, ...]:
    """The long texts of a value that are kept apart."""
    return value.texts if isinstance(value, Apart | TooLarge) else ()


def size_of(value: Any) -> int:
    """About how many bytes a value of a page needs, without its texts that are kept apart."""
    if isinstance(value, str | bytes):
        return len(value)
    if value is None or isinstance(value, bool | int | float):
        return 8
    try:
        return len(msgspec.msgpack.encode(value, enc_hook=_encodable))
    except (OverflowError, RecursionError):  # over 64 bits, or nested too deeply
        return len(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))


def size_of_model(model: RestoredModel) -> int:
    """About how many bytes the state of a widget's model needs."""
    return size_of(model.state) + sum(map(len, model.buffers.values()))


def _upload_again(files: list[str]) -> str:
    """What to tell the user about files that were not kept."""
    shown = ", ".join(files[:_MOST_FILES]) + (" and others" if len(files) > _MOST_FILES else "")
    return f"the file{'s' if len(files) > 1 else ''} {shown} must be uploaded again"


def _encodable(value: object) -> object:
    return value.value if isinstance(value, Apart) else str(value)


def _names_of_files(value: Any, depth: int = 0) -> list[str]:
    """The names of files that `mo.ui.file` sends, by itself or inside of forms, dictionaries,
    arrays and batches."""
    if type(value) is dict and depth <= _MOST_DEPTH:
        return [name for one in value.values() for name in _names_of_files(one, depth + 1)]
    is_upload = type(value) is list and all(
        type(one) is list
        and len(one) == 2
        and type(one[0]) is str
        and isinstance(one[1], str | Spooled)
        for one in value
    )
    return [name for name, _ in value] if is_upload else []
