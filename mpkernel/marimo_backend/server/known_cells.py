"""`KnownCells`: which cells a notebook's file has, without parsing it again and again.

When sessions come back, each asks whether its notebook was edited. To parse a notebook takes 15 ms
or more, during which the event loop does nothing else. But marimo has parsed it when the first of
the sessions was opened. If the file is the same since then, so are its cells.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple, Self

__all__ = ["KnownCells"]

_MOST = 1000
_CLOCKS_S = 1.0
"""By how much the clock of a file system may be behind the system's."""


class _State(NamedTuple):
    """A file as it is. Writing to it, or putting another one in its place, gives another state."""

    device: int
    inode: int
    size: int
    written_ns: int
    changed_ns: int

    @classmethod
    def of(cls, path: str) -> Self:
        found = os.stat(path)
        return cls(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


class KnownCells:
    """The cells of notebooks, as digests. On the loop's thread."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[_State, str]] = {}  # by path

    def loaded(self, path: str, digest: str, after: float) -> None:
        """marimo has loaded a notebook, which had these cells. It is remembered, unless the file
        may have been changed since then.

        Args:
            path: absolute path of the notebook.
            digest: of its cells.
            after: a time before marimo began to load it; `time.time()`.
        """
        try:
            state = _State.of(path)
        except OSError:  # it was removed meanwhile
            return
        if state.changed_ns < (after - _CLOCKS_S) * 1e9:
            self._remember(path, state, digest)

    def now(self, path: str, parsed: Callable[[], str]) -> str:
        """The digest of the cells that a notebook has now.

        Args:
            path: absolute path of the notebook.
            parsed: parses the file, and gives the digest of what it finds. Called only if the cells
                are not known.

        Raises:
            OSError: the file is gone; or what `parsed` raises.
        """
        state = _State.of(path)
        known = self._known.get(path)
        if known is not None and known[0] == state:
            return known[1]
        digest = parsed()
        self._remember(path, state, digest)
        return digest

    def _remember(self, path: str, state: _State, digest: str) -> None:
        if path not in self._known and len(self._known) >= _MOST:
            del self._known[next(iter(self._known))]
        self._known[path] = (state, digest)
