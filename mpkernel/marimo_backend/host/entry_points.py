"""The entry points of installed packages, for marimo, which looks for its plugins among them in
each tab, and again in each run of cells, such as after the move of a slider.

`importlib.metadata.entry_points` reads a file of each installed package every time: with 140
packages this takes 5 to 13 ms of a processor, often more than the run itself. Here, what a folder
of the import path holds is kept for as long as the folder does not change. To install or remove a
package changes it.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint, EntryPoints
from typing import NamedTuple

from mpkernel.marimo_backend import seam

__all__ = ["KeptEntryPoints", "keep_entry_points", "read_entry_points"]


def keep_entry_points() -> None:
    """Have marimo look for plugins among the entry points that are kept."""
    seam.replace_entry_points(lambda: _kept)


def read_entry_points() -> None:
    """Read the entry points of this process's import path now, so that no tab waits for that."""
    _kept.read()


class _Place(NamedTuple):
    """A folder of the import path.

    Attributes:
        path: as in `sys.path`.
        changed_ns: when something was last added or removed there; None: it cannot be looked at.
    """

    path: str
    changed_ns: int | None


class _Package(NamedTuple):
    name: str
    entry_points: tuple[EntryPoint, ...]


class KeptEntryPoints:
    """The entry points of the packages in the import path."""

    def __init__(self) -> None:
        self._packages: dict[_Place, list[_Package]] = {}
        self._groups: tuple[tuple[_Place, ...], dict[str, list[EntryPoint]]] | None = None

    def select(self, *, group: str) -> EntryPoints:
        """What `importlib.metadata.entry_points(group=group)` gives now. From any thread."""
        return EntryPoints(self.read().get(group, ()))

    def read(self) -> Mapping[str, Sequence[EntryPoint]]:
        """All entry points that there are now, by their group. From any thread."""
        places = tuple(map(_place, sys.path))
        groups = self._groups
        if groups is None or groups[0] != places:
            groups = self._groups = places, self._look(places)
        return groups[1]

    def _look(self, places: tuple[_Place, ...]) -> dict[str, list[EntryPoint]]:
        before = self._packages
        self._packages = now = {
            place: before[place] if place in before else _packages_in(place) for place in places
        }
        first: dict[str, tuple[EntryPoint, ...]] = {}  # of packages of one name, the first counts
        for packages in now.values():
            for package in packages:
                first.setdefault(package.name, package.entry_points)
        groups: dict[str, list[EntryPoint]] = {}
        for entry_points in first.values():
            for one in entry_points:
                groups.setdefault(one.group, []).append(one)
        return groups


_kept = KeptEntryPoints()


def _place(path: str) -> _Place:
    try:
        return _Place(path, os.stat(path or ".").st_mtime_ns)
    except (OSError, ValueError):
        return _Place(path, None)


def _packages_in(place: _Place) -> list[_Package]:
    found = importlib.metadata.distributions(path=[place.path])
    return [_Package(_name_of(one), tuple(one.entry_points)) for one in found]


def _name_of(package: importlib.metadata.Distribution) -> str:
    # `importlib.metadata` compares packages by this name. The public one is read from a file.
    return getattr(package, "_normalized_name", None) or package.metadata["Name"]
