"""The sources of executed code, which is in no file. Tracebacks, `inspect` and debuggers look for
them in `linecache`, by the name of a file.

The process has one `linecache` for all sessions, and code may live for long: a function is called
in a later cell, or in a thread. So a name that stands in any living code is given to no other
source. Otherwise tracebacks would show lines of another cell, or of another client.

The names are `<cell NAME>`, `<cell NAME (2)>`, and so on. Who reads a traceback need not see these
numbers (`of_cells`): the lines in it are the right ones.
"""

from __future__ import annotations

import io
import itertools
import linecache
import re
import threading
import weakref
from collections.abc import Iterable
from types import CodeType

__all__ = ["Sources", "of_cells"]

_MOST_UNUSED = 1000
_FILE = re.compile(r'File "(<cell .*>)"')


class _Source:
    """The source with one name.

    Attributes:
        owner: the session's sources that gave the name; None when the session is closed.
        cell: the cell's name.
        codes: the code compiled from it.
    """

    def __init__(self, owner: Sources, cell: str) -> None:
        self.owner: Sources | None = owner
        self.cell = cell
        self.codes: list[weakref.ref[CodeType]] = []

    @property
    def is_used(self) -> bool:
        """Whether any of its code still exists."""
        return any(code() is not None for code in self.codes)


_lock = threading.Lock()
_sources: dict[str, _Source] = {}  # guarded by _lock


class Sources:
    """Those of one session. A source whose code is gone is kept until its name is needed again, or
    until there are too many."""

    def __init__(self) -> None:
        self._names: dict[str, None] = {}  # in the order in which they were given
        self._most = _MOST_UNUSED

    def add(self, cell: str, code: str) -> str:
        """Keep the source of a cell. Returns the name of the file for its code."""
        with _lock:
            filename = next(name for name in _names_for(cell) if self._may_take(name))
            _sources[filename] = _Source(self, cell)
            lines = io.StringIO(f"{code}\n", newline=None).readlines()
            linecache.cache[filename] = (len(code), None, lines, filename)
            if len(self._names) > self._most:
                self._names = dict.fromkeys(_drop_unused(self._names))
                self._most = max(_MOST_UNUSED, 2 * len(self._names))
            self._names[filename] = None
        return filename

    def compiled(self, filename: str, codes: Iterable[CodeType]) -> None:
        """This code was compiled from the source with this name. Code of a file is ignored."""
        source = _sources.get(filename)
        if source is not None:
            source.codes = [weakref.ref(code) for code in _with_inner(codes)]

    def close(self) -> None:
        """The session is closed: sources that no code needs are dropped; the others later, when
        another session is closed."""
        with _lock:
            for name in self._names:
                _sources[name].owner = None
            _drop_unused([name for name, source in _sources.items() if source.owner is None])

    def _may_take(self, filename: str) -> bool:
        there = _sources.get(filename)
        return there is None or (there.owner in (None, self) and not there.is_used)


def of_cells(traceback: str) -> str:
    """The text of a traceback, with the names of the cells as they are, without numbers."""

    def shown(found: re.Match[str]) -> str:
        source = _sources.get(found[1])
        return found[0] if source is None else f'File "<cell {source.cell}>"'

    return _FILE.sub(shown, traceback)


def _names_for(cell: str) -> Iterable[str]:
    yield f"<cell {cell}>"
    for number in itertools.count(2):
        yield f"<cell {cell} ({number})>"


def _drop_unused(names: Iterable[str]) -> list[str]:
    """Drop those of these sources whose code is gone. Returns the names of the others."""
    used = []
    for name in names:
        if _sources[name].is_used:
            used.append(name)
        else:
            del _sources[name]
            linecache.cache.pop(name, None)
    return used


def _with_inner(codes: Iterable[CodeType]) -> Iterable[CodeType]:
    """This code, and that of the functions and classes in it."""
    for code in codes:
        yield code
        yield from _with_inner(one for one in code.co_consts if isinstance(one, CodeType))
