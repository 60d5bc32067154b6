"""`ElementState`: what the elements and widgets of a page were set to, bounded in size."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Self

import msgspec

from mpkernel.marimo_backend.crossing import RestoredModel, RestoredValue
from mpkernel.marimo_backend.spooled import Spooled

__all__ = [
    "ENTRY_BYTES",
    "Apart",
    "ElementState",
    "TooLarge",
    "holds_long_texts",
    "size_of",
    "size_of_model",
    "spooled",
    "too_large",
]

ENTRY_BYTES = 64
"""What anything kept is taken to need beside its content."""

_UUID_LENGTH = 36
_MOST_ID_CHARS = 1000
_MOST_TOO_LARGE = 1000
_MOST_NAMES = 10
_MOST_NAME_CHARS = 100
_LONG_CHARS = 64 * 1024
_MOST_ITEMS = 10_000
_MOST_DEPTH = 20


class TooLarge(NamedTuple):
    """Stands for a value that there was no room for.

    Attributes:
        files: the names of the uploaded files in it.
    """

    files: tuple[str, ...]


class Apart(NamedTuple):
    """A value with long texts (such as the contents of uploaded files), which are kept apart.

    Attributes:
        value: the value, with `Spooled` in their places.
        texts: all of these.
        size: how many bytes the value needs without them.
    """

    value: Any
    texts: tuple[Spooled, ...]
    size: int

    @property
    def size_apart(self) -> int:
        """How many bytes are kept apart."""
        return sum(text.size for text in self.texts)


class ElementState:
    """Values by the ids of elements, the last one of each; over the bound the largest goes.

    Args:
        max_bytes: the bound.
        max_files_bytes: the bound for long texts (such as uploaded files), which are kept apart.
            Default: none are.

    Attributes:
        too_large: elements that are set to what is not kept; some of them, where they are many.
        lost_files: the names of the uploaded files in these, by element.
        has_more_too_large: whether there are others.
        has_unlasting: whether elements were set whose ids are others in each process: those of
            embedded apps, and those made after the cells' run.
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
        """Another one that is the same."""
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

    @property
    def kept(self) -> list[tuple[str, RestoredValue | RestoredModel]]:
        """What to give the elements as initial values, in no order."""
        return list(self._kept.items())

    def set(self, values: dict[str, Any]) -> None:
        """Elements were set."""
        for object_id, value in values.items():
            if isinstance(value, TooLarge):
                self._drop(object_id)
                self._note_too_large(object_id, value)
            elif isinstance(value, Apart):
                self._keep(object_id, RestoredValue(value.value), size_of(value), value)
            else:
                self._keep(object_id, RestoredValue(value), size_of(value))

    def set_model(self, object_id: str | None, update: RestoredModel) -> None:
        """The model of an element's widget was set, some of its traits."""
        if object_id is None:
            self.has_nameless = True
            return
        before = self._kept.get(object_id)
        if isinstance(before, RestoredModel):
            buffers = {p: b for p, b in before.buffers.items() if p[0] not in update.state}
            update = RestoredModel(before.state | update.state, buffers | update.buffers)
        elif object_id in self.too_large:
            return  # a part of it is not it
        self._keep(object_id, update, size_of_model(update))

    def remove(self, cell_id: str) -> None:
        """The elements of a cell are gone."""
        prefix = f"{cell_id}-"
        for object_id in [name for name in self._kept if name.startswith(prefix)]:
            self._drop(object_id)
        for object_id in [name for name in self.too_large if name.startswith(prefix)]:
            self._forget_loss(object_id)

    def _keep(
        self,
        object_id: str,
        value: RestoredValue | RestoredModel,
        size: int,
        apart: Apart | None = None,
    ) -> None:
        if len(object_id.rpartition("-")[0]) >= _UUID_LENGTH:
            self.has_unlasting = True
            return
        self._drop(object_id)
        self._forget_loss(object_id)
        size += ENTRY_BYTES + len(object_id)
        self._kept[object_id] = value
        self._sizes[object_id] = size
        self._bytes += size
        if apart is not None:
            self._apart[object_id] = apart
        while self._bytes > self._max_bytes:
            self._lose(max(self._sizes, key=self._sizes.__getitem__))
        while sum(one.size_apart for one in self._apart.values()) > self._max_files_bytes:
            self._lose(max(self._apart, key=lambda name: self._apart[name].size_apart))

    def lose_unwritten(self) -> None:
        """Leave out the values of which a part could not be kept apart."""
        for object_id, kept in list(self._apart.items()):
            if any(text.is_lost for text in kept.texts):
                self._lose(object_id)

    def _lose(self, object_id: str) -> None:
        lost = self._kept[object_id]
        self._drop(object_id)
        set_to = lost.value if isinstance(lost, RestoredValue) else None
        self._note_too_large(object_id, too_large(set_to))

    def _note_too_large(self, object_id: str, lost: TooLarge) -> None:
        """A page chooses what it calls an element, and how many there are."""
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
    """What stands for a value of a page that there is no room for."""
    names = _names_of_files(value.value if isinstance(value, Apart) else value)
    return TooLarge(tuple(name[:_MOST_NAME_CHARS] for name in names[:_MOST_NAMES]))


def holds_long_texts(value: Any) -> bool:
    """Whether `spooled` would keep a part of this value apart."""
    return bool(_long_texts(value).texts)


def spooled(value: Any) -> Any:
    """A value of a page; `Apart` where it has long texts, however deep: the value of a form is that
    of what is in it."""
    texts: list[Spooled] = []

    def spool(text: str) -> Spooled:
        texts.append(Spooled(text))
        return texts[-1]

    found = _long_texts(value)
    if not found.texts:
        return value
    size = _encoded_size_of(found.rest) + ENTRY_BYTES * len(found.texts)
    return Apart(_LongTexts(spool).replaced_in(value), tuple(texts), size)


def size_of(value: Any) -> int:
    """About how many bytes a value of a page needs, without what is kept apart of it."""
    if isinstance(value, str | bytes):
        return len(value)
    if value is None or isinstance(value, bool | int | float):
        return 8
    if isinstance(value, Apart):
        return value.size
    found = _long_texts(value)  # hundreds of megabytes are not encoded
    return sum(map(len, found.texts)) + _encoded_size_of(found.rest)


def size_of_model(model: RestoredModel) -> int:
    """The same for a widget's model."""
    return size_of(model.state) + sum(map(len, model.buffers.values()))


class _LongTexts:
    """Replaces the long texts in one value that a page sent as JSON.

    A page chooses the value: no more of it is looked at than a certain count of items and a certain
    depth, and what lies beyond stays as it is.

    Args:
        replace: called with each long text; what it returns takes the text's place.
    """

    def __init__(self, replace: Callable[[str], object]) -> None:
        self._replace = replace
        self._items_left = _MOST_ITEMS

    def replaced_in(self, value: Any, depth: int = 0) -> Any:
        """The value with its long texts replaced; itself where it has none."""
        if type(value) is str:
            return self._replace(value) if len(value) >= _LONG_CHARS else value
        if type(value) not in (list, dict) or depth > _MOST_DEPTH or len(value) > self._items_left:
            return value
        self._items_left -= len(value)
        if type(value) is list:
            items = [self.replaced_in(one, depth + 1) for one in value]
            return items if _is_changed(items, value) else value
        fields = {name: self.replaced_in(one, depth + 1) for name, one in value.items()}
        return fields if _is_changed(fields.values(), value.values()) else value


def _is_changed(after: Iterable[object], before: Iterable[object]) -> bool:
    return any(one is not other for one, other in zip(after, before, strict=True))


class _Found(NamedTuple):
    """The long texts of a value, and the value without them."""

    texts: list[str]
    rest: Any


def _long_texts(value: Any) -> _Found:
    texts: list[str] = []
    return _Found(texts, _LongTexts(texts.append).replaced_in(value))


def _names_of_files(value: Any, depth: int = 0) -> list[str]:
    """The names of what `mo.ui.file` sends, alone or in forms, dictionaries, arrays and batches."""
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


def _encoded_size_of(value: Any) -> int:
    try:
        return len(msgspec.msgpack.encode(value, enc_hook=str))
    except (OverflowError, RecursionError):  # an integer over 64 bits, lists in lists in lists
        return len(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))
