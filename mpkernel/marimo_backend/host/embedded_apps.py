"""Gives the cells of embedded apps (`app.embed()`) names that are, where possible, the same in each
process.

marimo puts a random UUID before the names of the cells of an app that is made while a notebook
runs. Then nobody knows in the next process which of its elements had been set. Here the UUID is
computed from where the app is made:

    an app that a module makes, the first time at this line   the module's path and its text
    an app or a clone that a cell makes in its first run      the cell, and the count before it
    any other                                                 random, as in marimo

An app of the third kind is made again while the one before it may still exist, and two apps must
not have the same names.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any
from uuid import UUID

from mpkernel.marimo_backend import seam
from mpkernel.marimo_backend.crossing import LASTING_PREFIX

__all__ = ["name_embedded_apps"]


def name_embedded_apps() -> None:
    """Have the apps that are embedded in this process named so from now on."""
    seam.replace_external_prefix(_Names().prefix)


class _Names(threading.local):
    """By thread, and so by session: how many apps its cells have made."""

    _lines: set[tuple[str, int]] = set()  # noqa: RUF012 (of the process: its modules are)

    def __init__(self) -> None:
        self._runs: dict[str, tuple[object, int]] = {}  # a cell's first run, and its apps

    def prefix(self, random: Callable[[], str]) -> str:
        """The prefix for an app that is being made.

        Args:
            random: marimo's own function.
        """
        maker = sys._getframe(3)  # the caller of `App` or `clone`, which called the seam
        place = self._in_module(maker) or self._in_cell()
        return random() if place is None else _uuid_of(place)

    def _in_module(self, maker: FrameType) -> str | None:
        path = maker.f_globals.get("__file__")
        is_import = maker.f_code.co_name == "<module>" and maker.f_code.co_filename == path
        line = (maker.f_code.co_filename, maker.f_lineno)
        if not is_import or line in self._lines:
            return None
        self._lines.add(line)
        try:
            text = Path(line[0]).read_bytes()
        except OSError:
            return None
        return f"{os.path.abspath(line[0])}:{line[1]}:{hashlib.sha256(text).hexdigest()}"

    def _in_cell(self) -> str | None:
        running: Any = seam.host("get_context")().execution_context
        if running is None:
            return None
        first, made = self._runs.get(running.cell_id, (running, 0))
        if first is not running:
            return None
        self._runs[running.cell_id] = (running, made + 1)
        return f"{running.cell_id}:{made}"


def _uuid_of(place: str) -> str:
    digest = hashlib.sha256(place.encode(errors="surrogateescape")).digest()
    return LASTING_PREFIX + str(UUID(bytes=digest[:16], version=4))[len(LASTING_PREFIX) :]
